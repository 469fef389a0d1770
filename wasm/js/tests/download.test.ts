import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import {
  type LoadOptions,
  type Loaded,
  download,
  list,
  load,
  readHead,
  remove,
  setStores,
  validate,
} from '../download/index.js';
import { settings } from '../download/settings.js';
import type { Store } from '../download/store.js';
import type { Progress } from '../types.js';
import { type Bytes, FileServer, model, sha256, tools } from './download-server.js';
import { CrashStore } from './download-store.js';

const KB = 1024;
const SIZE = 1000 * KB + 123;

let server: FileServer;
let store: CrashStore;
let file: Bytes;
let url: string;

before(async () => {
  Object.assign(settings, { piece: 64 * KB, save: 16 * KB, pause: 2, stall: 200, patience: 100, tick: 0 });
  server = await new FileServer().start();
  url = server.url('a.gguf');
});
after(() => server.stop());
beforeEach(() => {
  server.reset();
  Object.assign(server, { etag: '"one"', ranges: true, delay: 0, mostActive: 0 });
  server.files.clear();
  file = model(SIZE);
  server.files.set('a.gguf', file);
  store = new CrashStore();
  use(store);
});

function use(next: Store): void {
  setStores({ open: async () => next, openPath: async () => assert.fail() });
}

/** A sink that checks that each byte comes once. */
class Memory {
  parts: Bytes[] = [];
  reserved = 0;
  private seen: Bytes[] = [];

  reserve(sizes: number[]): void {
    this.reserved += 1;
    this.parts = sizes.map((size) => new Uint8Array(size));
    this.seen = sizes.map((size) => new Uint8Array(size));
  }

  write(part: number, offset: number, bytes: Uint8Array): void {
    this.parts[part]!.set(bytes, offset);
    const seen = this.seen[part]!.subarray(offset, offset + bytes.length);
    assert.ok(
      seen.every((times) => times === 0),
      `bytes at ${offset} come twice`,
    );
    seen.fill(1);
  }
}

function options(more: Partial<LoadOptions> = {}): LoadOptions {
  return { signal: new AbortController().signal, onProgress: () => {}, ...more };
}

async function bring(more: Partial<LoadOptions> = {}, urls = [url]): Promise<Loaded & { memory: Memory }> {
  const memory = new Memory();
  const loaded = await load({ kind: 'urls', urls }, memory, options(more), tools);
  return { ...loaded, memory };
}

/** Loads and compares. */
async function bringsAll(more: Partial<LoadOptions> = {}): Promise<Loaded & { memory: Memory }> {
  const loaded = await bring(more);
  assert.equal(sha256(loaded.memory.parts[0]!), sha256(server.files.get('a.gguf')!));
  return loaded;
}

/** Aborts once so many bytes have come. */
async function abortAt(bytes: number): Promise<void> {
  const controller = new AbortController();
  const onProgress = ({ loaded }: Progress) => loaded >= bytes && controller.abort();
  await assert.rejects(bring({ signal: controller.signal, onProgress }), { code: 'aborted' });
}

function dataFile(): { now: Bytes } {
  return [...store.files].find(([name]) => name.endsWith('.gguf'))![1];
}

test('ranges come in parallel, and the next visit needs no server', async () => {
  server.delay = 25;
  const progress: Progress[] = [];
  const { parts, notes } = await bringsAll({ onProgress: (now) => void progress.push(now), parallel: 3 });
  assert.deepEqual(parts, [{ name: 'a.gguf', size: SIZE, sha256: sha256(file) }]);
  assert.deepEqual(notes, []);
  assert.equal(server.requests[0], 'bytes=0-');
  assert.equal(server.requests.length, Math.ceil(SIZE / settings.piece));
  // One more than asked for while the first request is still being ended.
  assert.ok(server.mostActive > 1 && server.mostActive <= 4, `${server.mostActive} at a time`);
  assert.deepEqual(progress.at(-1), { loaded: SIZE, total: SIZE, phase: 'download' });
  server.reset();
  const again: Progress[] = [];
  const { parts: same } = await bringsAll({ onProgress: (now) => void again.push(now) });
  assert.deepEqual(same, parts);
  assert.deepEqual(server.requests, []);
  assert.deepEqual(again[0], { loaded: 0, total: SIZE, phase: 'read' });
  assert.deepEqual(again.at(-1), { loaded: SIZE, total: SIZE, phase: 'read' });
  assert.equal(store.held.size, 0);
});

test('a connection that is cut goes on at the byte', async () => {
  server.fault = (_, range) => (range === 'bytes=65536-131071' ? { cut: 1000 } : undefined);
  await bringsAll();
  assert.ok(server.requests.includes('bytes=66536-131071'));
});

