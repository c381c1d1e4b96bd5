/** The messages of a client's WebSocket one by one, read only as fast as they are taken; and how to end it. */
import type { RawData, WebSocket } from 'ws';
import { probeWhilePaused } from '../../../protocol/stream-socket.ts';

const WAITING_BYTES_MAX = 256 * 1024;
const WAITING_MAX = 1024;
const NORMAL_CLOSE = 1000;
/** For a slow client to read the end; what is sent by then arrives later, too. */
const CLOSE_TIMEOUT_MS = 30_000;

export class WebSocketReader {
  readonly #socket: WebSocket;
  readonly #messages: Uint8Array[] = [];
  readonly #closed: Promise<void>;
  #waitingBytes = 0;
  #over = false;
  #wake: () => void = () => {};

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => this.#receive(data));
    // 'close' follows.
    socket.on('error', () => undefined);
    probeWhilePaused(socket);
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#end();
        resolve();
      });
    });
  }

  /** Undefined when the client has gone. For one reader at a time. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        this.#waitingBytes -= message.length;
        if (this.#socket.isPaused && this.#waitingBytes < WAITING_BYTES_MAX / 2) {
          this.#socket.resume();
        }
        return message;
      }
      if (this.#over) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** After what was sent. Resolves when the connection is over. */
  async close(): Promise<void> {
    this.#drop();
    const timer = setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT_MS);
    // The client's answer to the close must be read.
    this.#socket.resume();
    this.#socket.close(NORMAL_CLOSE);
    await this.#closed;
    clearTimeout(timer);
  }

  destroy(): void {
    this.#drop();
    this.#socket.terminate();
  }

  #receive(data: RawData): void {
    if (this.#over || !Buffer.isBuffer(data)) return;
    this.#messages.push(data);
    this.#waitingBytes += data.length;
    if (this.#waitingBytes >= WAITING_BYTES_MAX || this.#messages.length >= WAITING_MAX) {
      this.#socket.pause();
    }
    this.#wake();
  }

  #drop(): void {
    this.#messages.length = 0;
    this.#end();
  }

  #end(): void {
    this.#over = true;
    this.#wake();
  }
}
