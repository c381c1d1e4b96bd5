/**
 * What is stored but not honoured yet, as tables that are easy to change: when the agent, the scheduler or the proxy
 * learns something, its row goes. Every field that is not in a HONOURED set is named to the client in a Warning
 * header, so that nothing is ignored in silence; a newly generated field is therefore unsupported until someone says
 * otherwise.
 */
import type {
  Container,
  PersistentVolumeClaimSpec,
  PersistentVolumeSpec,
  PodSpec,
  ServiceSpec,
  Volume,
} from '../../../protocol/kinds/types.ts';
import { UNSUPPORTED_POD_FIELDS } from '../../scheduler/pod-info.ts';

/** Fields that this version acts on, by level. */
const HONOURED = {
  podSpec: new Set([
    ...['containers', 'initContainers', 'volumes', 'restartPolicy', 'hostNetwork', 'hostAliases'],
    ...['terminationGracePeriodSeconds', 'dnsPolicy', 'dnsConfig', 'hostname', 'securityContext'],
    'subdomain',
    ...['nodeSelector', 'nodeName', 'tolerations', 'affinity', 'topologySpreadConstraints'],
    ...['schedulerName', 'schedulingGates', 'priority', 'overhead', 'shareProcessNamespace'],
    ...['priorityClassName', 'preemptionPolicy', 'hostPID', 'hostIPC', 'ephemeralContainers'],
    ...['readinessGates', 'activeDeadlineSeconds', 'imagePullSecrets'],
    ...['serviceAccountName', 'serviceAccount', 'automountServiceAccountToken'],
  ]),
  container: new Set([
    ...['name', 'image', 'command', 'args', 'workingDir', 'ports', 'env', 'envFrom', 'resources'],
    ...['volumeMounts', 'imagePullPolicy', 'securityContext', 'stdin', 'tty', 'restartPolicy'],
    ...['startupProbe', 'livenessProbe', 'readinessProbe', 'lifecycle'],
    ...['terminationMessagePath', 'terminationMessagePolicy', 'targetContainerName'],
  ]),
  containerSecurityContext: new Set([
    ...['runAsUser', 'runAsGroup', 'privileged', 'readOnlyRootFilesystem', 'capabilities'],
    ...['allowPrivilegeEscalation', 'runAsNonRoot', 'seccompProfile'],
  ]),
  podSecurityContext: new Set([
    ...[
      'runAsUser',
      'runAsGroup',
      'runAsNonRoot',
      'supplementalGroups',
      'seccompProfile',
      'fsGroup',
    ],
  ]),
  containerPort: new Set(['name', 'containerPort', 'protocol', 'hostPort', 'hostIP']),
  envSource: new Set(['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef']),
  resourceNames: new Set(['cpu', 'memory']),
  volume: new Set([
    ...['name', 'emptyDir', 'hostPath', 'configMap', 'secret', 'downwardAPI', 'projected'],
    ...['persistentVolumeClaim', 'nfs'],
  ]),
  emptyDir: new Set(['medium', 'sizeLimit']),
  projection: new Set(['configMap', 'secret', 'downwardAPI', 'serviceAccountToken']),
  persistentVolume: new Set([
    ...['capacity', 'accessModes', 'claimRef', 'persistentVolumeReclaimPolicy', 'volumeMode'],
    ...['storageClassName', 'nodeAffinity', 'hostPath', 'local', 'nfs'],
  ]),
  claim: new Set([
    ...['accessModes', 'selector', 'resources', 'volumeName', 'storageClassName', 'volumeMode'],
  ]),
  volumeMount: new Set(['name', 'mountPath', 'readOnly', 'subPath', 'subPathExpr']),
  serviceSpec: new Set([
    ...['ports', 'selector', 'type', 'clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy'],
    ...['publishNotReadyAddresses', 'sessionAffinity', 'internalTrafficPolicy', 'externalIPs'],
    ...['externalTrafficPolicy', 'loadBalancerSourceRanges', 'loadBalancerClass'],
    // What cannot be given is an event on the service.
    'loadBalancerIP',
    // Spoken of with the field that they belong to.
    ...['externalName', 'sessionAffinityConfig'],
  ]),
} as const;

/** Values that ask for nothing beyond what Pier does: mostly defaults. By field name. */
const HARMLESS: Readonly<Record<string, readonly unknown[]>> = {
  enableServiceLinks: [true, false],
  setHostnameAsFQDN: [false],
  hostUsers: [true],
  stdinOnce: [false],
  mountPropagation: ['None'],
  // The other values speak of zones, which boards have not.
  trafficDistribution: ['PreferSameNode'],
  allocateLoadBalancerNodePorts: [true, false],
  fsGroupChangePolicy: ['OnRootMismatch'],
};

/** How a field is named in the sentence "this version of Pier does not ...". */
const WORDS: Readonly<Record<string, string>> = {
  runtimeClassName: 'choose runtimes by class',
  trafficDistribution: 'prefer pods of the same zone',
  fsGroupChangePolicy: 'look at the files again once the directory has the group',
  mountOptions: 'pass options to mounts',
  volumeAttributesClassName: 'change attributes of volumes',
  dataSource: 'fill volumes',
  dataSourceRef: 'fill volumes',
};

const SPECIAL_WORDS: Readonly<Record<string, string>> = {
  volume: 'mount this kind of volume',
  projection: 'mount this kind of volume',
  persistentVolume: 'mount this kind of volume',
  resourceNames: 'limit this resource',
};

