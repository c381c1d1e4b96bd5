/**
 * One function per sort of field error, worded as Kubernetes words them (k8s.io/apimachinery
 * field.Error): clients and people search for these very sentences.
 */
import type { FieldError } from '../../../../protocol/status.ts';

export const IMMUTABLE = 'field is immutable';
export const NOT_NEGATIVE = 'must be greater than or equal to 0';

/** Numbers and booleans plain, strings quoted, the rest as JSON: `%v`, `%q` and json.Marshal of Go. */
function shown(value: unknown): string {
  if (value === undefined) return '""';
  return JSON.stringify(value);
}

function withDetail(text: string, detail: string): string {
  return detail === '' ? text : `${text}: ${detail}`;
}

export function required(field: string, detail = ''): FieldError {
  return { field, reason: 'FieldValueRequired', message: withDetail('Required value', detail) };
}

export function invalidValue(field: string, value: unknown, detail: string): FieldError {
  const message = withDetail(`Invalid value: ${shown(value)}`, detail);
  return { field, reason: 'FieldValueInvalid', message };
}

/** `supported` is printed in the order given. */
export function notSupported(
  field: string,
  value: unknown,
  supported: readonly string[],
): FieldError {
  const list = supported.map((one) => JSON.stringify(one)).join(', ');
  const message = `Unsupported value: ${shown(value)}: supported values: ${list}`;
  return { field, reason: 'FieldValueNotSupported', message };
}

export function forbidden(field: string, detail: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: withDetail('Forbidden', detail) };
}

export function duplicate(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${shown(value)}` };
}

/** A reference to something that the object itself must hold, as a volume mount to its volume. */
export function notFoundValue(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueNotFound', message: `Not found: ${shown(value)}` };
}

export function tooLong(field: string, bytesMax: number): FieldError {
  const message = `Too long: may not be more than ${bytesMax} bytes`;
  return { field, reason: 'FieldValueTooLong', message };
}

export function tooMany(field: string, found: number, itemsMax: number): FieldError {
  const message = `Too many: ${found}: must have at most ${itemsMax} items`;
  return { field, reason: 'FieldValueTooMany', message };
}

/** Every reason a check returned, as errors of one field. */
export function eachReason(
  field: string,
  value: unknown,
  reasons: readonly string[],
): FieldError[] {
  return reasons.map((reason) => invalidValue(field, value, reason));
}

export function notNegative(field: string, value: number | undefined): FieldError[] {
  return value !== undefined && value < 0 ? [invalidValue(field, value, NOT_NEGATIVE)] : [];
}

/** An optional field of a closed list of words; absent and empty are fine here. */
export function oneOf(
  field: string,
  value: string | undefined,
  supported: readonly string[],
): FieldError[] {
  if (value === undefined || value === '' || supported.includes(value)) return [];
  return [notSupported(field, value, supported)];
}
