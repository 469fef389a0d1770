/// <reference lib="esnext.disposable" preserve="true" />
/** The caller's side of an engine: checks and shapes requests, and sends them to the host. */

import { asWoolly, badArgument, WoollyError } from './errors.js';
import type { Generate, Generated, GenerateEvent, Opened, OpenEvent, Prompt } from './host.js';
import {
  CHAT_SHAPE,
  chatPrompt,
  COMPLETION_SHAPE,
  completionPrompt,
  flag,
  frame,
  sampling,
  type Shape,
  templateRequest,
  tokenIds,
} from './openai.js';
import { engineSettings } from './options.js';
import { connect } from './platform.js';
import { Client } from './rpc.js';
import { ChunkStream } from './texts.js';
import type {
  Backend,
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  Completion,
  CompletionRequest,
  EngineOptions,
  GenerationOptions,
  Memory,
  Message,
  ModelInfo,
  RequestOptions,
  Stream,
  TemplateRequest,
  TokenizeOptions,
} from './types.js';

// `await using` needs a symbol that older browsers lack; compilers of newer code look for it under this name.
if (!Symbol.asyncDispose) {
  Object.defineProperty(Symbol, 'asyncDispose', { value: Symbol('Symbol.asyncDispose') });
}

/** How long a failed start waits for its worker to let go of files. */
const DRAIN = 3000;

export interface ChatCompletions {
  create(request: ChatCompletionRequest & { stream: true }, options?: RequestOptions): Promise<Stream<ChatCompletionChunk>>;
  create(request: ChatCompletionRequest & { stream?: false | null }, options?: RequestOptions): Promise<ChatCompletion>;
  create(
    request: ChatCompletionRequest,
    options?: RequestOptions,
  ): Promise<ChatCompletion | Stream<ChatCompletionChunk>>;
}

export interface Completions {
  create(request: CompletionRequest & { stream: true }, options?: RequestOptions): Promise<Stream<Completion>>;
  create(request: CompletionRequest & { stream?: false | null }, options?: RequestOptions): Promise<Completion>;
  create(request: CompletionRequest, options?: RequestOptions): Promise<Completion | Stream<Completion>>;
}

/** A model, loaded and ready. Requests wait for each other: one generation at a time, in order. */
export class Engine {
  /** What runs, and why nothing better does. */
  readonly backend: Backend;
  readonly info: ModelInfo;
  /** Positions of the context. */
  readonly n_ctx: number;
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: Completions;
  #client: Client;

