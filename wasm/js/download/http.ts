/** Single HTTP requests: what an answer's status means, and no wait without end. */
import { WoollyError, aborted, throwIfAborted } from '../errors.js';
import { Changed, Interrupted, messageOf, pause } from './problems.js';
import { settings } from './settings.js';
import type { Bytes } from './store.js';

/** Browsers do not tell the page which of the two it was. */
const CORS = '(if other pages can load it, the server may not allow this origin by CORS)';

/** Sends a GET request. Resolves when the headers of a good answer have come. */
export async function request(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Body> {
  throwIfAborted(signal);
  const watch = new Watch(signal);
  try {
    // The HTTP cache would keep the file a second time.
    const response = await watch.over(() => fetch(url, { headers, signal: watch.signal, cache: 'no-store' }));
    check(url, response);
    return new Body(response, watch);
  } catch (error) {
    watch.end();
    throw error instanceof Interrupted && isCrossOrigin(url)
      ? new Interrupted(`${error.message} ${CORS}`, error.wait)
      : error;
  }
}

/** Whether the page's origin is another one. Outside of pages there is no such thing. */
export function isCrossOrigin(url: string): boolean {
  return typeof location !== 'undefined' && new URL(url).origin !== location.origin;
}

/** The body of an answer, read in pieces of any wanted size. */
export class Body {
  readonly response: Response;
  /** Where in the file the next byte is. */
  position = 0;
  private readonly watch: Watch;
  private readonly reader: ReadableStreamDefaultReader<Bytes> | null;
  /** What has come but was not asked for yet. */
  private rest: Bytes = new Uint8Array(0);

  constructor(response: Response, watch: Watch) {
    this.response = response;
    this.watch = watch;
    this.reader = response.body?.getReader() ?? null;
  }

  /** Up to so many bytes; null at the end. */
  async read(most: number): Promise<Bytes | null> {
    if (this.rest.length === 0) {
      const next = await this.next();
      if (!next) return null;
      this.rest = next;
    }
    const bytes = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(bytes.length);
    this.position += bytes.length;
    return bytes;
  }

  /** The first bytes of what is to be read, left in place; fewer only at the end. */
  async peek(length: number): Promise<Bytes> {
    while (this.rest.length < length) {
      const next = await this.next();
      if (!next) break;
      const both = new Uint8Array(this.rest.length + next.length);
      both.set(this.rest);
      both.set(next, this.rest.length);
      this.rest = both;
    }
    return this.rest.subarray(0, length);
  }

  /** Reads and drops everything before this position. */
  async skipTo(position: number): Promise<void> {
    while (this.position < position) {
      if (!(await this.read(position - this.position))) throw new Interrupted('the connection was closed early');
    }
  }

  /** Ends the request, if the body has not ended by itself. */
  cancel(): void {
    this.watch.end();
    this.reader?.cancel().catch(() => {});
  }

  private async next(): Promise<Bytes | null> {
    for (;;) {
      const chunk = await this.watch.over(async () => this.reader?.read());
      if (!chunk || chunk.done) {
        this.watch.end();
        return null;
      }
      if (chunk.value.length > 0) return chunk.value;
    }
  }
}

/** Waits longer after each attempt that brought nothing, and gives up when nothing has come by any other way either. */
export class Patience {
  private readonly url: string;
  private readonly signal: AbortSignal;
  private failures = 0;
  /** Failures since anything has come. */
  private idle = 0;
  private before = '';

  constructor(url: string, signal: AbortSignal) {
    this.url = url;
    this.signal = signal;
  }

  /** An attempt has brought something. */
  renew(): void {
    this.failures = 0;
  }

  /** Resolves when the next attempt should be made; throws what no further attempt can mend. `soFar` says how much has come in all. */
  async after(error: unknown, soFar: string): Promise<void> {
    throwIfAborted(this.signal);
    if (!(error instanceof Interrupted)) throw error;
    this.failures += 1;
    this.idle = soFar === this.before ? this.idle + 1 : 1;
    this.before = soFar;
    if (this.idle >= settings.tries) {
      const message = `${this.url}: ${error.message}. Gave up after ${this.idle} attempts, with ${soFar}.`;
      throw new WoollyError('network', message, { cause: error });
    }
    // Many pages that lost the same server should not all come back at once.
    const grown = settings.pause * 2 ** Math.min(this.failures - 1, 5) * (0.75 + Math.random() / 2);
    await pause(Math.max(grown, error.wait), this.signal);
  }
}

/** Ends a request when the caller aborts, or when nothing has come for too long. */
class Watch {
  private readonly controller = new AbortController();
  private readonly outer: AbortSignal;
  private readonly onAbort = () => this.controller.abort();
  private stalled = false;

  constructor(outer: AbortSignal) {
    this.outer = outer;
    outer.addEventListener('abort', this.onAbort);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Awaits one step of the request and says what is wrong when it fails. */
  async over<T>(step: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.stalled = true;
      this.controller.abort();
    }, settings.stall);
    try {
      return await this.unlessAborted(step);
    } catch (error) {
      if (this.outer.aborted) throw aborted(this.outer);
      throw new Interrupted(this.stalled ? `nothing came for ${settings.stall / 1000} seconds` : messageOf(error));
    } finally {
      clearTimeout(timer);
    }
  }

  end(): void {
    this.outer.removeEventListener('abort', this.onAbort);
  }

  /** Not every pending read ends when its request is aborted: Node 20 leaves some waiting for ever. */
  private unlessAborted<T>(step: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(new Error('aborted'));
      this.signal.addEventListener('abort', onAbort);
      if (this.signal.aborted) onAbort();
      step()
        .then(resolve, reject)
        .finally(() => this.signal.removeEventListener('abort', onAbort));
    });
  }
}

const LATER = new Set([408, 425, 429]);

function check(url: string, response: Response): void {
  const { ok, status } = response;
  if (ok) return;
  response.body?.cancel().catch(() => {});
  if (status === 416) throw new Changed(url);
  if (status >= 500 || LATER.has(status)) throw new Interrupted(`the server answers ${status}`, wantedPause(response));
  if (status === 404 || status === 410)
    throw new WoollyError('not_found', `${url}: the server answers ${status}, there is no such file.`);
  if (status === 401 || status === 403) {
    const hint = 'A private or gated file needs the option headers, such as { authorization: "Bearer …" }';
    throw new WoollyError('network', `${url}: the server answers ${status}, access is denied. ${hint}.`);
  }
  throw new WoollyError('network', `${url}: the server answers ${status}.`);
}

/** `Retry-After` is seconds or a date. More than two minutes would look like a hang. */
function wantedPause(response: Response): number {
  const text = response.headers.get('retry-after');
  if (text === null) return 0;
  const wait = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(wait) ? Math.min(Math.max(wait, 0), 120_000) : 0;
}
