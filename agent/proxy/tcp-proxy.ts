/**
 * Listens for the services of the cluster on this board and forwards their connections in userspace.
 *
 * Promises: a changed endpoint counts for the next connection, open connections finish; a port that cannot be
 * listened on is told once, tried again, and never ends the process; connections and buffers are bounded.
 */
import net from 'node:net';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { type Backoff, type BackoffLimits, growBackoff } from '../plan/backoff.ts';
import { onAccepted, socketOf } from './accept.ts';
import type { Balancer } from './balancer.ts';
import { listenProblem } from './listen-problem.ts';
import { proxyHeader } from './proxy-header.ts';
import { BufferPool } from './read-buffer.ts';
import type { ListenerSpec, ServiceProblem } from './service-table.ts';
import { isLetIn, plainIp } from './source-ranges.ts';
import { Connection, type ForwardOptions, LOOKS } from './tcp-connection.ts';
import type { TcpEnd } from './tcp-end.ts';
import type { TcpHandle } from './tcp-handle.ts';

export interface ProxyLimits {
  /** Client connections of the board; more are reset. */
  readonly connectionsMax: number;
  /** For buffers of busy connections, all together. */
  readonly bufferBytesMax: number;
  readonly connectTimeoutMs: number;
  readonly keepAliveMs: number;
  /** Waits before a port that was taken is tried again. */
  readonly listenRetry: BackoffLimits;
}

export interface TcpProxyOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: ProxyLimits;
  readonly balancer: Balancer;
  readonly onProblem: (problem: ServiceProblem) => void;
  /** For backends that are not reached directly. */
  readonly relay?: ForwardOptions['relay'];
  /** A client of a port on which the agent itself is the web server. */
  readonly onWeb: (client: net.Socket, web: NonNullable<ListenerSpec['web']>) => void;
}

/** One socket. When a port is wanted on all addresses, nobody else can have it on one: then it serves those too. */
interface Listener {
  /** By the address that the client came to; "*" for any. */
  specs: ReadonlyMap<string, ListenerSpec>;
  readonly host: string;
  readonly port: number;
  server: net.Server | undefined;
  retry: NodeJS.Timeout | undefined;
  backoff: Backoff | undefined;
  /** The listener is not wanted any more. */
  closed: boolean;
}

export class TcpProxy {
  readonly #options: TcpProxyOptions;
  readonly #listeners = new Map<string, Listener>();
  readonly #connections = new Set<{ readonly close: () => void }>();
  /** Those that have to be looked after; one timer for all, and none while there is none. */
  readonly #young = new Set<Connection>();
  #looking: NodeJS.Timeout | undefined;
  readonly #pool: BufferPool;
  #full = false;

  constructor(options: TcpProxyOptions) {
    this.#options = options;
    this.#pool = new BufferPool(options.limits.bufferBytesMax);
  }

  /** Client connections that are open now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Follows the table: opens, changes and closes listeners. Open connections go on. */
  update(specs: ReadonlyMap<string, ListenerSpec>): void {
    const wanted = socketsFor([...specs.values()]);
    for (const [key, listener] of this.#listeners) {
      if (!wanted.has(key)) this.#close(key, listener);
    }
    for (const [key, { host, port, specs: own }] of wanted) {
      const known = this.#listeners.get(key);
      if (known !== undefined) {
        known.specs = own;
        continue;
      }
      const listener: Listener = {
        specs: own,
        host,
        port,
        server: undefined,
        retry: undefined,
        backoff: undefined,
        closed: false,
      };
      this.#listeners.set(key, listener);
      this.#listen(listener, { host, port });
    }
  }

  /** Whether every wanted listener listens. */
  get settled(): boolean {
    return [...this.#listeners.values()].every(({ server }) => server?.listening === true);
  }

  /** Closes the listeners and the connections. */
  stop(): void {
    for (const [key, listener] of this.#listeners) this.#close(key, listener);
    clearTimeout(this.#looking);
    for (const connection of this.#connections) connection.close();
  }

  #listen(listener: Listener, address: { readonly port: number; readonly host: string }): void {
    const server = net.createServer();
    listener.server = server;
    const forwarding = this.#forwarding(listener);
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (server.listening) {
        this.#options.log.warn({ err: error, ...address }, 'listener of a service failed');
        return;
      }
      server.close();
      if (listener.closed) return;
      // A board without IPv6 has no address "::".
      if (
        address.host === ALL &&
        (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')
      ) {
        this.#listen(listener, { ...address, host: '0.0.0.0' });
      } else {
        void this.#listenFailed(listener, error);
      }
    });
    server.on('listening', () => {
      onAccepted(server, forwarding.keepAliveMs, (handle) =>
        this.#accept(listener, forwarding, handle),
      );
      listener.backoff = undefined;
      this.#options.log.debug(address, 'service is listened for');
    });
    server.listen({ ...address, backlog: 4096 });
  }

  async #listenFailed(listener: Listener, error: NodeJS.ErrnoException): Promise<void> {
    const { log, clock, limits, onProblem } = this.#options;
    const { host, port } = listener;
    const first = listener.backoff === undefined;
    listener.backoff = growBackoff(listener.backoff, limits.listenRetry, clock.monotonicMs());
    listener.retry = setTimeout(
      () => this.#listen(listener, { host, port }),
      listener.backoff.delayMs,
    );
    for (const spec of [...listener.specs.values()]) {
      // Of those that share a web server one may be new and not know yet.
      if (!first && spec.web === undefined) continue;
      const problem = await listenProblem(spec, 'TCP', error);
      const { service, message: reason } = problem;
      if (first) log.warn({ service, host, port, reason }, 'service cannot be listened for');
      onProblem(problem);
    }
  }

  #close(key: string, listener: Listener): void {
    listener.closed = true;
    clearTimeout(listener.retry);
    // Stops accepting; connections that are open go on.
    listener.server?.close();
    this.#listeners.delete(key);
  }

