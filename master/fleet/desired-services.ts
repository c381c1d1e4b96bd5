/**
 * What every board should know of the cluster: services with their endpoints, and where the pods of each
 * board are reached. Pure.
 *
 * Endpoints come from the Endpoints object and from EndpointSlices that are not Pier's own. A pod that is being deleted is no
 * longer there; while it still answers it is added as `terminating`, so that boards let open connections to it end in peace.
 */

import { isIPv4 } from 'node:net';
import type {
  EndpointAddress,
  EndpointPort,
  EndpointSlice,
  Endpoints,
  ServicePort as KubeServicePort,
  Node,
  Pod,
  Service,
} from '../../protocol/kinds/types.ts';
import {
  type BoardRoute,
  type DesiredService,
  MDNS_ANNOTATION,
  MESSAGE_VERSION,
  PROXY_PROTOCOL_ANNOTATION,
  type ServiceEndpoint,
  type ServicePort,
} from '../../protocol/messages.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { targetPortOf } from '../controllers/endpoints.ts';
import { isPodReady } from '../controllers/pods.ts';
import type { AddressPool } from '../load-balancer/address-pool.ts';
import { isBoardsLoadBalancer, poolAddressOf } from '../load-balancer/allocation.ts';
import type { Digest } from './desired-pods.ts';
import { sliceEndpoints } from './slice-endpoints.ts';

export interface ServiceView {
  readonly service: Service;
  readonly endpoints: Endpoints | undefined;
  /** Those that somebody else than Pier keeps (`foreignSlices`). */
  readonly slices?: readonly EndpointSlice[];
  /** Pods of the service's namespace. */
  readonly pods: readonly Pod[];
  readonly digest: Digest;
  /** Undefined: boards listen for LoadBalancer services on their own addresses. */
  readonly addressPool?: AddressPool | undefined;
}

const DEFAULT_AFFINITY_SECONDS = 10_800;

export function desiredService(view: ServiceView): DesiredService {
  const { service, endpoints, slices = [] } = view;
  const spec = service.spec ?? {};
  const proxyProtocol = service.metadata?.annotations?.[PROXY_PROTOCOL_ANNOTATION];
  const written = (endpoints?.subsets ?? []).flatMap((subset) => [
    ...(subset.addresses ?? []).map((one) => endpointOf(one, subset.ports ?? [], true)),
    ...(subset.notReadyAddresses ?? []).map((one) => endpointOf(one, subset.ports ?? [], false)),
  ]);
  const listed = [...written, ...sliceEndpoints(slices)];
  const content = {
    namespace: service.metadata?.namespace ?? '',
    name: service.metadata?.name ?? '',
    type: typeOf(spec.type),
    clusterIp: spec.type === 'ExternalName' ? '' : (spec.clusterIP ?? ''),
    ...(spec.externalName === undefined || spec.externalName === ''
      ? {}
      : { externalName: spec.externalName }),
    ports: (spec.ports ?? []).map(portOf),
    endpoints: inOrder([
      ...merge(listed),
      ...terminating(view, new Set(listed.map(({ ip }) => ip))),
    ]),
    ...(spec.sessionAffinity === 'ClientIP'
      ? {
          sessionAffinitySeconds:
            spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS,
        }
      : {}),
    ...externalAccess(view),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
    ...mdnsOf(service),
    ...(spec.trafficDistribution === 'PreferSameNode' ? { preferLocal: true } : {}),
    internalTrafficLocal: spec.internalTrafficPolicy === 'Local',
    externalTrafficLocal: spec.externalTrafficPolicy === 'Local',
  };
  return { v: MESSAGE_VERSION, ...content, digest: view.digest(content) };
}

/** Undefined while the board has no address or no range for its pods. */
export function boardRoute(node: Node, digest: Digest): BoardRoute | undefined {
  const address = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '';
  const podCidr = node.spec?.podCIDR ?? '';
  if (address === '' || podCidr === '') return undefined;
  const content = { node: node.metadata?.name ?? '', address, podCidr };
  return { v: MESSAGE_VERSION, ...content, digest: digest(content) };
}

function externalAccess(view: ServiceView): Pick<DesiredService, 'externalIps' | 'loadBalancer'> {
  const { externalIPs: externalIps = [] } = view.service.spec ?? {};
  const loadBalancer = loadBalancerOf(view);
  return {
    ...(externalIps.length === 0 ? {} : { externalIps }),
    ...(loadBalancer === undefined ? {} : { loadBalancer }),
  };
}

