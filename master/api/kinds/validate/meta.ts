/**
 * `metadata` of every kind: labels, annotations, owners, finalizers. The name itself and the namespace are
 * checked by the machinery, which knows the request's path and the kind's `validateName`.
 */
import type { ObjectMeta, OwnerReference } from '../../../../protocol/kinds/meta.ts';
import { labelKeyErrors } from '../../../../protocol/names.ts';
import { validateLabels } from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { eachReason, invalidValue, required, tooLong } from './errors.ts';

/** Kubernetes' bound for all annotations of one object together. */
const ANNOTATION_BYTES_MAX = 256 * 1024;
/** Finalizers of the garbage collector, which exclude each other. */
const ORPHAN = 'orphan';
const FOREGROUND = 'foregroundDeletion';

export function validateObjectMeta(meta: ObjectMeta | undefined): FieldError[] {
  if (meta === undefined) return [];
  return [
    ...validateLabels(meta.labels ?? {}, 'metadata.labels'),
    ...validateAnnotations('metadata.annotations', meta.annotations),
    ...validateOwners('metadata.ownerReferences', meta.ownerReferences ?? []),
    ...validateFinalizers('metadata.finalizers', meta.finalizers ?? []),
  ];
}

export function validateAnnotations(
  field: string,
  annotations: Record<string, string> | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    // As a label key, but upper case is welcome in the prefix too.
    errors.push(...eachReason(field, key, labelKeyErrors(key.toLowerCase())));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > ANNOTATION_BYTES_MAX) errors.push(tooLong(field, ANNOTATION_BYTES_MAX));
  return errors;
}

function validateOwners(field: string, owners: readonly OwnerReference[]): FieldError[] {
  const errors: FieldError[] = [];
  const controllers: string[] = [];
  for (const owner of owners) {
    for (const part of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if (!owner[part]) errors.push(required(`${field}.${part}`, 'must not be empty'));
    }
    if (owner.apiVersion === 'v1' && owner.kind === 'Event') {
      errors.push(invalidValue(field, owner, '/v1, Kind=Event is disallowed from being an owner'));
    }
    if (owner.controller === true) controllers.push(owner.name);
  }
  const [first, second] = controllers;
  if (first !== undefined && second !== undefined) {
    const found = `Found "true" in references for ${first} and ${second}`;
    const why = `Only one reference can have Controller set to true. ${found}`;
    errors.push(invalidValue(field, owners, why));
  }
  return errors;
}

function validateFinalizers(field: string, finalizers: readonly string[]): FieldError[] {
  const errors = finalizers.flatMap((one) => eachReason(field, one, labelKeyErrors(one)));
  if (finalizers.includes(ORPHAN) && finalizers.includes(FOREGROUND)) {
    const why = `finalizer ${ORPHAN} and ${FOREGROUND} cannot be both set`;
    errors.push(invalidValue(field, finalizers, why));
  }
  return errors;
}
