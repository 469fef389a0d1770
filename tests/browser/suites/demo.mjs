/** The demo page, as a visitor uses it. */

import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BROWSERS } from '../lib/browsers.mjs';
import { nonsense } from '../lib/gguf.mjs';
import { serve } from '../lib/server.mjs';
import { SMOLLM2, setting } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

const QUESTION = 'What is the capital of France?';

/** A server with the demo page and a model of its own. */
async function servePage(scope, isolated = true) {
  const models = setting('WOOLLY_MODELS');
  const list = [{ name: 'SmolLM2', model: `models/${SMOLLM2}`, size: statSync(join(models, SMOLLM2)).size }];
  // The page brings its own policy.
  const server = await serve({
    folders: { '/': setting('WOOLLY_WEB'), '/models/': models },
    texts: { '/models.json': JSON.stringify(list) },
    isolated,
    policy: null,
  });
  scope.after(() => server.close());
  return server;
}

/** The page in a tab of a new visitor, by the names of its parts. */
async function openPage(scope, kind, server, before) {
  const tab = await (await scope.visitor(kind)).open(`${server.url}/`, before);
  scope.tabs.push(tab);
  return new Page(tab);
}

class Page {
  constructor(tab) {
    this.tab = tab;
  }

  /** Asks a part of the page; `ask` runs in the page. */
  part(name, ask) {
    return this.tab.evaluate(`(${ask})(document.querySelector('[data-testid="${name}"]'))`);
  }

  text = name => this.part(name, part => part.textContent.trim());

  shown = name => this.part(name, part => part.checkVisibility());

  click = name => this.tab.page.click(`[data-testid="${name}"]`);

  /** Empties a field and types, as a visitor does. */
  async type(name, text) {
    await this.part(name, field => field.select());
    await this.tab.page.type(`[data-testid="${name}"]`, text);
  }

  async until(what, condition, limit = 30_000) {
    for (const end = Date.now() + limit; Date.now() < end; await sleep(50)) if (await condition()) return;
    const error = (await this.shown('error')) ? await this.text('error') : 'none';
    throw new Error(`waited ${limit / 1000} s for: ${what}; error on the page: ${error}`);
  }

  async load() {
    await this.click('load');
    await this.until('the model', () => this.shown('backend'));
  }

  async ask(text) {
    await this.type('prompt', text);
    await this.click('send');
  }

  /** Until the answer has ended. */
  answered = () => this.until('the answer', async () => !(await this.shown('stop')) && (await this.messages()).length > 1);

  /** The conversation: `[role, text]` for each message. */
  messages = () => this.part('messages', list => Array.from(list.children, one => [one.dataset.role, one.textContent.trim()]));
}

for (const kind of BROWSERS) {
  test(`demo: load, chat, stop, retry, reload, ${kind}`, async scope => {
    const page = await openPage(scope, kind, await servePage(scope));
    await page.until('the estimate', async () => /MB/.test(await page.text('estimate')));
    await page.load();
    assert.match(await page.text('backend'), /relaxed/);
    await page.ask(QUESTION);
    await page.answered();
    const messages = await page.messages();
    assert.deepEqual(messages.map(([role]) => role), ['user', 'assistant']);
    assert.match(messages[1][1], /[a-z]/);
    assert.match(await page.text('tokens-per-second'), /\d/);
    await page.ask('Write a very long story of a sheep, with many chapters.');
    await page.until('some text', async () => (await page.messages()).at(-1)[1].length > 20);
    await page.click('stop');
    await page.answered();
    assert.equal((await page.messages()).length, 4);
    await page.click('retry');
    await page.until('some text', async () => (await page.messages()).at(-1)[1].length > 20);
    await page.click('stop');
    await page.answered();
    const kept = (await page.messages()).map(([role]) => role);
    await page.tab.reload();
    await page.until('the conversation', async () => (await page.messages()).length === kept.length);
    assert.deepEqual((await page.messages()).map(([role]) => role), kept);
    await page.until('the stored model', async () => /SmolLM2/.test(await page.text('stored-models')));
    assert.deepEqual(page.tab.said.filter(line => line.startsWith('error')), []);
  });

  test(`demo: what is no model shows an error and a way on, ${kind}`, async scope => {
    const server = await servePage(scope);
    const page = await openPage(scope, kind, server);
    await page.type('model-url', server.fault({ bytes: nonsense() }).url);
    await page.click('load');
    await page.until('the error', () => page.shown('error'));
    assert.match(await page.text('error'), /nonsense/);
    await page.click('error-action');
    assert.equal(await page.shown('error'), false);
    assert.equal(await page.shown('model-select'), true);
  });

  test(`demo: the service worker brings isolation, ${kind}`, async scope => {
    const page = await openPage(scope, kind, await servePage(scope, false));
    await page.until('isolation', () => page.tab.evaluate(() => globalThis.crossOriginIsolated).catch(() => false));
    // The page goes to another process for it, and what asks it in the meantime may meet an error.
    await page.until('the page', () => page.tab.page.$('[data-testid="load"]').then(Boolean, () => false));
    await page.load();
    assert.match(await page.text('backend'), /relaxed/);
  });
}

