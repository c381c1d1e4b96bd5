/**
 * Requests that become streams: pods/exec, pods/attach and pods/portforward over WebSocket or SPDY/3.1. Checks who may,
 * opens the stream into the pod, and only then upgrades the client's connection: a failure before that is an ordinary
 * answer with a Status.
 *
 * Promises: authorized as the subresource, `create` also for the GET of a WebSocket (Kubernetes 1.35: who may only read
 * must not run commands); a browser's page of another origin is refused; open connections are bounded, and all end with
 * the server.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import type { WebSocket, WebSocketServer } from 'ws';
import type { Pod } from '../../../protocol/kinds/types.ts';
import { SpdySession } from '../../../protocol/spdy/session.ts';
import { ApiError, badRequest, notFound } from '../../../protocol/status.ts';
import { probeWhilePaused } from '../../../protocol/stream-socket.ts';
import { asApiError } from '../answers.ts';
import type { User } from '../client.ts';
import type { ObjectPath, Registry } from '../registry.ts';
import { methodNotAllowed } from '../resource-handlers.ts';
import { parseRoute } from '../routes.ts';
import { ChannelClient } from './channel-client.ts';
import { chooseExecProtocol, choosePortProtocol, protocolNames } from './channel-protocol.ts';
import { commandOf, isStreamPart, portsOf, redirectionsOf } from './options.ts';
import { forwardOverChannels, forwardOverSpdy, type OpenPort } from './port-forward.ts';
import { joinClient } from './remote-client.ts';
import type { PodStream, PodStreamRequest, Redirections, StreamSource } from './source.ts';
import { SPDY_EXEC_PROTOCOLS, SpdyClient } from './spdy-client.ts';

export interface StreamUpgradesOptions {
  readonly registry: Registry;
  readonly source: StreamSource | undefined;
  readonly log: Logger;
  readonly stopping: AbortSignal;
}

/** A request that wants to become something else. */
export interface Upgrade {
  readonly message: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly user: User;
}

type Process = { readonly type: 'exec' | 'attach' } & PodStreamRequest & Redirections;

/** What a stream is opened with once it is allowed. */
interface Call {
  readonly upgrade: Upgrade;
  readonly query: URLSearchParams;
  readonly pod: Pod;
  readonly signal: AbortSignal;
  readonly source: StreamSource;
}

const CONNECTIONS_MAX = 256;
/** kubectl writes 32 KiB at once; base64 and other clients a little more. */
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
const KEEP_ALIVE_MS = 60_000;
const PORT_FORWARD = 'portforward.k8s.io';
const PORT_FORWARD_TUNNEL = 'SPDY/3.1+portforward.k8s.io';

export class StreamUpgrades {
  readonly #options: StreamUpgradesOptions;
  #open = 0;

  constructor(options: StreamUpgradesOptions) {
    this.#options = options;
  }

  /** Never rejects; the socket belongs to us from here on. */
  async serve(upgrade: Upgrade): Promise<void> {
    const { log, stopping } = this.#options;
    const { socket, message } = upgrade;
    const abort = new AbortController();
    const stop = (): void => abort.abort();
    stopping.addEventListener('abort', stop, { once: true });
    socket.once('close', stop);
    this.#open += 1;
    try {
      const serve = await this.#prepare(upgrade, abort.signal);
      if (socket instanceof TLSSocket) socket.setKeepAlive(true, KEEP_ALIVE_MS);
      await serve();
    } catch (error) {
      log.debug({ err: error, url: message.url }, 'an upgrade was refused');
      refuseUpgrade(socket, error);
    } finally {
      this.#open -= 1;
      stopping.removeEventListener('abort', stop);
      abort.abort();
    }
  }

