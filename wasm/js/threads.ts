/** The threads of wasm-bindgen-rayon: each is the worker's own script once more, with the same module and memory. */

import { asWoolly } from './errors.js';
import type { ThreadsGlue } from './glue.js';

/** The first message of a worker that is to be a thread. */
export interface ThreadMessage {
  kind: 'thread';
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  receiver: number;
  /** Where a thread tells that it died: its host waits for it in wasm, and hears nothing. */
  obituaries: string;
}

export interface Thread {
  ready: Promise<void>;
  terminate(): void;
}

/** wasm-bindgen-rayon's `PoolBuilder`. */
interface PoolBuilder {
  numThreads(): number;
  receiver(): number;
  build(): void;
}

type Starter = (message: ThreadMessage) => Thread;

let starter: Starter | null = null;
let obituaries = '';

/** Says how a thread starts here, and where its death is told. */
export function configureThreads(start: Starter, channel: string): void {
  starter = start;
  obituaries = channel;
}

/** Called by the glue's `initThreadPool`. */
export async function startWorkers(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  builder: PoolBuilder,
): Promise<void> {
  const start = starter;
  if (!start) throw new Error('nobody said how threads start');
  const message: ThreadMessage = { kind: 'thread', module, memory, receiver: builder.receiver(), obituaries };
  const threads = Array.from({ length: builder.numThreads() }, () => start(message));
  try {
    await Promise.all(threads.map(({ ready }) => ready));
    builder.build();
  } catch (error) {
    for (const thread of threads) thread.terminate();
    throw error;
  }
}

/** The life of a thread. Returns only when it died. */
export function runThread(glue: ThreadsGlue, message: ThreadMessage, ready: () => void): void {
  const { module, memory, receiver } = message;
  glue.initSync({ module, memory });
  ready();
  try {
    glue.wbg_rayon_start_worker(receiver);
  } catch (error) {
    new BroadcastChannel(message.obituaries).postMessage(asWoolly(error).message);
  }
}
