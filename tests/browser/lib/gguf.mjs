/** Just enough of GGUF to split a model, to rename its architecture, and to make a file of nothing. */

const SIZES = [1, 1, 2, 2, 4, 4, 4, 1, undefined, undefined, 8, 8, 8];
const [UINT16, INT32, STRING, ARRAY] = [2, 5, 8, 9];
const ALIGNMENT = 32;

/** The file's metadata, as `[key, type, bytes]`, and tensors, as `{ head, data }` with what stands before the offset. */
export function read(file) {
  const reader = new Reader(file);
  const [tensors, entries] = [reader.u64(8), reader.u64(16)];
  reader.at = 24;
  const metadata = Array.from({ length: entries }, () => reader.entry());
  const heads = Array.from({ length: tensors }, () => reader.tensor());
  const start = align(reader.at);
  const end = at => heads.map(({ offset }) => offset).filter(offset => offset > at).sort((a, b) => a - b)[0] ?? file.length - start;
  return { metadata, tensors: heads.map(({ head, offset }) => ({ head, data: file.subarray(start + offset, start + end(offset)) })) };
}

/** The bytes of a file with these metadata and tensors. */
export function write({ metadata, tensors }) {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.length)];
  for (const [key, type, bytes] of metadata) parts.push(string(key), u32(type), bytes);
  let offset = 0;
  for (const { head, data } of tensors) {
    parts.push(head, u64(offset));
    offset += align(data.length);
  }
  pad(parts);
  for (const { data } of tensors) {
    parts.push(data);
    pad(parts);
  }
  return Buffer.concat(parts);
}

/** The file in so many parts, each with some of the tensors. */
export function split(file, count) {
  const { metadata, tensors } = read(file);
  const size = Math.ceil(tensors.length / count);
  return Array.from({ length: count }, (_, no) => {
    const about = [
      ['split.no', UINT16, u16(no)],
      ['split.count', UINT16, u16(count)],
      ['split.tensors.count', INT32, u32(tensors.length)],
    ];
    return write({ metadata: no === 0 ? [...metadata, ...about] : about, tensors: tensors.slice(no * size, (no + 1) * size) });
  });
}

/** A file without tensors, of an architecture that there is not. */
export const nonsense = () => write({ metadata: [['general.architecture', STRING, string('nonsense')]], tensors: [] });

class Reader {
  constructor(file) {
    this.file = file;
    this.at = 0;
  }

  u64(at) {
    return Number(this.file.readBigUInt64LE(at));
  }

  take(count) {
    this.at += count;
    return this.file.subarray(this.at - count, this.at);
  }

  string() {
    return this.take(this.u64(this.at) + 8).subarray(8).toString();
  }

  u32() {
    return this.take(4).readUInt32LE();
  }

  entry() {
    const [key, type, start] = [this.string(), this.u32(), this.at];
    this.skip(type);
    return [key, type, this.file.subarray(start, this.at)];
  }

  skip(type) {
    if (type === STRING) this.string();
    else if (type === ARRAY) this.skipArray();
    else this.take(SIZES[type]);
  }

  skipArray() {
    const [type, count] = [this.u32(), this.u64(this.at)];
    this.at += 8;
    for (let i = 0; i < count; i++) this.skip(type);
  }

  tensor() {
    const start = this.at;
    this.string();
    this.take(8 * this.u32() + 4);
    return { head: this.file.subarray(start, this.at), offset: Number(this.take(8).readBigUInt64LE()) };
  }
}

const align = at => Math.ceil(at / ALIGNMENT) * ALIGNMENT;

function pad(parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  parts.push(Buffer.alloc(align(length) - length));
}

const number = (bytes, write) => {
  const buffer = Buffer.alloc(bytes);
  write(buffer);
  return buffer;
};
const u16 = value => number(2, buffer => buffer.writeUInt16LE(value));
const u32 = value => number(4, buffer => buffer.writeUInt32LE(value));
const u64 = value => number(8, buffer => buffer.writeBigUInt64LE(BigInt(value)));
const string = text => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);
