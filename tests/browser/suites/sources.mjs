/** Everything that a model can come from gives the same engine. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { BROWSERS } from '../lib/browsers.mjs';
import { split } from '../lib/gguf.mjs';
import { tinyModel } from '../lib/settings.mjs';
import { test } from '../lib/suite.mjs';

for (const kind of BROWSERS)
  test(`sources: URL, parts, File, Blob, bytes, stream, ${kind}`, async scope => {
    const server = await scope.server();
    const parts = split(readFileSync(tinyModel().file), 3).map((bytes, at) =>
      server.fault({ bytes, folder: `split-${kind}`, name: `part-0000${at + 1}-of-00003.gguf` }).url);
    const tab = await scope.open(kind);
    const texts = await tab.run(async ({ url, parts }) => {
      const bytes = await fetchBytes(url);
      const stream = () => new Blob([bytes]).stream();
      const sources = {
        string: url,
        URL: new URL(url),
        relative: new URL(url).pathname,
        parts,
        'the first part': parts[0],
        'parts as URLs': parts.map(part => new URL(part)),
        File: new File([bytes], 'model.gguf'),
        Blob: new Blob([bytes]),
        Uint8Array: bytes.slice(),
        'part of a buffer': new Uint8Array([...new Uint8Array(3), ...bytes]).subarray(3),
        ArrayBuffer: bytes.slice().buffer,
        stream: stream(),
      };
      const texts = {};
      for (const [name, model] of Object.entries(sources)) {
        const { value, message } = await outcome(useOnce({ model }));
        texts[name] = value?.text ?? `failed: ${message}`;
      }
      return { texts, intact: (await useOnce({ model: bytes })).text && bytes.byteLength > 0 };
    }, { url: server.url + tinyModel().url, parts });
    const expected = texts.texts.string;
    assert.ok(expected.length > 0 && !expected.startsWith('failed'), expected);
    for (const [name, text] of Object.entries(texts.texts)) assert.equal(text, expected, name);
    assert.ok(texts.intact, "the caller's bytes are not taken away");
  });
