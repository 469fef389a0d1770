/** A file on a server: how large it is, which version it is, and ranges of its bytes. */
import { WoollyError } from '../errors.js';
import { Body, Patience, isCrossOrigin, request } from './http.js';
import { Changed, Interrupted } from './problems.js';
import { nameOf } from './sources.js';
import type { Bytes } from './store.js';

/** What tells one version of a file from another, as far as the server says. */
export interface Version {
  size: number;
  etag: string | null;
  modified: string | null;
}

export interface Remote extends Version {
  /** The file's SHA-256, where the server knows it. */
  readonly sha256: string | null;
  /** Whose turn it is to read: everybody's at once, or one after the other where there is a single stream. Resolves to what ends the turn. */
  turn(): Promise<() => void>;
  /** The bytes of a range. Throws `Interrupted` when it breaks off, `Changed` when it is another file by now. */
  read(from: number, to: number, signal: AbortSignal): AsyncIterable<Bytes>;
  /** Ends the request that is still open: its bytes are not wanted, or not now. */
  close(): void;
}

/** A version that is partly there, and the next bytes that are not. */
export interface Known extends Version {
  from: number;
  to: number;
}

type Headers = Record<string, string>;
/** Of an answer: cross-origin, any of these may be hidden. */
type Seen = { [field in keyof Version]: Version[field] | null };

const MAGIC = 'GGUF';
const SHA256 = /^[0-9a-f]{64}$/i;
/** Magic, version, number of tensors and of keys. */
const SHORTEST = 24;

/** Whether an answer is certainly about another version. */
export function differs(known: Version, seen: Seen): boolean {
  const differ = <T>(one: T | null, other: T | null) => one !== null && other !== null && one !== other;
  return differ(known.size, seen.size) || differ(known.etag, seen.etag) || differ(known.modified, seen.modified);
}

/**
 * Asks for the whole file as a range. That tells everything at once, also from hosts that refuse HEAD and through CORS,
 * where `Content-Range` is usually hidden but `Content-Length` is not; and it already brings the first bytes. Of a file that
 * is partly there, what comes next is asked for instead, where the answer's headers can tell whether it is the same file.
 */
export async function openRemote(
  url: string,
  headers: Headers,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
  known: Known | null = null,
): Promise<Remote> {
  const canTell = known !== null && (known.etag ?? known.modified) !== null;
  const hash = canTell ? null : hubHash(url, headers, signal);
  const patience = new Patience(url, signal);
  for (let attempt = 0; ; attempt++) {
    try {
      if (canTell && attempt === 0) return await Ranges.goOn(url, headers, known, signal);
      // A browser that asks other origins for permission to send `Range` may be refused it: then the file comes as one.
      const asksRange = !isCrossOrigin(url) || attempt < 2 || attempt % 2 === 1;
      const body = asksRange ? await first(url, headers, signal) : await request(url, headers, signal);
      const size = await sizeOf(url, body);
      if (size === null) return await collect(url, body, onBytes);
      const ranges = new Ranges(url, headers, { size, ...marks(body.response) }, linkedHash(body.response) ?? (await hash));
      return ranges.hold(body, known === null);
    } catch (error) {
      await patience.after(error, 'nothing so far');
    }
  }
}

export interface Filling {
  signal: AbortSignal;
  onBytes(bytes: number): void;
  /** In words, for the message of an error. */
  soFar(): string;
}

/** Fills a buffer, whose first `had` bytes are there, with the file's bytes from `start` on; goes on where that breaks off. */
export async function fill(
  remote: Remote,
  url: string,
  start: number,
  buffer: Bytes,
  had: number,
  filling: Filling,
): Promise<void> {
  const patience = new Patience(url, filling.signal);
  let have = had;
  while (have < buffer.length) {
    try {
      for await (const bytes of remote.read(start + have, start + buffer.length, filling.signal)) {
        buffer.set(bytes, have);
        have += bytes.length;
        patience.renew();
        filling.onBytes(bytes.length);
      }
    } catch (error) {
      await patience.after(error, filling.soFar());
    }
  }
}

async function first(url: string, headers: Headers, signal: AbortSignal): Promise<Body> {
  try {
    const body = await request(url, { ...headers, range: 'bytes=0-' }, signal);
    if (body.response.status === 200 || !isEncoded(body.response)) return body;
    // Ranges of a compressed file cannot be unpacked one by one.
    body.cancel();
    return await request(url, headers, signal);
  } catch (error) {
    if (error instanceof Changed) throw new WoollyError('not_gguf', `${url}: the file is empty.`);
    throw error;
  }
}

