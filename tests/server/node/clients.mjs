/** The official npm package against a server: `node clients.mjs CASE BASE_URL EXPECTED_TEXT`. */

import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [name, baseURL, expected] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const chat = { model, messages: [{ role: 'user', content: 'Tell me a story.' }], temperature: 0, max_tokens: 12 };

const CASES = {
  async chat() {
    const answer = await client.chat.completions.create(chat);
    assert.equal(answer.choices[0].message.content, expected);
    assert.equal(answer.usage.completion_tokens, 12);
  },

  async stream() {
    const stream = await client.chat.completions.create({ ...chat, stream: true, stream_options: { include_usage: true } });
    let text = '';
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, expected);
    assert.equal(usage.completion_tokens, 12);
  },

  async completion() {
    const answer = await client.completions.create({ model, prompt: 'Once upon a time', max_tokens: 8, temperature: 0 });
    assert.ok(answer.choices[0].text.length > 0);
  },

  async models() {
    assert.equal((await client.models.retrieve(model)).id, model);
  },

  async abort() {
    const stream = await client.chat.completions.create({ ...chat, max_tokens: 400, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) break;
    }
    stream.controller.abort();
    assert.equal((await client.chat.completions.create(chat)).choices[0].message.content, expected);
  },

  async errors() {
    const asked = client.chat.completions.create({ ...chat, messages: [] });
    await assert.rejects(asked, error => error instanceof OpenAI.BadRequestError && error.message.length > 4);
  },
};

await CASES[name]();
