/** How far loading is: a bar, the speed, the time that is left. */

import type { Phase, Progress } from 'woolly-llm';
import { byId, onFrame, setText } from './dom';
import { bytes, duration } from './format';

/** Milliseconds over which the speed is measured. */
const WINDOW = 3000;

const PHASES: Record<Phase, string> = {
  download: 'Downloading',
  verify: 'Checking the file',
  read: 'Reading the file',
  compile: 'Starting the engine',
  load: 'Loading the model',
};

export class ProgressView {
  readonly #area = byId('progress-area', HTMLElement);
  readonly #label = byId('progress-label', HTMLElement);
  readonly #bar = byId('progress', HTMLProgressElement);
  readonly #text = byId('progress-text', HTMLElement);
  readonly #paint = onFrame(() => this.#show());
  #last: Progress | null = null;
  #samples: { time: number; loaded: number }[] = [];
  #paused = false;

  /** A load begins, or goes on. */
  start(): void {
    this.#samples = [];
    this.#paused = false;
    this.#area.hidden = false;
    // On a phone it lies below what can be seen.
    this.#area.scrollIntoView({ block: 'nearest' });
    this.#paint();
  }

  /** What has arrived stays in view. */
  pause(): void {
    this.#paused = true;
    this.#paint();
  }

  /** The load is over; the next one may be of another model. */
  finish(): void {
    this.#last = null;
    this.#area.hidden = true;
  }

  set(progress: Progress): void {
    if (progress.phase !== this.#last?.phase) this.#samples = [];
    const time = performance.now();
    this.#last = progress;
    this.#samples.push({ time, loaded: progress.loaded });
    while (this.#samples.length > 2 && time - this.#samples[0]!.time > WINDOW) this.#samples.shift();
    this.#paint();
  }

  #show(): void {
    const { loaded, total, phase } = this.#last ?? { loaded: 0, total: 0, phase: 'load' };
    setText(this.#label, this.#paused ? 'Paused' : PHASES[phase]);
    if (total > 0) {
      this.#bar.max = total;
      this.#bar.value = loaded;
    } else {
      this.#bar.removeAttribute('value');
    }
    setText(this.#text, this.#describe(loaded, total));
  }

  #describe(loaded: number, total: number): string {
    if (total === 0) return loaded > 0 ? bytes(loaded) : '';
    const parts = [`${bytes(loaded)} of ${bytes(total)}`];
    const speed = this.#speed();
    if (speed > 0) parts.push(`${bytes(speed)}/s`);
    if (speed > 0 && loaded < total) parts.push(`${duration((total - loaded) / speed)} left`);
    return parts.join(' · ');
  }

  /** Bytes a second. */
  #speed(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (this.#paused || !first || !last || last.time - first.time < 200) return 0;
    return ((last.loaded - first.loaded) / (last.time - first.time)) * 1000;
  }
}
