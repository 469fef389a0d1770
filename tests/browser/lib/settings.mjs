/** What the environment tells the suite. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this suite. */
export const HERE = dirname(dirname(fileURLToPath(import.meta.url)));

/** The value of a variable that names a file or folder, which must be there. */
export function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  if (!existsSync(value)) throw new Error(`${name} names ${value}, which does not exist`);
  return value;
}

/** The same, but undefined where the variable is not set: what needs it says so later. */
export const optional = name => (process.env[name] ? setting(name) : undefined);

/** Recorded answers, NAME.ids and NAME.f32, and the models that they belong to. */
export function recorded() {
  const folder = setting('WOOLLY_TINY');
  const names = readdirSync(folder).filter(file => file.endsWith('.ids')).map(file => file.slice(0, -4)).sort();
  return names.map(name => {
    const tiny = existsSync(join(folder, `${name}.gguf`));
    const file = tiny ? join(folder, `${name}.gguf`) : realModel(name);
    return { name, tiny, file, url: tiny ? `/tiny/${name}.gguf` : `/models/${file.split('/').pop()}`,
      ids: readFileSync(join(folder, `${name}.ids`), 'utf8').split(/[\s,]+/).filter(Boolean).map(Number) };
  });
}

/** The tiny model that stands for any model. */
export function tinyModel() {
  const tiny = recorded().filter(model => model.tiny);
  const found = tiny.find(model => model.name === 'llama') ?? tiny[0];
  if (!found) throw new Error('WOOLLY_TINY has no model');
  return found;
}

/** The real model with which speed, memory and downloads are tested. */
export const SMOLLM2 = 'SmolLM2-135M-Instruct.Q4_1.gguf';

/** The real model whose name begins like that of a recorded answer. */
function realModel(name) {
  const folder = setting('WOOLLY_MODELS');
  const family = name.toLowerCase().split('-')[0];
  const file = readdirSync(folder).find(file => file.toLowerCase().startsWith(family) && !file.includes('.f32.'));
  if (!file) throw new Error(`no model for the recorded answer ${name}`);
  return join(folder, file);
}
