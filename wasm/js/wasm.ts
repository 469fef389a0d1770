/**
 * The engine's program: of its four builds, {simd128, relaxed} × {one thread, threads}, finds the best that runs here,
 * and says why nothing better does.
 */

import { asWoolly, WoollyError } from './errors.js';
import type { Glue, ThreadsGlue } from './glue.js';
import type { Backend, Build } from './types.js';

/** Where the builds lie. */
export interface WasmUrls {
  simd128: string;
  relaxed: string;
  'simd128-threads': string;
  'relaxed-threads': string;
}

/** What the place where the host runs is able to do. */
export interface Environment {
  single: Glue;
  /** Null where the caller's own thread is the host. */
  threads: ThreadsGlue | null;
  /** Why threads cannot be had; null if they can as far as is known without trying. */
  threadsTrouble(): string | null;
  /** Processors, hyperthreads included. */
  cores: number;
  fetchWasm(url: string, signal: AbortSignal): Promise<Response>;
  /** Lets waiting messages in. */
  breathe(): Promise<void>;
}

export interface Wanted {
  build: Build;
  /** Undefined: as many as are good for this machine. */
  threads: number | undefined;
}

/** A running instance. */
export interface Program {
  glue: Glue;
  memory: WebAssembly.Memory;
  /** Bytes that the memory may grow to. */
  limit: number;
  backend: Backend;
}

const PAGE = 65536;
/** 4 GB is what 32-bit addresses reach. Mobile browsers reserve shared memory at once, and refuse that much. */
const MAXIMUM_PAGES = [65536, 32768, 16384];
/** More than the data and stack of any build, which is what shared memory has to begin with. */
const INITIAL_PAGES = 64;

/** Compiles and starts the best build. */
export async function startProgram(
  environment: Environment,
  urls: WasmUrls,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Program> {
  const fallbacks: string[] = [];
  const build = chooseBuild(wanted.build, fallbacks);
  const threads = chooseThreads(environment, wanted.threads, fallbacks);
  const compile = async (name: keyof WasmUrls) =>
    compileModule(await environment.fetchWasm(urls[name], signal), urls[name]);
  if (threads > 1) {
    try {
      return await startThreaded(environment, await compile(`${build}-threads`), threads, fallbacks);
    } catch (error) {
      const reason = asWoolly(error);
      if (['aborted', 'network', 'not_found'].includes(reason.code)) throw reason;
      fallbacks.push(`no threads: ${reason.message}`);
    }
  }
  const program = await startSingle(environment.single, await compile(build), fallbacks);
  return checkBuild(program, wanted.build);
}

/** The best SIMD that gives right results. */
function chooseBuild(wanted: Build, fallbacks: string[]): 'simd128' | 'relaxed' {
  if (typeof WebAssembly !== 'object') throw new WoollyError('unsupported', 'there is no WebAssembly here');
  if (!WebAssembly.validate(SIMD_PROBE)) {
    throw new WoollyError('unsupported', 'there is no WebAssembly SIMD here, which every build of the engine needs');
  }
  if (wanted === 'simd128') return 'simd128';
  const trouble = relaxedTrouble();
  if (trouble === null) return 'relaxed';
  if (wanted === 'relaxed') throw new WoollyError('unsupported', `the relaxed build cannot run: ${trouble}`);
  fallbacks.push(`no relaxed SIMD: ${trouble}`);
  return 'simd128';
}

function chooseThreads(environment: Environment, wanted: number | undefined, fallbacks: string[]): number {
  const threads = wanted ?? usualThreads(environment.cores);
  if (threads === 1) return 1;
  const trouble = environment.threadsTrouble() ?? sharedMemoryTrouble();
  if (trouble === null) return threads;
  fallbacks.push(`no threads: ${trouble}`);
  return 1;
}

/** Many processors are hyperthreads, two on each core, and a second one adds nothing. */
function usualThreads(cores: number): number {
  return cores > 4 ? Math.min(8, Math.ceil(cores / 2)) : Math.max(1, cores);
}

/** Why threads cannot run on a page; null if they can. */
export function pageThreadsTrouble(scope: { crossOriginIsolated?: boolean }): string | null {
  if (scope.crossOriginIsolated !== false) return null;
  return 'the page is not cross-origin isolated (it needs the COOP and COEP headers)';
}

function sharedMemoryTrouble(): string | null {
  if (typeof SharedArrayBuffer !== 'function') return 'there is no SharedArrayBuffer';
  try {
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    return buffer instanceof SharedArrayBuffer ? null : 'WebAssembly memory cannot be shared';
  } catch {
    return 'WebAssembly memory cannot be shared';
  }
}

async function startThreaded(
  { threads: glue }: Environment,
  module: WebAssembly.Module,
  threads: number,
  fallbacks: string[],
): Promise<Program> {
  if (!glue) throw new WoollyError('unsupported', 'there are no threads here');
  const { memory, limit } = sharedMemory();
  await glue.default({ module_or_path: module, memory });
  // The worker that calls is one of them.
  await glue.initThreadPool(threads - 1);
  return { glue, memory, limit, backend: backendOf(glue, threads, fallbacks) };
}

async function startSingle(glue: Glue, module: WebAssembly.Module, fallbacks: string[]): Promise<Program> {
  const { memory } = await glue.default({ module_or_path: module });
  return { glue, memory, limit: (MAXIMUM_PAGES[0] as number) * PAGE, backend: backendOf(glue, 1, fallbacks) };
}

function sharedMemory(): { memory: WebAssembly.Memory; limit: number } {
  let trouble: unknown;
  for (const maximum of MAXIMUM_PAGES) {
    try {
      const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: true });
      return { memory, limit: maximum * PAGE };
    } catch (error) {
      trouble = error;
    }
  }
  throw trouble;
}

