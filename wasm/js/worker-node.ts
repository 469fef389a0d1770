/** The worker of Node, Deno and Bun. Its first message says what it becomes: an engine's host, or a thread of one. */

import { type MessagePort, parentPort, Worker } from 'node:worker_threads';
import * as single from './generated/single.js';
import * as threads from './generated/threads.js';
import type { HostMessage } from './host.js';
import { hostMethods } from './hosting.js';
import { nodeEnvironment } from './node-environment.js';
import { serve, type ToHost } from './rpc.js';
import { configureThreads, runThread, type Thread, type ThreadMessage } from './threads.js';

const parent = parentPort as MessagePort;

parent.once('message', (message: HostMessage | ThreadMessage) => {
  if (message.kind === 'thread') runThread(threads, message, () => parent.postMessage('ready'));
  else becomeHost(message);
});

function becomeHost({ urls, name }: HostMessage): void {
  configureThreads(startThread, name);
  const methods = hostMethods(nodeEnvironment(single, threads), urls);
  const receive = serve(methods, (message, transfer) => parent.postMessage(message, transfer as any));
  parent.on('message', (message: ToHost) => receive(message));
}

function startThread(message: ThreadMessage): Thread {
  const worker = new Worker(new URL(import.meta.url));
  const ready = new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('a thread ended before it was ready')));
  });
  worker.postMessage(message);
  return { ready, terminate: () => void worker.terminate() };
}
