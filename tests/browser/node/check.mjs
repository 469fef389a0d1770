/**
 * Runs in the Node that is to be tested: `node check.mjs JSON`, with the package's folder, recorded answers and a file that
 * is no model. Prints what came of it as JSON.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { folder, models, noModel } = JSON.parse(process.argv[2]);
const { Engine, ModelManager, WoollyError } = await import(pathToFileURL(join(folder, 'dist/node.js')));

const request = { prompt: 'ab cd', max_tokens: 8, temperature: 0, ignore_eos: true };

const logits = [];
for (const { name, file, answer, ids } of models) logits.push({ name, ...(await same(file, answer, ids)) });

const engine = await Engine.create({ model: models[0].file });
const whole = (await engine.completions.create(request)).choices[0].text;
let streamed = '';
for await (const chunk of await engine.completions.create({ ...request, stream: true })) streamed += chunk.choices[0]?.text ?? '';
const aborted = await codeOf(engine.completions.create(request, { signal: AbortSignal.abort() }));
await engine.unload();

const fromUrl = await Engine.create({ model: pathToFileURL(models[0].file), n_threads: 1 });
const again = (await fromUrl.completions.create(request)).choices[0].text;
await fromUrl.unload();

console.log(JSON.stringify({
  logits,
  backend: engine.backend,
  texts: [whole, streamed, again],
  aborted,
  noModel: await codeOf(Engine.create({ model: noModel })),
  noFile: await codeOf(Engine.create({ model: `${noModel}.none` })),
  estimate: await new ModelManager().estimateMemory(models[0].file, { n_ctx: 64 }),
}));

/** How many logits are not as recorded, and the build that computed them. */
async function same(model, answer, ids) {
  const engine = await Engine.create({ model, n_ctx: Math.max(ids.length, 64), n_threads: 2 });
  const found = await engine.logits(ids);
  await engine.unload();
  const expected = new Float32Array(new Uint8Array(await readFile(answer)).buffer);
  const [a, b] = [found, expected].map(floats => new Uint32Array(floats.buffer, floats.byteOffset, floats.length));
  const differing = a.length === b.length ? a.filter((bits, at) => bits !== b[at]).length : a.length;
  return { differing, backend: engine.backend };
}

async function codeOf(promise) {
  return promise.then(() => 'none', error => (error instanceof WoollyError ? error.code : String(error)));
}
