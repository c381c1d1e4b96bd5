/**
 * A watch over a WebSocket, for browsers and their servers (Kubernetes: WatchServer.HandleWS): one message per event, text for
 * JSON and binary for protobuf. What the client says is passed over. The one sub-protocol that it offers is agreed to.
 */
import type { Logger } from 'pino';
import type { WebSocket } from 'ws';
import { FRAME_HEAD_BYTES } from '../../../protocol/kinds/protobuf-encode.ts';
import type { EventBytes } from '../watch-events.ts';
import { serveWatch, type WatchRequest, type WatchSink } from '../watch-stream.ts';
import { protocolNames } from './channel-protocol.ts';
import { acceptSocket, type Upgrade } from './handshake.ts';

/** Throws what can still be answered with a Status. */
export async function watchOverSocket(
  upgrade: Upgrade,
  watch: WatchRequest,
  log: Logger,
): Promise<void> {
  const sink = new SocketSink(upgrade, watch);
  try {
    await serveWatch(watch, sink);
  } catch (error) {
    if (!sink.hasBegun) throw error;
    log.error({ err: error, url: upgrade.message.url }, 'a watch over a WebSocket failed');
  }
}

class SocketSink implements WatchSink {
  readonly #upgrade: Upgrade;
  readonly #binary: boolean;
  readonly #slowMs: number;
  #socket: WebSocket | undefined;

  constructor(upgrade: Upgrade, { form, limits }: WatchRequest) {
    this.#upgrade = upgrade;
    this.#binary = form.format === 'protobuf';
    this.#slowMs = limits.slowMs;
  }

  /** Since then nothing can be answered any more but with events. */
  get hasBegun(): boolean {
    return this.#socket !== undefined;
  }

  get isGone(): boolean {
    return this.#socket?.readyState !== 1;
  }

  async begin(ended: () => void): Promise<void> {
    const [protocol = ''] = protocolNames(this.#upgrade.message.headers['sec-websocket-protocol']);
    const socket = await acceptSocket(this.#upgrade, protocol);
    this.#socket = socket;
    socket.once('close', ended);
    // The close that follows says all there is to do.
    socket.on('error', () => undefined);
  }

  /** Waits until the last message is with the kernel: a slow client costs one batch. */
  send(events: readonly EventBytes[]): Promise<boolean> {
    const socket = this.#socket;
    if (socket === undefined || this.isGone) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(() => socket.terminate(), this.#slowMs);
      const binary = this.#binary;
      // A message has a length of its own.
      const from = binary ? FRAME_HEAD_BYTES : 0;
      const messages = events.map((parts) => wholeOf(parts).subarray(from));
      for (const message of messages.slice(0, -1)) socket.send(message, { binary });
      socket.send(messages.at(-1) ?? '', { binary }, (error) => {
        clearTimeout(timer);
        resolve(error === undefined || error === null);
      });
    });
  }

  end(): void {
    this.#socket?.close(NORMAL);
  }
}

/** RFC 6455, 7.4.1. */
const NORMAL = 1000;

/** Without a copy, if it is whole. */
function wholeOf(parts: EventBytes): Uint8Array {
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : Buffer.concat(parts);
}
