/**
 * One TLS connection as the broker sees it: the frame guard sits in the stream, and the name from the
 * certificate stands beside it. Back-pressure passes through in both directions; whichever side ends
 * or fails first takes the other with it.
 */
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { FrameGuard } from './frame-guard.ts';

export class BoardConnection extends Duplex {
  readonly node: string;
  readonly guard = new FrameGuard();
  /** Of the agent process, from the CONNECT packet. */
  session = '';
  keepaliveMs = 0;
  lastHeardMs = 0;
  readonly #socket: TLSSocket;
  readonly #nowMs: () => number;

  /** `nowMs` is monotonic. */
  constructor(socket: TLSSocket, node: string, nowMs: () => number) {
    super();
    this.node = node;
    this.#socket = socket;
    this.#nowMs = nowMs;
    this.lastHeardMs = nowMs();
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  #receive(chunk: Buffer): void {
    this.lastHeardMs = this.#nowMs();
    const reason = this.guard.feed(chunk);
    if (reason !== undefined) {
      this.destroy(new Error(`broken protocol: ${reason}`));
      return;
    }
    if (!this.push(chunk)) this.#socket.pause();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    this.#socket.write(chunk, done);
  }

  /** The parts of one packet as one write: one TLS record instead of five. */
  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