test('demo: pause and resume', async scope => {
  const server = await servePage(scope);
  const bytes = readFileSync(join(setting('WOOLLY_MODELS'), SMOLLM2));
  const file = server.fault({ bytes, rate: 30e6 });
  const page = await openPage(scope, 'chromium', server);
  await page.type('model-url', file.url);
  await page.click('load');
  await page.until('some bytes', () => page.part('progress', bar => bar.value > 20e6));
  await page.click('pause');
  await page.until('the pause', async () => (await page.text('pause')) === 'Resume');
  file.rate = Infinity;
  const before = file.requests.length;
  await page.click('pause');
  await page.until('the model', () => page.shown('backend'));
  const missing = bytes.length - 20e6;
  assert.ok(file.sent(before) < missing + 12e6, `${file.sent(before)} bytes sent where ${missing} were missing`);
});

test('demo: a lost worker is started again, and answers', async scope => {
  const page = await openPage(scope, 'chromium', await servePage(scope), () => {
    const workers = (globalThis.workers = []);
    globalThis.Worker = new Proxy(Worker, { construct: (Real, all) => workers[workers.push(new Real(...all)) - 1] });
  });
  await page.load();
  await page.tab.evaluate(() => globalThis.workers.forEach(worker => worker.terminate()));
  await page.ask(QUESTION);
  await page.until('the error', () => page.shown('error'));
  await page.click('error-action');
  await page.until('the answer', async () => /[a-z]/.test((await page.messages()).at(-1)?.[1] ?? ''));
});

test('demo: a bench, settings, a file of the visitor', async scope => {
  const page = await openPage(scope, 'chromium', await servePage(scope));
  const input = await page.tab.page.$('[data-testid="model-file"]');
  await input.uploadFile(join(setting('WOOLLY_MODELS'), SMOLLM2));
  await page.load();
  await page.click('open-settings');
  await page.type('system-prompt', 'Answer in one word.');
  await page.type('temperature', '0');
  await page.click('close-settings');
  await page.ask(QUESTION);
  await page.answered();
  await page.click('bench');
  await page.until('the result', async () => /\d.*\d/.test(await page.text('bench-result')));
});

test('demo: fits a phone, and everything has a name', async scope => {
  const page = await openPage(scope, 'chromium', await servePage(scope));
  await page.tab.page.setViewport({ width: 360, height: 640 });
  const wide = await page.tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} pixels too wide`);
  const nameless = await page.tab.evaluate(() =>
    Array.from(document.querySelectorAll('button, input, select, textarea'))
      .filter(part => !part.labels?.length && !part.textContent.trim() && !part.ariaLabel)
      .map(part => part.outerHTML));
  // The button of the error is given its text together with the error.
  assert.deepEqual(nameless.filter(part => !part.includes('error-action')), []);
});

test('demo: a picture of it', async scope => {
  const page = await openPage(scope, 'chromium', await servePage(scope));
  await page.tab.page.setViewport({ width: 1000, height: 720, deviceScaleFactor: 1.5 });
  await page.load();
  await page.click('open-settings');
  await page.type('system-prompt', 'Answer in short sentences.');
  await page.type('temperature', '0');
  await page.type('max-tokens', '120');
  await page.click('close-settings');
  for (const question of [QUESTION, 'What do sheep eat?']) {
    const before = (await page.messages()).length;
    await page.ask(question);
    await page.until('the answer', async () => !(await page.shown('stop')) && (await page.messages()).length === before + 2);
  }
  const picture = await page.tab.screenshot(process.env.WOOLLY_SCREENSHOT);
  assert.ok(picture.length > 20_000, `${picture.length} bytes: is it empty?`);
});
