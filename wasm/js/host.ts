/**
 * The worker's side of an engine: owns the wasm instance, the model and the session. What changes the session is done in
 * order, one at a time; what only reads the model is answered between two tokens of a generation.
 */

import { load, type Sink, type Tools } from './download/index.js';
import { throwIfAborted, WoollyError } from './errors.js';
import type { FileBytes, Glue, Model, Session } from './glue.js';
import { type Header, Prefix, readHeader, type SessionSettings, sessionOptions, tooLarge } from './header.js';
import { thinned } from './progress.js';
import { type Call, isTrap, type Methods } from './rpc.js';
import { type SentSource, unpackSource } from './stream.js';
import type { Backend, Build, FinishReason, Memory, ModelInfo, Progress, Timings, Usage } from './types.js';
import { type Environment, type Program, startProgram, type WasmUrls } from './wasm.js';

/** What a worker is told once, in its first message. */
export interface HostMessage {
  kind: 'host';
  urls: WasmUrls;
  /** A name of this worker's own: of its lock, and of the channel on which its threads' deaths are told. */
  name: string;
}

export interface DownloadSettings {
  sha256?: string[] | undefined;
  headers?: Record<string, string> | undefined;
  parallel?: number | undefined;
  cache?: boolean | undefined;
}

/** `EngineOptions` after they have been checked. */
export interface EngineSettings extends SessionSettings {
  source: SentSource;
  download: DownloadSettings;
  build: Build;
  threads: number | undefined;
  /** Whether the engine is wanted as soon as the model's header has arrived. */
  early: boolean;
}

/** What `open` tells while it runs; `opened` where the engine was wanted early. */
export type OpenEvent = Progress | { opened: Opened };

export interface Opened {
  backend: Backend;
  info: ModelInfo;
  n_ctx: number;
}

export type Prompt = { text: string } | { tokens: Uint32Array } | { chat: string };

/** A generation: `params` and `until` are JSON for the bindings. */
export interface Generate {
  prompt: Prompt;
  params: string;
  until: string;
  keep: boolean;
  /** Whether texts are wanted as they come. */
  stream: boolean;
}

export type GenerateEvent = { kind: 'start' } | { kind: 'text'; text: string };

export interface Generated {
  text: string;
  finish: FinishReason;
  usage: Usage;
  timings: Timings;
}

/** The methods that `Engine` calls. */
export function engineMethods(environment: Environment, urls: WasmUrls): Methods {
  let host: EngineHost | null = null;
  const opened = (): EngineHost => {
    if (host) return host;
    throw new WoollyError('unloaded', 'the model is not loaded');
  };
  return {
    open: async (settings: EngineSettings, call) => {
      const announce = (early: EngineHost) => {
        host = early;
        call.emit({ opened: early.opened } satisfies OpenEvent);
      };
      host = await EngineHost.open(environment, urls, settings, call, announce);
      return host.opened;
    },
    generate: (request: Generate, call) => opened().generate(request, call),
    tokenize: ({ text, add_special, parse_special }) => opened().model.tokenize(text, add_special, parse_special),
    detokenize: ({ ids, special }) => opened().model.detokenize(ids, special),
    applyChatTemplate: (request: string) => opened().model.apply_chat_template(request),
    logits: (ids: Uint32Array, call) => opened().whenWhole(call, (session) => session.logits(ids)),
    saveSession: (_, call) => opened().whenWhole(call, (session) => session.save()),
    loadSession: (bytes: Uint8Array, call) => opened().whenWhole(call, (session) => session.load(bytes)),
    memory: () => opened().memory(),
    unload: async (_, call) => {
      await host?.whenWhole(call, () => host?.free());
      host = null;
    },
  };
}

