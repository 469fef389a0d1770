/**
 * The package in real browsers and in Node: `node run.mjs [--only NAME]…`. The environment says where things are:
 *
 * - WOOLLY_PACKAGE, WOOLLY_TARBALL: the built package, as a folder and packed
 * - WOOLLY_MODELS: the folder of the real models
 * - WOOLLY_TINY: tiny models NAME.gguf with tokens NAME.ids and the logits to expect, NAME.f32
 * - WOOLLY_WEB: the built demo page
 * - WOOLLY_CHROMIUM, WOOLLY_FIREFOX: the browsers
 * - WOOLLY_SCREENSHOT: where to put the picture of the demo page, if it is to be kept (`docs/demo.png`)
 *
 * Prints what `node:test` prints, then what failed once more, and then one line: `N passed, M failed`.
 */

import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runTests } from './lib/suite.mjs';

const { values } = parseArgs({ options: { only: { type: 'string', multiple: true, default: [] } } });

const SUITES = ['harness', 'logits', 'api', 'sources', 'platform', 'download', 'cache', 'failures', 'node', 'consumers', 'demo'];

/** What measures times, and so can fail for no fault of its own on a busy machine: it runs when `--only` names it. */
const MEASURED = ['responsive'];
const named = MEASURED.filter(suite => values.only.some(name => name.includes(suite)));

for (const suite of [...SUITES, ...named]) await import(`./suites/${suite}.mjs`);
const { passed, failed } = await runTests(values.only);
process.exitCode = failed.length > 0 || passed === 0 ? 1 : 0;
// After all that the test runner still has to say.
process.on('exit', () => writeSync(1, [...failed, `${passed} passed, ${failed.length} failed\n`].join('\n')));
