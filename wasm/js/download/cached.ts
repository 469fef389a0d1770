/** One file of the cache: its bytes, and the journal that says which of them are there. */
import { aborted } from '../errors.js';
import { digest, type Tools } from './hash.js';
import { Journal, type Fact, type Header } from './journal.js';
import { Busy, pause } from './problems.js';
import { settings } from './settings.js';
import type { Bytes, Store, StoreFile } from './store.js';

const DATA = '.gguf';
const JOURNAL = '.journal';
/** More than any journal has. */
const MOST = 1 << 24;

/** A piece while it arrives. Bytes before `length` do not change any more. */
interface Arriving {
  buffer: Bytes;
  length: number;
  saved: number;
}

export class CachedFile {
  private readonly store: Store;
  private readonly name: string;
  private readonly data: StoreFile;
  private readonly notes: StoreFile;
  private readonly tools: Tools;
  private journal: Journal;
  private readonly arriving = new Map<number, Arriving>();
  private readonly unsaved = new Set<number>();
  private saving: Promise<void> = Promise.resolve();

  private constructor(store: Store, name: string, data: StoreFile, notes: StoreFile, journal: Journal, tools: Tools) {
    this.store = store;
    this.name = name;
    this.data = data;
    this.notes = notes;
    this.journal = journal;
    this.tools = tools;
  }

  /** Opens the file that is kept for a URL, which nobody else then holds; an empty one if there is none. */
  static async open(store: Store, url: string, tools: Tools, signal: AbortSignal): Promise<CachedFile> {
    const name = await fileName(url, tools);
    const data = await insist(() => store.open(name + DATA), signal);
    let notes: StoreFile | null = null;
    try {
      notes = await insist(() => store.open(name + JOURNAL), signal);
      const journal = await readJournal(notes);
      return new CachedFile(store, name, data, notes, journal, tools);
    } catch (error) {
      await notes?.close();
      await data.close();
      throw error;
    }
  }

  /** What the journal says. */
  get known(): Readonly<Journal> {
    return this.journal;
  }

  /** Forgets everything. */
  async clear(): Promise<void> {
    this.journal = new Journal();
    await this.notes.truncate(0);
    await this.notes.flush();
    await this.data.truncate(0);
  }

  async begin(header: Header): Promise<void> {
    await this.note([['file', header]]);
  }

  async note(facts: Fact[]): Promise<void> {
    await this.journal.append(this.notes, facts);
  }

  /** Reads what is there of a piece; returns how many bytes that are, 0 for damaged ones. */
  async read(index: number, into: Bytes): Promise<number> {
    const kept = this.journal.pieces.get(index);
    if (!kept || kept.bytes > into.length) return 0;
    const bytes = into.subarray(0, kept.bytes);
    const done = await this.data.read(this.start(index), bytes);
    return done === kept.bytes && (await digest(bytes, this.tools)) === kept.sha256 ? done : 0;
  }

  /**
   * Keeps a piece as far as it has come; resolves when that would survive a crash. Pieces that come while others are
   * being written are written together, with one flush.
   */
  save(index: number, buffer: Bytes, length: number, saved: number): Promise<void> {
    const piece = this.arriving.get(index) ?? { buffer, length, saved };
    piece.length = length;
    this.arriving.set(index, piece);
    this.unsaved.add(index);
    this.saving = this.saving.then(() => this.saveAll());
    return this.saving;
  }

  /** The buffer of a piece will be used for something else. */
  release(index: number): void {
    this.arriving.delete(index);
    this.unsaved.delete(index);
  }

  /** Lets go of the file, and leaves nothing behind if there is none. */
  async close(): Promise<void> {
    await this.saving.catch(() => {});
    await this.notes.close();
    await this.data.close();
    if (!this.journal.header) await removeFile(this.store, this.name).catch(() => {});
  }

  /** First the bytes, then a flush, then the journal: it never claims what is not there. */
  private async saveAll(): Promise<void> {
    const indices = [...this.unsaved];
    this.unsaved.clear();
    const facts: Fact[] = [];
    for (const index of indices) facts.push(await this.write(index));
    if (facts.length === 0) return;
    await this.data.flush();
    await this.note(facts);
  }

  private async write(index: number): Promise<Fact> {
    const piece = this.arriving.get(index)!;
    const bytes = piece.buffer.subarray(0, piece.length);
    const sha256 = await digest(bytes, this.tools);
    await this.data.write(this.start(index) + piece.saved, bytes.subarray(piece.saved));
    piece.saved = bytes.length;
    return ['piece', index, bytes.length, sha256];
  }

  private start(index: number): number {
    return index * this.journal.header!.piece;
  }
}

/** Every journal of the store, with the name of its file, without holding any. */
export async function journals(store: Store): Promise<{ name: string; journal: Journal }[]> {
  const names = (await store.names()).filter((name) => name.endsWith(JOURNAL));
  return Promise.all(
    names.map(async (file) => ({
      name: file.slice(0, -JOURNAL.length),
      journal: Journal.parse(await store.peek(file, 0, MOST)),
    })),
  );
}

/** Reads the first bytes of a file that is kept, without holding it; null if they are not there or damaged. */
export async function peekStart(store: Store, name: string, journal: Journal, length: number): Promise<Bytes | null> {
  const { piece, size } = journal.header!;
  const end = Math.min(length, size);
  const bytes = await store.peek(name + DATA, 0, Math.min(Math.ceil(end / piece) * piece, size));
  for (let index = 0; index * piece < end; index++) {
    const kept = journal.pieces.get(index);
    const own = bytes.subarray(index * piece, Math.min((index + 1) * piece, size));
    if (kept?.bytes !== own.length || (await digest(own, null)) !== kept.sha256) return null;
  }
  return bytes.subarray(0, end);
}

/** The journal first: what is left after a crash in between is no file. */
export async function removeFile(store: Store, name: string): Promise<void> {
  const { signal } = new AbortController();
  await insist(() => store.remove(name + JOURNAL), signal);
  await insist(() => store.remove(name + DATA), signal);
}

/** Addresses hold characters that file names may not. */
async function fileName(url: string, tools: Tools): Promise<string> {
  return (await digest(new TextEncoder().encode(url), tools)).slice(0, 32);
}

async function readJournal(file: StoreFile): Promise<Journal> {
  const chunks: Bytes[] = [];
  let length = 0;
  for (;;) {
    const chunk = new Uint8Array(1 << 18);
    const done = await file.read(length, chunk);
    chunks.push(chunk.subarray(0, done));
    length += done;
    if (done < chunk.length) break;
  }
  const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
  const journal = Journal.parse(bytes);
  if (journal.length < length) await file.truncate(journal.length);
  return journal;
}

/** Where there are no locks, a file may be held by another tab, or for a moment still by one that was closed. */
async function insist<T>(step: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const end = Date.now() + settings.patience;
  for (;;) {
    if (signal.aborted) throw aborted(signal);
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof Busy) || Date.now() > end) throw error;
      await pause(50, signal);
    }
  }
}
