/** What of a pod may change: little, because its containers are running. */
import type { Container, Pod, PodSpec, Toleration } from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { deepEqual } from '../../equal.ts';
import { forbidden, invalidValue, required } from './errors.ts';

const ONLY =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

export function validatePodUpdate(next: Pod, previous: Pod): FieldError[] {
  const after = next.spec ?? { containers: [] };
  const before = previous.spec ?? { containers: [] };
  for (const list of ['containers', 'initContainers'] as const) {
    if ((after[list] ?? []).length !== (before[list] ?? []).length) {
      return [forbidden(`spec.${list}`, 'pod updates may not add or remove containers')];
    }
  }
  const errors = [
    ...validateImages('spec.containers', after.containers),
    ...validateImages('spec.initContainers', after.initContainers ?? []),
    ...validateDeadline(after.activeDeadlineSeconds, before.activeDeadlineSeconds),
    ...validateAdditions(after.tolerations ?? [], before.tolerations ?? []),
  ];
  if (errors.length > 0) return errors;
  const changed = changedFields(withAllowedChanges(before, after), after);
  return changed.length === 0 ? [] : [forbidden('spec', `${ONLY}\nchanged: ${changed.join(', ')}`)];
}

/** By the subresource `ephemeralcontainers`: what is there stays as it is. */
export function validateAddedContainers(next: Pod, previous: Pod): FieldError[] {
  const after = new Map((next.spec?.ephemeralContainers ?? []).map((one) => [one.name, one]));
  return (previous.spec?.ephemeralContainers ?? []).flatMap((before) => {
    const same = after.get(before.name);
    if (deepEqual(before, same)) return [];
    const fields = same === undefined ? [] : differing(before, same);
    const why = same === undefined ? 'removed' : `changed\nchanged: ${fields.join(', ')}`;
    const name = JSON.stringify(before.name);
    const message = `existing ephemeral containers ${name} may not be ${why}`;
    return [forbidden('spec.ephemeralContainers', message)];
  });
}

function validateImages(path: string, containers: readonly Container[]): FieldError[] {
  return containers.flatMap(({ image }, index) =>
    image ? [] : [required(`${path}[${index}].image`)],
  );
}

/** It may be set, and brought forward. */
function validateDeadline(next: number | undefined, previous: number | undefined): FieldError[] {
  const field = 'spec.activeDeadlineSeconds';
  if (next === undefined) {
    const why = 'must not update from a positive integer to nil value';
    return previous === undefined ? [] : [invalidValue(field, null, why)];
  }
  if (previous === undefined || next <= previous) return [];
  return [invalidValue(field, next, 'must be less than or equal to previous value')];
}

function validateAdditions(
  next: readonly Toleration[],
  previous: readonly Toleration[],
): FieldError[] {
  const kept = previous.every((before) => next.some((after) => sameButSeconds(before, after)));
  if (kept) return [];
  const why = 'existing toleration can not be modified except its tolerationSeconds';
  return [forbidden('spec.tolerations', why)];
}

function sameButSeconds(a: Toleration, b: Toleration): boolean {
  return deepEqual({ ...a, tolerationSeconds: 0 }, { ...b, tolerationSeconds: 0 });
}

/** The old spec with all that may change taken from the new one: any difference left is not allowed. */
function withAllowedChanges(before: PodSpec, after: PodSpec): PodSpec {
  const images = (old: readonly Container[], fresh: readonly Container[]) =>
    old.map((container, index) => {
      const image = fresh[index]?.image;
      return image === undefined ? container : { ...container, image };
    });
  const allowed: PodSpec = { ...before, containers: images(before.containers, after.containers) };
  if (before.initContainers !== undefined) {
    allowed.initContainers = images(before.initContainers, after.initContainers ?? []);
  }
  if (after.activeDeadlineSeconds !== undefined) {
    allowed.activeDeadlineSeconds = after.activeDeadlineSeconds;
  }
  if (after.tolerations !== undefined) allowed.tolerations = after.tolerations;
  const grace = before.terminationGracePeriodSeconds ?? 0;
  if (grace < 0 && after.terminationGracePeriodSeconds === 1) {
    allowed.terminationGracePeriodSeconds = 1;
  }
  // Gates may be opened one by one, never added.
  const gates = (after.schedulingGates ?? []).filter((gate) =>
    (before.schedulingGates ?? []).some((old) => old.name === gate.name),
  );
  if (before.schedulingGates !== undefined) allowed.schedulingGates = gates;
  return allowed;
}

/** Paths of fields that differ, to the level at which people know them: `spec.containers[0].command`. */
function changedFields(before: PodSpec, after: PodSpec): string[] {
  const paths: string[] = [];
  for (const name of differing(before, after)) {
    if (name !== 'containers' && name !== 'initContainers') {
      paths.push(`spec.${name}`);
      continue;
    }
    for (const [index, container] of (after[name] ?? []).entries()) {
      const old = before[name]?.[index] ?? {};
      const fields = differing(old, container);
      paths.push(...fields.map((field) => `spec.${name}[${index}].${field}`));
    }
  }
  return paths;
}

function differing(before: object, after: object): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => {
    const left: unknown = Reflect.get(before, name);
    const right: unknown = Reflect.get(after, name);
    return !deepEqual(left, right) && !(isEmptyList(left) && isEmptyList(right));
  });
}

function isEmptyList(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0);
}
