/** A StatefulSet's spec, and what of it may change. Wording as in apps/v1. */
import type { StatefulSet, StatefulSetSpec } from '../../../../protocol/kinds/types.ts';
import { dnsLabelErrors } from '../../../../protocol/names.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { deepEqual } from '../../equal.ts';
import { isZero, validateCountOrPercent } from './deployment.ts';
import {
  duplicate,
  eachReason,
  forbidden,
  invalidValue,
  notNegative,
  oneOf,
  required,
} from './errors.ts';
import { validateClaimSpec } from './persistent-volume.ts';
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
    ...validateTemplate(`${path}.template`, withClaimVolumes(spec), spec.selector, 'other'),
    ...validateRetention(path, spec),
  ];
  const names = new Set<string>();
  for (const [index, template] of (spec.volumeClaimTemplates ?? []).entries()) {
    const at = `${path}.volumeClaimTemplates[${index}]`;
    const name = template.metadata?.name ?? '';
    if (name === '') errors.push(required(`${at}.metadata.name`));
    else errors.push(...eachReason(`${at}.metadata.name`, name, dnsLabelErrors(name)));
    if (names.has(name)) errors.push(duplicate(`${at}.metadata.name`, name));
    names.add(name);
    errors.push(...validateClaimSpec(`${at}.spec`, template.spec ?? {}));
  }
  return errors;
}

/** Containers may mount what the pods get from volumeClaimTemplates. */
function withClaimVolumes({ template, volumeClaimTemplates = [] }: StatefulSetSpec) {
  const volumes = template.spec?.volumes ?? [];
  const added = volumeClaimTemplates
    .map(({ metadata }) => metadata?.name ?? '')
    .filter((name) => dnsLabelErrors(name).length === 0)
    .filter((name) => !volumes.some((one) => one.name === name))
    .map((name) => ({ name, persistentVolumeClaim: { claimName: name } }));
  const unique = new Map(added.map((one) => [one.name, one])).values();
  const spec = template.spec ?? { containers: [] };
  return { ...template, spec: { ...spec, volumes: [...volumes, ...unique] } };
}

function validateRetention(path: string, spec: StatefulSetSpec): FieldError[] {
  const { whenDeleted, whenScaled } = spec.persistentVolumeClaimRetentionPolicy ?? {};
  const at = `${path}.persistentVolumeClaimRetentionPolicy`;
  const words = ['Retain', 'Delete'];
  return [
    ...oneOf(`${at}.whenDeleted`, whenDeleted, words),
    ...oneOf(`${at}.whenScaled`, whenScaled, words),
  ];
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
