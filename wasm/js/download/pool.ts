/**
 * Runs tasks in order, at most `limit` at a time, each when it is `ready` (which may become true when another one ends).
 * After the first failure no further one is begun, `stop` is called to end the others, and that failure is thrown when
 * all have ended.
 */
export function inParallel<T>(
  tasks: T[],
  limit: number,
  ready: (task: T) => boolean,
  run: (task: T) => Promise<void>,
  stop: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0;
    let active = 0;
    let failure: { error: unknown } | null = null;
    const fail = (error: unknown) => {
      failure ??= { error };
      stop();
    };
    const advance = () => {
      while (!failure && active < limit && next < tasks.length && ready(tasks[next]!)) {
        active += 1;
        run(tasks[next++]!)
          .catch(fail)
          .finally(() => {
            active -= 1;
            advance();
          });
      }
      if (active > 0) return;
      if (failure) reject(failure.error);
      else resolve();
    };
    advance();
  });
}

/** Buffers of a few MB that are used again and again, so that they are not left for the garbage collector to find. */
export class Buffers {
  private readonly free: ArrayBuffer[] = [];
  private readonly size: number;

  constructor(size: number) {
    this.size = size;
  }

  take(length: number): Uint8Array<ArrayBuffer> {
    const at = this.free.findIndex((buffer) => buffer.byteLength >= length);
    const buffer = at < 0 ? new ArrayBuffer(Math.max(length, this.size)) : this.free.splice(at, 1)[0]!;
    return new Uint8Array(buffer, 0, length);
  }

  give(bytes: Uint8Array<ArrayBuffer>): void {
    this.free.push(bytes.buffer);
  }
}