  /** Everything that can be answered with a Status. What it returns upgrades, and rejects no more. */
  async #prepare(upgrade: Upgrade, signal: AbortSignal): Promise<() => Promise<void>> {
    const { message, user } = upgrade;
    const { registry, source } = this.#options;
    const url = new URL(message.url ?? '/', 'https://pier');
    const route = parseRoute(message.method ?? 'GET', url.pathname, url.searchParams);
    const isPod = route.type === 'resource' && route.group === '' && route.resource === 'pods';
    if (!isPod || route.name === '' || !isStreamPart(route.subresource)) {
      throw badRequest(`the path ${url.pathname} cannot be upgraded to another protocol`);
    }
    if (route.verb !== 'get' && route.verb !== 'create') throw methodNotAllowed();
    checkOrigin(message);
    const resource = registry.table.find(route);
    if (resource === undefined) throw badRequest('there is no such version of pods');
    const path: ObjectPath = { resource, namespace: route.namespace, name: route.name };
    const { subresource } = route;
    if (route.verb === 'get') await registry.authorize(user, 'get', path, { subresource });
    await registry.authorize(user, 'create', path, { subresource });
    if (source === undefined) {
      throw new ApiError(503, 'ServiceUnavailable', 'this master has no link to its boards');
    }
    if (this.#open > CONNECTIONS_MAX) {
      const text = `more than ${CONNECTIONS_MAX} connections into pods are open`;
      throw new ApiError(429, 'TooManyRequests', text);
    }
    const pod = await podOf(registry, path);
    const call: Call = { upgrade, query: url.searchParams, pod, signal, source };
    const isSpdy = wantsSpdy(message);
    if (subresource === 'portforward') return isSpdy ? spdyPorts(call) : socketPorts(call);
    const request = processOf(subresource, call);
    return isSpdy ? spdyProcess(call, request) : socketProcess(call, request);
  }
}

async function podOf(registry: Registry, path: ObjectPath): Promise<Pod> {
  const stored = await registry.core.storage.read(path.resource, path.namespace, path.name);
  if (stored === undefined) throw notFound(path.resource.ref, path.name);
  const pod = registry.parsed(stored) as Pod;
  if ((pod.spec?.nodeName ?? '') === '') {
    throw badRequest(`pod ${path.name} does not have a host assigned`);
  }
  return pod;
}

function processOf(type: 'exec' | 'attach', { pod, query }: Call): Process {
  const redirections = redirectionsOf(pod, query);
  if (type === 'attach') return { type, ...redirections };
  return { type, command: commandOf(query), ...redirections };
}

/** A page in a browser would act with the browser's certificate: only our own may. RFC 6454; RFC 6455, 10.2. */
function checkOrigin({ headers }: IncomingMessage): void {
  const { origin, host } = headers;
  if (origin === undefined || origin.toLowerCase() === `https://${host}`.toLowerCase()) return;
  throw new ApiError(
    403,
    'Forbidden',
    `a page of ${origin} may not open streams into pods of https://${host}`,
  );
}

/** Or else a WebSocket. Throws ApiError 400 for anything else. */
function wantsSpdy({ headers, method }: IncomingMessage): boolean {
  const wanted = (headers.upgrade ?? '').toLowerCase();
  if (wanted === 'spdy/3.1') return true;
  if (wanted !== 'websocket') {
    throw badRequest(`unable to upgrade to "${headers.upgrade}": use websocket or SPDY/3.1`);
  }
  if (method !== 'GET') throw badRequest('a WebSocket is opened with GET');
  const key = headers['sec-websocket-key'] ?? '';
  if (headers['sec-websocket-version'] !== '13' || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw badRequest('the WebSocket handshake is not that of RFC 6455');
  }
  return false;
}

async function socketProcess(call: Call, request: Process): Promise<() => Promise<void>> {
  const { upgrade, signal } = call;
  const offered = upgrade.message.headers['sec-websocket-protocol'];
  const protocol = chooseExecProtocol(offered);
  if (protocol === undefined) throw badRequest(`no protocol of "${offered}" is known here`);
  const pod = await call.source.openStream(call.pod, request, signal);
  return async () => {
    const socket = await acceptSocket(upgrade, protocol.name);
    const client = new ChannelClient(socket, protocol);
    // A client that is gone already shows in what follows.
    await client.greet(request).catch(() => undefined);
    await joinClient(client, pod, signal);
  };
}

