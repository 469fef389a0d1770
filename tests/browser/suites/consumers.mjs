/** Tiny projects that install the packed package as anyone would, build it, and generate. */

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { BROWSERS } from '../lib/browsers.mjs';
import { NODES, node, npm, run, tool } from '../lib/process.mjs';
import { serve } from '../lib/server.mjs';
import { HERE, setting, tinyModel } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

/** A copy of a project with the package installed; its folder. */
async function install(scope, name) {
  const folder = mkdtempSync(join(tmpdir(), `woolly-${name}-`));
  scope.after(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(HERE, 'consumers', name), folder, { recursive: true });
  await npm(['install', '--no-save', '--no-audit', '--no-fund', '--offline', setting('WOOLLY_TARBALL')], { cwd: folder });
  return folder;
}

/** Generates on a page of this folder, in each browser. */
async function generateOn(scope, folder) {
  const server = await serve({ folders: { '/': folder, '/tiny/': dirname(tinyModel().file) } });
  scope.after(() => server.close());
  for (const kind of BROWSERS) {
    const tab = await (await scope.visitor(kind)).open(`${server.url}/index.html`);
    scope.tabs.push(tab);
    const { text, backend } = await tab.evaluate(model => globalThis.start(model), server.url + tinyModel().url);
    assert.ok(text.length > 0);
    assert.equal(backend.build, 'relaxed');
    assert.ok(backend.threads >= 1);
    assert.deepEqual(tab.said.filter(line => line.startsWith('error')), []);
  }
}

test('consumers: Vite', async scope => {
  const folder = await install(scope, 'vite');
  await run(process.execPath, [tool('vite/bin/vite.js'), 'build', '--logLevel', 'warn'], { cwd: folder });
  await generateOn(scope, join(folder, 'dist'));
});

test('consumers: webpack', async scope => {
  const folder = await install(scope, 'webpack');
  const { default: webpack } = await import('webpack');
  const output = { path: join(folder, 'dist') };
  const stats = await promisify(webpack)({ mode: 'production', performance: false, context: folder, output });
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  assert.deepEqual([...errors, ...warnings], []);
  cpSync(join(folder, 'index.html'), join(folder, 'dist/index.html'));
  await generateOn(scope, join(folder, 'dist'));
});

test('consumers: a plain page', async scope => generateOn(scope, await install(scope, 'page')));

for (const [name, title] of [['node-esm', 'Node'], ['node-cjs', 'CommonJS import()']])
  test(`consumers: ${title}`, async scope => {
    const folder = await install(scope, name);
    for (const version of NODES) {
      const { text, backend } = JSON.parse(await run(node(version), ['main.js', tinyModel().file], { cwd: folder }));
      assert.ok(text.length > 0);
      assert.ok(backend.threads >= 1);
    }
  });
