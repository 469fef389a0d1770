/** All that a host answers to. */

import { engineMethods } from './host.js';
import { managerMethods } from './manager-host.js';
import type { Methods } from './rpc.js';
import type { Environment, WasmUrls } from './wasm.js';

export function hostMethods(environment: Environment, urls: WasmUrls): Methods {
  return { ...engineMethods(environment, urls), ...managerMethods(environment, urls) };
}
