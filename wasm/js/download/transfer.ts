/**
 * Brings a model's files from the cache and the network. Files are cut into pieces. Each piece is read from the cache and
 * its hash compared; what is missing of it, or all of it when it is damaged, is fetched and kept; only then is it handed
 * on. A few pieces are under way at a time, in ascending order, so that the file's beginning grows without gaps.
 */
import { WoollyError, throwIfAborted } from '../errors.js';
import { CachedFile } from './cached.js';
import { InOrder, digest, type Tools } from './hash.js';
import { Meter } from './meter.js';
import type { LoadOptions, Loaded, Sink } from './options.js';
import { Buffers, inParallel } from './pool.js';
import { Busy, Changed, messageOf } from './problems.js';
import { differs, fill, openRemote, type Remote } from './remote.js';
import { settings } from './settings.js';
import { nameOf } from './sources.js';
import { isFull, type Bytes, type Store } from './store.js';

/** Times that a download is begun because the file is another one by now. */
const ATTEMPTS = 3;

interface Part {
  readonly index: number;
  readonly url: string;
  cached: CachedFile | null;
  /** Whether what is fetched is written to the cache. */
  keeps: boolean;
  remote: Promise<Remote> | null;
  size: number;
  /** Bytes of a piece. */
  piece: number;
  expected: string | null;
  sha256: string | null;
  /** Hashes the whole file, where that is not known yet. */
  hash: InOrder | null;
}

interface Piece {
  part: Part;
  index: number;
  start: number;
  length: number;
}

export class Transfer {
  private readonly sink: Sink | null;
  private readonly store: Store | null;
  private readonly options: LoadOptions;
  private readonly tools: Tools;
  private readonly parts: Part[];
  private readonly parallel: number;
  private readonly buffers = new Buffers(settings.piece);
  private readonly meter: Meter;
  private readonly notes = new Set<string>();
  /** Whether all is there already, so that progress is what has been read. */
  private countsReads = false;
  /** Pieces that were damaged in the cache and have been fetched again. */
  private mended = 0;
  /** Ends everything that is under way. */
  private stop = new AbortController();

  /** Without a sink, the files are only brought into the cache. */
  constructor(urls: string[], sink: Sink | null, store: Store | null, options: LoadOptions, tools: Tools) {
    this.sink = sink;
    this.store = store;
    this.options = options;
    this.tools = tools;
    this.parallel = Math.max(1, Math.floor(options.parallel ?? 4));
    this.meter = new Meter(options.onProgress);
    this.parts = urls.map((url, index) => ({
      index,
      url,
      cached: null,
      keeps: false,
      remote: null,
      size: 0,
      piece: settings.piece,
      expected: null,
      sha256: null,
      hash: null,
    }));
  }

  async run(): Promise<Loaded> {
    const { signal } = this.options;
    const onAbort = () => this.stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    try {
      throwIfAborted(signal);
      for (const part of this.parts) await this.open(part);
      return await this.runUntilUnchanged();
    } finally {
      signal.removeEventListener('abort', onAbort);
      for (const { cached } of this.parts) await cached?.close().catch(() => {}); // All that matters has been flushed.
    }
  }

  private async runUntilUnchanged(): Promise<Loaded> {
    for (let attempt = 1; ; attempt++) {
      try {
        throwIfAborted(this.options.signal);
        return await this.runOnce();
      } catch (error) {
        throwIfAborted(this.options.signal);
        if (!(error instanceof Changed)) throw error;
        if (attempt === ATTEMPTS)
          throw new WoollyError('network', `${error.message} again and again while it was being downloaded.`);
        const part = this.parts.find(({ url }) => url === error.url)!;
        await part.cached?.clear();
        this.notes.add(`${error.message}; the download began anew`);
        this.stop = new AbortController();
      }
    }
  }

  private async runOnce(): Promise<Loaded> {
    try {
      await this.each(
        this.parts,
        () => true,
        (part) => this.prepare(part),
      );
      await this.sink?.reserve(this.parts.map(({ size }) => size));
      await this.checkRoom();
      for (const part of this.parts) await this.begin(part);
      this.startMeter();
      await this.each(
        this.pieces(),
        (piece) => this.isNear(piece),
        (piece) => this.bring(piece),
      );
      for (const part of this.parts) await this.finish(part);
      this.meter.end();
      return this.loaded();
    } finally {
      for (const part of this.parts) {
        (await part.remote?.catch(() => null))?.close();
        part.remote = null;
      }
    }
  }

