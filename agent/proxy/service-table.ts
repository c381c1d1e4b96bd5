/**
 * From services and their endpoints to what this board listens on. Pure.
 *
 * Kubernetes' rules: a port of a service leads to its ready endpoints; while there is none, to those that are
 * on their way out and still answer. With a Local traffic policy only endpoints of this board count; with
 * trafficDistribution PreferSameNode they come first. Without any, nobody listens, and a client is refused at once.
 * A LoadBalancer is listened for on the board's address, or by the board that holds the one it has of the pool; an external IP
 * by the board that has it. Headless services
 * and ExternalName are DNS alone.
 */
import {
  type DesiredService,
  PROXY_PROTOCOL_ANNOTATION,
  type ServiceEndpoint,
  type ServicePort,
} from '../../protocol/messages.ts';
import { mixedFnv1a } from '../plan/fnv1a.ts';
import type { ProxyProtocol } from './proxy-header.ts';

export interface Backend {
  readonly ip: string;
  readonly port: number;
}

/** Whom a port is opened for. */
export interface ServiceRef {
  readonly namespace: string;
  readonly name: string;
  /** It is no service but this pod, with a host port. */
  readonly podUid?: string;
  /** It is no service but this Ingress. */
  readonly isIngress?: true;
}

export interface ListenerSpec {
  /** Undefined: every address of the board. */
  readonly ip: string | undefined;
  readonly port: number;
  readonly service: ServiceRef;
  readonly backends: readonly Backend[];
  /** A client that comes again within so many seconds reaches the same backend. */
  readonly affinity: { readonly key: string; readonly seconds: number } | undefined;
  /** Ranges of clients that are let in; undefined: all. */
  readonly sourceRanges: readonly string[] | undefined;
  /** How backends are told who the client is; without it not at all. For TCP. */
  readonly proxyProtocol?: ProxyProtocol;
  /** The agent itself answers, as a web server. For TCP. */
  readonly web?: 'http' | 'https';
  /** The address is that of a pod of another board, which is the only backend. */
  readonly isRelayedPod?: true;
}

export interface ServiceProblem {
  readonly service: ServiceRef;
  readonly reason:
    | 'InvalidAnnotation'
    | 'UnsupportedProtocol'
    | 'PortConflict'
    | 'ListenFailed'
    | 'RouteConflict'
    | 'InvalidCertificate'
    | 'AddressOffLan'
    | 'AddressConflict'
    | 'InvalidName'
    | 'NameConflict';
  readonly message: string;
}

export interface ServiceTable {
  /** For TCP, by "ip:port"; "*:port" for a node port. */
  readonly listeners: ReadonlyMap<string, ListenerSpec>;
  /** For UDP; each with an address, so that answers come from where the client sent to. */
  readonly udpListeners: ReadonlyMap<string, ListenerSpec>;
  readonly problems: readonly ServiceProblem[];
}

export interface BoardPlace {
  readonly node: string;
  /** What the board is known by on the LAN. */
  readonly address: string;
  /** All IPv4 addresses of the board, also those of loopback and bridges. */
  readonly addresses: readonly string[];
}

interface Draft {
  readonly listeners: Map<string, ListenerSpec>;
  readonly udpListeners: Map<string, ListenerSpec>;
  readonly problems: ServiceProblem[];
}

export function serviceTable(services: readonly DesiredService[], board: BoardPlace): ServiceTable {
  const draft: Draft = { listeners: new Map(), udpListeners: new Map(), problems: [] };
  const sorted = [...services].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  for (const service of sorted) {
    if (service.clusterIp === '' || service.clusterIp === 'None') continue;
    const { proxyProtocol } = service;
    if (proxyProtocol !== undefined && !isProxyProtocol(proxyProtocol)) {
      draft.problems.push(badProxyProtocol(service, proxyProtocol));
    }
    for (const port of service.ports) {
      if (port.protocol === 'SCTP') draft.problems.push(unsupported(service, port));
      else addListeners(draft, service, port, board);
    }
  }
  return draft;
}

