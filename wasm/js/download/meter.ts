import type { Phase, Progress } from '../types.js';
import { settings } from './settings.js';

/** Counts bytes, and tells of them now and then. */
export class Meter {
  private readonly tell: (progress: Progress) => void;
  private total = 0;
  private loaded = 0;
  private phase: Phase = 'download';
  private told = -Infinity;

  constructor(tell: (progress: Progress) => void) {
    this.tell = tell;
  }

  /** Begins anew, with so many bytes that are there already. */
  start(loaded: number, total: number, phase: Phase): void {
    Object.assign(this, { loaded, total, phase });
    this.show();
  }

  add(bytes: number, phase: Phase): void {
    this.loaded += bytes;
    this.phase = phase;
    if (performance.now() - this.told >= settings.tick) this.show();
  }

  /** The last call of a callback shows the end. */
  end(): void {
    this.show();
  }

  /** In words. */
  get soFar(): string {
    return `${this.loaded} of ${this.total} bytes so far`;
  }

  private show(): void {
    this.told = performance.now();
    const { loaded, total, phase } = this;
    this.tell({ loaded, total, phase });
  }
}
