/** The package in Node, Deno and Bun. */

import { Worker } from 'node:worker_threads';
import { asWoolly, WoollyError } from './errors.js';
import * as single from './generated/single.js';
import type { HostMessage } from './host.js';
import { hostMethods } from './hosting.js';
import { nodeEnvironment } from './node-environment.js';
import { uniqueName, usePlatform } from './platform.js';
import { localPort, type Port } from './rpc.js';
import type { WasmUrls } from './wasm.js';

export * from './public.js';

usePlatform({
  base: () => null,
  wasmUrls: {
    simd128: new URL('./simd128.wasm', import.meta.url).href,
    relaxed: new URL('./relaxed.wasm', import.meta.url).href,
    'simd128-threads': new URL('./simd128-threads.wasm', import.meta.url).href,
    'relaxed-threads': new URL('./relaxed-threads.wasm', import.meta.url).href,
  },
  worker: (workerUrl, urls) => workerPort(start(workerUrl ?? new URL('./worker-node.js', import.meta.url)), urls),
  local: (urls) => localPort(hostMethods(nodeEnvironment(single, null), urls)),
});

function start(script: string | URL): Worker {
  try {
    return new Worker(String(script).startsWith('file:') ? new URL(script) : script);
  } catch (error) {
    throw new WoollyError('worker', `cannot start the worker: ${asWoolly(error).message}`, { cause: error });
  }
}

function workerPort(worker: Worker, urls: WasmUrls): Port {
  const name = uniqueName();
  // Closed with the worker, and until then no reason for the process to stay.
  const obituaries = new BroadcastChannel(name) as BroadcastChannel & { unref?(): void };
  obituaries.unref?.();
  return {
    listen(onmessage, onfailure) {
      const fail = (message: string) => onfailure(new WoollyError('worker', message));
      worker.on('message', onmessage);
      worker.on('messageerror', () => fail('a message from its worker could not be read'));
      worker.on('error', (error) => fail(asWoolly(error).message));
      worker.on('exit', () => fail('its worker was ended'));
      obituaries.onmessage = ({ data }: { data?: unknown }) => fail(`a thread died: ${data}`);
      worker.postMessage({ kind: 'host', urls, name } satisfies HostMessage);
    },
    post: (message, transfer = []) => worker.postMessage(message, transfer as any),
    busy: (yes) => (yes ? worker.ref() : worker.unref()),
    close() {
      obituaries.close();
      void worker.terminate();
    },
  };
}
