/** ReplicationController: a ReplicaSet of the first days, with a selector of plain labels. */
import type { ReplicationController } from '../../../protocol/kinds/types.ts';
import { validateLabels } from '../../../protocol/selector.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { labelsCell, selectorText } from './columns.ts';
import { defaultPodTemplate } from './defaults/pod-spec.ts';
import { REPLICA_COLUMNS, replicaRow } from './replica-columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { podWarnings } from './unsupported.ts';
import { notNegative, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateTemplate } from './validate/workload.ts';

export const REPLICATION_CONTROLLER: KindModule<ReplicationController> = {
  group: '',
  version: 'v1',
  kind: 'ReplicationController',
  plural: 'replicationcontrollers',
  singular: 'replicationcontroller',
  shortNames: ['rc'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.core.v1.ReplicationController',
  storage: 'durable',
  subresources: { status: true, scale: true },
  hasGeneration: true,
  setDefaults(controller) {
    controller.spec ??= {};
    const { spec } = controller;
    spec.replicas ??= 1;
    if (spec.template === undefined) return;
    defaultPodTemplate(spec.template);
    const labels = spec.template.metadata?.labels ?? {};
    if (Object.keys(labels).length === 0) return;
    // Kubernetes: what is not said comes from the template.
    if (Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
    if (Object.keys(controller.metadata?.labels ?? {}).length === 0) {
      controller.metadata = { ...controller.metadata, labels: { ...labels } };
    }
  },
  prepareForCreate: (controller) => dropStatus(controller, { replicas: 0 }),
  prepareForUpdate: keepStatus,
  validate: (controller) => [
    ...validateObjectMeta(controller.metadata),
    ...validateSpec(controller.spec ?? {}),
  ],
  warnings: (controller) => podWarnings('spec.template.spec', controller.spec?.template?.spec),
  columns: REPLICA_COLUMNS,
  row: (controller, nowMs) => replicaRow(controller, labelsCell(controller.spec?.selector), nowMs),
  selectableFields: (controller) => ({
    'status.replicas': String(controller.status?.replicas ?? 0),
  }),
  scale: {
    get: ({ spec, status }) => ({
      specReplicas: spec?.replicas ?? 0,
      statusReplicas: status?.replicas ?? 0,
      selector: selectorText({ matchLabels: spec?.selector ?? {} }),
    }),
    set(controller, replicas) {
      if (controller.spec !== undefined) controller.spec.replicas = replicas;
    },
  },
};

function validateSpec(spec: NonNullable<ReplicationController['spec']>): FieldError[] {
  const { replicas, minReadySeconds, selector = {}, template } = spec;
  const errors = [
    ...notNegative('spec.minReadySeconds', minReadySeconds),
    ...(Object.keys(selector).length === 0 ? [required('spec.selector')] : []),
    ...validateLabels(selector, 'spec.selector'),
    ...notNegative('spec.replicas', replicas),
  ];
  if (template === undefined) return [...errors, required('spec.template')];
  return [...errors, ...validateTemplate('spec.template', template, { matchLabels: selector })];
}
