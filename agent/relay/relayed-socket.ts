/**
 * A TCP connection to a pod of another board, through that board's agent. To its user it is as a socket that connects: `connect`
 * when the pod has taken the connection, or else an error that says why not; half-close and back-pressure pass in both
 * directions; a connection that was reset, or whose board is gone, ends with an error and never looks as if all had been said.
 */
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { Duplex } from 'node:stream';
import { refusalReason } from './target.ts';

export class RelayedSocket extends Duplex {
  #stream: ClientHttp2Stream | undefined;
  #idleMs = 0;
  #ended = false;
  connecting = true;

  /** `opening` asks the board of the pod; what is written waits for its answer. */
  constructor(opening: Promise<ClientHttp2Stream>) {
    super({ allowHalfOpen: true });
    opening.then(
      (stream) => this.#follow(stream),
      (error) => this.destroy(error),
    );
  }

  /** 0: never. */
  setTimeout(ms: number): this {
    this.#idleMs = ms;
    this.#stream?.setTimeout(ms);
    return this;
  }

  /** The connection between the boards has its own. */
  setKeepAlive(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  override _read(): void {
    this.#stream?.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#connected((stream) => stream.write(chunk, done));
  }

  override _final(done: () => void): void {
    this.#connected((stream) => stream.end(done));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const stream = this.#stream;
    // With an error: without one, HTTP/2 would say that all is well.
    if (!this.#ended || stream?.writableFinished !== true) stream?.destroy(new Error('reset'));
    done(error);
  }

  #connected(act: (stream: ClientHttp2Stream) => void): void {
    if (this.connecting) this.once('connect', () => this.#connected(act));
    else if (this.#stream !== undefined) act(this.#stream);
  }

  #follow(stream: ClientHttp2Stream): void {
    stream.on('error', (error) => this.destroy(error));
    if (this.destroyed) {
      stream.destroy(new Error('reset'));
      return;
    }
    this.#stream = stream;
    stream.setTimeout(this.#idleMs);
    stream.on('response', (headers) => this.#answered(headers));
    stream.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.on('end', () => {
      if (wasCut(stream)) return;
      this.#ended = true;
      this.push(null);
    });
    stream.on('timeout', () => this.emit('timeout'));
    stream.on('close', () => {
      if (!this.#ended) this.destroy(new Error('the connection through the other board was reset'));
    });
  }

  #answered(headers: IncomingHttpHeaders): void {
    const reason = refusalReason(headers);
    if (reason !== undefined) {
      this.destroy(new Error(reason));
      return;
    }
    this.connecting = false;
    this.emit('connect');
  }
}

/** Node tells of a stream's end also when it was reset, or when its connection was lost. */
export function wasCut(stream: { readonly aborted: boolean; readonly rstCode?: number }): boolean {
  return stream.aborted || (stream.rstCode ?? 0) !== 0;
}
