/**
 * The disk of Node, Deno and Bun: files in the user's cache folder. Apart from the rest, so that no `node:` import
 * reaches a browser.
 */
import * as fs from 'node:fs/promises';
import { constants } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Busy } from './problems.js';
import type { Bytes, PathFile, Store, StoreFile } from './store.js';

/** A lock that its holder has not touched for so many milliseconds is void. */
const STALE = 60_000;

/** The user's folder for what programs can fetch again. */
export function cacheFolder(): string {
  const { env, platform } = process;
  if (env['XDG_CACHE_HOME']) return join(env['XDG_CACHE_HOME'], 'woolly');
  if (platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local'), 'woolly');
  return platform === 'darwin' ? join(homedir(), 'Library', 'Caches', 'woolly') : join(homedir(), '.cache', 'woolly');
}

export async function openFsStore(folder = cacheFolder()): Promise<Store> {
  await fs.mkdir(folder, { recursive: true });
  return new FsStore(folder);
}

/** Opens a file for the sources that are paths or `file:` URLs. */
export async function openPath(path: string): Promise<PathFile & { name: string }> {
  const place = path.startsWith('file:') ? fileURLToPath(path) : path;
  const handle = await fs.open(place, 'r');
  const { size } = await handle.stat();
  return {
    name: basename(place),
    size,
    read: (offset, into) => readAt(handle, offset, into),
    close: () => handle.close(),
  };
}

class FsStore implements Store {
  readonly kind = 'fs';
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async open(name: string): Promise<StoreFile> {
    const lock = await Lock.take(join(this.folder, `${name}.lock`));
    try {
      const handle = await fs.open(join(this.folder, name), constants.O_RDWR | constants.O_CREAT, 0o644);
      return new FsFile(handle, lock);
    } catch (error) {
      await lock.free();
      throw error;
    }
  }

  async peek(name: string, offset: number, length: number): Promise<Bytes> {
    try {
      const handle = await fs.open(join(this.folder, name), 'r');
      const { size } = await handle.stat();
      const into = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
      const done = await readAt(handle, offset, into).finally(() => handle.close());
      return into.subarray(0, done);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return new Uint8Array(0);
      throw error;
    }
  }

  async names(): Promise<string[]> {
    return (await fs.readdir(this.folder)).filter((name) => !name.endsWith('.lock'));
  }

  async remove(name: string): Promise<boolean> {
    const lock = await Lock.take(join(this.folder, `${name}.lock`));
    try {
      await fs.rm(join(this.folder, name));
      return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    } finally {
      await lock.free();
    }
  }

  async available(): Promise<number | null> {
    try {
      const { bavail, bsize } = await fs.statfs(this.folder);
      return bavail * bsize;
    } catch {
      return null;
    }
  }
}

class FsFile implements StoreFile {
  private readonly handle: fs.FileHandle;
  private readonly lock: Lock;

  constructor(handle: fs.FileHandle, lock: Lock) {
    this.handle = handle;
    this.lock = lock;
  }

  read(offset: number, into: Bytes): Promise<number> {
    return readAt(this.handle, offset, into);
  }

  async write(offset: number, bytes: Bytes): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      done += (await this.handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
    }
  }

  truncate(size: number): Promise<void> {
    return this.handle.truncate(size);
  }

  flush(): Promise<void> {
    return this.handle.datasync();
  }

  async close(): Promise<void> {
    await this.handle.close();
    await this.lock.free();
  }
}

/**
 * A file beside the one that is held, with the process that holds it. It is void when that process has ended (so that a
 * killed download can go on at once) or has not touched it for long (should another process have got its number since).
 */
class Lock {
  private readonly path: string;
  private readonly heartbeat: NodeJS.Timeout;

  private constructor(path: string) {
    this.path = path;
    this.heartbeat = setInterval(() => void fs.utimes(path, new Date(), new Date()).catch(() => {}), STALE / 6);
    this.heartbeat.unref();
  }

  static async take(path: string): Promise<Lock> {
    for (let attempt = 0; ; attempt++) {
      try {
        await fs.writeFile(path, JSON.stringify({ pid: process.pid, start: startOf() }), { flag: 'wx' });
        return new Lock(path);
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
      if (attempt === 2 || (await isHeld(path))) throw new Busy(`${path} is in use`);
      await fs.rm(path, { force: true });
    }
  }

  async free(): Promise<void> {
    clearInterval(this.heartbeat);
    await fs.rm(this.path, { force: true });
  }
}

async function isHeld(path: string): Promise<boolean> {
  try {
    const { mtimeMs } = await fs.stat(path);
    const { pid, start } = JSON.parse(await fs.readFile(path, 'utf8')) as { pid: number; start: number };
    if (Date.now() - mtimeMs > STALE) return false;
    if (pid === process.pid) return Math.abs(start - startOf()) < 2_000;
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A lock that is being written holds no JSON yet; one of another user's process may not be signalled.
    return error instanceof SyntaxError || codeOf(error) === 'EPERM';
  }
}

/** When this process began: two processes may have the same number, in containers for instance. */
function startOf(): number {
  return Math.round(Date.now() - process.uptime() * 1000);
}

async function readAt(handle: fs.FileHandle, offset: number, into: Bytes): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await handle.read(into, done, into.length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}
