/** ReplicaSet: so many pods of one template. Usually a Deployment's, one per revision. */
import type { ReplicaSet } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import { selectorCell, selectorText } from './columns.ts';
import { defaultPodTemplate } from './defaults/pod-spec.ts';
import { REPLICA_COLUMNS, replicaRow } from './replica-columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { podWarnings } from './unsupported.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateReplicaSetSpec, validateSelectorUpdate } from './validate/workload.ts';

export const REPLICA_SET: KindModule<ReplicaSet> = {
  group: 'apps',
  version: 'v1',
  kind: 'ReplicaSet',
  plural: 'replicasets',
  singular: 'replicaset',
  shortNames: ['rs'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.apps.v1.ReplicaSet',
  storage: 'durable',
  subresources: { status: true, scale: true },
  hasGeneration: true,
  setDefaults(set) {
    set.spec ??= {};
    set.spec.replicas ??= 1;
    set.spec.template ??= {};
    defaultPodTemplate(set.spec.template);
  },
  prepareForCreate: (set) => dropStatus(set, { replicas: 0 }),
  prepareForUpdate: keepStatus,
  validate: (set) => [
    ...validateObjectMeta(set.metadata),
    ...validateReplicaSetSpec('spec', set.spec ?? {}),
  ],
  validateUpdate: (next, previous) =>
    validateSelectorUpdate(next.spec?.selector, previous.spec?.selector),
  warnings(set) {
    // The Deployment has said it already to the person who wrote the template.
    if ((set.metadata?.ownerReferences ?? []).some((owner) => owner.controller === true)) return [];
    return podWarnings('spec.template.spec', set.spec?.template?.spec);
  },
  columns: REPLICA_COLUMNS,
  row: (set, nowMs) => replicaRow(set, selectorCell(set.spec?.selector), nowMs),
  selectableFields: (set) => ({ 'status.replicas': String(set.status?.replicas ?? 0) }),
  scale: {
    get: ({ spec, status }) => ({
      specReplicas: spec?.replicas ?? 0,
      statusReplicas: status?.replicas ?? 0,
      selector: selectorText(spec?.selector),
    }),
    set(set, replicas) {
      if (set.spec !== undefined) set.spec.replicas = replicas;
    },
  },
};