  private each<T>(tasks: T[], ready: (task: T) => boolean, run: (task: T) => Promise<void>): Promise<void> {
    return inParallel(tasks, this.parallel, ready, run, () => this.stop.abort());
  }

  private async open(part: Part): Promise<void> {
    if (!this.store) return;
    try {
      part.cached = await CachedFile.open(this.store, part.url, this.tools, this.options.signal);
    } catch (error) {
      throwIfAborted(this.options.signal);
      this.cannotKeep(error);
    }
  }

  /** Finds out the file's size, and what is known of it. */
  private async prepare(part: Part): Promise<void> {
    const given = this.options.sha256?.[part.index]?.toLowerCase() ?? null;
    const other = part.cached?.known.sha256;
    if (given && other && given !== other) await part.cached!.clear();
    const known = part.cached?.known;
    const remote = known?.isComplete ? null : await this.remote(part);
    // Only the first file's answer is read on; an open one that nobody reads would block a connection.
    if (part.index > 0) remote?.close();
    part.size = known?.header?.size ?? remote!.size;
    part.piece = known?.header?.piece ?? settings.piece;
    part.expected = given ?? known?.header?.expected ?? remote?.sha256 ?? null;
    part.keeps = part.cached !== null;
    const needsHash = part.cached ? !isWhole(part) : part.expected !== null;
    part.hash = needsHash ? new InOrder(this.tools) : null;
  }

  /** The file on the server, which has to be the one that the cache has a part of. */
  private remote(part: Part): Promise<Remote> {
    part.remote ??= this.openRemote(part);
    return part.remote;
  }

  private async openRemote(part: Part): Promise<Remote> {
    const onBytes = (bytes: number) => this.options.onProgress({ loaded: bytes, total: 0, phase: 'download' });
    const journal = part.cached?.known;
    const header = journal?.header ?? null;
    const known = header && { ...header, ...journal!.missing };
    const remote = await openRemote(part.url, this.options.headers ?? {}, this.stop.signal, onBytes, known);
    if (!header || !differs(header, remote)) return remote;
    remote.close();
    throw new Changed(part.url);
  }

  private async checkRoom(): Promise<void> {
    const needed = sum(this.parts, ({ keeps, size, cached }) => (keeps ? size - cached!.known.loaded : 0));
    const available = needed > 0 ? await this.store!.available() : null;
    if (available !== null && needed > available) {
      const message = `the model needs ${megabytes(needed)} more, and there is room for ${megabytes(available)}. ${ADVICE}`;
      this.cannotKeep(new WoollyError('quota', message));
    }
  }

  private async begin(part: Part): Promise<void> {
    const { cached, index, keeps, size, piece, expected, url } = part;
    if (!keeps) return;
    const model = { model: this.parts[0]!.url, part: index, parts: this.parts.length };
    const header = cached!.known.header;
    try {
      if (header && (header.model !== model.model || header.parts !== model.parts))
        await cached!.begin({ ...header, ...model });
      if (header) return;
      const { etag, modified } = await this.remote(part);
      await cached!.begin({ format: 1, ...model, url, size, etag, modified, piece, expected });
    } catch (error) {
      this.cannotKeep(error);
    }
  }

  /** A visit that only reads counts what it has read; one that downloads counts what earlier ones have brought. */
  private startMeter(): void {
    const total = sum(this.parts, ({ size }) => size);
    const known = sum(this.parts, ({ cached }) => cached?.known.loaded ?? 0);
    this.countsReads = known === total;
    this.meter.start(this.countsReads ? 0 : known, total, this.countsReads ? 'read' : 'download');
  }

  private pieces(): Piece[] {
    const parts = this.parts.filter((part) => this.sink || !isWhole(part));
    return parts.flatMap((part) =>
      Array.from({ length: Math.ceil(part.size / part.piece) }, (_, index) => {
        const start = index * part.piece;
        return { part, index, start, length: Math.min(part.piece, part.size - start) };
      }),
    );
  }

  /** Pieces wait in memory until the ones before them have been hashed: there shall not be many. */
  private isNear({ part, index }: Piece): boolean {
    return !part.hash || index < part.hash.done + 2 * this.parallel;
  }

