/** Where models come from: what callers may write, and what a worker can be sent. */
import { WoollyError, badArgument } from '../errors.js';
import type { ModelSource } from '../types.js';

/** A source that crosses to a worker. The parts of a split model are in order. */
export type TransferableSource =
  | { kind: 'urls'; urls: string[] }
  | { kind: 'blob'; blobs: Blob[] }
  | { kind: 'bytes'; bytes: Uint8Array }
  | { kind: 'stream'; stream: ReadableStream<Uint8Array> }
  | { kind: 'paths'; paths: string[] };

const HUB = 'https://huggingface.co';
/** The names of a split model's parts, as llama.cpp writes them. */
const FIRST_OF_MANY = /-00001-of-(\d{5})\.gguf$/i;

/** `base` is what relative URLs are relative to; null where plain strings are paths. */
export function resolveSource(model: ModelSource, base: string | null): TransferableSource {
  if (Array.isArray(model)) return resolveParts(model, base);
  if (typeof model === 'string' || model instanceof URL) return allParts(place(model, base));
  if (model instanceof Blob) return { kind: 'blob', blobs: [model] };
  if (model instanceof Uint8Array) return { kind: 'bytes', bytes: model };
  if (model instanceof ArrayBuffer) return { kind: 'bytes', bytes: new Uint8Array(model) };
  if (model instanceof ReadableStream) return { kind: 'stream', stream: model };
  throw badArgument(
    'model',
    model,
    'a URL, hf:owner/repo/file.gguf, a list of these, a Blob, bytes or a ReadableStream',
  );
}

/** The name under which a model is kept: the address of its first part. */
export function keyOf(model: string): string {
  if (model.startsWith('hf:')) return hubUrl(model);
  return URL.canParse(model) ? new URL(model).href : model;
}

/** The last part of a path or URL. */
export function nameOf(address: string): string {
  const path = URL.canParse(address) ? new URL(address).pathname : address;
  const name = path.split(/[\\/]/).pop() ?? '';
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

interface Place {
  kind: 'url' | 'path';
  address: string;
}

function resolveParts(models: (string | URL)[], base: string | null): TransferableSource {
  if (models.length === 0) throw badArgument('model', models, 'at least one part');
  const places = models.map((model) => place(model, base));
  if (places.length === 1) return allParts(places[0]!);
  const kinds = new Set(places.map(({ kind }) => kind));
  if (kinds.size > 1) throw badArgument('model', models.map(String), 'either URLs or paths, not both');
  return source(
    places[0]!.kind,
    places.map(({ address }) => address),
  );
}

function source(kind: Place['kind'], addresses: string[]): TransferableSource {
  return kind === 'url' ? { kind: 'urls', urls: addresses } : { kind: 'paths', paths: addresses };
}

/** The first part of a split model stands for all of them. */
function allParts({ kind, address }: Place): TransferableSource {
  const url = kind === 'url' ? new URL(address) : null;
  const path = url ? url.pathname : address;
  const count = Number(FIRST_OF_MANY.exec(path)?.[1] ?? 1);
  if (count < 2) return source(kind, [address]);
  const addresses = Array.from({ length: count }, (_, index) => {
    const part = path.replace(
      FIRST_OF_MANY,
      (all, of: string) => `-${String(index + 1).padStart(5, '0')}-of-${of}${all.slice(-5)}`,
    );
    if (!url) return part;
    const own = new URL(url);
    own.pathname = part;
    return own.href;
  });
  return source(kind, addresses);
}

function place(model: string | URL, base: string | null): Place {
  const text = String(model);
  if (text === '') throw badArgument('model', text, 'a URL or path');
  if (text.startsWith('hf:')) return { kind: 'url', address: hubUrl(text) };
  if (base === null && isPath(text)) return { kind: 'path', address: text };
  try {
    return { kind: 'url', address: new URL(text, base ?? undefined).href };
  } catch (error) {
    throw new WoollyError('bad_argument', `model is ${text}, which is not a URL`, { cause: error });
  }
}

/** `C:\models\a.gguf` looks like a URL, but no scheme has one letter. */
function isPath(text: string): boolean {
  return text.startsWith('file:') || !/^[a-z][a-z0-9+.-]+:/i.test(text);
}

function hubUrl(model: string): string {
  const match = /^hf:\/*([^/@]+)\/([^/@]+)(?:@([^/]+))?\/(.+)$/.exec(model);
  if (!match)
    throw new WoollyError(
      'bad_argument',
      `model is ${model}, expected hf:owner/repo/file.gguf or hf:owner/repo@revision/file.gguf`,
    );
  const [, owner, repo, revision, file] = match;
  return new URL(
    `${HUB}/${owner}/${repo}/resolve/${revision ?? 'main'}/${file!.split('/').map(encodeURIComponent).join('/')}`,
  ).href;
}
