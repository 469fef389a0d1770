import { aborted } from '../errors.js';

/** An attempt failed that may succeed when it is made again. */
export class Interrupted extends Error {
  /** Milliseconds that the server asks to wait. */
  readonly wait: number;

  constructor(message: string, wait = 0) {
    super(message);
    this.wait = wait;
  }
}

/** The file on the server is not the one whose download was begun. */
export class Changed extends Error {
  readonly url: string;

  constructor(url: string) {
    super(`${url} has changed on the server`);
    this.url = url;
  }
}

/** A file of the store is held by somebody else. */
export class Busy extends Error {}

/** Resolves after so many milliseconds; rejects as soon as the signal is aborted. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      if (signal.aborted) reject(aborted(signal));
      else resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}

/** What an unknown thrown value says. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message
    ? `${error.message}: ${error.cause.message}`
    : error.message;
}
