/**
 * One SPDY/3.1 connection as Kubernetes uses it (exec, attach, port-forward), over any byte stream: a hijacked socket, or a
 * WebSocket that tunnels it. The client opens streams; the server accepts each at once, where it waits to be taken.
 * Pier's API server is the server of such a connection, its agent the client of a container engine.
 *
 * SPDY as Kubernetes' clients speak it has no flow control of its own, so back-pressure is the connection's: when
 * WAITING_BYTES_MAX wait to be read, nothing more is read from it until somebody takes some. One stream that is not read
 * therefore holds up the others of its connection, as in Kubernetes. Bounded: streams, waiting bytes, frame sizes.
 */
import type { Duplex } from 'node:stream';
import {
  dataFrame,
  ping,
  RESET,
  rstStream,
  type SpdyFrame,
  SpdyParser,
  synReply,
  synStream,
} from './frames.ts';
import { HeaderPacker, HeaderUnpacker, SpdyError, type SpdyHeaders } from './headers.ts';

const WAITING_BYTES_MAX = 512 * 1024;
const STREAMS_MAX = 256;
const CLOSE_TIMEOUT_MS = 30_000;
const PROBE_MS = 30_000;
/** Of one data frame that we send. */
const CHUNK_BYTES_MAX = 64 * 1024;
const NO_HEADERS: SpdyHeaders = new Map();

/** Which end of the connection is ours. Streams and pings of a client have odd numbers, of a server even ones. */
export type SpdyRole = 'server' | 'client';

export class SpdySession {
  readonly #transport: Duplex;
  readonly #role: SpdyRole;
  readonly #packer = new HeaderPacker();
  readonly #unpacker = new HeaderUnpacker();
  readonly #streams = new Map<number, SpdyStream>();
  /** Of the streams that the client opened. */
  #lastId = 0;
  #pingId: number;
  #waitingBytes = 0;
  #wakeReader: () => void = () => undefined;
  #wakeWriters: Array<() => void> = [];
  readonly #arrived: SpdyStream[] = [];
  #wakeArrivals: () => void = () => undefined;
  #isOver = false;
  #over: () => void = () => undefined;
  /** Resolves when the connection is over. */
  readonly closed = new Promise<void>((resolve) => {
    this.#over = resolve;
  });

