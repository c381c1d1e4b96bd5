/**
 * Streams into pods (logs, exec, attach, port-forward): asks the pod's board over MQTT to dial back with a WebSocket, and
 * hands it to the API. The master never connects to a board, and a board opens no port.
 *
 * Promises: an id is random, is good for one dial, and only for the board that was asked (by its certificate);
 * dials and streams are bounded; a board that does not dial in time is an error that says so; the end of
 * the client ends the stream on the board.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import type { WebSocketServer } from 'ws';
import { encodeMessage } from '../../protocol/codec.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import { MESSAGE_VERSION } from '../../protocol/messages.ts';
import { ApiError } from '../../protocol/status.ts';
import { StreamRequest } from '../../protocol/stream-requests.ts';
import { CHANNEL, STREAM_FRAME_BYTES_MAX, STREAM_PATH } from '../../protocol/streams.ts';
import { nodeTopics } from '../../protocol/topics.ts';
import type { User } from '../api/client.ts';
import type { LogOptions, LogSource } from '../api/pod-log.ts';
import type {
  NodeRequest,
  NodeSource,
  PodStreamRequest,
  StreamSource,
} from '../api/streams/source.ts';
import type { Bus } from '../broker/bus.ts';
import { nodeOf } from '../broker/permissions.ts';
import type { Timers } from '../informer/timers.ts';
import { BoardStream } from './board-stream.ts';

export interface StreamsOptions {
  readonly bus: Bus;
  readonly timers: Timers;
  readonly log: Logger;
  readonly isConnected: (node: string) => boolean;
}

/** Until the board has opened what was asked: an exec on a busy Pi takes seconds. */
const OPEN_TIMEOUT_MS = 30_000;
const STREAMS_MAX = 256;
/** A board that vanished without a word is noticed after about this time and ten probes. */
const KEEP_ALIVE_MS = 60_000;

/** What is wanted of a board, without what this file adds. */
type Wanted =
  | ({ readonly podUid: string } & (({ readonly type: 'logs' } & LogOptions) | PodStreamRequest))
  | NodeRequest;

interface PendingDial {
  readonly node: string;
  readonly settle: (result: BoardStream | ApiError) => void;
}

export class BoardStreams implements LogSource, StreamSource, NodeSource {
  readonly #options: StreamsOptions;
  readonly #pending = new Map<string, PendingDial>();
  readonly #streams = new Set<BoardStream>();
  #server: Promise<WebSocketServer> | undefined;

  constructor(options: StreamsOptions) {
    this.#options = options;
  }

  async open(
    pod: Pod,
    options: LogOptions,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const podUid = pod.metadata?.uid ?? '';
    return logBytes(
      await this.#open(nodeNameOf(pod), { podUid, type: 'logs', ...options }, signal),
    );
  }

  openStream(pod: Pod, request: PodStreamRequest, signal: AbortSignal): Promise<BoardStream> {
    const podUid = pod.metadata?.uid ?? '';
    return this.#open(nodeNameOf(pod), { podUid, ...request }, signal);
  }

  openNode(node: string, request: NodeRequest, signal: AbortSignal): Promise<BoardStream> {
    return this.#open(node, request, signal);
  }

  /** For the API server's upgrades below STREAM_PATH. The socket belongs to us from here on. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, user: User): void {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const id = path.slice(STREAM_PATH.length);
    const pending = this.#pending.get(id);
    const node = nodeOf({ CN: user.name, O: [...user.groups] });
    // One answer for a wrong id and for another board's id: nobody learns which ids exist.
    if (pending === undefined || node !== pending.node) {
      this.#options.log.warn({ user: user.name }, 'a stream was dialled that nobody asked for');
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    // Taken before anything asynchronous: the id is good for one dial.
    this.#pending.delete(id);
    if (socket instanceof TLSSocket) socket.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#accept(request, socket, head, pending).catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      socket.destroy();
      pending.settle(new ApiError(502, 'BadGateway', `the stream could not be opened: ${message}`));
    });
  }

  stop(): void {
    const error = new ApiError(503, 'ServiceUnavailable', 'the master is shutting down');
    for (const { settle } of [...this.#pending.values()]) settle(error);
    for (const stream of this.#streams) stream.close();
  }

  async #open(node: string, wanted: Wanted, signal: AbortSignal): Promise<BoardStream> {
    if (!this.#options.isConnected(node)) {
      const message = `board "${node}" is not connected: it can be reached when it is back`;
      throw new ApiError(503, 'ServiceUnavailable', message);
    }
    if (this.#pending.size + this.#streams.size >= STREAMS_MAX) {
      const message = `more than ${STREAMS_MAX} streams into pods are open`;
      throw new ApiError(429, 'TooManyRequests', message);
    }
    const id = randomBytes(16).toString('hex');
    const dialled = this.#expect(id, node, signal);
    // Awaited below, after the message is out.
    dialled.catch(() => undefined);
    const request: StreamRequest = { v: MESSAGE_VERSION, id, ...wanted };
    await this.#options.bus.publish(
      nodeTopics(node).request,
      encodeMessage(StreamRequest, request),
      { retain: false },
    );
    return dialled;
  }

  #expect(id: string, node: string, signal: AbortSignal): Promise<BoardStream> {
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (result: BoardStream | ApiError): void => {
        if (settled) {
          // It came too late, or the client has gone meanwhile.
          if (result instanceof BoardStream) result.close();
          return;
        }
        settled = true;
        cancelTimer();
        signal.removeEventListener('abort', abort);
        this.#pending.delete(id);
        if (result instanceof ApiError) {
          reject(result);
          return;
        }
        const close = (): void => result.close();
        signal.addEventListener('abort', close, { once: true });
        if (signal.aborted) close();
        resolve(result);
      };
      const abort = (): void => settle(new ApiError(499, 'Canceled', 'the client went away'));
      const cancelTimer = this.#options.timers.after(OPEN_TIMEOUT_MS, () => {
        const seconds = OPEN_TIMEOUT_MS / 1_000;
        const text = `board "${node}" did not open the stream within ${seconds} s: is it overloaded?`;
        settle(new ApiError(504, 'Timeout', text));
      });
      signal.addEventListener('abort', abort, { once: true });
      this.#pending.set(id, { node, settle });
      if (signal.aborted) abort();
    });
  }

  async #accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    { node, settle }: PendingDial,
  ): Promise<void> {
    const server = await this.#webSockets();
    server.handleUpgrade(request, socket, head, (webSocket) => {
      const stream = new BoardStream(webSocket, node);
      this.#streams.add(stream);
      webSocket.on('close', () => this.#streams.delete(stream));
      stream.ready().then(
        () => settle(stream),
        (error: unknown) => {
          stream.close();
          const message = error instanceof Error ? error.message : String(error);
          settle(error instanceof ApiError ? error : new ApiError(502, 'BadGateway', message));
        },
      );
    });
  }

  #webSockets(): Promise<WebSocketServer> {
    // Loaded with the first stream that anybody wants.
    this.#server ??= import('ws').then(
      (ws) =>
        new ws.WebSocketServer({
          noServer: true,
          perMessageDeflate: false,
          maxPayload: STREAM_FRAME_BYTES_MAX + 1,
        }),
    );
    return this.#server;
  }
}

function nodeNameOf(pod: Pod): string {
  return pod.spec?.nodeName ?? '';
}

/** The end of the reader ends the stream. */
async function* logBytes(stream: BoardStream): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const { channel, data } of stream.frames()) {
      if (channel === CHANNEL.stdout) yield data;
    }
  } finally {
    stream.close();
  }
}
