/** Rules that Deployment and ReplicaSet share: the selector, the template, and that they fit. */
import type {
  LabelSelector,
  PodTemplateSpec,
  ReplicaSetSpec,
} from '../../../../protocol/kinds/types.ts';
import {
  matchesLabelSelector,
  validateLabelSelector,
  validateLabels,
} from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { deepEqual } from '../../equal.ts';
import {
  forbidden,
  IMMUTABLE,
  invalidValue,
  notNegative,
  notSupported,
  required,
} from './errors.ts';
import { validateAnnotations } from './meta.ts';
import { validatePodSpec } from './pod-spec.ts';

export function validateReplicaSetSpec(path: string, spec: ReplicaSetSpec): FieldError[] {
  const errors = [
    ...notNegative(`${path}.replicas`, spec.replicas),
    ...notNegative(`${path}.minReadySeconds`, spec.minReadySeconds),
    ...validateSelector(`${path}.selector`, spec.selector, 'deployment'),
  ];
  const template = spec.template ?? {};
  return [...errors, ...validateTemplate(`${path}.template`, template, spec.selector)];
}

/** `workload` is the word in Kubernetes' sentence, which says "deployment" for both kinds. */
export function validateSelector(
  path: string,
  selector: LabelSelector | undefined,
  workload: string,
): FieldError[] {
  if (selector === undefined) return [required(path)];
  const errors = validateLabelSelector(selector, path);
  if (isEmpty(selector)) {
    errors.push(invalidValue(path, selector, `empty selector is invalid for ${workload}`));
  }
  return errors;
}

function isEmpty(selector: LabelSelector): boolean {
  const labels = Object.keys(selector.matchLabels ?? {}).length;
  return labels + (selector.matchExpressions ?? []).length === 0;
}

/** A selector with errors of its own cannot be asked what it matches. */
function isValid(selector: LabelSelector): boolean {
  return validateLabelSelector(selector, '').length === 0;
}

/** Pods of the template must be found by the selector, and must be of the sort that is started again. */
export function validateTemplate(
  path: string,
  template: PodTemplateSpec,
  selector: LabelSelector | undefined,
  workload: 'ReplicaSet' | 'other' = 'ReplicaSet',
): FieldError[] {
  const labels = template.metadata?.labels;
  const errors: FieldError[] = [];
  if (selector !== undefined && !isEmpty(selector) && isValid(selector)) {
    if (!matchesLabelSelector(selector, labels)) {
      const why = '`selector` does not match template `labels`';
      errors.push(invalidValue(`${path}.metadata.labels`, labels ?? null, why));
    }
  }
  errors.push(
    ...validateLabels(labels ?? {}, `${path}.metadata.labels`),
    ...validateAnnotations(`${path}.metadata.annotations`, template.metadata?.annotations),
    ...validatePodSpec(`${path}.spec`, template.spec ?? { containers: [] }),
  );
  const restartPolicy = template.spec?.restartPolicy;
  if (restartPolicy !== 'Always') {
    errors.push(notSupported(`${path}.spec.restartPolicy`, restartPolicy, ['Always']));
  }
  const deadline = template.spec?.activeDeadlineSeconds;
  if (deadline !== undefined && workload === 'other') {
    const field = `${path}.spec.activeDeadlineSeconds`;
    errors.push(invalidValue(field, deadline, 'must not be specified'));
  } else if (deadline !== undefined) {
    const why = 'activeDeadlineSeconds in ReplicaSet is not Supported';
    errors.push(forbidden(`${path}.spec.activeDeadlineSeconds`, why));
  }
  return errors;
}

/** Pods made under the old selector would be orphans. */
export function validateSelectorUpdate(
  next: LabelSelector | undefined,
  previous: LabelSelector | undefined,
): FieldError[] {
  return deepEqual(next, previous) ? [] : [invalidValue('spec.selector', next, IMMUTABLE)];
}
