/** RoleBinding and ClusterRoleBinding: to whom the rules of a role are given, in one namespace or everywhere. */
import type {
  ClusterRoleBinding,
  RoleBinding,
  RoleRef,
  Subject,
} from '../../../protocol/kinds/types.ts';
import { dnsSubdomainErrors } from '../../../protocol/names.ts';
import type { FieldError } from '../../../protocol/status.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { RBAC_GROUP } from '../rbac/policy.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { eachReason, invalidValue, notSupported, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

const SHARED = {
  group: RBAC_GROUP,
  version: 'v1',
  shortNames: [],
  categories: [],
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  validateName: () => undefined,
  validateUpdate: (next: RoleBinding, previous: RoleBinding) =>
    deepEqual(next.roleRef, previous.roleRef)
      ? []
      : [invalidValue('roleRef', next.roleRef, 'cannot change roleRef')],
  setDefaults(binding: RoleBinding) {
    binding.roleRef.apiGroup ||= RBAC_GROUP;
    for (const subject of binding.subjects ?? []) {
      if (subject.apiGroup || subject.kind === 'ServiceAccount') continue;
      if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup = RBAC_GROUP;
    }
  },
  columns: [
    NAME,
    text('Role', 'Kind and name of the role.'),
    AGE,
    text('Users', 'Users who get its rules.', 'wide'),
    text('Groups', 'Groups that get its rules.', 'wide'),
    text('ServiceAccounts', 'Service accounts that get its rules.', 'wide'),
  ],
  row(binding: RoleBinding, nowMs: number) {
    const { kind, name } = binding.roleRef;
    const names = (wanted: string): string =>
      (binding.subjects ?? [])
        .filter((subject) => subject.kind === wanted)
        .map((one) => (wanted === 'ServiceAccount' ? `${one.namespace}/${one.name}` : one.name))
        .join(', ');
    return [
      nameCell(binding),
      `${kind}/${name}`,
      ageCell(binding, nowMs),
      names('User'),
      names('Group'),
      names('ServiceAccount'),
    ];
  },
} as const;

export const ROLE_BINDING: KindModule<RoleBinding> = {
  ...SHARED,
  kind: 'RoleBinding',
  plural: 'rolebindings',
  singular: 'rolebinding',
  namespaced: true,
  message: 'io.k8s.api.rbac.v1.RoleBinding',
  validate: (binding) => validateBinding(binding, ['Role', 'ClusterRole'], true),
};

export const CLUSTER_ROLE_BINDING: KindModule<ClusterRoleBinding> = {
  ...SHARED,
  kind: 'ClusterRoleBinding',
  plural: 'clusterrolebindings',
  singular: 'clusterrolebinding',
  namespaced: false,
  message: 'io.k8s.api.rbac.v1.ClusterRoleBinding',
  validate: (binding) => validateBinding(binding, ['ClusterRole'], false),
};

function validateBinding(
  binding: RoleBinding,
  roles: readonly string[],
  namespaced: boolean,
): FieldError[] {
  const subjects = binding.subjects ?? [];
  return [
    ...validateObjectMeta(binding.metadata),
    ...validateRoleRef('roleRef', binding.roleRef, roles),
    ...subjects.flatMap((one, index) => validateSubject(`subjects[${index}]`, one, namespaced)),
  ];
}

function validateRoleRef(path: string, ref: RoleRef, kinds: readonly string[]): FieldError[] {
  const errors: FieldError[] = [];
  if (ref.apiGroup !== RBAC_GROUP) {
    errors.push(notSupported(`${path}.apiGroup`, ref.apiGroup, [RBAC_GROUP]));
  }
  if (!kinds.includes(ref.kind)) errors.push(notSupported(`${path}.kind`, ref.kind, kinds));
  if (ref.name === '') errors.push(required(`${path}.name`));
  return errors;
}

function validateSubject(path: string, subject: Subject, namespaced: boolean): FieldError[] {
  const { kind, apiGroup = '', name, namespace = '' } = subject;
  const errors: FieldError[] = [];
  if (name === '') errors.push(required(`${path}.name`));
  switch (kind) {
    case 'ServiceAccount':
      if (name !== '') errors.push(...eachReason(`${path}.name`, name, dnsSubdomainErrors(name)));
      if (apiGroup !== '') errors.push(notSupported(`${path}.apiGroup`, apiGroup, ['']));
      if (!namespaced && namespace === '') errors.push(required(`${path}.namespace`));
      return errors;
    case 'User':
    case 'Group':
      if (apiGroup !== RBAC_GROUP) {
        errors.push(notSupported(`${path}.apiGroup`, apiGroup, [RBAC_GROUP]));
      }
      return errors;
    default: {
      const kinds = ['ServiceAccount', 'User', 'Group'];
      return [...errors, notSupported(`${path}.kind`, kind, kinds)];
    }
  }
}
