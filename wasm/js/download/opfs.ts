/**
 * The origin private file system: a real file for each model, read and written in place by synchronous handles, which
 * only workers have. A handle is exclusive; the browser takes it back when its worker ends.
 */
import { Busy } from './problems.js';
import { estimatedRoom, type Bytes, type Store, type StoreFile } from './store.js';

const FOLDER = 'woolly';

/** Older browsers answer some of these with promises, hence every call is awaited. */
interface SyncHandle {
  read(into: Bytes, options: { at: number }): number;
  write(bytes: Bytes, options: { at: number }): number;
  truncate(size: number): void | Promise<void>;
  flush(): void | Promise<void>;
  close(): void | Promise<void>;
}

type FileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncHandle> };
type Folder = FileSystemDirectoryHandle & { keys(): AsyncIterable<string> };

/** Rejects with the reason why it cannot be used here. */
export async function openOpfs(): Promise<Store> {
  if (!globalThis.isSecureContext) throw new Error('the page is not a secure context');
  if (typeof navigator.storage?.getDirectory !== 'function') throw new Error('the browser has none');
  if (!('createSyncAccessHandle' in FileSystemFileHandle.prototype))
    throw new Error('it has no synchronous handles here');
  await folder();
  return { kind: 'opfs', open, peek, names, remove, available: estimatedRoom };
}

/** Asked for each time: a handle that was kept is dead once the user has cleared the site's data. */
async function folder(): Promise<Folder> {
  const root = await navigator.storage.getDirectory();
  return (await root.getDirectoryHandle(FOLDER, { create: true })) as Folder;
}

async function open(name: string): Promise<StoreFile> {
  const file = (await (await folder()).getFileHandle(name, { create: true })) as FileHandle;
  try {
    return new OpfsFile(await file.createSyncAccessHandle());
  } catch (error) {
    throw held(error, name);
  }
}

async function peek(name: string, offset: number, length: number): Promise<Bytes> {
  try {
    const file = await (await (await folder()).getFileHandle(name)).getFile();
    return new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
  } catch (error) {
    if (nameOf(error) === 'NotFoundError') return new Uint8Array(0);
    throw error;
  }
}

async function names(): Promise<string[]> {
  const found: string[] = [];
  for await (const name of (await folder()).keys()) found.push(name);
  return found;
}

async function remove(name: string): Promise<boolean> {
  try {
    await (await folder()).removeEntry(name);
    return true;
  } catch (error) {
    if (nameOf(error) === 'NotFoundError') return false;
    throw held(error, name);
  }
}

class OpfsFile implements StoreFile {
  private readonly handle: SyncHandle;

  constructor(handle: SyncHandle) {
    this.handle = handle;
  }

  async read(offset: number, into: Bytes): Promise<number> {
    return this.handle.read(into, { at: offset });
  }

  async write(offset: number, bytes: Bytes): Promise<void> {
    const written = this.handle.write(bytes, { at: offset });
    if (written < bytes.length)
      throw new DOMException('The disk took only a part of what was written.', 'QuotaExceededError');
  }

  async truncate(size: number): Promise<void> {
    await this.handle.truncate(size);
  }

  async flush(): Promise<void> {
    await this.handle.flush();
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

function held(error: unknown, name: string): unknown {
  return nameOf(error) === 'NoModificationAllowedError' ? new Busy(`${name} is in use`) : error;
}

function nameOf(error: unknown): unknown {
  return (error as { name?: unknown } | null)?.name;
}
