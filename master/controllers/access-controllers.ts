/**
 * What every namespace has (the ServiceAccount `default`, the ConfigMap `kube-root-ca.crt`), and the rules of aggregated
 * ClusterRoles (Kubernetes: service account, root CA and cluster role aggregation controllers).
 */
import type { ClusterRole, ConfigMap, Namespace } from '../../protocol/kinds/types.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import { deepEqual } from '../api/equal.ts';
import { effectiveRules } from '../api/rbac/rules.ts';
import { keyOf } from '../informer/informer.ts';
import type { SharedInformers } from '../informer/shared.ts';
import type { Action } from './actions.ts';
import { isTerminating } from './namespace.ts';
import { type Controller, watchOf } from './runner.ts';

const DEFAULT_ACCOUNT = 'default';
const ROOT_CA = 'kube-root-ca.crt';
const ABOUT_ROOT_CA = {
  'kubernetes.io/description':
    "Holds the certificate of the authority that signs the API server's.",
};

export interface NamespaceView {
  readonly namespace: Namespace;
  readonly hasAccount: boolean;
  readonly rootCa: ConfigMap | undefined;
}

/** `caCertificate`: PEM; absent where nobody knows it (tests): then the ConfigMap is left alone. */
export function reconcileAccess(view: NamespaceView, caCertificate: string | undefined): Action[] {
  if (isTerminating(view.namespace)) return [];
  const namespace = view.namespace.metadata?.name ?? '';
  const actions: Action[] = [];
  if (!view.hasAccount) {
    const object = { metadata: { name: DEFAULT_ACCOUNT, namespace } };
    actions.push({ type: 'create', id: RESOURCES.serviceAccounts, object });
  }
  if (caCertificate === undefined) return actions;
  const data = { 'ca.crt': caCertificate };
  if (view.rootCa === undefined) {
    const metadata = { name: ROOT_CA, namespace, annotations: ABOUT_ROOT_CA };
    const object: ConfigMap = { metadata, data };
    actions.push({ type: 'create', id: RESOURCES.configMaps, object });
  } else if (!deepEqual(view.rootCa.data ?? {}, data)) {
    const object: ConfigMap = { ...view.rootCa, data };
    actions.push({ type: 'update', id: RESOURCES.configMaps, object });
  }
  return actions;
}

export function namespaceAccessController(
  informers: SharedInformers,
  client: ApiClient,
  caCertificate: string | undefined,
): Controller {
  const { namespaces } = informers;
  const accounts = informers.metadataOf(RESOURCES.serviceAccounts);
  const configMaps = informers.metadataOf(RESOURCES.configMaps);
  return {
    name: 'namespace-access-controller',
    workers: 2,
    watches: [
      watchOf(namespaces, ({ type, object }) => (type === 'deleted' ? [] : [keyOf(object)])),
      watchOf(accounts, ({ type, object: { metadata } }) =>
        type === 'deleted' && metadata?.name === DEFAULT_ACCOUNT ? [metadata.namespace ?? ''] : [],
      ),
      watchOf(configMaps, ({ object: { metadata } }) =>
        metadata?.name === ROOT_CA ? [metadata.namespace ?? ''] : [],
      ),
    ],
    async reconcile(name) {
      const namespace = namespaces.get('', name);
      if (namespace === undefined || isTerminating(namespace)) return [];
      const hasAccount = accounts.get(name, DEFAULT_ACCOUNT) !== undefined;
      const rootCa = await client
        .get<ConfigMap>(RESOURCES.configMaps, name, ROOT_CA)
        .catch(ifMissing);
      return reconcileAccess({ namespace, hasAccount, rootCa }, caCertificate);
    },
  };
}

function ifMissing(error: unknown): undefined {
  if (error instanceof ApiError && error.code === 404) return undefined;
  throw error;
}

/** Aggregated roles show the rules that they have (the API works with them at once, whatever is shown). */
export function reconcileAggregation(roles: readonly ClusterRole[]): Action[] {
  return roles
    .filter((role) => role.aggregationRule !== undefined)
    .map((role) => ({ role, rules: effectiveRules(role, roles) }))
    .filter(({ role, rules }) => !deepEqual(role.rules ?? [], rules))
    .map(({ role, rules }): Action => {
      const object: ClusterRole = { ...role, rules };
      return { type: 'update', id: RESOURCES.clusterRoles, object };
    });
}

export function roleAggregationController(
  informers: SharedInformers,
  client: ApiClient,
): Controller {
  const roles = informers.metadataOf(RESOURCES.clusterRoles);
  return {
    name: 'cluster-role-aggregation-controller',
    workers: 1,
    watches: [watchOf(roles, () => ['all'])],
    reconcile: async () =>
      reconcileAggregation((await client.list<ClusterRole>(RESOURCES.clusterRoles)).items),
  };
}
