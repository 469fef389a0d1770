/** A file server that misbehaves as told. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createHash, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { AddressInfo } from 'node:net';
import type { Tools } from '../download/index.js';

export type Bytes = Uint8Array<ArrayBuffer>;

/** A file that looks like a model to whoever reads only its beginning. */
export function model(size: number): Bytes {
  const bytes = new Uint8Array(randomBytes(size));
  bytes.set(new TextEncoder().encode('GGUF'));
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export const tools: Tools = {
  sha256: () => {
    const hash = createHash('sha256');
    return { update: (bytes) => void hash.update(bytes), finish: () => hash.digest('hex') };
  },
};

export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  /** Close the connection after so many bytes of the body. */
  cut?: number;
  /** Say nothing more after so many bytes of the body. */
  stall?: number;
  gzip?: boolean;
}

export class FileServer {
  readonly files = new Map<string, Bytes>();
  etag: string | null = '"one"';
  ranges = true;
  /** Milliseconds before each answer. */
  delay = 0;
  /** What is different about the answer to a request; asked with their number, from 0 on. */
  fault: (request: number, range: string | undefined) => Answer | undefined = () => undefined;
  /** The `Range` headers of all requests. */
  requests: string[] = [];
  /** Bytes of the bodies that were sent. */
  sent = 0;
  active = 0;
  mostActive = 0;
  private readonly server: Server = createServer((request, response) => void this.answer(request, response));

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  url(name: string): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/${name}`;
  }

  reset(): void {
    this.requests = [];
    this.sent = 0;
    this.fault = () => undefined;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { range } = request.headers;
    const fault = this.fault(this.requests.length, range) ?? {};
    this.requests.push(range ?? 'all');
    this.mostActive = Math.max(this.mostActive, ++this.active);
    response.once('close', () => (this.active -= 1));
    if (this.delay > 0) await new Promise((resolve) => setTimeout(resolve, this.delay));
    const file = this.files.get(decodeURIComponent(request.url!.slice(1)));
    if (!file) return void response.writeHead(404).end();
    const { status, headers, body } = this.plain(file, request);
    this.send(response, fault.status ?? status, { ...headers, ...fault.headers }, fault.body ?? body, fault);
  }

  private plain(
    file: Bytes,
    request: IncomingMessage,
  ): { status: number; headers: Record<string, string>; body: Bytes } {
    const headers: Record<string, string> = this.etag ? { etag: this.etag } : {};
    const condition = request.headers['if-range'];
    const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    if (!match || !this.ranges || (condition && condition !== this.etag)) return { status: 200, headers, body: file };
    const [from, to] = [Number(match[1]), match[2] ? Number(match[2]) + 1 : file.length];
    const range = `bytes ${from}-${Math.min(to, file.length) - 1}/${file.length}`;
    return { status: 206, headers: { ...headers, 'content-range': range }, body: file.subarray(from, to) };
  }

  private send(
    response: ServerResponse,
    status: number,
    headers: Record<string, string>,
    body: Uint8Array | string,
    fault: Answer,
  ): void {
    let bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
    if (fault.gzip) {
      bytes = gzipSync(bytes);
      headers = { ...headers, 'content-encoding': 'gzip' };
    }
    response.writeHead(status, { ...headers, 'content-length': String(bytes.length) });
    const whole = fault.cut === undefined && fault.stall === undefined;
    const part = whole ? bytes : bytes.subarray(0, fault.cut ?? fault.stall);
    this.sent += part.length;
    if (whole) response.end(bytes);
    else response.write(part, () => fault.cut === undefined || setTimeout(() => response.destroy(), 5));
  }
}
