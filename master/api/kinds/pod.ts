/**
 * Pod: containers that share a network and volumes on one board. Defaults and cells here; the rules for its
 * fields are in validate/pod-spec.ts, what is stored but not honoured yet in unsupported.ts.
 */

import type { Pod, PodCondition } from '../../../protocol/kinds/types.ts';
import { hasEnded } from '../../../protocol/pod-phase.ts';
import type { KindModule } from '../kind.ts';
import { AGE, NAME, text } from './columns.ts';
import { defaultPodSpec } from './defaults/pod-spec.ts';
import { qosClass } from './qos-class.ts';
import { podRow } from './rows/pod.ts';
import { dropStatus, keepStatus } from './status.ts';
import { podWarnings } from './unsupported.ts';
import { forbidden } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validatePodSpec } from './validate/pod-spec.ts';
import { validateAddedContainers, validatePodUpdate } from './validate/pod-update.ts';

/** So that the table says at once why nothing happens. */
const GATED: PodCondition = {
  type: 'PodScheduled',
  status: 'False',
  reason: 'SchedulingGated',
  message: 'Scheduling is blocked due to non-empty scheduling gates',
};

export const POD: KindModule<Pod> = {
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  singular: 'pod',
  shortNames: ['po'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.core.v1.Pod',
  storage: 'durable',
  subresources: { status: true, ephemeralcontainers: true },
  hasGeneration: true,
  setDefaults(pod) {
    pod.spec ??= { containers: [] };
    defaultPodSpec(pod.spec);
  },
  prepareForCreate(pod) {
    const gated = (pod.spec?.schedulingGates ?? []).length > 0;
    dropStatus(pod, {
      phase: 'Pending',
      qosClass: qosClass(pod.spec),
      ...(gated ? { conditions: [GATED] } : {}),
    });
  },
  prepareForUpdate: keepStatus,
  validate: (pod) => [
    ...validateObjectMeta(pod.metadata),
    ...validatePodSpec('spec', pod.spec ?? { containers: [] }),
  ],
  validateCreate: ({ spec }) =>
    (spec?.ephemeralContainers ?? []).length === 0
      ? []
      : [forbidden('spec.ephemeralContainers', 'cannot be set on create')],
  validateUpdate: validatePodUpdate,
  validatePart: (next, previous, part) =>
    part === 'ephemeralcontainers' ? validateAddedContainers(next, previous) : [],
  warnings: (pod) => podWarnings('spec', pod.spec),
  columns: [
    NAME,
    text('Ready', 'Ready containers of all containers.'),
    text('Status', 'What the pod is doing, in one word.'),
    text('Restarts', 'How often containers were restarted, and when last.'),
    AGE,
    text('IP', 'Address of the pod.', 'wide'),
    text('Node', 'Board that the pod runs on.', 'wide'),
    text('Nominated Node', 'Board that is being cleared for the pod.', 'wide'),
    text('Readiness Gates', 'Readiness gates that are open of all gates.', 'wide'),
  ],
  row: podRow,
  selectableFields: (pod) => ({
    'spec.nodeName': pod.spec?.nodeName ?? '',
    'spec.restartPolicy': pod.spec?.restartPolicy ?? '',
    'spec.schedulerName': pod.spec?.schedulerName ?? '',
    'spec.serviceAccountName': pod.spec?.serviceAccountName ?? '',
    'spec.hostNetwork': String(pod.spec?.hostNetwork === true),
    'status.phase': pod.status?.phase ?? '',
    'status.podIP': pod.status?.podIP ?? '',
    'status.nominatedNodeName': pod.status?.nominatedNodeName ?? '',
  }),
  gracePeriodSeconds(pod, requested) {
    // No containers run before the pod has a board, nor after its end: nothing to wait for.
    if (!pod.spec?.nodeName || hasEnded(pod.status)) return 0;
    const seconds = requested ?? pod.spec.terminationGracePeriodSeconds ?? 30;
    // Kubernetes: a negative period is an accident of old clients and means the shortest.
    return seconds < 0 ? 1 : seconds;
  },
};
