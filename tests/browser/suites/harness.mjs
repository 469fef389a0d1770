/** The suite's own parts: a server with faults that are counted, browsers with and without isolation. */

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { BROWSERS } from '../lib/browsers.mjs';
import { test } from '../lib/suite.mjs';

const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, at) => at & 255));

test('harness: a range of a file, and the whole file where ranges are not known', async scope => {
  const server = await scope.server();
  const file = server.fault({ bytes });
  const part = await fetch(file.url, { headers: { Range: 'bytes=10-19' } });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), 'bytes 10-19/300000');
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(10, 20));
  const changed = await fetch(file.url, { headers: { Range: 'bytes=10-19', 'If-Range': '"other"' } });
  assert.equal(changed.status, 200);
  const whole = await fetch(server.fault({ bytes, ranges: false }).url, { headers: { Range: 'bytes=10-19' } });
  assert.equal(whole.status, 200);
  assert.equal((await whole.arrayBuffer()).byteLength, 300_000);
});

test('harness: connections that break off, errors, slow answers', async scope => {
  const server = await scope.server();
  const dropped = server.fault({ bytes, drop: 100_000, times: 1 });
  await assert.rejects(receive(dropped.url));
  assert.equal((await receive(dropped.url)).length, 300_000);
  assert.deepEqual(dropped.requests.map(({ sent }) => sent), [100_000, 300_000]);
  const wrong = server.fault({ bytes, status: 500, times: 1 });
  assert.equal((await fetch(wrong.url)).status, 500);
  assert.equal((await fetch(wrong.url)).status, 200);
  const began = performance.now();
  await receive(server.fault({ bytes, rate: 1_000_000 }).url);
  assert.ok(performance.now() - began > 200);
});

for (const kind of BROWSERS) {
  test(`harness: ${kind} with and without isolation, under a strict policy`, async scope => {
    for (const isolated of [true, false]) {
      const tab = await (await scope.visitor(kind)).open(`${(await scope.server({ isolated })).url}/page/?none`);
      assert.equal(await tab.evaluate(() => globalThis.crossOriginIsolated), isolated);
      const answer = await tab.evaluate(() => {
        const script = document.createElement('script');
        script.text = 'globalThis.evaluated = true';
        document.head.append(script);
        return globalThis.evaluated ?? 'blocked';
      });
      assert.equal(answer, 'blocked');
    }
  });
}

/** The body of an answer; rejects when it ends early. */
function receive(url) {
  return new Promise((resolve, reject) => {
    const asked = request(url, response => {
      const pieces = [];
      response.on('data', piece => pieces.push(piece));
      response.on('end', () => resolve(Buffer.concat(pieces)));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}
