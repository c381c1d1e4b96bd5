/**
 * Brings one request to a backend and its answer back: chooses, connects, tries the next one where that is safe.
 *
 * A backend that refuses is passed over before a byte of the body was read, so it costs no request. After that only methods that
 * change nothing are asked again (RFC 9110, 9.2.2), and only they go over connections that were used before: such a one may
 * be closed by the backend at the very moment at which it is used.
 */
import http from 'node:http';
import type net from 'node:net';
import type { Balancer } from '../proxy/balancer.ts';
import { type ProxyProtocol, proxyHeader } from '../proxy/proxy-header.ts';
import type { Backend } from '../proxy/service-table.ts';
import { plainIp } from '../proxy/source-ranges.ts';
import type { RelayedSocket } from '../relay/relayed-socket.ts';
import type { BackendAgent } from './backend-agent.ts';
import type { RouteTarget } from './routing-table.ts';

export interface ExchangeLimits {
  readonly connectTimeoutMs: number;
  /** Between the last byte that either side sent and the answer's first. */
  readonly answerTimeoutMs: number;
}

export interface ExchangeOptions {
  readonly target: RouteTarget;
  readonly client: net.Socket;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly string[];
  /** It follows: see `onConnected`. */
  readonly hasBody: boolean;
  readonly balancer: Balancer;
  readonly agent: BackendAgent;
  readonly limits: ExchangeLimits;
  /** A backend has the connection: its body may follow now. Not called without one. */
  readonly onConnected: (upstream: http.ClientRequest) => void;
  readonly onContinue: () => void;
  readonly onAnswer: (answer: http.IncomingMessage, upstream: http.ClientRequest) => void;
  /** With it the backend may change the protocol; without it that is a failure. */
  readonly onUpgrade?: (answer: http.IncomingMessage, socket: net.Socket, head: Buffer) => void;
  /** No answer will come. */
  readonly onFailure: (status: 502 | 503 | 504, reason: string) => void;
}

const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #tried = new Set<Backend>();
  #upstream: http.ClientRequest | undefined;
  #connected = false;
  #answered = false;
  #timedOut = false;
  #cancelled = false;
  #lastReason = '';

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#tryNext(false);
  }

  /** The client is gone. */
  cancel(): void {
    this.#cancelled = true;
    this.#upstream?.destroy();
  }

  #tryNext(fresh: boolean, again?: Backend): void {
    if (this.#cancelled) return;
    const { target, client, balancer, onFailure } = this.#options;
    const clientIp = target.affinity === undefined ? '' : plainIp(client.remoteAddress);
    const backend = again ?? balancer.choose(target, this.#tried, clientIp);
    if (backend !== undefined) {
      this.#ask(backend, fresh);
    } else if (this.#tried.size === 0) {
      onFailure(503, target.emptyReason);
    } else {
      onFailure(this.#timedOut ? 504 : 502, `no backend answered: ${this.#lastReason}`);
    }
  }

  #ask(backend: Backend, fresh: boolean): void {
    const { method, path, headers, hasBody, balancer, limits } = this.#options;
    const { onConnected, onContinue, onUpgrade } = this.#options;
    const { target, client, agent } = this.#options;
    const { proxyProtocol } = target;
    const kept = proxyProtocol === undefined && !fresh && !hasBody && SAFE.has(method);
    balancer.count(backend, 1);
    this.#connected = false;
    this.#timedOut = false;
    const upstream = http.request({
      host: backend.ip,
      port: backend.port,
      method,
      path,
      headers: [...headers, ...(kept || onUpgrade !== undefined ? [] : ['Connection', 'close'])],
      ...(kept
        ? { agent }
        : { createConnection: () => connect(agent.dial(backend), client, proxyProtocol) }),
    });
    this.#upstream = upstream;
    upstream.on('socket', (socket) => {
      const connected = (): void => {
        clearTimeout(timer);
        this.#connected = true;
        socket.setNoDelay(true);
        upstream.setTimeout(limits.answerTimeoutMs, () => this.#tooLate(upstream));
        if (hasBody && !this.#cancelled) onConnected(upstream);
      };
      const timer = setTimeout(() => this.#tooLate(upstream), limits.connectTimeoutMs);
      upstream.once('close', () => clearTimeout(timer));
      if (socket.connecting) socket.once('connect', connected);
      else connected();
    });
    upstream.on('continue', onContinue);
    upstream.on('response', (answer) => {
      this.#begin(upstream);
      this.#options.onAnswer(answer, upstream);
    });
    if (onUpgrade !== undefined) {
      upstream.on('upgrade', (answer, socket, head) => {
        this.#begin(upstream);
        onUpgrade(answer, socket, head);
      });
    }
    upstream.on('error', (error) => this.#failed(backend, upstream, error));
    upstream.once('close', () => balancer.count(backend, -1));
    if (!hasBody) upstream.end();
  }

  #begin(upstream: http.ClientRequest): void {
    this.#answered = true;
    // From here on the sides may be silent as long as they want, as on a direct connection.
    upstream.setTimeout(0);
  }

  #tooLate(upstream: http.ClientRequest): void {
    if (this.#answered) return;
    this.#timedOut = true;
    upstream.destroy(new Error('it did not answer in time'));
  }

  #failed(backend: Backend, upstream: http.ClientRequest, error: Error): void {
    // What breaks an answer that has begun is seen by whoever reads it.
    if (this.#answered || this.#cancelled) return;
    const { hasBody, method, onFailure } = this.#options;
    this.#lastReason = error.message;
    if (this.#timedOut && !this.#connected) this.#options.balancer.wasSilent(backend);
    const repeatable = !hasBody && SAFE.has(method);
    if (upstream.reusedSocket && repeatable && !this.#timedOut) {
      this.#tryNext(true, backend);
    } else if (!this.#connected || (repeatable && !this.#timedOut)) {
      this.#tried.add(backend);
      this.#tryNext(true);
    } else {
      onFailure(this.#timedOut ? 504 : 502, `the backend gave no answer: ${error.message}`);
    }
  }
}

/** Such a connection is for one request: the PROXY protocol speaks of one client. */
function connect<S extends net.Socket | RelayedSocket>(
  socket: S,
  client: net.Socket,
  proxyProtocol: ProxyProtocol | undefined,
): S {
  if (proxyProtocol !== undefined) socket.write(proxyHeader(proxyProtocol, client));
  return socket;
}
