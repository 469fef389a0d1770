/** What the engine answers, in the words of OpenAI and llama-server. */

import assert from 'node:assert/strict';
import { BROWSERS } from '../lib/browsers.mjs';
import { SMOLLM2, tinyModel } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

/** Registers a test in each browser: `run` gets the tab and the models' URLs. */
function inBrowsers(name, run, options) {
  for (const kind of BROWSERS)
    test(`api: ${name}, ${kind}`, async scope => {
      const { url } = await scope.server();
      await run(await scope.open(kind), { tiny: url + tinyModel().url, smollm2: `${url}/models/${SMOLLM2}` }, scope);
    }, options);
}

inBrowsers('a chat, at once and streamed', async (tab, { smollm2 }) => {
  const { whole, chunks, prompt, promptTokens } = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model, n_ctx: 512 });
    // Without the system prompt that its template puts in, this small model answers better.
    const messages = [{ role: 'system', content: '' }, { role: 'user', content: 'What is the capital of France?' }];
    const request = { messages, temperature: 0, max_tokens: 24 };
    const whole = await engine.chat.completions.create(request);
    const chunks = [];
    for await (const chunk of await engine.chat.completions.create({ ...request, stream: true })) chunks.push(chunk);
    const prompt = await engine.applyChatTemplate(request.messages);
    return { whole, chunks, prompt, promptTokens: whole.usage.prompt_tokens };
  }, smollm2);
  assert.equal(whole.object, 'chat.completion');
  assert.equal(whole.choices.length, 1);
  assert.equal(whole.choices[0].message.role, 'assistant');
  assert.match(whole.choices[0].message.content, /[a-z]/);
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
  assert.match(prompt, /<\|im_start\|>user\nWhat is the capital of France\?<\|im_end\|>/);
  assert.ok(promptTokens > 10);
  for (const name of ['cache_n', 'prompt_n', 'prompt_ms', 'prompt_per_second', 'predicted_n', 'predicted_ms', 'predicted_per_second'])
    assert.equal(typeof whole.timings[name], 'number', name);
  assert.equal(whole.timings.prompt_n, promptTokens);
  assert.equal(whole.timings.predicted_n, whole.usage.completion_tokens);
  assert.deepEqual([...new Set(chunks.map(chunk => chunk.object))], ['chat.completion.chunk']);
  assert.equal(new Set(chunks.map(chunk => chunk.id)).size, 1);
  assert.equal(chunks[0].choices[0].delta.role, 'assistant');
  assert.equal(chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join(''), whole.choices[0].message.content);
  assert.deepEqual(chunks.flatMap(chunk => chunk.choices[0]?.finish_reason ?? []), [whole.choices[0].finish_reason]);
  const last = chunks.at(-1);
  assert.equal(last.usage.completion_tokens, whole.usage.completion_tokens);
  assert.ok(last.usage.prompt_tokens_details.cached_tokens > 0, 'the prompt was still in the context');
  assert.ok(last.timings.predicted_per_second > 0);
});

inBrowsers('max_tokens, and a context that is full', async (tab, { tiny }) => {
  const found = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model, n_ctx: 64 });
    const ask = options => engine.completions.create({ prompt: 'abc', temperature: 0, ignore_eos: true, ...options });
    const brief = ({ choices, usage }) => ({ reason: choices[0].finish_reason, count: usage.completion_tokens, prompt: usage.prompt_tokens });
    return {
      five: brief(await ask({ max_tokens: 5 })),
      six: brief(await engine.chat.completions.create({
        messages: [{ role: 'user', content: 'a' }], max_completion_tokens: 6, temperature: 0, ignore_eos: true,
        chat_template: '{% for m in messages %}{{ m.content }}{% endfor %}',
      })),
      all: brief(await ask({})),
      long: await outcome(ask({ prompt: 'word '.repeat(60) })),
    };
  }, tiny);
  assert.deepEqual([found.five.reason, found.five.count], ['length', 5]);
  assert.deepEqual([found.six.reason, found.six.count], ['length', 6]);
  assert.equal(found.all.reason, 'length');
  assert.ok(found.all.count + found.all.prompt >= 63 && found.all.count + found.all.prompt <= 65);
  assert.equal(found.long.code, 'context_full');
});

