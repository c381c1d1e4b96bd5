/**
 * From a parsed body to a typed object of a kind: the group, version and kind it names, and every field, by the table
 * of kinds. What is unknown is refused, told or passed over, as `fieldValidation` says.
 */
import {
  decodeObject,
  decodingError,
  strictDecodingError,
  strictWarnings,
} from '../../protocol/kinds/decode.ts';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { badRequest } from '../../protocol/status.ts';

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

/** What a body is to become. */
export interface BodyKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Name in the table, as `io.k8s.api.core.v1.Pod`. */
  readonly message: string;
}

export interface InputOptions {
  readonly fieldValidation: FieldValidation;
  readonly warn?: ((text: string) => void) | undefined;
  /** Doubled keys that the parser found. */
  readonly duplicateFields?: readonly string[];
}

/** Throws 400 when the value is not what the path asks for. The object is fresh: free to change. */
export function decodeInput<T extends KubeObject>(
  value: unknown,
  wanted: BodyKind,
  options: InputOptions,
): T {
  checkKind(value, wanted);
  const decoded = decodeObject<T>(wanted.message, value);
  if (decoded.errors.length > 0) {
    throw decodingError(wanted.kind, wanted.version, decoded.errors);
  }
  const warnings = strictWarnings(decoded.unknownFields, [...(options.duplicateFields ?? [])]);
  if (warnings.length > 0) {
    if (options.fieldValidation === 'Strict') {
      throw strictDecodingError(wanted.kind, wanted.version, warnings);
    }
    if (options.fieldValidation === 'Warn') {
      for (const text of warnings) options.warn?.(text);
    }
  }
  return decoded.object;
}

/** Kubernetes takes a body without kind and apiVersion for the kind of the path, and refuses any other kind. */
function checkKind(value: unknown, wanted: BodyKind): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest(
      `${wanted.kind} in version "${wanted.version}" cannot be handled as a ${wanted.kind}: the body is no object`,
    );
  }
  const apiVersion: unknown = Reflect.get(value, 'apiVersion') ?? '';
  const kind: unknown = Reflect.get(value, 'kind') ?? '';
  const expected = apiVersionOf(wanted.group, wanted.version);
  if (apiVersion !== '' && apiVersion !== expected) {
    throw badRequest(
      `the API version in the data (${String(apiVersion)}) does not match the expected API version (${expected})`,
    );
  }
  if (kind !== '' && kind !== wanted.kind) {
    throw badRequest(
      `${String(kind)} in version "${wanted.version}" cannot be handled as a ${wanted.kind}: ` +
        `the path takes a ${wanted.kind}`,
    );
  }
}

export function apiVersionOf(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`;
}