/**
 * Two random choices by open connections: nearly as even as asking all, and no herd runs to a backend that
 * has just become free. Where both have the same, of all that have it the one chosen longest ago: a few requests in a row
 * reach every idle pod. Backends in `tried` are left out; undefined when all are.
 */
export function chooseBackend(
  backends: readonly Backend[],
  tried: ReadonlySet<Backend>,
  openConnections: (backend: Backend) => number,
  /** Which choice it last was, counted up from 1; 0: none yet. */
  lastTurn: (backend: Backend) => number,
  random: () => number,
): Backend | undefined {
  const left = tried.size === 0 ? backends : backends.filter((backend) => !tried.has(backend));
  if (left.length <= 1) return left[0];
  const first = Math.floor(random() * left.length);
  // One of the others, each as likely.
  const second = (first + 1 + Math.floor(random() * (left.length - 1))) % left.length;
  const [a, b] = [left[first], left[second]];
  if (a === undefined || b === undefined) return a ?? b;
  const open = openConnections(a);
  if (openConnections(b) !== open) return openConnections(b) < open ? b : a;
  let longest = a;
  for (const one of left) {
    if (lastTurn(one) < lastTurn(longest) && openConnections(one) === open) longest = one;
  }
  return longest;
}

/**
 * The backend of a client by rendezvous hashing: no memory, and when a backend goes, only its own clients
 * move.
 */
export function stickyBackend(
  backends: readonly Backend[],
  tried: ReadonlySet<Backend>,
  clientIp: string,
): Backend | undefined {
  let best: Backend | undefined;
  let bestScore = -1;
  for (const backend of backends) {
    if (tried.has(backend)) continue;
    const score = mixedFnv1a(`${clientIp} ${backendKey(backend)}`);
    if (score > bestScore) [best, bestScore] = [backend, score];
  }
  return best;
}

export function kindOf({ podUid, isIngress }: ServiceRef): 'Service' | 'Pod' | 'Ingress' {
  if (isIngress === true) return 'Ingress';
  return podUid === undefined ? 'Service' : 'Pod';
}

export function affinityOf(
  { namespace, name, sessionAffinitySeconds: seconds }: DesiredService,
  port: ServicePort,
): ListenerSpec['affinity'] {
  return seconds === undefined ? undefined : { key: `${namespace}/${name}/${port.name}`, seconds };
}

/** Empty without the annotation, and when it is wrong. */
export function proxyProtocolOf({
  proxyProtocol,
}: DesiredService): Pick<ListenerSpec, 'proxyProtocol'> {
  return isProxyProtocol(proxyProtocol) ? { proxyProtocol } : {};
}

export function backendKey({ ip, port }: Backend): string {
  return `${ip}:${port}`;
}

/** One place to listen. Without an ip on all addresses of the board. */
interface Place {
  readonly ip: string | undefined;
  readonly port: number;
  /** From outside of the cluster: the external traffic policy holds. */
  readonly external: boolean;
  readonly sourceRanges?: readonly string[] | undefined;
}

function addListeners(
  { listeners, udpListeners, problems }: Draft,
  service: DesiredService,
  port: ServicePort,
  board: BoardPlace,
): void {
  const { namespace, name } = service;
  const affinity = affinityOf(service, port);
  const into = port.protocol === 'UDP' ? udpListeners : listeners;
  for (const place of placesOf(service, port, board)) {
    const backends = backendsOf(service, port.name, place.external, board.node);
    if (backends.length === 0) continue;
    const key = `${place.ip ?? '*'}:${place.port}`;
    const other = into.get(key);
    if (other !== undefined) {
      // A service may reach one place twice: a load balancer whose port is its node port.
      const own = other.service.namespace === namespace && other.service.name === name;
      if (!own) problems.push(conflict(service, place, other));
      continue;
    }
    const { ip, port: number, sourceRanges } = place;
    const spec = { ip, port: number, service: { namespace, name }, backends, affinity };
    into.set(key, { ...spec, sourceRanges, ...proxyProtocolOf(service) });
  }
}

