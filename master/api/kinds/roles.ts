/** Role and ClusterRole: which verbs on which resources, and for a ClusterRole on which paths. Rules only ever add. */
import type { ClusterRole, PolicyRule, Role } from '../../../protocol/kinds/types.ts';
import { validateLabelSelector } from '../../../protocol/selector.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { RBAC_GROUP } from '../rbac/policy.ts';
import { CREATED_AT, createdCell, NAME, nameCell } from './columns.ts';
import { invalidValue, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

const SHARED = {
  group: RBAC_GROUP,
  version: 'v1',
  shortNames: [],
  categories: [],
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  columns: [NAME, CREATED_AT],
  // Names of roles are steps of a path and nothing more: "system:node" is one.
  validateName: () => undefined,
} as const;

export const ROLE: KindModule<Role> = {
  ...SHARED,
  kind: 'Role',
  plural: 'roles',
  singular: 'role',
  namespaced: true,
  message: 'io.k8s.api.rbac.v1.Role',
  setDefaults() {
    // None.
  },
  validate: (role) => [
    ...validateObjectMeta(role.metadata),
    ...validateRules('rules', role.rules ?? [], true),
  ],
  row: (role) => [nameCell(role), createdCell(role)],
};

export const CLUSTER_ROLE: KindModule<ClusterRole> = {
  ...SHARED,
  kind: 'ClusterRole',
  plural: 'clusterroles',
  singular: 'clusterrole',
  namespaced: false,
  message: 'io.k8s.api.rbac.v1.ClusterRole',
  setDefaults() {
    // None.
  },
  validate: (role) => [
    ...validateObjectMeta(role.metadata),
    ...validateRules('rules', role.rules ?? [], false),
    ...validateAggregation(role),
  ],
  row: (role) => [nameCell(role), createdCell(role)],
};

function validateRules(
  path: string,
  rules: readonly PolicyRule[],
  namespaced: boolean,
): FieldError[] {
  return rules.flatMap((rule, index) => validateRule(`${path}[${index}]`, rule, namespaced));
}

function validateRule(path: string, rule: PolicyRule, namespaced: boolean): FieldError[] {
  const { verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  const errors: FieldError[] = [];
  if (verbs.length === 0) {
    errors.push(required(`${path}.verbs`, 'verbs must contain at least one value'));
  }
  if (nonResourceURLs.length > 0) {
    const field = `${path}.nonResourceURLs`;
    if (namespaced) {
      const why = 'namespaced rules cannot apply to non-resource URLs';
      errors.push(invalidValue(field, nonResourceURLs, why));
    }
    if (apiGroups.length > 0 || resources.length > 0 || resourceNames.length > 0) {
      const why = 'rules cannot apply to both regular resources and non-resource URLs';
      errors.push(invalidValue(field, nonResourceURLs, why));
    }
    return errors;
  }
  if (apiGroups.length === 0) {
    const why = 'resource rules must supply at least one api group';
    errors.push(required(`${path}.apiGroups`, why));
  }
  if (resources.length === 0) {
    errors.push(required(`${path}.resources`, 'resource rules must supply at least one resource'));
  }
  return errors;
}

function validateAggregation({ aggregationRule }: ClusterRole): FieldError[] {
  if (aggregationRule === undefined) return [];
  const path = 'aggregationRule.clusterRoleSelectors';
  const selectors = aggregationRule.clusterRoleSelectors ?? [];
  if (selectors.length === 0) return [required(path, 'at least one clusterRoleSelector required')];
  return selectors.flatMap((one, index) => validateLabelSelector(one, `${path}[${index}]`));
}