  private async bring(piece: Piece): Promise<void> {
    const { part, index, start, length } = piece;
    const buffer = this.buffers.take(length);
    const known = part.cached?.known.pieces.get(index);
    const had = (await part.cached?.read(index, buffer)) ?? 0;
    throwIfAborted(this.stop.signal);
    this.meter.add(this.countsReads ? had : had - (known?.bytes ?? 0), this.countsReads ? 'read' : 'download');
    if (had < length) await this.fetch(piece, buffer, had, known?.bytes === length ? known.sha256 : null);
    this.sink?.write(part.index, start, buffer);
    if (part.hash) part.hash.add(index, buffer, () => this.buffers.give(buffer));
    else this.buffers.give(buffer);
  }

  /** Fetches what is missing of a piece, and keeps it. A damaged piece comes with the hash that it should have. */
  private async fetch(piece: Piece, buffer: Bytes, had: number, sha256: string | null): Promise<void> {
    const { part, index } = piece;
    const remote = await this.remote(part);
    const endTurn = await remote.turn();
    try {
      await this.fill(remote, piece, buffer, had, sha256 === null);
    } finally {
      endTurn();
    }
    if (sha256 !== null) {
      if ((await digest(buffer, this.tools)) !== sha256) throw new Changed(part.url);
      this.mended += 1;
    }
    await this.keep(piece, buffer, buffer.length, had);
    part.cached?.release(index);
  }

  private async fill(remote: Remote, piece: Piece, buffer: Bytes, had: number, keepsParts: boolean): Promise<void> {
    let have = had;
    let kept = had;
    const onBytes = (bytes: number) => {
      have += bytes;
      this.meter.add(bytes, 'download');
      if (!keepsParts || have - kept < settings.save || have === piece.length) return;
      kept = have;
      void this.keep(piece, buffer, have, had).catch(() => {}); // Saving the rest will fail in the same way.
    };
    try {
      const soFar = () => this.meter.soFar;
      await fill(remote, piece.part.url, piece.start, buffer, had, { signal: this.stop.signal, onBytes, soFar });
    } finally {
      if (keepsParts && have > kept && have < piece.length) await this.keep(piece, buffer, have, had).catch(() => {});
    }
  }

  private async keep({ part, index }: Piece, buffer: Bytes, length: number, had: number): Promise<void> {
    if (!part.keeps) return;
    try {
      await part.cached!.save(index, buffer, length, had);
    } catch (error) {
      this.cannotKeep(error);
    }
  }

  /** With a sink, the model can be used all the same. */
  private cannotKeep(error: unknown): void {
    for (const part of this.parts) part.keeps = false;
    const failure = keepingFailed(error);
    if (!this.sink) throw failure;
    this.notes.add(`The model is not kept for the next visit: ${failure.message}`);
  }

  private async finish(part: Part): Promise<void> {
    const { cached, expected, hash, keeps, url } = part;
    const found = hash?.finish() ?? null;
    if (found !== null && expected !== null && found !== expected) {
      await cached?.clear();
      throw new WoollyError(
        'bad_hash',
        `${url}: the file's SHA-256 is ${found}, expected ${expected}. What had been kept of it was removed.`,
      );
    }
    part.sha256 = found ?? cached?.known.sha256 ?? null;
    if (!keeps || !cached!.known.isComplete) return;
    try {
      await cached!.note(
        found === null
          ? [['used', Date.now()]]
          : [
              ['whole', found],
              ['used', Date.now()],
            ],
      );
    } catch (error) {
      this.cannotKeep(error);
    }
  }

  private loaded(): Loaded {
    if (this.mended > 0) this.notes.add(`${this.mended} damaged pieces of the cache were fetched again`);
    const parts = this.parts.map(({ url, size, sha256 }) => ({ name: nameOf(url), size, sha256 }));
    return { parts, notes: [...this.notes] };
  }
}

const ADVICE = "Removing another model, or the site's other data, makes room.";

function keepingFailed(error: unknown): WoollyError {
  if (error instanceof WoollyError) return error;
  if (isFull(error))
    return new WoollyError('quota', `there is no room for the whole model. ${ADVICE}`, { cause: error });
  if (error instanceof Busy)
    return new WoollyError('unsupported', 'its file is in use, by another tab or process.', { cause: error });
  return new WoollyError('unsupported', `the cache cannot be written: ${messageOf(error)}`, { cause: error });
}

/** Whether the file was there as a whole when it was last looked at, and its hash was found. */
function isWhole({ cached }: Part): boolean {
  return cached !== null && cached.known.isComplete && cached.known.sha256 !== null;
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}

function sum<T>(items: T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
