import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WoollyError } from '../errors.js';
import { type Call, Client, localPort, type Methods, type Port } from '../rpc.js';

/** A method that ends when it is told to, or aborted. */
function waiting(): { methods: Methods; calls: Call[]; finish: (() => void)[] } {
  const [calls, finish]: [Call[], (() => void)[]] = [[], []];
  const wait = (_: unknown, call: Call) => {
    calls.push(call);
    return new Promise<void>((resolve, reject) => {
      finish.push(resolve);
      call.signal.addEventListener('abort', () => reject(new WoollyError('aborted', 'heard')));
    });
  };
  return { methods: { wait }, calls, finish };
}

test('values, events and errors cross', async () => {
  const client = new Client(
    localPort({
      double: (x: number, { emit }) => {
        emit('event');
        return 2 * x;
      },
      fail: () => {
        throw new WoollyError('not_gguf', 'no');
      },
    }),
  );
  const events: unknown[] = [];
  assert.equal(await client.call('double', 4, { onEvent: (event) => events.push(event) }), 8);
  assert.deepEqual(events, ['event']);
  await assert.rejects(client.call('fail', null), { code: 'not_gguf', message: 'no' });
  assert.equal(await client.call('double', 1), 2);
});

test('an abort rejects at once, and the host hears of it', async () => {
  const { methods, calls } = waiting();
  const client = new Client(localPort(methods));
  const controller = new AbortController();
  const call = client.call('wait', null, { signal: controller.signal });
  await new Promise(setImmediate);
  controller.abort();
  await assert.rejects(call, { code: 'aborted' });
  await client.drain(1000);
  assert.equal(calls[0]?.signal.aborted, true);
  await assert.rejects(client.call('wait', null, { signal: controller.signal }), { code: 'aborted' });
});

test('a trap ends it all', async () => {
  const { methods } = waiting();
  const trap = () => {
    throw new WebAssembly.RuntimeError('unreachable');
  };
  const client = new Client(localPort({ ...methods, trap }));
  const pending = client.call('wait', null);
  const lost = client.call('trap', null);
  await assert.rejects(lost, { code: 'worker', message: 'unreachable' });
  await assert.rejects(pending, { code: 'worker' });
  await assert.rejects(client.call('wait', null), { code: 'worker', message: /create a new Engine/ });
});

test('a trap in full memory ends it all too, but is called what it is', async () => {
  const full = () => {
    throw new WoollyError('out_of_memory', 'full', { cause: new WebAssembly.RuntimeError('unreachable') });
  };
  const client = new Client(localPort({ full }));
  await assert.rejects(client.call('full', null), { code: 'out_of_memory' });
  await assert.rejects(client.call('full', null), { code: 'worker', message: /create a new Engine/ });
});

test('a host that dies rejects what is pending', async () => {
  let die = (_: WoollyError): void => {};
  const port: Port = {
    listen: (_, onfailure) => {
      die = onfailure;
    },
    post: () => {},
    busy: () => {},
    close: () => {},
  };
  const client = new Client(port);
  const pending = client.call('anything', null);
  die(new WoollyError('worker', 'its worker was ended'));
  await assert.rejects(pending, { code: 'worker', message: 'its worker was ended' });
  await assert.rejects(client.call('anything', null), { code: 'worker', message: /create a new Engine/ });
});

test('closing rejects, aborts and unloads', async () => {
  const { methods, calls } = waiting();
  let unloaded = false;
  const unload = () => {
    unloaded = true;
  };
  const client = new Client(localPort({ ...methods, unload }));
  const pending = client.call('wait', null);
  await new Promise(setImmediate);
  client.fail(new WoollyError('unloaded', 'gone'));
  await assert.rejects(pending, { code: 'unloaded' });
  await new Promise(setImmediate);
  assert.deepEqual([calls[0]?.signal.aborted, unloaded], [true, true]);
  await assert.rejects(client.call('wait', null), { code: 'unloaded', message: 'gone' });
});
