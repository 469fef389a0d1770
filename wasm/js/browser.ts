/** What a browser offers to both sides: workers for the caller, an environment for the host. */

import { asWoolly, WoollyError } from './errors.js';
import type { Glue, ThreadsGlue } from './glue.js';
import type { HostMessage } from './host.js';
import { uniqueName } from './platform.js';
import type { FromHost, Port } from './rpc.js';
import type { ThreadMessage } from './threads.js';
import { type Environment, pageThreadsTrouble, type WasmUrls } from './wasm.js';

/** What a worker says of itself: it holds the lock of its name. */
export interface Alive {
  kind: 'alive';
}

/** A host asks the page for a thread. */
export interface StartThread {
  kind: 'start thread';
  id: number;
  message: ThreadMessage;
}

/** It has no use for a thread that it asked for. */
export interface EndThread {
  kind: 'end thread';
  id: number;
}

/** What became of a thread that a host asked for. */
export interface ThreadStarted {
  kind: 'thread started';
  id: number;
  /** Null if all is well. */
  trouble: string | null;
}

/** Starts a worker's host. */
export function workerPort(start: () => Worker, urls: WasmUrls): Port {
  const worker = started(start);
  const name = uniqueName();
  const mourning = new AbortController();
  const obituaries = new BroadcastChannel(name);
  const threads = new Threads(start, (message) => worker.postMessage(message));
  return {
    listen(onmessage, onfailure) {
      const fail = (message: string) => onfailure(new WoollyError('worker', message));
      worker.onmessage = ({ data }: MessageEvent<FromHost | Alive | StartThread | EndThread>) => {
        if (data.kind === 'alive') awaitEnd(name, mourning.signal, () => fail('its worker was ended'));
        else if (data.kind === 'start thread') threads.start(data);
        else if (data.kind === 'end thread') threads.end(data.id);
        else onmessage(data);
      };
      worker.onerror = (event) => {
        event.preventDefault();
        fail(event.message || 'its worker did not start: is worker.js there, and does the page allow it?');
      };
      worker.onmessageerror = () => fail('a message from its worker could not be read');
      obituaries.onmessage = ({ data }) => fail(`a thread died: ${data}`);
      worker.postMessage({ kind: 'host', urls, name } satisfies HostMessage);
    },
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    busy: () => {},
    close() {
      mourning.abort();
      obituaries.close();
      threads.endAll();
      worker.terminate();
    },
  };
}

/**
 * The threads of one host. The page starts them, not the host: in Firefox (seen in 153) a worker that starts a worker stands
 * still for ever in one of a hundred cases.
 */
class Threads {
  #start: () => Worker;
  #answer: (message: ThreadStarted) => void;
  #workers = new Map<number, Worker>();

  constructor(start: () => Worker, answer: (message: ThreadStarted) => void) {
    this.#start = start;
    this.#answer = answer;
  }

  start({ id, message }: StartThread): void {
    const answer = (trouble: string | null) => this.#answer({ kind: 'thread started', id, trouble });
    try {
      const worker = started(this.#start);
      this.#workers.set(id, worker);
      worker.onmessage = () => answer(null);
      worker.onerror = (event) => {
        event.preventDefault();
        answer(event.message || 'its script did not load');
      };
      worker.postMessage(message);
    } catch (error) {
      answer(asWoolly(error).message);
    }
  }

  end(id: number): void {
    this.#workers.get(id)?.terminate();
    this.#workers.delete(id);
  }

  endAll(): void {
    for (const id of [...this.#workers.keys()]) this.end(id);
  }
}

/** In a worker: holds the lock of this name for as long as it lives. */
export function stayAlive(name: string, alive: () => void): void {
  const held = () => {
    alive();
    return new Promise<never>(() => {});
  };
  // Without locks a worker's end is not noticed, but all else works.
  navigator.locks?.request(name, held).catch(() => {});
}

/** A host's environment. */
export function browserEnvironment(single: Glue, threads: ThreadsGlue | null): Environment {
  return {
    single,
    threads,
    threadsTrouble: () => (threads ? pageThreadsTrouble(globalThis) : 'the engine runs in the thread of its caller'),
    cores: navigator.hardwareConcurrency || 1,
    fetchWasm,
    breathe: pinger(),
  };
}

function started(start: () => Worker): Worker {
  try {
    return start();
  } catch (error) {
    throw new WoollyError('worker', `cannot start the worker: ${asWoolly(error).message}`, { cause: error });
  }
}

/** Nobody is told when a worker is killed. But its lock becomes free. */
function awaitEnd(name: string, signal: AbortSignal, ended: () => void): void {
  navigator.locks?.request(name, { signal }, ended).catch(() => {});
}

async function fetchWasm(url: string, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new WoollyError('network', `cannot fetch ${url}: ${asWoolly(error).message}`, { cause: error });
  }
}

/** A message to oneself comes after those that wait already. A timer would take 4 milliseconds. */
function pinger(): () => Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      port2.postMessage(null);
    });
}
