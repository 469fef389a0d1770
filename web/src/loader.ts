/** The one engine of the page: loads it, pauses its download, and says what state it is in. */

import { Engine, type ModelSource, type Progress } from 'woolly-llm';

/** A model to load. */
export interface Choice {
  name: string;
  source: ModelSource;
  /** Bytes, if known. */
  size?: number;
}

export type Status = 'idle' | 'loading' | 'paused' | 'ready';

export interface LoadOptions {
  /** Positions of the context; undefined for what is usual with the model. */
  n_ctx: number | undefined;
  /** Whether the file is kept for the next visit. */
  cache: boolean;
}

export interface LoaderEvents {
  changed(): void;
  progress(progress: Progress): void;
  failed(error: unknown): void;
}

export class Loader {
  status: Status = 'idle';
  engine: Engine | null = null;
  /** What is loaded, or was last tried. */
  choice: Choice | null = null;
  options: LoadOptions | null = null;
  #controller = new AbortController();
  readonly #events: LoaderEvents;

  constructor(events: LoaderEvents) {
    this.#events = events;
  }

  /** Puts the model in the place of what is loaded or loading. What was downloaded of it is not fetched again. */
  async load(choice: Choice, options: LoadOptions): Promise<void> {
    const old = this.engine;
    const controller = this.#begin(choice, options);
    try {
      // Frees the memory before the new model asks for its own. An engine whose worker is lost has none left to free.
      await old?.unload().catch(() => undefined);
      const engine = await Engine.create({
        model: choice.source,
        n_ctx: options.n_ctx,
        cache: options.cache,
        signal: controller.signal,
        progressCallback: (progress) => {
          if (this.#controller === controller) this.#events.progress(progress);
        },
      });
      await this.#arrived(engine, controller);
    } catch (error) {
      if (this.#controller === controller) this.#ended(error, controller.signal.aborted);
    }
  }

  /** Stops the download; to `load` the same once more goes on at the byte where it stopped. */
  pause(): void {
    this.#controller.abort();
  }

  #begin(choice: Choice, options: LoadOptions): AbortController {
    this.#controller.abort();
    this.#controller = new AbortController();
    this.engine = null;
    this.choice = choice;
    this.options = options;
    this.#set('loading');
    return this.#controller;
  }

  async #arrived(engine: Engine, controller: AbortController): Promise<void> {
    if (this.#controller !== controller || controller.signal.aborted) {
      await engine.unload();
      controller.signal.throwIfAborted();
      return;
    }
    this.engine = engine;
    this.#set('ready');
  }

  #ended(error: unknown, paused: boolean): void {
    this.#set(paused ? 'paused' : 'idle');
    if (!paused) this.#events.failed(error);
  }

  #set(status: Status): void {
    this.status = status;
    this.#events.changed();
  }
}
