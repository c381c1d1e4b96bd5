/**
 * The roles that every cluster has (Kubernetes: "Default roles and role bindings"): made at each start when they are missing,
 * and given back the rules that were taken from them; what was added to them stays. Annotating one with
 * `rbac.authorization.kubernetes.io/autoupdate: "false"` leaves it alone.
 */
import type { ClusterRole, ClusterRoleBinding, PolicyRule } from '../../../protocol/kinds/types.ts';
import { RBAC_GROUP } from './policy.ts';
import { AUTHENTICATED } from './subjects.ts';

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];
export const AUTO_UPDATE = 'rbac.authorization.kubernetes.io/autoupdate';
const LABELS = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };

const on = (verbs: string[], group: string, resources: string[]): PolicyRule => ({
  verbs,
  apiGroups: [group],
  resources,
});

const CORE_OBJECTS = [
  ...['configmaps', 'endpoints', 'persistentvolumeclaims', 'pods', 'replicationcontrollers'],
  ...['replicationcontrollers/scale', 'serviceaccounts', 'services'],
];
const CORE_REPORTS = [
  ...['bindings', 'events', 'limitranges', 'namespaces', 'namespaces/status', 'pods/log'],
  ...['pods/status', 'persistentvolumeclaims/status', 'replicationcontrollers/status'],
  ...['resourcequotas', 'resourcequotas/status', 'services/status'],
];
const WORKLOADS: readonly (readonly [group: string, objects: string[], statuses: string[]])[] = [
  [
    'apps',
    [
      ...['daemonsets', 'deployments', 'deployments/scale', 'replicasets', 'replicasets/scale'],
      ...['statefulsets', 'statefulsets/scale'],
    ],
    [
      ...['controllerrevisions', 'daemonsets/status', 'deployments/status', 'replicasets/status'],
      'statefulsets/status',
    ],
  ],
  ['autoscaling', ['horizontalpodautoscalers'], ['horizontalpodautoscalers/status']],
  ['batch', ['cronjobs', 'jobs'], ['cronjobs/status', 'jobs/status']],
  ['policy', ['poddisruptionbudgets'], ['poddisruptionbudgets/status']],
  ['networking.k8s.io', ['ingresses', 'networkpolicies'], ['ingresses/status']],
];

const VIEW: PolicyRule[] = [
  on(READ, '', [...CORE_OBJECTS, ...CORE_REPORTS]),
  on(READ, 'discovery.k8s.io', ['endpointslices']),
  on(READ, 'metrics.k8s.io', ['pods']),
  ...WORKLOADS.map(([group, objects, statuses]) => on(READ, group, [...objects, ...statuses])),
];

