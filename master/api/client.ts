/**
 * The API layer as the parts inside the master use it: scheduler, controllers and fleet link are clients
 * like any other, with a user, the same authorization, defaulting and validation, and no way around
 * them to the store. The HTTP edge calls the same methods.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { TokenRequest } from '../../protocol/kinds/types.ts';

/** Who asks. Certificates give both: CN is the name, each O a group (Kubernetes: X509 client certs). */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  /** Of a service account, or as impersonated. */
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** A kind to talk about: `{ group: 'apps', version: 'v1', resource: 'deployments' }`. */
export interface ResourceId {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}

export interface ListOptions {
  /** Absent: all namespaces (or the kind has none). */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface ObjectList<T> {
  readonly items: readonly T[];
  /** The revision of the snapshot: where a watch continues. */
  readonly resourceVersion: string;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: Preconditions;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
}

/**
 * Errors are `ApiError` (protocol/status.ts): NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Expired.
 * Objects handed out are shared and frozen by agreement: copy (structuredClone) before changing one.
 */
export interface ApiClient {
  get<T extends KubeObject>(id: ResourceId, namespace: string, name: string): Promise<T>;
  list<T extends KubeObject>(id: ResourceId, options?: ListOptions): Promise<ObjectList<T>>;
  /** From `resourceVersion` (exclusive) on; ends when `signal` aborts; throws Expired when too far behind. */
  watch<T extends KubeObject>(
    id: ResourceId,
    options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(id: ResourceId, object: T): Promise<T>;
  /** With `metadata.resourceVersion` set: only if unchanged since (Conflict otherwise). `subresource`: 'status'. */
  update<T extends KubeObject>(id: ResourceId, object: T, subresource?: 'status'): Promise<T>;
  /** JSON merge patch (RFC 7386), retried by the server on conflict. */
  patch<T extends KubeObject>(
    id: ResourceId,
    namespace: string,
    name: string,
    mergePatch: Record<string, unknown>,
    subresource?: 'status',
  ): Promise<T>;
  /** The object when it lingers (finalizers, grace period), undefined when it is gone. */
  delete<T extends KubeObject>(
    id: ResourceId,
    namespace: string,
    name: string,
    options?: DeleteOptions,
  ): Promise<T | undefined>;
  /** POST pods/NAME/eviction: TooManyRequests while a disruption budget does not allow it, Conflict for another uid. */
  evict(namespace: string, podName: string, podUid: string): Promise<void>;
  /** POST pods/NAME/binding: assign the pod to a node, once. */
  bind(namespace: string, podName: string, podUid: string, nodeName: string): Promise<void>;
  /** POST serviceaccounts/NAME/token: the token. */
  createToken(
    namespace: string,
    account: string,
    spec: NonNullable<TokenRequest['spec']>,
  ): Promise<string>;
}

const id = (group: string, version: string, resource: string): ResourceId => ({
  group,
  version,
  resource,
});

/** The kinds that the master's own parts speak about. */
export const RESOURCES = {
  namespaces: id('', 'v1', 'namespaces'),
  nodes: id('', 'v1', 'nodes'),
  pods: id('', 'v1', 'pods'),
  services: id('', 'v1', 'services'),
  endpoints: id('', 'v1', 'endpoints'),
  endpointSlices: id('discovery.k8s.io', 'v1', 'endpointslices'),
  configMaps: id('', 'v1', 'configmaps'),
  secrets: id('', 'v1', 'secrets'),
  serviceAccounts: id('', 'v1', 'serviceaccounts'),
  events: id('', 'v1', 'events'),
  persistentVolumes: id('', 'v1', 'persistentvolumes'),
  persistentVolumeClaims: id('', 'v1', 'persistentvolumeclaims'),
  storageClasses: id('storage.k8s.io', 'v1', 'storageclasses'),
  deployments: id('apps', 'v1', 'deployments'),
  leases: id('coordination.k8s.io', 'v1', 'leases'),
  replicationControllers: id('', 'v1', 'replicationcontrollers'),
  replicaSets: id('apps', 'v1', 'replicasets'),
  daemonSets: id('apps', 'v1', 'daemonsets'),
  statefulSets: id('apps', 'v1', 'statefulsets'),
  controllerRevisions: id('apps', 'v1', 'controllerrevisions'),
  jobs: id('batch', 'v1', 'jobs'),
  horizontalPodAutoscalers: id('autoscaling', 'v2', 'horizontalpodautoscalers'),
  limitRanges: id('', 'v1', 'limitranges'),
  resourceQuotas: id('', 'v1', 'resourcequotas'),
  podTemplates: id('', 'v1', 'podtemplates'),
  runtimeClasses: id('node.k8s.io', 'v1', 'runtimeclasses'),
  ingresses: id('networking.k8s.io', 'v1', 'ingresses'),
  ingressClasses: id('networking.k8s.io', 'v1', 'ingressclasses'),
  networkPolicies: id('networking.k8s.io', 'v1', 'networkpolicies'),
  podDisruptionBudgets: id('policy', 'v1', 'poddisruptionbudgets'),
  priorityClasses: id('scheduling.k8s.io', 'v1', 'priorityclasses'),
  roles: id('rbac.authorization.k8s.io', 'v1', 'roles'),
  roleBindings: id('rbac.authorization.k8s.io', 'v1', 'rolebindings'),
  clusterRoles: id('rbac.authorization.k8s.io', 'v1', 'clusterroles'),
  clusterRoleBindings: id('rbac.authorization.k8s.io', 'v1', 'clusterrolebindings'),
  certificateSigningRequests: id('certificates.k8s.io', 'v1', 'certificatesigningrequests'),
  cronJobs: id('batch', 'v1', 'cronjobs'),
} as const;