  constructor(transport: Duplex, role: SpdyRole = 'server') {
    this.#transport = transport;
    this.#role = role;
    this.#pingId = role === 'server' ? 0 : -1;
    transport.on('drain', () => this.#drained());
    transport.on('close', () => this.#drained());
    // A broken connection shows as the end of the reading.
    transport.on('error', () => undefined);
  }

  /** Reads until the other end closes; resolves then. Throws SpdyError when it does not speak SPDY. */
  async run(): Promise<void> {
    const parser = new SpdyParser();
    try {
      for await (const chunk of this.#transport as AsyncIterable<Buffer>) {
        for (const frame of parser.push(chunk)) await this.#handle(frame);
        await this.#roomToRead();
      }
    } catch (error) {
      if (error instanceof SpdyError) throw error;
      // The connection broke: for its streams that is an end like any other.
    } finally {
      this.destroy();
    }
  }

  /** The next stream that the client opened; undefined when the connection is over. For one reader. */
  async next(): Promise<SpdyStream | undefined> {
    for (;;) {
      const stream = this.#arrived.shift();
      if (stream !== undefined) return stream;
      if (this.#isOver) return undefined;
      await new Promise<void>((resolve) => {
        this.#wakeArrivals = resolve;
      });
    }
  }

  /** A new stream, of a client. Rejects when the connection is gone. */
  async open(headers: SpdyHeaders): Promise<SpdyStream> {
    this.#lastId += this.#lastId === 0 ? 1 : 2;
    const stream = new SpdyStream(this, this.#lastId, headers);
    this.#streams.set(stream.id, stream);
    await this.write(synStream(stream.id, this.#packer.pack(headers)));
    return stream;
  }

  /** After what was written. Resolves when the other end has closed as well. */
  async end(): Promise<void> {
    this.#transport.end();
    const timer = setTimeout(() => this.destroy(), CLOSE_TIMEOUT_MS);
    await this.closed;
    clearTimeout(timer);
  }

  destroy(): void {
    this.#transport.destroy();
    this.#finish();
  }

  /** Resolves when the connection takes more. Rejects when it is gone. */
  async write(frame: Buffer): Promise<void> {
    if (this.#transport.destroyed) throw new Error('the other end is gone');
    if (this.#transport.write(frame)) return;
    await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
    if (this.#transport.destroyed) throw new Error('the other end is gone');
  }

  /** A stream took or dropped so many bytes. */
  taken(bytes: number): void {
    this.#waitingBytes -= bytes;
    if (this.#waitingBytes < WAITING_BYTES_MAX) this.#wakeReader();
  }

  forget(id: number): void {
    this.#streams.delete(id);
  }

  /** A peer that vanishes meanwhile is not noticed by reading: the pings fail then. */
  async #roomToRead(): Promise<void> {
    if (this.#waitingBytes < WAITING_BYTES_MAX) return;
    const probe = setInterval(() => {
      this.#pingId += 2;
      this.write(ping(this.#pingId)).catch(() => undefined);
    }, PROBE_MS);
    while (this.#waitingBytes >= WAITING_BYTES_MAX && !this.#transport.destroyed) {
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
    clearInterval(probe);
  }

  async #handle(frame: SpdyFrame): Promise<void> {
    switch (frame.type) {
      case 'synStream':
        return this.#open(frame.id, frame.fin, await this.#unpacker.unpack(frame.block));
      case 'data': {
        const stream = this.#streams.get(frame.id);
        // A stream that we have closed: the other end did not know yet.
        if (stream === undefined) return;
        this.#waitingBytes += frame.data.length;
        stream.receive(frame.data, frame.fin);
        return;
      }
      case 'reset':
        this.#cut(this.#streams.get(frame.id));
        return;
      case 'ping':
        // Our own come back as echoes.
        if ((frame.id % 2 === 1) === (this.#role === 'server'))
          await this.write(ping(frame.id)).catch(() => undefined);
        return;
      case 'other':
        if (frame.block !== undefined) await this.#unpacker.unpack(frame.block);
        return;
      default: {
        const never: never = frame;
        return never;
      }
    }
  }

  async #open(id: number, fin: boolean, headers: SpdyHeaders): Promise<void> {
    if (this.#role === 'client') {
      await this.write(rstStream(id, RESET.refusedStream)).catch(() => undefined);
      return;
    }
    if (id % 2 === 0 || id <= this.#lastId) throw new SpdyError(`stream ${id} is out of order`);
    this.#lastId = id;
    if (this.#streams.size >= STREAMS_MAX) {
      await this.write(rstStream(id, RESET.refusedStream)).catch(() => undefined);
      return;
    }
    const stream = new SpdyStream(this, id, headers);
    this.#streams.set(id, stream);
    if (fin) stream.receive(new Uint8Array(0), true);
    await this.write(synReply(id, this.#packer.pack(NO_HEADERS))).catch(() => undefined);
    this.#arrived.push(stream);
    this.#wakeArrivals();
  }

  /**
   * By the other end, or because the connection is gone. A client that leaves wants nothing of what it sent to be acted on;
   * a server's streams end so as soon as it has said all, which is still to be read.
   */
  #cut(stream: SpdyStream | undefined): void {
    if (this.#role === 'server') stream?.reset();
    else stream?.lost();
  }

  #drained(): void {
    for (const wake of this.#wakeWriters.splice(0)) wake();
    this.#wakeReader();
  }

  #finish(): void {
    this.#isOver = true;
    this.#over();
    this.#wakeArrivals();
    this.#unpacker.close();
    for (const stream of [...this.#streams.values()]) this.#cut(stream);
    this.#drained();
  }
}

/** One stream of a session; both halves end independently. */
export class SpdyStream {
  readonly id: number;
  readonly headers: SpdyHeaders;
  readonly #session: SpdySession;
  readonly #parts: Uint8Array[] = [];
  #received: 'open' | 'ended' | 'reset' = 'open';
  #sent: 'open' | 'ended' = 'open';
  #wake: () => void = () => undefined;

  constructor(session: SpdySession, id: number, headers: SpdyHeaders) {
    this.#session = session;
    this.id = id;
    this.headers = headers;
  }

  /** What the other end sent; undefined at the end of it, or of the connection. For one reader. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const part = this.#parts.shift();
      if (part !== undefined) {
        this.#session.taken(part.length);
        return part;
      }
      if (this.#received !== 'open') return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Whether it ended by a reset or with the connection, and not by a word of the other end. */
  get isReset(): boolean {
    return this.#received === 'reset';
  }

  /** Resolves when the other end takes more. Rejects when the stream is over. */
  async write(data: Uint8Array): Promise<void> {
    for (let start = 0; start < data.length; start += CHUNK_BYTES_MAX) {
      if (this.#sent !== 'open' || this.isReset) throw new Error('the stream is over');
      await this.#session.write(dataFrame(this.id, data.subarray(start, start + CHUNK_BYTES_MAX)));
    }
  }

  /** No more will be written. */
  async end(): Promise<void> {
    if (this.#sent === 'ended' || this.isReset) return;
    this.#sent = 'ended';
    await this.#session.write(dataFrame(this.id, new Uint8Array(0), true)).catch(() => undefined);
    if (this.#received !== 'open') this.#session.forget(this.id);
  }

  /** Tells the client that the stream is not wanted. */
  refuse(): void {
    this.#session.write(rstStream(this.id, RESET.refusedStream)).catch(() => undefined);
    this.reset();
  }

  receive(data: Uint8Array, fin: boolean): void {
    if (this.#received !== 'open') {
      this.#session.taken(data.length);
      return;
    }
    if (data.length > 0) this.#parts.push(data);
    if (fin) {
      this.#received = 'ended';
      if (this.#sent === 'ended') this.#session.forget(this.id);
    }
    this.#wake();
  }

  /** Nobody reads it any more: what waits and what still comes is dropped. */
  reset(): void {
    this.#drop();
    this.lost();
  }

  /** Nothing more comes and nothing can be sent; what waits may still be read. */
  lost(): void {
    this.#received = 'reset';
    this.#session.forget(this.id);
    this.#wake();
  }

  #drop(): void {
    const bytes = this.#parts.reduce((sum, part) => sum + part.length, 0);
    this.#parts.length = 0;
    this.#session.taken(bytes);
  }
}
