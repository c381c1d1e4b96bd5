/**
 * Answers the requests that come to ports 80 and 443: finds whom each is for and lets the backend and the client talk, bodies
 * streamed both ways, each no faster than the other side takes it. What cannot be answered by a backend is answered here,
 * in plain words.
 */
import http from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import type { Balancer } from '../proxy/balancer.ts';
import { plainIp } from '../proxy/source-ranges.ts';
import type { BackendAgent } from './backend-agent.ts';
import { Exchange, type ExchangeLimits, type ExchangeOptions } from './exchange.ts';
import {
  type ClientFacts,
  hasBody,
  hasUnknownCoding,
  requestHeaders,
  responseHeaders,
} from './headers.ts';
import { type RequestTarget, requestTarget } from './request-target.ts';
import { findRoute, type RouteTarget, type RoutingTable } from './routing-table.ts';

export interface ForwarderLimits extends ExchangeLimits {
  /** Requests under way, all together; more get a 503. */
  readonly requestsMax: number;
  /** A client that owes the rest of a body and sends nothing. */
  readonly bodyIdleMs: number;
  readonly keepAliveMs: number;
}

export interface ForwarderOptions {
  readonly balancer: Balancer;
  readonly agent: BackendAgent;
  readonly limits: ForwarderLimits;
  readonly routes: () => RoutingTable;
}

interface Refusal {
  readonly status: number;
  readonly reason: string;
}

interface Found {
  readonly target: RouteTarget;
  readonly request: RequestTarget;
  readonly facts: ClientFacts;
}

export class Forwarder {
  readonly #options: ForwarderOptions;
  #underWay = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** `expectsContinue`: the client waits for 100 before it sends the body. */
  forward(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    expectsContinue = false,
  ): void {
    this.#begin(request, response, response, {
      hasBody: hasBody(request.rawHeaders),
      onConnected: (upstream) => {
        upstream.flushHeaders();
        watchBody(request, response, upstream, this.#options.limits.bodyIdleMs);
        request.pipe(upstream);
      },
      onContinue: () => {
        if (expectsContinue) response.writeContinue();
      },
    });
  }

  /** A request to change the protocol: the socket is ours from here on. `head` came behind it. */
  upgrade(request: http.IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const response = new http.ServerResponse(request);
    response.shouldKeepAlive = false;
    try {
      response.assignSocket(socket);
    } catch (error) {
      if (!isStillAnswered(error)) throw error;
      socket.destroy();
      return;
    }
    response.once('finish', () => socket.end());
    this.#begin(request, response, socket, {
      hasBody: false,
      onConnected: () => {},
      onContinue: () => {},
      onUpgrade: (answer, upstream, upstreamHead) => {
        response.detachSocket(socket);
        socket.write(switching(answer));
        socket.write(upstreamHead);
        upstream.write(head);
        join(socket, upstream, this.#options.limits.keepAliveMs);
      },
    });
  }

  /** Refuses it, or lets a backend answer; the request is under way until `client` closes. */
  #begin(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    client: http.ServerResponse | Socket,
    how: Pick<ExchangeOptions, 'hasBody' | 'onConnected' | 'onContinue' | 'onUpgrade'>,
  ): void {
    const found = this.#find(request);
    if ('status' in found) {
      refuse(response, found);
      return;
    }
    const { target, facts } = found;
    const { limits, balancer, agent } = this.#options;
    const protocol = how.onUpgrade === undefined ? undefined : request.headers.upgrade;
    this.#underWay++;
    const exchange = new Exchange({
      ...{ target, balancer, agent, limits },
      ...how,
      client: request.socket,
      method: request.method ?? 'GET',
      path: found.request.rest,
      headers: requestHeaders(request.rawHeaders, facts, protocol),
      onAnswer: (answer) => relay(answer, response),
      onFailure: (status, reason) => refuse(response, { status, reason }),
    });
    client.once('close', () => {
      this.#underWay--;
      exchange.cancel();
    });
  }

  #find(request: http.IncomingMessage): Found | Refusal {
    const { limits, routes } = this.#options;
    const { rawHeaders, socket } = request;
    const wanted = requestTarget(request.url ?? '', rawHeaders);
    if (wanted === undefined) {
      return { status: 400, reason: 'the Host header or the path of the request is not valid' };
    }
    // The beginning of HTTP/2, which Node's parser may let by; over HTTP/1.1 no backend could read it.
    if (request.method === 'PRI') return { status: 501, reason: 'HTTP/2 is not understood' };
    if (hasUnknownCoding(rawHeaders)) {
      return { status: 501, reason: 'of transfer codings only "chunked" is understood' };
    }
    if (this.#underWay >= limits.requestsMax) {
      return { status: 503, reason: `this board has ${limits.requestsMax} requests under way` };
    }
    const target = findRoute(routes(), wanted.host, wanted.path);
    if (target === undefined) {
      return { status: 404, reason: 'no Ingress has a rule for this host and path' };
    }
    const facts: ClientFacts = {
      ip: plainIp(socket.remoteAddress),
      authority: wanted.authority,
      scheme: 'encrypted' in socket ? 'https' : 'http',
    };
    return { target, request: wanted, facts };
  }
}

/** A client that sends nothing more of its body is let go; one that is held back by the backend is not. */
function watchBody(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  upstream: http.ClientRequest,
  idleMs: number,
): void {
  request.setTimeout(idleMs, () => {
    if (request.complete || upstream.writableNeedDrain) return;
    upstream.destroy();
    refuse(response, { status: 408, reason: `the body of the request did not go on` });
  });
  request.once('end', () => request.setTimeout(0));
}

function relay(answer: http.IncomingMessage, response: http.ServerResponse): void {
  try {
    const headers = responseHeaders(answer.rawHeaders);
    response.writeHead(answer.statusCode ?? 502, answer.statusMessage, headers);
  } catch {
    answer.destroy();
    refuse(response, { status: 502, reason: 'the answer of the backend is not valid HTTP' });
    return;
  }
  // Who waits for events wants to know at once that he is heard.
  response.flushHeaders();
  pipeline(answer, response, (error) => {
    // An answer that broke off must not look whole.
    if (error !== undefined && error !== null) response.destroy();
  });
}

function refuse(response: http.ServerResponse, { status, reason }: Refusal): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const text = `${status} ${http.STATUS_CODES[status] ?? ''}: ${reason}\n`;
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    'X-Content-Type-Options': 'nosniff',
    // What may still come of the request is not read.
    ...(response.req.complete && response.shouldKeepAlive ? {} : { Connection: 'close' }),
  });
  response.end(text);
}

function switching(answer: http.IncomingMessage): string {
  const headers = responseHeaders(answer.rawHeaders);
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    `Upgrade: ${answer.headers.upgrade ?? ''}`,
  ];
  for (let index = 0; index < headers.length; index += 2) {
    lines.push(`${headers[index]}: ${headers[index + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function join(client: Socket, upstream: Socket, keepAliveMs: number): void {
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    one.setTimeout(0);
    one.setNoDelay(true);
    one.setKeepAlive(true, keepAliveMs);
    one.on('error', () => one.destroy());
    one.on('close', () => other.destroy());
    one.pipe(other);
  }
}

/** Node answers some requests by itself (one without a host, or that expects what it does not know), and nothing tells that it does. */
function isStillAnswered(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_HTTP_SOCKET_ASSIGNED';
}
