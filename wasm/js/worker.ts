/** The worker of a browser. Its first message says what it becomes: an engine's host, or a thread of one. */

import { browserEnvironment, stayAlive } from './browser.js';
import * as single from './generated/single.js';
import * as threads from './generated/threads.js';
import type { HostMessage } from './host.js';
import { hostMethods } from './hosting.js';
import { serve, type ToHost } from './rpc.js';
import { configureThreads, runThread, type Thread, type ThreadMessage } from './threads.js';

interface Scope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
  location: { href: string };
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
  scope.onmessage = ({ data }: MessageEvent<ToHost>) => receive(data);
  stayAlive(name, () => scope.postMessage({ kind: 'alive' }));
}

function startThread(message: ThreadMessage): Thread {
  const worker = new Worker(scope.location.href, { type: 'module' });
  const ready = new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`a thread did not start: ${event.message || 'its script did not load'}`));
    };
  });
  worker.postMessage(message);
  return { ready, terminate: () => worker.terminate() };
}