/** With a pool only once the service has an address of it: until then it is pending, and nobody listens. */
function loadBalancerOf({ service, addressPool }: ServiceView): DesiredService['loadBalancer'] {
  const spec = service.spec ?? {};
  if (!isBoardsLoadBalancer(spec)) return undefined;
  const sourceRanges = (spec.loadBalancerSourceRanges ?? []).map((range) => range.trim());
  if (addressPool === undefined) return { sourceRanges };
  const address = poolAddressOf(service, addressPool);
  return address === undefined ? undefined : { sourceRanges, address };
}

function mdnsOf({ metadata, spec = {}, status }: Service): Pick<DesiredService, 'mdns'> {
  const name = metadata?.annotations?.[MDNS_ANNOTATION];
  if (name === undefined) return {};
  if (spec.type !== 'LoadBalancer' || isBoardsLoadBalancer(spec)) return { mdns: { name } };
  const shown = status?.loadBalancer?.ingress ?? [];
  return { mdns: { name, addresses: shown.flatMap(({ ip = '' }) => (isIPv4(ip) ? [ip] : [])) } };
}

function typeOf(type: string | undefined): DesiredService['type'] {
  switch (type) {
    case 'NodePort':
    case 'LoadBalancer':
    case 'ExternalName':
      return type;
    default:
      return 'ClusterIP';
  }
}

function portOf(port: KubeServicePort): ServicePort {
  const { protocol } = port;
  return {
    name: port.name ?? '',
    protocol: protocol === 'UDP' || protocol === 'SCTP' ? protocol : 'TCP',
    port: port.port,
    ...(port.nodePort === undefined || port.nodePort === 0 ? {} : { nodePort: port.nodePort }),
  };
}

function endpointOf(
  address: EndpointAddress,
  ports: readonly EndpointPort[],
  ready: boolean,
): ServiceEndpoint {
  const { targetRef } = address;
  return {
    ip: address.ip,
    ...(address.nodeName === undefined ? {} : { node: address.nodeName }),
    ...(targetRef?.kind === 'Pod'
      ? { pod: `${targetRef.namespace ?? ''}/${targetRef.name ?? ''}` }
      : {}),
    ...(address.hostname === undefined ? {} : { hostname: address.hostname }),
    ready,
    terminating: false,
    ports: Object.fromEntries(ports.map((port) => [port.name ?? '', port.port])),
  };
}

/** An address may stand in several subsets: with other ports it is one endpoint, with another number of a port it is two. */
function merge(endpoints: readonly ServiceEndpoint[]): ServiceEndpoint[] {
  const byIp = new Map<string, ServiceEndpoint[]>();
  for (const endpoint of endpoints) {
    const known = byIp.get(endpoint.ip) ?? [];
    const at = known.findIndex((one) => isSameEndpoint(one, endpoint));
    const { [at]: one } = known;
    if (one === undefined) known.push(endpoint);
    else known[at] = { ...one, ports: { ...one.ports, ...endpoint.ports } };
    byIp.set(endpoint.ip, known);
  }
  return [...byIp.values()].flat();
}

function isSameEndpoint(one: ServiceEndpoint, other: ServiceEndpoint): boolean {
  return (
    one.ready === other.ready &&
    one.terminating === other.terminating &&
    one.hostname === other.hostname &&
    Object.entries(other.ports).every(([name, port]) => (one.ports[name] ?? port) === port)
  );
}

/** The same for the same endpoints, so that the digest is, too. */
function inOrder(endpoints: readonly ServiceEndpoint[]): ServiceEndpoint[] {
  const key = ({ ip, ports }: ServiceEndpoint) => `${ip} ${JSON.stringify(ports)}`;
  return [...endpoints].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function terminating(view: ServiceView, listed: ReadonlySet<string>): ServiceEndpoint[] {
  const { service, pods } = view;
  const matchLabels = service.spec?.selector ?? {};
  if (Object.keys(matchLabels).length === 0 || service.spec?.type === 'ExternalName') return [];
  const found: ServiceEndpoint[] = [];
  for (const pod of pods) {
    const ip = pod.status?.podIP ?? '';
    if (pod.metadata?.deletionTimestamp === undefined || ip === '' || listed.has(ip)) continue;
    if (hasEnded(pod.status)) continue;
    if (!matchesLabelSelector({ matchLabels }, pod.metadata.labels ?? {})) continue;
    const ports: Record<string, number> = {};
    for (const port of service.spec?.ports ?? []) {
      const number = targetPortOf(port, pod);
      if (number !== undefined) ports[port.name ?? ''] = number;
    }
    found.push({
      ip,
      ...(pod.spec?.nodeName === undefined ? {} : { node: pod.spec.nodeName }),
      pod: `${pod.metadata.namespace ?? ''}/${pod.metadata.name ?? ''}`,
      ready: isPodReady(pod),
      terminating: true,
      ports,
    });
  }
  return found;
}
