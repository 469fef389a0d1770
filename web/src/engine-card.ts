/** What runs: the model, the build of the engine, the reasons for nothing faster, and the bench. */

import type { Engine } from 'woolly-llm';
import { bench, describe } from './bench';
import { button, byId, make, setText } from './dom';
import { isAborted } from './errors';
import { bytes, count } from './format';

export interface EngineCardHost {
  engine(): Engine | null;
  changed(): void;
  failed(error: unknown): void;
}

export class EngineCard {
  readonly #host: EngineCardHost;
  readonly #button = button('bench');
  readonly #result = byId('bench-result', HTMLElement);
  #controller: AbortController | null = null;

  constructor(host: EngineCardHost) {
    this.#host = host;
    this.#button.addEventListener('click', () => this.#pressed());
  }

  get busy(): boolean {
    return this.#controller !== null;
  }

  /** Shows what runs, or nothing. `free` is whether the engine has time for the bench. */
  show(name: string, free: boolean): void {
    const engine = this.#host.engine();
    byId('engine-card', HTMLElement).hidden = !engine;
    this.#button.disabled = !free && !this.busy;
    setText(this.#button, this.busy ? 'Stop' : 'Bench');
    if (engine) this.#describe(engine, name);
  }

  /** Another engine has other results. */
  reset(): void {
    this.#controller?.abort();
    setText(this.#result, '');
  }

  #describe(engine: Engine, name: string): void {
    const { info, backend } = engine;
    setText(byId('engine-name', HTMLElement), name || info.name);
    const facts = [info.quantization, bytes(info.size), `context ${count(engine.n_ctx)}`];
    setText(byId('engine-facts', HTMLElement), facts.join(' · '));
    const threads = backend.threads === 1 ? '1 thread' : `${backend.threads} threads`;
    setText(byId('backend-build', HTMLElement), `Build ${backend.build} with ${backend.isa} on ${threads}`);
    byId('backend-why', HTMLElement).hidden = backend.fallbacks.length === 0;
    byId('backend-fallbacks', HTMLElement).replaceChildren(...backend.fallbacks.map((why) => make('li', {}, why)));
  }

  #pressed(): void {
    const engine = this.#host.engine();
    if (this.#controller) this.#controller.abort();
    else if (engine) void this.#run(engine);
  }

  async #run(engine: Engine): Promise<void> {
    const controller = (this.#controller = new AbortController());
    setText(this.#result, 'Bench: running…');
    this.#host.changed();
    try {
      const timings = await bench(engine, controller.signal);
      setText(this.#result, describe(timings));
    } catch (error) {
      setText(this.#result, '');
      if (!isAborted(error)) this.#host.failed(error);
    }
    this.#controller = null;
    this.#host.changed();
  }
}
