/**
 * From a pod's spec to what the engine is told: container and sandbox. Pure.
 *
 * Environment variables for services (enableServiceLinks) are left out on purpose, but for the API server's: what they
 * hold would depend on which services were there when the container was made; names come from DNS instead.
 */
import type { Container, PodSpec } from '../../protocol/kinds/types.ts';
import { milliValue, value } from '../../protocol/quantity.ts';
import type { ContainerSpec, SandboxSpec } from '../runtime/runtime.ts';
import { type BoardPod, containerHash } from './board-pod.ts';
import type { DeviceUnit } from './device-plan.ts';
import {
  ConfigError,
  type ConfigLookup,
  environment,
  expand,
  type PodFacts,
} from './environment.ts';
import { type PlannedVolume, type PodDirectories, safePath } from './volume-plan.ts';

export interface ContainerSpecInput {
  readonly pod: BoardPod;
  readonly container: Container;
  readonly attempt: number;
  readonly configs: ConfigLookup;
  readonly facts: PodFacts;
  readonly volumes: ReadonlyMap<string, PlannedVolume>;
  readonly directories: PodDirectories;
  /** The container's own. */
  readonly devices?: readonly DeviceUnit[];
  /** The user of the image, looked up only for runAsNonRoot. */
  readonly imageUser?: string;
  /** The container whose processes this one is to see, by the engine's id. */
  readonly targetId?: string;
}

/** Where a container's attempt finds its termination message file on the board. */
export function terminationFile({ data }: PodDirectories, name: string, attempt: number): string {
  return `${data}/termination/${name}/${attempt}`;
}

/** Throws ConfigError in Kubernetes' words. */
export function containerSpec(input: ContainerSpecInput): ContainerSpec {
  const { pod, container, attempt, targetId } = input;
  const env = environment(pod, container, input.configs, input.facts);
  const expanded = (list: readonly string[] | undefined) =>
    (list ?? []).map((item) => expand(item, env));
  return {
    name: container.name,
    attempt,
    specHash: containerHash(container),
    image: container.image ?? '',
    command: expanded(container.command),
    args: expanded(container.args),
    ...(container.workingDir === undefined || container.workingDir === ''
      ? {}
      : { workingDir: container.workingDir }),
    env: [...env].map(([name, text]) => ({ name, value: text })),
    mounts: mounts(input, env),
    devices: deviceFiles(input.devices ?? []),
    resources: resources(container),
    security: security(pod, container, input.imageUser),
    ...(targetId === undefined ? {} : { processes: { of: targetId } }),
    ...sharedNamespaces(pod.spec),
    stdin: container.stdin ?? false,
    tty: container.tty ?? false,
  };
}

