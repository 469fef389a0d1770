/** What loading takes and gives, besides the source. */
import type { Progress } from '../types.js';

/** Where a model's bytes go. */
export interface Sink {
  /**
   * The sizes of the parts, once they are known. When a file changes on the server while it is being downloaded, this is
   * called again, and everything that was written before is void.
   */
  reserve(parts: number[]): Promise<void> | void;
  /** Bytes of a file, each once, in pieces of a few MB, mostly ascending. They must be copied at once: the buffer is used again. */
  write(part: number, offset: number, bytes: Uint8Array): void;
}

export interface Loaded {
  parts: { name: string; size: number; sha256: string | null }[];
  /** What went differently from what one might expect, such as a file that could not be kept. */
  notes: string[];
}

export interface LoadOptions {
  signal: AbortSignal;
  onProgress(progress: Progress): void;
  /** For each part. */
  sha256?: string[] | undefined;
  headers?: Record<string, string> | undefined;
  parallel?: number | undefined;
  cache?: boolean | undefined;
}
