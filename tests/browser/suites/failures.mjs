/** Files that are no models, models that do not fit, workers that die: typed errors, and a way on. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { BROWSERS } from '../lib/browsers.mjs';
import { nonsense, read, write } from '../lib/gguf.mjs';
import { SMOLLM2, tinyModel } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

/** An error that does not come within this time, in milliseconds, does not come. */
const SOON = 15_000;

const create = model => outcome(woolly.Engine.create({ model }));

for (const kind of BROWSERS) {
  test(`failures: what is no model, ${kind}`, async scope => {
    const server = await scope.server();
    const model = readFileSync(tinyModel().file);
    const renamed = read(model);
    renamed.metadata = renamed.metadata.filter(([key]) => !key.endsWith('.block_count'));
    const files = {
      page: [Buffer.from('<!doctype html><title>Not found</title>'.repeat(100)), ['not_gguf']],
      empty: [Buffer.alloc(0), ['not_gguf', 'bad_model']],
      nonsense: [nonsense(), ['unsupported_architecture']],
      'half a header': [model.subarray(0, 1000), ['bad_model']],
      'half a model': [model.subarray(0, model.length >> 1), ['bad_model']],
      'no block count': [write(renamed), ['bad_model']],
    };
    const tab = await scope.open(kind);
    for (const [name, [bytes, codes]] of Object.entries(files)) {
      const found = await tab.run(create, server.fault({ bytes }).url);
      assert.ok(codes.includes(found.code), `${name}: ${found.code}, ${found.message}`);
      assert.ok(found.message.length > 10, `${name}: ${found.message}`);
    }
    const local = await tab.run(() => outcome(woolly.Engine.create({ model: new Blob(['no model']) })));
    assert.ok(['not_gguf', 'bad_model'].includes(local.code), `Blob: ${local.code}, ${local.message}`);
    assert.ok((await tab.run(model => useOnce({ model }), tinyModel().url)).text, 'a model still runs');
  });

  test(`failures: what cannot fit is said before the download, ${kind}`, async scope => {
    const server = await scope.server();
    const file = server.fault({ bytes: readFileSync(tinyModel().file), size: 5e9 });
    const tab = await scope.open(kind);
    const big = await tab.run(create, file.url);
    assert.equal(big.code, 'out_of_memory', big.message);
    assert.ok(file.sent() < 64e6, `${file.sent()} bytes were fetched`);
    const context = await tab.run(model => outcome(woolly.Engine.create({ model, n_ctx: 2 ** 27 })), tinyModel().url);
    assert.ok(['out_of_memory', 'bad_argument'].includes(context.code), `${context.code}, ${context.message}`);
  });

  for (const busy of [true, false])
    test(`failures: a worker that is killed while it ${busy ? 'generates' : 'rests'}, ${kind}`, async scope => {
      const { killed, later, took, after } = await (await scope.open(kind)).run(async ({ model, busy }) => {
        const engine = await woolly.Engine.create({ model, n_ctx: 2048, n_threads: 1 });
        const ask = () => engine.completions.create({ prompt: 'Once upon', ignore_eos: true, temperature: 0 });
        const running = busy && outcome(ask());
        await new Promise(resolve => setTimeout(resolve, 200));
        const began = performance.now();
        globalThis.workers.forEach(worker => worker.terminate());
        const killed = await (running || outcome(ask()));
        const took = performance.now() - began;
        const later = await outcome(ask());
        await engine.unload();
        return { killed, later, took, after: await outcome(useOnce({ model, n_ctx: 256 })) };
      }, { model: `/models/${SMOLLM2}`, busy });
      assert.equal(killed.code, 'worker', killed.message);
      assert.ok(took < SOON);
      assert.ok(['worker', 'unloaded'].includes(later.code), later.message);
      assert.ok(after.value?.text, `a new engine works: ${after.message}`);
    });

  test(`failures: a worker that is killed while it loads, ${kind}`, async scope => {
    const server = await scope.server();
    const file = server.fault({ bytes: readFileSync(tinyModel().file), rate: 50_000 });
    const tab = await scope.open(kind);
    const { killed, after } = await tab.run(async ({ slow, fast }) => {
      const loading = outcome(woolly.Engine.create({ model: slow }));
      await new Promise(resolve => setTimeout(resolve, 500));
      globalThis.workers.forEach(worker => worker.terminate());
      return { killed: await loading, after: await outcome(useOnce({ model: fast })) };
    }, { slow: file.url, fast: tinyModel().url });
    assert.equal(killed.code, 'worker', killed.message);
    assert.ok(after.value?.text, `a new engine works: ${after.message}`);
  });

  test(`failures: workers that do not start, ${kind}`, async scope => {
    const broken = await (await scope.open(kind, { pkg: 'broken' })).run(create, tinyModel().url);
    assert.equal(broken.code, 'worker', broken.message);
    const tab = await scope.open(kind);
    const missing = await tab.run(model => outcome(woolly.Engine.create({ model, workerUrl: '/none.js' })), tinyModel().url);
    assert.equal(missing.code, 'worker', missing.message);
    const build = await tab.run(model => outcome(woolly.Engine.create({ model, wasmUrl: '/none/' })), tinyModel().url);
    assert.ok(build.typed, build.message);
  });
}
