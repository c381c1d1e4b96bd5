/**
 * PodDisruptionBudget: how many pods of an app must stay while people and programs take boards away. The numbers in
 * the status come from its controller; evictions obey them (eviction.ts).
 */
import type { PodDisruptionBudget } from '../../../protocol/kinds/types.ts';
import { validateLabelSelector } from '../../../protocol/selector.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, count, NAME, nameCell, text } from './columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { eachReason, invalidValue, NOT_NEGATIVE, notSupported } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { percentReasons } from './validate/names.ts';

const POLICIES: readonly string[] = ['AlwaysAllow', 'IfHealthyBudget'];
const NOT_SET = 'N/A';

export const POD_DISRUPTION_BUDGET: KindModule<PodDisruptionBudget> = {
  group: 'policy',
  version: 'v1',
  kind: 'PodDisruptionBudget',
  plural: 'poddisruptionbudgets',
  singular: 'poddisruptionbudget',
  shortNames: ['pdb'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.policy.v1.PodDisruptionBudget',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: true,
  setDefaults() {
    // None.
  },
  prepareForCreate: (budget) =>
    dropStatus(budget, {
      disruptionsAllowed: 0,
      currentHealthy: 0,
      desiredHealthy: 0,
      expectedPods: 0,
    }),
  prepareForUpdate: keepStatus,
  validate: (budget) => [...validateObjectMeta(budget.metadata), ...validateSpec(budget)],
  columns: [
    NAME,
    text('Min Available', 'So many pods must stay.'),
    text('Max Unavailable', 'So many pods may be missing.'),
    count('Allowed Disruptions', 'How many pods may be evicted now.'),
    AGE,
  ],
  row: (budget, nowMs) => [
    nameCell(budget),
    String(budget.spec?.minAvailable ?? NOT_SET),
    String(budget.spec?.maxUnavailable ?? NOT_SET),
    budget.status?.disruptionsAllowed ?? 0,
    ageCell(budget, nowMs),
  ],
};

function validateSpec({ spec = {} }: PodDisruptionBudget): FieldError[] {
  const { minAvailable, maxUnavailable, selector, unhealthyPodEvictionPolicy: policy } = spec;
  const errors: FieldError[] = [];
  if (minAvailable !== undefined && maxUnavailable !== undefined) {
    const why = 'minAvailable and maxUnavailable cannot be both set';
    errors.push(invalidValue('spec', spec, why));
  }
  errors.push(
    ...validateAmount('spec.minAvailable', minAvailable),
    ...validateAmount('spec.maxUnavailable', maxUnavailable),
    ...validateLabelSelector(selector ?? {}, 'spec.selector'),
  );
  if (policy !== undefined && !POLICIES.includes(policy)) {
    errors.push(notSupported('spec.unhealthyPodEvictionPolicy', policy, POLICIES));
  }
  return errors;
}

function validateAmount(field: string, amount: number | string | undefined): FieldError[] {
  if (amount === undefined) return [];
  if (typeof amount === 'number') {
    return amount < 0 ? [invalidValue(field, amount, NOT_NEGATIVE)] : [];
  }
  const reasons = percentReasons(amount);
  if (reasons.length === 0 && Number.parseInt(amount, 10) > 100) {
    return [invalidValue(field, amount, 'must not be greater than 100%')];
  }
  return eachReason(field, amount, reasons);
}
