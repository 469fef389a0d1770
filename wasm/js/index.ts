/** The package in a browser. */

import { browserEnvironment, workerPort } from './browser.js';
import * as single from './generated/single.js';
import { hostMethods } from './hosting.js';
import { usePlatform } from './platform.js';
import { localPort } from './rpc.js';

export * from './public.js';

usePlatform({
  base: () => globalThis.document?.baseURI ?? globalThis.location?.href ?? null,
  // Bundlers look for exactly this form, with the names written out.
  wasmUrls: {
    simd128: new URL('./simd128.wasm', import.meta.url).href,
    relaxed: new URL('./relaxed.wasm', import.meta.url).href,
    'simd128-threads': new URL('./simd128-threads.wasm', import.meta.url).href,
    'relaxed-threads': new URL('./relaxed-threads.wasm', import.meta.url).href,
  },
  worker: (workerUrl, urls) =>
    workerPort(
      () =>
        workerUrl === undefined
          ? new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
          : new Worker(workerUrl, { type: 'module' }),
      urls,
    ),
  local: (urls) => localPort(hostMethods(browserEnvironment(single, null), urls)),
});
