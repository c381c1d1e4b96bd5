/**
 * A client of exec or attach on a WebSocket with Kubernetes' channels: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize, and
 * in v5 255 for the end of a channel.
 *
 * Promises: reads from the socket only while its input is taken (at most WAITING_BYTES_MAX and one read wait here); one
 * message in flight towards it.
 */
import type { WebSocket } from 'ws';
import type { Status } from '../../../protocol/status.ts';
import type { TerminalSize } from '../../../protocol/streams.ts';
import { type ChannelProtocol, decodeChannel, encodeChannel } from './channel-protocol.ts';
import type { ClientInput, RemoteClient } from './remote-client.ts';
import { WebSocketReader } from './web-socket-reader.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;
const CLOSE = 255;
const NOTHING = new Uint8Array(0);

export class ChannelClient implements RemoteClient {
  readonly #socket: WebSocket;
  readonly #protocol: ChannelProtocol;
  readonly #reader: WebSocketReader;

  constructor(socket: WebSocket, protocol: ChannelProtocol) {
    this.#socket = socket;
    this.#protocol = protocol;
    this.#reader = new WebSocketReader(socket);
  }

  /** Clients take the first, empty message of the lowest channel as "connected". */
  greet({ stdout, stderr }: { readonly stdout: boolean; readonly stderr: boolean }): Promise<void> {
    return this.#send(stdout ? STDOUT : stderr ? STDERR : ERROR, NOTHING);
  }

  async next(): Promise<ClientInput | undefined> {
    for (;;) {
      const message = await this.#reader.next();
      if (message === undefined) return undefined;
      const input = this.#inputOf(message);
      if (input !== undefined) return input;
    }
  }

  write(stream: 'stdout' | 'stderr', data: Uint8Array): Promise<void> {
    return this.#send(stream === 'stdout' ? STDOUT : STDERR, data);
  }

  async finish(status: Status): Promise<void> {
    const text = this.#protocol.hasStatus
      ? JSON.stringify(status)
      : status.status === 'Success'
        ? ''
        : (status.message ?? 'failed');
    if (text !== '') await this.#send(ERROR, Buffer.from(text));
    await this.#reader.close();
  }

  destroy(): void {
    this.#reader.destroy();
  }

  /** Undefined for what means nothing to us, as another channel: ignored, as Kubernetes does. */
  #inputOf(message: Uint8Array): ClientInput | undefined {
    const decoded = decodeChannel(this.#protocol, message);
    switch (decoded?.channel) {
      case STDIN:
        return { type: 'stdin', data: decoded.data };
      case RESIZE: {
        const size = parseSize(decoded.data);
        return size === undefined ? undefined : { type: 'resize', size };
      }
      case CLOSE:
        return this.#protocol.hasClose && decoded.data[0] === STDIN
          ? { type: 'stdinEnd' }
          : undefined;
      default:
        return undefined;
    }
  }

  #send(channel: number, data: Uint8Array): Promise<void> {
    const message = encodeChannel(this.#protocol, channel, data);
    return new Promise((resolve, reject) => {
      this.#socket.send(message, (error) => (error ? reject(error) : resolve()));
    });
  }
}

/** `{"Width":80,"Height":24}`, as clients send it; undefined for anything else. */
export function parseSize(data: Uint8Array): TerminalSize | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(data).toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { Width: columns, Height: rows } = value as { Width?: unknown; Height?: unknown };
  return isCells(columns) && isCells(rows) ? { columns, rows } : undefined;
}

function isCells(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) <= 0xffff;
}
