/**
 * The sockets of the DNS server: UDP and TCP on the cluster's DNS address.
 *
 * Promises: no input ends the process; connections are bounded; an address that is taken is told once and tried again.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { type Backoff, type BackoffLimits, growBackoff } from '../plan/backoff.ts';
import { MESSAGE_OCTETS_MAX } from './message.ts';
import type { Responder } from './responder.ts';
import { TcpClient, type TcpClientLimits } from './tcp-client.ts';

export interface DnsServerLimits extends TcpClientLimits {
  /** Open TCP connections; more are reset. */
  readonly tcpConnectionsMax: number;
  /** Waits before an address that was taken is tried again. */
  readonly listenRetry: BackoffLimits;
}

type Transport = 'UDP' | 'TCP';

export interface DnsServerOptions {
  readonly ip: string;
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: DnsServerLimits;
  readonly responder: Responder;
  /** The address cannot be listened on. Called once until it can. */
  readonly onProblem: (error: NodeJS.ErrnoException, transport: Transport) => void;
}

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #clients = new Set<net.Socket>();
  readonly #retries = new Map<Transport, { backoff: Backoff; timer: NodeJS.Timeout }>();
  readonly #listening = new Set<Transport>();
  #udp: dgram.Socket | undefined;
  #tcp: net.Server | undefined;
  #stopped = false;

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#openUdp();
    this.#openTcp();
  }

  get listening(): boolean {
    return this.#listening.size === 2;
  }

  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#retries.values()) clearTimeout(timer);
    this.#udp?.close();
    // What is answered from now on has nobody to go to.
    this.#udp = undefined;
    this.#tcp?.close();
    for (const client of this.#clients) client.destroy();
  }

  #openUdp(): void {
    const { ip, port, responder } = this.#options;
    const socket = dgram.createSocket({
      type: 'udp4',
      // Lets our address be had beside a server that took all of them and allows it (dnsmasq, Pi-hole).
      reuseAddr: true,
      // Addresses are numbers already: no look-up, and no turn of the event loop for it.
      lookup: (host, _options, done) => done(null, host, 4),
    });
    this.#udp = socket;
    socket.on('message', (bytes, { address, port: clientPort }) => {
      responder.answer(bytes, address, undefined, (reply) => {
        if (reply === undefined || this.#udp !== socket) return;
        // A client that has gone is no error of ours.
        socket.send(reply, clientPort, address, ignore);
      });
    });
    socket.on('error', (error) => {
      this.#failed('UDP', error, () => {
        this.#udp = undefined;
        socket.close();
        return () => this.#openUdp();
      });
    });
    socket.bind({ address: ip, port }, () => this.#opened('UDP'));
  }

  #openTcp(): void {
    const { ip, port } = this.#options;
    const server = net.createServer({ noDelay: true }, (client) => this.#accept(client));
    this.#tcp = server;
    server.on('error', (error) => {
      this.#failed('TCP', error, () => {
        server.close();
        return () => this.#openTcp();
      });
    });
    server.listen({ host: ip, port }, () => this.#opened('TCP'));
  }

  #opened(transport: Transport): void {
    this.#listening.add(transport);
    this.#retries.delete(transport);
    const { ip, port, log } = this.#options;
    log.info({ ip, port, transport }, 'names of the cluster are served');
  }

  /** `close` lets go of the socket and returns what opens the next one. */
  #failed(transport: Transport, error: NodeJS.ErrnoException, close: () => () => void): void {
    const { limits, clock, onProblem, log } = this.#options;
    if (this.#listening.has(transport)) {
      log.warn({ err: error, transport }, 'DNS socket failed; going on with it');
      return;
    }
    const open = close();
    if (this.#stopped) return;
    const known = this.#retries.get(transport);
    const backoff = growBackoff(known?.backoff, limits.listenRetry, clock.monotonicMs());
    this.#retries.set(transport, { backoff, timer: setTimeout(open, backoff.delayMs) });
    if (known === undefined) onProblem(error, transport);
  }

  #accept(socket: net.Socket): void {
    const { limits, responder } = this.#options;
    if (this.#clients.size >= limits.tcpConnectionsMax) {
      socket.resetAndDestroy();
      return;
    }
    const address = socket.remoteAddress ?? '';
    this.#clients.add(socket);
    socket.on('close', () => this.#clients.delete(socket));
    new TcpClient(socket, limits, (query, send) =>
      responder.answer(query, address, MESSAGE_OCTETS_MAX, send),
    );
  }
}

function ignore(): void {}
