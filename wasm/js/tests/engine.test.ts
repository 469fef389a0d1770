import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Engine } from '../engine.js';
import { ModelManager } from '../manager.js';
import type { EngineOptions, Progress } from '../types.js';
import { type Fake, fake, HEADER, modelFile, useFake } from './fake.js';

async function engineOf(options: Partial<EngineOptions> = {}): Promise<{ engine: Engine; it: Fake }> {
  const it = fake();
  useFake(it);
  return { engine: await Engine.create({ model: modelFile(), cache: false, ...options }), it };
}

const create = async (options: object) => (await engineOf(options as EngineOptions)).engine;

test('a model loads, and says what runs', async () => {
  const phases: Progress[] = [];
  const { engine, it } = await engineOf({ progressCallback: (progress) => phases.push(progress), n_batch: 2 });
  assert.equal(engine.n_ctx, 2048);
  assert.equal(engine.info.size, 4000);
  assert.equal(engine.backend.threads, 1);
  assert.ok(engine.backend.fallbacks.includes('no threads: this is a test'));
  assert.ok(it.log.includes('model of 4000'));
  assert.deepEqual([phases[0]?.phase, phases.at(-1)?.phase], ['compile', 'load']);
  assert.equal((await engine.memory()).kv_cache, 2048e6);
});

test('a chat is answered whole', async () => {
  const { engine, it } = await engineOf({ n_batch: 2 });
  const answer = await engine.chat.completions.create({ messages: [{ role: 'user', content: 'hello' }], seed: 1 });
  assert.equal(answer.choices[0]?.message.content, 'hello');
  assert.equal(answer.choices[0]?.finish_reason, 'stop');
  assert.deepEqual(
    it.log.filter((line) => line.startsWith('feed')),
    ['feed 2', 'feed 2', 'feed 1'],
  );
  const { timings, usage } = answer;
  assert.deepEqual([timings.prompt_n, timings.predicted_n, usage.total_tokens], [5, 5, 10]);
  assert.ok(timings.predicted_per_second > 0);
});

test('a chat is answered in chunks', async () => {
  const { engine } = await engineOf();
  const messages = [{ role: 'user', content: 'abc' }];
  const chunks = [];
  for await (const chunk of await engine.chat.completions.create({ messages, stream: true })) chunks.push(chunk);
  const texts = chunks.map(({ choices }) => choices[0]?.delta.content ?? '');
  assert.deepEqual(texts, ['', 'a', 'b', 'c', '']);
  assert.equal(chunks[0]?.choices[0]?.delta.role, 'assistant');
  assert.equal(chunks.at(-1)?.choices[0]?.finish_reason, 'stop');
  assert.equal(chunks.at(-1)?.usage?.completion_tokens, 3);
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
});

test('leaving the loop cancels, and the next request has its turn', async () => {
  const { engine } = await engineOf();
  const long = engine.completions.create({ prompt: 'a'.repeat(500), stream: true });
  const next = engine.completions.create({ prompt: 'xyz', max_tokens: 2 });
  let seen = 0;
  for await (const _ of await long) if (++seen === 3) break;
  const answer = await next;
  assert.equal(answer.choices[0]?.text, '^x');
  assert.equal(answer.choices[0]?.finish_reason, 'length');
});

test('an abort is heard between tokens, and while waiting', async () => {
  const { engine } = await engineOf();
  const controller = new AbortController();
  const { signal } = controller;
  const stream = await engine.completions.create({ prompt: 'a'.repeat(500), stream: true }, { signal });
  const waiting = engine.completions.create({ prompt: 'b' }, { signal });
  const read = async () => {
    for await (const _ of stream) controller.abort();
  };
  await assert.rejects(read(), { name: 'WoollyError', code: 'aborted' });
  await assert.rejects(waiting, { code: 'aborted' });
  assert.equal((await engine.completions.create({ prompt: 'b' })).choices[0]?.text, '^b');
});

test('the common beginning is kept, unless told not to', async () => {
  const { engine } = await engineOf();
  const cached = async (cache_prompt?: boolean) => {
    const { usage } = await engine.completions.create({ prompt: 'same', cache_prompt });
    return usage?.prompt_tokens_details.cached_tokens;
  };
  assert.deepEqual([await cached(), await cached(), await cached(false)], [0, 4, 0]);
});

