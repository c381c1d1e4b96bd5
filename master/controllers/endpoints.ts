/**
 * Endpoints: the addresses of the pods behind a Service. Pure.
 *
 * Promises: only pods with an IP that have not ended are listed; a pod that is ending is listed
 * only when the Service asks for not-ready addresses; the order is fixed, so that equal sets are
 * equal objects. Services without a selector keep the Endpoints that people wrote. Source:
 * Kubernetes' documentation of Services.
 */

import type {
  EndpointAddress,
  EndpointPort,
  EndpointSubset,
  Endpoints,
  Pod,
  Service,
  ServicePort,
} from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action } from './actions.ts';
import { canonicalJson } from './pod-template.ts';
import { isPodReady } from './pods.ts';

/** Kubernetes cuts Endpoints at a thousand addresses and says so in an annotation. */
const ADDRESSES_MAX = 1_000;
const OVER_CAPACITY = 'endpoints.kubernetes.io/over-capacity';
export const HEADLESS_LABEL = 'service.kubernetes.io/headless';
const MANAGED_BY = 'endpoints.kubernetes.io/managed-by';

interface EndpointsView {
  readonly namespace: string;
  readonly name: string;
  /** Absent: the Service is gone. */
  readonly service: Service | undefined;
  /** All pods of the namespace. */
  readonly pods: readonly Pod[];
  readonly endpoints: Endpoints | undefined;
}

export function reconcileEndpoints(view: EndpointsView): Action[] {
  const { service, endpoints, namespace, name } = view;
  if (service === undefined || service.metadata?.deletionTimestamp !== undefined) {
    if (endpoints === undefined || !isManaged(endpoints)) return [];
    const uid = endpoints.metadata?.uid ?? '';
    return [{ type: 'delete', id: RESOURCES.endpoints, namespace, name, uid }];
  }
  const selector = service.spec?.selector ?? {};
  if (Object.keys(selector).length === 0 || service.spec?.type === 'ExternalName') return [];
  const wanted = desiredEndpoints(service, view.pods);
  if (endpoints === undefined) {
    return [{ type: 'create', id: RESOURCES.endpoints, object: wanted }];
  }
  const { annotations: _replaced, ...metadata } = endpoints.metadata ?? {};
  const annotations = mergedAnnotations(endpoints, wanted);
  const object: Endpoints = {
    ...endpoints,
    metadata: {
      ...metadata,
      labels: { ...wanted.metadata?.labels },
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    subsets: wanted.subsets ?? [],
  };
  const same =
    canonicalJson([object.metadata, object.subsets]) ===
    canonicalJson([endpoints.metadata, endpoints.subsets ?? []]);
  return same ? [] : [{ type: 'update', id: RESOURCES.endpoints, object }];
}

function isManaged(endpoints: Endpoints): boolean {
  return endpoints.metadata?.labels?.[MANAGED_BY] === 'endpoint-controller';
}

function mergedAnnotations(endpoints: Endpoints, wanted: Endpoints): Record<string, string> {
  const { [OVER_CAPACITY]: _dropped, ...others } = endpoints.metadata?.annotations ?? {};
  return { ...others, ...wanted.metadata?.annotations };
}

function desiredEndpoints(service: Service, pods: readonly Pod[]): Endpoints {
  const { subsets, isCut } = subsetsOf(service, pods);
  const isHeadless = service.spec?.clusterIP === 'None';
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: {
      name: service.metadata?.name ?? '',
      namespace: service.metadata?.namespace ?? '',
      labels: {
        ...service.metadata?.labels,
        [MANAGED_BY]: 'endpoint-controller',
        ...(isHeadless ? { [HEADLESS_LABEL]: '' } : {}),
      },
      ...(isCut ? { annotations: { [OVER_CAPACITY]: 'truncated' } } : {}),
    },
    subsets,
  };
}

interface Member {
  readonly address: EndpointAddress;
  readonly isReady: boolean;
}

function subsetsOf(
  service: Service,
  pods: readonly Pod[],
): { subsets: EndpointSubset[]; isCut: boolean } {
  const matchLabels = service.spec?.selector ?? {};
  const includesNotReady = service.spec?.publishNotReadyAddresses === true;
  const byPorts = new Map<string, { ports: EndpointPort[]; members: Member[] }>();
  const chosen = pods
    .filter((pod) => matchesLabelSelector({ matchLabels }, pod.metadata?.labels ?? {}))
    .filter((pod) => isListed(pod, includesNotReady))
    .sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
  for (const pod of chosen.slice(0, ADDRESSES_MAX)) {
    const ports = portsFor(service, pod);
    // A pod that has none of the named ports serves nothing; a headless Service may have no ports
    // at all.
    if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
    const key = JSON.stringify(ports);
    const group = byPorts.get(key) ?? { ports, members: [] };
    group.members.push({
      address: addressOf(service, pod),
      isReady: includesNotReady || isPodReady(pod),
    });
    byPorts.set(key, group);
  }
  const subsets = [...byPorts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { ports, members }]) => subsetOf(ports, members));
  return { subsets, isCut: chosen.length > ADDRESSES_MAX };
}

function subsetOf(ports: EndpointPort[], members: readonly Member[]): EndpointSubset {
  const ready = members.filter((one) => one.isReady).map((one) => one.address);
  const notReady = members.filter((one) => !one.isReady).map((one) => one.address);
  return {
    ...(ready.length === 0 ? {} : { addresses: ready }),
    ...(notReady.length === 0 ? {} : { notReadyAddresses: notReady }),
    ...(ports.length === 0 ? {} : { ports }),
  };
}

function isListed(pod: Pod, includesNotReady: boolean): boolean {
  if ((pod.status?.podIP ?? '') === '' || hasEnded(pod.status)) return false;
  return includesNotReady || pod.metadata?.deletionTimestamp === undefined;
}

function addressOf(service: Service, pod: Pod): EndpointAddress {
  return { ip: pod.status?.podIP ?? '', ...placeOf(service, pod) };
}

/** Who answers at a pod's address, and on which board; its hostname when the Service governs it. */
export function placeOf(service: Service, pod: Pod): Omit<EndpointAddress, 'ip'> {
  const { name, namespace, uid } = pod.metadata ?? {};
  const hostname = pod.spec?.hostname ?? '';
  const hasHostname = hostname !== '' && pod.spec?.subdomain === service.metadata?.name;
  return {
    ...(hasHostname ? { hostname } : {}),
    ...(pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    targetRef: {
      kind: 'Pod',
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      ...(uid === undefined ? {} : { uid }),
    },
  };
}

/** The ports of the Service as this pod has them; a named port that it lacks is left out. */
export function portsFor(service: Service, pod: Pod): EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const port of service.spec?.ports ?? []) {
    const number = targetPortOf(port, pod);
    if (number === undefined) continue;
    ports.push({
      ...(port.name === undefined || port.name === '' ? {} : { name: port.name }),
      port: number,
      protocol: port.protocol ?? 'TCP',
      ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
    });
  }
  return ports;
}

/**
 * A number, or the container port of that name and protocol; sidecars count, other init containers
 * do not.
 */
export function targetPortOf(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target === 0 ? port.port : target;
  if (target === '') return port.port;
  if (/^\d+$/.test(target)) return Number(target);
  const sidecars = (pod.spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    for (const one of container.ports ?? []) {
      const isSameProtocol = (one.protocol ?? 'TCP') === (port.protocol ?? 'TCP');
      if (one.name === target && isSameProtocol) return one.containerPort;
    }
  }
  return undefined;
}
