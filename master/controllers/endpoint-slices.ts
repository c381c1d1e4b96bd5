/**
 * EndpointSlices: the addresses behind a Service, at most a hundred to a slice. Pure.
 *
 * Promises: an address stays in its slice, so that one pod that comes or goes changes one slice; the order within a slice is
 * fixed, and nothing is written while nothing changes. Pods that are ending are listed as terminating. Endpoints that people
 * wrote for a Service without a selector are mirrored. Slices of other makers are never touched. Source: Kubernetes'
 * documentation of EndpointSlices.
 */

import type { ObjectMeta } from '../../protocol/kinds/meta.ts';
import type {
  DiscoveryV1EndpointPort,
  Endpoint,
  EndpointPort,
  EndpointSlice,
  Endpoints,
  Pod,
  Service,
} from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action } from './actions.ts';
import { HEADLESS_LABEL, placeOf, portsFor } from './endpoints.ts';
import type { EventTarget } from './events.ts';
import { ownerReferenceTo } from './ownership.ts';
import { canonicalJson } from './pod-template.ts';
import { isPodReady } from './pods.ts';

/** Kubernetes' default of `--max-endpoints-per-slice`. */
const ENDPOINTS_MAX = 100;
/** Names the Service of a slice. */
export const SERVICE_NAME = 'kubernetes.io/service-name';
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
const SKIP_MIRROR = 'endpointslice.kubernetes.io/skip-mirror';
const LEADER = 'control-plane.alpha.kubernetes.io/leader';
const FROM_PODS = 'endpointslice-controller.k8s.io';
const FROM_ENDPOINTS = 'endpointslicemirroring-controller.k8s.io';
const MAKERS: readonly string[] = [FROM_PODS, FROM_ENDPOINTS];

/** Whether one of the controllers here keeps the slice; others are people's and other programs'. */
export function isKeptByUs({ metadata }: EndpointSlice): boolean {
  return MAKERS.includes(metadata?.labels?.[MANAGED_BY] ?? '');
}

interface SlicesView {
  readonly namespace: string;
  /** Of the Service, and so of its Endpoints. */
  readonly name: string;
  /** Absent: the Service is gone. */
  readonly service: Service | undefined;
  /** All pods of the namespace. */
  readonly pods: readonly Pod[];
  /** Mirrored when the Service has no selector. */
  readonly endpoints: Endpoints | undefined;
  /** All slices of the namespace that name the Service. */
  readonly slices: readonly EndpointSlice[];
}

/** Endpoints with the same kind of address and the same ports: what one slice can hold. */
interface Group {
  readonly addressType: string;
  readonly ports: DiscoveryV1EndpointPort[];
  readonly endpoints: Endpoint[];
}

/** What the slices of a Service should say, together. */
interface Wanted {
  readonly maker: string;
  readonly labels: Record<string, string>;
  readonly owner: EventTarget;
  readonly groups: readonly Group[];
}

export function reconcileEndpointSlices(view: SlicesView): Action[] {
  const wanted = wantedOf(view);
  const own = view.slices
    .filter((one) => isKeptByUs(one) && !isGoing(one))
    .sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
  if (wanted === undefined) return own.map(remove);
  const unused = new Set(own);
  const take = (isFit: (slice: EndpointSlice) => boolean, max: number): EndpointSlice[] => {
    const taken = [...unused]
      .filter((one) => one.metadata?.labels?.[MANAGED_BY] === wanted.maker && isFit(one))
      .slice(0, max);
    for (const slice of taken) unused.delete(slice);
    return taken;
  };
  const matched = wanted.groups.map((group) => ({
    group,
    present: take((one) => groupKey(one) === groupKey(group), own.length),
  }));
  const actions: Action[] = [];
  for (const { group, present } of matched) {
    // A slice that nobody needs any more takes the new ports: one write instead of two.
    if (present.length === 0) {
      present.push(...take(({ addressType }) => addressType === group.addressType, 1));
    }
    for (const [index, endpoints] of pack(group.endpoints, present).entries()) {
      const slice = present[index];
      // An emptied slice goes, unless it is the one that says that there is nothing behind the Service.
      if (endpoints.length > 0 || (group.endpoints.length === 0 && index === 0)) {
        actions.push(...write(view, wanted, { ...group, endpoints }, slice));
      } else if (slice !== undefined) {
        actions.push(remove(slice));
      }
    }
  }
  return [...actions, ...[...unused].map(remove)];
}

function isGoing({ metadata }: { metadata?: ObjectMeta }): boolean {
  return metadata?.deletionTimestamp !== undefined;
}

function wantedOf({ service, pods, endpoints }: SlicesView): Wanted | undefined {
  if (service === undefined || isGoing(service)) return undefined;
  if (service.spec?.type === 'ExternalName') return undefined;
  const selector = service.spec?.selector ?? {};
  if (Object.keys(selector).length > 0) {
    return {
      maker: FROM_PODS,
      labels: {
        ...service.metadata?.labels,
        ...(service.spec?.clusterIP === 'None' ? { [HEADLESS_LABEL]: '' } : {}),
      },
      owner: { apiVersion: 'v1', kind: 'Service', metadata: service.metadata ?? {} },
      groups: groupsOfPods(service, pods),
    };
  }
  if (endpoints === undefined || isGoing(endpoints)) return undefined;
  const { labels = {}, annotations = {} } = endpoints.metadata ?? {};
  if (labels[SKIP_MIRROR] === 'true' || annotations[LEADER] !== undefined) return undefined;
  return {
    maker: FROM_ENDPOINTS,
    labels,
    owner: { apiVersion: 'v1', kind: 'Endpoints', metadata: endpoints.metadata ?? {} },
    groups: groupsOfEndpoints(endpoints),
  };
}

