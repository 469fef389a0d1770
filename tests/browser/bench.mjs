/**
 * Speed in headless Chromium, in alternation with wllama: `node bench.mjs [--rounds 5] [--threads 1]… [--no-peer]`.
 *
 * WOOLLY_BENCH_MODEL names the model's file; WOOLLY_PACKAGE and WOOLLY_CHROMIUM are as in `run.mjs`. The prompt has 480
 * tokens, of which nothing is cached, and 64 tokens are generated. wllama is installed in a temporary folder.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { closeBrowsers, visitor } from './lib/browsers.mjs';
import { npm } from './lib/process.mjs';
import { serve } from './lib/server.mjs';
import { HERE, setting } from './lib/settings.mjs';

const PEER = '@wllama/wllama@3.8.1';
const GENERATED = 64;
/** 480 tokens of SmolLM2. */
const PROMPT = 'The shepherd counted the flock before the snow came. '.repeat(48);

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', multiple: true, default: ['1', '2'] },
    'no-peer': { type: 'boolean', default: false },
  },
});

const scratch = mkdtempSync(join(tmpdir(), 'woolly-bench-'));
try {
  await main();
} finally {
  await closeBrowsers();
  rmSync(scratch, { recursive: true, force: true });
}

async function main() {
  const peer = !values['no-peer'];
  if (peer) await npm(['install', '--no-audit', '--no-fund', '--prefix', scratch, PEER], { limit: 300_000 });
  const file = setting('WOOLLY_BENCH_MODEL');
  const server = await serve({
    folders: {
      '/page/': join(HERE, 'page'),
      '/pkg/': setting('WOOLLY_PACKAGE'),
      '/bench/': dirname(file),
      '/wllama/': join(scratch, 'node_modules/@wllama/wllama/esm'),
    },
    // The peer makes its worker from a Blob.
    policy: null,
  });
  console.log(`${basename(file)}, tokens per second: median of ${values.rounds} rounds in alternation\n`);
  for (const threads of values.threads.map(Number)) await compare(server, `${server.url}/bench/${basename(file)}`, threads, peer);
  await server.close();
}

/** Measures all contenders with so many threads and prints a table. */
async function compare(server, model, threads, peer) {
  const contenders = [
    ...(peer ? [['wllama', loadPeer]] : []),
    ['woolly, relaxed', load, 'relaxed'],
    ['woolly, simd128', load, 'simd128'],
  ];
  const people = [];
  for (const [name, start, build] of contenders) {
    const one = await visitor('chromium');
    const tab = await one.open(`${server.url}/page/?pkg`);
    await tab.run(start, { model, threads, build });
    people.push({ name, one, tab, prompt: [], generate: [] });
  }
  for (let round = 0; round < Number(values.rounds); round++)
    for (const person of people) {
      const timings = await person.tab.run(measure, { prompt: PROMPT, count: GENERATED });
      person.tokens = timings.prompt_n;
      person.prompt.push(timings.prompt_per_second);
      person.generate.push(timings.predicted_per_second);
    }
  print(people, threads);
  await Promise.all(people.map(({ one }) => one.close()));
}

/** In the page: loads Woolly, and says how to complete a prompt. */
async function load({ model, threads, build }) {
  const engine = await woolly.Engine.create({ model, build, n_ctx: 1024, n_threads: threads });
  globalThis.complete = request => engine.completions.create({ ...request, cache_prompt: false });
}

/** The same for wllama, on the CPU. */
async function loadPeer({ model, threads }) {
  const { Wllama, LoggerWithoutDebug } = await import('/wllama/index.js');
  const wllama = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { logger: LoggerWithoutDebug });
  await wllama.loadModelFromUrl(model, { n_ctx: 1024, n_threads: threads, n_gpu_layers: 0, useCache: false });
  globalThis.complete = request => wllama.createCompletion({ ...request, cache_prompt: false });
}

async function measure({ prompt, count }) {
  const { timings } = await complete({ prompt, max_tokens: count, temperature: 0, ignore_eos: true });
  return timings;
}

function print(people, threads) {
  console.log(`| ${threads} thread${threads === 1 ? '' : 's'} | prompt of ${people[0].tokens} | generate ${GENERATED} | times the first |`);
  console.log('|---|---|---|---|');
  const median = list => list.toSorted((a, b) => a - b)[list.length >> 1];
  const [first] = people.map(({ prompt, generate }) => [median(prompt), median(generate)]);
  for (const { name, prompt, generate } of people) {
    const [p, g] = [median(prompt), median(generate)];
    console.log(`| ${name} | ${p.toFixed(1)} | ${g.toFixed(1)} | ${(p / first[0]).toFixed(1)}, ${(g / first[1]).toFixed(1)} |`);
  }
  console.log();
}
