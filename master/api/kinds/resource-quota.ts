/** ResourceQuota: how much all objects of a namespace may take together (admission: quota/quota-guard.ts). */
import type {
  ResourceQuota,
  ScopedResourceSelectorRequirement,
} from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { resourceOf } from '../quota/usage.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { IMMUTABLE, invalidValue, notSupported, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateQuantity } from './validate/resources.ts';

const SCOPES = ['BestEffort', 'NotBestEffort', 'NotTerminating', 'PriorityClass', 'Terminating'];
const EXCLUSIVE = [
  ['BestEffort', 'NotBestEffort'],
  ['Terminating', 'NotTerminating'],
];
const OPERATORS = ['DoesNotExist', 'Exists', 'In', 'NotIn'];

export const RESOURCE_QUOTA: KindModule<ResourceQuota> = {
  group: '',
  version: 'v1',
  kind: 'ResourceQuota',
  plural: 'resourcequotas',
  singular: 'resourcequota',
  shortNames: ['quota'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.ResourceQuota',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  prepareForCreate: (quota) => dropStatus(quota, {}),
  prepareForUpdate: keepStatus,
  validate(quota) {
    const { hard = {}, scopes = [], scopeSelector } = quota.spec ?? {};
    const expressions = scopeSelector?.matchExpressions ?? [];
    return [
      ...validateObjectMeta(quota.metadata),
      ...Object.entries(hard).flatMap(([name, amount]) =>
        validateQuantity(`spec.hard[${name}]`, amount),
      ),
      ...validateScopes('spec.scopes', scopes),
      ...expressions.flatMap((one, index) =>
        validateExpression(`spec.scopeSelector.matchExpressions[${index}]`, one),
      ),
    ];
  },
  validateUpdate: (next, previous) =>
    deepEqual(next.spec?.scopes ?? [], previous.spec?.scopes ?? [])
      ? []
      : [invalidValue('spec.scopes', next.spec?.scopes ?? [], IMMUTABLE)],
  warnings: (quota) =>
    Object.keys(quota.spec?.hard ?? {})
      .filter((name) => resourceOf(name) === undefined)
      .map(
        (name) =>
          `spec.hard[${name}]: stored, but this version of Pier does not count this resource yet`,
      ),
  columns: [
    NAME,
    text('Request', 'What is used and allowed of requests and counts.'),
    text('Limit', 'What is used and allowed of limits.'),
    AGE,
  ],
  row(quota, nowMs) {
    const hard = Object.entries(quota.status?.hard ?? quota.spec?.hard ?? {}).sort();
    const cell = (limits: boolean): string =>
      hard
        .filter(([name]) => name.startsWith('limits.') === limits)
        .map(([name, most]) => `${name}: ${quota.status?.used?.[name] ?? '0'}/${most}`)
        .join(', ');
    return [nameCell(quota), cell(false), cell(true), ageCell(quota, nowMs)];
  },
};

function validateScopes(path: string, scopes: readonly string[]): FieldError[] {
  const errors = scopes
    .filter((scope) => !SCOPES.includes(scope))
    .map((scope) => notSupported(path, scope, SCOPES));
  for (const pair of EXCLUSIVE) {
    if (pair.every((scope) => scopes.includes(scope))) {
      errors.push(invalidValue(path, scopes, 'conflicting scopes'));
    }
  }
  return errors;
}

function validateExpression(path: string, one: ScopedResourceSelectorRequirement): FieldError[] {
  const { scopeName, operator, values = [] } = one;
  if (!SCOPES.includes(scopeName)) return [notSupported(`${path}.scopeName`, scopeName, SCOPES)];
  if (!OPERATORS.includes(operator)) {
    return [notSupported(`${path}.operator`, operator, OPERATORS)];
  }
  if (scopeName !== 'PriorityClass' && operator !== 'Exists') {
    const why =
      "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, " +
      'ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity';
    return [invalidValue(`${path}.operator`, operator, why)];
  }
  const needs = operator === 'In' || operator === 'NotIn';
  if (needs && values.length === 0) {
    const why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
    return [required(`${path}.values`, why)];
  }
  if (!needs && values.length > 0) {
    const why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
    return [invalidValue(`${path}.values`, values, why)];
  }
  return [];
}
