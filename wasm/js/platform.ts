/** What differs between browsers and Node: each entry module says it once. */

import { WoollyError } from './errors.js';
import type { Port } from './rpc.js';
import type { PlatformOptions } from './types.js';
import type { WasmUrls } from './wasm.js';

export interface Platform {
  /** What relative URLs of models are relative to; null in Node, where they are paths. */
  base(): string | null;
  /** Where the builds lie, if `wasmUrl` says nothing else. */
  wasmUrls: WasmUrls;
  /** Starts a worker; `workerUrl` instead of the package's own, if given. */
  worker(workerUrl: string | URL | undefined, urls: WasmUrls): Port;
  /** A host in this thread. */
  local(urls: WasmUrls): Port;
}

let current: Platform | null = null;

export function usePlatform(platform: Platform): void {
  current = platform;
}

export function platform(): Platform {
  if (!current) throw new WoollyError('unsupported', 'import the package by its entry, woolly-llm');
  return current;
}

/** Starts a host. */
export function connect(options: PlatformOptions & { worker?: boolean }): Port {
  const here = platform();
  const urls = options.wasmUrl === undefined ? here.wasmUrls : urlsIn(options.wasmUrl, here);
  return options.worker === false ? here.local(urls) : here.worker(options.workerUrl, urls);
}

/** Begins a name that no other worker has. */
export function uniqueName(): string {
  const words = crypto.getRandomValues(new Uint32Array(2));
  return `woolly-${Array.from(words, (word) => word.toString(36)).join('')}`;
}

function urlsIn(folder: string | URL, { wasmUrls, base }: Platform): WasmUrls {
  const root = folderUrl(String(folder), base() ?? wasmUrls.simd128);
  const names = Object.keys(wasmUrls) as (keyof WasmUrls)[];
  return Object.fromEntries(names.map((name) => [name, new URL(`${name}.wasm`, root).href])) as Record<
    keyof WasmUrls,
    string
  >;
}

function folderUrl(folder: string, base: string): URL {
  const slashed = folder.endsWith('/') ? folder : `${folder}/`;
  if (URL.canParse(slashed, base)) return new URL(slashed, base);
  throw new WoollyError('bad_argument', `wasmUrl is ${folder}, expected the URL of a folder`);
}
