/**
 * Tests with what they all need: pages that are closed afterwards, a time limit that holds, and a count.
 *
 * `run.mjs` imports the suites, which register their tests here, and then runs those whose names fit.
 */

import { test as nodeTest } from 'node:test';
import { join } from 'node:path';
import { closeBrowsers, visitor } from './browsers.mjs';
import { serve } from './server.mjs';
import { HERE, optional } from './settings.mjs';

const LIMIT = 60_000;

const registered = [];
let servers;

/** Registers a test. `run` is given a {@link Scope}. */
export function test(name, run, { timeout = LIMIT } = {}) {
  registered.push({ name, run, timeout });
}

/** Runs the tests whose names contain one of these texts, or all. Resolves to how many `passed`, and what those said that `failed`. */
export async function runTests(only) {
  const fits = name => only.length === 0 || only.some(part => name.includes(part));
  const count = { passed: 0, failed: [] };
  for (const { name, run, timeout } of registered.filter(({ name }) => fits(name))) {
    await nodeTest(name, async () => {
      try {
        await runOne(run, timeout);
        count.passed += 1;
      } catch (error) {
        count.failed.push(`not ok: ${name}\n${error.stack}`);
        throw error;
      }
    });
  }
  await closeBrowsers();
  if (servers) await Promise.all(Object.values(await servers).map(server => server.close()));
  return count;
}

async function runOne(run, timeout) {
  const scope = new Scope();
  try {
    await within(timeout, run(scope));
  } catch (error) {
    const said = scope.tabs.flatMap(tab => tab.said);
    if (said.length > 0) error.message += `\nThe page said:\n${said.join('\n')}`;
    throw error;
  } finally {
    await within(10_000, scope.close()).catch(() => closeBrowsers());
  }
}

async function within(limit, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limit / 1000} s`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What one test has opened. */
class Scope {
  tabs = [];
  #closers = [];

  /** Closes or removes something after the test, whatever happens. */
  after(close) {
    this.#closers.unshift(close);
  }

  /** The server whose pages are cross-origin isolated, or the one whose pages are not. */
  async server({ isolated = true } = {}) {
    servers ??= startServers();
    return (await servers)[isolated ? 'isolated' : 'plain'];
  }

  /** A visitor with nothing stored yet. */
  async visitor(kind) {
    const one = await visitor(kind);
    this.after(() => one.close());
    return one;
  }

  /** The test page for a new visitor, with the package or a hobbled one (see `HOBBLED`). */
  async open(kind, options = {}) {
    return this.openTab(await this.visitor(kind), options);
  }

  /** The test page in one more tab of a visitor. */
  async openTab(visitor, { isolated = true, pkg = 'pkg' } = {}) {
    const server = await this.server({ isolated });
    const tab = await visitor.open(`${server.url}/page/?${pkg}`);
    this.tabs.push(tab);
    return tab;
  }

  async close() {
    await Promise.allSettled(this.#closers.map(close => close()));
  }
}

/**
 * Packages with something taken away or added by lines before their scripts. Both the page's and the worker's script are
 * treated, since either may be the one that looks.
 */
const HOBBLED = {
  /** No private file system. */
  'no-opfs': 'delete StorageManager.prototype.getDirectory;',
  /** Nothing at all to keep a file in. */
  'no-storage': 'delete StorageManager.prototype.getDirectory; delete globalThis.caches;',
  'no-shared-memory': 'delete globalThis.SharedArrayBuffer;',
  /** Disks that are full, whatever writes. */
  full: `{
    const full = () => { throw new DOMException('the disk is full', 'QuotaExceededError'); };
    if (globalThis.FileSystemSyncAccessHandle) FileSystemSyncAccessHandle.prototype.write = full;
    if (globalThis.FileSystemWritableFileStream) FileSystemWritableFileStream.prototype.write = async () => full();
    if (globalThis.Cache) Cache.prototype.put = async () => full();
  }`,
  /** A worker that fails as it starts. */
  broken: `if (!globalThis.document) throw new Error('the worker is broken');`,
  /** Says how much memory WebAssembly has, see `probe`. */
  probed: `if (!globalThis.document) { ${probe.toString()} probe(); }`,
};

/** Runs in a worker: keeps every memory that is made or exported, and tells its size to who asks on a channel. */
function probe() {
  const memories = new Set();
  const keep = result => {
    const instance = result.instance ?? result;
    for (const value of Object.values(instance.exports ?? {})) if (value instanceof WebAssembly.Memory) memories.add(value);
    return result;
  };
  for (const name of ['instantiate', 'instantiateStreaming']) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...all) => keep(await original.apply(WebAssembly, all));
  }
  WebAssembly.Instance = new Proxy(WebAssembly.Instance, { construct: (Real, all) => keep(new Real(...all)) });
  const channel = new BroadcastChannel('probe');
  channel.onmessage = ({ data }) => {
    const bytes = [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
    if (data === 'size?' && bytes > 0) channel.postMessage(bytes);
  };
}

function startServers() {
  const folder = optional('WOOLLY_PACKAGE');
  const hobbled = Object.entries(HOBBLED).map(([name, prelude]) => [`/${name}/`, folder && { folder, prelude: `${prelude}\n` }]);
  const folders = {
    '/page/': join(HERE, 'page'),
    '/pkg/': folder,
    '/tiny/': optional('WOOLLY_TINY'),
    '/models/': optional('WOOLLY_MODELS'),
    ...Object.fromEntries(hobbled),
  };
  const both = [serve({ folders, isolated: true }), serve({ folders, isolated: false })];
  return Promise.all(both).then(([isolated, plain]) => ({ isolated, plain }));
}
