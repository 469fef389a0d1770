import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHAT_SHAPE, chatPrompt, COMPLETION_SHAPE, completionPrompt, frame, sampling, tokenIds } from '../openai.js';
import type { ChatCompletionRequest, CompletionRequest } from '../types.js';

const MESSAGES = [{ role: 'user', content: 'Hello' }];
const GENERATED = {
  text: 'Hi there',
  finish: 'stop' as const,
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: 1 } },
  timings: {
    cache_n: 1,
    prompt_n: 2,
    prompt_ms: 1,
    prompt_per_second: 2000,
    predicted_n: 2,
    predicted_ms: 1,
    predicted_per_second: 2000,
  },
};

function sampled(request: object): { params: any; until: any } {
  const { params, until } = sampling(request, 512);
  return { params: JSON.parse(params), until: JSON.parse(until) };
}

function refuses(request: object, code: string, words: RegExp): void {
  const check = () => {
    const whole = { messages: MESSAGES, ...request } as ChatCompletionRequest;
    chatPrompt(whole);
    sampling(whole, 512);
  };
  assert.throws(check, (error: any) => error.code === code && words.test(error.message));
}

test('names become those of the bindings', () => {
  const { params, until } = sampled({ temperature: 0, frequency_penalty: 1, typical_p: 0.5, repeat_last_n: -1, top_k: -1 });
  assert.deepEqual({ ...params, seed: 0 }, {
    seed: 0,
    temp: 0,
    penalty_freq: 1,
    typ_p: 0.5,
    penalty_last_n: 512,
    top_k: 0,
    ignore_eos: false,
    logit_bias: [],
  });
  assert.deepEqual(until, { stop: [], ignore_eos: false });
});

test('a seed is kept, or drawn', () => {
  assert.equal(sampled({ seed: 7 }).params.seed, 7);
  const drawn = new Set(Array.from({ length: 8 }, () => sampled({}).params.seed));
  assert.ok(drawn.size > 1);
});

test('ends: tokens and texts', () => {
  assert.deepEqual(sampled({ max_tokens: 3, stop: 'a' }).until, { max_tokens: 3, stop: ['a'], ignore_eos: false });
  assert.equal(sampled({ max_tokens: 3, max_completion_tokens: 4 }).until.max_tokens, 4);
  assert.equal('max_tokens' in sampled({ max_tokens: -1 }).until, false);
});

test('biases: by object or pairs, false bans', () => {
  assert.deepEqual(sampled({ logit_bias: { 5: 1.5 } }).params.logit_bias, [[5, 1.5]]);
  const [[token, bias]] = sampled({ logit_bias: [[6, false]] }).params.logit_bias;
  assert.deepEqual([token, Math.fround(bias)], [6, -Infinity]);
  refuses({ logit_bias: { x: 1 } }, 'bad_argument', /token of logit_bias/);
});

test('what is wrong is named', () => {
  refuses({ temprature: 1 }, 'bad_argument', /unknown field temprature, expected one of temperature/);
  refuses({ temperature: '1' }, 'bad_argument', /temperature is "1", expected a number/);
  refuses({ top_k: 1.5 }, 'bad_argument', /top_k/);
  refuses({ stop: [''] }, 'bad_argument', /stop/);
  refuses({ messages: [] }, 'bad_argument', /messages/);
  refuses({ messages: [{ content: 'x' }] }, 'bad_argument', /messages\[0\]\.role/);
  refuses({ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'unsupported', /image_url/);
});

test("OpenAI's other fields: harmless ones pass, the rest is unsupported", () => {
  chatPrompt({ messages: MESSAGES, user: 'me', n: 1, logprobs: false, top_logprobs: null } as ChatCompletionRequest);
  refuses({ n: 2 }, 'unsupported', /n: 2/);
  refuses({ logprobs: true }, 'unsupported', /logprobs/);
  refuses({ response_format: { type: 'json_object' } }, 'unsupported', /response_format/);
});

test('prompts', () => {
  const request = { messages: MESSAGES, chat_template_kwargs: { enable_thinking: false } };
  const sent = { messages: MESSAGES, add_generation_prompt: true, kwargs: { enable_thinking: false } };
  assert.deepEqual(JSON.parse(chatPrompt(request)), sent);
  assert.equal(completionPrompt({ prompt: 'x' }, 10), 'x');
  assert.deepEqual(completionPrompt({ prompt: [1, 9] }, 10), Uint32Array.of(1, 9));
  assert.throws(() => completionPrompt({ prompt: [10] }, 10), /prompt\[0\] is 10/);
  assert.throws(() => completionPrompt({} as CompletionRequest, 10), /prompt is undefined/);
  assert.throws(() => tokenIds('ids', [-1], 10), /ids\[0\]/);
});

test('chunks look like those of OpenAI', () => {
  const head = frame('chatcmpl', 'm');
  assert.match(head.id, /^chatcmpl-\w{20,}$/);
  const [first] = CHAT_SHAPE.first(head);
  assert.deepEqual(first?.choices, [
    { index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null, logprobs: null },
  ]);
  assert.deepEqual(CHAT_SHAPE.text(head, 'Hi').choices[0]?.delta, { content: 'Hi' });
  const [last] = CHAT_SHAPE.last(head, GENERATED, false);
  assert.deepEqual(last?.choices, [{ index: 0, delta: {}, finish_reason: 'stop', logprobs: null }]);
  assert.deepEqual(last?.usage, GENERATED.usage);
  const [end, usage] = CHAT_SHAPE.last(head, GENERATED, true);
  assert.equal(end?.usage, undefined);
  assert.deepEqual([usage?.choices, usage?.usage], [[], GENERATED.usage]);
});

test('whole answers look like those of OpenAI', () => {
  const chat = CHAT_SHAPE.whole(frame('chatcmpl', 'm'), GENERATED);
  assert.deepEqual(chat.choices[0]?.message, { role: 'assistant', content: 'Hi there' });
  assert.equal(chat.object, 'chat.completion');
  const text = COMPLETION_SHAPE.whole(frame('cmpl', 'm'), GENERATED);
  assert.deepEqual([text.object, text.choices[0]?.text, text.timings], ['text_completion', 'Hi there', GENERATED.timings]);
});
