/** Fields of a pod as environment variables and files (Kubernetes: downward API). */
import type {
  ObjectFieldSelector,
  ResourceFieldSelector,
} from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { notSupported, required } from './errors.ts';

/** Labels and annotations are named by key besides. */
export const ENV_FIELD_PATHS: readonly string[] = [
  ...['metadata.name', 'metadata.namespace', 'metadata.uid', 'spec.nodeName'],
  ...['spec.serviceAccountName', 'status.hostIP', 'status.hostIPs', 'status.podIP'],
  'status.podIPs',
];
/** A file can hold all labels at once. */
export const VOLUME_FIELD_PATHS: readonly string[] = [
  ...['metadata.annotations', 'metadata.labels', 'metadata.name', 'metadata.namespace'],
  'metadata.uid',
];
const RESOURCES: readonly string[] = [
  ...['limits.cpu', 'limits.ephemeral-storage', 'limits.memory'],
  ...['requests.cpu', 'requests.ephemeral-storage', 'requests.memory'],
];
const KEYED = /^metadata\.(labels|annotations)\['[^']+'\]$/;

export function validateFieldRef(
  path: string,
  { apiVersion, fieldPath }: ObjectFieldSelector,
  supported: readonly string[],
): FieldError[] {
  if (!apiVersion) return [required(`${path}.apiVersion`)];
  if (fieldPath === '') return [required(`${path}.fieldPath`)];
  if (KEYED.test(fieldPath) || supported.includes(fieldPath)) return [];
  return [notSupported(`${path}.fieldPath`, fieldPath, supported)];
}

export function validateResourceFieldRef(
  path: string,
  { resource }: ResourceFieldSelector,
): FieldError[] {
  if (resource === '') return [required(`${path}.resource`)];
  const known = RESOURCES.includes(resource) || /^(limits|requests)\.hugepages-/.test(resource);
  return known ? [] : [notSupported(`${path}.resource`, resource, RESOURCES)];
}
