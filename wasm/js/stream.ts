/**
 * A stream of bytes across threads. Streams themselves cannot be sent to a worker in every browser, so the receiver asks for
 * one piece after another.
 */

import { asWoolly, WoollyError } from './errors.js';
import type { TransferableSource } from './download/index.js';
import type { ErrorCode } from './types.js';

/** A source as it is sent: a stream has become a port. */
export type SentSource = Exclude<TransferableSource, { kind: 'stream' }> | { kind: 'port'; port: MessagePort };

type Piece = { value?: Uint8Array; done: boolean } | { error: { code: ErrorCode; message: string } };

/** The sender's side: the source to send, and what has to be transferred with it. */
export function packSource(source: TransferableSource): { source: SentSource; transfer: Transferable[] } {
  if (source.kind !== 'stream') return { source, transfer: [] };
  const { port1, port2 } = new MessageChannel();
  const reader = source.stream.getReader();
  port1.onmessage = async ({ data }) => {
    if (data === 'pull') {
      port1.postMessage(await read(reader));
      return;
    }
    port1.close();
    await reader.cancel().catch(() => {});
  };
  return { source: { kind: 'port', port: port2 }, transfer: [port2] };
}

/** The receiver's side. */
export function unpackSource(source: SentSource): TransferableSource {
  return source.kind === 'port' ? { kind: 'stream', stream: streamOf(source.port) } : source;
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Piece> {
  try {
    const { value, done } = await reader.read();
    return value ? { value, done } : { done };
  } catch (error) {
    const { code, message } = asWoolly(error);
    return { error: { code: code === 'worker' ? 'network' : code, message: `the stream broke: ${message}` } };
  }
}

function streamOf(port: MessagePort): ReadableStream<Uint8Array> {
  const ask = () =>
    new Promise<Piece>((resolve) => {
      port.onmessage = ({ data }) => resolve(data);
      port.postMessage('pull');
    });
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = await ask();
      if ('error' in piece) {
        port.close();
        throw new WoollyError(piece.error.code, piece.error.message);
      }
      if (piece.value) controller.enqueue(piece.value);
      if (!piece.done) return;
      port.close();
      controller.close();
    },
    cancel() {
      port.postMessage('cancel');
    },
  });
}
