/** A worker that keeps a processor busy, in pieces, and does nothing else: what the machine itself makes of that. */

const { port1, port2 } = new MessageChannel();

port1.onmessage = () => {
  for (const end = performance.now() + 2; performance.now() < end; );
  port2.postMessage(0);
};
port2.postMessage(0);
