/**
 * What is known of a file of the cache, in a small file beside it. It only ever grows, by one line for each fact; each
 * line begins with its checksum. A line that a crash has torn, and what may come after it, never happened.
 *
 * A fact is written when the bytes it is about have been flushed, so that it is true whenever it can be read.
 */
import type { Bytes, StoreFile } from './store.js';

/** What the file is. Without this line, there is none. */
export interface Header {
  format: 1;
  /** Key of the model, which is the address of its first part. */
  model: string;
  part: number;
  parts: number;
  url: string;
  size: number;
  etag: string | null;
  modified: string | null;
  /** Bytes of a piece. */
  piece: number;
  /** The SHA-256 that the server or the caller says the whole file has. */
  expected: string | null;
}

/** The first bytes of a piece that are there, and their hash. */
export interface Kept {
  bytes: number;
  sha256: string;
}

export type Fact =
  | ['file', Header]
  | ['piece', index: number, bytes: number, sha256: string]
  /** The SHA-256 of the whole file, which was read once in order. */
  | ['whole', sha256: string]
  /** When it was used, in milliseconds since 1970. */
  | ['used', time: number];

export class Journal {
  header: Header | null = null;
  sha256: string | null = null;
  used = 0;
  readonly pieces = new Map<number, Kept>();
  /** Bytes of the lines that hold. */
  length = 0;

  static parse(bytes: Bytes): Journal {
    const journal = new Journal();
    const lines = new TextDecoder('latin1').decode(bytes).split('\n');
    // What follows the last line's end is empty or torn.
    for (const line of lines.slice(0, -1)) {
      const fact = parseLine(line);
      if (!fact) break;
      journal.note(fact);
      journal.length += line.length + 1;
    }
    return journal;
  }

  get isComplete(): boolean {
    return this.header !== null && this.loaded === this.header.size;
  }

  /** Bytes of the file that are there. */
  get loaded(): number {
    let sum = 0;
    for (const { bytes } of this.pieces.values()) sum += bytes;
    return sum;
  }

  /** The first bytes of the file that are not there, up to the end of their piece; an empty range if all are. */
  get missing(): { from: number; to: number } {
    const { size, piece } = this.header!;
    for (let start = 0; start < size; start += piece) {
      const to = Math.min(start + piece, size);
      const from = start + (this.pieces.get(start / piece)?.bytes ?? 0);
      if (from < to) return { from, to };
    }
    return { from: size, to: size };
  }

  /** Writes facts behind the lines that hold, and makes them last. */
  async append(file: StoreFile, facts: Fact[]): Promise<void> {
    const lines = new TextEncoder().encode(facts.map(formatLine).join(''));
    await file.write(this.length, lines);
    await file.flush();
    this.length += lines.length;
    facts.forEach((fact) => this.note(fact));
  }

  private note(fact: Fact): void {
    if (fact[0] === 'file') this.header = fact[1];
    else if (fact[0] === 'piece') this.pieces.set(fact[1], { bytes: fact[2], sha256: fact[3] });
    else if (fact[0] === 'whole') this.sha256 = fact[1];
    else this.used = fact[1];
  }
}

function formatLine(fact: Fact): string {
  const text = JSON.stringify(fact).replace(
    /[^\x20-\x7e]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `${checksum(text)} ${text}\n`;
}

function parseLine(line: string): Fact | null {
  const text = line.slice(9);
  if (line.slice(0, 9) !== `${checksum(text)} `) return null;
  const fact = JSON.parse(text) as Fact;
  return fact[0] === 'file' && fact[1].format !== 1 ? null : fact;
}

/** FNV-1a, 32 bits. */
function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}
