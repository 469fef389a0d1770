/** Brings models from where they are, and keeps what came over the network. Runs in the engine's worker. */
import { WoollyError, badArgument, throwIfAborted } from '../errors.js';
import type { StoredModel, Validation } from '../types.js';
import { CachedFile, journals, peekStart, removeFile } from './cached.js';
import type { Tools } from './hash.js';
import type { Journal } from './journal.js';
import { openLocal, readLocal } from './local.js';
import { Meter } from './meter.js';
import type { LoadOptions, Loaded, Sink } from './options.js';
import { exclusively, theStore } from './platform.js';
import { Changed } from './problems.js';
import { fill, openRemote } from './remote.js';
import { keyOf, type TransferableSource } from './sources.js';
import type { Bytes, Store } from './store.js';
import { Transfer } from './transfer.js';

export { setStores, storeKind, type StoreChoice, type Stores } from './platform.js';
export { resolveSource, type TransferableSource } from './sources.js';
export type { LoadOptions, Loaded, Sink } from './options.js';
export type { StreamingHash, Tools } from './hash.js';

/** Hands all bytes of a model to the sink, from the cache as far as it has them. */
export async function load(model: TransferableSource, sink: Sink, options: LoadOptions, tools: Tools): Promise<Loaded> {
  checkHashes(model, options.sha256);
  if (model.kind !== 'urls') return readLocal(model, sink, options, tools);
  return transfer(model.urls, sink, options, tools);
}

/** Brings a model into the cache. */
export async function download(model: TransferableSource, options: LoadOptions, tools: Tools): Promise<StoredModel> {
  if (model.kind !== 'urls') throw badArgument('model', model.kind, 'a URL: there is nothing to download');
  checkHashes(model, options.sha256);
  if (!model.urls.every(isKept) || !(await theStore()))
    throw new WoollyError('unsupported', 'This page cannot keep files.');
  await transfer(model.urls, null, { ...options, cache: true }, tools);
  const stored = (await list()).find(({ model: key }) => key === model.urls[0]);
  if (!stored) throw new WoollyError('quota', `${model.urls[0]} was removed right after its download.`);
  return stored;
}

export async function list(): Promise<StoredModel[]> {
  const store = await theStore();
  return store ? [...(await stored(store)).values()].map(summary) : [];
}

/** Whether there was one. Waits while another tab is busy with it. */
export async function remove(model: string): Promise<boolean> {
  const store = await theStore();
  if (!store) return false;
  const key = keyOf(model);
  return exclusively(key, new AbortController().signal, async () => {
    const files = (await stored(store)).get(key) ?? [];
    for (const { name } of files) await removeFile(store, name);
    return files.length > 0;
  });
}

/** Reads all of a model that is kept and compares the hashes of its pieces. */
export async function validate(model: string, tools: Tools, options: Partial<LoadOptions> = {}): Promise<Validation> {
  const store = await theStore();
  const key = keyOf(model);
  const signal = options.signal ?? new AbortController().signal;
  const meter = new Meter(options.onProgress ?? (() => {}));
  return exclusively(key, signal, async () => {
    const files = store ? ((await stored(store)).get(key) ?? []) : [];
    if (files.length === 0) return { ok: false, problems: [`${key} is not kept`] };
    meter.start(
      0,
      total(files, ({ header }) => header!.size),
      'verify',
    );
    const missing = files[0]!.journal.header!.parts - files.length;
    const problems = missing > 0 ? [`${key}: ${missing} parts are missing`] : [];
    for (const { journal } of files) problems.push(...(await validateFile(store!, journal, tools, signal, meter)));
    meter.end();
    return { ok: problems.length === 0, problems };
  });
}

/** The first bytes of a model, from the cache or the network, and the size of all its parts. */
export async function readHead(
  model: TransferableSource,
  length: number,
  options: LoadOptions,
): Promise<{ bytes: Uint8Array; size: number }> {
  if (model.kind === 'stream') throw badArgument('model', 'a stream', 'a source that can be read twice');
  if (model.kind === 'urls') {
    const heads = await Promise.all(model.urls.map((url, part) => headOf(url, part === 0 ? length : 0, options)));
    return { bytes: heads[0]!.bytes, size: heads.reduce((sum, { size }) => sum + size, 0) };
  }
  const files = await openLocal(model);
  try {
    const bytes = await files[0]!.slice(0, Math.min(length, files[0]!.size));
    return { bytes: bytes.slice(), size: files.reduce((sum, { size }) => sum + size, 0) };
  } finally {
    for (const file of files) await file.close();
  }
}

