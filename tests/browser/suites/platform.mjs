/** What runs where: builds, threads, reasons, strict policies, and how much memory it takes. */

import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { BROWSERS } from '../lib/browsers.mjs';
import { SMOLLM2, setting, tinyModel } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

/** Keys and values of SmolLM2 in f16: 30 layers of 3 heads of 64. */
const KV_BYTES_PER_POSITION = 30 * 2 * 3 * 64 * 2;

/** What an engine reports in a tab, and what it says. */
const report = (tab, options = {}) => tab.run(options => useOnce(options), { model: tinyModel().url, ...options });

for (const kind of BROWSERS) {
  test(`platform: the best build and threads, ${kind}`, async scope => {
    const { text, backend } = await report(await scope.open(kind), { n_threads: 2 });
    assert.ok(text.length > 0);
    const { isa, ...rest } = backend;
    assert.match(isa, /^relaxed-simd/);
    assert.deepEqual(rest, { build: 'relaxed', threads: 2, fallbacks: [] });
  });

  test(`platform: a build by its name, ${kind}`, async scope => {
    const { backend } = await report(await scope.open(kind), { build: 'simd128' });
    assert.equal(backend.build, 'simd128');
    assert.equal(backend.isa, 'simd128');
  });

  test(`platform: without isolation one thread, and why, ${kind}`, async scope => {
    const { text, backend } = await report(await scope.open(kind, { isolated: false }), { n_threads: 2 });
    assert.ok(text.length > 0);
    assert.equal(backend.threads, 1);
    assert.match(backend.fallbacks.join('\n'), /isolated/);
  });

  test(`platform: without SharedArrayBuffer one thread, and why, ${kind}`, async scope => {
    const { text, backend } = await report(await scope.open(kind, { pkg: 'no-shared-memory' }), { n_threads: 2 });
    assert.ok(text.length > 0);
    assert.equal(backend.threads, 1);
    assert.ok(backend.fallbacks.length > 0);
  });

  test(`platform: scripts and builds from elsewhere, under a strict policy, ${kind}`, async scope => {
    const tab = await scope.open(kind);
    const { text } = await report(tab, { workerUrl: '/no-opfs/dist/worker.js', wasmUrl: '/probed/dist/', n_threads: 2 });
    assert.ok(text.length > 0);
    assert.deepEqual(tab.said.filter(line => /policy/i.test(line)), []);
  });

  test(`platform: memory of SmolLM2 with 2048 positions, ${kind}`, async scope => {
    const { memory, bytes } = await (await scope.open(kind, { pkg: 'probed' })).run(async model => {
      const engine = await woolly.Engine.create({ model, n_ctx: 2048, n_threads: 1 });
      await engine.completions.create({ prompt: 'All the sheep of the world. '.repeat(60), max_tokens: 4, temperature: 0 });
      const channel = new BroadcastChannel('probe');
      const bytes = new Promise(resolve => (channel.onmessage = ({ data }) => typeof data === 'number' && resolve(data)));
      channel.postMessage('size?');
      return { memory: await engine.memory(), bytes: await bytes };
    }, `/models/${SMOLLM2}`);
    const { size } = statSync(join(setting('WOOLLY_MODELS'), SMOLLM2));
    const cache = KV_BYTES_PER_POSITION * 2048;
    assert.equal(memory.weights, size);
    assert.ok(Math.abs(memory.kv_cache - cache) < 0.02 * cache, `the cache has ${memory.kv_cache} bytes, expected ${cache}`);
    assert.ok(bytes <= 1.15 * size + cache, `${bytes} bytes of memory, ${size} of the model, ${cache} of the cache`);
    assert.ok(memory.total >= 0.9 * bytes && memory.total <= 1.1 * bytes, `${memory.total} reported, ${bytes} found`);
  });
}
