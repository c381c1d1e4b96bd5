/** One direction of a connection: what was read is written before anything more is read. */
import type net from 'node:net';
import { type BufferPool, ReadBuffer } from './read-buffer.ts';

export class Pipe {
  readonly #buffer: ReadBuffer;
  #from: net.Socket | undefined;
  #to: net.Socket | undefined;
  #waiting = false;

  constructor(pool: BufferPool) {
    this.#buffer = new ReadBuffer(pool);
  }

  /** For the socket that is read from. */
  readonly onread = {
    buffer: (): Uint8Array => this.#buffer.current,
    callback: (bytes: number): boolean => {
      const to = this.#to;
      if (to === undefined) return false;
      to.write(this.#buffer.take(bytes), this.#onWritten);
      // What the kernel did not take at once still lies in the buffer: no read before it is gone.
      this.#waiting = to.writableLength > 0;
      return !this.#waiting;
    },
  };

  join(from: net.Socket, to: net.Socket): void {
    this.#from = from;
    this.#to = to;
  }

  release(): void {
    this.#buffer.release();
  }

  readonly #onWritten = (): void => {
    if (!this.#waiting || (this.#to?.writableLength ?? 0) > 0) return;
    this.#waiting = false;
    this.#from?.resume();
  };
}
