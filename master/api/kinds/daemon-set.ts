/** DaemonSet: one pod on every board that fits. */
import type { DaemonSet, DaemonSetSpec } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import {
  AGE,
  ageCell,
  containerNamesCell,
  count,
  imagesCell,
  labelsCell,
  NAME,
  nameCell,
  selectorCell,
  TEMPLATE_COLUMNS,
  text,
} from './columns.ts';
import { defaultPodTemplate } from './defaults/pod-spec.ts';
import { dropStatus, keepStatus } from './status.ts';
import { podWarnings } from './unsupported.ts';
import { validateDaemonSetSpec } from './validate/daemon-set.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateSelectorUpdate } from './validate/workload.ts';

export const DAEMON_SET: KindModule<DaemonSet> = {
  group: 'apps',
  version: 'v1',
  kind: 'DaemonSet',
  plural: 'daemonsets',
  singular: 'daemonset',
  shortNames: ['ds'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.apps.v1.DaemonSet',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: true,
  setDefaults(set) {
    set.spec ??= { template: {} };
    setSpecDefaults(set.spec);
  },
  prepareForCreate: (set) =>
    dropStatus(set, {
      currentNumberScheduled: 0,
      numberMisscheduled: 0,
      desiredNumberScheduled: 0,
      numberReady: 0,
    }),
  prepareForUpdate: keepStatus,
  validate: (set) => [
    ...validateObjectMeta(set.metadata),
    ...validateDaemonSetSpec('spec', set.spec ?? { template: {} }),
  ],
  validateUpdate: (next, previous) =>
    validateSelectorUpdate(next.spec?.selector, previous.spec?.selector),
  warnings: (set) => podWarnings('spec.template.spec', set.spec?.template.spec),
  columns: [
    NAME,
    count('Desired', 'How many boards are to have a pod.'),
    count('Current', 'How many of them have one.'),
    count('Ready', 'How many of those are ready.'),
    count('Up-to-date', 'How many of those have the newest template.'),
    count('Available', 'How many of those have been ready for long enough.'),
    text('Node Selector', 'Labels of the boards that are meant.'),
    AGE,
    ...TEMPLATE_COLUMNS,
  ],
  row(set, nowMs) {
    const { spec, status } = set;
    return [
      nameCell(set),
      status?.desiredNumberScheduled ?? 0,
      status?.currentNumberScheduled ?? 0,
      status?.numberReady ?? 0,
      status?.updatedNumberScheduled ?? 0,
      status?.numberAvailable ?? 0,
      labelsCell(spec?.template.spec?.nodeSelector),
      ageCell(set, nowMs),
      containerNamesCell(spec?.template.spec?.containers),
      imagesCell(spec?.template.spec?.containers),
      selectorCell(spec?.selector),
    ];
  },
};

function setSpecDefaults(spec: DaemonSetSpec): void {
  spec.updateStrategy ??= {};
  spec.updateStrategy.type ||= 'RollingUpdate';
  if (spec.updateStrategy.type === 'RollingUpdate') {
    spec.updateStrategy.rollingUpdate ??= {};
    spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
    spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
  }
  spec.revisionHistoryLimit ??= 10;
  defaultPodTemplate(spec.template);
}