/** Null when only its end will tell. */
async function sizeOf(url: string, body: Body): Promise<number | null> {
  try {
    const size = announced(body.response, true);
    const start = await body.peek(SHORTEST);
    if (size !== null && start.length < Math.min(size, SHORTEST))
      throw new Interrupted('the connection was closed early');
    checkStart(url, start, body.response);
    return size;
  } catch (error) {
    body.cancel();
    throw error;
  }
}

function checkStart(url: string, start: Bytes, response: Response): void {
  const text = String.fromCharCode(...start.subarray(0, MAGIC.length));
  if (text !== MAGIC) {
    const isHtml = response.headers.get('content-type')?.includes('html') || text.trimStart().startsWith('<');
    const what = isHtml
      ? 'an HTML page; the address of the file itself is needed'
      : `a file that begins with ${JSON.stringify(text)} instead of "${MAGIC}"`;
    throw new WoollyError('not_gguf', `${url}: the server answers with ${what}.`);
  }
  if (start.length < SHORTEST)
    throw new WoollyError('not_gguf', `${url}: the file has ${start.length} bytes, less than a GGUF header.`);
}

/** The size of the whole file, as far as an answer tells: its length is that of the file, or that of a range. */
function announced(response: Response, isWhole: boolean): number | null {
  const total = /\/(\d+)\s*$/.exec(response.headers.get('content-range') ?? '')?.[1];
  if (total !== undefined) return Number(total);
  const length = response.headers.get('content-length');
  return length === null || !isWhole || isEncoded(response) ? null : Number(length);
}

function isEncoded(response: Response): boolean {
  return !['', 'identity'].includes((response.headers.get('content-encoding') ?? '').trim().toLowerCase());
}

function marks({ headers }: Response): { etag: string | null; modified: string | null } {
  return { etag: headers.get('etag'), modified: headers.get('last-modified') };
}

function linkedHash(response: Response): string | null {
  const hash = response.headers.get('x-linked-etag')?.replaceAll('"', '') ?? '';
  return SHA256.test(hash) ? hash.toLowerCase() : null;
}

/**
 * The hash of a file of the Hugging Face Hub. Its redirect names it, but browsers hide redirects, and the ETag that comes
 * after it is a hash of another kind. The file's stand-in in the repository (a Git LFS pointer) says it too.
 */
async function hubHash(url: string, headers: Headers, signal: AbortSignal): Promise<string | null> {
  const { origin, pathname } = new URL(url);
  if (origin !== 'https://huggingface.co' || !pathname.includes('/resolve/')) return null;
  try {
    const body = await request(origin + pathname.replace('/resolve/', '/raw/'), headers, signal);
    const text = new TextDecoder().decode(await body.peek(1024));
    body.cancel();
    return /^oid sha256:([0-9a-f]{64})$/m.exec(text)?.[1] ?? null;
  } catch {
    // It only makes a check possible; the download itself says what is wrong.
    return null;
  }
}

class Ranges implements Remote {
  readonly size: number;
  readonly etag: string | null;
  readonly modified: string | null;
  readonly sha256: string | null;
  private readonly url: string;
  private readonly headers: Headers;
  /** False for a server that always sends the whole file. */
  private ranged = true;
  /** An open answer whose next bytes somebody will want. */
  private held: Body | null = null;
  private last: Promise<void> = Promise.resolve();

  constructor(url: string, headers: Headers, version: Version, sha256: string | null) {
    this.url = url;
    this.headers = headers;
    this.size = version.size;
    this.etag = version.etag;
    this.modified = version.modified;
    this.sha256 = sha256;
  }

  /** The file of which some is known, beginning with what is not. */
  static async goOn(url: string, headers: Headers, known: Known, signal: AbortSignal): Promise<Ranges> {
    const ranges = new Ranges(url, headers, known, null);
    if (known.from < known.to) ranges.held = await ranges.bodyAt(known.from, known.to, signal);
    return ranges;
  }

  /** Takes the first answer, which is read on where its bytes are wanted. */
  hold(body: Body, isWanted: boolean): this {
    this.ranged = body.response.status === 206;
    this.held = body;
    if (!isWanted) this.close();
    return this;
  }

  async turn(): Promise<() => void> {
    if (this.ranged) return () => {};
    const { last } = this;
    let end = () => {};
    this.last = new Promise((resolve) => (end = resolve));
    await last;
    return end;
  }

