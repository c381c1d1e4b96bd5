/**
 * Port-forward: one stream into the pod per connection that the client has accepted.
 *
 * Over SPDY (raw, or tunnelled in a WebSocket: KEP 4006) a client opens two streams per connection, with the headers
 * `streamtype` error or data, `port`, and `requestid` to tell which belong together. What goes wrong is written to the
 * error stream as text. The older WebSocket form has the ports in the query: channel 2i is the data, 2i+1 the error of port
 * i, and each begins with the port, 16 bits, little-endian.
 */
import type { WebSocket } from 'ws';
import type { SpdySession, SpdyStream } from '../../../protocol/spdy/session.ts';
import { CHANNEL } from '../../../protocol/streams.ts';
import { type ChannelProtocol, decodeChannel, encodeChannel } from './channel-protocol.ts';
import { parsePort } from './options.ts';
import type { PodStream } from './source.ts';
import { WebSocketReader } from './web-socket-reader.ts';

/** Opens a connection to a port of the pod. Throws ApiError. */
export type OpenPort = (port: number) => Promise<PodStream>;

const PORT_PROTOCOL_END = new Uint8Array([CHANNEL.stdin]);
const PAIR_TIMEOUT_MS = 30_000;

/** What is joined with a connection of a pod, whichever way it came. */
interface ClientConnection {
  /** Undefined at the end of what the client sends. */
  next(): Promise<Uint8Array | undefined>;
  write(data: Uint8Array): Promise<void>;
}

/** Resolves when the pod has closed the connection or the client is gone. Throws ApiError when it broke. */
async function joinConnection(client: ClientConnection, pod: PodStream): Promise<void> {
  const input = (async () => {
    for (;;) {
      const data = await client.next();
      if (data === undefined) break;
      await pod.send(CHANNEL.stdin, data);
    }
    await pod.send(CHANNEL.close, PORT_PROTOCOL_END);
  })();
  // When the pod's side is over, its output tells.
  input.catch(() => undefined);
  try {
    for await (const { data } of pod.frames()) await client.write(data);
  } finally {
    pod.close();
  }
}

/** Serves the connections of a session until the client closes it. */
export async function forwardOverSpdy(session: SpdySession, open: OpenPort): Promise<void> {
  const halves = new Map<string, SpdyStream>();
  for (;;) {
    const stream = await session.next();
    if (stream === undefined) return;
    const pair = pairOf(stream, halves);
    if (pair === 'wrong') stream.refuse();
    else if (pair !== undefined) void forwardPair(pair, open);
    else dropLonely(stream, halves);
  }
}

interface StreamPair {
  readonly error: SpdyStream;
  readonly data: SpdyStream;
}

/** Undefined when the other half is still to come. */
function pairOf(
  stream: SpdyStream,
  halves: Map<string, SpdyStream>,
): StreamPair | 'wrong' | undefined {
  const type = stream.headers.get('streamtype');
  if (type !== 'error' && type !== 'data') return 'wrong';
  const key = connectionKey(stream, type);
  const other = halves.get(key);
  if (other === undefined) {
    halves.set(key, stream);
    return undefined;
  }
  if (other.headers.get('streamtype') === type) return 'wrong';
  halves.delete(key);
  return type === 'data' ? { data: stream, error: other } : { data: other, error: stream };
}

/** Clients before Kubernetes 1.5 send no request id: their data stream follows the error stream. */
function connectionKey(stream: SpdyStream, type: 'error' | 'data'): string {
  const id = stream.headers.get('requestid') ?? '';
  if (id !== '') return id;
  return `stream ${type === 'error' ? stream.id : stream.id - 2}`;
}

function dropLonely(stream: SpdyStream, halves: Map<string, SpdyStream>): void {
  setTimeout(() => {
    for (const [key, half] of halves) {
      if (half !== stream) continue;
      halves.delete(key);
      stream.refuse();
    }
  }, PAIR_TIMEOUT_MS).unref();
}