class EngineHost {
  readonly opened: Opened;
  readonly model: Model;
  #environment: Environment;
  #program: Program;
  #session: Session;
  #settings: EngineSettings;
  #estimate: Memory;
  #bytes: ModelBytes;
  /** When all of the model is there. */
  #whole: Promise<unknown>;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(start: Start, parts: Parts) {
    const { environment, program, settings, bytes, whole } = start;
    this.#bytes = bytes;
    this.#whole = whole;
    this.model = parts.model;
    this.#environment = environment;
    this.#program = program;
    this.#session = parts.session;
    this.#settings = settings;
    this.#estimate = parts.header.memory;
    this.opened = { backend: program.backend, info: parts.info, n_ctx: parts.session.n_ctx };
  }

  /** Starts the program, and brings the model's bytes into its memory; `announce` gets an engine that is wanted early. */
  static async open(
    environment: Environment,
    urls: WasmUrls,
    settings: EngineSettings,
    { signal, emit }: Call,
    announce: (host: EngineHost) => void,
  ): Promise<EngineHost> {
    const onProgress = thinned(emit);
    onProgress({ phase: 'compile', loaded: 0, total: 0 });
    const program = await startProgram(environment, urls, settings, signal);
    throwIfAborted(signal);
    const bytes = new ModelBytes(program, settings);
    const options = { ...settings.download, signal, onProgress };
    const whole = load(unpackSource(settings.source), bytes, options, toolsOf(program.glue));
    const start = { environment, program, settings, bytes, whole };
    try {
      const early = settings.early ? await EngineHost.#early(start, announce) : null;
      const { parts, notes } = await whole;
      program.backend.fallbacks.push(...notes);
      if (early) return early;
      onProgress({ phase: 'load', loaded: 0, total: 0 });
      await environment.breathe();
      throwIfAborted(signal);
      return new EngineHost(start, assemble(program, settings, bytes, parts[0]?.name ?? ''));
    } catch (error) {
      throw explained(error, program);
    } finally {
      bytes.free();
    }
  }

  /** An engine whose weights still come in; null where all are there before one can be made. */
  static async #early(start: Start, announce: (host: EngineHost) => void): Promise<EngineHost | null> {
    const { environment, program, settings, bytes, whole } = start;
    await Promise.race([bytes.loadable, whole]);
    if (!bytes.header) return null;
    const host = new EngineHost(start, assemble(program, settings, bytes, ''));
    announce(host);
    await environment.breathe();
    return host;
  }

  /** Does something with the session when all earlier requests are done. */
  inTurn<T>({ signal }: Call, work: (session: Session) => T | Promise<T>): Promise<T> {
    const turn = this.#tail.then(() => {
      throwIfAborted(signal);
      return work(this.#session);
    });
    this.#tail = turn.catch(() => {});
    return turn.catch((error) => {
      throw explained(error, this.#program);
    });
  }

  /** The same, for what takes the whole model. */
  whenWhole<T>(call: Call, work: (session: Session) => T): Promise<T> {
    return this.inTurn(call, async (session) => {
      await this.#whole;
      return work(session);
    });
  }

  generate(request: Generate, call: Call): Promise<Generated> {
    return this.inTurn(call, async (session) => {
      const tokens = this.#tokens(request.prompt);
      this.#checkLength(tokens);
      call.emit({ kind: 'start' } satisfies GenerateEvent);
      const clock = new Clock();
      const cached = await this.#feed(tokens, request.keep, call);
      session.generate(request.params, request.until);
      clock.promptDone(tokens.length - cached, cached);
      const text = await this.#decode(request, call, clock);
      const timings = clock.timings();
      return { text, finish: session.finish === 'stop' ? 'stop' : 'length', usage: usageOf(timings), timings };
    });
  }

  memory(): Memory {
    return { ...this.#estimate, total: this.#program.glue.memory_size() };
  }

  free(): void {
    this.#session.free();
    this.model.free();
  }

  #tokens(prompt: Prompt): Uint32Array {
    if ('tokens' in prompt) return prompt.tokens;
    return 'chat' in prompt ? this.model.encode_chat(prompt.chat) : this.model.tokenize(prompt.text, true, true);
  }

  #checkLength(tokens: Uint32Array): void {
    const { n_ctx } = this.#session;
    if (tokens.length === 0) throw new WoollyError('bad_argument', 'the prompt is empty, expected at least one token');
    if (tokens.length <= n_ctx) return;
    const problem = `the prompt has ${tokens.length} tokens, and the context holds ${n_ctx}`;
    throw new WoollyError('context_full', `${problem}: shorten it, or create the Engine with a larger n_ctx`);
  }

  /** Computes what the context does not hold already, a batch at a time; returns how many tokens it held. */
  async #feed(tokens: Uint32Array, keep: boolean, { signal }: Call): Promise<number> {
    const session = this.#session;
    // At least the last token is computed again, so nothing is kept for a prompt of one.
    if (!keep) session.begin(tokens.subarray(0, 1));
    const cached = session.begin(tokens);
    if (!this.#bytes.complete) {
      await this.#feedStaged(tokens.subarray(cached), signal);
      return cached;
    }
    for (let at = cached; at < tokens.length; at += this.#settings.n_batch) {
      session.feed(tokens.subarray(at, at + this.#settings.n_batch));
      await this.#environment.breathe();
      throwIfAborted(signal);
    }
    return cached;
  }

  /** Computes each layer for the whole prompt as soon as its weights have arrived. */
  async #feedStaged(tokens: Uint32Array, signal: AbortSignal): Promise<void> {
    const session = this.#session;
    session.begin_staged(tokens);
    for (let state = session.advance(); state !== 'done'; state = session.advance()) {
      // With the last byte there is nothing to wait for, and if it never comes `whole` says why.
      if (state === 'waiting') await Promise.race([this.#bytes.news(), this.#whole]);
      await this.#environment.breathe();
      throwIfAborted(signal);
    }
    // So that nothing is answered from a file that turns out to be damaged.
    await this.#whole;
  }

  async #decode({ stream }: Generate, { signal, emit }: Call, clock: Clock): Promise<string> {
    const session = this.#session;
    let all = '';
    while (session.finish === undefined) {
      const text = session.step();
      if (session.token !== undefined) clock.token();
      all += text;
      if (stream && text !== '') emit({ kind: 'text', text } satisfies GenerateEvent);
      await this.#environment.breathe();
      throwIfAborted(signal);
    }
    return all;
  }
}

