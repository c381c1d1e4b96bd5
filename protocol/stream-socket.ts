/**
 * One end of a stream (streams.ts) on a WebSocket, the same for board and master: frames to read one by one, frames to
 * send. Knows nothing of what they mean.
 *
 * Promises: back-pressure in both directions. Reads from the socket only while its owner takes frames: at most
 * WAITING_BYTES_MAX and one read of the socket wait here. A send resolves when the frame has left for the kernel, so
 * that a sender who waits for it never piles up more than one frame. Another side that vanishes is noticed also while
 * nothing is read from it.
 */
import { decodeFrame, encodeFrame, STREAM_FRAME_BYTES_MAX, type StreamFrame } from './streams.ts';

const WAITING_BYTES_MAX = 256 * 1024;
/** Empty frames must not pile up either. */
const FRAMES_MAX = 1024;
const PROBE_MS = 10_000;

/** What is used of a WebSocket of the `ws` library. */
export interface FrameSocket {
  on(event: 'message', listener: (data: unknown, isBinary: boolean) => void): unknown;
  on(event: 'close', listener: (code: number) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  send(
    data: Uint8Array,
    options: { readonly binary: boolean },
    callback: (error?: Error | null) => void,
  ): void;
  readonly isPaused: boolean;
  pause(): void;
  resume(): void;
  ping(): void;
  terminate(): void;
}

/**
 * A socket that is not read from does not show that its other side has gone: a ping that cannot be sent does, after one
 * or two rounds of 10 s.
 */
export function probeWhilePaused(
  socket: Pick<FrameSocket, 'isPaused' | 'ping'> & {
    on(event: 'close', listener: () => void): unknown;
  },
): void {
  const probe = setInterval(() => {
    if (socket.isPaused) socket.ping();
  }, PROBE_MS);
  socket.on('close', () => clearInterval(probe));
}

/** The connection ended, and not by us. */
export class StreamBroken extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StreamBroken';
  }
}

export class StreamSocket {
  readonly #socket: FrameSocket;
  readonly #frames: StreamFrame[] = [];
  #waitingBytes = 0;
  #end: 'ours' | StreamBroken | undefined;
  #wake: () => void = () => {};
  readonly #closed: Promise<void>;

  constructor(socket: FrameSocket) {
    this.#socket = socket;
    probeWhilePaused(socket);
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('error', (error) => this.#finish(new StreamBroken(error.message)));
    this.#closed = new Promise((resolve) => {
      socket.on('close', (code) => {
        this.#finish(new StreamBroken(`the connection ended (code ${code})`));
        resolve();
      });
    });
  }

  /** Resolves when the connection is over. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** The next frame; undefined after our own end. Throws StreamBroken. For one reader at a time. */
  async next(): Promise<StreamFrame | undefined> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) {
        this.#waitingBytes -= frame.data.length;
        if (this.#socket.isPaused && this.#waitingBytes < WAITING_BYTES_MAX / 2) {
          this.#socket.resume();
        }
        return frame;
      }
      if (this.#end === 'ours') return undefined;
      if (this.#end !== undefined) throw this.#end;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Long data goes out in several frames. Rejects when the connection is gone. */
  async send(channel: number, data: Uint8Array): Promise<void> {
    let start = 0;
    do {
      const part = data.subarray(start, start + STREAM_FRAME_BYTES_MAX);
      await this.#sendFrame(encodeFrame(channel, part));
      start += STREAM_FRAME_BYTES_MAX;
    } while (start < data.length);
  }

  /** Ends it at once; what waits is dropped. */
  terminate(): void {
    this.#finish('ours');
    this.#frames.length = 0;
    this.#socket.terminate();
  }

  #sendFrame(frame: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(frame, { binary: true }, (error) => (error ? reject(error) : resolve()));
    });
  }

  #receive(data: unknown, isBinary: boolean): void {
    if (this.#end !== undefined) return;
    const frame = isBinary && data instanceof Uint8Array ? decodeFrame(data) : undefined;
    if (frame === undefined) {
      this.#finish(new StreamBroken('the other side sent a frame that no one understands'));
      this.#socket.terminate();
      return;
    }
    this.#frames.push(frame);
    this.#waitingBytes += frame.data.length;
    if (this.#waitingBytes >= WAITING_BYTES_MAX || this.#frames.length >= FRAMES_MAX) {
      this.#socket.pause();
    }
    this.#wake();
  }

  #finish(end: 'ours' | StreamBroken): void {
    this.#end ??= end;
    this.#wake();
  }
}