  private constructor(client: Client, { backend, info, n_ctx }: Opened) {
    this.#client = client;
    this.backend = backend;
    this.info = info;
    this.n_ctx = n_ctx;
    this.chat = { completions: { create: (request, options) => this.#chat(request, options) as Promise<any> } };
    this.completions = { create: (request, options) => this.#complete(request, options) as Promise<any> };
  }

  /** Downloads a model, or takes it from where an earlier visit has left it, and loads it. */
  static async create(options: EngineOptions): Promise<Engine> {
    return typed(async () => {
      const { settings, transfer } = engineSettings(options);
      const client = new Client(connect(options));
      let early: (opened: Opened) => void = () => {};
      const header = new Promise<Opened>((resolve) => {
        early = resolve;
      });
      const onEvent = (event: OpenEvent) => ('opened' in event ? early(event.opened) : options.progressCallback?.(event));
      const whole = client.call<Opened>('open', settings, { signal: options.signal, onEvent, transfer });
      // Also when it fails later than its header came: then it is the engine that fails.
      whole.catch((error) => client.drain(DRAIN).then(() => client.fail(asWoolly(error))));
      return new Engine(client, await Promise.race([header, whole]));
    });
  }

  /** Token ids of a text. */
  tokenize(text: string, options: TokenizeOptions = {}): Promise<Uint32Array> {
    return typed(() => {
      if (typeof text !== 'string') throw badArgument('text', text, 'a text');
      const add_special = flag('add_special', options.add_special, false);
      const parse_special = flag('parse_special', options.parse_special, true);
      return this.#client.call('tokenize', { text, add_special, parse_special });
    });
  }

  /** The text of token ids, with that of special tokens. */
  detokenize(ids: ArrayLike<number>): Promise<string> {
    return typed(() => this.#client.call('detokenize', { ids: this.#ids(ids), special: true }));
  }

  /** The prompt that the model's chat template, or the request's own, makes of messages. */
  applyChatTemplate(request: Message[] | TemplateRequest): Promise<string> {
    const whole = Array.isArray(request) ? { messages: request } : request;
    return typed(() => this.#client.call('applyChatTemplate', templateRequest(whole)));
  }

  /** Logits behind each token of a text that begins with the first one: positions × vocabulary. */
  logits(ids: ArrayLike<number>, options: RequestOptions = {}): Promise<Float32Array> {
    return typed(() => this.#client.call('logits', this.#ids(ids), options));
  }

  /** What the context holds, for `loadSession` of an engine with the same model and cache types. */
  saveSession(options: RequestOptions = {}): Promise<Uint8Array> {
    return typed(() => this.#client.call('saveSession', null, options));
  }

  loadSession(bytes: Uint8Array, options: RequestOptions = {}): Promise<void> {
    return typed(() => {
      if (!(bytes instanceof Uint8Array)) throw badArgument('bytes', typeof bytes, 'a Uint8Array');
      return this.#client.call('loadSession', bytes, options);
    });
  }

  /** Bytes that the engine takes; `total` is the size of its WebAssembly memory. */
  memory(): Promise<Memory> {
    return typed(() => this.#client.call('memory', null));
  }

  /** Frees everything. What still runs is rejected with the code `unloaded`. */
  async unload(): Promise<void> {
    this.#client.fail(new WoollyError('unloaded', 'the engine has been unloaded'));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unload();
  }

  #ids(ids: ArrayLike<number>): Uint32Array {
    return tokenIds('ids', ids, this.info.vocab_size);
  }

  #chat(request: ChatCompletionRequest, options?: RequestOptions): Promise<unknown> {
    return typed(() => this.#generate('chatcmpl', CHAT_SHAPE, { chat: chatPrompt(request) }, request, options));
  }

  #complete(request: CompletionRequest, options?: RequestOptions): Promise<unknown> {
    return typed(() => {
      const prompt = completionPrompt(request, this.info.vocab_size);
      const sent = typeof prompt === 'string' ? { text: prompt } : { tokens: prompt };
      return this.#generate('cmpl', COMPLETION_SHAPE, sent, request, options);
    });
  }

  async #generate<Whole, Chunk>(
    prefix: 'chatcmpl' | 'cmpl',
    shape: Shape<Whole, Chunk>,
    prompt: Prompt,
    request: GenerationOptions & Streaming,
    { signal }: RequestOptions = {},
  ): Promise<Whole | Stream<Chunk>> {
    const stream = flag('stream', request.stream, false);
    const keep = flag('cache_prompt', request.cache_prompt, true);
    const apart = flag('stream_options.include_usage', request.stream_options?.include_usage, false);
    const args: Generate = { prompt, ...sampling(request, this.n_ctx), keep, stream };
    const head = frame(prefix, request.model ?? this.info.name);
    if (!stream) return shape.whole(head, await this.#client.call<Generated>('generate', args, { signal }));
    const run = (inner: AbortSignal, onEvent: (event: GenerateEvent) => void) =>
      this.#client.call<Generated>('generate', args, { signal: inner, onEvent });
    return ChunkStream.start(run, signal, {
      first: () => shape.first(head),
      text: (text) => shape.text(head, text),
      last: (generated) => shape.last(head, generated, apart),
    });
  }
}

interface Streaming {
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean } | null;
  model?: string;
}

/** Runs something whose every error is to be a `WoollyError`. */
async function typed<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asWoolly(error);
  }
}
