/** SHA-256: of pieces by the platform, of whole files piece after piece. */
import type { Bytes } from './store.js';

/** What the wasm instance lends. */
export interface Tools {
  sha256(): StreamingHash;
}

export interface StreamingHash {
  update(bytes: Uint8Array): void;
  finish(): string;
}

/** The platform's own, off this thread, where there is one: pages without a secure context have none. */
export async function digest(bytes: Bytes, tools: Tools | null): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (subtle) return hex(new Uint8Array(await subtle.digest('SHA-256', bytes)));
  if (!tools) throw new Error('there is no SHA-256 here');
  const hash = tools.sha256();
  hash.update(bytes);
  return hash.finish();
}

/** The hash of a file whose pieces arrive in any order, each of which is held until the ones before it have come. */
export class InOrder {
  /** Pieces that have been hashed. */
  done = 0;
  private readonly hash: StreamingHash;
  private readonly waiting = new Map<number, { bytes: Bytes; release: () => void }>();

  constructor(tools: Tools) {
    this.hash = tools.sha256();
  }

  add(index: number, bytes: Bytes, release: () => void): void {
    this.waiting.set(index, { bytes, release });
    for (let next = this.waiting.get(this.done); next; next = this.waiting.get(this.done)) {
      this.hash.update(next.bytes);
      this.waiting.delete(this.done);
      this.done += 1;
      next.release();
    }
  }

  finish(): string {
    return this.hash.finish();
  }
}

function hex(bytes: Bytes): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