const EDIT: PolicyRule[] = [
  on(READ, '', ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'secrets']),
  on(READ, '', ['services/proxy']),
  on(['impersonate'], '', ['serviceaccounts']),
  on(WRITE, '', ['pods', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy']),
  on(['create'], '', ['pods/eviction', 'serviceaccounts/token']),
  on(WRITE, '', [
    ...['configmaps', 'events', 'persistentvolumeclaims', 'replicationcontrollers'],
    ...['replicationcontrollers/scale', 'secrets', 'serviceaccounts', 'services'],
    'services/proxy',
  ]),
  ...WORKLOADS.map(([group, objects]) => on(WRITE, group, objects)),
  on([...WRITE, ...READ], 'coordination.k8s.io', ['leases']),
];

const ADMIN: PolicyRule[] = [
  on(['create'], 'authorization.k8s.io', ['localsubjectaccessreviews']),
  on([...WRITE, ...READ], RBAC_GROUP, ['roles', 'rolebindings']),
];

const DISCOVERY: PolicyRule[] = [
  {
    verbs: ['get'],
    nonResourceURLs: [
      ...['/api', '/api/*', '/apis', '/apis/*', '/healthz', '/livez', '/openapi', '/openapi/*'],
      ...['/readyz', '/version', '/version/'],
    ],
  },
];
const PUBLIC_INFO: PolicyRule[] = [
  {
    verbs: ['get'],
    nonResourceURLs: ['/healthz', '/healthz/*', '/livez', '/livez/*', '/readyz', '/readyz/*'],
  },
  { verbs: ['get'], nonResourceURLs: ['/version', '/version/'] },
];
/** Prometheus' certificate would be of the group `system:monitoring`. */
const MONITORING: PolicyRule[] = [
  {
    verbs: ['get'],
    nonResourceURLs: [
      ...['/healthz', '/healthz/*', '/livez', '/livez/*', '/metrics', '/metrics/slis'],
      ...['/readyz', '/readyz/*'],
    ],
  },
];
const KUBELET_API: PolicyRule[] = [
  on(['get', 'list', 'watch'], '', ['nodes']),
  on(['proxy'], '', ['nodes']),
  on(['*'], '', ['nodes/log', 'nodes/metrics', 'nodes/proxy', 'nodes/stats']),
];
const ISSUER: PolicyRule[] = [
  {
    verbs: ['get'],
    nonResourceURLs: [
      ...['/.well-known/openid-configuration', '/.well-known/openid-configuration/'],
      ...['/openid/v1/jwks', '/openid/v1/jwks/'],
    ],
  },
];
const BASIC_USER: PolicyRule[] = [
  on(['create'], 'authorization.k8s.io', ['selfsubjectaccessreviews', 'selfsubjectrulesreviews']),
  on(['create'], 'authentication.k8s.io', ['selfsubjectreviews']),
];
/** Whose requests somebody else than an administrator may be allowed to approve. */
const SIGNERS = ['kube-apiserver-client', 'kube-apiserver-client-kubelet', 'kubelet-serving'];
const approverRole = (signer: string) =>
  role(`system:certificates.k8s.io:${signer}-approver`, [
    {
      verbs: ['approve'],
      apiGroups: ['certificates.k8s.io'],
      resources: ['signers'],
      resourceNames: [`kubernetes.io/${signer}`],
    },
  ]);
const ALL: PolicyRule[] = [on(['*'], '*', ['*']), { verbs: ['*'], nonResourceURLs: ['*'] }];

const role = (name: string, rules: PolicyRule[], labels: Record<string, string> = {}) => ({
  metadata: { name, labels: { ...LABELS, ...labels }, annotations: { [AUTO_UPDATE]: 'true' } },
  rules,
});

const aggregateTo = (name: string) => `${RBAC_GROUP}/aggregate-to-${name}`;

/** `to`: the next larger role, which takes this one in. */
function aggregated(name: string, to: string | undefined): ClusterRole {
  const labels = to === undefined ? {} : { [aggregateTo(to)]: 'true' };
  return {
    metadata: role(name, [], labels).metadata,
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { [aggregateTo(name)]: 'true' } }] },
  };
}

const part = (name: string, rules: PolicyRule[]) =>
  role(`system:aggregate-to-${name}`, rules, { [aggregateTo(name)]: 'true' });

export const DEFAULT_CLUSTER_ROLES: readonly ClusterRole[] = [
  role('cluster-admin', ALL),
  part('view', VIEW),
  part('edit', EDIT),
  part('admin', ADMIN),
  aggregated('view', 'edit'),
  aggregated('edit', 'admin'),
  aggregated('admin', undefined),
  role('system:basic-user', BASIC_USER),
  ...SIGNERS.map(approverRole),
  role('system:discovery', DISCOVERY),
  role('system:kubelet-api-admin', KUBELET_API),
  role('system:monitoring', MONITORING),
  role('system:public-info-viewer', PUBLIC_INFO),
  role('system:service-account-issuer-discovery', ISSUER),
];

const bindTo = (name: string, group: string): ClusterRoleBinding => ({
  metadata: role(name, []).metadata,
  roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name },
  subjects: [{ kind: 'Group', apiGroup: RBAC_GROUP, name: group }],
});

export const DEFAULT_CLUSTER_ROLE_BINDINGS: readonly ClusterRoleBinding[] = [
  bindTo('cluster-admin', 'system:masters'),
  bindTo('system:basic-user', AUTHENTICATED),
  bindTo('system:discovery', AUTHENTICATED),
  bindTo('system:monitoring', 'system:monitoring'),
  bindTo('system:public-info-viewer', AUTHENTICATED),
  bindTo('system:service-account-issuer-discovery', 'system:serviceaccounts'),
];
