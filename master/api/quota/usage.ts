/** What one object counts towards a ResourceQuota, and whether the quota's scopes hold for it. Pure. */

import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type {
  PersistentVolumeClaim,
  Pod,
  ResourceQuota,
  ScopedResourceSelectorRequirement,
  Service,
} from '../../../protocol/kinds/types.ts';
import { hasEnded } from '../../../protocol/pod-phase.ts';
import { qosClass } from '../kinds/qos-class.ts';
import { type Amounts, only, podAmounts, sum } from './amounts.ts';

/** Group and plural of a resource. */
export interface Counted {
  readonly group: string;
  readonly plural: string;
}

/** Counted under their plain names too. */
const PLAIN: ReadonlySet<string> = new Set([
  ...['configmaps', 'persistentvolumeclaims', 'replicationcontrollers', 'resourcequotas'],
  ...['secrets', 'services'],
]);
const COMPUTE: ReadonlySet<string> = new Set([
  ...['cpu', 'memory', 'ephemeral-storage', 'pods', 'requests.cpu', 'requests.memory'],
  ...['limits.cpu', 'limits.memory', 'requests.ephemeral-storage', 'limits.ephemeral-storage'],
]);
const CLAIMS = 'persistentvolumeclaims';
const REQUESTS_STORAGE = 'requests.storage';
/** CLASS.storageclass.storage.k8s.io/requests.storage and .../persistentvolumeclaims. */
const OF_CLASS = '.storageclass.storage.k8s.io/';
/** Of services. */
const SERVICE_PARTS: ReadonlySet<string> = new Set([
  'services.nodeports',
  'services.loadbalancers',
]);
/** Asked for by their own name as well as with "requests.". */
const SHORT: ReadonlySet<string> = new Set(['cpu', 'memory', 'ephemeral-storage']);

function countName({ group, plural }: Counted): string {
  return group === '' ? `count/${plural}` : `count/${plural}.${group}`;
}

/** Everything that the object counts, under all the names that a quota may use. */
export function usageOf(resource: Counted, object: KubeObject): Amounts {
  const counts: Amounts = { [countName(resource)]: '1' };
  if (resource.group !== '') return counts;
  if (resource.plural === 'pods') return { ...counts, ...podUsage(object as Pod) };
  if (!PLAIN.has(resource.plural)) return counts;
  const plain = { ...counts, [resource.plural]: '1' };
  if (resource.plural === 'services') return { ...plain, ...serviceUsage(object as Service) };
  if (resource.plural === CLAIMS) {
    return { ...plain, ...claimUsage(object as PersistentVolumeClaim) };
  }
  return plain;
}

/** A pod that has ended holds nothing. */
function podUsage({ spec = { containers: [] }, status }: Pod): Amounts {
  if (hasEnded(status)) return {};
  const result: Record<string, string> = { pods: '1' };
  for (const [name, quantity] of Object.entries(podAmounts(spec, 'requests'))) {
    result[`requests.${name}`] = quantity;
    if (SHORT.has(name)) result[name] = quantity;
  }
  for (const [name, quantity] of Object.entries(podAmounts(spec, 'limits'))) {
    result[`limits.${name}`] = quantity;
  }
  return result;
}

/** In all, and of each storage class. */
function claimUsage({ spec }: PersistentVolumeClaim): Amounts {
  const storage = spec?.resources?.requests?.storage ?? '0';
  const all = { [REQUESTS_STORAGE]: storage };
  const name = spec?.storageClassName ?? '';
  if (name === '') return all;
  return {
    ...all,
    [`${name}${OF_CLASS}${REQUESTS_STORAGE}`]: storage,
    [`${name}${OF_CLASS}${CLAIMS}`]: '1',
  };
}

function serviceUsage({ spec }: Service): Amounts {
  const ports = spec?.ports ?? [];
  if (spec?.type === 'NodePort') return { 'services.nodeports': String(ports.length) };
  if (spec?.type !== 'LoadBalancer') return {};
  const open = ports.filter((port) => (port.nodePort ?? 0) !== 0).length;
  return { 'services.nodeports': String(open), 'services.loadbalancers': '1' };
}

/** Which resource a name of `spec.hard` is about; undefined when it can count nothing. */
export function resourceOf(name: string): Counted | undefined {
  if (name.startsWith('count/')) {
    const rest = name.slice('count/'.length);
    const dot = rest.indexOf('.');
    return dot < 0
      ? { group: '', plural: rest }
      : { group: rest.slice(dot + 1), plural: rest.slice(0, dot) };
  }
  if (COMPUTE.has(name) || /^requests\.(.+\/.+|hugepages-.+)$/.test(name)) {
    return { group: '', plural: 'pods' };
  }
  if (name === REQUESTS_STORAGE || name.includes(OF_CLASS)) return { group: '', plural: CLAIMS };
  if (SERVICE_PARTS.has(name)) return { group: '', plural: 'services' };
  return PLAIN.has(name) ? { group: '', plural: name } : undefined;
}

/** The resources whose objects this quota counts. */
export function countedBy(quota: ResourceQuota): Counted[] {
  const found = new Map<string, Counted>();
  for (const name of Object.keys(quota.spec?.hard ?? {})) {
    const resource = resourceOf(name);
    if (resource !== undefined) found.set(countName(resource), resource);
  }
  return [...found.values()];
}

/** Scopes speak of pods only; an object of another kind is in a quota without scopes. */
export function isInScope(quota: ResourceQuota, resource: Counted, object: KubeObject): boolean {
  const { scopes = [], scopeSelector } = quota.spec ?? {};
  const wanted: ScopedResourceSelectorRequirement[] = [
    ...scopes.map((scopeName) => ({ scopeName, operator: 'Exists' })),
    ...(scopeSelector?.matchExpressions ?? []),
  ];
  if (wanted.length === 0) return true;
  if (resource.group !== '' || resource.plural !== 'pods') return false;
  return wanted.every((one) => podMatches(one, object as Pod));
}

function podMatches(wanted: ScopedResourceSelectorRequirement, { spec }: Pod): boolean {
  switch (wanted.scopeName) {
    case 'Terminating':
      return spec?.activeDeadlineSeconds !== undefined;
    case 'NotTerminating':
      return spec?.activeDeadlineSeconds === undefined;
    case 'BestEffort':
      return qosClass(spec) === 'BestEffort';
    case 'NotBestEffort':
      return qosClass(spec) !== 'BestEffort';
    case 'PriorityClass':
      return classMatches(wanted, spec?.priorityClassName ?? '');
    default:
      return false;
  }
}

function classMatches(
  { operator, values = [] }: ScopedResourceSelectorRequirement,
  name: string,
): boolean {
  switch (operator) {
    case 'In':
      return values.includes(name);
    case 'NotIn':
      return !values.includes(name);
    case 'DoesNotExist':
      return name === '';
    default:
      return name !== '';
  }
}

/** `used` of a quota's status: every name of `hard`, zero where nothing counts. */
export function totalUsage(
  quota: ResourceQuota,
  content: Iterable<{ readonly resource: Counted; readonly objects: readonly KubeObject[] }>,
): Amounts {
  const names = Object.keys(quota.spec?.hard ?? {});
  let used: Amounts = Object.fromEntries(names.map((name) => [name, '0']));
  for (const { resource, objects } of content) {
    for (const object of objects) {
      if (!isInScope(quota, resource, object)) continue;
      used = sum(used, only(usageOf(resource, object), names));
    }
  }
  return used;
}
