/**
 * The Cache API, for where there is no file system. An entry can only be put as a whole, so that a file is cut into
 * blocks of one entry each. What is written stays in memory until the next flush.
 */
import { estimatedRoom, type Bytes, type Store, type StoreFile } from './store.js';

const CACHE = 'woolly';
const BLOCK = 1 << 20;

/** Rejects with the reason why it cannot be used here. */
export async function openCacheApi(): Promise<Store> {
  if (typeof caches === 'undefined') throw new Error('the browser offers none here');
  await caches.open(CACHE);
  return { kind: 'cache-api', open, peek, names, remove, available: estimatedRoom };
}

async function open(name: string): Promise<StoreFile> {
  return new BlockFile(name, await caches.open(CACHE));
}

async function peek(name: string, offset: number, length: number): Promise<Bytes> {
  const into = new Uint8Array(length);
  const file = await open(name);
  return into.subarray(0, await file.read(offset, into));
}

async function names(): Promise<string[]> {
  const keys = await (await caches.open(CACHE)).keys();
  return [...new Set(keys.map((key) => placeOf(key.url).name))];
}

async function remove(name: string): Promise<boolean> {
  const cache = await caches.open(CACHE);
  const keys = (await cache.keys()).filter((key) => placeOf(key.url).name === name);
  await Promise.all(keys.map((key) => cache.delete(key)));
  return keys.length > 0;
}

class BlockFile implements StoreFile {
  private readonly name: string;
  private readonly cache: Cache;
  /** Blocks that are not in the cache yet. */
  private readonly changed = new Map<number, Bytes>();

  constructor(name: string, cache: Cache) {
    this.name = name;
    this.cache = cache;
  }

  async read(offset: number, into: Bytes): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const [index, at] = blockOf(offset + done);
      const bytes = (await this.block(index)).subarray(at, at + into.length - done);
      into.set(bytes, done);
      done += bytes.length;
      if (at + bytes.length < BLOCK) break;
    }
    return done;
  }

  async write(offset: number, bytes: Bytes): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const [index, at] = blockOf(offset + done);
      const part = bytes.subarray(done, done + BLOCK - at);
      const old = await this.block(index);
      const block = new Uint8Array(Math.max(old.length, at + part.length));
      block.set(old);
      block.set(part, at);
      this.changed.set(index, block);
      done += part.length;
    }
  }

  async truncate(size: number): Promise<void> {
    const [last, length] = blockOf(size);
    for (const index of this.changed.keys()) if (index > last) this.changed.delete(index);
    const rest = (await this.block(last)).slice(0, length);
    for (const key of await this.cache.keys()) {
      const place = placeOf(key.url);
      if (place.name === this.name && place.index >= last) await this.cache.delete(key);
    }
    if (rest.length > 0) this.changed.set(last, rest);
    else this.changed.delete(last);
  }

  async flush(): Promise<void> {
    for (const [index, block] of [...this.changed]) {
      await this.cache.put(address(this.name, index), new Response(block));
      if (this.changed.get(index) === block) this.changed.delete(index);
    }
  }

  async close(): Promise<void> {
    this.changed.clear();
  }

  private async block(index: number): Promise<Bytes> {
    const changed = this.changed.get(index);
    if (changed) return changed;
    const response = await this.cache.match(address(this.name, index));
    return response ? new Uint8Array(await response.arrayBuffer()) : new Uint8Array(0);
  }
}

function blockOf(offset: number): [index: number, at: number] {
  return [Math.floor(offset / BLOCK), offset % BLOCK];
}

/** Entries are found by address, though nothing is ever requested from this one. */
function address(name: string, index: number): string {
  return new URL(`/.woolly/${name}/${index}`, location.origin).href;
}

function placeOf(url: string): { name: string; index: number } {
  const [index, name] = url.split('/').reverse();
  return { name: name ?? '', index: Number(index) };
}
