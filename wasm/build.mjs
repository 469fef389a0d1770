/**
 * Makes the package of what `cargo xtask wasm` built: `node build.mjs WASM_FOLDER PACKAGE_FOLDER [--write-sizes]`, called by
 * `cargo xtask npm`. Prints what a visitor downloads, and fails where that is more than it may be.
 */

import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const BUILDS = ['simd128', 'relaxed', 'simd128-threads', 'relaxed-threads'];
const GLUE = ['single', 'threads'];
const FEATURES = [
  ...['bulk-memory', 'mutable-globals', 'nontrapping-float-to-int', 'sign-ext', 'simd', 'relaxed-simd', 'threads'],
  ...['reference-types', 'multivalue'],
].map((feature) => `enable-${feature}`);
/**
 * What is done about whole functions. The code in them is the compiler's: -O1 makes it smaller, but a tenth larger when it is
 * compressed, and matrix products 3% slower.
 */
const PASSES = ['dce', 'vacuum', 'duplicate-function-elimination', 'remove-unused-module-elements', 'reorder-functions'];
const TYPED_ENTRIES = ['index', 'node'];
const SIZES = join(HERE, 'sizes.json');
/** Bytes that a visitor may have to download, compressed. */
const LIMIT = 600_000;
/** What other compilers may make of the same code. */
const TOLERANCE = 1.03;

const run = promisify(execFile);
const [wasmFolder, packageFolder, flag] = process.argv.slice(2);
const dist = join(packageFolder, 'dist');

rmSync(packageFolder, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
copyGlue();
await bundle();
await declareTypes();
await Promise.all([optimize(BUILDS.slice(0, 2)), optimize(BUILDS.slice(2))]);
copyRest();
checkSizes(sizes());

function copyGlue() {
  const generated = join(HERE, 'js/generated');
  mkdirSync(generated, { recursive: true });
  for (const name of GLUE) {
    for (const ending of ['js', 'd.ts']) cpSync(join(wasmFolder, `${name}.${ending}`), join(generated, `${name}.${ending}`));
  }
}

/** Scripts that stand alone: workers cannot share modules with a page that a bundler took apart. */
async function bundle() {
  const common = { bundle: true, format: 'esm', target: 'es2022', minify: true, outdir: dist, logLevel: 'warning' };
  const entry = (name) => join(HERE, 'js', `${name}.ts`);
  await build({ ...common, entryPoints: ['index', 'worker'].map(entry) });
  await build({ ...common, entryPoints: ['node', 'worker-node'].map(entry), platform: 'node' });
}

/** The types of the entries, and those that they name. */
async function declareTypes() {
  const types = join(HERE, 'build/types');
  rmSync(types, { recursive: true, force: true });
  const compiler = join(HERE, 'node_modules/typescript/bin/tsc');
  await run(process.execPath, [compiler, '-p', HERE, '--emitDeclarationOnly'], { cwd: HERE }).catch(failed);
  const wanted = [...TYPED_ENTRIES];
  for (const name of wanted) {
    const text = readFileSync(join(types, `${name}.d.ts`), 'utf8');
    writeFileSync(join(dist, `${name}.d.ts`), text);
    for (const [, other] of text.matchAll(/['"]\.\/([\w-]+)\.js['"]/g)) if (!wanted.includes(other)) wanted.push(other);
  }
}

async function optimize(names) {
  const optimizer = join(HERE, 'node_modules/binaryen/bin/wasm-opt');
  const options = [...PASSES, ...FEATURES].map((name) => `--${name}`);
  for (const name of names) {
    const [from, to] = [join(wasmFolder, `${name}.wasm`), join(dist, `${name}.wasm`)];
    await run(process.execPath, [optimizer, from, '-o', to, ...options]).catch(failed);
  }
}

function copyRest() {
  const pack = JSON.parse(readFileSync(join(HERE, 'package.json'), 'utf8'));
  const { scripts, devDependencies, ...published } = pack;
  writeFileSync(join(packageFolder, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
  cpSync(join(HERE, 'README.md'), join(packageFolder, 'README.md'));
  cpSync(join(HERE, 'sw/coi-serviceworker.js'), join(packageFolder, 'coi-serviceworker.js'));
  for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) cpSync(join(HERE, '..', name), join(packageFolder, name));
}

/** What a visitor downloads for each build: its .wasm and the scripts of page and worker. */
function sizes() {
  const scripts = compressed('index.js') + compressed('worker.js');
  return Object.fromEntries(BUILDS.map((name) => [name, compressed(`${name}.wasm`) + scripts]));
}

function compressed(name) {
  const bytes = readFileSync(join(dist, name));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params }).length;
}

function checkSizes(found) {
  if (flag === '--write-sizes') writeFileSync(SIZES, `${JSON.stringify(found, null, 2)}\n`);
  const recorded = JSON.parse(readFileSync(SIZES, 'utf8'));
  for (const [name, size] of Object.entries(found)) {
    const plain = statSync(join(dist, `${name}.wasm`)).size;
    console.log(`${name}: ${size} bytes to download (brotli; recorded: ${recorded[name]}), of which the .wasm is ${plain} plain`);
    if (size > LIMIT) throw new Error(`${name}: ${size} bytes to download, at most ${LIMIT} are allowed`);
    if (size > recorded[name] * TOLERANCE) {
      throw new Error(`${name} has grown from ${recorded[name]} bytes to ${size}; if it must, cargo xtask npm --write-sizes`);
    }
  }
}

function failed({ message, stdout }) {
  throw new Error(`${message}\n${stdout}`);
}
