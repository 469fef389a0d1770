/** What Node offers to a host. */

import { readFile } from 'node:fs/promises';
import * as os from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openFsStore, openPath } from './download/fs-store.js';
import { setStores } from './download/index.js';
import { asWoolly, WoollyError } from './errors.js';
import type { Glue, ThreadsGlue } from './glue.js';
import type { Environment } from './wasm.js';

export function nodeEnvironment(single: Glue, threads: ThreadsGlue | null): Environment {
  setStores({ open: () => openFsStore(), openPath });
  return {
    single,
    threads,
    threadsTrouble: () => (threads ? null : 'the engine runs in the thread of its caller'),
    cores: os.availableParallelism?.() ?? os.cpus().length,
    fetchWasm,
    breathe: () => setImmediate(),
  };
}

/** Node's `fetch` does not read files. */
async function fetchWasm(url: string, signal: AbortSignal): Promise<Response> {
  try {
    if (!url.startsWith('file:')) return await fetch(url, { signal });
    const bytes = await readFile(fileURLToPath(url), { signal });
    return new Response(bytes, { headers: { 'content-type': 'application/wasm' } });
  } catch (error) {
    if (signal.aborted) throw error;
    const code = url.startsWith('file:') ? 'not_found' : 'network';
    throw new WoollyError(code, `cannot fetch ${url}: ${asWoolly(error).message}`, { cause: error });
  }
}
