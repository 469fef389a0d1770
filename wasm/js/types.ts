/** The package's public types. */

/** Where a model's bytes come from. */
export type ModelSource =
  | string /* `hf:owner/repo/file.gguf`, `hf:owner/repo@revision/file.gguf`, a URL; in Node also a path */
  | URL
  | (string | URL)[] /* the parts of a split model, in order */
  | Blob /* a File is one */
  | ArrayBuffer
  | Uint8Array
  | ReadableStream<Uint8Array>;

/** What loading is busy with. */
export type Phase = 'download' | 'verify' | 'read' | 'compile' | 'load';

export interface Progress {
  /** Bytes so far, those of an earlier visit included. */
  loaded: number;
  /** Bytes in all; 0 while unknown. */
  total: number;
  phase: Phase;
}

export type ProgressCallback = (progress: Progress) => void;

/** How the keys and values of the context are stored. */
export type CacheType = 'f16' | 'f32' | 'q8_0';

/** A build of the engine; `auto` takes the best that the browser can run. */
export type Build = 'auto' | 'simd128' | 'relaxed';

export interface DownloadOptions {
  signal?: AbortSignal;
  progressCallback?: ProgressCallback;
  /** The file's SHA-256 in hexadecimal; of a split model, one for each part. */
  sha256?: string | string[];
  /** Headers of the requests, such as an authorization. */
  headers?: Record<string, string>;
  /** Ranges that are fetched at the same time (4). */
  parallel?: number;
  /** Whether the file is kept for the next visit (true). */
  cache?: boolean;
}

export interface PlatformOptions {
  /** Where the worker's script lies, if not beside this module. */
  workerUrl?: string | URL;
  /** The folder of the `.wasm` files, if not beside this module. */
  wasmUrl?: string | URL;
}

export interface EngineOptions extends DownloadOptions, PlatformOptions {
  model: ModelSource;
  /** Positions of the context: 0 for what the model was trained for, as far as memory allows (2048 at most unless given). */
  n_ctx?: number;
  /** Threads (as many as the machine has cores, without hyperthreads where that is known). One without cross-origin isolation. */
  n_threads?: number;
  /** Prompt tokens that are computed together (128). */
  n_batch?: number;
  cache_type_k?: CacheType;
  cache_type_v?: CacheType;
  /** Whether the engine runs in a worker of its own (true). Without, it runs on one thread and blocks the caller's. */
  worker?: boolean;
  build?: Build;
  /**
   * When `Engine.create` resolves: when the model has been `loaded`, or when its `header` has arrived. In the second case
   * the first prompt is computed while the weights still come in.
   */
  resolve?: 'loaded' | 'header';
}

/** The options that a context's size depends on. */
export type SessionOptions = Pick<EngineOptions, 'n_ctx' | 'n_batch' | 'cache_type_k' | 'cache_type_v'>;

/** What runs, and why nothing better does. */
export interface Backend {
  build: 'simd128' | 'relaxed';
  threads: number;
  /** The level of the kernels: `simd128`, `relaxed-simd`, or `relaxed-simd-pairs` where processors make the dot product of pairs. */
  isa: string;
  /** Reasons for each thing that was passed over, such as `no threads: the page is not cross-origin isolated`. */
  fallbacks: string[];
}

export interface ModelInfo {
  /** `general.name`, or the file's name. */
  name: string;
  architecture: string;
  /** The commonest type of its matrices, such as `Q4_K`. */
  quantization: string;
  parameters: number;
  /** Bytes of the file. */
  size: number;
  /** Positions that the model was trained for. */
  n_ctx_train: number;
  vocab_size: number;
  layers: number;
  /** The model's own chat template; null where it has none. */
  chat_template: string | null;
}

export interface Memory {
  /** Bytes of the file. */
  weights: number;
  kv_cache: number;
  scratch: number;
  /** All of it, with the program. */
  total: number;
}

/** llama.cpp's samplers under their usual names; what is left out has llama.cpp's default. */
export interface SamplerOptions {
  seed?: number;
  temperature?: number;
  dynatemp_range?: number;
  dynatemp_exponent?: number;
  top_k?: number;
  top_p?: number;
  min_p?: number;
  typical_p?: number;
  top_n_sigma?: number;
  xtc_probability?: number;
  xtc_threshold?: number;
  repeat_last_n?: number;
  repeat_penalty?: number;
  frequency_penalty?: number;
  presence_penalty?: number;
  dry_multiplier?: number;
  dry_base?: number;
  dry_allowed_length?: number;
  dry_penalty_last_n?: number;
  dry_sequence_breakers?: string[];
  mirostat?: 0 | 1 | 2;
  mirostat_tau?: number;
  mirostat_eta?: number;
  min_keep?: number;
  /** Names in the order in which they apply. */
  samplers?: string[];
  /** Token ids (or, as llama-server has it, pairs) and what is added to their logits; `false` bans a token. */
  logit_bias?: Record<string, number | false> | [number, number | false][];
  ignore_eos?: boolean;
}