test('what does not touch the session is answered during a generation', async () => {
  const { engine } = await engineOf();
  const long = engine.completions.create({ prompt: 'a'.repeat(300) });
  let done = false;
  void long.then(() => {
    done = true;
  });
  assert.deepEqual(await engine.tokenize('ab', { add_special: true }), Uint32Array.of(94, 97, 98));
  assert.equal(await engine.detokenize([97, 98]), 'ab');
  assert.equal(await engine.applyChatTemplate([{ role: 'user', content: 'x' }]), 'x');
  assert.equal(done, false);
  await long;
});

test('sessions and logits', async () => {
  const { engine } = await engineOf();
  await engine.completions.create({ prompt: 'ab' });
  const saved = await engine.saveSession();
  assert.deepEqual(saved, Uint8Array.of(94, 97, 98));
  await engine.loadSession(saved);
  assert.deepEqual(await engine.logits([1, 2]), Float32Array.of(1, 2));
  await assert.rejects(engine.logits([128]), { code: 'bad_argument' });
});

test('a prompt that is too long rejects before the stream', async () => {
  const { engine } = await engineOf({ n_ctx: 16 });
  const request = { prompt: 'a'.repeat(20), stream: true } as const;
  await assert.rejects(engine.completions.create(request), { code: 'context_full', message: /21 tokens.*holds 16/ });
});

test('wrong options are named', async () => {
  const bad = (options: object, message: RegExp) => assert.rejects(create(options), { code: 'bad_argument', message });
  await bad({ n_cxt: 1 }, /unknown option n_cxt/);
  await bad({ n_ctx: -1 }, /n_ctx is -1/);
  await bad({ cache_type_k: 'f16', cache_type_v: 'q8_0' }, /share a type/);
  await bad({ build: 'best' }, /build is "best"/);
  await bad({ sha256: 'abc' }, /sha256/);
  await bad({ model: undefined }, /model/);
});

test('what cannot run is refused by its header', async () => {
  await assert.rejects(create({ model: new Uint8Array(4000) }), { code: 'not_gguf' });
  await assert.rejects(create({ n_ctx: 8192 }), { code: 'out_of_memory', message: /8.19 GB.*8192 positions/ });
  assert.equal((await create({ n_ctx: 0 })).n_ctx, 4096);
});

test('an engine that is wanted early answers when the rest has arrived', async () => {
  const it = fake();
  useFake(it);
  const model = new Blob(['GGUF', new Uint8Array(64e6)]);
  const engine = await Engine.create({ model, resolve: 'header' });
  assert.ok(it.arrived >= HEADER && it.arrived < it.size, `${it.arrived} of ${it.size} bytes`);
  const { choices } = await engine.completions.create({ prompt: 'ab', max_tokens: 1 });
  assert.equal(choices[0]?.text, '^');
  assert.ok(it.log.includes('begin 3') && it.arrived === it.size);
  assert.deepEqual(await engine.logits([1]), Float32Array.of(1));
});

test('unloading rejects what runs, and everything later', async () => {
  const { engine, it } = await engineOf();
  const running = engine.completions.create({ prompt: 'a'.repeat(500) });
  await new Promise(setImmediate);
  await engine.unload();
  await assert.rejects(running, { code: 'unloaded' });
  await assert.rejects(engine.tokenize('a'), { code: 'unloaded' });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(it.log.slice(-2), ['free session', 'free model']);
});

test('a trap rejects what runs, and everything later', async () => {
  const { engine, it } = await engineOf();
  it.trap = true;
  await assert.rejects(engine.completions.create({ prompt: 'a' }), { code: 'worker' });
  await assert.rejects(engine.tokenize('a'), { code: 'worker', message: /create a new Engine/ });
});

test('the manager estimates memory from the header', async () => {
  useFake(fake());
  const memory = await new ModelManager().estimateMemory(modelFile(), { n_ctx: 10 });
  assert.deepEqual([memory.weights, memory.kv_cache], [4000, 10e6]);
});
