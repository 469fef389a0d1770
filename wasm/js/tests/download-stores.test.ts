/** Each store, over what the platform offers or a stand-in for it; and sources that are not URLs. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openCacheApi } from '../download/cache-api.js';
import { openFsStore, openPath } from '../download/fs-store.js';
import { type Sink, type TransferableSource, load, readHead, resolveSource, setStores } from '../download/index.js';
import { openOpfs } from '../download/opfs.js';
import { Busy } from '../download/problems.js';
import { settings } from '../download/settings.js';
import type { Store } from '../download/store.js';
import type { Progress } from '../types.js';
import { type Bytes, FileServer, model, sha256, tools } from './download-server.js';
import { fakeCaches, fakeOpfs } from './download-store.js';

const SIZE = 5_000_000;
const file = model(SIZE);
const options = { signal: new AbortController().signal, onProgress: () => {} };
let server: FileServer;
let folder: string;

before(async () => {
  Object.assign(settings, { piece: 1_000_000, pause: 2, tick: 0 });
  folder = await mkdtemp(join(tmpdir(), 'woolly-'));
  server = await new FileServer().start();
  server.files.set('a.gguf', file);
});
after(async () => {
  server.stop();
  await rm(folder, { recursive: true });
});

async function read(source: TransferableSource, more = {}): Promise<Bytes> {
  let bytes = new Uint8Array(0);
  const sink: Sink = {
    reserve: (sizes) => void (bytes = new Uint8Array(sizes[0]!)),
    write: (_, offset, part) => bytes.set(part, offset),
  };
  await load(source, sink, { ...options, ...more }, tools);
  return bytes;
}

async function works(store: Store): Promise<void> {
  setStores({ open: async () => store, openPath });
  const source = resolveSource(server.url('a.gguf'), null);
  const controller = new AbortController();
  const onProgress = ({ loaded }: Progress) => loaded >= 3_000_000 && controller.abort();
  await assert.rejects(read(source, { signal: controller.signal, onProgress }), { code: 'aborted' });
  const seen: Progress[] = [];
  assert.equal(sha256(await read(source, { onProgress: (now: Progress) => void seen.push(now) })), sha256(file));
  assert.ok(seen[0]!.loaded >= 3_000_000, 'what had come was kept');
  server.reset();
  assert.equal(sha256(await read(source)), sha256(file));
  assert.deepEqual(server.requests, []);
  for (const name of await store.names()) assert.ok(await store.remove(name));
  assert.deepEqual(await store.names(), []);
}

async function keepsBytes(store: Store): Promise<void> {
  const one = await store.open('x');
  await one.write(1_500_000, new Uint8Array([1, 2, 3]));
  await one.write(1_048_575, new Uint8Array([7, 8]));
  await one.flush();
  const into = new Uint8Array(2);
  assert.equal(await one.read(1_048_575, into), 2);
  assert.deepEqual([...into], [7, 8]);
  await one.truncate(1_048_576);
  assert.equal(await one.read(1_048_575, into), 1);
  await one.flush();
  await one.close();
  assert.deepEqual([...(await store.peek('x', 1_048_575, 9))], [7]);
  assert.equal((await store.peek('y', 0, 9)).length, 0);
  assert.equal(await store.remove('x'), true);
  assert.equal(await store.remove('x'), false);
}

test('the disk', async () => {
  const store = await openFsStore(join(folder, 'disk'));
  await keepsBytes(store);
  await works(store);
  const held = await store.open('x');
  await assert.rejects(store.open('x'), Busy);
  await held.close();
  await writeFile(join(folder, 'disk', 'x.lock'), JSON.stringify({ pid: process.pid, start: 1 }));
  await (await store.open('x')).close();
  assert.deepEqual(await readdir(join(folder, 'disk')), ['x']);
});

test('the Cache API', async () => {
  Object.assign(globalThis, { caches: fakeCaches(), location: { origin: new URL(server.url('')).origin } });
  const store = await openCacheApi();
  await keepsBytes(store);
  await works(store);
});

test('the origin private file system', async () => {
  Object.assign(globalThis, {
    isSecureContext: true,
    FileSystemFileHandle: { prototype: { createSyncAccessHandle: 0 } },
  });
  Object.defineProperty(globalThis, 'navigator', { value: { storage: fakeOpfs() }, configurable: true });
  const store = await openOpfs();
  await keepsBytes(store);
  await works(store);
  const held = await store.open('x');
  await assert.rejects(store.open('x'), Busy);
  await held.close();
});

test('blobs, bytes, streams and paths', async () => {
  const path = join(folder, 'b.gguf');
  await writeFile(path, file);
  const blob = new Blob([file]);
  const sources = [blob, file, file.buffer, blob.stream(), path, new URL(`file://${path}`)].map((source) =>
    resolveSource(source, null),
  );
  assert.deepEqual(
    sources.map(({ kind }) => kind),
    ['blob', 'bytes', 'bytes', 'stream', 'paths', 'paths'],
  );
  for (const source of sources)
    assert.equal(sha256(await read(source, { sha256: [sha256(file)] })), sha256(file), source.kind);
  await assert.rejects(read(resolveSource(blob, null), { sha256: ['0'.repeat(64)] }), { code: 'bad_hash' });
  await assert.rejects(read(resolveSource(`${path}x`, null)), { code: 'not_found' });
  const { bytes, size } = await readHead(resolveSource(path, null), 100, options);
  assert.deepEqual([bytes, size], [file.slice(0, 100), SIZE]);
  const aborted = AbortSignal.abort();
  for (const source of sources) await assert.rejects(read(source, { signal: aborted }), { code: 'aborted' });
});

test('what names a model', () => {
  const urls = (model: Parameters<typeof resolveSource>[0], base: string | null = null) => {
    const source = resolveSource(model, base);
    return source.kind === 'urls' ? source.urls : source.kind === 'paths' ? source.paths : [];
  };
  assert.deepEqual(urls('hf:o/r/f.gguf'), ['https://huggingface.co/o/r/resolve/main/f.gguf']);
  assert.deepEqual(urls('hf:o/r@v1/d/f g.gguf'), ['https://huggingface.co/o/r/resolve/v1/d/f%20g.gguf']);
  assert.deepEqual(urls('m/a.gguf', 'https://x.org/y/'), ['https://x.org/y/m/a.gguf']);
  assert.deepEqual(urls('m/a.gguf'), ['m/a.gguf']);
  assert.deepEqual(urls('C:\\m\\a.gguf'), ['C:\\m\\a.gguf']);
  const parts = ['https://x.org/a-00001-of-00002.gguf?k=1', 'https://x.org/a-00002-of-00002.gguf?k=1'];
  assert.deepEqual(urls(parts[0]!), parts);
  assert.deepEqual(urls(parts), parts);
  assert.deepEqual(urls('d/a-00001-of-00002.gguf'), ['d/a-00001-of-00002.gguf', 'd/a-00002-of-00002.gguf']);
  for (const bad of ['hf:o/f.gguf', '', []]) assert.throws(() => urls(bad), { code: 'bad_argument' });
  assert.throws(() => urls('http://', 'https://x.org'), { code: 'bad_argument' });
  assert.throws(() => urls(7 as never), { code: 'bad_argument' });
});
