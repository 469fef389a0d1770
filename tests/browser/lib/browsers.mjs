/** Chromium and Firefox behind one small driver. */

import puppeteer from 'puppeteer-core';
import { setting } from './settings.mjs';

/** The browsers that the suite runs in. */
export const BROWSERS = ['chromium', 'firefox'];

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // A page in a window that nobody sees still runs at full speed.
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

const started = new Map();

/** The browser of this kind, started when it is first asked for, and again after it has died. */
export async function browser(kind) {
  const running = await started.get(kind);
  if (running?.connected) return running;
  started.set(kind, launch(kind));
  return started.get(kind);
}

/** Starts a browser; with a profile's folder, what it stores is still there the next time. */
export function launch(kind, profile) {
  const chromium = kind === 'chromium';
  return puppeteer.launch({
    browser: chromium ? 'chrome' : 'firefox',
    executablePath: setting(chromium ? 'WOOLLY_CHROMIUM' : 'WOOLLY_FIREFOX'),
    headless: true,
    args: chromium ? FLAGS : [],
    timeout: 60_000,
    protocolTimeout: 120_000,
    ...(profile && { userDataDir: profile }),
  });
}

export async function closeBrowsers() {
  const all = await Promise.allSettled(started.values());
  started.clear();
  await Promise.allSettled(all.filter(one => one.value).map(one => one.value.close()));
}

/** Visitors share nothing with each other, as two people's browsers; their tabs share what is stored. */
export async function visitor(kind) {
  const context = await (await browser(kind)).createBrowserContext();
  return { open: (url, before) => openTab(context, url, before), close: () => context.close() };
}

/** Opens a tab; `context` is a visitor's or a whole browser. `before` runs in the page before its own scripts. */
export async function openTab(context, url, before) {
  const page = await context.newPage();
  const said = [];
  page.on('console', message => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', error => said.push(`error: ${error?.stack ?? error}`));
  if (before) await page.evaluateOnNewDocument(before);
  await page.goto(url);
  return {
    /** The driver's own page, for what only one kind of browser has. */
    page,
    /** What the page has printed, and its uncaught errors. */
    said,
    /** Runs a function in the page, once the page is ready. Arguments and result are JSON. */
    async run(fn, argument) {
      await page.evaluate(() => globalThis.ready);
      return page.evaluate(fn, argument);
    },
    evaluate: (fn, argument) => page.evaluate(fn, argument),
    reload: () => page.reload(),
    screenshot: path => page.screenshot({ path }),
    close: () => page.close(),
  };
}
