/**
 * One client connection of a service, from accept to close.
 *
 * Behaves as a direct connection does: half-close passes through in both directions, a reset is passed on as a
 * reset, a slow reader holds back only its own sender, and an idle connection stays open as long as both sides
 * want. A backend that refuses is skipped before a byte of the client was read, so nothing is lost.
 */
import type { RelayedSocket } from '../relay/relayed-socket.ts';
import type { End, EndOwner } from './end.ts';
import type { BufferPool } from './read-buffer.ts';
import { RelayedEnd } from './relayed-end.ts';
import type { Backend } from './service-table.ts';
import { TcpEnd } from './tcp-end.ts';
import type { TcpHandle } from './tcp-handle.ts';

/** A connection to a backend that is not reached directly; undefined for one that is. */
export type RelayTo = (backend: Backend) => RelayedSocket | undefined;

/** The same for all connections of a listener. */
export interface ForwardOptions {
  /** The next backend to try; undefined when there is none left. */
  readonly nextBackend: (client: TcpEnd, tried: ReadonlySet<Backend>) => Backend | undefined;
  readonly relay?: RelayTo | undefined;
  /** What a backend is told before the client's first byte. */
  readonly greeting: (client: TcpEnd) => Buffer | undefined;
  readonly keepAliveMs: number;
  readonly pool: BufferPool;
  /** A connection to this backend begins, ... */
  readonly onOpen: (backend: Backend) => void;
  /** ... did not come about, and the client had to wait for that, ... */
  readonly onSilent: (backend: Backend) => void;
  /** ... and is over, whether it was ever made or not. */
  readonly onClosed: (backend: Backend) => void;
  /** No backend took the connection; the client was reset. */
  readonly onRefused: (reason: string) => void;
  /** The client's end is closed. */
  readonly onDone: (connection: Connection) => void;
}

/** How often a connection is looked after within the time that a backend has to answer. */
export const LOOKS = 4;

const NONE: ReadonlySet<Backend> = new Set();

export class Connection implements EndOwner {
  readonly #options: ForwardOptions;
  readonly #client: TcpEnd;
  /** The one that is connecting, or that the client is joined with. */
  #upstream: End | undefined;
  #backend: Backend | undefined;
  #joined = false;
  #looks = 0;
  #tried: Set<Backend> | undefined;
  #reason = 'there is no backend';

  constructor(handle: TcpHandle, options: ForwardOptions) {
    this.#options = options;
    this.#client = new TcpEnd(this, options.pool, handle);
  }

  /** Looks for a backend. */
  begin(): void {
    const { nextBackend, onOpen, onRefused, pool, relay } = this.#options;
    const backend = nextBackend(this.#client, this.#tried ?? NONE);
    if (backend === undefined) {
      this.#client.reset();
      onRefused(this.#reason);
      return;
    }
    this.#backend = backend;
    onOpen(backend);
    this.#looks = 0;
    const relayed = relay?.(backend);
    if (relayed !== undefined) {
      this.#upstream = new RelayedEnd(this, relayed);
      return;
    }
    const upstream = new TcpEnd(this, pool);
    this.#upstream = upstream;
    upstream.connect(backend.ip, backend.port);
  }

  /**
   * What only a connection that lasts is worth: most are over before somebody looks. To be called `LOOKS` times within
   * the time that a backend has to answer, until it says true: then there is nothing more to look after.
   */
  lookAfter(): boolean {
    if (this.#joined) {
      this.#upstream?.keepAlive(Math.ceil(this.#options.keepAliveMs / 1000));
      return true;
    }
    this.#looks++;
    if (this.#looks > LOOKS) this.#tryAnother('a backend did not answer in time');
    return false;
  }

  /** Closes both ends. */
  close(): void {
    this.#client.close();
    this.#upstream?.close();
  }

  connected(upstream: End): void {
    this.#joined = true;
    this.#tried = undefined;
    upstream.join(this.#client);
    const greeting = this.#options.greeting(this.#client);
    if (greeting !== undefined) upstream.write(greeting);
    this.#client.join(upstream);
  }

  refused(_: End, reason: string): void {
    this.#tryAnother(reason);
  }

  ended(end: End): void {
    end.peer?.finish();
  }

  failed(end: End): void {
    end.close();
    end.peer?.reset();
  }

  closed(end: End): void {
    if (end === this.#client) this.#options.onDone(this);
    else if (this.#backend !== undefined) this.#options.onClosed(this.#backend);
  }

  #tryAnother(reason: string): void {
    this.#reason = reason;
    this.#upstream?.close();
    this.#tried ??= new Set();
    if (this.#backend !== undefined) {
      this.#tried.add(this.#backend);
      // The first look may have come at once, the second not.
      if (this.#looks > 1) this.#options.onSilent(this.#backend);
    }
    this.begin();
  }
}
