/** What is kept for the next visit: damaged, not possible, full, or gone. */

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BROWSERS, launch, openTab } from '../lib/browsers.mjs';
import { SMOLLM2, tinyModel } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

const serveTiny = server => server.fault({ bytes: readFileSync(tinyModel().file) });

/** In the page: damages every large file of the private file system and of the caches; says how many. */
async function damage(how) {
  const spoil = bytes => {
    if (how === 'truncate') return bytes.slice(0, bytes.length >> 1);
    for (let at = bytes.length >> 1; at < bytes.length; at += 97) bytes[at] ^= 0x5a;
    return bytes;
  };
  const spoilFile = async handle => {
    const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
    if (bytes.length < 50_000) return 0;
    const writable = await handle.createWritable();
    await writable.write(spoil(bytes));
    await writable.close();
    return 1;
  };
  const spoilFolder = async folder => {
    let count = 0;
    for await (const entry of folder.values()) count += await (entry.kind === 'file' ? spoilFile : spoilFolder)(entry);
    return count;
  };
  return spoilFolder(await navigator.storage.getDirectory());
}

for (const kind of BROWSERS) {
  for (const how of ['truncate', 'flip'])
    for (const first of ['validate', 'use'])
      test(`cache: damage (${how}) is healed on ${first}, ${kind}`, async scope => {
        const file = serveTiny(await scope.server());
        const tab = await scope.open(kind);
        const before = await tab.run(model => useOnce({ model }), file.url);
        assert.ok((await tab.run(damage, how)) > 0, 'there is something to damage');
        if (first === 'validate') {
          const found = await tab.run(model => new woolly.ModelManager().validate(model), file.url);
          assert.equal(found.ok, false);
          assert.ok(found.problems.length > 0);
        }
        const after = await tab.run(model => useOnce({ model }), file.url);
        assert.equal(after.text, before.text);
        const healed = await tab.run(model => new woolly.ModelManager().validate(model), file.url);
        assert.deepEqual(healed, { ok: true, problems: [] });
      });

  test(`cache: without a private file system the next visit still finds the file, ${kind}`, async scope => {
    const file = serveTiny(await scope.server());
    const tab = await scope.open(kind, { pkg: 'no-opfs' });
    const first = await tab.run(model => useOnce({ model }), file.url);
    const sent = file.sent();
    await tab.reload();
    const second = await tab.run(model => useOnce({ model }), file.url);
    assert.equal(second.text, first.text);
    assert.equal(file.sent(), sent, 'nothing is fetched again');
  });

  test(`cache: without any storage models still run, ${kind}`, async scope => {
    const file = serveTiny(await scope.server());
    const { text } = await (await scope.open(kind, { pkg: 'no-storage' })).run(model => useOnce({ model }), file.url);
    assert.ok(text.length > 0);
  });

  test(`cache: cache: false keeps nothing, ${kind}`, async scope => {
    const file = serveTiny(await scope.server());
    const tab = await scope.open(kind);
    const stored = await tab.run(async model => {
      await useOnce({ model, cache: false });
      return new woolly.ModelManager().list();
    }, file.url);
    assert.deepEqual(stored, []);
  });

  test(`cache: a full disk is a typed error or no cache, ${kind}`, async scope => {
    const file = serveTiny(await scope.server());
    const { value, code } = await (await scope.open(kind, { pkg: 'full' })).run(model => outcome(useOnce({ model })), file.url);
    assert.ok(value?.text || code === 'quota', `error ${code}`);
  });

  test(`cache: what is stored outlives the browser, ${kind}`, async scope => {
    const server = await scope.server();
    const file = serveTiny(server);
    const profile = mkdtempSync(join(tmpdir(), 'woolly-profile-'));
    scope.after(() => rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
    const visit = async () => {
      const browser = await launch(kind, profile);
      scope.after(() => browser.close());
      const tab = await openTab(browser, `${server.url}/page/?pkg`);
      const { text } = await tab.run(model => useOnce({ model }), file.url);
      await browser.close();
      return text;
    };
    const first = await visit();
    const sent = file.sent();
    assert.equal(await visit(), first);
    assert.equal(file.sent(), sent, 'nothing is fetched again');
  });
}

test('cache: a quota that the browser sets is a typed error or no cache, chromium', async scope => {
  const { url } = await scope.server();
  const tab = await scope.open('chromium');
  const session = await tab.page.createCDPSession();
  await session.send('Storage.overrideQuotaForOrigin', { origin: url, quotaSize: 20e6 });
  const { value, code } = await tab.run(model => outcome(useOnce({ model, n_ctx: 256 })), `${url}/models/${SMOLLM2}`);
  assert.ok(value?.text || code === 'quota', `error ${code}`);
  await session.send('Storage.overrideQuotaForOrigin', { origin: url });
});
