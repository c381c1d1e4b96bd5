/** Where a pod may run: affinity, spread, tolerations. */
import type {
  Affinity,
  NodeAffinity,
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodAffinityTerm,
  Toleration,
  TopologySpreadConstraint,
} from '../../../../protocol/kinds/types.ts';
import { labelKeyErrors, labelValueErrors } from '../../../../protocol/names.ts';
import { validateLabelSelector } from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import {
  duplicate,
  eachReason,
  forbidden,
  invalidValue,
  notSupported,
  oneOf,
  required,
} from './errors.ts';
import { TAINT_EFFECTS } from './node.ts';

const UNSATISFIABLE: readonly string[] = ['DoNotSchedule', 'ScheduleAnyway'];
const REQUIRED = 'requiredDuringSchedulingIgnoredDuringExecution';
const PREFERRED = 'preferredDuringSchedulingIgnoredDuringExecution';

export function validateAffinity(path: string, affinity: Affinity | undefined): FieldError[] {
  if (affinity === undefined) return [];
  const errors = validateNodeAffinity(`${path}.nodeAffinity`, affinity.nodeAffinity);
  for (const side of ['podAffinity', 'podAntiAffinity'] as const) {
    const at = `${path}.${side}`;
    for (const [index, term] of (affinity[side]?.[REQUIRED] ?? []).entries()) {
      errors.push(...validatePodTerm(`${at}.${REQUIRED}[${index}]`, term));
    }
    for (const [index, { weight, podAffinityTerm }] of (
      affinity[side]?.[PREFERRED] ?? []
    ).entries()) {
      const one = `${at}.${PREFERRED}[${index}]`;
      errors.push(...validateWeight(`${one}.weight`, weight));
      errors.push(...validatePodTerm(`${one}.podAffinityTerm`, podAffinityTerm));
    }
  }
  return errors;
}

function validateNodeAffinity(path: string, affinity: NodeAffinity | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const needed = affinity?.[REQUIRED];
  if (needed !== undefined) {
    errors.push(...validateNodeSelector(`${path}.${REQUIRED}`, needed));
  }
  for (const [index, { weight, preference }] of (affinity?.[PREFERRED] ?? []).entries()) {
    const at = `${path}.${PREFERRED}[${index}]`;
    errors.push(...validateWeight(`${at}.weight`, weight));
    errors.push(...validateNodeTerm(`${at}.preference`, preference));
  }
  return errors;
}

/** Of pods and of volumes. */
export function validateNodeSelector(path: string, selector: NodeSelector): FieldError[] {
  const at = `${path}.nodeSelectorTerms`;
  const terms = selector.nodeSelectorTerms ?? [];
  if (terms.length === 0) return [required(at, 'must have at least one node selector term')];
  return terms.flatMap((term, index) => validateNodeTerm(`${at}[${index}]`, term));
}

function validateWeight(field: string, weight: number): FieldError[] {
  if (weight >= 1 && weight <= 100) return [];
  return [invalidValue(field, weight, 'must be in the range 1-100')];
}

function validateNodeTerm(path: string, term: NodeSelectorTerm): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, one] of (term.matchExpressions ?? []).entries()) {
    errors.push(...validateNodeRequirement(`${path}.matchExpressions[${index}]`, one));
  }
  for (const [index, one] of (term.matchFields ?? []).entries()) {
    const at = `${path}.matchFields[${index}]`;
    if (one.key !== 'metadata.name') {
      errors.push(invalidValue(`${at}.key`, one.key, 'not a valid field selector key'));
    }
    if (one.operator !== 'In' && one.operator !== 'NotIn') {
      errors.push(invalidValue(`${at}.operator`, one.operator, 'not a valid selector operator'));
    } else if ((one.values ?? []).length !== 1) {
      const why =
        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
      errors.push(required(`${at}.values`, why));
    }
  }
  return errors;
}