inBrowsers('stop strings', async (tab, { tiny }) => {
  const { text, stop, whole, reason, streamed } = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model });
    const request = { prompt: 'abc', max_tokens: 60, temperature: 0, ignore_eos: true };
    const text = (await engine.completions.create(request)).choices[0].text;
    const stop = text.slice(8, 11);
    const whole = await engine.completions.create({ ...request, stop: ['never so', stop] });
    let streamed = '';
    for await (const chunk of await engine.completions.create({ ...request, stop, stream: true })) streamed += chunk.choices[0]?.text ?? '';
    return { text, stop, whole: whole.choices[0].text, reason: whole.choices[0].finish_reason, streamed };
  }, tiny);
  assert.ok(stop.length > 0, 'the model says enough');
  assert.equal(whole, text.slice(0, text.indexOf(stop)));
  assert.equal(streamed, whole);
  assert.equal(reason, 'stop');
});

inBrowsers('abort between tokens and in a prompt', async (tab, { smollm2 }) => {
  const found = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model, n_ctx: 2048, n_batch: 32 });
    const abortAfter = async (prompt, chunks) => {
      const stop = new AbortController();
      if (chunks === 0) setTimeout(() => stop.abort(), 30);
      let [seen, began, aborted] = [0, performance.now(), 0];
      const ended = await outcome((async () => {
        for await (const _ of await engine.completions.create({ prompt, stream: true, ignore_eos: true }, { signal: stop.signal })) {
          seen += 1;
          if (seen !== chunks) continue;
          aborted = performance.now();
          stop.abort();
        }
      })());
      return { ...ended, seen, took: performance.now() - aborted, whole: (aborted - began) / seen * 2048 };
    };
    const token = await abortAfter('Once upon a time', 3);
    const prompt = await abortAfter('Once upon a time there was. '.repeat(200), 0);
    return { token, prompt, after: await outcome(generate(engine)) };
  }, smollm2);
  assert.equal(found.token.code, 'aborted');
  assert.ok(found.token.seen <= 4, `${found.token.seen} chunks after the abort`);
  const { took, whole } = found.token;
  assert.ok(took < whole / 4, `heard after ${took} ms, where the whole context takes ${whole}`);
  assert.equal(found.prompt.code, 'aborted');
  assert.equal(found.prompt.seen, 0);
  assert.ok(found.after.value, 'the engine still answers');
});

inBrowsers('leaving the loop cancels', async (tab, { smollm2 }) => {
  const { seen, took, whole, text } = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model, n_ctx: 2048 });
    let [seen, began] = [0, performance.now()];
    for await (const _ of await engine.completions.create({ prompt: 'One, two,', stream: true, ignore_eos: true })) if (++seen === 3) break;
    const left = performance.now();
    return { seen, text: await generate(engine), took: performance.now() - left, whole: (left - began) / seen * 2048 };
  }, smollm2);
  assert.equal(seen, 3);
  assert.ok(text.length > 0);
  assert.ok(took < whole / 4, `the next answer took ${took} ms, where the whole context takes ${whole}`);
});

inBrowsers('two requests wait for each other', async (tab, { tiny }) => {
  const { alone, together } = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model });
    const ask = async prompt => (await engine.completions.create({ prompt, max_tokens: 20, temperature: 0, ignore_eos: true })).choices[0].text;
    const alone = [await ask('abc'), await ask('xyz')];
    return { alone, together: await Promise.all([ask('abc'), ask('xyz')]) };
  }, tiny);
  assert.deepEqual(together, alone);
});

inBrowsers('tokens and text', async (tab, { smollm2 }) => {
  const { ids, text, rendered } = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model, n_ctx: 256 });
    const ids = await engine.tokenize('Hello, wörld! 🐑');
    const rendered = await engine.applyChatTemplate([{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }]);
    return { ids: Array.from(ids), text: await engine.detokenize(ids), rendered };
  }, smollm2);
  assert.ok(ids.every(Number.isInteger) && ids.length > 5);
  assert.equal(text, 'Hello, wörld! 🐑');
  assert.match(rendered, /^<\|im_start\|>system\nBe brief\.<\|im_end\|>\n<\|im_start\|>user\nHi<\|im_end\|>\n<\|im_start\|>assistant\n$/);
});

inBrowsers('a saved session goes on the same', async (tab, { tiny }) => {
  const { first, second, damaged } = await tab.run(async model => {
    const ask = engine => engine.completions.create({ prompt: 'abc def ghi jkl', max_tokens: 12, temperature: 0, ignore_eos: true });
    const brief = ({ choices, usage }) => ({ text: choices[0].text, cached: usage.prompt_tokens_details.cached_tokens });
    const one = await woolly.Engine.create({ model });
    const first = brief(await ask(one));
    const bytes = await one.saveSession();
    await one.unload();
    const two = await woolly.Engine.create({ model });
    await two.loadSession(bytes);
    const second = brief(await ask(two));
    return { first, second, damaged: await outcome(two.loadSession(bytes.slice(0, bytes.length >> 1))) };
  }, tiny);
  assert.equal(first.cached, 0);
  assert.ok(second.cached > 5, 'the prompt came with the session');
  assert.equal(second.text, first.text);
  assert.ok(damaged.typed, `half a session is a typed error: ${damaged.message}`);
});

