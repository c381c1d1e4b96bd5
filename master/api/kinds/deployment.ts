/** Deployment: pods of one template, replaced step by step when the template changes. */
import type { Deployment, DeploymentSpec } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import {
  AGE,
  ageCell,
  containerNamesCell,
  imagesCell,
  NAME,
  nameCell,
  selectorCell,
  selectorText,
  TEMPLATE_COLUMNS,
  text,
} from './columns.ts';
import { defaultPodTemplate } from './defaults/pod-spec.ts';
import { dropStatus, keepStatus } from './status.ts';
import { podWarnings } from './unsupported.ts';
import { validateAutoRollback, validateDeploymentSpec } from './validate/deployment.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateSelectorUpdate } from './validate/workload.ts';

export const DEPLOYMENT: KindModule<Deployment> = {
  group: 'apps',
  version: 'v1',
  kind: 'Deployment',
  plural: 'deployments',
  singular: 'deployment',
  shortNames: ['deploy'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.apps.v1.Deployment',
  storage: 'durable',
  subresources: { status: true, scale: true },
  hasGeneration: true,
  setDefaults(deployment) {
    deployment.spec ??= { template: {} };
    setSpecDefaults(deployment.spec);
  },
  prepareForCreate: (deployment) => dropStatus(deployment, {}),
  prepareForUpdate: keepStatus,
  validate: (deployment) => [
    ...validateObjectMeta(deployment.metadata),
    ...validateAutoRollback(deployment.metadata),
    ...validateDeploymentSpec('spec', deployment.spec ?? { template: {} }),
  ],
  validateUpdate: (next, previous) =>
    validateSelectorUpdate(next.spec?.selector, previous.spec?.selector),
  warnings: (deployment) => podWarnings('spec.template.spec', deployment.spec?.template.spec),
  columns: [
    NAME,
    text('Ready', 'Ready pods of all that are wanted.'),
    text('Up-to-date', 'Pods that have the newest template.'),
    text('Available', 'Pods that have been ready for long enough.'),
    AGE,
    ...TEMPLATE_COLUMNS,
  ],
  row(deployment, nowMs) {
    const { spec, status } = deployment;
    return [
      nameCell(deployment),
      `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`,
      status?.updatedReplicas ?? 0,
      status?.availableReplicas ?? 0,
      ageCell(deployment, nowMs),
      containerNamesCell(spec?.template.spec?.containers),
      imagesCell(spec?.template.spec?.containers),
      selectorCell(spec?.selector),
    ];
  },
  scale: {
    get: ({ spec, status }) => ({
      specReplicas: spec?.replicas ?? 0,
      statusReplicas: status?.replicas ?? 0,
      selector: selectorText(spec?.selector),
    }),
    set(deployment, replicas) {
      if (deployment.spec !== undefined) deployment.spec.replicas = replicas;
    },
  },
};

function setSpecDefaults(spec: DeploymentSpec): void {
  spec.replicas ??= 1;
  spec.strategy ??= {};
  spec.strategy.type ||= 'RollingUpdate';
  if (spec.strategy.type === 'RollingUpdate') {
    spec.strategy.rollingUpdate ??= {};
    spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
    spec.strategy.rollingUpdate.maxSurge ??= '25%';
  }
  spec.revisionHistoryLimit ??= 10;
  spec.progressDeadlineSeconds ??= 600;
  defaultPodTemplate(spec.template);
}
