/** StatefulSet: pods with names that stay, one after the other. */
import type { StatefulSet, StatefulSetSpec } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import {
  AGE,
  ageCell,
  containerNamesCell,
  imagesCell,
  NAME,
  nameCell,
  selectorText,
  text,
} from './columns.ts';
import { defaultPodTemplate } from './defaults/pod-spec.ts';
import { dropStatus, keepStatus } from './status.ts';
import { claimWarnings, podWarnings, warning } from './unsupported.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateStatefulSetSpec, validateStatefulSetUpdate } from './validate/stateful-set.ts';

export const STATEFUL_SET: KindModule<StatefulSet> = {
  group: 'apps',
  version: 'v1',
  kind: 'StatefulSet',
  plural: 'statefulsets',
  singular: 'statefulset',
  shortNames: ['sts'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.apps.v1.StatefulSet',
  storage: 'durable',
  subresources: { status: true, scale: true },
  hasGeneration: true,
  setDefaults(set) {
    set.spec ??= { template: {} };
    setSpecDefaults(set.spec);
  },
  prepareForCreate: (set) => dropStatus(set, { replicas: 0 }),
  prepareForUpdate: keepStatus,
  validate: (set) => [
    ...validateObjectMeta(set.metadata),
    ...validateStatefulSetSpec('spec', set.spec ?? { template: {} }),
  ],
  validateUpdate: validateStatefulSetUpdate,
  warnings(set) {
    const warnings = podWarnings('spec.template.spec', set.spec?.template.spec);
    for (const [index, template] of (set.spec?.volumeClaimTemplates ?? []).entries()) {
      warnings.push(...claimWarnings(`spec.volumeClaimTemplates[${index}].spec`, template.spec));
    }
    if (set.spec?.updateStrategy?.rollingUpdate?.maxUnavailable !== undefined) {
      const field = 'spec.updateStrategy.rollingUpdate.maxUnavailable';
      warnings.push(warning(field, 'replace several pods at a time'));
    }
    return warnings;
  },
  columns: [
    NAME,
    text('Ready', 'Ready pods of all that are wanted.'),
    AGE,
    text('Containers', 'Names of the containers in the template.', 'wide'),
    text('Images', 'Images of the containers in the template.', 'wide'),
  ],
  row(set, nowMs) {
    const { spec, status } = set;
    return [
      nameCell(set),
      `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`,
      ageCell(set, nowMs),
      containerNamesCell(spec?.template.spec?.containers),
      imagesCell(spec?.template.spec?.containers),
    ];
  },
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

function setSpecDefaults(spec: StatefulSetSpec): void {
  spec.podManagementPolicy ||= 'OrderedReady';
  spec.updateStrategy ??= {};
  spec.updateStrategy.type ||= 'RollingUpdate';
  if (spec.updateStrategy.type === 'RollingUpdate') {
    spec.updateStrategy.rollingUpdate ??= {};
    spec.updateStrategy.rollingUpdate.partition ??= 0;
  }
  spec.persistentVolumeClaimRetentionPolicy ??= {};
  spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= 'Retain';
  spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= 'Retain';
  spec.replicas ??= 1;
  spec.revisionHistoryLimit ??= 10;
  defaultPodTemplate(spec.template);
  for (const template of spec.volumeClaimTemplates ?? []) {
    template.apiVersion ||= 'v1';
    template.kind ||= 'PersistentVolumeClaim';
    template.spec ??= {};
    template.spec.volumeMode ||= 'Filesystem';
    template.status = { phase: 'Pending' };
  }
}
