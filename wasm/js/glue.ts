/** What wasm-bindgen's glue offers: the types of the Rust bindings. Both builds' generated modules have this shape. */

export interface FileBytes {
  readonly ptr: number;
  readonly length: number;
  arrived(length: number): void;
  free(): void;
}

export interface Model {
  readonly info: string;
  arrived(file: number, length: number): void;
  tokenize(text: string, add_special: boolean, parse_special: boolean): Uint32Array;
  detokenize(ids: Uint32Array, special: boolean): string;
  apply_chat_template(request: string): string;
  encode_chat(request: string): Uint32Array;
  free(): void;
}

export interface Session {
  readonly n_ctx: number;
  readonly length: number;
  begin(tokens: Uint32Array): number;
  feed(tokens: Uint32Array): void;
  begin_staged(tokens: Uint32Array): void;
  advance(): string;
  logits(ids: Uint32Array): Float32Array;
  generate(params: string, until: string): void;
  step(): string;
  readonly token: number | undefined;
  readonly finish: string | undefined;
  save(): Uint8Array;
  load(bytes: Uint8Array): void;
  free(): void;
}

export interface Sha256 {
  update(bytes: Uint8Array): void;
  finish(): string;
}

export interface Start {
  memory?: WebAssembly.Memory;
}

export interface Glue {
  default(options: Start & { module_or_path: WebAssembly.Module }): Promise<{ readonly memory: WebAssembly.Memory }>;
  initSync(options: Start & { module: WebAssembly.Module }): { readonly memory: WebAssembly.Memory };
  FileBytes: new (length: number) => FileBytes;
  Model: new (files: any[]) => Model;
  Session: new (model: any, options: string) => Session;
  Sha256: new () => Sha256;
  read_header(prefix: Uint8Array): string;
  estimate_memory(header: Uint8Array, size: number, options: string): string;
  isa(): string;
  memory_size(): number;
}

export interface ThreadsGlue extends Glue {
  initThreadPool(threads: number): Promise<unknown>;
  wbg_rayon_start_worker(receiver: number): void;
}
