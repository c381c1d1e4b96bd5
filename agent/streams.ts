/**
 * The streams to the master that are open now: a bounded number, all ended with the agent.
 */
import type { Logger } from 'pino';
import type { BoardCredentials } from '../protocol/messages.ts';
import { ApiError } from '../protocol/status.ts';
import type { StreamRequest } from '../protocol/stream-requests.ts';
import { type StreamSource, serveStream } from './link/streams.ts';

export interface StreamsOptions {
  readonly credentials: BoardCredentials;
  readonly log: Logger;
  readonly streamsMax: number;
  readonly open: StreamSource;
}

export class Streams {
  readonly #options: StreamsOptions;
  readonly #abort = new AbortController();
  #running = 0;

  constructor(options: StreamsOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  serve(request: StreamRequest): void {
    const { credentials, log, streamsMax } = this.#options;
    const isFull = this.#running >= streamsMax;
    const open: StreamSource = isFull
      ? async () => {
          const message = `this board serves ${streamsMax} streams already: end some of them`;
          throw new ApiError(429, 'TooManyRequests', message);
        }
      : this.#options.open;
    this.#running++;
    serveStream({ credentials, request, open, log, signal: this.#abort.signal })
      .catch((error: unknown) => log.warn({ err: error, stream: request.id }, 'stream failed'))
      .finally(() => {
        this.#running--;
      });
  }

  /** Ends them all. */
  stop(): void {
    this.#abort.abort();
  }
}
