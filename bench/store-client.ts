/**
 * A bare HTTP/1.1 client for `bench/store.ts` and `bench/api.ts`: prepared requests on kept connections, and no more of the answer is read than
 * where it ends, so that what is measured is the server. The same for our store and for etcd.
 */
import { connect, type Socket } from 'node:net';

const HEAD_END = '\r\n\r\n';
const CHUNKS_END = '\r\n0\r\n\r\n';
/** What `#wanted` is while an answer comes in chunks. */
const CHUNKED = -1;

export function requestBytes(port: number, path: string, body: string): Buffer {
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json`;
  return Buffer.from(`${head}\r\nContent-Length: ${Buffer.byteLength(body)}${HEAD_END}${body}`);
}

interface Waiting {
  resolve(answer: Buffer): void;
  reject(error: Error): void;
}

export class HttpConnection {
  readonly #socket: Socket;
  #parts: Buffer[] = [];
  #length = 0;
  /** Bytes of the whole answer; undefined until its head is there. */
  #wanted: number | undefined;
  readonly #waiting: Waiting[] = [];
  /** Set for a stream: gets everything that comes. */
  onData: ((data: Buffer) => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (data: Buffer) => {
      if (this.onData === undefined) this.#take(data);
      else this.onData(data);
    });
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  static open(port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => resolve(new HttpConnection(socket)));
    });
  }

  /**
   * Resolves with head and body. Several may be under way (answers come in the order of the requests), but none behind one that
   * is answered in chunks. Rejects for any answer but 2xx.
   */
  send(request: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(request);
    });
  }

  write(request: Uint8Array): void {
    this.#socket.write(request);
  }

  close(): void {
    this.#waiting.length = 0;
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #take(data: Buffer): void {
    this.#parts.push(data);
    this.#length += data.length;
    while (this.#length > 0) {
      this.#wanted ??= this.#announced();
      if (this.#wanted === undefined) return;
      const isWhole =
        this.#wanted === CHUNKED
          ? Buffer.concat(this.#parts.slice(-2)).toString('latin1').endsWith(CHUNKS_END)
          : this.#length >= this.#wanted;
      if (!isWhole) return;
      const all = this.#joined();
      const end = this.#wanted === CHUNKED ? all.length : this.#wanted;
      this.#parts = end === all.length ? [] : [all.subarray(end)];
      this.#length = all.length - end;
      this.#wanted = undefined;
      this.#waiting.shift()?.resolve(all.subarray(0, end));
    }
  }

  /** Bytes of the answer that begins here, by its head; undefined when that is not whole yet. */
  #announced(): number | undefined {
    const all = this.#joined();
    const end = all.indexOf(HEAD_END);
    if (end < 0) return undefined;
    const head = all.toString('latin1', 0, end);
    if (!head.startsWith('HTTP/1.1 20')) {
      this.#fail(new Error(`the server answers ${all.toString('latin1', 0, 500)}`));
      this.#socket.destroy();
      return undefined;
    }
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    return length === undefined ? CHUNKED : end + HEAD_END.length + Number(length);
  }

  #joined(): Buffer {
    const [first] = this.#parts;
    if (first !== undefined && this.#parts.length === 1) return first;
    const all = Buffer.concat(this.#parts);
    this.#parts = [all];
    return all;
  }
}

export interface LoadResult {
  readonly requests: number;
  /** Requests per second. */
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface LoadOptions {
  readonly clients: number;
  /** Requests under way on each connection; 1 unless said. */
  readonly depth?: number;
  readonly seconds: number;
  readonly next: (number: number) => Uint8Array;
}

/** `server`: a port on loopback, or how a connection is opened. `clients` connections send for `seconds`. */
export async function load(
  server: number | (() => Promise<HttpConnection>),
  options: LoadOptions,
): Promise<LoadResult> {
  const { clients, depth = 1, seconds, next } = options;
  const connections = await Promise.all(
    Array.from({ length: clients }, () =>
      typeof server === 'number' ? HttpConnection.open(server) : server(),
    ),
  );
  const tookMs: number[] = [];
  let number = 0;
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  const sender = async (connection: HttpConnection): Promise<void> => {
    for (let sentMs = performance.now(); sentMs < endMs; ) {
      await connection.send(next(number++));
      const nowMs = performance.now();
      tookMs.push(nowMs - sentMs);
      sentMs = nowMs;
    }
  };
  await Promise.all(
    connections.flatMap((connection) => Array.from({ length: depth }, () => sender(connection))),
  );
  const elapsedMs = performance.now() - startMs;
  for (const connection of connections) connection.close();
  tookMs.sort((a, b) => a - b);
  const at = (share: number) => tookMs[Math.floor((tookMs.length - 1) * share)] ?? 0;
  const requests = tookMs.length;
  return { requests, rate: (requests * 1000) / elapsedMs, p50Ms: at(0.5), p99Ms: at(0.99) };
}
