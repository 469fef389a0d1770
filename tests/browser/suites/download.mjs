/** Downloads over connections that break off, change, crawl or lie. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BROWSERS } from '../lib/browsers.mjs';
import { SMOLLM2, setting, tinyModel } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

const MB = 1e6;
/** What a break may cost: bytes that were on their way or not yet written, and asking for the header again. */
const LOST = 16 * MB;
/** Bytes per second of connections that break: what is on its way is then little. */
const SLOW = 30 * MB;

const sha256 = bytes => createHash('sha256').update(bytes).digest('hex');
const bigModel = () => readFileSync(join(setting('WOOLLY_MODELS'), SMOLLM2));
const tiny = () => readFileSync(tinyModel().file);

/** In the page: one visit to a model. What came of it, and the hash that the manager knows the file by. */
async function visit(options) {
  const { value, ...failure } = await outcome(useOnce({ n_ctx: 256, ...options }));
  const stored = (await new woolly.ModelManager().list()).find(({ model }) => model === options.model);
  return { ...failure, text: value?.text, stored };
}

/** Registers a test in each browser: `run` gets the scope, a tab and the server. */
function inBrowsers(name, run) {
  for (const kind of BROWSERS)
    test(`download: ${name}, ${kind}`, async scope => run({ scope, kind, tab: await scope.open(kind), server: await scope.server() }));
}

inBrowsers('connections that break off are taken up at the byte', async ({ tab, server }) => {
  const bytes = bigModel();
  const file = server.fault({ bytes, drop: 2 * MB, times: 20, rate: SLOW });
  const { text, stored, message } = await tab.run(visit, { model: file.url, sha256: sha256(bytes) });
  assert.ok(text, message);
  assert.equal(stored.sha256, sha256(bytes));
  assert.equal(file.times, 0, 'there were enough requests to break off');
  assert.ok(file.sent() <= bytes.length + LOST, `${file.sent()} bytes sent for ${bytes.length}`);
  const before = file.sent();
  assert.equal((await tab.run(visit, { model: file.url })).text, text);
  assert.ok(file.sent() - before < MB, 'the second visit takes the file from the cache');
});

inBrowsers('a tab that is reloaded goes on where it was', async ({ tab, server }) => {
  const bytes = bigModel();
  const file = server.fault({ bytes, rate: SLOW });
  const loaded = await tab.run(model => new Promise((resolve, reject) => {
    const progressCallback = ({ loaded, phase }) => phase === 'download' && loaded > 50e6 && resolve(loaded);
    woolly.Engine.create({ model, n_ctx: 256, progressCallback }).catch(reject);
  }), file.url);
  await tab.reload();
  const before = file.requests.length;
  file.rate = Infinity;
  const { text, stored, message } = await tab.run(visit, { model: file.url });
  assert.ok(text, message);
  assert.equal(stored.sha256, sha256(bytes));
  const sent = file.sent(before);
  assert.ok(sent <= bytes.length - loaded + LOST, `${sent} bytes sent after ${loaded} of ${bytes.length} had been loaded`);
});

inBrowsers('an abort is heard, and the download goes on later', async ({ tab, server }) => {
  const bytes = bigModel();
  const file = server.fault({ bytes, rate: SLOW });
  const aborted = await tab.run(model => {
    const stop = new AbortController();
    const progressCallback = ({ loaded }) => loaded > 30e6 && stop.abort();
    return outcome(woolly.Engine.create({ model, n_ctx: 256, progressCallback, signal: stop.signal }));
  }, file.url);
  assert.equal(aborted.code, 'aborted');
  assert.ok(file.sent() < bytes.length, 'heard before the end');
  await sleep(500);
  const sent = file.sent();
  await sleep(500);
  assert.ok(file.sent() - sent < 2 * MB, 'the download has stopped');
  file.rate = Infinity;
  const before = file.requests.length;
  const { text, message } = await tab.run(visit, { model: file.url, sha256: sha256(bytes) });
  assert.ok(text, message);
  const missing = bytes.length - 30e6;
  assert.ok(file.sent(before) <= missing + LOST, `${file.sent(before)} bytes sent where ${missing} were missing`);
});

inBrowsers('a signal that is aborted already asks for nothing', async ({ tab, server }) => {
  const file = server.fault({ bytes: tiny() });
  const { code } = await tab.run(model => outcome(woolly.Engine.create({ model, signal: AbortSignal.abort() })), file.url);
  assert.equal(code, 'aborted');
  assert.equal(file.requests.length, 0);
});