function placesOf(service: DesiredService, port: ServicePort, board: BoardPlace): Place[] {
  const places: Place[] = [{ ip: service.clusterIp, port: port.port, external: false }];
  if (port.nodePort !== undefined) {
    // One socket for all addresses would answer UDP from another one than the client asked.
    const ips = port.protocol === 'UDP' ? board.addresses : [undefined];
    for (const ip of ips) places.push({ ip, port: port.nodePort, external: true });
  }
  if (service.loadBalancer !== undefined) {
    const { sourceRanges: ranges, address: ip = board.address } = service.loadBalancer;
    const sourceRanges = ranges.length === 0 ? undefined : ranges;
    // An address of the pool is listened for by the board that holds it just now (agent/pool/).
    if (board.addresses.includes(ip) || (ip === board.address && ip !== '')) {
      places.push({ ip, port: port.port, external: true, sourceRanges });
    }
  }
  for (const ip of service.externalIps ?? []) {
    const known = places.some((place) => place.ip === ip && place.port === port.port);
    // Another board has it, or none: nobody can listen on an address that is not there.
    if (known || !board.addresses.includes(ip)) continue;
    places.push({ ip, port: port.port, external: true });
  }
  return places;
}

/** `external`: for clients from outside of the cluster. */
export function backendsOf(
  service: DesiredService,
  portName: string,
  external: boolean,
  node: string,
): Backend[] {
  const { endpoints, externalTrafficLocal, internalTrafficLocal, preferLocal } = service;
  const onlyLocal = external ? externalTrafficLocal : internalTrafficLocal;
  const local = endpoints.filter((endpoint) => endpoint.node === node);
  const usable = usableOf(onlyLocal ? local : endpoints);
  const near = preferLocal === true ? usable.filter((one) => one.node === node) : [];
  return (near.length > 0 ? near : usable).flatMap(({ ip, ports }) => {
    const port = ports[portName];
    return port === undefined ? [] : [{ ip, port }];
  });
}

/** The ready ones; while there is none, those that are on their way out and still answer. */
function usableOf(endpoints: readonly ServiceEndpoint[]): ServiceEndpoint[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready && !endpoint.terminating);
  return ready.length > 0 ? ready : endpoints.filter(({ terminating }) => terminating);
}

function conflict(service: DesiredService, place: Place, other: ListenerSpec): ServiceProblem {
  const { namespace, name } = service;
  return {
    service: { namespace, name },
    reason: 'PortConflict',
    message:
      `port ${place.port} of ${place.ip ?? 'this board'} is held by service ${nameOf(other.service)}: ` +
      'give one of them another port',
  };
}

function isProxyProtocol(text: string | undefined): text is ProxyProtocol {
  return text === 'v1' || text === 'v2';
}

function badProxyProtocol({ namespace, name }: ServiceRef, text: string): ServiceProblem {
  return {
    service: { namespace, name },
    reason: 'InvalidAnnotation',
    message:
      `annotation ${PROXY_PROTOCOL_ANNOTATION} is ${JSON.stringify(text.slice(0, 40))}, and may be "v1" or "v2": ` +
      'backends are not told who the client is',
  };
}

function unsupported(service: DesiredService, port: ServicePort): ServiceProblem {
  const { namespace, name } = service;
  return {
    service: { namespace, name },
    reason: 'UnsupportedProtocol',
    message:
      `port ${port.port}/${port.protocol} is not forwarded: this version of Pier forwards TCP and UDP; ` +
      'reach the pods by their own addresses',
  };
}

function nameOf({ namespace, name }: ServiceRef): string {
  return `${namespace}/${name}`;
}