async function transfer(urls: string[], sink: Sink | null, options: LoadOptions, tools: Tools): Promise<Loaded> {
  const store = options.cache === false || !urls.every(isKept) ? null : await theStore();
  const run = () => new Transfer(urls, sink, store, options, tools).run();
  return store ? exclusively(urls[0]!, options.signal, run) : run();
}

/** `blob:` and `data:` URLs are about memory, and mean something else on the next visit. */
function isKept(url: string): boolean {
  return /^https?:/i.test(url);
}

function checkHashes(model: TransferableSource, hashes: string[] | undefined): void {
  if (!hashes) return;
  const parts =
    model.kind === 'urls'
      ? model.urls.length
      : model.kind === 'paths'
        ? model.paths.length
        : model.kind === 'blob'
          ? model.blobs.length
          : 1;
  if (hashes.length !== parts) throw badArgument('sha256', hashes, `${parts} of them, one for each part`);
  const wrong = hashes.find((hash) => !/^[0-9a-f]{64}$/i.test(hash));
  if (wrong !== undefined) throw badArgument('sha256', wrong, '64 hexadecimal digits');
}

type StoredFile = { name: string; journal: Journal };

/** The files of each model, in the order of its parts. */
async function stored(store: Store): Promise<Map<string, StoredFile[]>> {
  const models = new Map<string, StoredFile[]>();
  for (const file of await journals(store)) {
    const key = file.journal.header?.model;
    if (key !== undefined) models.set(key, [...(models.get(key) ?? []), file]);
  }
  for (const files of models.values())
    files.sort((one, other) => one.journal.header!.part - other.journal.header!.part);
  return models;
}

function summary(files: StoredFile[]): StoredModel {
  const first = files[0]!.journal;
  return {
    model: first.header!.model,
    size: total(files, ({ header }) => header!.size),
    loaded: total(files, ({ loaded }) => loaded),
    sha256: first.header!.parts === 1 && first.isComplete ? first.sha256 : null,
    used: Math.max(...files.map(({ journal }) => journal.used)),
  };
}

function total(files: StoredFile[], of: (journal: Journal) => number): number {
  return files.reduce((sum, { journal }) => sum + of(journal), 0);
}

async function validateFile(
  store: Store,
  journal: Journal,
  tools: Tools,
  signal: AbortSignal,
  meter: Meter,
): Promise<string[]> {
  const { url, size, piece } = journal.header!;
  const file = await CachedFile.open(store, url, tools, signal);
  const problems: string[] = [];
  try {
    const buffer = new Uint8Array(Math.min(piece, size));
    for (let start = 0; start < size; start += piece) {
      throwIfAborted(signal);
      const length = Math.min(piece, size - start);
      const there = await file.read(start / piece, buffer.subarray(0, length));
      const what = file.known.pieces.get(start / piece)?.bytes === length ? 'damaged' : 'missing';
      if (there < length) problems.push(`${url}: bytes ${start} to ${start + length - 1} are ${what}`);
      meter.add(length, 'verify');
    }
  } finally {
    await file.close();
  }
  return problems;
}

async function headOf(url: string, length: number, options: LoadOptions): Promise<{ bytes: Bytes; size: number }> {
  const store = options.cache === false ? null : await theStore();
  const file = store && (await journals(store)).find(({ journal }) => journal.header?.url === url);
  const kept = file ? await peekStart(store, file.name, file.journal, length).catch(() => null) : null;
  if (kept) return { bytes: kept, size: file!.journal.header!.size };
  const remote = await openRemote(url, options.headers ?? {}, options.signal, () => {});
  const bytes = new Uint8Array(Math.min(length, remote.size));
  let have = 0;
  try {
    const onBytes = (more: number) => void (have += more);
    await fill(remote, url, 0, bytes, 0, {
      signal: options.signal,
      onBytes,
      soFar: () => `${have} of ${bytes.length} bytes`,
    });
  } catch (error) {
    throw error instanceof Changed ? new WoollyError('network', `${error.message} while it was being read.`) : error;
  } finally {
    remote.close();
  }
  return { bytes, size: remote.size };
}
