/** Stores for tests: one that can lose what was not flushed, and the browser's interfaces over it. */
import type { Bytes, Store, StoreFile } from '../download/store.js';
import { Busy } from '../download/problems.js';

interface Content {
  /** What survives a crash. */
  flushed: Bytes;
  now: Bytes;
}

export class CrashStore implements Store {
  readonly kind = 'fs';
  readonly files = new Map<string, Content>();
  readonly held = new Set<string>();
  /** Bytes that may be written in all. */
  room = Infinity;
  /** What the estimate says. */
  estimate: number | null = null;
  /** Operations until the machine stops. */
  left = Infinity;

  async open(name: string): Promise<StoreFile> {
    this.step();
    if (this.held.has(name)) throw new Busy(name);
    this.held.add(name);
    const content = this.files.get(name) ?? { flushed: new Uint8Array(0), now: new Uint8Array(0) };
    this.files.set(name, content);
    return {
      read: async (offset, into) => {
        this.step();
        const bytes = content.now.subarray(offset, offset + into.length);
        into.set(bytes);
        return bytes.length;
      },
      write: async (offset, bytes) => {
        this.step();
        this.room -= Math.max(0, offset + bytes.length - content.now.length);
        if (this.room < 0) throw new DOMException('full', 'QuotaExceededError');
        const grown = new Uint8Array(Math.max(content.now.length, offset + bytes.length));
        grown.set(content.now);
        grown.set(bytes, offset);
        content.now = grown;
      },
      truncate: async (size) => {
        this.step();
        content.now = content.now.slice(0, size);
      },
      flush: async () => {
        this.step();
        content.flushed = content.now.slice();
      },
      close: async () => void this.held.delete(name),
    };
  }

  async peek(name: string, offset: number, length: number): Promise<Bytes> {
    return this.files.get(name)?.now.slice(offset, offset + length) ?? new Uint8Array(0);
  }

  async names(): Promise<string[]> {
    return [...this.files.keys()];
  }

  async remove(name: string): Promise<boolean> {
    this.step();
    return this.files.delete(name);
  }

  async available(): Promise<number | null> {
    return this.estimate;
  }

  /** The machine comes up again: of each file, some beginning of what was not flushed may have reached the disk. */
  restart(luck: number): void {
    for (const content of this.files.values()) {
      const { flushed, now } = content;
      const reached = Math.max(0, Math.round(now.length * luck));
      const length = luck === 0 ? flushed.length : Math.max(flushed.length, reached);
      const mixed = new Uint8Array(length);
      mixed.set(flushed.subarray(0, length));
      mixed.set(now.subarray(0, Math.min(reached, length)));
      content.now = content.flushed = mixed;
    }
    this.held.clear();
    this.left = Infinity;
  }

  private step(): void {
    if (--this.left < 0) throw new Error('the machine has stopped');
  }
}

/** As much of the Cache API as is used. */
export function fakeCaches(): CacheStorage {
  const entries = new Map<string, Bytes>();
  const cache = {
    keys: async () => [...entries.keys()].map((url) => ({ url })),
    match: async (url: string) => (entries.has(url) ? new Response(entries.get(url)!) : undefined),
    put: async (url: string, response: Response) => void entries.set(url, new Uint8Array(await response.arrayBuffer())),
    delete: async (key: string | { url: string }) => entries.delete(typeof key === 'string' ? key : key.url),
  };
  return { open: async () => cache } as unknown as CacheStorage;
}

/** As much of the origin private file system as is used. */
export function fakeOpfs(): { getDirectory(): Promise<unknown> } {
  const files = new Map<string, Bytes>();
  const open = new Set<string>();
  const named = (name: string) => Object.assign(new Error(name), { name });
  const access = (name: string) => ({
    read: (into: Bytes, { at }: { at: number }) => {
      const bytes = files.get(name)!.subarray(at, at + into.length);
      into.set(bytes);
      return bytes.length;
    },
    write: (bytes: Bytes, { at }: { at: number }) => {
      const old = files.get(name)!;
      const grown = new Uint8Array(Math.max(old.length, at + bytes.length));
      grown.set(old);
      grown.set(bytes, at);
      files.set(name, grown);
      return bytes.length;
    },
    truncate: (size: number) => void files.set(name, files.get(name)!.slice(0, size)),
    flush: () => {},
    close: () => void open.delete(name),
  });
  const handle = (name: string) => ({
    createSyncAccessHandle: async () => {
      if (open.has(name)) throw named('NoModificationAllowedError');
      open.add(name);
      return access(name);
    },
    getFile: async () => new Blob([files.get(name)!]),
  });
  const folder = {
    keys: async function* () {
      yield* files.keys();
    },
    getFileHandle: async (name: string, options?: { create: boolean }) => {
      if (!files.has(name) && !options?.create) throw named('NotFoundError');
      if (!files.has(name)) files.set(name, new Uint8Array(0));
      return handle(name);
    },
    removeEntry: async (name: string) => {
      if (open.has(name)) throw named('NoModificationAllowedError');
      if (!files.delete(name)) throw named('NotFoundError');
    },
  };
  return { getDirectory: async () => ({ getDirectoryHandle: async () => folder }) };
}