test('a server without ranges sends one stream, also when it breaks off', async () => {
  server.ranges = false;
  server.fault = (request) => (request < 2 ? { cut: 300_000 + request } : undefined);
  await bringsAll();
  assert.equal(server.requests.length, 3);
});

test('what has come before an abort is there the next time, to the byte', async () => {
  server.fault = (_, range) => (range === 'bytes=131072-196607' ? { stall: 5000 } : undefined);
  await abortAt(3 * 64 * KB + 5000);
  server.reset();
  const first: Progress[] = [];
  await bringsAll({ onProgress: (now) => void first.push(now) });
  assert.ok(first[0]!.loaded >= 3 * 64 * KB, 'progress begins with what was there');
  assert.equal(server.requests[0], 'bytes=136072-196607', 'nothing is asked for twice, not even to begin with');
  assert.ok(!server.requests.includes('bytes=65536-131071'));
});

test('a file that changes on the way is begun anew', async () => {
  const other = model(SIZE - 5000);
  server.fault = (request) => {
    if (request === 6) {
      server.files.set('a.gguf', other);
      server.etag = '"two"';
    }
    return undefined;
  };
  const { memory, notes } = await bringsAll();
  assert.equal(memory.reserved, 2);
  assert.match(notes.join(), /changed on the server/);
});

test('a file that changed between two visits is begun anew', async () => {
  await abortAt(300_000);
  server.files.set('a.gguf', model(SIZE));
  server.etag = '"two"';
  const { memory } = await bringsAll();
  assert.equal(memory.reserved, 1);
});

test('busy servers are asked again, and lost ones given up', async () => {
  server.fault = (request) =>
    request % 2 === 0 ? { status: request % 4 ? 503 : 429, headers: { 'retry-after': '0' } } : undefined;
  await bringsAll();
  use((store = new CrashStore()));
  server.fault = (_, range) => (range === 'bytes=0-' ? undefined : { status: 500 });
  await assert.rejects(bring(), (error: Error & { code: string }) => {
    assert.equal(error.code, 'network');
    assert.match(
      error.message,
      /a\.gguf: the server answers 500\. Gave up after 5 attempts, with \d+ of 1024123 bytes so far/,
    );
    return true;
  });
});

test('a server that falls silent is asked again', async () => {
  server.fault = (_, range) => (range === 'bytes=65536-131071' ? { stall: 100 } : undefined);
  await bringsAll();
  assert.ok(server.requests.includes('bytes=65636-131071'));
});

test('where another origin does not allow ranges, the file comes as one', async () => {
  Object.assign(globalThis, { location: { origin: 'https://elsewhere.example' } });
  server.fault = (_, range) => (range ? { cut: 0 } : undefined);
  await bringsAll().finally(() => Reflect.deleteProperty(globalThis, 'location'));
  assert.equal(server.requests.at(-1), 'all');
});

test('answers that are no model say what they are', async () => {
  server.fault = () => ({ status: 401 });
  await assert.rejects(bring(), { code: 'network', message: /401.*headers/ });
  await assert.rejects(bring({}, [server.url('none.gguf')]), { code: 'not_found', message: /none\.gguf.*404/ });
  server.fault = () => ({
    body: '<!doctype html><title>Sign in</title>',
    headers: { 'content-type': 'text/html', 'content-range': '' },
    status: 200,
  });
  await assert.rejects(bring(), { code: 'not_gguf', message: /HTML/ });
  server.fault = () => ({ body: 'GGUF\x03', headers: { 'content-range': '' }, status: 200 });
  await assert.rejects(bring(), { code: 'not_gguf', message: /5 bytes/ });
  assert.equal(store.files.size, 0);
});

test('compression does not break lengths', async () => {
  server.fault = () => ({ gzip: true });
  await bringsAll();
  server.files.set('b.gguf', file);
  const { parts } = await bring({ cache: false }, [url, server.url('b.gguf')]);
  assert.deepEqual(
    parts.map(({ size }) => size),
    [SIZE, SIZE],
  );
  server.stop();
  await bringsAll();
  server = await new FileServer().start();
  url = server.url('a.gguf');
});

test('damaged and truncated files are mended, piece by piece', async () => {
  await bringsAll();
  server.reset();
  dataFile().now[70_000]! ^= 1;
  const { notes } = await bringsAll();
  assert.deepEqual(server.requests, ['bytes=65536-131071']);
  assert.match(notes.join(), /1 damaged/);
  server.reset();
  dataFile().now = dataFile().now.slice(0, SIZE - 100_000);
  assert.equal((await validate(url, tools)).problems.length, 2);
  await bringsAll();
  assert.equal(server.requests.length, 2);
  assert.deepEqual(await validate(url, tools), { ok: true, problems: [] });
});