function backendOf(glue: Glue, threads: number, fallbacks: string[]): Backend {
  const isa = glue.isa();
  return { build: isa.startsWith('relaxed') ? 'relaxed' : 'simd128', threads, isa, fallbacks };
}

/** In the caller's own thread there is one instance for all engines: the first one's build. */
function checkBuild(program: Program, wanted: Build): Program {
  const { build } = program.backend;
  if (wanted === 'auto' || wanted === build) return program;
  throw new WoollyError('unsupported', `this thread runs ${build} already: use a worker for ${wanted}`);
}

/** Compiles while it downloads where the server names the right type. */
async function compileModule(response: Response, url: string): Promise<WebAssembly.Module> {
  if (!response.ok) {
    throw new WoollyError('network', `cannot fetch ${url}: HTTP ${response.status}; wasmUrl says where it lies`);
  }
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('application/wasm') && WebAssembly.compileStreaming) return WebAssembly.compileStreaming(response);
  const bytes = await response.arrayBuffer();
  if (new Uint8Array(bytes)[0] === 0) return WebAssembly.compile(bytes);
  // Development servers answer unknown paths with the page itself.
  throw new WoollyError('network', `${url} is not a .wasm file but ${type || 'something else'}; wasmUrl says where they lie`);
}

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** A function that returns `i8x16.popcnt(i8x16.splat(0))`. */
const SIMD_PROBE = new Uint8Array([
  ...HEADER,
  ...[1, 5, 1, 0x60, 0, 1, 0x7b],
  ...[3, 2, 1, 0],
  ...[10, 10, 1, 8, 0, 0x41, 0, 0xfd, 15, 0xfd, 0x62, 0x0b],
]);

/** `dot(a, b, c)`: lane 0 of `i32x4.relaxed_dot_i8x16_i7x16_add_s` of the three, each splat to all lanes. */
const DOT_PROBE = new Uint8Array([
  ...HEADER,
  ...[1, 8, 1, 0x60, 3, 0x7f, 0x7f, 0x7f, 1, 0x7f],
  ...[3, 2, 1, 0],
  ...[7, 7, 1, 3, 0x64, 0x6f, 0x74, 0, 0],
  ...[10, 22, 1, 20, 0],
  ...[0x20, 0, 0xfd, 17, 0x20, 1, 0xfd, 17, 0x20, 2, 0xfd, 17, 0xfd, 0x93, 2, 0xfd, 27, 0, 0x0b],
]);

/** Bytes for the dot: the first operand signed, the second within 0..127, where the result is exact. */
const DOT_CASES: { a: number[]; b: number[]; c: number }[] = [
  { a: [1, 2, 3, 4], b: [5, 6, 7, 8], c: 0 },
  { a: [-1, 2, -3, 4], b: [5, 6, 7, 8], c: 10 },
  { a: [-1, -1, -1, -1], b: [0, 1, 0, 1], c: 7 },
  { a: [127, 127, 127, 127], b: [127, 127, 127, 127], c: -5 },
  { a: [-127, -127, -127, -127], b: [127, 127, 127, 127], c: 0 },
  { a: [-128, -128, -128, -128], b: [127, 127, 127, 127], c: 1 },
];

/**
 * Why the relaxed dot product cannot be used; null if it can. That it exists is not enough: V8 before 11.4 (Node 20, behind
 * a flag) returns twice the sum, though only until its optimizing compiler takes over. So the first calls are what counts.
 */
function relaxedTrouble(): string | null {
  if (!WebAssembly.validate(DOT_PROBE)) return 'it is not known here';
  const { dot } = new WebAssembly.Instance(new WebAssembly.Module(DOT_PROBE)).exports as {
    dot(a: number, b: number, c: number): number;
  };
  const right = DOT_CASES.every(({ a, b, c }) => dot(packed(a), packed(b), c) === exact(a, b, c));
  return right ? null : 'its dot product is wrong here';
}

function packed(bytes: number[]): number {
  return new DataView(Int8Array.from(bytes).buffer).getInt32(0, true);
}

function exact(a: number[], b: number[], c: number): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] as number), c);
}