  #accept(listener: Listener, forwarding: ForwardOptions, handle: TcpHandle): void {
    const { limits, log, onWeb } = this.#options;
    if (this.#connections.size >= limits.connectionsMax) {
      if (!this.#full) log.warn({ limit: limits.connectionsMax }, 'connections are refused');
      this.#full = true;
      handle.reset();
      return;
    }
    this.#full = false;
    const [{ web } = {}] = listener.specs.values();
    if (web !== undefined) {
      const client = socketOf(handle);
      const connection = { close: () => client.destroy() };
      this.#connections.add(connection);
      client.on('close', () => this.#connections.delete(connection));
      onWeb(client, web);
      return;
    }
    const connection = new Connection(handle, forwarding);
    this.#connections.add(connection);
    this.#young.add(connection);
    connection.begin();
    if (this.#looking === undefined) this.#lookLater();
  }

  #lookLater(): void {
    this.#looking = setTimeout(() => {
      this.#looking = undefined;
      for (const one of this.#young) if (one.lookAfter()) this.#young.delete(one);
      if (this.#young.size > 0) this.#lookLater();
    }, this.#options.limits.connectTimeoutMs / LOOKS);
  }

  #forwarding(listener: Listener): ForwardOptions {
    const { limits, log, balancer, relay } = this.#options;
    return {
      relay,
      // Endpoints may change while backends are tried: the newest count.
      nextBackend: (client, tried) => {
        const spec = specFor(listener.specs, client);
        if (spec === undefined) return undefined;
        const { sourceRanges } = spec;
        if (sourceRanges !== undefined && !isLetIn(sourceRanges, ipOf(client))) return undefined;
        return balancer.choose(spec, tried, spec.affinity === undefined ? '' : ipOf(client));
      },
      greeting: (client) => {
        const version = specFor(listener.specs, client)?.proxyProtocol;
        if (version === undefined) return undefined;
        const { remote, local } = client;
        return proxyHeader(version, {
          ...{ remoteAddress: remote.address, remotePort: remote.port },
          ...{ localAddress: local.address, localPort: local.port },
        });
      },
      keepAliveMs: limits.keepAliveMs,
      pool: this.#pool,
      onOpen: (backend) => balancer.count(backend, 1),
      onSilent: (backend) => balancer.wasSilent(backend),
      onClosed: (backend) => balancer.count(backend, -1),
      onRefused: (reason) => {
        log.debug({ port: listener.port, reason }, 'no backend took the connection');
      },
      onDone: (connection) => {
        this.#connections.delete(connection);
        this.#young.delete(connection);
      },
    };
  }
}

const ALL = '::';

interface Socket {
  readonly host: string;
  readonly port: number;
  readonly specs: Map<string, ListenerSpec>;
}

/** The sockets that serve all `specs`: a port that is wanted on every address is one socket. Pure. */
export function socketsFor(specs: readonly ListenerSpec[]): Map<string, Socket> {
  const everywhere = new Set(specs.filter(({ ip }) => ip === undefined).map(({ port }) => port));
  const sockets = new Map<string, Socket>();
  for (const spec of specs) {
    const { ip, port } = spec;
    const host = everywhere.has(port) ? ALL : (ip ?? ALL);
    const key = `${host} ${port}`;
    const socket = sockets.get(key) ?? { host, port, specs: new Map<string, ListenerSpec>() };
    socket.specs.set(ip ?? '*', spec);
    sockets.set(key, socket);
  }
  return sockets;
}

/** By the address that the client came to; asked of the kernel only where it matters. */
function specFor(
  specs: ReadonlyMap<string, ListenerSpec>,
  client: TcpEnd,
): ListenerSpec | undefined {
  if (specs.size <= 1) return specs.values().next().value;
  return specs.get(plainIp(client.local.address)) ?? specs.get('*');
}

function ipOf(client: TcpEnd): string {
  return plainIp(client.remote.address);
}