export interface GenerationOptions extends SamplerOptions {
  /** Tokens to generate at most; until the model ends or the context is full, if left out. */
  max_tokens?: number;
  max_completion_tokens?: number;
  stop?: string | string[];
  /** Whether to keep what the context has in common with the prompt (true). */
  cache_prompt?: boolean;
}

export interface Message {
  role: string;
  content: string | { type: 'text'; text: string }[] | null;
  [field: string]: unknown;
}

export interface ChatCompletionRequest extends GenerationOptions {
  messages: Message[];
  tools?: unknown[];
  /** Further variables of the chat template. */
  chat_template_kwargs?: Record<string, unknown>;
  /** Used instead of the model's own. */
  chat_template?: string;
  model?: string;
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean } | null;
}

export interface CompletionRequest extends GenerationOptions {
  prompt: string | number[];
  model?: string;
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean } | null;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

/** llama-server's. Times are milliseconds. */
export interface Timings {
  /** Tokens of the prompt that were in the context already. */
  cache_n: number;
  prompt_n: number;
  prompt_ms: number;
  prompt_per_second: number;
  predicted_n: number;
  predicted_ms: number;
  predicted_per_second: number;
}

export type FinishReason = 'stop' | 'length';

export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  created: number;
  model: string;
  choices: { index: 0; message: { role: 'assistant'; content: string }; finish_reason: FinishReason; logprobs: null }[];
  usage: Usage;
  timings: Timings;
}

export interface ChatCompletionChunk {
  id: string;
  object: 'chat.completion.chunk';
  created: number;
  model: string;
  choices: {
    index: 0;
    delta: { role?: 'assistant'; content?: string };
    finish_reason: FinishReason | null;
    logprobs: null;
  }[];
  /** In the last chunk. */
  usage?: Usage;
  /** In the last chunk. */
  timings?: Timings;
}

export interface Completion {
  id: string;
  object: 'text_completion';
  created: number;
  model: string;
  choices: { index: 0; text: string; finish_reason: FinishReason | null; logprobs: null }[];
  /** When streaming, in the last chunk. */
  usage?: Usage;
  /** When streaming, in the last chunk. */
  timings?: Timings;
}

export interface RequestOptions {
  signal?: AbortSignal;
}

export interface ValidateOptions extends RequestOptions {
  progressCallback?: ProgressCallback;
}

/** Chunks, to be read once. Leaving the loop, or `controller.abort()`, cancels the generation. */
export interface Stream<Chunk> extends AsyncIterable<Chunk> {
  readonly controller: AbortController;
}

/** Names and defaults are llama-server's. */
export interface TokenizeOptions {
  /** Whether to put the model's first token in front (false). */
  add_special?: boolean;
  /** Whether the names of special tokens in the text stand for these (true). */
  parse_special?: boolean;
}

/** What `applyChatTemplate` takes besides a list of messages. */
export interface TemplateRequest {
  messages: Message[];
  tools?: unknown[];
  /** Further variables of the chat template. */
  chat_template_kwargs?: Record<string, unknown>;
  /** Used instead of the model's own. */
  chat_template?: string;
  /** Whether the prompt ends with the beginning of an answer (true). */
  add_generation_prompt?: boolean;
}

/** A file that the manager keeps. */
export interface StoredModel {
  /** What `Engine.create` takes as `model`. */
  model: string;
  /** Bytes of the whole file. */
  size: number;
  /** Bytes that are there; less than `size` after an interrupted download. */
  loaded: number;
  /** SHA-256 of the whole file, once it is there. */
  sha256: string | null;
  /** When it was last used, in milliseconds since 1970. */
  used: number;
}

export interface Validation {
  ok: boolean;
  /** What was wrong; such parts are fetched again when the model is next used. */
  problems: string[];
}

/** What kind of thing went wrong. */
export type ErrorCode =
  | 'aborted'
  | 'bad_argument'
  | 'bad_hash'
  | 'bad_model'
  | 'context_full'
  | 'network'
  | 'not_found'
  | 'not_gguf'
  | 'out_of_memory'
  | 'quota'
  | 'unloaded'
  | 'unsupported'
  | 'unsupported_architecture'
  | 'worker';
