/**
 * Pod templates compared and named. Pure. The hash only names a ReplicaSet; equality decides which
 * ReplicaSet is the Deployment's current one, so a change of the hash's recipe would never restart
 * pods.
 */
import type { PodTemplateSpec } from '../../protocol/kinds/types.ts';

export const POD_TEMPLATE_HASH = 'pod-template-hash';

/** Kubernetes' alphabet for generated names: no vowels, so no words, and no digits like letters. */
const SAFE_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** JSON with sorted keys and without empty members, so that equal templates are equal strings. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined && member !== null && !isEmpty(member))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** A template as its owner wrote it: without the label that names its ReplicaSet. */
export function withoutHash(template: PodTemplateSpec | undefined): PodTemplateSpec {
  const { [POD_TEMPLATE_HASH]: _dropped, ...labels } = template?.metadata?.labels ?? {};
  return {
    ...template,
    metadata: { ...template?.metadata, labels },
  };
}

/** Equal apart from the pod-template-hash label. */
export function sameTemplate(
  a: PodTemplateSpec | undefined,
  b: PodTemplateSpec | undefined,
): boolean {
  return canonicalJson(withoutHash(a)) === canonicalJson(withoutHash(b));
}

/**
 * Ten characters (at most) that name this template; `collisionCount` makes another one of the same.
 */
export function templateHash(template: PodTemplateSpec, collisionCount: number): string {
  let hash = 0x811c9dc5;
  const text = `${canonicalJson(withoutHash(template))}${collisionCount > 0 ? collisionCount : ''}`;
  for (const byte of new TextEncoder().encode(text)) {
    // FNV-1a, 32 bits.
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  let name = '';
  for (const digit of String(hash)) name += SAFE_ALPHABET[digit.charCodeAt(0) % 27] ?? '';
  return name;
}
