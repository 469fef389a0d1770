/** The package in Node: the same answers, from paths and URLs. */

import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { HERE, recorded, setting, tinyModel } from '../lib/settings.mjs';
import { NODES, node, run } from '../lib/process.mjs';
import { test } from '../lib/suite.mjs';

for (const version of NODES)
  test(`node: logits, generation and errors in ${version}`, async () => {
    const tiny = recorded().filter(model => model.tiny);
    const others = tiny.filter(({ name }) => name !== tinyModel().name && !tinyModel().name.startsWith(name));
    const models = [tinyModel(), others[others.length >> 1] ?? tinyModel()];
    const found = JSON.parse(await run(node(version), [join(HERE, 'node/check.mjs'), JSON.stringify({
      folder: setting('WOOLLY_PACKAGE'),
      models: models.map(({ name, file, ids }) => ({ name, file, ids, answer: join(dirname(file), `${name}.f32`) })),
      noModel: join(HERE, 'package.json'),
    })]));
    for (const { name, differing, backend } of found.logits) {
      assert.equal(differing, 0, `${name}: logits that differ`);
      assert.equal(backend.threads, 2);
      // Node 20 computes the relaxed dot product wrongly.
      assert.equal(backend.build, version === 'node20' ? 'simd128' : 'relaxed');
    }
    if (version === 'node20') assert.match(found.backend.fallbacks.join('\n'), /relaxed/);
    assert.ok(found.texts[0].length > 0);
    assert.deepEqual(found.texts, found.texts.map(() => found.texts[0]));
    assert.equal(found.aborted, 'aborted');
    assert.equal(found.noModel, 'not_gguf');
    assert.equal(found.noFile, 'not_found');
    assert.ok(found.estimate.total > found.estimate.weights);
  });
