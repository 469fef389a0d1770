/** The page to chat on in a real browser: `node page.mjs CASE URL [KEY]`; WOOLLY_CHROMIUM is the browser. */

import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';

const [name, url, key] = process.argv.slice(2);
const PATIENCE = 30_000;

const browser = await puppeteer.launch({
  executablePath: process.env.WOOLLY_CHROMIUM,
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE);
const problems = [];
page.on('pageerror', (error) => problems.push(`${error}`));
page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));

const texts = (selector) => page.$$eval(selector, (found) => found.map((one) => one.textContent));
const send = async (text) => {
  await page.type('#text', text);
  await page.keyboard.press('Enter');
};
const answered = (count) =>
  page.waitForFunction((n) => document.querySelectorAll('article.assistant small').length === n, {}, count);

const CASES = {
  async chat() {
    await page.waitForFunction(() => document.querySelector('#model').options.length > 0);
    await send('Tell me a story.');
    await answered(1);
    await send('And then?');
    await answered(2);
    assert.deepEqual(await texts('article.user p'), ['Tell me a story.', 'And then?']);
    for (const answer of await texts('article.assistant p')) assert.ok(answer.length > 0);
    await page.click('#clear');
    assert.deepEqual(await texts('article'), []);
    assert.deepEqual(problems, []);
  },

  async stop() {
    await send('Tell me a story.');
    await page.waitForFunction(() => document.querySelector('article.assistant p')?.textContent.length > 0);
    await page.click('#stop');
    await page.waitForSelector('#send:not([hidden])');
    const [said] = await texts('article.assistant p');
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(await texts('article.assistant p'), [said]);
    assert.deepEqual(await texts('article.error p'), []);
  },

  async key() {
    await page.waitForSelector('article.error');
    assert.match((await texts('article.error p'))[0], /key/i);
    await page.type('#key', key);
    await page.keyboard.press('Tab');
    await page.waitForFunction(() => document.querySelector('#model').options.length > 0);
    await send('Tell me a story.');
    await answered(1);
  },

  async narrow() {
    await page.setViewport({ width: 320, height: 568, isMobile: true });
    await send('Tell me a story.');
    await answered(1);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  },
};

try {
  await page.goto(url);
  await CASES[name]();
} finally {
  await browser.close();
}
