/** Bindings without an engine behind them: a "model" that repeats its prompt's tokens, one letter each. */

import type { FileBytes, Glue, Model, Session } from '../glue.js';
import { hostMethods } from '../hosting.js';
import { usePlatform } from '../platform.js';
import { localPort } from '../rpc.js';
import type { Environment } from '../wasm.js';

export interface Fake {
  environment: Environment;
  /** What the bindings were told, in order. */
  log: string[];
  memory: WebAssembly.Memory;
  /** Set to make the next step of a generation trap. */
  trap: boolean;
  /** Bytes of the file that are there, and in all. */
  arrived: number;
  size: number;
}

const MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const INFO = { name: '', architecture: 'fake', n_ctx_train: 4096, vocab_size: 128, layers: 1, chat_template: null };
/** Bytes of the header: a letter for each is a file that is not a model. */
export const HEADER = 100;

const failure = (code: string, message: string) => Object.assign(new Error(message), { code });
const letters = (ids: Iterable<number>) => String.fromCharCode(...ids);

export function fake(): Fake {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 4096 });
  const self: Fake = { environment: null as unknown as Environment, log: [], memory, trap: false, arrived: 0, size: 0 };
  let free = 4096;

  class Bytes implements FileBytes {
    readonly ptr: number;
    constructor(readonly length: number) {
      this.ptr = free;
      self.size = length;
      free += length;
      if (free > self.memory.buffer.byteLength) self.memory.grow(Math.ceil(length / 65536));
    }
    arrived(length: number) {
      self.arrived = length;
    }
    free() {
      self.log.push('free bytes');
    }
  }

  class FakeModel implements Model {
    info = JSON.stringify(INFO);
    constructor(files: Bytes[]) {
      const [file] = files;
      if (!file) throw failure('bad_model', 'no file');
      const text = letters(Uint8Array.from(new Uint8Array(self.memory.buffer, file.ptr, 4)));
      if (text !== 'GGUF') throw failure('not_gguf', 'no magic');
      self.log.push(`model of ${files.map(({ length }) => length)}`);
    }
    arrived(_: number, length: number) {
      self.arrived = length;
    }
    tokenize(text: string, add_special: boolean) {
      return Uint32Array.from([...(add_special ? '^' : ''), ...text], (letter) => letter.charCodeAt(0));
    }
    detokenize = (ids: Uint32Array) => letters(ids);
    apply_chat_template = (request: string) =>
      JSON.parse(request)
        .messages.map(({ content }: { content: string }) => content)
        .join('|');
    encode_chat = (request: string) => this.tokenize(this.apply_chat_template(request), false);
    free() {
      self.log.push('free model');
    }
  }

  class FakeSession implements Session {
    n_ctx: number;
    tokens: number[] = [];
    token: number | undefined;
    finish: string | undefined;
    #until: { max_tokens?: number } = {};
    #prompt: number[] = [];
    #done = 0;
    #staged = new Uint32Array();
    constructor(_: FakeModel, options: string) {
      self.log.push(`session ${options}`);
      this.n_ctx = JSON.parse(options).n_ctx;
    }
    get length() {
      return this.tokens.length;
    }
    begin(tokens: Uint32Array) {
      const differs = Array.from(tokens).findIndex((token, index) => token !== this.tokens[index]);
      this.tokens.length = Math.min(differs < 0 ? tokens.length : differs, tokens.length - 1);
      this.#prompt = Array.from(tokens);
      return this.tokens.length;
    }
    feed(tokens: Uint32Array) {
      self.log.push(`feed ${tokens.length}`);
      this.tokens.push(...tokens);
    }
    begin_staged(tokens: Uint32Array) {
      self.log.push(`begin ${tokens.length}`);
      this.#staged = Uint32Array.from(tokens);
    }
    advance() {
      if (self.arrived < self.size) return 'waiting';
      this.feed(this.#staged);
      return 'done';
    }
    logits = (ids: Uint32Array) => Float32Array.from(ids);
    generate(params: string, until: string) {
      self.log.push(`generate ${params}`);
      this.#until = JSON.parse(until);
      this.#done = 0;
      this.finish = this.#until.max_tokens === 0 ? 'length' : undefined;
      this.token = undefined;
    }
    step() {
      if (self.trap) throw new WebAssembly.RuntimeError('unreachable');
      this.token = this.#prompt[this.#done];
      if (this.token === undefined) {
        this.finish = 'stop';
        return '';
      }
      this.#done += 1;
      if (this.#done === this.#until.max_tokens) this.finish = 'length';
      return letters([this.token]);
    }
    save = () => Uint8Array.from(this.tokens);
    load(bytes: Uint8Array) {
      this.tokens = Array.from(bytes);
    }
    free() {
      self.log.push('free session');
    }
  }

  const glue: Glue = {
    default: async () => ({ memory }),
    initSync: () => ({ memory }),
    FileBytes: Bytes,
    Model: FakeModel,
    Session: FakeSession,
    Sha256: class {
      update() {}
      finish = () => '0'.repeat(64);
    },
    read_header(prefix) {
      if (letters(prefix.subarray(0, 4)) !== 'GGUF') throw failure('not_gguf', 'not a GGUF file');
      return JSON.stringify(prefix.length < HEADER ? { needed: HEADER } : { info: INFO, parts: 1, loadable: HEADER });
    },
    estimate_memory(_, size, options) {
      const kv_cache = JSON.parse(options).n_ctx * 1e6;
      return JSON.stringify({ weights: size, kv_cache, scratch: 1, total: size + kv_cache + 1 });
    },
    isa: () => 'simd128',
    memory_size: () => self.memory.buffer.byteLength,
  };
  const fetchWasm = async () => new Response(MODULE, { headers: { 'content-type': 'application/wasm' } });
  const breathe = () => new Promise<void>((resolve) => setImmediate(resolve));
  const threadsTrouble = () => 'this is a test';
  self.environment = { single: glue, threads: null, cores: 4, threadsTrouble, fetchWasm, breathe };
  return self;
}

/** Makes engines and managers use a fake, in this thread. */
export function useFake({ environment }: Fake): void {
  const names = ['simd128', 'relaxed', 'simd128-threads', 'relaxed-threads'] as const;
  const wasmUrls = Object.fromEntries(names.map((name) => [name, `file:///${name}.wasm`])) as Record<
    (typeof names)[number],
    string
  >;
  const local = () => localPort(hostMethods(environment, wasmUrls));
  usePlatform({ base: () => null, wasmUrls, local, worker: local });
}

/** A file that the fake takes for a model. */
export function modelFile(length = 4000): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set([...'GGUF'].map((letter) => letter.charCodeAt(0)));
  return bytes;
}
