/**
 * Defaults of a pod's spec, in place and idempotent. A pod gets more of them than a template: what
 * depends on the pod itself (requests from limits, host ports) is filled when the pod is made.
 */
import type { PodSpec, PodTemplateSpec, Volume } from '../../../../protocol/kinds/types.ts';
import {
  defaultContainer,
  defaultFieldRefs,
  defaultHostPorts,
  defaultRequestsFromLimits,
} from './container.ts';

/** rw-r--r--, as a decimal because JSON has no octal numbers. */
const FILE_MODE = 0o644;
const TOKEN_SECONDS = 3600;

function defaultPodTemplateSpec(spec: PodSpec): void {
  spec.dnsPolicy ||= 'ClusterFirst';
  spec.restartPolicy ||= 'Always';
  spec.terminationGracePeriodSeconds ??= 30;
  spec.schedulerName ||= 'default-scheduler';
  spec.securityContext ??= {};
  // The older name of the same field; both are shown.
  if (!spec.serviceAccountName && spec.serviceAccount) {
    spec.serviceAccountName = spec.serviceAccount;
  }
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
  for (const container of spec.initContainers ?? []) defaultContainer(container);
  for (const container of spec.containers) defaultContainer(container);
}

export function defaultPodSpec(spec: PodSpec): void {
  defaultPodTemplateSpec(spec);
  spec.enableServiceLinks ??= true;
  for (const container of spec.ephemeralContainers ?? []) defaultContainer(container);
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    defaultRequestsFromLimits(container);
    if (spec.hostNetwork === true) defaultHostPorts(container);
  }
}

function defaultVolume(volume: Volume): void {
  // A volume that names no source is an empty directory.
  const sources = Object.keys(volume).filter((key) => key !== 'name');
  if (sources.length === 0) volume.emptyDir = {};
  if (volume.secret !== undefined) volume.secret.defaultMode ??= FILE_MODE;
  if (volume.configMap !== undefined) volume.configMap.defaultMode ??= FILE_MODE;
  if (volume.downwardAPI !== undefined) {
    volume.downwardAPI.defaultMode ??= FILE_MODE;
    for (const item of volume.downwardAPI.items ?? []) defaultFieldRefs(item);
  }
  if (volume.projected !== undefined) {
    volume.projected.defaultMode ??= FILE_MODE;
    for (const { downwardAPI, serviceAccountToken } of volume.projected.sources ?? []) {
      for (const item of downwardAPI?.items ?? []) defaultFieldRefs(item);
      if (serviceAccountToken !== undefined) {
        serviceAccountToken.expirationSeconds ??= TOKEN_SECONDS;
      }
    }
  }
  if (volume.hostPath !== undefined) volume.hostPath.type ??= '';
}

/** The template of a workload. */
export function defaultPodTemplate(template: PodTemplateSpec): void {
  template.spec ??= { containers: [] };
  defaultPodTemplateSpec(template.spec);
}
