/** What ConfigMaps and Secrets share: keys that can be file names, a bound on size, and immutability. */
import type { FieldError } from '../../../../protocol/status.ts';
import { deepEqual } from '../../equal.ts';
import { eachReason, forbidden } from './errors.ts';
import { configKeyReasons } from './names.ts';

/** Kubernetes' bound for the values of one ConfigMap or Secret. */
export const DATA_BYTES_MAX = 1024 * 1024;

export function validateKeys(field: string, data: Record<string, string>): FieldError[] {
  return Object.keys(data).flatMap((key) =>
    eachReason(`${field}[${key}]`, key, configKeyReasons(key)),
  );
}

/** Length of the bytes that a base64 text stands for. */
export function base64Bytes(text: string): number {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return Math.max(0, Math.floor((text.length * 3) / 4) - padding);
}

interface Immutable {
  immutable?: boolean;
}

/** Once `immutable` is set, neither it nor the data may change: boards may then keep what they have for good. */
export function validateImmutableUpdate<T extends Immutable>(
  next: T,
  previous: T,
  dataFields: readonly (keyof T & string)[],
): FieldError[] {
  if (previous.immutable !== true) return [];
  const why = 'field is immutable when `immutable` is set';
  const errors = next.immutable === true ? [] : [forbidden('immutable', why)];
  for (const field of dataFields) {
    if (!deepEqual(next[field] ?? {}, previous[field] ?? {})) errors.push(forbidden(field, why));
  }
  return errors;
}