function groupsOfPods(service: Service, pods: readonly Pod[]): Group[] {
  const matchLabels = service.spec?.selector ?? {};
  const groups = new Map<string, Group>();
  for (const pod of pods) {
    const podIP = pod.status?.podIP ?? '';
    if (podIP === '' || hasEnded(pod.status)) continue;
    if (!matchesLabelSelector({ matchLabels }, pod.metadata?.labels ?? {})) continue;
    const ports = portsFor(service, pod);
    if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
    const serving = isPodReady(pod);
    const terminating = isGoing(pod);
    const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
    addTo(groups, ports, {
      addresses: [podIP],
      conditions: { ready, serving, terminating },
      ...placeOf(service, pod),
    });
  }
  // A Service without pods has one empty slice: there is nothing, and that is known.
  const empty = { addressType: 'IPv4', ports: [], endpoints: [] };
  return groups.size === 0 ? [empty] : [...groups.values()];
}

function groupsOfEndpoints({ subsets = [] }: Endpoints): Group[] {
  const groups = new Map<string, Group>();
  for (const { addresses = [], notReadyAddresses = [], ports = [] } of subsets) {
    const known = new Set(addresses.map(({ ip }) => ip));
    const all = [
      ...addresses.map((one) => ({ ...one, ready: true })),
      ...notReadyAddresses
        .filter(({ ip }) => !known.has(ip))
        .map((one) => ({ ...one, ready: false })),
    ];
    for (const { ip, ready, hostname, nodeName, targetRef } of all) {
      addTo(groups, ports, {
        addresses: [ip],
        conditions: { ready },
        ...(hostname === undefined || hostname === '' ? {} : { hostname }),
        ...(nodeName === undefined ? {} : { nodeName }),
        ...(targetRef === undefined ? {} : { targetRef }),
      });
    }
  }
  return [...groups.values()];
}

function addTo(
  groups: Map<string, Group>,
  ports: readonly EndpointPort[],
  endpoint: Endpoint,
): void {
  const addressType = endpoint.addresses[0]?.includes(':') === true ? 'IPv6' : 'IPv4';
  const own = ports.map((port) => ({ ...port, name: port.name ?? '' }));
  const key = groupKey({ addressType, ports: own });
  const group = groups.get(key) ?? { addressType, ports: own, endpoints: [] };
  group.endpoints.push(endpoint);
  groups.set(key, group);
}

/** Equal for ports that differ in their order only. */
function groupKey({ addressType, ports = [] }: Pick<EndpointSlice, 'addressType' | 'ports'>) {
  const list = ports.map(({ name = '', protocol = 'TCP', port, appProtocol }) =>
    JSON.stringify([name, protocol, port ?? 0, appProtocol ?? '']),
  );
  return `${addressType} ${list.sort().join(' ')}`;
}

/** The same endpoint before and after its conditions changed. */
function identityOf({ addresses, targetRef }: Endpoint): string {
  return `${addresses[0] ?? ''} ${targetRef?.uid ?? ''}`;
}

/**
 * The endpoints of each slice: first those of the slices that there are, in their order, then of new ones. What is in a slice
 * already stays there; what is new fills the gaps.
 */
function pack(
  endpoints: readonly Endpoint[],
  present: readonly EndpointSlice[],
): readonly Endpoint[][] {
  const waiting = new Map(endpoints.map((one) => [identityOf(one), one]));
  const slices = present.map(({ endpoints: old = [] }) => {
    const kept: Endpoint[] = [];
    for (const one of old) {
      const key = identityOf(one);
      const now = waiting.get(key);
      if (now === undefined || kept.length === ENDPOINTS_MAX) continue;
      waiting.delete(key);
      kept.push(now);
    }
    return kept;
  });
  const rest = inOrder([...waiting.values()]);
  for (const slice of slices) {
    slice.push(...rest.splice(0, ENDPOINTS_MAX - slice.length));
  }
  while (rest.length > 0 || slices.length === 0) slices.push(rest.splice(0, ENDPOINTS_MAX));
  return slices.map(inOrder);
}

function inOrder(endpoints: readonly Endpoint[]): Endpoint[] {
  const key = (one: Endpoint): string => `${one.targetRef?.name ?? ''} ${identityOf(one)}`;
  return [...endpoints].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** Nothing when the slice says all that already. */
function write(
  { namespace, name }: SlicesView,
  { labels, maker, owner }: Wanted,
  { addressType, ports, endpoints }: Group,
  slice: EndpointSlice | undefined,
): Action[] {
  const metadata: ObjectMeta = {
    ...(slice?.metadata ?? { generateName: `${name}-`, namespace }),
    labels: { ...labels, [SERVICE_NAME]: name, [MANAGED_BY]: maker },
    ownerReferences: [ownerReferenceTo(owner)],
  };
  const id = RESOURCES.endpointSlices;
  if (slice === undefined) {
    const made: EndpointSlice = {
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
      ...{ metadata, addressType, endpoints, ports },
    };
    return [{ type: 'create', id, object: made }];
  }
  const isSamePorts = groupKey(slice) === groupKey({ addressType, ports });
  const object: EndpointSlice = {
    ...slice,
    metadata,
    endpoints,
    ports: isSamePorts ? (slice.ports ?? []) : ports,
  };
  const isSame =
    isSamePorts &&
    canonicalJson([metadata, endpoints]) === canonicalJson([slice.metadata, slice.endpoints ?? []]);
  return isSame ? [] : [{ type: 'update', id, object }];
}

function remove({ metadata = {} }: EndpointSlice): Action {
  const { namespace = '', name = '', uid = '' } = metadata;
  return { type: 'delete', id: RESOURCES.endpointSlices, namespace, name, uid };
}