test('a journal that was torn at any place never leads to wrong bytes', async () => {
  await bringsAll();
  const journal = [...store.files].find(([name]) => name.endsWith('.journal'))![1];
  const whole = journal.now;
  for (let length = 0; length < whole.length; length += 197) {
    journal.now = whole.slice(0, length);
    if (length > 300) journal.now[length - 20]! ^= 4;
    await bringsAll();
  }
});

test('a crash at any moment leaves nothing that is not true', async () => {
  for (let moment = 0, crashed = true; crashed; moment += 3) {
    use((store = new CrashStore()));
    store.left = moment;
    await download({ kind: 'urls', urls: [url] }, options(), tools).catch(() => {});
    crashed = store.left < 0;
    store.restart((moment % 5) / 4);
    const { notes } = await bringsAll();
    assert.deepEqual(notes, [], `after ${moment} operations`);
  }
});

test('without room, the model is loaded but not kept', async () => {
  store.estimate = 500_000;
  const { notes } = await bringsAll();
  assert.match(notes.join(), /not kept.*needs 2 MB more, and there is room for 1 MB/);
  store.estimate = null;
  store.room = 400_000;
  assert.match((await bringsAll()).notes.join(), /not kept.*no room/);
  store.room = 100_000;
  await assert.rejects(download({ kind: 'urls', urls: [url] }, options(), tools), { code: 'quota' });
  store.room = Infinity;
  server.reset();
  await bringsAll();
  assert.ok(server.requests.length < 14, 'what had been kept is used');
});

test('a wrong hash is told and the file removed', async () => {
  const wrong = 'a'.repeat(64);
  await assert.rejects(bring({ sha256: [wrong] }), {
    code: 'bad_hash',
    message: new RegExp(`${sha256(file)}.*${wrong}`),
  });
  assert.deepEqual(await list(), []);
  server.fault = () => ({ headers: { 'x-linked-etag': `"${wrong}"` } });
  await assert.rejects(bring(), { code: 'bad_hash' });
  await bringsAll({ sha256: [sha256(file).toUpperCase()] });
  await assert.rejects(bring({ sha256: ['xyz'] }), { code: 'bad_argument' });
  await assert.rejects(bring({ sha256: [wrong, wrong] }), { code: 'bad_argument' });
});

test('a hash that the kept file does not have means another file', async () => {
  await bringsAll();
  const other = model(SIZE);
  server.files.set('a.gguf', other);
  await bringsAll({ sha256: [sha256(other)] });
});

test('split models are kept as one', async () => {
  const urls = [1, 2, 3].map((part) => server.url(`s-0000${part}-of-00003.gguf`));
  const files = urls.map((each, index) => {
    const bytes = model(100_000 + index);
    server.files.set(new URL(each).pathname.slice(1), bytes);
    return bytes;
  });
  const stored = await download({ kind: 'urls', urls }, options({ sha256: files.map(sha256) }), tools);
  assert.deepEqual({ ...stored, used: 0 }, { model: urls[0], size: 300_003, loaded: 300_003, sha256: null, used: 0 });
  server.reset();
  const { memory } = await bring({}, urls);
  assert.deepEqual(memory.parts.map(sha256), files.map(sha256));
  assert.deepEqual(server.requests, []);
  assert.equal((await readHead({ kind: 'urls', urls }, 1000, options())).size, 300_003);
  assert.deepEqual(server.requests, []);
  assert.equal(await remove(urls[0]!), true);
  assert.equal(await remove(urls[0]!), false);
  assert.equal(store.files.size, 0);
});

test('a second download finds everything done', async () => {
  const source = { kind: 'urls' as const, urls: [url] };
  const first = await download(source, options(), tools);
  server.reset();
  assert.deepEqual({ ...(await download(source, options(), tools)), used: 0 }, { ...first, used: 0 });
  assert.deepEqual(server.requests, []);
});

test('a file that another tab holds is loaded from the network', async () => {
  await bringsAll();
  for (const name of store.files.keys()) store.held.add(name);
  const { notes } = await bringsAll();
  assert.match(notes.join(), /not kept.*in use/);
});

test('a sink that refuses ends everything', async () => {
  const sink = { reserve: () => assert.fail('too large'), write: () => {} };
  await assert.rejects(load({ kind: 'urls', urls: [url] }, sink, options(), tools), /too large/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(server.active, 0);
  assert.equal(store.held.size, 0);
});

test('without a cache nothing is kept', async () => {
  await bringsAll({ cache: false });
  assert.equal(store.files.size, 0);
});

test('the head comes alone', async () => {
  const { bytes, size } = await readHead({ kind: 'urls', urls: [url] }, 2000, options());
  assert.deepEqual([bytes, size], [file.slice(0, 2000), SIZE]);
  assert.deepEqual(server.requests, ['bytes=0-']);
});
