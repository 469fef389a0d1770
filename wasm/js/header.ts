/**
 * Reads the model's header as soon as it has arrived, so that a file that cannot run, or does not fit, is refused after its
 * first megabytes and not after its last.
 */

import { WoollyError } from './errors.js';
import type { Glue } from './glue.js';
import type { CacheType, Memory, ModelInfo } from './types.js';

/** Positions of the context unless told otherwise. */
const USUAL_CONTEXT = 2048;
const LEAST_CONTEXT = 256;

export interface Header {
  info: ModelInfo;
  /** Positions of the context: what was asked for, or as many as fit. */
  n_ctx: number;
  memory: Memory;
  /** Bytes of the first part that a model takes before it can be made; infinite where it takes the other parts too. */
  loadable: number;
}

/** The settings that a session's size depends on. */
export interface SessionSettings {
  /** Undefined: the usual; 0: as many as fit. */
  n_ctx: number | undefined;
  n_batch: number;
  cache_type: CacheType;
}

interface Readable {
  info: ModelInfo;
  parts: number;
  loadable: number;
}

/** The header, or how many bytes of the file it takes to read it. */
export function readHeader(
  glue: Glue,
  prefix: Uint8Array,
  size: number,
  settings: SessionSettings,
  limit: number,
): Header | { needed: number } {
  const read = JSON.parse(glue.read_header(prefix)) as { needed: number } | Readable;
  if ('needed' in read) return read;
  const estimate = (n_ctx: number): Memory => {
    const options = JSON.stringify({ ...sessionOptions(settings, n_ctx), n_threads: 1 });
    return JSON.parse(glue.estimate_memory(prefix, size, options)) as Memory;
  };
  const info = { ...read.info, size };
  const loadable = read.parts === 1 ? read.loadable : Infinity;
  return { info, loadable, ...fit(estimate, settings.n_ctx, info.n_ctx_train, limit) };
}

/** A session's options in the words of the bindings. */
export function sessionOptions({ n_batch, cache_type }: SessionSettings, n_ctx: number): Record<string, unknown> {
  return { n_ctx, n_batch, cache_type };
}

/** Says that a model does not fit; null if it does. */
export function tooLarge({ memory, n_ctx }: Header, limit: number): WoollyError | null {
  if (memory.total <= limit) return null;
  const need = `the model needs ${gigabytes(memory.total)} with a context of ${n_ctx} positions`;
  const way = 'take a smaller quantization, a smaller n_ctx, or cache_type_k and cache_type_v q8_0';
  return new WoollyError('out_of_memory', `${need}, and WebAssembly can have ${gigabytes(limit)}: ${way}`);
}

/** The context that was asked for; with 0, the largest that fits, halving what the model was trained for. */
function fit(
  estimate: (n_ctx: number) => Memory,
  wanted: number | undefined,
  trained: number,
  limit: number,
): { n_ctx: number; memory: Memory } {
  let n_ctx = wanted || (wanted === 0 ? trained : Math.min(USUAL_CONTEXT, trained));
  let memory = estimate(n_ctx);
  while (wanted === 0 && memory.total > limit && n_ctx > LEAST_CONTEXT) {
    n_ctx = Math.max(LEAST_CONTEXT, Math.floor(n_ctx / 2));
    memory = estimate(n_ctx);
  }
  return { n_ctx, memory };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Follows the pieces of a file as they arrive in any order, and knows how much of its beginning is there. */
export class Prefix {
  /** Bytes from the beginning without a gap. */
  length = 0;
  /** Ends of the pieces behind the gap, by where they begin. */
  #apart = new Map<number, number>();

  add(offset: number, bytes: number): void {
    this.#apart.set(offset, offset + bytes);
    for (let end = this.#apart.get(this.length); end !== undefined; end = this.#apart.get(this.length)) {
      this.#apart.delete(this.length);
      this.length = end;
    }
  }
}
