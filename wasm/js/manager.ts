/** The caller's side of the model manager. Its worker lives while it has something to do. */

import { resolveSource } from './download/index.js';
import { asWoolly, badArgument, WoollyError } from './errors.js';
import type { DownloadArgs, EstimateArgs } from './manager-host.js';
import { checkDownloadOptions, checkEstimateOptions, downloadSettings, sourceOf } from './options.js';
import { connect, platform } from './platform.js';
import { type CallOptions, Client } from './rpc.js';
import type {
  DownloadOptions,
  Memory,
  ModelSource,
  PlatformOptions,
  SessionOptions,
  StoredModel,
  ValidateOptions,
  Validation,
} from './types.js';

/** How long an aborted download may take to let go of its files. */
const DRAIN = 3000;

/** Keeps models on this device: the same files that `Engine.create` finds. */
export class ModelManager {
  #options: PlatformOptions;
  #client: Client | null = null;
  #running = 0;

  constructor(options: PlatformOptions = {}) {
    this.#options = options;
  }

  /** Fetches a model, or the rest of it, without loading it. */
  async download(model: ModelSource, options: DownloadOptions = {}): Promise<StoredModel> {
    const download = checkDownloadOptions(options);
    const { source, transfer } = sourceOf(model);
    const call = { signal: options.signal, onEvent: options.progressCallback, transfer };
    return this.#call('download', { source, download } satisfies DownloadArgs, call);
  }

  /** All models that are kept, those included whose download was interrupted. */
  list(): Promise<StoredModel[]> {
    return this.#call('list', null);
  }

  /** Whether there was something to remove. `model` is what `list` calls it. */
  async remove(model: string | URL): Promise<boolean> {
    return this.#call('remove', nameOf(model));
  }

  /** Reads a model that is kept and compares it with its hash. */
  async validate(model: string | URL, options: ValidateOptions = {}): Promise<Validation> {
    return this.#call('validate', nameOf(model), { signal: options.signal, onEvent: options.progressCallback });
  }

  /** What an engine would need, from the first megabytes of the file. */
  async estimateMemory(model: ModelSource, options: DownloadOptions & SessionOptions = {}): Promise<Memory> {
    const session = checkEstimateOptions(options);
    const download = downloadSettings(options);
    const { source, transfer } = sourceOf(model);
    const args: EstimateArgs = { source, download, session };
    return this.#call('estimateMemory', args, { signal: options.signal, transfer });
  }

  async #call<T>(method: string, args: unknown, options: CallOptions = {}): Promise<T> {
    this.#running += 1;
    try {
      this.#client ??= new Client(connect(this.#options));
      return await this.#client.call<T>(method, args, options);
    } catch (error) {
      const typed = asWoolly(error);
      // A worker that died is not asked again.
      if (typed.code === 'worker') this.#client = null;
      throw typed;
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#release();
    }
  }

  #release(): void {
    const client = this.#client;
    this.#client = null;
    const done = new WoollyError('unloaded', 'the manager has nothing to do');
    void client?.drain(DRAIN).then(() => client.fail(done));
  }
}

/** A model is kept under the absolute URL of its first part. */
function nameOf(model: string | URL): string {
  if (typeof model !== 'string' && !(model instanceof URL)) throw badArgument('model', model, 'what list() calls it');
  const source = resolveSource(model, platform().base());
  return source.kind === 'urls' ? (source.urls[0] as string) : String(model);
}
