/** Running programs. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HERE } from './settings.mjs';

/** The versions of Node that the package is tested in, by their packages here. */
export const NODES = ['node20', 'node24'];

/** The program of one of them. */
export const node = version => join(HERE, 'node_modules', version, 'bin', 'node');

/** A script of an installed package. */
export const tool = path => join(HERE, 'node_modules', path);

/** Runs a program to its end; resolves to what it printed, rejects with what it said if it failed or took too long. */
export function run(program, args, { cwd = HERE, limit = 50_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], timeout: limit, killSignal: 'SIGKILL' });
    const [out, all] = [[], []];
    child.stdout.on('data', bytes => out.push(bytes) && all.push(bytes));
    child.stderr.on('data', bytes => all.push(bytes));
    child.on('error', reject);
    child.on('close', (status, signal) => {
      if (status === 0) return resolve(Buffer.concat(out).toString());
      const why = signal ? `was ended by ${signal}, after ${limit / 1000} s at most` : `ended with status ${status}`;
      return reject(new Error(`${[program, args[0]].join(' ')} ${why}:\n${shortLines(Buffer.concat(all).toString())}`));
    });
  });
}

/** Node shows the line of an error, which in a minified script is all of it. */
const shortLines = text => text.split('\n').map(line => line.slice(0, 300)).join('\n');

/** Runs npm, the one that belongs to this Node if there is one. */
export function npm(args, options) {
  const beside = join(dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js');
  return existsSync(beside) ? run(process.execPath, [beside, ...args], options) : run('npm', args, options);
}
