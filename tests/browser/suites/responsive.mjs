/** The page's own thread is never busy for long. */

import assert from 'node:assert/strict';
import { SMOLLM2 } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

/** Milliseconds that the page's thread may be busy. */
const LONGEST = 16;
const MODEL = `/models/${SMOLLM2}`;
const NAME = 'responsive: the page is never busy for long while a model loads and generates';

/** Chromium says how long each task of the page's thread had a processor, whatever else the machine is doing. */
test(`${NAME}, chromium`, async scope => {
  const tab = await scope.open('chromium');
  await tab.run(() => 0);
  await tab.page.tracing.start({ categories: ['toplevel', 'blink.user_timing'] });
  await tab.run(use, { model: MODEL });
  const { traceEvents } = JSON.parse(Buffer.from(await tab.page.tracing.stop()).toString());
  const { pid, tid } = traceEvents.find(({ name }) => name === 'begin');
  const tasks = traceEvents.filter(event => event.ph === 'X' && event.pid === pid && event.tid === tid);
  const longest = tasks.reduce((most, { tdur }) => Math.max(most, tdur ?? 0), 0) / 1000;
  assert.ok(tasks.length > 100);
  assert.ok(longest <= LONGEST, `a task took ${longest} ms`);
});

/** Firefox says no such thing. There, pauses count that a worker alone does not bring about that keeps a processor busy. */
test(`${NAME}, firefox`, async scope => {
  const tab = await scope.open('firefox');
  const rounds = [];
  const best = () => Math.min(...rounds.map(({ engine }) => engine));
  const limit = () => Math.max(LONGEST, ...rounds.map(({ control }) => control));
  do rounds.push(await tab.run(pauses, { model: MODEL }));
  while (rounds.length < 4 && best() > limit());
  assert.ok(best() <= limit(), `a pause of ${best()} ms, allowed ${limit()}`);
});

/** In the page: an engine's life. */
async function use({ model }) {
  performance.mark('begin');
  const engine = await woolly.Engine.create({ model, n_ctx: 1024, n_threads: 1 });
  const messages = [{ role: 'user', content: 'Tell me of the sheep. '.repeat(20) }];
  const request = { messages, max_tokens: 48, ignore_eos: true, stream: true };
  for await (const _ of await engine.chat.completions.create(request));
  await engine.saveSession();
  await engine.unload();
}

/** In the page: the longest pause with the engine, and the longest with a worker that does nothing of use. */
async function pauses({ model }) {
  const busy = new Worker('busy.js', { type: 'module' });
  const control = await longestBlock(() => new Promise(resolve => setTimeout(resolve, 1500)));
  busy.terminate();
  const engine = await longestBlock(async () => {
    const engine = await woolly.Engine.create({ model, n_ctx: 1024, n_threads: 1 });
    const request = { prompt: 'Sheep are', max_tokens: 48, ignore_eos: true, stream: true };
    for await (const _ of await engine.completions.create(request));
    await engine.unload();
  });
  return { control, engine };
}
