/** A DaemonSet's spec. Wording as in apps/v1. */
import type { DaemonSetSpec } from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { isZero, validateCountOrPercent } from './deployment.ts';
import { invalidValue, notNegative, notSupported, required } from './errors.ts';
import { validateSelector, validateTemplate } from './workload.ts';

const STRATEGIES: readonly string[] = ['OnDelete', 'RollingUpdate'];

export function validateDaemonSetSpec(path: string, spec: DaemonSetSpec): FieldError[] {
  return [
    ...validateSelector(`${path}.selector`, spec.selector, 'daemonset'),
    ...validateTemplate(`${path}.template`, spec.template, spec.selector, 'other'),
    ...notNegative(`${path}.minReadySeconds`, spec.minReadySeconds),
    ...validateStrategy(`${path}.updateStrategy`, spec),
    ...notNegative(`${path}.revisionHistoryLimit`, spec.revisionHistoryLimit),
  ];
}

function validateStrategy(path: string, { updateStrategy }: DaemonSetSpec): FieldError[] {
  const { type = '', rollingUpdate } = updateStrategy ?? {};
  if (!STRATEGIES.includes(type)) return [notSupported(`${path}.type`, type, STRATEGIES)];
  if (type === 'OnDelete') return [];
  const at = `${path}.rollingUpdate`;
  if (rollingUpdate === undefined) return [required(at)];
  const { maxUnavailable = 0, maxSurge = 0 } = rollingUpdate;
  const errors = [
    ...validateCountOrPercent(`${at}.maxUnavailable`, maxUnavailable),
    ...validateCountOrPercent(`${at}.maxSurge`, maxSurge),
  ];
  // A board has room for one pod too few or one too many, not for both.
  if (isZero(maxUnavailable) && isZero(maxSurge)) {
    errors.push(required(`${at}.maxUnavailable`, 'cannot be 0 when maxSurge is 0'));
  } else if (!isZero(maxUnavailable) && !isZero(maxSurge)) {
    const why = 'may not be set when maxUnavailable is non-zero';
    errors.push(invalidValue(`${at}.maxSurge`, maxSurge, why));
  }
  for (const [name, value] of [
    ['maxUnavailable', maxUnavailable],
    ['maxSurge', maxSurge],
  ] as const) {
    if (typeof value !== 'string' || Number.parseInt(value, 10) <= 100) continue;
    errors.push(invalidValue(`${at}.${name}`, value, 'must not be greater than 100%'));
  }
  return errors;
}
