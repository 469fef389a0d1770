/** The worker of a browser. Its first message says what it becomes: an engine's host, or a thread of one. */

import { browserEnvironment, type EndThread, type StartThread, stayAlive, type ThreadStarted } from './browser.js';
import * as single from './generated/single.js';
import * as threads from './generated/threads.js';
import type { HostMessage } from './host.js';
import { hostMethods } from './hosting.js';
import { serve, type ToHost } from './rpc.js';
import { configureThreads, runThread, type Thread, type ThreadMessage } from './threads.js';

interface Scope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }: MessageEvent<HostMessage | ThreadMessage>) => {
  if (data.kind === 'thread') runThread(threads, data, () => scope.postMessage('ready'));
  else becomeHost(data);
};

function becomeHost({ urls, name }: HostMessage): void {
  configureThreads(startThread, name);
  const methods = hostMethods(browserEnvironment(single, threads), urls);
  const receive = serve(methods, (message, transfer) => scope.postMessage(message, transfer));
  scope.onmessage = ({ data }: MessageEvent<ToHost | ThreadStarted>) => {
    if (data.kind === 'thread started') threadStarted(data);
    else receive(data);
  };
  stayAlive(name, () => scope.postMessage({ kind: 'alive' }));
}

/** Threads that the page has not yet answered about. */
const awaited = new Map<number, (trouble: string | null) => void>();
let started = 0;

function startThread(message: ThreadMessage): Thread {
  const id = started++;
  const ready = new Promise<void>((resolve, reject) => {
    awaited.set(id, (trouble) => {
      if (trouble === null) resolve();
      else reject(new Error(`a thread did not start: ${trouble}`));
    });
  });
  scope.postMessage({ kind: 'start thread', id, message } satisfies StartThread);
  return { ready, terminate: () => scope.postMessage({ kind: 'end thread', id } satisfies EndThread) };
}

function threadStarted({ id, trouble }: ThreadStarted): void {
  awaited.get(id)?.(trouble);
  awaited.delete(id);
}