/** The sentence for a field that is stored and not acted on; `does` is what is not done. */
export function warning(path: string, does: string): string {
  return `${path}: stored, but this version of Pier does not ${does} yet`;
}

/** Of the kinds that CSI drivers and what runs beside them write and read. */
export function csiWarnings(): string[] {
  return [warning('spec', 'run CSI drivers')];
}

/** Warns of each field of `value` that is not honoured and asks for something. */
function unhonoured(path: string, value: object | undefined, level: keyof typeof HONOURED) {
  const honoured: ReadonlySet<string> = HONOURED[level];
  const warnings: string[] = [];
  for (const [name, field] of Object.entries(value ?? {})) {
    if (honoured.has(name) || field === undefined || HARMLESS[name]?.includes(field)) continue;
    if (Array.isArray(field) && field.length === 0) continue;
    const does = WORDS[name] ?? SPECIAL_WORDS[level] ?? 'act on it';
    warnings.push(warning(`${path}.${name}`, does));
  }
  return warnings;
}

/** `path` is `spec` for a pod and `spec.template.spec` for a workload. */
export function podWarnings(path: string, spec: PodSpec | undefined): string[] {
  if (spec === undefined) return [];
  const warnings = [
    ...unhonoured(path, spec, 'podSpec'),
    ...unhonoured(`${path}.securityContext`, spec.securityContext, 'podSecurityContext'),
  ];
  for (const [index, volume] of (spec.volumes ?? []).entries()) {
    warnings.push(...volumeWarnings(`${path}.volumes[${index}]`, volume));
  }
  for (const list of ['initContainers', 'containers', 'ephemeralContainers'] as const) {
    for (const [index, container] of (spec[list] ?? []).entries()) {
      const hostNetwork = spec.hostNetwork === true;
      warnings.push(...containerWarnings(`${path}.${list}[${index}]`, container, hostNetwork));
    }
  }
  for (const field of UNSUPPORTED_POD_FIELDS) {
    // The rows above name fields inside lists; here only those of the spec itself are looked at.
    const name = field.slice('spec.'.length);
    const value: unknown = Reflect.get(spec, name);
    if (value === undefined || HARMLESS[name]?.includes(value)) continue;
    const text = warning(`${path}.${name}`, WORDS[name] ?? 'act on it');
    if (!warnings.includes(text)) warnings.push(text);
  }
  return warnings;
}

function volumeWarnings(path: string, volume: Volume): string[] {
  const warnings = [
    ...unhonoured(path, volume, 'volume'),
    ...unhonoured(`${path}.emptyDir`, volume.emptyDir, 'emptyDir'),
  ];
  if (volume.emptyDir?.medium?.startsWith('HugePages') === true) {
    warnings.push(warning(`${path}.emptyDir.medium`, 'give huge pages'));
  }
  for (const [index, source] of (volume.projected?.sources ?? []).entries()) {
    warnings.push(...unhonoured(`${path}.projected.sources[${index}]`, source, 'projection'));
  }
  return warnings;
}

function containerWarnings(path: string, container: Container, hostNetwork: boolean): string[] {
  const warnings = [
    ...unhonoured(path, container, 'container'),
    ...unhonoured(`${path}.securityContext`, container.securityContext, 'containerSecurityContext'),
  ];
  // On the host's network every container port is open on the board: nothing is left to do.
  for (const [index, port] of (hostNetwork ? [] : (container.ports ?? [])).entries()) {
    warnings.push(...unhonoured(`${path}.ports[${index}]`, port, 'containerPort'));
    if (port.hostPort && port.protocol === 'SCTP') {
      warnings.push(warning(`${path}.ports[${index}].hostPort`, 'forward SCTP'));
    }
  }
  for (const [index, { valueFrom }] of (container.env ?? []).entries()) {
    warnings.push(...unhonoured(`${path}.env[${index}].valueFrom`, valueFrom, 'envSource'));
  }
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    warnings.push(...unhonoured(`${path}.volumeMounts[${index}]`, mount, 'volumeMount'));
  }
  const { limits } = container.resources ?? {};
  // Those with a domain are counted by the scheduler; of pier.local the board gives the devices.
  const ownLimits = Object.entries(limits ?? {}).filter(([name]) => !name.includes('/'));
  const rest = Object.fromEntries(ownLimits);
  warnings.push(...unhonoured(`${path}.resources.limits`, rest, 'resourceNames'));
  return warnings;
}

/** Services: what the proxy does not forward. */
export function serviceWarnings(path: string, spec: ServiceSpec | undefined): string[] {
  if (spec === undefined) return [];
  const warnings = unhonoured(path, spec, 'serviceSpec');
  for (const [index, { protocol = 'TCP' }] of (spec.ports ?? []).entries()) {
    if (protocol !== 'SCTP') continue;
    warnings.push(warning(`${path}.ports[${index}].protocol`, `forward ${protocol}`));
  }
  return warnings;
}

/** Volumes: sources that boards do not mount, and what else nobody looks at. */
export function volumeSpecWarnings(path: string, spec: PersistentVolumeSpec | undefined): string[] {
  const isMounted = spec?.nfs !== undefined;
  const looked = isMounted ? { ...spec, mountOptions: undefined } : spec;
  return unhonoured(path, looked, 'persistentVolume');
}

export function claimWarnings(path: string, spec: PersistentVolumeClaimSpec | undefined): string[] {
  return unhonoured(path, spec, 'claim');
}
