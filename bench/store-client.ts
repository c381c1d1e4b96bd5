/**
 * A bare HTTP/1.1 client for `bench/store.ts` and `bench/api.ts`: prepared requests on kept connections, and no more of the answer is read than
 * where it ends, so that what is measured is the server. The same for our store and for etcd.
 */
import { connect, type Socket } from 'node:net';

const HEAD_END = '\r\n\r\n';
const CHUNKS_END = '\r\n0\r\n\r\n';

export function requestBytes(port: number, path: string, body: string): Buffer {
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json`;
  return Buffer.from(`${head}\r\nContent-Length: ${Buffer.byteLength(body)}${HEAD_END}${body}`);
}

export class HttpConnection {
  readonly #socket: Socket;
  #answer: Buffer[] = [];
  #length = 0;
  /** Bytes of the whole answer; undefined until its head is there, -1 for chunks. */
  #wanted: number | undefined;
  #resolve: ((body: Buffer) => void) | undefined;
  #reject: ((error: Error) => void) | undefined;
  /** Set for a stream: gets everything that comes. */
  onData: ((data: Buffer) => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (data: Buffer) => {
      if (this.onData === undefined) this.#take(data);
      else this.onData(data);
    });
    socket.on('error', (error) => this.#reject?.(error));
    socket.on('close', () => this.#reject?.(new Error('the server closed the connection')));
  }

  static open(port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => resolve(new HttpConnection(socket)));
    });
  }

  /** Resolves with head and body. One request at a time. */
  send(request: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket.write(request);
    });
  }

  write(request: Uint8Array): void {
    this.#socket.write(request);
  }

  close(): void {
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#socket.destroy();
  }

  #take(data: Buffer): void {
    this.#answer.push(data);
    this.#length += data.length;
    if (this.#wanted === undefined) {
      const all = Buffer.concat(this.#answer);
      const end = all.indexOf(HEAD_END);
      if (end < 0) return;
      const head = all.toString('latin1', 0, end);
      if (!head.startsWith('HTTP/1.1 20')) {
        this.#reject?.(new Error(`the server answers ${all.toString('latin1', 0, 500)}`));
        return;
      }
      const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
      this.#wanted = length === undefined ? -1 : end + HEAD_END.length + Number(length);
    }
    const isWhole =
      this.#wanted === -1
        ? Buffer.concat(this.#answer.slice(-2)).toString('latin1').endsWith(CHUNKS_END)
        : this.#length >= this.#wanted;
    if (!isWhole) return;
    const whole = this.#answer.length === 1 ? data : Buffer.concat(this.#answer);
    this.#answer = [];
    this.#length = 0;
    this.#wanted = undefined;
    this.#resolve?.(whole);
  }
}

export interface LoadResult {
  /** Requests per second. */
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** `server`: a port on loopback, or how a connection is opened. `clients` connections, each with one request under way, for `seconds`. */
export async function load(
  server: number | (() => Promise<HttpConnection>),
  options: {
    readonly clients: number;
    readonly seconds: number;
    readonly next: (number: number) => Uint8Array;
  },
): Promise<LoadResult> {
  const { clients, seconds, next } = options;
  const connections = await Promise.all(
    Array.from({ length: clients }, () =>
      typeof server === 'number' ? HttpConnection.open(server) : server(),
    ),
  );
  const tookMs: number[] = [];
  let number = 0;
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  await Promise.all(
    connections.map(async (connection) => {
      for (let sentMs = performance.now(); sentMs < endMs; ) {
        await connection.send(next(number++));
        const nowMs = performance.now();
        tookMs.push(nowMs - sentMs);
        sentMs = nowMs;
      }
    }),
  );
  const elapsedMs = performance.now() - startMs;
  for (const connection of connections) connection.close();
  tookMs.sort((a, b) => a - b);
  const at = (share: number) => tookMs[Math.floor((tookMs.length - 1) * share)] ?? 0;
  return { rate: (tookMs.length * 1000) / elapsedMs, p50Ms: at(0.5), p99Ms: at(0.99) };
}