  async *read(from: number, to: number, signal: AbortSignal): AsyncGenerator<Bytes> {
    const body = await this.bodyAt(from, to, signal);
    let whole = false;
    try {
      while (body.position < to) {
        const bytes = await body.read(to - body.position);
        if (!bytes) throw new Interrupted('the connection was closed early');
        yield bytes;
      }
      await this.expectEnd(body, to);
      whole = true;
    } finally {
      await this.leave(body, whole);
    }
  }

  close(): void {
    this.held?.cancel();
    this.held = null;
  }

  /** An answer whose next byte is the one at `from`. */
  private async bodyAt(from: number, to: number, signal: AbortSignal): Promise<Body> {
    const { held } = this;
    if (held && held.position === from) {
      this.held = null;
      return held;
    }
    if (!this.ranged) this.close();
    const range = this.ranged ? { range: `bytes=${from}-${to - 1}`, ...this.condition() } : {};
    const body = await request(this.url, { ...this.headers, ...range }, signal);
    try {
      this.verify(body.response, from);
      if (body.response.status === 200) await body.skipTo(from);
      else body.position = from;
      return body;
    } catch (error) {
      body.cancel();
      throw error;
    }
  }

  private verify(response: Response, from: number): void {
    const { headers, status } = response;
    if (isEncoded(response)) throw new Interrupted('the server compresses the file on its way');
    const size = announced(response, status === 200);
    if (differs(this, { size, ...marks(response) })) throw new Changed(this.url);
    const start = /^\s*bytes\s+(\d+)-/i.exec(headers.get('content-range') ?? '')?.[1];
    if (status === 206 && start !== undefined && Number(start) !== from)
      throw new Interrupted('the server sent another range');
    if (status === 200) this.ranged = false;
  }

  /**
   * Lets the server send the whole of a file that has changed, rather than a range of it. Between origins the header
   * would need a preflight request, which many hosts refuse; there the version is compared when the answer has come.
   */
  private condition(): Headers {
    if (isCrossOrigin(this.url)) return {};
    const mark = this.etag ?? this.modified;
    return mark === null || mark.startsWith('W/') ? {} : { 'if-range': mark };
  }

  /** A compression that the answer's headers do not show, as between origins, makes the file longer than announced. */
  private async expectEnd(body: Body, to: number): Promise<void> {
    if (body.response.status !== 200 || to < this.size || (await body.read(1)) === null) return;
    throw new WoollyError(
      'network',
      `${this.url}: the server sends more than the ${this.size} bytes that it announced.`,
    );
  }

  /** Keeps the one stream there is for the next read; ends a range so that its connection can be used again. */
  private async leave(body: Body, whole: boolean): Promise<void> {
    if (whole && body.response.status === 200) {
      this.close();
      this.held = body;
      return;
    }
    const ended = whole && (await body.read(1).catch(() => null)) === null;
    if (!ended) body.cancel();
  }
}

/** A file whose size only its end tells, such as a compressed one, is read whole before anything else. */
async function collect(url: string, body: Body, onBytes: (bytes: number) => void): Promise<Remote> {
  const chunks: Bytes[] = [];
  let size = 0;
  try {
    for (let bytes = await body.read(Infinity); bytes; bytes = await body.read(Infinity)) {
      chunks.push(bytes);
      size += bytes.length;
      onBytes(size);
    }
  } catch (error) {
    body.cancel();
    throw error instanceof Interrupted
      ? new Interrupted(`${error.message}, after ${size} bytes of ${nameOf(url)}`)
      : error;
  }
  return new Collected(chunks, { size, ...marks(body.response) }, linkedHash(body.response));
}

class Collected implements Remote {
  readonly size: number;
  readonly etag: string | null;
  readonly modified: string | null;
  readonly sha256: string | null;
  private readonly chunks: Bytes[];

  constructor(chunks: Bytes[], version: Version, sha256: string | null) {
    this.chunks = chunks;
    this.size = version.size;
    this.etag = version.etag;
    this.modified = version.modified;
    this.sha256 = sha256;
  }

  async turn(): Promise<() => void> {
    return () => {};
  }

  async *read(from: number, to: number): AsyncGenerator<Bytes> {
    let at = 0;
    for (const chunk of this.chunks) {
      const bytes = chunk.subarray(Math.max(0, from - at), Math.max(0, to - at));
      if (bytes.length > 0) yield bytes;
      at += chunk.length;
    }
  }

  /** There is no open request, and all bytes are wanted still. */
  close(): void {}
}