inBrowsers('two tabs at once', async ({ scope, kind, server }) => {
  const visitor = await scope.visitor(kind);
  const tabs = [await scope.openTab(visitor), await scope.openTab(visitor)];
  const bytes = bigModel();
  const file = server.fault({ bytes, rate: 100 * MB });
  const results = await Promise.all(tabs.map(tab => tab.run(visit, { model: file.url })));
  for (const { text, message } of results) assert.ok(text, message);
  assert.equal(results[0].text, results[1].text);
  const before = file.requests.length;
  const third = await tabs[0].run(visit, { model: file.url });
  assert.equal(third.text, results[0].text);
  assert.equal(third.stored.sha256, sha256(bytes));
  assert.ok(file.sent(before) < MB, 'by then the file is in the cache');
});

inBrowsers('a file that changes under way is not mixed with the old one', async ({ tab, server }) => {
  const old = bigModel();
  const bytes = Buffer.from(old);
  for (let at = bytes.length >> 1; at < bytes.length; at += 1000) bytes[at] ^= 1;
  const file = server.fault({ bytes: old, drop: 2 * MB });
  const timer = setInterval(() => {
    if (file.sent() < 40 * MB) return;
    Object.assign(file, { bytes, etag: '"new"', drop: Infinity });
    clearInterval(timer);
  }, 5);
  const first = await tab.run(visit, { model: file.url });
  clearInterval(timer);
  assert.ok(first.text || first.typed, first.message);
  const { text, stored, message } = await tab.run(visit, { model: file.url });
  assert.ok(text, message);
  assert.equal(stored.sha256, sha256(bytes));
  if (first.text) assert.equal(first.text, text);
});

inBrowsers('a server without ranges, also when it breaks off', async ({ tab, server }) => {
  const bytes = tiny();
  const file = server.fault({ bytes, ranges: false, drop: 50_000, times: 2 });
  const { text, message } = await tab.run(visit, { model: file.url, sha256: sha256(bytes) });
  assert.ok(text, message);
});

inBrowsers('errors of the server pass, or end in a typed error', async ({ tab, server }) => {
  const bytes = tiny();
  const passing = await tab.run(visit, { model: server.fault({ bytes, status: 503, times: 2 }).url });
  assert.ok(passing.text, passing.message);
  const lasting = server.fault({ bytes, status: 500 });
  assert.equal((await tab.run(visit, { model: lasting.url })).code, 'network');
  assert.ok(lasting.requests.length > 1, 'it is asked again');
  assert.equal((await tab.run(visit, { model: `${server.url}/tiny/none.gguf` })).code, 'not_found');
  assert.equal((await tab.run(visit, { model: server.fault({ bytes, status: 404 }).url })).code, 'not_found');
  assert.equal((await tab.run(visit, { model: 'http://127.0.0.1:9/model.gguf' })).code, 'network');
});

inBrowsers('connections that always break off end in a typed error', async ({ tab, server }) => {
  const file = server.fault({ bytes: tiny(), drop: 0 });
  assert.equal((await tab.run(visit, { model: file.url })).code, 'network');
});

inBrowsers('another hash than expected', async ({ tab, server }) => {
  const { code } = await tab.run(visit, { model: server.fault({ bytes: tiny() }).url, sha256: '0'.repeat(64) });
  assert.equal(code, 'bad_hash');
});

inBrowsers('the prompt is computed while the weights come in', async ({ tab, server }) => {
  const bytes = bigModel();
  const file = server.fault({ bytes, rate: SLOW });
  const answer = tab.run(async model => {
    const engine = await woolly.Engine.create({ model, n_ctx: 256, n_threads: 1, resolve: 'header' });
    const created = performance.now();
    const text = await generate(engine);
    return { text, wait: performance.now() - created };
  }, file.url);
  const { text, wait } = await answer;
  assert.ok(wait > 500, 'the engine is there long before the last byte');
  assert.equal(text, (await tab.run(visit, { model: file.url })).text);
});

inBrowsers('the manager: download, list, validate, estimate, remove', async ({ tab, server }) => {
  const bytes = tiny();
  const file = server.fault({ bytes });
  const { code, ...found } = await tab.run(async model => {
    const manager = new woolly.ModelManager();
    const estimate = await manager.estimateMemory(model, { n_ctx: 128 });
    const afterEstimate = (await manager.list()).length;
    await manager.download(model);
    const list = await manager.list();
    const valid = await manager.validate(model);
    const { text } = await useOnce({ model });
    await manager.remove(model);
    return { estimate, afterEstimate, list, valid, text, left: (await manager.list()).length };
  }, file.url);
  assert.equal(found.estimate.weights, bytes.length);
  assert.equal(found.list.length, 1);
  assert.deepEqual([found.list[0].model, found.list[0].size, found.list[0].loaded], [file.url, bytes.length, bytes.length]);
  assert.equal(found.list[0].sha256, sha256(bytes));
  assert.ok(Math.abs(found.list[0].used - Date.now()) < 60_000);
  assert.deepEqual(found.valid, { ok: true, problems: [] });
  assert.ok(found.text.length > 0);
  assert.equal(found.left, 0);
});
