/** The page's own thread is never busy for long. */

import assert from 'node:assert/strict';
import { BROWSERS } from '../lib/browsers.mjs';
import { SMOLLM2 } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

const LONGEST = 16;
/** The machine has other things to do now and then; the engine is at fault only if it happens each time. */
const ROUNDS = 3;

for (const kind of BROWSERS)
  test(`responsive: no pause above ${LONGEST} ms while a model loads and generates, ${kind}`, async scope => {
    const tab = await scope.open(kind);
    const rounds = await tab.run(async ({ model, count }) => {
      const rounds = [];
      for (let round = 0; round < count; round++) {
        let engine;
        const options = { model, n_ctx: 1024, n_threads: 1, cache: round > 0 };
        const load = await longestBlock(async () => (engine = await woolly.Engine.create(options)));
        const messages = [{ role: 'user', content: 'Tell me of the sheep. '.repeat(20) }];
        const generate = await longestBlock(async () => {
          for await (const _ of await engine.chat.completions.create({ messages, max_tokens: 48, ignore_eos: true, stream: true }));
        });
        const save = await longestBlock(() => engine.saveSession());
        await engine.unload();
        rounds.push({ load, generate, save });
      }
      return rounds;
    }, { model: `/models/${SMOLLM2}`, count: ROUNDS });
    for (const phase of ['load', 'generate', 'save']) {
      const best = Math.min(...rounds.map(round => round[phase]));
      assert.ok(best <= LONGEST, `${phase}: ${rounds.map(round => round[phase].toFixed(1)).join(', ')} ms`);
    }
  });