function validateNodeRequirement(
  path: string,
  { key, operator, values = [] }: NodeSelectorRequirement,
): FieldError[] {
  const errors: FieldError[] = [];
  if (operator === 'In' || operator === 'NotIn') {
    const why = "must be specified when `operator` is 'In' or 'NotIn'";
    if (values.length === 0) errors.push(required(`${path}.values`, why));
  } else if (operator === 'Exists' || operator === 'DoesNotExist') {
    const why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
    if (values.length > 0) errors.push(forbidden(`${path}.values`, why));
  } else if (operator === 'Gt' || operator === 'Lt') {
    const why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
    if (values.length !== 1) errors.push(required(`${path}.values`, why));
  } else {
    errors.push(invalidValue(`${path}.operator`, operator, 'not a valid selector operator'));
  }
  return [...errors, ...eachReason(`${path}.key`, key, labelKeyErrors(key))];
}

function validatePodTerm(path: string, term: PodAffinityTerm): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['labelSelector', 'namespaceSelector'] as const) {
    const selector = term[field];
    if (selector === undefined) continue;
    errors.push(...validateLabelSelector(selector, `${path}.${field}`));
  }
  return [...errors, ...validateTopologyKey(`${path}.topologyKey`, term.topologyKey)];
}

function validateTopologyKey(field: string, key: string): FieldError[] {
  if (key === '') return [required(field, 'can not be empty')];
  return eachReason(field, key, labelKeyErrors(key));
}

export function validateSpread(
  path: string,
  constraints: readonly TopologySpreadConstraint[],
): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, constraint] of constraints.entries()) {
    const at = `${path}[${index}]`;
    const { maxSkew, minDomains, topologyKey, whenUnsatisfiable } = constraint;
    if (maxSkew <= 0) {
      errors.push(invalidValue(`${at}.maxSkew`, maxSkew, 'must be greater than zero'));
    }
    errors.push(...validateTopologyKey(`${at}.topologyKey`, topologyKey));
    if (!UNSATISFIABLE.includes(whenUnsatisfiable)) {
      errors.push(notSupported(`${at}.whenUnsatisfiable`, whenUnsatisfiable, UNSATISFIABLE));
    }
    if (minDomains !== undefined && minDomains <= 0) {
      errors.push(invalidValue(`${at}.minDomains`, minDomains, 'must be greater than zero'));
    }
    const pair = `{${topologyKey}, ${whenUnsatisfiable}}`;
    if (seen.has(pair)) errors.push(duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, pair));
    seen.add(pair);
    if (constraint.labelSelector !== undefined) {
      errors.push(...validateLabelSelector(constraint.labelSelector, `${at}.labelSelector`));
    }
  }
  return errors;
}

export function validateTolerations(
  path: string,
  tolerations: readonly Toleration[],
): FieldError[] {
  return tolerations.flatMap((one, index) => validateToleration(`${path}[${index}]`, one));
}

function validateToleration(path: string, toleration: Toleration): FieldError[] {
  const { key = '', operator = '', value = '', effect = '' } = toleration;
  const errors: FieldError[] = [];
  if (key !== '') errors.push(...eachReason(`${path}.key`, key, labelKeyErrors(key)));
  if (key === '' && operator !== 'Exists') {
    const why =
      'operator must be Exists when `key` is empty, which means "match all values and all keys"';
    errors.push(invalidValue(`${path}.operator`, operator, why));
  }
  if (toleration.tolerationSeconds !== undefined && effect !== 'NoExecute') {
    const why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
    errors.push(invalidValue(`${path}.effect`, effect, why));
  }
  if (operator === 'Exists') {
    const why = "value must be empty when `operator` is 'Exists'";
    if (value !== '') errors.push(invalidValue(`${path}.operator`, toleration, why));
  } else if (operator === 'Equal' || operator === '') {
    errors.push(...eachReason(`${path}.operator`, value, labelValueErrors(value)));
  } else {
    errors.push(notSupported(`${path}.operator`, operator, ['Equal', 'Exists']));
  }
  return [...errors, ...oneOf(`${path}.effect`, effect, TAINT_EFFECTS)];
}