inBrowsers('the same seed gives the same text', async (tab, { tiny }) => {
  const [one, again, other] = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model });
    const ask = async seed => (await engine.completions.create({ prompt: 'abc', max_tokens: 30, temperature: 1.5, top_k: 0, seed, ignore_eos: true })).choices[0].text;
    return [await ask(7), await ask(7), await ask(8)];
  }, tiny);
  assert.equal(again, one);
  assert.notEqual(other, one);
});

inBrowsers('wrong arguments and an engine that is gone are typed errors', async (tab, { tiny }) => {
  const found = await tab.run(async model => {
    const engine = await woolly.Engine.create({ model });
    const ask = options => outcome(engine.completions.create({ prompt: 'abc', max_tokens: 2, ...options }));
    const found = {
      unknown: await ask({ temprature: 1 }),
      range: await ask({ top_p: -3 }),
      prompt: await ask({ prompt: { a: 1 } }),
      token: await ask({ prompt: [1, 99_999_999] }),
      template: await outcome(engine.chat.completions.create({ messages: [], chat_template: '{% nonsense' })),
      logits: await outcome(engine.logits([99_999_999])),
      still: await ask({}),
    };
    await engine.unload();
    found.unloaded = await ask({});
    found.twice = await outcome(engine.unload());
    found.model = await outcome(woolly.Engine.create({ model: 42 }));
    return found;
  }, tiny);
  for (const name of ['range', 'prompt', 'token', 'template', 'logits', 'model'])
    assert.equal(found[name].code, 'bad_argument', `${name}: ${JSON.stringify(found[name])}`);
  assert.ok(found.unknown.value || found.unknown.code === 'bad_argument');
  assert.ok(found.still.value, 'the engine still answers');
  assert.equal(found.unloaded.code, 'unloaded');
  assert.equal(found.twice.code, undefined, 'unloading twice is no error');
});

inBrowsers('progress goes up to the whole file', async (tab, { tiny }) => {
  const seen = await tab.run(async model => {
    const seen = [];
    await woolly.Engine.create({ model, progressCallback: progress => seen.push({ ...progress }) });
    return seen;
  }, tiny);
  assert.ok(seen.length > 0);
  for (const { phase, loaded, total } of seen) {
    assert.ok(['download', 'verify', 'read', 'compile', 'load'].includes(phase), phase);
    assert.ok(total === 0 || loaded <= total);
  }
  const downloaded = seen.filter(({ phase }) => phase === 'download').map(({ loaded }) => loaded);
  assert.deepEqual(downloaded, [...downloaded].sort((a, b) => a - b));
  assert.equal(downloaded.at(-1), seen.at(-1).total || downloaded.at(-1));
});

inBrowsers('an engine without a worker of its own', async (tab, { tiny }) => {
  const { texts, backend, workers } = await tab.run(async model => {
    const before = globalThis.workers.length;
    const here = await woolly.Engine.create({ model, worker: false });
    const workers = globalThis.workers.length - before;
    const there = await woolly.Engine.create({ model });
    return { texts: [await generate(here), await generate(there)], backend: here.backend, workers };
  }, tiny);
  assert.equal(texts[0], texts[1]);
  assert.equal(backend.threads, 1);
  assert.equal(workers, 0);
});

inBrowsers('what the engine says of its model', async (tab, { smollm2 }) => {
  const { info, memory, estimate, disposable } = await tab.run(async model => {
    const estimate = await new woolly.ModelManager().estimateMemory(model, { n_ctx: 1024 });
    const engine = await woolly.Engine.create({ model, n_ctx: 1024 });
    const disposable = Symbol.asyncDispose === undefined || typeof engine[Symbol.asyncDispose] === 'function';
    return { info: engine.info, memory: await engine.memory(), estimate, disposable };
  }, smollm2);
  assert.equal(info.architecture, 'llama');
  assert.equal(info.layers, 30);
  assert.equal(info.size, memory.weights);
  assert.equal(estimate.weights, memory.weights);
  assert.equal(estimate.kv_cache, memory.kv_cache);
  assert.ok(estimate.total >= 0.9 * memory.total && estimate.total <= 1.2 * memory.total, `${estimate.total}, ${memory.total}`);
  assert.ok(disposable);
});
