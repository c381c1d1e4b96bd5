/**
 * The HTTPS edge of the API: TLS with client certificates, authentication, limits, and the way of a request to its handler.
 *
 * Promises: no anonymous request is answered with anything but 401; errors are always a Status; a slow or silent client
 * costs a bounded time and memory; `close` ends all watches and returns when no connection is left.
 * HTTP/1.1 only: upgrades need it, and ALPN makes every client agree.
 */
import { setMaxListeners } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { type ApiRequest, asApiError, sendError } from './answers.ts';
import { Authenticator } from './authn/authenticator.ts';
import type { User } from './client.ts';
import { Dispatcher, type DispatcherOptions } from './dispatcher.ts';
import { refuseUpgrade } from './streams/handshake.ts';
import type { StreamSource } from './streams/source.ts';
import { StreamUpgrades } from './streams/upgrades.ts';
import { DEFAULT_WATCH_LIMITS } from './watch-stream.ts';

export interface ApiServerOptions extends DispatcherOptions {
  readonly tls: {
    /** PEM. */
    readonly key: string | Buffer;
    readonly cert: string | Buffer;
    /** Who signs client certificates. */
    readonly ca: string | Buffer;
  };
  readonly log: Logger;
  /** For pods/exec, pods/attach and pods/portforward. */
  readonly streams?: StreamSource;
  readonly connectionsMax?: number;
}

/** A route of our own beside Kubernetes' paths, such as `/pier/streams`. The user is authenticated, not authorized. */
export type PathHandler = (
  message: IncomingMessage,
  response: ServerResponse,
  user: User,
) => Promise<void>;

export type UpgradeHandler = (
  message: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  user: User,
) => void;

export interface ApiServer {
  /** Port 0: any free one. */
  listen(port: number, host?: string): Promise<AddressInfo>;
  /** Requests whose path begins with `prefix`; register before `listen`. */
  onRequest(prefix: string, handler: PathHandler): void;
  onUpgrade(prefix: string, handler: UpgradeHandler): void;
  /** Ends watches and idle connections, waits for what is under way, at most `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 15_000;
/** To receive a whole request; says nothing about answers, so watches may last. */
const REQUEST_TIMEOUT_MS = 60_000;
/** Longer than the 90 s after which Go clients drop idle connections: the client closes first, and loses no race. */
const KEEP_ALIVE_MS = 120_000;
const HEADER_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 2_000;
const CLOSE_GRACE_MS = 5_000;
/** While it stops: how often connections that have become idle are closed. */
const CLOSE_IDLE_MS = 20;

export function createApiServer(options: ApiServerOptions): ApiServer {
  const { log, tls } = options;
  const stopping = new AbortController();
  // Every watch listens to it: many listeners are no leak here.
  setMaxListeners(0, stopping.signal);
  const dispatcher = new Dispatcher(options, stopping.signal);
  const authenticator = new Authenticator(options.registry);
  const requests = new Map<string, PathHandler>();
  const upgrades = new Map<string, UpgradeHandler>();
  const upgraded = new Set<Duplex>();
  const streams = new StreamUpgrades({
    registry: options.registry,
    source: options.streams,
    nodes: options.nodes,
    watchLimits: { ...DEFAULT_WATCH_LIMITS, ...options.watchLimits },
    log,
    stopping: stopping.signal,
  });
  const server = createServer({
    ...tls,
    requestCert: true,
    // A client without a certificate gets a 401 that says so, not a broken handshake.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  });
  server.maxConnections = options.connectionsMax ?? CONNECTIONS_MAX;

  server.on('request', (message, response) => {
    // Says so to the client, too: a busy one would else keep its connection, and the server, for all of the grace time.
    if (stopping.signal.aborted) response.shouldKeepAlive = false;
    void answer({ message, response, authenticator, dispatcher, requests, log });
  });
  server.on('upgrade', (message: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', (error) => log.debug({ err: error }, 'an upgraded connection broke'));
    const handler = findPrefix(upgrades, pathOf(message.url ?? '/'));
    upgraded.add(socket);
    socket.once('close', () => upgraded.delete(socket));
    authenticator.authenticate(message).then(
      (user) => {
        if (handler !== undefined) handler(message, socket, head, user);
        else void streams.serve({ message, socket, head, user });
      },
      (error: unknown) => refuseUpgrade(socket, error),
    );
  });
  server.on('tlsClientError', (error) => {
    log.debug({ err: error }, 'a TLS handshake with a client failed');
  });

  return {
    listen: (port, host) => listen(server, port, host),
    onRequest: (prefix, handler) => void requests.set(prefix, handler),
    onUpgrade: (prefix, handler) => void upgrades.set(prefix, handler),
    close: async (graceMs = CLOSE_GRACE_MS) => {
      // Node forgets upgraded connections, but waits for them.
      const timer = setTimeout(() => upgraded.forEach((socket) => void socket.destroy()), graceMs);
      await close(server, stopping, graceMs);
      clearTimeout(timer);
    },
  };
}

interface Arrived {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly authenticator: Authenticator;
  readonly dispatcher: Dispatcher;
  readonly requests: ReadonlyMap<string, PathHandler>;
  readonly log: Logger;
}

/** Never rejects: whatever goes wrong is answered or, when it is too late for that, logged. */
async function answer({ message, response, log, ...parts }: Arrived): Promise<void> {
  const url = message.url ?? '/';
  let request: ApiRequest = {
    message,
    response,
    user: { name: '', groups: [] },
    query: new URLSearchParams(queryOf(url)),
    warnings: [],
  };
  response.on('error', (error) => log.debug({ err: error }, 'a client is gone'));
  try {
    const user = await parts.authenticator.authenticate(message);
    request = { ...request, user };
    const path = pathOf(url);
    const own = findPrefix(parts.requests, path);
    if (own !== undefined) await own(message, response, user);
    else await parts.dispatcher.dispatch(request, message.method ?? 'GET', path);
  } catch (error) {
    if (response.destroyed) {
      log.debug({ err: error, url }, 'a request ended because its client is gone');
      return;
    }
    const known = asApiError(error);
    if (known.code >= 500)
      log.error({ err: error, url, user: request.user.name }, 'a request failed');
    sendError(request, error);
  }
}

function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

function queryOf(url: string): string {
  const start = url.indexOf('?');
  return start < 0 ? '' : url.slice(start + 1);
}

function findPrefix<T>(handlers: ReadonlyMap<string, T>, path: string): T | undefined {
  for (const [prefix, handler] of handlers) if (path.startsWith(prefix)) return handler;
  return undefined;
}

function listen(server: Server, port: number, host?: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', reject);
      const address = server.address();
      if (address === null || typeof address === 'string') {
        reject(new Error('the API server listens on no TCP port'));
      } else {
        resolve(address);
      }
    });
  });
}

async function close(server: Server, stopping: AbortController, graceMs: number): Promise<void> {
  stopping.abort();
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const idle = setInterval(() => server.closeIdleConnections(), CLOSE_IDLE_MS);
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  try {
    await closed;
  } finally {
    clearInterval(idle);
    clearTimeout(timer);
  }
}
