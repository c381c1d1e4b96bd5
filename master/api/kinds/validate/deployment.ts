/** A Deployment's spec: replicas, strategy, deadlines. */
import type { DeploymentSpec, IntOrString, ObjectMeta } from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import {
  eachReason,
  forbidden,
  invalidValue,
  notNegative,
  notSupported,
  required,
} from './errors.ts';
import { percentReasons } from './names.ts';
import { validateSelector, validateTemplate } from './workload.ts';

/** "true" asks the Deployment's controller to roll back by itself (master/controllers/deployment-rollback.ts). */
export const AUTO_ROLLBACK = 'pier.local/auto-rollback';
const SWITCH: readonly string[] = ['false', 'true'];
const STRATEGIES: readonly string[] = ['Recreate', 'RollingUpdate'];

/** Annotations are anybody's, but a misspelt wish of ours would be ignored in silence. */
export function validateAutoRollback(meta: ObjectMeta | undefined): FieldError[] {
  const value = meta?.annotations?.[AUTO_ROLLBACK];
  if (value === undefined || SWITCH.includes(value)) return [];
  return [notSupported(`metadata.annotations[${AUTO_ROLLBACK}]`, value, SWITCH)];
}

export function validateDeploymentSpec(path: string, spec: DeploymentSpec): FieldError[] {
  const { minReadySeconds = 0, progressDeadlineSeconds } = spec;
  const errors = [
    ...notNegative(`${path}.replicas`, spec.replicas),
    ...validateSelector(`${path}.selector`, spec.selector, 'deployment'),
    ...validateTemplate(`${path}.template`, spec.template, spec.selector),
    ...validateStrategy(`${path}.strategy`, spec),
    ...notNegative(`${path}.minReadySeconds`, spec.minReadySeconds),
    ...notNegative(`${path}.revisionHistoryLimit`, spec.revisionHistoryLimit),
    ...notNegative(`${path}.progressDeadlineSeconds`, progressDeadlineSeconds),
  ];
  if (progressDeadlineSeconds !== undefined && progressDeadlineSeconds <= minReadySeconds) {
    const field = `${path}.progressDeadlineSeconds`;
    const why = 'must be greater than minReadySeconds';
    errors.push(invalidValue(field, progressDeadlineSeconds, why));
  }
  return errors;
}

function validateStrategy(path: string, { strategy }: DeploymentSpec): FieldError[] {
  const rolling = strategy?.rollingUpdate;
  const type = strategy?.type ?? '';
  if (!STRATEGIES.includes(type)) return [notSupported(`${path}.type`, type, STRATEGIES)];
  if (type === 'Recreate') {
    if (rolling === undefined) return [];
    const why = "may not be specified when strategy `type` is 'Recreate'";
    return [forbidden(`${path}.rollingUpdate`, why)];
  }
  if (rolling === undefined) {
    const why = "this should be defaulted and never be nil when strategy `type` is 'RollingUpdate'";
    return [required(`${path}.rollingUpdate`, why)];
  }
  const unavailable = rolling.maxUnavailable ?? 0;
  const surge = rolling.maxSurge ?? 0;
  const at = `${path}.rollingUpdate`;
  const errors = [
    ...validateCountOrPercent(`${at}.maxUnavailable`, unavailable),
    ...validateCountOrPercent(`${at}.maxSurge`, surge),
  ];
  // With neither, no pod could ever be replaced.
  if (isZero(unavailable) && isZero(surge)) {
    const why = 'may not be 0 when `maxSurge` is 0';
    errors.push(invalidValue(`${at}.maxUnavailable`, unavailable, why));
  }
  if (typeof unavailable === 'string' && Number.parseInt(unavailable, 10) > 100) {
    const why = 'must not be greater than 100%';
    errors.push(invalidValue(`${at}.maxUnavailable`, unavailable, why));
  }
  return errors;
}

/** A number of pods, or a share of all of them such as "25%". */
export function validateCountOrPercent(field: string, value: IntOrString): FieldError[] {
  if (typeof value === 'number') return notNegative(field, value);
  return eachReason(field, value, percentReasons(value));
}

export function isZero(value: IntOrString): boolean {
  return typeof value === 'number' ? value === 0 : Number.parseInt(value, 10) === 0;
}
