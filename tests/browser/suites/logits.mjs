/** One answer: the logits of every recorded model have the bits of the portable native code, in each build and browser. */

import assert from 'node:assert/strict';
import { BROWSERS } from '../lib/browsers.mjs';
import { recorded } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

for (const kind of BROWSERS)
  for (const build of ['simd128', 'relaxed'])
    for (const threads of [1, 2])
      test(`logits: ${kind}, ${build}, ${threads === 1 ? 'one thread' : 'threads'}`, scope => same(scope, kind, build, threads), {
        timeout: 120_000,
      });

async function same(scope, kind, build, threads) {
  const models = recorded().map(({ name, url, ids }) => ({ name, url, ids }));
  assert.ok(models.length > 0, 'there are recorded answers');
  const tab = await scope.open(kind);
  for (const model of models) {
    const { differing, backend } = await tab.run(compare, { ...model, build, threads });
    assert.equal(backend.build, build);
    assert.equal(backend.threads, threads);
    assert.equal(differing, 0, `${model.name}: logits that differ`);
  }
}

/** In the page: how many logits are not as recorded. */
async function compare({ name, url, ids, build, threads }) {
  const model = new URL(url, location.href).href;
  const n_ctx = Math.max(ids.length, 64);
  const engine = await woolly.Engine.create({ model, build, n_ctx, n_threads: threads, cache: false });
  const [found, bytes] = await Promise.all([engine.logits(ids), fetchBytes(`/tiny/${name}.f32`)]);
  const { backend } = engine;
  await engine.unload();
  return { backend, differing: differences(found, new Float32Array(bytes.buffer)) };
}