interface Start {
  environment: Environment;
  program: Program;
  settings: EngineSettings;
  bytes: ModelBytes;
  whole: Promise<unknown>;
}

interface Parts {
  header: Header;
  model: Model;
  info: ModelInfo;
  session: Session;
}

function assemble(program: Program, settings: EngineSettings, bytes: ModelBytes, file: string): Parts {
  const model = bytes.model();
  try {
    // A model that loads has a header that was read; a file without one has just been refused.
    const header = bytes.header as Header;
    const session = makeSession(program, settings, model, header.n_ctx);
    const told = JSON.parse(model.info) as ModelInfo;
    return { header, model, session, info: { ...told, name: told.name || file || told.architecture, size: bytes.size } };
  } catch (error) {
    if (!isTrap(error)) model.free();
    throw error;
  }
}

/** With `n_ctx: 0` a context that the browser has no memory for is halved. */
function makeSession(program: Program, settings: SessionSettings, model: Model, n_ctx: number): Session {
  const options = { ...sessionOptions(settings, n_ctx), n_threads: program.backend.threads };
  try {
    return new program.glue.Session(model, JSON.stringify(options));
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (settings.n_ctx !== 0 || code !== 'out_of_memory' || n_ctx < 512) throw error;
    return makeSession(program, settings, model, Math.floor(n_ctx / 2));
  }
}

/** Rust's allocations end there; a split model may be larger as a whole. */
const LARGEST_FILE = 2 ** 31 - 65536;

/** As many as say what kind of file it is. */
const FIRST_BYTES = 24;

/** A file in wasm memory. */
interface Place {
  /** Addresses beyond 2 GB come as negative numbers. */
  ptr: number;
  length: number;
  prefix: Prefix;
}

/** The model's file, or its parts, in wasm memory, and then the model that is made of them. */
class ModelBytes implements Sink {
  size = 0;
  /** What the file says about itself, as soon as it has arrived. */
  header: Header | null = null;
  /** When so much has arrived that a model can be made. */
  readonly loadable: Promise<void>;
  #program: Program;
  #settings: SessionSettings;
  #files: FileBytes[] = [];
  #places: Place[] = [];
  #model: Model | null = null;
  #needed = FIRST_BYTES;
  #becomesLoadable: () => void = () => {};
  #waiting: (() => void)[] = [];

  constructor(program: Program, settings: SessionSettings) {
    this.#program = program;
    this.#settings = settings;
    this.loadable = new Promise((resolve) => {
      this.#becomesLoadable = resolve;
    });
  }

  /** Whether all bytes are there. */
  get complete(): boolean {
    return this.#places.every(({ length, prefix }) => prefix.length === length);
  }

