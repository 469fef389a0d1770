/** The worker's side of the model manager. */

import { download, list, readHead, remove, validate } from './download/index.js';
import { WoollyError } from './errors.js';
import type { Glue } from './glue.js';
import { readHeader, type SessionSettings } from './header.js';
import { type DownloadSettings, toolsOf } from './host.js';
import { thinned } from './progress.js';
import type { Call, Methods } from './rpc.js';
import { type SentSource, unpackSource } from './stream.js';
import type { Memory } from './types.js';
import { type Environment, startProgram, type WasmUrls } from './wasm.js';

export interface DownloadArgs {
  source: SentSource;
  download: DownloadSettings;
}

export interface EstimateArgs extends DownloadArgs {
  session: SessionSettings;
}

/** Bytes that are fetched first: enough for the header of many models, and soon there. */
const FIRST_BYTES = 1 << 20;

/** The methods that `ModelManager` calls. */
export function managerMethods(environment: Environment, urls: WasmUrls): Methods {
  let glue: Promise<Glue> | null = null;
  // Hashing and reading headers take the smallest program there is. It is compiled once, whoever asks first.
  const start = (): Promise<Glue> => {
    const wanted = { build: 'simd128', threads: 1 } as const;
    glue ??= startProgram(environment, urls, wanted, new AbortController().signal).then((program) => program.glue);
    return glue;
  };
  const tools = async () => toolsOf(await start());
  return {
    download: async ({ source, download: settings }: DownloadArgs, { signal, emit }) =>
      download(unpackSource(source), { ...settings, signal, onProgress: thinned(emit) }, await tools()),
    list: () => list(),
    remove: (model: string) => remove(model),
    validate: async (model: string, { signal, emit }) =>
      validate(model, await tools(), { signal, onProgress: thinned(emit) }),
    estimateMemory: async (args: EstimateArgs, call) => estimate(await start(), args, call),
  };
}

async function estimate(glue: Glue, { source, download: settings, session }: EstimateArgs, call: Call): Promise<Memory> {
  const model = unpackSource(source);
  const options = { ...settings, signal: call.signal, onProgress: () => {} };
  let needed = FIRST_BYTES;
  for (;;) {
    const { bytes, size } = await readHead(model, needed, options);
    const read = readHeader(glue, bytes, size, session, 2 ** 32);
    if (!('needed' in read)) return read.memory;
    if (read.needed <= bytes.length || bytes.length < needed) {
      throw new WoollyError('bad_model', `the file ends within its header, at byte ${bytes.length}`);
    }
    needed = read.needed;
  }
}