export interface Resolver {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** The board's own resolver, and where the names of the cluster are answered. */
export interface BoardResolver extends Resolver {
  readonly cluster: { readonly server: string; readonly domain: string };
}

/** The sandbox of a pod. */
export function sandboxSpec(
  pod: BoardPod,
  ip: string | undefined,
  resolver: BoardResolver,
): SandboxSpec {
  const hostNetwork = pod.spec.hostNetwork === true;
  // A host name has at most 63 characters (Kubernetes cuts the pod's name there).
  const hostname = (pod.spec.hostname ?? pod.name).slice(0, 63).replace(/[.-]+$/, '');
  const { subdomain = '' } = pod.spec;
  return {
    podUid: pod.uid,
    podName: pod.name,
    podNamespace: pod.namespace,
    ...(ip === undefined || hostNetwork ? {} : { ip }),
    hostname,
    // Kubernetes: the pod knows it, with or without the headless service that publishes it.
    ...(subdomain === ''
      ? {}
      : { fullName: `${hostname}.${subdomain}.${pod.namespace}.svc.${resolver.cluster.domain}` }),
    hostNetwork,
    ...sharedNamespaces(pod.spec),
    dns: podDns(pod, resolver),
    hostAliases: (pod.spec.hostAliases ?? []).map(({ ip: address, hostnames }) => ({
      ip: address,
      hostnames: hostnames ?? [],
    })),
  };
}

/** Of the pod as a whole. Kubernetes: a debugging container's target counts only in a pod that shares no processes. */
function sharedNamespaces(spec: PodSpec): Pick<SandboxSpec, 'processes' | 'boardIpc'> {
  return {
    ...(spec.shareProcessNamespace === true ? { processes: 'pod' } : {}),
    ...(spec.hostPID === true ? { processes: 'board' } : {}),
    ...(spec.hostIPC === true ? { boardIpc: true } : {}),
  };
}

/** What resolvers take (glibc, musl): more servers are never asked. */
const NAMESERVERS_MAX = 3;

/**
 * Kubernetes, "DNS for Services and Pods": ClusterFirst, the default, asks the cluster; for a pod on the board's
 * own network it means Default. dnsConfig adds to any policy; of an option that is given twice the pod's counts.
 */
function podDns({ spec, namespace }: BoardPod, resolver: BoardResolver): Resolver {
  const base = policyDns(spec, namespace, resolver);
  const more = spec.dnsConfig;
  const options = (more?.options ?? []).map(({ name = '', value: setting }) =>
    setting === undefined ? name : `${name}:${setting}`,
  );
  const given = new Set(options.map(optionName));
  return {
    servers: unique([...base.servers, ...(more?.nameservers ?? [])]).slice(0, NAMESERVERS_MAX),
    searches: unique([...base.searches, ...(more?.searches ?? [])]),
    options: unique([...base.options.filter((one) => !given.has(optionName(one))), ...options]),
  };
}

function policyDns(
  { dnsPolicy = 'ClusterFirst', hostNetwork = false }: PodSpec,
  namespace: string,
  { servers, searches, options, cluster }: BoardResolver,
): Resolver {
  if (dnsPolicy === 'None') return { servers: [], searches: [], options: [] };
  const ofCluster =
    dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && !hostNetwork);
  if (!ofCluster) return { servers, searches, options };
  const { server, domain } = cluster;
  return {
    servers: [server],
    searches: [`${namespace}.svc.${domain}`, `svc.${domain}`, domain, ...searches],
    options: ['ndots:5'],
  };
}

function optionName(option: string): string {
  return option.split(':')[0] ?? option;
}

/** Where programs look for them: at the same place as on the board. */
function deviceFiles(units: readonly DeviceUnit[]): NonNullable<ContainerSpec['devices']> {
  // A camera may be there as a USB device and by its own name.
  const files = new Map(units.flatMap(({ nodes }) => nodes.map((node) => [node.name, node])));
  return [...files.values()].map(({ name, hostPath }) => ({
    hostPath,
    containerPath: `/dev/${name}`,
  }));
}

function mounts(
  { container, attempt, directories, volumes }: ContainerSpecInput,
  env: ReadonlyMap<string, string>,
): ContainerSpec['mounts'] {
  const containerPath = container.terminationMessagePath || '/dev/termination-log';
  const hostPath = terminationFile(directories, container.name, attempt);
  const ofVolumes = volumeMounts(container, volumes, env);
  if (ofVolumes.some((mount) => mount.containerPath === containerPath)) return ofVolumes;
  return [...ofVolumes, { hostPath, containerPath, readOnly: false }];
}

function volumeMounts(
  container: Container,
  volumes: ReadonlyMap<string, PlannedVolume>,
  env: ReadonlyMap<string, string>,
): ContainerSpec['mounts'][number][] {
  return (container.volumeMounts ?? []).map((mount) => {
    const volume = volumes.get(mount.name);
    if (volume === undefined) {
      throw new ConfigError(`container ${container.name}: volume "${mount.name}" is not defined`);
    }
    const subPath =
      mount.subPathExpr === undefined ? mount.subPath : expand(mount.subPathExpr, env);
    const hostPath =
      subPath === undefined || subPath === '' ? volume.path : `${volume.path}/${safePath(subPath)}`;
    return {
      hostPath,
      containerPath: mount.mountPath,
      // Kubernetes: volumes made of ConfigMaps, Secrets and fields are always read-only.
      readOnly: mount.readOnly === true || volume.type === 'files' || volume.readOnly === true,
    };
  });
}

