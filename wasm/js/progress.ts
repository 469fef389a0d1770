/** Thins out progress, so that a fast download does not keep the caller's thread busy with its bar. */

import type { Progress, ProgressCallback } from './types.js';

const INTERVAL = 50;

/** Passes on each phase's first and last news, and in between no more than 20 a second. */
export function thinned(tell: ProgressCallback, now: () => number = () => performance.now()): ProgressCallback {
  let phase = '';
  let told = 0;
  return (progress: Progress) => {
    const due = progress.phase !== phase || progress.loaded === progress.total || now() - told >= INTERVAL;
    if (!due) return;
    phase = progress.phase;
    told = now();
    tell(progress);
  };
}
