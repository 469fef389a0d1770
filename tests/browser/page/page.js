/** What tests run in the page with: the package as `woolly`, and some helpers. The query names the package's folder. */

const RealWorker = globalThis.Worker;

/** Every worker that the page has started, so that tests can kill them. */
globalThis.workers = [];
globalThis.Worker = class Worker extends RealWorker {
  constructor(...all) {
    super(...all);
    workers.push(this);
  }
};

/** Resolves when a test may begin. */
globalThis.ready = import(`/${location.search.slice(1)}/dist/index.js`).then(module => {
  globalThis.woolly = module;
});

/** What a promise came to: `{ value }`, or `{ error, code, message, typed }`. */
globalThis.outcome = async promise => {
  try {
    return { value: await promise };
  } catch (error) {
    return { error: error.name, code: error.code, message: error.message, typed: error instanceof woolly.WoollyError };
  }
};

globalThis.fetchBytes = async url => {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
};

/** Generates a few tokens greedily; their text. */
globalThis.generate = async (engine, max_tokens = 8) => {
  const completion = await engine.completions.create({ prompt: 'ab cd', max_tokens, temperature: 0, ignore_eos: true });
  return completion.choices[0].text;
};

/** Makes an engine, generates, and unloads: its text and backend. */
globalThis.useOnce = async options => {
  const engine = await woolly.Engine.create({ n_threads: 1, ...options });
  try {
    return { text: await generate(engine), backend: engine.backend };
  } finally {
    await engine.unload();
  }
};

/** How many of an array's elements differ in their bits; all, if the lengths differ. */
globalThis.differences = (found, expected) => {
  if (found.length !== expected.length) return Math.max(found.length, expected.length, 1);
  const [a, b] = [found, expected].map(floats => new Uint32Array(floats.buffer, floats.byteOffset, floats.length));
  return a.reduce((sum, bits, at) => sum + (bits === b[at] ? 0 : 1), 0);
};

/** Resolves to the longest time, in milliseconds, that the page's thread was busy while `work` ran. */
globalThis.longestBlock = async work => {
  const { port1, port2 } = new MessageChannel();
  let [last, longest, done] = [performance.now(), 0, false];
  port1.onmessage = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!done) port2.postMessage(0);
  };
  port2.postMessage(0);
  try {
    await work();
  } finally {
    done = true;
    port1.close();
  }
  return longest;
};
