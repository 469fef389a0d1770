/** How fast the model runs here: a prompt of 480 tokens, then 64 generated ones. */

import type { Engine, Timings } from 'woolly-llm';
import { count, rate } from './format';

const PROMPT_TOKENS = 480;
const GENERATED_TOKENS = 64;

const PROSE = `The shepherd counted the flock twice before the snow came. Ninety-eight, and two at the far end of the
valley, where the grass was long and the wall had fallen in the autumn rain. He took his stick and his bread, called the
old dog, and went down by the river path while there was still an hour of light. `;

export async function bench(engine: Engine, signal: AbortSignal): Promise<Timings> {
  const completion = await engine.completions.create(
    {
      prompt: await promptTokens(engine),
      max_tokens: GENERATED_TOKENS,
      temperature: 0,
      ignore_eos: true,
      cache_prompt: false,
    },
    { signal },
  );
  return completion.timings!;
}

export function describe(timings: Timings): string {
  const prompt = `prompt of ${count(timings.prompt_n)} tokens: ${rate(timings.prompt_per_second)}`;
  return `Bench: ${prompt} · ${count(timings.predicted_n)} generated: ${rate(timings.predicted_per_second)}`;
}

/** Exactly as many tokens for every model, if its context has room for them. */
async function promptTokens(engine: Engine): Promise<number[]> {
  const length = Math.min(PROMPT_TOKENS, Math.max(1, engine.n_ctx - GENERATED_TOKENS));
  const once = Array.from(await engine.tokenize(PROSE));
  return Array.from({ length }, (_, at) => once[at % once.length]!);
}
