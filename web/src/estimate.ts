/** How much memory a model will take, told before it is downloaded. */

import type { Memory, ModelManager } from 'woolly-llm';
import { byId, setText } from './dom';
import { bytes } from './format';
import type { Choice } from './loader';

/** What 32-bit WebAssembly can address. */
const MOST = 4 * 2 ** 30;

/** The part of the device's memory that a tab can hope for. */
const SHARE = 0.6;

export class Estimate {
  readonly #manager: ModelManager;
  readonly #area = byId('estimate', HTMLElement);
  #controller = new AbortController();

  constructor(manager: ModelManager) {
    this.#manager = manager;
  }

  /** Shows what is known at once. */
  showSize(choice: Choice | null): void {
    this.#controller.abort();
    this.#show(choice?.size ? `A file of ${bytes(choice.size)}.` : '', null);
  }

  /** Reads the model's header, of a remote one over the network, and shows the memory. */
  async show(choice: Choice, n_ctx: number | undefined): Promise<void> {
    this.showSize(choice);
    const controller = (this.#controller = new AbortController());
    // The visitor may still be typing an address, or on the way through the list.
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (controller.signal.aborted) return;
    try {
      const memory = await this.#manager.estimateMemory(choice.source, { n_ctx, signal: controller.signal });
      if (!controller.signal.aborted) this.#show(describe(memory), problem(memory));
    } catch {
      // Loading will say what is wrong, with a way on; an estimate is not worth an error.
    }
  }

  #show(text: string, warning: string | null): void {
    setText(this.#area, warning ? `${text} ${warning}` : text);
    this.#area.classList.toggle('warning', warning !== null);
  }
}

function describe(memory: Memory): string {
  const parts = `${bytes(memory.weights)} of weights, ${bytes(memory.kv_cache)} for the context`;
  return `Takes about ${bytes(memory.total)} of memory: ${parts}.`;
}

function problem(memory: Memory): string | null {
  if (memory.total > MOST) {
    return 'This cannot fit: a page gets 4 GB at most. Choose a smaller model or context.';
  }
  // Chromium alone tells, in powers of two up to 8.
  const device = (navigator as { deviceMemory?: number }).deviceMemory;
  if (device && device < 8 && memory.total > device * 2 ** 30 * SHARE) {
    return 'This may be too much for this device.';
  }
  return null;
}
