/** A StatefulSet's spec, and what of it may change. Wording as in apps/v1. */
import type { StatefulSet, StatefulSetSpec } from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { deepEqual } from '../../equal.ts';
import { isZero, validateCountOrPercent } from './deployment.ts';
import { forbidden, invalidValue, notNegative, required } from './errors.ts';
import { validateSelector, validateTemplate } from './workload.ts';

const MAY_CHANGE = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
] as const;

export function validateStatefulSetSpec(path: string, spec: StatefulSetSpec): FieldError[] {
  const errors = [
    ...validatePolicies(path, spec),
    ...notNegative(`${path}.replicas`, spec.replicas),
    ...notNegative(`${path}.minReadySeconds`, spec.minReadySeconds),
    ...notNegative(`${path}.revisionHistoryLimit`, spec.revisionHistoryLimit),
    ...notNegative(`${path}.ordinals.start`, spec.ordinals?.start),
    ...validateSelector(`${path}.selector`, spec.selector, 'statefulset'),
    ...validateTemplate(`${path}.template`, spec.template, spec.selector, 'other'),
  ];
  if ((spec.volumeClaimTemplates ?? []).length > 0) {
    const why =
      'this version of Pier has no PersistentVolumeClaims yet: leave the field out and give the template a hostPath or emptyDir volume';
    errors.push(forbidden(`${path}.volumeClaimTemplates`, why));
  }
  return errors;
}

function validatePolicies(path: string, spec: StatefulSetSpec): FieldError[] {
  const errors: FieldError[] = [];
  const { podManagementPolicy = '', updateStrategy } = spec;
  if (podManagementPolicy === '') {
    errors.push(required(`${path}.podManagementPolicy`));
  } else if (podManagementPolicy !== 'OrderedReady' && podManagementPolicy !== 'Parallel') {
    const why = "must be 'OrderedReady' or 'Parallel'";
    errors.push(invalidValue(`${path}.podManagementPolicy`, podManagementPolicy, why));
  }
  const at = `${path}.updateStrategy`;
  const { type = '', rollingUpdate } = updateStrategy ?? {};
  if (type === '') {
    errors.push(required(at));
  } else if (type === 'OnDelete') {
    const why = "only allowed for updateStrategy 'RollingUpdate'";
    if (rollingUpdate !== undefined) {
      errors.push(invalidValue(`${at}.rollingUpdate`, rollingUpdate, why));
    }
  } else if (type !== 'RollingUpdate') {
    errors.push(invalidValue(at, updateStrategy, "must be 'RollingUpdate' or 'OnDelete'"));
  } else {
    const { partition, maxUnavailable } = rollingUpdate ?? {};
    errors.push(...notNegative(`${at}.rollingUpdate.partition`, partition));
    if (maxUnavailable !== undefined) {
      const field = `${at}.rollingUpdate.maxUnavailable`;
      errors.push(...validateCountOrPercent(field, maxUnavailable));
      if (isZero(maxUnavailable)) errors.push(invalidValue(field, maxUnavailable, 'cannot be 0'));
    }
  }
  return errors;
}

/** Names and storage of its pods hang on the rest. */
export function validateStatefulSetUpdate(next: StatefulSet, previous: StatefulSet): FieldError[] {
  const fixed = (spec: StatefulSetSpec | undefined): object =>
    Object.fromEntries(
      Object.entries(spec ?? {}).filter(([name]) => !MAY_CHANGE.some((one) => one === name)),
    );
  if (deepEqual(fixed(next.spec), fixed(previous.spec))) return [];
  const quoted = MAY_CHANGE.map((name) => `'${name}'`);
  const list = `${quoted.slice(0, -1).join(', ')} and ${quoted.at(-1)}`;
  const why = `updates to statefulset spec for fields other than ${list} are forbidden`;
  return [forbidden('spec', why)];
}
