/**
 * Calls between the caller's side and the host's. Messages are plain objects for structured clone; an error crosses as its
 * code and message. A call may be sent events while it runs, and may be aborted at any time.
 */

import { aborted, asWoolly, WoollyError } from './errors.js';
import type { ErrorCode } from './types.js';

/** From the caller to the host. */
export type ToHost =
  | { kind: 'call'; id: number; method: string; args: unknown }
  | { kind: 'abort'; id: number };

/** From the host to the caller. `fatal`: the host is lost, and answers nothing any more. */
export type FromHost =
  | { kind: 'event'; id: number; event: unknown }
  | { kind: 'result'; id: number; value: unknown }
  | { kind: 'error'; id: number; error: { code: ErrorCode; message: string }; fatal: boolean };

/** The way to a host, wherever it runs. */
export interface Port {
  /** Called once, before the first `post`. `onfailure` hears of a host that died. */
  listen(onmessage: (message: FromHost) => void, onfailure: (error: WoollyError) => void): void;
  post(message: ToHost, transfer?: Transferable[]): void;
  /** Whether an answer is awaited: an idle host shall not keep a Node process alive. */
  busy(yes: boolean): void;
  close(): void;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  onEvent?: ((event: any) => void) | undefined;
  transfer?: Transferable[] | undefined;
}

interface Pending {
  resolve(value: any): void;
  reject(error: WoollyError): void;
  onEvent: ((event: any) => void) | undefined;
}

/** The caller's side. */
export class Client {
  #port: Port;
  #pending = new Map<number, Pending>();
  /** Calls that the host still works on: the pending ones, and aborted ones that it has not let go of yet. */
  #unanswered = new Set<number>();
  #idle: (() => void) | null = null;
  #closed: WoollyError | null = null;
  #next = 1;

  constructor(port: Port) {
    this.#port = port;
    port.listen(
      (message) => this.#receive(message),
      (error) => this.fail(error),
    );
  }

  call<T>(method: string, args: unknown, options: CallOptions = {}): Promise<T> {
    const { signal, onEvent, transfer } = options;
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(aborted(signal));
    const id = this.#next++;
    const onabort = () => this.#abort(id, signal as AbortSignal);
    const answer = new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onEvent });
      this.#unanswered.add(id);
      this.#port.busy(true);
      this.#send({ kind: 'call', id, method, args }, transfer);
    });
    signal?.addEventListener('abort', onabort, { once: true });
    return answer.finally(() => signal?.removeEventListener('abort', onabort));
  }

  /** Rejects everything, now and later, and lets the host go. */
  fail(error: WoollyError): void {
    if (this.#closed) return;
    this.#closed = later(error);
    for (const id of this.#unanswered) this.#port.post({ kind: 'abort', id });
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#unanswered.clear();
    this.#settle();
    this.#port.close();
  }

  /** Waits until the host has let go of what was aborted, for at most this long, so that its files are free again. */
  async drain(milliseconds: number): Promise<void> {
    if (this.#unanswered.size === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      timer = setTimeout(resolve, milliseconds);
    });
    clearTimeout(timer);
  }

  #send(message: ToHost, transfer?: Transferable[]): void {
    try {
      this.#port.post(message, transfer);
    } catch (error) {
      // What cannot be cloned, such as a function among the messages of a chat.
      this.#take(message.id)?.reject(new WoollyError('bad_argument', asWoolly(error).message, { cause: error }));
      this.#answered(message.id);
    }
  }

  #abort(id: number, signal: AbortSignal): void {
    const call = this.#take(id);
    if (!call) return;
    call.reject(aborted(signal));
    this.#port.post({ kind: 'abort', id });
  }

  #receive(message: FromHost): void {
    if (message.kind === 'event') {
      this.#pending.get(message.id)?.onEvent?.(message.event);
      return;
    }
    const call = this.#take(message.id);
    this.#answered(message.id);
    if (message.kind === 'result') {
      call?.resolve(message.value);
      return;
    }
    const error = new WoollyError(message.error.code, message.error.message);
    call?.reject(error);
    if (message.fatal) this.fail(error.code === 'worker' ? error : new WoollyError('worker', error.message));
  }

  #take(id: number): Pending | undefined {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    return call;
  }

  #answered(id: number): void {
    this.#unanswered.delete(id);
    if (this.#unanswered.size === 0) this.#settle();
  }

  #settle(): void {
    this.#port.busy(false);
    this.#idle?.();
    this.#idle = null;
  }
}

/** What later calls are told. */
function later(error: WoollyError): WoollyError {
  if (error.code !== 'worker') return error;
  return new WoollyError('worker', `the engine is gone (${error.message}): create a new Engine`, { cause: error });
}

/** What a running method can do besides returning. */
export interface Call {
  signal: AbortSignal;
  emit(event: unknown): void;
}

export type Methods = Record<string, (args: any, call: Call) => unknown>;

/** The host's side: returns what takes the caller's messages. */
export function serve(
  methods: Methods,
  post: (message: FromHost, transfer: Transferable[]) => void,
): (message: ToHost) => void {
  const running = new Map<number, AbortController>();

  async function answer({ id, method, args }: ToHost & { kind: 'call' }, controller: AbortController): Promise<void> {
    try {
      const emit = (event: unknown) => post({ kind: 'event', id, event }, []);
      const value = await methods[method]?.(args, { signal: controller.signal, emit });
      post({ kind: 'result', id, value }, transferable(value));
    } catch (error) {
      const { code, message } = asWoolly(error);
      post({ kind: 'error', id, error: { code, message }, fatal: code === 'worker' || isTrap(error) }, []);
    } finally {
      running.delete(id);
    }
  }

  return (message) => {
    if (message.kind === 'abort') {
      running.get(message.id)?.abort();
    } else {
      const controller = new AbortController();
      running.set(message.id, controller);
      void answer(message, controller);
    }
  };
}

/** Whether an error is one after which the wasm instance cannot be used. */
export function isTrap(error: unknown): boolean {
  if (error instanceof WoollyError) return isTrap(error.cause);
  return error instanceof WebAssembly.RuntimeError;
}

/** Arrays that the host has made for the caller are moved, not copied. */
function transferable(value: unknown): Transferable[] {
  return ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer ? [value.buffer] : [];
}

/** A host in the caller's own thread: messages are handed over as they are, in a task of their own. */
export function localPort(methods: Methods): Port {
  let onmessage: (message: FromHost) => void = () => {};
  const receive = serve(methods, (message) => queueMicrotask(() => onmessage(message)));
  return {
    listen: (listener) => {
      onmessage = listener;
    },
    post: (message) => queueMicrotask(() => receive(message)),
    busy: () => {},
    close: () => {
      onmessage = () => {};
      receive({ kind: 'call', id: 0, method: 'unload', args: null });
    },
  };
}
