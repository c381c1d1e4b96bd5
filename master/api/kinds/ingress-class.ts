/** IngressClass: which controller serves the Ingresses of a class. Stored; it has nothing of its own to do. */
import type { IngressClass } from '../../../protocol/kinds/types.ts';
import { labelKeyErrors } from '../../../protocol/names.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, NONE, nameCell, text } from './columns.ts';
import {
  eachReason,
  forbidden,
  IMMUTABLE,
  invalidValue,
  notSupported,
  required,
} from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

export const INGRESS_CLASS: KindModule<IngressClass> = {
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'IngressClass',
  plural: 'ingressclasses',
  singular: 'ingressclass',
  shortNames: [],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.networking.v1.IngressClass',
  storage: 'durable',
  subresources: {},
  hasGeneration: true,
  setDefaults({ spec }) {
    if (spec?.parameters !== undefined) spec.parameters.scope ||= 'Cluster';
  },
  validate: (object) => [
    ...validateObjectMeta(object.metadata),
    ...validateController(object.spec?.controller ?? ''),
    ...validateParameters(object.spec?.parameters),
  ],
  validateUpdate: (next, previous) =>
    next.spec?.controller === previous.spec?.controller
      ? []
      : [invalidValue('spec.controller', next.spec?.controller, IMMUTABLE)],
  columns: [
    NAME,
    text('Controller', 'Who serves the Ingresses of the class.'),
    text('Parameters', 'What holds further settings of the controller.'),
    AGE,
  ],
  row(object, nowMs) {
    const { controller = '', parameters } = object.spec ?? {};
    const kind = parameters?.apiGroup
      ? `${parameters.kind}.${parameters.apiGroup}`
      : parameters?.kind;
    const shown = parameters === undefined ? NONE : `${kind}/${parameters.name}`;
    return [nameCell(object), controller, shown, ageCell(object, nowMs)];
  },
};

function validateController(controller: string): FieldError[] {
  if (controller === '') return [required('spec.controller')];
  if (!controller.includes('/')) {
    const why = 'must be a domain-prefixed path (such as "acme.io/foo")';
    return [invalidValue('spec.controller', controller, why)];
  }
  const parts = controller.split('/');
  // The path may have several steps, a label key only one.
  const key = `${parts[0]}/${parts.slice(1).join('-')}`;
  return eachReason('spec.controller', controller, labelKeyErrors(key));
}

function validateParameters(
  parameters: NonNullable<IngressClass['spec']>['parameters'],
): FieldError[] {
  if (parameters === undefined) return [];
  const path = 'spec.parameters';
  const errors: FieldError[] = [];
  if (parameters.kind === '') errors.push(required(`${path}.kind`, 'kind is required'));
  if (parameters.name === '') errors.push(required(`${path}.name`, 'name is required'));
  const { scope = '', namespace = '' } = parameters;
  if (scope !== 'Cluster' && scope !== 'Namespace') {
    errors.push(notSupported(`${path}.scope`, scope, ['Cluster', 'Namespace']));
  } else if (scope === 'Namespace' && namespace === '') {
    errors.push(required(`${path}.namespace`, "`parameters.scope` is set to 'Namespace'"));
  } else if (scope === 'Cluster' && namespace !== '') {
    errors.push(forbidden(`${path}.namespace`, "`parameters.scope` is set to 'Cluster'"));
  }
  return errors;
}
