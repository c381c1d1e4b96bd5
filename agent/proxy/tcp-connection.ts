/**
 * One client connection of a service, from accept to close.
 *
 * Behaves as a direct connection does: half-close passes through in both directions, a reset is passed on as a
 * reset, a slow reader holds back only its own sender, and an idle connection stays open as long as both sides
 * want. A backend that refuses is skipped before a byte of the client was read, so nothing is lost.
 */
import net from 'node:net';
import type { Accepted } from './accepted-socket.ts';
import { Pipe } from './pipe.ts';
import type { BufferPool } from './read-buffer.ts';
import type { Backend } from './service-table.ts';

/** The same for all connections of a listener. */
export interface ForwardOptions {
  /** The next backend to try; undefined when there is none left. */
  readonly nextBackend: (client: net.Socket, tried: ReadonlySet<Backend>) => Backend | undefined;
  /** What a backend is told before the client's first byte. */
  readonly greeting: (client: net.Socket) => Buffer | undefined;
  readonly keepAliveMs: number;
  readonly pool: BufferPool;
  /** A connection to this backend begins, ... */
  readonly onOpen: (backend: Backend) => void;
  /** ... and is over, whether it was ever made or not. */
  readonly onClosed: (backend: Backend) => void;
  /** No backend took the connection; the client was reset. */
  readonly onRefused: (reason: string) => void;
}

/** How often a connection is looked after within the time that a backend has to answer. */
export const LOOKS = 4;

const NONE: ReadonlySet<Backend> = new Set();

// A class and not closures within closures: there are thousands of them, and the bundler's `keepNames` makes each
// named closure dearer.
export class Connection {
  readonly #options: ForwardOptions;
  readonly #up: Pipe;
  readonly #down: Pipe;
  readonly client: net.Socket;
  /** The one that is connecting, or that the client is joined with. */
  #upstream: net.Socket | undefined;
  #joined = false;
  #looks = 0;
  #tried: Set<Backend> | undefined;
  #reason = 'there is no backend';

  constructor(accepted: Accepted, options: ForwardOptions) {
    this.#options = options;
    this.#up = new Pipe(options.pool);
    this.#down = new Pipe(options.pool);
    this.client = accepted(this.#up.onread);
    // Until a backend has it, a client that goes away is only noted.
    this.client.on('error', () => {
      if (this.#joined) this.#upstream?.resetAndDestroy();
    });
    this.client.on('end', () => finish(this.#upstream));
    this.client.on('close', () => {
      this.#up.release();
      if (this.#joined && this.#upstream?.writableEnded === false) this.#upstream.destroy();
    });
    this.#tryNext();
  }

  /**
   * What only a connection that lasts is worth: most are over before somebody looks. To be called `LOOKS` times within
   * the time that a backend has to answer, until it says true: then there is nothing more to look after.
   */
  lookAfter(): boolean {
    if (this.#joined) {
      this.#upstream?.setKeepAlive(true, this.#options.keepAliveMs);
      return true;
    }
    this.#looks++;
    if (this.#looks > LOOKS) this.#upstream?.destroy(new Error('a backend did not answer in time'));
    return this.client.destroyed;
  }

  #tryNext(): void {
    if (this.client.destroyed) return;
    const backend = this.#options.nextBackend(this.client, this.#tried ?? NONE);
    if (backend === undefined) {
      this.client.resetAndDestroy();
      this.#options.onRefused(this.#reason);
      return;
    }
    this.#connect(backend);
  }

  #connect(backend: Backend): void {
    const { onOpen, onClosed } = this.#options;
    onOpen(backend);
    const upstream = net.connect({
      host: backend.ip,
      port: backend.port,
      allowHalfOpen: true,
      noDelay: true,
      onread: this.#down.onread,
    });
    this.#upstream = upstream;
    this.#looks = 0;
    upstream.on('error', (error) => {
      if (this.#joined) {
        this.client.resetAndDestroy();
        return;
      }
      this.#reason = error.message;
      this.#tried = new Set([...(this.#tried ?? NONE), backend]);
      this.#tryNext();
    });
    upstream.on('connect', () => this.#join(upstream));
    upstream.on('end', () => finish(this.client));
    upstream.on('close', () => {
      onClosed(backend);
      if (!this.#joined || this.#upstream !== upstream) return;
      this.#down.release();
      if (!this.client.writableEnded) this.client.destroy();
    });
  }

  #join(upstream: net.Socket): void {
    const { client } = this;
    if (client.destroyed) {
      upstream.destroy();
      return;
    }
    this.#joined = true;
    this.#tried = undefined;
    this.#up.join(client, upstream);
    this.#down.join(upstream, client);
    const greeting = this.#options.greeting(client);
    if (greeting !== undefined) upstream.write(greeting);
    client.resume();
  }
}

/** The other side has said all. Where this one has, too, closing says it with one call instead of three. */
function finish(socket: net.Socket | undefined): void {
  if (socket?.readableEnded && socket.writableLength === 0) socket.destroy();
  else socket?.end();
}
