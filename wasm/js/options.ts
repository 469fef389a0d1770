/** Checks what the caller gives to `Engine` and `ModelManager`. */

import { resolveSource } from './download/sources.js';
import { badArgument, WoollyError } from './errors.js';
import type { SessionSettings } from './header.js';
import type { DownloadSettings, EngineSettings } from './host.js';
import { platform } from './platform.js';
import { packSource, type SentSource } from './stream.js';
import type { CacheType, DownloadOptions, EngineOptions, ModelSource, SessionOptions } from './types.js';

const DOWNLOAD = ['signal', 'progressCallback', 'sha256', 'headers', 'parallel', 'cache'];
const PLATFORM = ['workerUrl', 'wasmUrl'];
const SESSION = ['n_ctx', 'n_batch', 'cache_type_k', 'cache_type_v'];
const ENGINE = [...DOWNLOAD, ...PLATFORM, ...SESSION, 'model', 'n_threads', 'worker', 'build', 'resolve'];

const CACHE_TYPES: CacheType[] = ['f16', 'f32', 'q8_0'];

/** `Engine.create`'s options as they are sent, and what is to be transferred with them. */
export function engineSettings(options: EngineOptions): { settings: EngineSettings; transfer: Transferable[] } {
  checkNames(options, ENGINE);
  const { n_threads: threads, worker, build = 'auto', resolve = 'loaded' } = options;
  checkOneOf('build', build, ['auto', 'simd128', 'relaxed']);
  checkOneOf('resolve', resolve, ['loaded', 'header']);
  checkCount('n_threads', threads, 1);
  if (worker !== undefined && typeof worker !== 'boolean') throw badArgument('worker', worker, 'true or false');
  const session = sessionSettings(options);
  const download = downloadSettings(options);
  // Last, since it starts to use up a stream.
  const { source, transfer } = sourceOf(options.model);
  return { settings: { ...session, source, download, build, threads, early: resolve === 'header' }, transfer };
}

/** `ModelManager.download`'s options as they are sent. */
export function downloadSettings(options: DownloadOptions): DownloadSettings {
  const { sha256, headers, parallel, cache, progressCallback, signal } = options;
  checkCount('parallel', parallel, 1);
  if (cache !== undefined && typeof cache !== 'boolean') throw badArgument('cache', cache, 'true or false');
  if (progressCallback && typeof progressCallback !== 'function') {
    throw badArgument('progressCallback', progressCallback, 'a function');
  }
  if (signal && !(signal instanceof AbortSignal)) throw badArgument('signal', signal, 'an AbortSignal');
  return { sha256: sha256 === undefined ? undefined : hashes(sha256), headers, parallel, cache };
}

export function checkDownloadOptions(options: DownloadOptions): DownloadSettings {
  checkNames(options, DOWNLOAD);
  return downloadSettings(options);
}

export function checkEstimateOptions(options: DownloadOptions & SessionOptions): SessionSettings {
  checkNames(options, [...DOWNLOAD, ...SESSION]);
  return sessionSettings(options);
}

/** Where a model's bytes come from, ready to be sent. */
export function sourceOf(model: ModelSource): { source: SentSource; transfer: Transferable[] } {
  if (model === undefined || model === null) throw badArgument('model', model, 'a URL, hf:owner/repo/file.gguf, a File …');
  return packSource(resolveSource(model, platform().base()));
}

function sessionSettings({ n_ctx, n_batch = 128, cache_type_k, cache_type_v }: SessionOptions): SessionSettings {
  checkCount('n_ctx', n_ctx, 0);
  checkCount('n_batch', n_batch, 1);
  const cache_type = cache_type_k ?? cache_type_v ?? 'f16';
  checkOneOf('cache_type_k', cache_type_k ?? cache_type, CACHE_TYPES);
  checkOneOf('cache_type_v', cache_type_v ?? cache_type, CACHE_TYPES);
  if ((cache_type_v ?? cache_type) !== cache_type) {
    throw badArgument('cache_type_v', cache_type_v, `what cache_type_k is: ${cache_type}; keys and values share a type`);
  }
  return { n_ctx, n_batch, cache_type };
}

function checkNames(options: object, known: string[]): void {
  if (typeof options !== 'object' || options === null) throw badArgument('options', options, 'an object');
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new WoollyError('bad_argument', `unknown option ${unknown}, expected one of ${known.join(', ')}`);
}

function checkOneOf(name: string, value: string, expected: string[]): void {
  if (!expected.includes(value)) throw badArgument(name, value, expected.join(', '));
}

function checkCount(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least && value < 2 ** 31)) return;
  throw badArgument(name, value, `a whole number from ${least} on`);
}

function hashes(sha256: string | string[]): string[] {
  const list = typeof sha256 === 'string' ? [sha256] : sha256;
  const wrong = Array.isArray(list) ? list.find((hash) => !/^[0-9a-f]{64}$/i.test(hash)) : sha256;
  if (wrong !== undefined) throw badArgument('sha256', wrong, '64 hexadecimal digits');
  return list.map((hash) => hash.toLowerCase());
}
