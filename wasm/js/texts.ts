/** An answer that arrives in chunks. */

import type { Generated, GenerateEvent } from './host.js';
import type { Stream } from './types.js';

/** Makes chunks of what the host sends. */
export interface Chunks<Chunk> {
  first(): Chunk[];
  text(text: string): Chunk;
  last(generated: Generated): Chunk[];
}

type Run = (signal: AbortSignal, onEvent: (event: GenerateEvent) => void) => Promise<Generated>;

export class ChunkStream<Chunk> implements Stream<Chunk> {
  readonly controller: AbortController;
  #chunks: Chunk[] = [];
  #done = false;
  #error: unknown;
  #wake: (() => void) | null = null;
  #read = false;

  private constructor(controller: AbortController) {
    this.controller = controller;
  }

  /** Resolves when the generation begins, so that a request that cannot be answered rejects here and not in the loop. */
  static start<Chunk>(run: Run, outer: AbortSignal | undefined, chunks: Chunks<Chunk>): Promise<Stream<Chunk>> {
    const controller = new AbortController();
    const stream = new ChunkStream<Chunk>(controller);
    const onabort = () => controller.abort(outer?.reason);
    if (outer?.aborted) onabort();
    outer?.addEventListener('abort', onabort, { once: true });
    return new Promise((resolve, reject) => {
      const onEvent = (event: GenerateEvent) => {
        if (event.kind === 'text') return stream.#push([chunks.text(event.text)]);
        stream.#push(chunks.first());
        resolve(stream);
      };
      run(controller.signal, onEvent)
        .then((generated) => stream.#push(chunks.last(generated)))
        .catch((error) => {
          stream.#error = error;
          reject(error);
        })
        .finally(() => {
          outer?.removeEventListener('abort', onabort);
          stream.#end();
        });
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, undefined> {
    if (this.#read) return;
    this.#read = true;
    try {
      for (;;) {
        yield* this.#chunks.splice(0);
        if (this.#chunks.length > 0) continue;
        if (this.#error) throw this.#error;
        if (this.#done) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.controller.abort();
    }
  }

  #push(chunks: Chunk[]): void {
    this.#chunks.push(...chunks);
    this.#wake?.();
  }

  #end(): void {
    this.#done = true;
    this.#wake?.();
  }
}
