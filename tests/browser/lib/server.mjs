/**
 * A static server on this machine, as strict or as faulty as a test wants it.
 *
 * Folders are served read-only under prefixes. With `isolated`, pages get the headers that allow shared memory. All pages
 * get a strict content security policy. `fault` adds a file that is served badly, and counts what was asked of it.
 */

import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; " +
  "style-src 'self'; img-src 'self' data:";

const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.mjs': 'text/javascript',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/** Bytes that are written at once when a connection is slow or breaks. */
const PIECE = 64 << 10;

/**
 * Serves `folders`, a prefix such as `/pkg/` to a folder, or to `{ folder, prelude }`: `prelude` is put before the package's
 * scripts, to take something away from them. `texts` are files that are not on the disk, by their paths.
 */
export async function serve({ folders, texts = {}, isolated = true, policy = POLICY }) {
  const faults = new Map();
  const headers = {
    'Cache-Control': 'no-cache',
    ...(policy && { 'Content-Security-Policy': policy }),
    ...(isolated && { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' }),
  };
  const server = createServer((request, response) => {
    answer({ request, response, folders, texts, faults, headers }).catch(error => fail(response, error));
  });
  server.keepAliveTimeout = 1000;
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    /** Adds a file with faults, see {@link Fault}. Its `url` is new, but files with the same `folder` lie beside each other. */
    fault(options) {
      const path = `/fault/${options.folder ?? faults.size}/${options.name ?? 'model.gguf'}`;
      const fault = new Fault(`${url}${path}`, options);
      faults.set(path, fault);
      return fault;
    },
    close() {
      server.closeAllConnections();
      return new Promise(resolve => server.close(resolve));
    },
  };
}

/** A file, and what goes wrong with it. Tests may change the fields while it is being served. */
class Fault {
  /** Requests so far: `{ method, range, status, sent }`, `sent` in bytes. */
  requests = [];

  constructor(url, options) {
    this.url = url;
    /** The file's bytes. */
    this.bytes = options.bytes;
    /** What the server says is the file's size; behind the bytes come zeros. */
    this.size = options.size;
    this.etag = `"${createHash('sha256').update(this.bytes).digest('hex').slice(0, 16)}"`;
    /** Answers that break off after so many bytes. */
    this.drop = options.drop ?? Infinity;
    /** Requests that go wrong (by `drop` or `status`) before all goes well. */
    this.times = options.times ?? Infinity;
    /** Status of answers that go wrong. */
    this.status = options.status;
    /** Whether a part of the file can be asked for. */
    this.ranges = options.ranges ?? true;
    /** Bytes per second of all connections together. */
    this.rate = options.rate ?? Infinity;
    /** When the bytes sent so far have been paid for, at this rate. */
    this.free = 0;
  }

  /** Bytes that were sent in answer to requests from the nth on. */
  sent(from = 0) {
    return this.requests.slice(from).reduce((sum, request) => sum + request.sent, 0);
  }

  /** Whether the next answer goes wrong. */
  goesWrong() {
    if (this.times <= 0) return false;
    this.times -= 1;
    return true;
  }

  /** Waits until `count` more bytes may be sent. */
  async pace(count) {
    if (this.rate === Infinity) return;
    const now = performance.now();
    this.free = Math.max(this.free, now) + (1000 * count) / this.rate;
    if (this.free > now) await sleep(this.free - now);
  }
}

async function answer({ request, response, folders, texts, faults, headers }) {
  const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const fault = faults.get(path);
  if (fault) return sendFault(request, response, fault);
  if (texts[path] !== undefined) {
    response.setHeader('Content-Type', TYPES[extname(path)]);
    return finish(response, 200, texts[path]);
  }
  const found = findFile(path, folders);
  // Browsers ask for one, whatever the page says.
  if (!found && path === '/favicon.ico') return finish(response, 204);
  if (!found) return finish(response, 404);
  return sendFile(request, response, found);
}

/** The file for a path: `{ file, prelude }`. */
function findFile(path, folders) {
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const prefix = prefixes.find(prefix => path.startsWith(prefix) && folders[prefix]);
  if (!prefix) return undefined;
  const { folder, prelude } = typeof folders[prefix] === 'string' ? { folder: folders[prefix] } : folders[prefix];
  const rest = normalize(`/${path.slice(prefix.length)}`);
  const file = join(folder, rest.endsWith('/') ? `${rest}index.html` : rest);
  return statSync(file, { throwIfNoEntry: false })?.isFile() ? { file, prelude } : undefined;
}

function sendFile(request, response, { file, prelude }) {
  response.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream');
  if (prelude && extname(file) === '.js') return finish(response, 200, prelude + readFileSync(file, 'utf8'));
  const { size, mtimeMs } = statSync(file);
  const etag = `"${size}-${mtimeMs}"`;
  if (request.headers['if-none-match'] === etag) return finish(response, 304);
  const { status, start, end } = begin(request, response, { size, etag, ranges: true });
  response.writeHead(status);
  if (request.method === 'HEAD' || status === 416) return response.end();
  if (start === end) return response.end();
  // The other side may go away at any time.
  return pipeline(createReadStream(file, { start, end: end - 1 }), response).catch(() => {});
}

async function sendFault(request, response, fault) {
  const record = { method: request.method, range: request.headers.range ?? null, status: 0, sent: 0 };
  fault.requests.push(record);
  const wrong = fault.goesWrong();
  if (wrong && fault.status) {
    record.status = fault.status;
    return finish(response, fault.status);
  }
  response.setHeader('Content-Type', 'application/octet-stream');
  const { bytes, etag, ranges } = fault;
  const size = fault.size ?? bytes.length;
  const { status, start, end } = begin(request, response, { size, etag, ranges });
  record.status = status;
  response.writeHead(status);
  if (request.method === 'HEAD' || status === 416) return response.end();
  const gone = new Promise(resolve => response.once('close', () => resolve(false)));
  const stop = wrong ? Math.min(end, start + fault.drop) : end;
  for (let at = start; at < stop && !response.destroyed; at += PIECE) {
    const piece = slice(bytes, at, Math.min(at + PIECE, stop));
    await fault.pace(piece.length);
    if (!(await write(response, piece, gone))) return undefined;
    record.sent += piece.length;
  }
  return stop < end ? response.destroy() : response.end();
}

/** These bytes, and zeros behind them. */
function slice(bytes, start, end) {
  if (end <= bytes.length) return bytes.subarray(start, end);
  const piece = Buffer.alloc(end - start);
  if (start < bytes.length) bytes.copy(piece, 0, start);
  return piece;
}

/** Sets the headers of an answer; says its status and which bytes it has. */
function begin(request, response, { size, etag, ranges }) {
  response.setHeader('ETag', etag);
  if (ranges) response.setHeader('Accept-Ranges', 'bytes');
  const range = ranges ? wanted(request, etag) : undefined;
  if (!range) {
    response.setHeader('Content-Length', size);
    return { status: 200, start: 0, end: size };
  }
  const start = range.start ?? Math.max(0, size - range.last);
  const end = range.start === undefined ? size : Math.min(size, (range.last ?? size) + 1);
  if (start >= end) {
    response.setHeader('Content-Range', `bytes */${size}`);
    return { status: 416, start, end };
  }
  response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${size}`);
  response.setHeader('Content-Length', end - start);
  return { status: 206, start, end };
}

/** The range that a request asks for: `{ start, last }`, or only `last` for that many bytes of the end. */
function wanted(request, etag) {
  const found = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? '');
  if (!found || found[0] === 'bytes=-') return undefined;
  if (request.headers['if-range'] && request.headers['if-range'] !== etag) return undefined;
  const number = text => (text === '' ? undefined : Number(text));
  return { start: number(found[1]), last: number(found[2]) };
}

function finish(response, status, body = '') {
  response.writeHead(status);
  response.end(body);
}

function fail(response, error) {
  if (response.destroyed) return;
  if (response.headersSent) response.destroy();
  else finish(response, 500, String(error));
}

/** Writes, and waits until there is room for more; false when the other side has gone. */
function write(response, bytes, gone) {
  const written = new Promise(resolve => response.write(bytes, error => resolve(!error)));
  return Promise.race([written, gone]);
}
