/** The models that are stored on this device. */

import type { ModelManager, StoredModel } from 'woolly-llm';
import { byId, make } from './dom';
import { bytes } from './format';

export interface StoredEvents {
  use(model: string): void;
  nameOf(model: string): string;
  failed(error: unknown): void;
}

export class StoredModels {
  readonly #area = byId('stored-area', HTMLElement);
  readonly #list = byId('stored-models', HTMLElement);
  readonly #manager: ModelManager;
  readonly #events: StoredEvents;

  constructor(manager: ModelManager, events: StoredEvents) {
    this.#manager = manager;
    this.#events = events;
  }

  async refresh(): Promise<void> {
    // Without any storage there is nothing to list, and nothing to complain about.
    const models = await this.#manager.list().catch(() => []);
    models.sort((a, b) => b.used - a.used);
    this.#list.replaceChildren(...models.map((model) => this.#row(model)));
    this.#area.hidden = models.length === 0;
  }

  #row(stored: StoredModel): HTMLElement {
    const name = this.#events.nameOf(stored.model);
    const complete = stored.loaded >= stored.size;
    const size = complete ? bytes(stored.size) : `${bytes(stored.loaded)} of ${bytes(stored.size)}`;
    const use = make('button', { type: 'button', 'aria-label': `Choose ${name}` }, 'Choose');
    const remove = make('button', { type: 'button', 'aria-label': `Remove ${name}` }, 'Remove');
    use.addEventListener('click', () => this.#events.use(stored.model));
    remove.addEventListener('click', () => void this.#remove(stored.model, remove));
    const text = make('span', { title: stored.model }, `${name} `, make('span', { class: 'quiet' }, size));
    return make('li', { class: 'row' }, text, make('span', { class: 'row' }, use, remove));
  }

  async #remove(model: string, pressed: HTMLButtonElement): Promise<void> {
    pressed.disabled = true;
    try {
      await this.#manager.remove(model);
    } catch (error) {
      this.#events.failed(error);
    }
    await this.refresh();
    // The button that had the focus is gone.
    const next = this.#list.querySelector('button') ?? byId('model-select', HTMLSelectElement);
    next.focus();
  }
}
