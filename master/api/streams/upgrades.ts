/**
 * Requests that become streams: pods/exec, pods/attach and pods/portforward over WebSocket or SPDY/3.1, and watches over
 * WebSocket. Checks who may, opens the stream into the pod, and only then upgrades the client's connection: a failure before
 * that is an ordinary answer with a Status.
 *
 * Promises: authorized as the subresource, `create` also for the GET of a WebSocket (Kubernetes 1.35: who may only read
 * must not run commands); a browser's page of another origin is refused; open connections into pods are bounded, and
 * all end with the server.
 */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import type { Pod } from '../../../protocol/kinds/types.ts';
import { SpdySession } from '../../../protocol/spdy/session.ts';
import { ApiError, badRequest, notFound } from '../../../protocol/status.ts';
import { probeWhilePaused } from '../../../protocol/stream-socket.ts';
import type { ObjectPath, Registry } from '../registry.ts';
import { methodNotAllowed, watchOf } from '../resource-handlers.ts';
import { noSuchResource } from '../resources.ts';
import { parseRoute, type ResourceRoute } from '../routes.ts';
import type { WatchLimits } from '../watch-stream.ts';
import { ChannelClient } from './channel-client.ts';
import { chooseExecProtocol, choosePortProtocol, protocolNames } from './channel-protocol.ts';
import { acceptSocket, checkOrigin, refuseUpgrade, type Upgrade, wantsSpdy } from './handshake.ts';
import { openNodeShell } from './node-shell.ts';
import { commandOf, isStreamPart, portsOf, redirectionsOf, type StreamPart } from './options.ts';
import { forwardOverChannels, forwardOverSpdy, type OpenPort } from './port-forward.ts';
import { joinClient } from './remote-client.ts';
import type {
  NodeSource,
  PodStream,
  PodStreamRequest,
  Redirections,
  StreamSource,
} from './source.ts';
import { SPDY_EXEC_PROTOCOLS, SpdyClient } from './spdy-client.ts';
import { watchOverSocket } from './watch-socket.ts';

export interface StreamUpgradesOptions {
  readonly registry: Registry;
  readonly source: StreamSource | undefined;
  readonly nodes: NodeSource | undefined;
  readonly watchLimits: WatchLimits;
  readonly log: Logger;
  readonly stopping: AbortSignal;
}

type Process = { readonly type: 'exec' | 'attach' } & PodStreamRequest & Redirections;

interface PodUpgrade {
  readonly route: ResourceRoute;
  readonly query: URLSearchParams;
  readonly part: StreamPart;
}

/** What a stream is opened with once it is allowed. */
interface Call {
  readonly upgrade: Upgrade;
  readonly query: URLSearchParams;
  readonly pod: Pod;
  readonly signal: AbortSignal;
  readonly source: StreamSource;
}

const CONNECTIONS_MAX = 256;
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
    try {
      const serve = await this.#prepare(upgrade, abort.signal);
      if (socket instanceof TLSSocket) socket.setKeepAlive(true, KEEP_ALIVE_MS);
      await serve();
    } catch (error) {
      log.debug({ err: error, url: message.url }, 'an upgrade was refused');
      refuseUpgrade(socket, error);
    } finally {
      stopping.removeEventListener('abort', stop);
      abort.abort();
    }
  }

  /** Most of what can be answered with a Status. What it returns upgrades. */
  async #prepare(upgrade: Upgrade, signal: AbortSignal): Promise<() => Promise<void>> {
    const { message, user } = upgrade;
    const { registry, watchLimits, stopping, log } = this.#options;
    const { pathname, searchParams: query } = new URL(message.url ?? '/', 'https://pier');
    const route = parseRoute(message.method ?? 'GET', pathname, query);
    const isResource = route.type === 'resource';
    if (isResource && route.verb === 'watch') {
      checkOrigin(message);
      if (wantsSpdy(message)) throw badRequest('a watch goes over WebSocket or plain HTTP');
      const resource = registry.table.find(route);
      if (resource === undefined) throw noSuchResource();
      const context = { registry, watchLimits, stopping };
      const watch = watchOf({ message, query, user }, route, resource, context);
      return () => watchOverSocket(upgrade, watch, log);
    }
    if (isResource && route.group === '' && route.resource === 'nodes' && route.name !== '') {
      if (route.subresource === 'shell') {
        checkOrigin(message);
        const { nodes } = this.#options;
        const count = (): void => this.#countUntil(signal);
        return openNodeShell(upgrade, route, { registry, nodes, query, count, log }, signal);
      }
    }
    const isPod = isResource && route.group === '' && route.resource === 'pods';
    if (!isPod || route.name === '' || !isStreamPart(route.subresource)) {
      throw badRequest(`the path ${pathname} cannot be upgraded to another protocol`);
    }
    checkOrigin(message);
    return this.#intoPod(upgrade, { route, query, part: route.subresource }, signal);
  }

  async #intoPod(
    upgrade: Upgrade,
    { route, query, part }: PodUpgrade,
    signal: AbortSignal,
  ): Promise<() => Promise<void>> {
    const { user, message } = upgrade;
    const { registry, source } = this.#options;
    if (route.verb !== 'get' && route.verb !== 'create') throw methodNotAllowed();
    const resource = registry.table.find(route);
    if (resource === undefined) throw badRequest('there is no such version of pods');
    const path: ObjectPath = { resource, namespace: route.namespace, name: route.name };
    const what = { subresource: part };
    if (route.verb === 'get') await registry.authorize(user, 'get', path, what);
    await registry.authorize(user, 'create', path, what);
    if (source === undefined) {
      throw new ApiError(503, 'ServiceUnavailable', 'this master has no link to its boards');
    }
    this.#countUntil(signal);
    const pod = await podOf(registry, path);
    const call: Call = { upgrade, query, pod, signal, source };
    const isSpdy = wantsSpdy(message);
    if (part === 'portforward') return isSpdy ? spdyPorts(call) : socketPorts(call);
    const request = processOf(part, call);
    return isSpdy ? spdyProcess(call, request) : socketProcess(call, request);
  }

  /** One more connection into a pod, until the signal aborts. */
  #countUntil(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#open >= CONNECTIONS_MAX) {
      const text = `more than ${CONNECTIONS_MAX} connections into pods are open`;
      throw new ApiError(429, 'TooManyRequests', text);
    }
    this.#open += 1;
    const leave = (): void => {
      this.#open -= 1;
    };
    signal.addEventListener('abort', leave, { once: true });
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
