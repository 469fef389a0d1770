/** Sources that need no network: files, blobs, bytes, and streams. Nothing of them is kept. */
import { WoollyError, badArgument, throwIfAborted } from '../errors.js';
import type { Tools } from './hash.js';
import { Meter } from './meter.js';
import type { LoadOptions, Loaded, Sink } from './options.js';
import { pathOpener } from './platform.js';
import { messageOf } from './problems.js';
import { settings } from './settings.js';
import type { TransferableSource } from './sources.js';

export type LocalSource = Exclude<TransferableSource, { kind: 'urls' }>;

/** A file that can be read from any place. */
export interface LocalFile {
  name: string;
  size: number;
  /** The next call but one may use the same memory again. */
  slice(from: number, to: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Not for streams, which can be read only once and from their beginning. */
export async function openLocal(source: Exclude<LocalSource, { kind: 'stream' }>): Promise<LocalFile[]> {
  if (source.kind === 'bytes') return [ofBytes(source.bytes)];
  if (source.kind === 'blob') return source.blobs.map(ofBlob);
  return Promise.all(source.paths.map(ofPath));
}

export async function readLocal(source: LocalSource, sink: Sink, options: LoadOptions, tools: Tools): Promise<Loaded> {
  throwIfAborted(options.signal);
  const files = source.kind === 'stream' ? [await ofStream(source.stream, options)] : await openLocal(source);
  const meter = new Meter(options.onProgress);
  const loaded: Loaded = { parts: [], notes: [] };
  try {
    await sink.reserve(files.map(({ size }) => size));
    meter.start(
      0,
      files.reduce((sum, { size }) => sum + size, 0),
      'read',
    );
    for (const [part, file] of files.entries()) {
      const write = (offset: number, bytes: Uint8Array) => {
        sink.write(part, offset, bytes);
        meter.add(bytes.length, 'read');
      };
      const sha256 = await readOne(file, write, options.sha256?.[part], options.signal, tools);
      loaded.parts.push({ name: file.name, size: file.size, sha256 });
    }
  } finally {
    for (const file of files) await file.close();
  }
  meter.end();
  return loaded;
}

type Write = (offset: number, bytes: Uint8Array) => void;

async function readOne(
  file: LocalFile,
  write: Write,
  expected: string | undefined,
  signal: AbortSignal,
  tools: Tools,
): Promise<string | null> {
  const hash = expected === undefined ? null : tools.sha256();
  for await (const [offset, bytes] of slices(file)) {
    throwIfAborted(signal);
    hash?.update(bytes);
    write(offset, bytes);
  }
  const found = hash?.finish() ?? null;
  if (found === null || found === expected!.toLowerCase()) return found;
  throw new WoollyError('bad_hash', `${file.name}: the file's SHA-256 is ${found}, expected ${expected}.`);
}

/** The next slice is read while one is used. */
async function* slices(file: LocalFile): AsyncGenerator<[offset: number, bytes: Uint8Array]> {
  const read = (offset: number) => file.slice(offset, Math.min(offset + settings.piece, file.size));
  let next = read(0);
  for (let offset = 0; offset < file.size;) {
    const bytes = await next;
    if (bytes.length === 0)
      throw new WoollyError('bad_model', `${file.name}: the file ends at byte ${offset} instead of ${file.size}.`);
    next = read(offset + bytes.length);
    next.catch(() => {}); // It is awaited on the next round, if there is one.
    yield [offset, bytes];
    offset += bytes.length;
  }
}

function ofBytes(bytes: Uint8Array): LocalFile {
  return { name: '', size: bytes.length, slice: async (from, to) => bytes.subarray(from, to), close: async () => {} };
}

function ofBlob(blob: Blob): LocalFile {
  const name = (blob as Partial<File>).name ?? '';
  const slice = async (from: number, to: number) => {
    try {
      return new Uint8Array(await blob.slice(from, to).arrayBuffer());
    } catch (error) {
      throw new WoollyError(
        'not_found',
        `${name || 'the blob'} cannot be read: ${messageOf(error)}. It may have been moved or changed.`,
        { cause: error },
      );
    }
  };
  return { name, size: blob.size, slice, close: async () => {} };
}

async function ofPath(path: string): Promise<LocalFile> {
  const open = pathOpener();
  if (!open) throw badArgument('model', path, 'a URL: there are no paths in browsers');
  const file = await open(path).catch((error: unknown) => {
    throw new WoollyError('not_found', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  });
  let [spare, buffer] = [new Uint8Array(settings.piece), new Uint8Array(settings.piece)];
  const slice = async (from: number, to: number) => {
    [spare, buffer] = [buffer, spare];
    if (to - from > buffer.length) buffer = new Uint8Array(to - from);
    const own = buffer.subarray(0, to - from);
    return own.subarray(0, await file.read(from, own));
  };
  return { name: file.name, size: file.size, slice, close: () => file.close() };
}

/**
 * A stream does not tell how long it is, and memory for a model is allocated once: it is collected first, and takes twice
 * its memory until it has been handed on. A Blob or a URL is the better source where there is one.
 */
async function ofStream(stream: ReadableStream<Uint8Array>, options: LoadOptions): Promise<LocalFile> {
  const { signal } = options;
  const meter = new Meter(options.onProgress);
  const chunks: Uint8Array[] = [];
  const reader = stream.getReader();
  const onAbort = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener('abort', onAbort);
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      // A stream may use the memory of its chunks again.
      chunks.push(next.value.slice());
      meter.add(next.value.length, 'read');
    }
    throwIfAborted(signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return ofChunks(chunks);
}

/** Hands chunks on in order and lets go of each. */
function ofChunks(chunks: Uint8Array[]): LocalFile {
  const size = chunks.reduce((sum, { length }) => sum + length, 0);
  const left = chunks.reverse();
  const slice = async (from: number, to: number) => {
    const chunk = left.pop() ?? new Uint8Array(0);
    if (chunk.length > to - from) left.push(chunk.subarray(to - from));
    return chunk.subarray(0, to - from);
  };
  return { name: '', size, slice, close: async () => {} };
}