  /** Comes again when the file has changed on the server: then all begins anew. */
  reserve(parts: number[]): void {
    if (this.#model) throw new WoollyError('network', 'the file changed on the server while it was in use: try again');
    this.free();
    this.header = null;
    this.#needed = FIRST_BYTES;
    this.size = parts.reduce((sum, size) => sum + size, 0);
    const { limit, glue } = this.#program;
    if (this.size >= limit) {
      const [has, can] = [this.size, limit].map((bytes) => `${(bytes / 1e9).toFixed(2)} GB`);
      throw new WoollyError('out_of_memory', `the model has ${has}, and WebAssembly can have ${can} of memory`);
    }
    const large = parts.find((size) => size > LARGEST_FILE);
    if (large !== undefined) {
      const problem = `one file has ${(large / 1e9).toFixed(2)} GB, and the engine holds files up to 2.14 GB`;
      throw new WoollyError('out_of_memory', `${problem}: take a model that is split into several`);
    }
    for (const size of parts) this.#files.push(new glue.FileBytes(size));
    this.#places = this.#files.map(({ ptr, length }) => ({ ptr: ptr >>> 0, length: length >>> 0, prefix: new Prefix() }));
  }

  write(part: number, offset: number, bytes: Uint8Array): void {
    this.#view(part, offset, bytes.length).set(bytes);
    const { prefix } = this.#places[part] as Place;
    const before = prefix.length;
    prefix.add(offset, bytes.length);
    if (prefix.length === before) return;
    if (this.#model) this.#model.arrived(part, prefix.length);
    else this.#files[part]?.arrived(prefix.length);
    if (part === 0) this.#look(prefix.length);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves when more bytes are there. */
  news(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The model of the files, which it takes over. */
  model(): Model {
    this.#model = new this.#program.glue.Model(this.#files.splice(0));
    return this.#model;
  }

  free(): void {
    for (const file of this.#files.splice(0)) file.free();
  }

  /** Reads the header, once it is there, and sees what it is good for. */
  #look(length: number): void {
    if (!this.header && length >= this.#needed) this.#readHeader(length);
    if (this.header && length >= this.header.loadable) this.#becomesLoadable();
  }

  #readHeader(length: number): void {
    const { glue, limit } = this.#program;
    // A copy: the call may move the memory under a view.
    const prefix = this.#view(0, 0, this.#needed).slice();
    const read = readHeader(glue, prefix, this.size, this.#settings, limit);
    if ('needed' in read) {
      this.#needed = read.needed;
      if (length >= this.#needed) this.#readHeader(length);
      return;
    }
    const refusal = tooLarge(read, limit);
    if (refusal) throw refusal;
    this.header = read;
  }

  /** Made anew each time: when memory grows, views of it go. */
  #view(part: number, offset: number, length: number): Uint8Array {
    const place = this.#places[part];
    if (!place || offset + length > place.length) throw new RangeError(`part ${part} has no room for byte ${offset + length}`);
    return new Uint8Array(this.#program.memory.buffer, place.ptr + offset, length);
  }
}

/** Milliseconds and tokens of a generation, counted as llama-server does. */
class Clock {
  #start = performance.now();
  #prompt = 0;
  #fresh = 0;
  #cached = 0;
  #tokens = 0;
  #last = 0;

  promptDone(fresh: number, cached: number): void {
    this.#last = performance.now();
    this.#prompt = this.#last - this.#start;
    this.#fresh = fresh;
    this.#cached = cached;
  }

  token(): void {
    this.#last = performance.now();
    this.#tokens += 1;
  }

  timings(): Timings {
    const predicted = this.#last - this.#start - this.#prompt;
    return {
      cache_n: this.#cached,
      prompt_n: this.#fresh,
      prompt_ms: this.#prompt,
      prompt_per_second: rate(this.#fresh, this.#prompt),
      predicted_n: this.#tokens,
      predicted_ms: predicted,
      predicted_per_second: rate(this.#tokens, predicted),
    };
  }
}

function rate(tokens: number, milliseconds: number): number {
  return milliseconds > 0 ? (1000 * tokens) / milliseconds : 0;
}

function usageOf({ cache_n, prompt_n, predicted_n }: Timings): Usage {
  const prompt_tokens = cache_n + prompt_n;
  return {
    prompt_tokens,
    completion_tokens: predicted_n,
    total_tokens: prompt_tokens + predicted_n,
    prompt_tokens_details: { cached_tokens: cache_n },
  };
}

/** What downloading borrows from the program. */
export function toolsOf(glue: Glue): Tools {
  return { sha256: () => new glue.Sha256() };
}

/** A trap with full memory is one of memory: Rust ends the program where an allocation fails. */
function explained(error: unknown, { memory }: Program): unknown {
  if (!isTrap(error) || canGrow(memory)) return error;
  const message = 'the memory is full: take a smaller model, a smaller quantization or a smaller n_ctx';
  return new WoollyError('out_of_memory', message, { cause: error });
}

function canGrow(memory: WebAssembly.Memory): boolean {
  try {
    memory.grow(256);
    return true;
  } catch {
    return false;
  }
}
