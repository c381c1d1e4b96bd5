/**
 * One stream that a board has opened, as the API reads and writes it. Back-pressure is StreamSocket's; the board's
 * failures become ApiErrors here.
 */
import { ApiError } from '../../protocol/status.ts';
import { type FrameSocket, StreamBroken, StreamSocket } from '../../protocol/stream-socket.ts';
import { CHANNEL, decodeFailure, type StreamFrame } from '../../protocol/streams.ts';
import type { PodStream } from '../api/streams/source.ts';

export class BoardStream implements PodStream {
  readonly #socket: StreamSocket;
  readonly #node: string;

  constructor(socket: FrameSocket, node: string) {
    this.#socket = new StreamSocket(socket);
    this.#node = node;
  }

  /** Resolves when the board could open what was asked; throws ApiError with why not. */
  async ready(): Promise<void> {
    const frame = await this.#next();
    if (frame?.channel === CHANNEL.ready) return;
    throw this.#broken(frame === undefined ? 'it ended at once' : UNKNOWN_FRAME);
  }

  async *frames(): AsyncGenerator<StreamFrame, void, undefined> {
    for (;;) {
      const frame = await this.#next();
      if (frame === undefined) return;
      switch (frame.channel) {
        case CHANNEL.stdout:
        case CHANNEL.stderr:
          yield frame;
          break;
        case CHANNEL.exit:
          yield frame;
          this.close();
          return;
        case CHANNEL.close:
          this.close();
          return;
        default:
          throw this.#broken(UNKNOWN_FRAME);
      }
    }
  }

  send(channel: number, data: Uint8Array): Promise<void> {
    return this.#socket.send(channel, data);
  }

  close(): void {
    this.#socket.terminate();
  }

  async #next(): Promise<StreamFrame | undefined> {
    const frame = await this.#socket.next().catch((error: unknown) => {
      throw error instanceof StreamBroken ? this.#broken(error.message) : error;
    });
    if (frame?.channel !== CHANNEL.error) return frame;
    const { code, reason, message } = decodeFailure(frame.data);
    throw new ApiError(code, reason, message);
  }

  #broken(why: string): ApiError {
    this.#socket.terminate();
    return new ApiError(502, 'BadGateway', `the stream of board "${this.#node}" broke: ${why}`);
  }
}

const UNKNOWN_FRAME = 'it sent a frame that no one understands';
