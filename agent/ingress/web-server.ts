/**
 * The web server of a board that serves Ingresses. Sockets come from the service proxy, which listens; here they become HTTP, with
 * TLS or without.
 *
 * Promises: malformed input gets an error and never ends the process (Node's strict parser decides, and what it took is framed
 * anew); connections, headers and waiting are bounded; an endpoint, a rule or a certificate that changed counts
 * for the next request or handshake.
 */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { DesiredIngress } from '../../protocol/ingress.ts';
import type { ConfigLookup } from '../plan/environment.ts';
import type { Balancer } from '../proxy/balancer.ts';
import type { ListenerSpec, ServiceProblem } from '../proxy/service-table.ts';
import type { RelayTo } from '../proxy/tcp-connection.ts';
import { BackendAgent } from './backend-agent.ts';
import { Certificates } from './certificates.ts';
import { Forwarder, type ForwarderLimits } from './forwarder.ts';
import { hasBody } from './headers.ts';
import type { RoutingTable } from './routing-table.ts';

export interface WebLimits extends ForwarderLimits {
  /** Of clients, on both ports together; more are reset. */
  readonly connectionsMax: number;
  readonly headerBytesMax: number;
  /** From the first byte of a connection or a request to the end of its header. */
  readonly headerTimeoutMs: number;
  /** For the TLS handshake. */
  readonly handshakeTimeoutMs: number;
  /** An idle connection of a client. */
  readonly idleMs: number;
  /** An idle connection to a backend. */
  readonly backendIdleMs: number;
  readonly backendIdleMax: number;
}

export interface WebServerOptions {
  readonly balancer: Balancer;
  readonly limits: WebLimits;
  /** For backends that are not reached directly. */
  readonly relay?: RelayTo;
}

const CHECK_MS = 1000;

export class WebServer {
  readonly #limits: WebLimits;
  readonly #agent: BackendAgent;
  readonly #forwarder: Forwarder;
  readonly #certificates = new Certificates();
  readonly #sockets = new Set<Socket>();
  /** Made when the first client comes. */
  #http: http.Server | undefined;
  #https: https.Server | undefined;
  #routes: RoutingTable = { hosts: new Map(), problems: [] };

  constructor({ balancer, limits, relay }: WebServerOptions) {
    this.#limits = limits;
    this.#agent = new BackendAgent(relay, {
      keepAlive: true,
      maxFreeSockets: limits.backendIdleMax,
      timeout: limits.backendIdleMs,
    });
    this.#forwarder = new Forwarder({
      ...{ balancer, limits },
      agent: this.#agent,
      routes: () => this.#routes,
    });
  }

  /** Follows rules, endpoints and Secrets. Returns what is wrong with them. */
  update(
    routes: RoutingTable,
    ingresses: readonly DesiredIngress[],
    configs: ConfigLookup,
  ): ServiceProblem[] {
    this.#routes = routes;
    const before = this.#certificates.default;
    const problems = this.#certificates.update(ingresses, configs);
    if (this.#https !== undefined && this.#certificates.default !== before) {
      this.#https.setSecureContext(this.#certificates.default);
    }
    return [...routes.problems, ...problems];
  }

  /** A connection of a client. */
  accept(socket: Socket, web: NonNullable<ListenerSpec['web']>): void {
    if (this.#sockets.size >= this.#limits.connectionsMax) {
      socket.resetAndDestroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    const server = web === 'https' ? this.#secure() : this.#plain();
    server.emit('connection', socket);
    socket.resume();
  }

  /** Ends all connections. */
  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    this.#http?.close();
    this.#https?.close();
  }

  #plain(): http.Server {
    this.#http ??= this.#follow(http.createServer(this.#settings()), 'connection');
    return this.#http;
  }

  #secure(): https.Server {
    if (this.#https !== undefined) return this.#https;
    const server = https.createServer({
      ...this.#settings(),
      ...this.#certificates.default,
      minVersion: 'TLSv1.2',
      handshakeTimeout: this.#limits.handshakeTimeoutMs,
      ALPNProtocols: ['http/1.1'],
      SNICallback: (name, callback) => callback(null, this.#certificates.contextFor(name)),
    });
    this.#https = this.#follow(server, 'secureConnection');
    return server;
  }

  #settings(): http.ServerOptions {
    const { headerBytesMax, headerTimeoutMs, idleMs } = this.#limits;
    return {
      maxHeaderSize: headerBytesMax,
      headersTimeout: headerTimeoutMs,
      // Bodies may take as long as they go on (forwarder.ts).
      requestTimeout: 0,
      keepAliveTimeout: idleMs,
      connectionsCheckingInterval: CHECK_MS,
      requireHostHeader: true,
      insecureHTTPParser: false,
      highWaterMark: 64 * 1024,
    };
  }

  /** `connected`: what the server hears of when a client may send requests. */
  #follow<S extends http.Server | https.Server>(server: S, connected: string): S {
    const forwarder = this.#forwarder;
    const answering = new Answering();
    // None is left out, so that none escapes the rules of headers.ts; their bytes are bounded.
    server.maxHeadersCount = 0;
    server.on('request', (request, response) => {
      answering.add(response);
      forwarder.forward(request, response);
    });
    server.on('checkContinue', (request, response) => {
      answering.add(response);
      forwarder.forward(request, response, true);
    });
    server.on('upgrade', (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
      // Nobody can wait for an answer and speak another protocol at once.
      if (answering.has(socket)) socket.destroy();
      else if (isUpgradable(request)) forwarder.upgrade(request, socket, head);
      else again(server, connected, request, socket, head);
    });
    server.on('connect', (_request, socket: Socket) => {
      socket.on('error', () => socket.destroy());
      socket.end(
        'HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
      );
    });
    // Node looks after slow headers of a server from when it listens; this one never does.
    server.emit('listening');
    return server;
  }
}

/** Connections on which a request waits for its answer. */
class Answering {
  readonly #counts = new WeakMap<object, number>();

  add(response: http.ServerResponse): void {
    const { socket } = response.req;
    this.#counts.set(socket, this.#count(socket) + 1);
    response.once('close', () => this.#counts.set(socket, this.#count(socket) - 1));
  }

  has(socket: object): boolean {
    return this.#count(socket) > 0;
  }

  #count(socket: object): number {
    return this.#counts.get(socket) ?? 0;
  }
}

/** HTTP/2 is not spoken here, and what has a body is a request like others: RFC 9110 (7.8) lets a server ignore the wish. */
function isUpgradable(request: http.IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() !== 'h2c' && !hasBody(request.rawHeaders);
}

/** Reads the request once more, without the wish for another protocol: Node's parser has let go of the connection. */
function again(
  server: http.Server,
  connected: string,
  { method, url, httpVersion, rawHeaders }: http.IncomingMessage,
  socket: Socket,
  head: Buffer,
): void {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (name.toLowerCase() === 'upgrade') continue;
    lines.push(`${name}: ${rawHeaders[index + 1]}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit(connected, socket);
}
