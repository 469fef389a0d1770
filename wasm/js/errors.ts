/** The one kind of error that the package throws. */

import type { ErrorCode } from './types.js';

export class WoollyError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'WoollyError';
    this.code = code;
  }
}

const CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'aborted',
  'bad_argument',
  'bad_hash',
  'bad_model',
  'context_full',
  'network',
  'not_found',
  'not_gguf',
  'out_of_memory',
  'quota',
  'unloaded',
  'unsupported',
  'unsupported_architecture',
  'worker',
]);

/** The codes that the platform's own errors stand for, by their names. */
const PLATFORM: Record<string, ErrorCode> = {
  AbortError: 'aborted',
  CompileError: 'unsupported',
  LinkError: 'unsupported',
  NotFoundError: 'not_found',
  QuotaExceededError: 'quota',
};

/** Any thrown value as a `WoollyError`; what nobody foresaw has the code `worker`. */
export function asWoolly(error: unknown): WoollyError {
  if (error instanceof WoollyError) return error;
  const { code, message, name } = parts(error);
  return new WoollyError(codeOf(code, message, name), message, { cause: error });
}

/** The error of an aborted call. */
export function aborted(signal: AbortSignal): WoollyError {
  return new WoollyError('aborted', 'the call was aborted', { cause: signal.reason });
}

/** Throws when the signal has been aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/** An argument that cannot be: says which, what it is, and what was expected. */
export function badArgument(name: string, value: unknown, expected: string): WoollyError {
  return new WoollyError('bad_argument', `${name} is ${show(value)}, expected ${expected}`);
}

function parts(error: unknown): { code: unknown; message: string; name: string } {
  if (typeof error !== 'object' || error === null) return { code: null, message: String(error), name: '' };
  const { code, message, name } = error as { code?: unknown; message?: unknown; name?: unknown };
  return { code, message: String(message ?? error), name: String(name ?? '') };
}

function codeOf(code: unknown, message: string, name: string): ErrorCode {
  if (typeof code === 'string' && CODES.has(code)) return code as ErrorCode;
  if (Object.hasOwn(PLATFORM, name)) return PLATFORM[name] as ErrorCode;
  // Engines word it differently, but a buffer or memory that cannot be had is a RangeError in all of them.
  if (name === 'RangeError' && /alloc|memory|array buffer/i.test(message)) return 'out_of_memory';
  return 'worker';
}

function show(value: unknown): string {
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  if (typeof value === 'bigint' || typeof value === 'number' || value === undefined) return String(value);
  const text = safeJson(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}
