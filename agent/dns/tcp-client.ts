/**
 * One client of the DNS server over TCP (RFC 7766): queries with a length before each, answered as they become known. A
 * client that says nothing, sends what is no query, or does not read its answers holds nothing but its connection.
 */
import type net from 'node:net';
import type { Send } from './responder.ts';

export interface TcpClientLimits {
  /** A connection without a query for so long is closed (RFC 7766, section 6.2.3). */
  readonly tcpIdleMs: number;
  /** Queries of one connection under way; the next ones are not read before. */
  readonly tcpPendingMax: number;
}

const LENGTH_OCTETS = 2;
const HEADER_OCTETS = 12;
/** A query is a header and one name; this leaves room for options. */
const QUERY_OCTETS_MAX = 4096;

export class TcpClient {
  readonly #socket: net.Socket;
  readonly #limits: TcpClientLimits;
  readonly #answer: (query: Buffer, send: Send) => void;
  #received: Buffer = Buffer.alloc(0);
  #pending = 0;
  #reading = false;

  constructor(
    socket: net.Socket,
    limits: TcpClientLimits,
    answer: (query: Buffer, send: Send) => void,
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#answer = answer;
    socket.on('error', () => socket.destroy());
    socket.setTimeout(limits.tcpIdleMs, () => socket.destroy());
    socket.on('drain', () => this.#read());
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#read();
    });
  }

  get #busy(): boolean {
    return this.#pending >= this.#limits.tcpPendingMax || this.#socket.writableNeedDrain;
  }

  #read(): void {
    // An answer that is known at once comes back while we are here.
    if (this.#reading) return;
    this.#reading = true;
    while (!this.#socket.destroyed && !this.#busy && this.#readOne());
    this.#reading = false;
    if (this.#busy) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Whether there was a whole query. */
  #readOne(): boolean {
    const received = this.#received;
    if (received.length < LENGTH_OCTETS) return false;
    const end = LENGTH_OCTETS + received.readUInt16BE(0);
    if (end < LENGTH_OCTETS + HEADER_OCTETS || end > LENGTH_OCTETS + QUERY_OCTETS_MAX) {
      this.#socket.destroy();
      return false;
    }
    if (received.length < end) return false;
    this.#received = received.subarray(end);
    this.#pending++;
    this.#answer(received.subarray(LENGTH_OCTETS, end), (reply) => {
      this.#pending--;
      if (this.#socket.destroyed) return;
      if (reply !== undefined) this.#write(reply);
      this.#read();
    });
    return true;
  }

  #write(reply: Buffer): void {
    const framed = Buffer.allocUnsafe(LENGTH_OCTETS + reply.length);
    framed.writeUInt16BE(reply.length);
    framed.set(reply, LENGTH_OCTETS);
    this.#socket.write(framed);
  }
}
