/** What the cache asks of the platform: a flat folder of files. */

/** Bytes that can be handed to the platform's own functions, which refuse shared memory. */
export type Bytes = Uint8Array<ArrayBuffer>;

export type StoreKind = 'opfs' | 'cache-api' | 'fs';

/** A file of the store, held by nobody else until it is closed. */
export interface StoreFile {
  /** Fills `into` with what lies from `offset` on; returns how many bytes there were. */
  read(offset: number, into: Bytes): Promise<number>;
  write(offset: number, bytes: Bytes): Promise<void>;
  truncate(size: number): Promise<void>;
  /** Resolves when everything written before would survive a crash. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export interface Store {
  readonly kind: StoreKind;
  /** Opens a file, making it if there is none. Rejects with `Busy` while somebody else holds it. */
  open(name: string): Promise<StoreFile>;
  /** Reads without holding the file; short at its end, empty if there is none. */
  peek(name: string, offset: number, length: number): Promise<Bytes>;
  names(): Promise<string[]>;
  /** Whether there was such a file. Rejects with `Busy` while somebody holds it. */
  remove(name: string): Promise<boolean>;
  /** Bytes that may still be written, if that is known. */
  available(): Promise<number | null>;
}

/** A file named by its path, on platforms that have them. */
export interface PathFile {
  readonly size: number;
  read(offset: number, into: Bytes): Promise<number>;
  close(): Promise<void>;
}

/** Whether writing failed because there is no room. */
export function isFull(error: unknown): boolean {
  const { name, code } = error as { name?: unknown; code?: unknown };
  return (
    name === 'QuotaExceededError' || name === 'NS_ERROR_FILE_NO_DEVICE_SPACE' || code === 'ENOSPC' || code === 'EDQUOT'
  );
}

/** What a page may still store, as the browser estimates it. */
export async function estimatedRoom(): Promise<number | null> {
  try {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined ? null : Math.max(0, quota - (usage ?? 0));
  } catch {
    return null;
  }
}