async function forwardPair({ data, error }: StreamPair, open: OpenPort): Promise<void> {
  const text = data.headers.get('port') ?? '';
  const port = parsePort(text);
  try {
    if (port === undefined) throw new Error(`"${text}" is no port`);
    const pod = await open(port);
    if (data.isReset) pod.close();
    else await joinConnection(leavingClient(data, pod), pod);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    // The client may be gone as well.
    await error.write(Buffer.from(`error forwarding port ${text}: ${why}`)).catch(() => undefined);
  }
  await error.end();
  await data.end();
  // What the client still sends on a connection that is over is dropped.
  error.reset();
  data.reset();
}

/** A client that resets its stream leaves the pod at once, and does not only end what it sends. */
function leavingClient(stream: SpdyStream, pod: PodStream): ClientConnection {
  return {
    next: async () => {
      const data = await stream.next();
      if (data === undefined && stream.isReset) pod.close();
      return data;
    },
    write: (data) => stream.write(data),
  };
}

/** The older form; one connection per port, over when all of them are. */
export async function forwardOverChannels(
  socket: WebSocket,
  protocol: ChannelProtocol,
  ports: readonly number[],
  open: OpenPort,
): Promise<void> {
  const reader = new WebSocketReader(socket);
  const send = (channel: number, data: Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => {
      const message = encodeChannel(protocol, channel, data);
      socket.send(message, (error) => (error ? reject(error) : resolve()));
    });
  const lanes = ports.map((port, index) => new Lane(port, index, send));
  const running = Promise.all(lanes.map((lane) => lane.run(open))).then(() => reader.close());
  for (;;) {
    const message = await reader.next();
    if (message === undefined) break;
    const decoded = decodeChannel(protocol, message);
    if (decoded === undefined || decoded.channel % 2 === 1) continue;
    await lanes[decoded.channel / 2]?.give(decoded.data);
  }
  for (const lane of lanes) lane.leave();
  await running;
}

/** One port of the older form. */
class Lane implements ClientConnection {
  readonly #port: number;
  readonly #dataChannel: number;
  readonly #send: (channel: number, data: Uint8Array) => Promise<void>;
  #waiting: Uint8Array | undefined;
  #over = false;
  #pod: PodStream | undefined;
  #wake: () => void = () => undefined;
  #taken: () => void = () => undefined;

  constructor(
    port: number,
    index: number,
    send: (channel: number, data: Uint8Array) => Promise<void>,
  ) {
    this.#port = port;
    this.#dataChannel = index * 2;
    this.#send = send;
  }

  /** Never rejects: failures go to the error channel. */
  async run(open: OpenPort): Promise<void> {
    const head = Buffer.alloc(2);
    head.writeUInt16LE(this.#port);
    try {
      await this.#send(this.#dataChannel, head);
      await this.#send(this.#dataChannel + 1, head);
      this.#pod = await open(this.#port);
      if (this.#over) this.#pod.close();
      else await joinConnection(this, this.#pod);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const text = Buffer.from(`error forwarding port ${this.#port}: ${why}`);
      await this.#send(this.#dataChannel + 1, text).catch(() => undefined);
    }
    this.leave();
  }

  /** Resolves when it was taken. */
  async give(data: Uint8Array): Promise<void> {
    if (this.#over) return;
    this.#waiting = data;
    this.#wake();
    await new Promise<void>((resolve) => {
      this.#taken = resolve;
    });
  }

  async next(): Promise<Uint8Array | undefined> {
    while (this.#waiting === undefined) {
      if (this.#over) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const data = this.#waiting;
    this.#waiting = undefined;
    this.#taken();
    return data;
  }

  write(data: Uint8Array): Promise<void> {
    return this.#send(this.#dataChannel, data);
  }

  leave(): void {
    this.#over = true;
    this.#pod?.close();
    this.#wake();
    this.#taken();
  }
}