function resources({ resources: wanted }: Container): ContainerSpec['resources'] {
  const limits = wanted?.limits ?? {};
  const cpuRequest = wanted?.requests?.cpu ?? limits.cpu;
  return {
    ...(cpuRequest === undefined ? {} : { cpuRequestMillis: milliValue(cpuRequest) }),
    ...(limits.cpu === undefined ? {} : { cpuLimitMillis: milliValue(limits.cpu) }),
    ...(limits.memory === undefined ? {} : { memoryLimitBytes: value(limits.memory) }),
  };
}

/** Whether the user of the image decides if the container may run (Kubernetes: runAsNonRoot). */
export function needsImageUser(pod: BoardPod, container: Container): boolean {
  const own = container.securityContext ?? {};
  const shared = pod.spec.securityContext ?? {};
  const nonRoot = (own.runAsNonRoot ?? shared.runAsNonRoot) === true;
  return nonRoot && (own.runAsUser ?? shared.runAsUser) === undefined;
}

function checkImageUser(pod: BoardPod, container: Container, imageUser: string): void {
  if (!needsImageUser(pod, container)) return;
  const user = imageUser.split(':', 1)[0] ?? '';
  const place = `(pod: "${pod.name}_${pod.namespace}(${pod.uid})", container: ${container.name})`;
  if (user === '' || Number(user) === 0) {
    throw new ConfigError(`container has runAsNonRoot and image will run as root ${place}`);
  }
  if (/^\d+$/.test(user)) return;
  throw new ConfigError(
    `container has runAsNonRoot and image has non-numeric user (${user}), ` +
      `cannot verify user is non-root ${place}`,
  );
}

/** Kubernetes: fsGroup is one of the groups of every container of the pod. */
function groupsOf({ spec }: BoardPod): number[] {
  const { supplementalGroups = [], fsGroup } = spec.securityContext ?? {};
  return [...new Set([...supplementalGroups, ...(fsGroup === undefined ? [] : [fsGroup])])];
}

function seccompOf(pod: BoardPod, container: Container): 'unconfined' | undefined {
  const profile =
    container.securityContext?.seccompProfile ?? pod.spec.securityContext?.seccompProfile;
  // The engine's default profile is Pier's default, too: boards are not the place to be lenient.
  if (profile === undefined || profile.type === 'RuntimeDefault') return undefined;
  if (profile.type === 'Unconfined') return 'unconfined';
  throw new ConfigError(
    `container ${container.name}: seccomp profiles of type ${profile.type} are not supported; ` +
      'use RuntimeDefault or Unconfined',
  );
}

function security(pod: BoardPod, container: Container, imageUser = ''): ContainerSpec['security'] {
  const own = container.securityContext ?? {};
  const shared = pod.spec.securityContext ?? {};
  const runAsUser = own.runAsUser ?? shared.runAsUser;
  const runAsGroup = own.runAsGroup ?? shared.runAsGroup;
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) === true && runAsUser === 0) {
    throw new ConfigError(
      `container's runAsUser breaks non-root policy ` +
        `(pod: "${pod.name}_${pod.namespace}(${pod.uid})", container: ${container.name})`,
    );
  }
  checkImageUser(pod, container, imageUser);
  const groups = groupsOf(pod);
  const seccomp = seccompOf(pod, container);
  const { add, drop } = own.capabilities ?? {};
  return {
    ...(runAsUser === undefined ? {} : { runAsUser }),
    ...(runAsGroup === undefined ? {} : { runAsGroup }),
    ...(own.privileged === undefined ? {} : { privileged: own.privileged }),
    ...(own.readOnlyRootFilesystem === undefined
      ? {}
      : { readOnlyRootFilesystem: own.readOnlyRootFilesystem }),
    ...(add === undefined ? {} : { addCapabilities: add }),
    ...(drop === undefined ? {} : { dropCapabilities: drop }),
    ...(own.allowPrivilegeEscalation === false ? { noNewPrivileges: true } : {}),
    ...(groups.length === 0 ? {} : { supplementalGroups: groups }),
    ...(seccomp === undefined ? {} : { seccomp }),
  };
}

function unique(list: readonly string[]): string[] {
  return [...new Set(list)];
}
