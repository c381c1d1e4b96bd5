/**
 * What a cluster has from its first start on: the system namespaces and priority classes, the default roles, storage
 * class and ingress class, the `kubernetes` Service and the one of cluster DNS. Called at every start; what is there already stays as it is, but a
 * default role gets back the rules that it lost.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type {
  ClusterRole,
  ClusterRoleBinding,
  EndpointSlice,
  Endpoints,
  Namespace,
  PolicyRule,
  PriorityClass,
  Service,
  Subject,
} from '../../protocol/kinds/types.ts';
import { ApiError } from '../../protocol/status.ts';
import { PIER_CLASS } from '../ingress/ingress-class.ts';
import { LOCAL_PATH_CLASS } from '../volumes/local-path.ts';
import { type ApiClient, RESOURCES, type ResourceId } from './client.ts';
import { deepEqual } from './equal.ts';
import { SYSTEM_CLASSES } from './kinds/priority-class.ts';
import {
  AUTO_UPDATE,
  DEFAULT_CLUSTER_ROLE_BINDINGS,
  DEFAULT_CLUSTER_ROLES,
} from './rbac/default-roles.ts';
import { uncovered } from './rbac/rules.ts';

/** On kube-system: that the first class of its kind was made, and its name. */
const STORAGE_MADE = 'pier.local/storage-class-made';
const INGRESS_MADE = 'pier.local/ingress-class-made';
const NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

export interface BootstrapOptions {
  /** Where every board's agent answers DNS. */
  readonly dnsIp: string;
  /** First address of the service range. */
  readonly serviceIp: string;
  /** Where boards reach this API server; without it the Service is not made. */
  readonly address?: { readonly ip: string; readonly port: number };
}

export async function bootstrap(client: ApiClient, options: BootstrapOptions): Promise<void> {
  for (const name of NAMESPACES) {
    await ensure<Namespace>(client, RESOURCES.namespaces, { metadata: { name } });
  }
  for (const one of SYSTEM_CLASSES) {
    await ensure<PriorityClass>(client, RESOURCES.priorityClasses, one);
  }
  await ensureRoles(client);
  await makeOnce(client, STORAGE_MADE, RESOURCES.storageClasses, LOCAL_PATH_CLASS);
  await makeOnce(client, INGRESS_MADE, RESOURCES.ingressClasses, PIER_CLASS);
  await ensure<Service>(client, RESOURCES.services, dnsService(options.dnsIp));
  const { address, serviceIp } = options;
  if (address === undefined) return;
  const metadata = {
    name: 'kubernetes',
    namespace: 'default',
    labels: { component: 'apiserver', provider: 'kubernetes' },
  };
  await ensure<Service>(client, RESOURCES.services, {
    metadata,
    spec: {
      type: 'ClusterIP',
      clusterIP: serviceIp,
      clusterIPs: [serviceIp],
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: address.port }],
    },
  });
  const ports = [{ name: 'https', port: address.port, protocol: 'TCP' }];
  const place = { name: 'kubernetes', namespace: 'default' };
  // The slice has the name that clients know, so nobody needs to mirror the Endpoints.
  await ensureSaid<Endpoints>(client, RESOURCES.endpoints, {
    metadata: { ...place, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } },
    subsets: [{ addresses: [{ ip: address.ip }], ports }],
  });
  await ensureSlice(client, {
    metadata: { ...place, labels: { 'kubernetes.io/service-name': place.name } },
    addressType: address.ip.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: [{ addresses: [address.ip], conditions: { ready: true } }],
    ports,
  });
}

/** The type of the addresses never changes: a slice of the other type makes room. */
async function ensureSlice(client: ApiClient, wanted: EndpointSlice): Promise<void> {
  const id = RESOURCES.endpointSlices;
  const have = await ensure<EndpointSlice>(client, id, wanted);
  const { name = '', namespace = '' } = wanted.metadata ?? {};
  if (have.addressType !== wanted.addressType) await client.delete(id, namespace, name);
  await ensureSaid<EndpointSlice>(client, id, wanted);
}

async function ensureRoles(client: ApiClient): Promise<void> {
  for (const wanted of DEFAULT_CLUSTER_ROLES) {
    const have = await ensure<ClusterRole>(client, RESOURCES.clusterRoles, wanted);
    const lost = uncovered(have.rules ?? [], wanted.rules ?? []);
    if (lost.length === 0 || isLeftAlone(have)) continue;
    const rules: PolicyRule[] = [...(have.rules ?? []), ...lost];
    await client.update<ClusterRole>(RESOURCES.clusterRoles, { ...have, rules });
  }
  for (const wanted of DEFAULT_CLUSTER_ROLE_BINDINGS) {
    const id = RESOURCES.clusterRoleBindings;
    const have = await ensure<ClusterRoleBinding>(client, id, wanted);
    const old: readonly Subject[] = have.subjects ?? [];
    const lost = (wanted.subjects ?? []).filter((one) => !old.some((had) => deepEqual(had, one)));
    if (lost.length === 0 || isLeftAlone(have)) continue;
    await client.update<ClusterRoleBinding>(id, { ...have, subjects: [...old, ...lost] });
  }
}

/** Once in the life of a cluster: who deletes the class, or changes it, shall not see it come back. */
async function makeOnce(
  client: ApiClient,
  mark: string,
  id: ResourceId,
  object: KubeObject,
): Promise<void> {
  const place = await client.get<Namespace>(RESOURCES.namespaces, '', 'kube-system');
  if (place.metadata?.annotations?.[mark] !== undefined) return;
  await ensure(client, id, object);
  const annotations = { [mark]: object.metadata?.name ?? '' };
  await client.patch(RESOURCES.namespaces, '', 'kube-system', { metadata: { annotations } });
}

function isLeftAlone(object: KubeObject): boolean {
  return object.metadata?.annotations?.[AUTO_UPDATE] === 'false';
}

/**
 * Without a selector and without endpoints: each board's agent answers on the address itself, with or without us. The
 * labels are those by which `kubectl cluster-info` and other tools find cluster DNS.
 */
function dnsService(ip: string): Service {
  return {
    metadata: {
      name: 'kube-dns',
      namespace: 'kube-system',
      labels: {
        'k8s-app': 'kube-dns',
        'kubernetes.io/cluster-service': 'true',
        'kubernetes.io/name': 'KubeDNS',
      },
    },
    spec: {
      type: 'ClusterIP',
      clusterIP: ip,
      clusterIPs: [ip],
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
      ],
    },
  };
}

async function ensure<T extends KubeObject>(
  client: ApiClient,
  id: ResourceId,
  object: T,
): Promise<T> {
  const { name = '', namespace = '' } = object.metadata ?? {};
  try {
    return await client.get<T>(id, namespace, name);
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
    return client.create<T>(id, object);
  }
}

/** The address of the master may have changed since the last start: then what is there says the new one. */
async function ensureSaid<T extends KubeObject>(
  client: ApiClient,
  id: ResourceId,
  wanted: T,
): Promise<void> {
  const have = await ensure<T>(client, id, wanted);
  const labels = { ...have.metadata?.labels, ...wanted.metadata?.labels };
  await client.update<T>(id, { ...have, ...wanted, metadata: { ...have.metadata, labels } });
}