async function spdyProcess(call: Call, request: Process): Promise<() => Promise<void>> {
  const { upgrade, signal } = call;
  const offered = protocolNames(headerText(upgrade.message, 'x-stream-protocol-version'));
  const protocol = SPDY_EXEC_PROTOCOLS.find((name) => offered.includes(name));
  if (protocol === undefined) {
    throw badRequest(`no protocol of "${offered.join(', ')}" is known here`);
  }
  const pod = await call.source.openStream(call.pod, request, signal);
  return async () => {
    const session = acceptSpdy(upgrade, protocol);
    const reading = session.run().catch(() => session.destroy());
    try {
      const client = await SpdyClient.accept(session, request, protocol);
      await joinClient(client, pod, signal);
    } catch {
      // The client did not open the streams that it asked for: there is none to tell it on.
      pod.close();
      session.destroy();
    }
    await reading;
  };
}

async function socketPorts(call: Call): Promise<() => Promise<void>> {
  const { upgrade, query, signal } = call;
  const offered = upgrade.message.headers['sec-websocket-protocol'];
  if (protocolNames(offered).includes(PORT_FORWARD_TUNNEL)) {
    return async () => {
      const { createWebSocketStream } = await import('ws');
      const socket = await acceptSocket(upgrade, PORT_FORWARD_TUNNEL);
      probeWhilePaused(socket);
      await servePorts(new SpdySession(createWebSocketStream(socket)), call);
    };
  }
  const protocol = choosePortProtocol(offered);
  if (protocol === undefined) throw badRequest(`no protocol of "${offered}" is known here`);
  const ports = portsOf(query);
  return async () => {
    const socket = await acceptSocket(upgrade, protocol.name);
    const end = (): void => socket.terminate();
    signal.addEventListener('abort', end, { once: true });
    await forwardOverChannels(socket, protocol, ports, openPort(call));
  };
}

async function spdyPorts(call: Call): Promise<() => Promise<void>> {
  const offered = headerText(call.upgrade.message, 'x-stream-protocol-version');
  if (!protocolNames(offered).includes(PORT_FORWARD)) {
    throw badRequest(`no protocol of "${offered}" is known here: use ${PORT_FORWARD}`);
  }
  return async () => servePorts(acceptSpdy(call.upgrade, PORT_FORWARD), call);
}

async function servePorts(session: SpdySession, call: Call): Promise<void> {
  call.signal.addEventListener('abort', () => session.destroy(), { once: true });
  const reading = session.run().catch(() => session.destroy());
  await forwardOverSpdy(session, openPort(call));
  await reading;
}

function openPort({ source, pod, signal }: Call): OpenPort {
  return (port): Promise<PodStream> =>
    source.openStream(pod, { type: 'portForward', port }, signal);
}

let servers: Promise<WebSocketServer> | undefined;

/** `protocol` as agreed on; empty when the client named none. */
async function acceptSocket(
  { message, socket, head }: Upgrade,
  protocol: string,
): Promise<WebSocket> {
  // Loaded with the first client that comes.
  servers ??= import('ws').then(
    (ws) =>
      new ws.WebSocketServer({
        noServer: true,
        perMessageDeflate: false,
        maxPayload: MESSAGE_BYTES_MAX,
      }),
  );
  const server = await servers;
  // Kubernetes' name of the tunnel has a slash, which ws rightly calls no token: it does not get to see it.
  delete message.headers['sec-websocket-protocol'];
  const addProtocol = (headers: string[], request: IncomingMessage): void => {
    if (request === message && protocol !== '') headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
  };
  server.on('headers', addProtocol);
  try {
    return await new Promise((resolve, reject) => {
      socket.once('close', () => reject(new Error('the client went away')));
      server.handleUpgrade(message, socket, head, resolve);
    });
  } finally {
    server.off('headers', addProtocol);
  }
}

function acceptSpdy({ socket, head }: Upgrade, protocol: string): SpdySession {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n' +
      `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  );
  if (head.length > 0) socket.unshift(head);
  return new SpdySession(socket);
}

function headerText({ headers }: IncomingMessage, name: string): string {
  const value = headers[name] ?? '';
  return typeof value === 'string' ? value : value.join(',');
}

/** Any error as its Status, on a socket that speaks HTTP no more. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const known = asApiError(error);
  const body = `${JSON.stringify(known.toStatus())}\n`;
  socket.end(
    `HTTP/1.1 ${known.code} ${STATUS_CODES[known.code] ?? 'Error'}\r\n` +
      'Content-Type: application/json\r\nConnection: close\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
