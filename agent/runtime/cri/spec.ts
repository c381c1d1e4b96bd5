/** From our specs to CRI's PodSandboxConfig and ContainerConfig. Pure. */

import { fullImageName } from '../../../protocol/image-name.ts';
import { cpuLimits } from '../cpu-limits.ts';
import {
  type ContainerSpec,
  LABELS,
  RuntimeError,
  type Sandbox,
  type SandboxSpec,
} from '../runtime.ts';
import { type ContainerConfig, NAMESPACE, type PodSandboxConfig, SECCOMP } from './proto.ts';
import type { Encodable } from './wire.ts';

type SandboxConfig = Encodable<typeof PodSandboxConfig>;
export type ContainerBody = Encodable<typeof ContainerConfig>;

/** The pod's IP as a label, because CRI's listing does not tell it. A pod on the board's network has none. */
export const IP_LABEL = 'pier.local/pod-ip';

const HOSTS_PATH = '/etc/hosts';

/** What of the engine and the board a spec depends on. */
export interface CriPlace {
  /** Containers' logs go to a folder per pod below it. */
  readonly logDir: string;
  /** As the engine's cgroup driver wants it. */
  readonly cgroupParent: string;
  /** Whether the kernel has seccomp: a profile is refused otherwise. */
  readonly seccomp: boolean;
}

type PodKey = Pick<Sandbox, 'podUid' | 'podName' | 'podNamespace'> & {
  readonly ip?: string | undefined;
};

/** `prefix` is the length of the pod network's prefix, as 24. */
export function sandboxConfig(spec: SandboxSpec, prefix: number, place: CriPlace): SandboxConfig {
  const { dns } = spec;
  const isBoards =
    dns.servers.length === 0 && dns.searches.length === 0 && dns.options.length === 0;
  return {
    ...podConfig(spec, { ...spec, place }),
    metadata: {
      name: spec.podName,
      namespace: spec.podNamespace,
      uid: cniUid(spec, prefix),
      attempt: 0,
    },
    // The kernel's name of the board is the board's.
    ...(spec.hostNetwork ? {} : { hostname: spec.hostname }),
    // Absent means "as the board has it", which is dnsPolicy Default.
    ...(isBoards ? {} : { dnsConfig: dns }),
  };
}

/**
 * The pod's uid with the address behind it: `UID;IP=10.42.3.5/24`. CRI has no field for an address. Engines hand
 * the uid to CNI's plugins as `K8S_POD_UID=...` within CNI_ARGS, a list that is parted by semicolons, and `IP` is the
 * argument by which Debian's `static` plugin is told an address. The other way, containerd's capability
 * for annotations, needs a plugin of our own among the distribution's, and CRI-O has it not.
 */
function cniUid(spec: SandboxSpec, prefix: number): string {
  if (/[;=]/.test(spec.podUid)) {
    throw new RuntimeError(`the pod uid "${spec.podUid}" has a character that no uid has`);
  }
  return spec.ip === undefined || spec.hostNetwork
    ? spec.podUid
    : `${spec.podUid};IP=${spec.ip}/${prefix}`;
}

/** What a container's creation repeats of its sandbox. A listing tells enough to make it anew. */
function podConfig(
  pod: PodKey,
  { place, ...shared }: Shared & { readonly place: CriPlace },
): SandboxConfig {
  return {
    logDirectory: podLogDir(place.logDir, pod.podUid),
    labels: {
      [LABELS.managed]: 'true',
      [LABELS.podUid]: pod.podUid,
      [LABELS.podName]: pod.podName,
      [LABELS.podNamespace]: pod.podNamespace,
      ...(pod.ip === undefined ? {} : { [IP_LABEL]: pod.ip }),
    },
    linux: {
      cgroupParent: place.cgroupParent,
      securityContext: {
        namespaceOptions: namespaces(shared),
        ...seccomp(place),
      },
    },
  };
}

export function podLogDir(logDir: string, podUid: string): string {
  return `${logDir}/${podUid}`;
}

type Shared = Pick<SandboxSpec, 'hostNetwork'> & Pick<ContainerSpec, 'processes' | 'boardIpc'>;

/** Network, IPC and host name are the pod's or the board's; each container has processes of its own unless it is told. */
function namespaces({ hostNetwork, processes, boardIpc }: Shared) {
  return {
    network: hostNetwork ? NAMESPACE.node : NAMESPACE.pod,
    ipc: boardIpc === true ? NAMESPACE.node : NAMESPACE.pod,
    ...processNamespace(processes),
  };
}

function processNamespace(processes: ContainerSpec['processes']) {
  if (processes === undefined) return { pid: NAMESPACE.container };
  if (processes === 'pod') return { pid: NAMESPACE.pod };
  if (processes === 'board') return { pid: NAMESPACE.node };
  return { pid: NAMESPACE.target, targetId: processes.of };
}

function seccomp(place: CriPlace) {
  return place.seccomp ? { seccomp: { profileType: SECCOMP.runtimeDefault } } : {};
}

/** For the creation of this container, which wants the sandbox's again. Containerd asks it whether `privileged` is allowed. */
export function sandboxConfigAgain(
  sandbox: Sandbox,
  { security, processes, boardIpc = false }: ContainerSpec,
  place: CriPlace,
): SandboxConfig {
  const { privileged = false } = security;
  // The sandbox of one that joins another's processes has none to share.
  const ofPod = typeof processes === 'string' ? { processes } : {};
  const hostNetwork = sandbox.ip === undefined;
  const config = podConfig(sandbox, { hostNetwork, boardIpc, ...ofPod, place });
  return {
    ...config,
    metadata: {
      name: sandbox.podName,
      namespace: sandbox.podNamespace,
      uid: sandbox.podUid,
      attempt: 0,
    },
    linux: {
      ...config.linux,
      securityContext: { ...config.linux?.securityContext, privileged },
    },
  };
}

export interface ContainerPlace extends CriPlace {
  readonly sandbox: Sandbox;
  /** The pod's hosts file on the board. */
  readonly hostsPath: string | undefined;
}

/** The log's path within the pod's folder. */
export function logPath(spec: Pick<ContainerSpec, 'name' | 'attempt'>): string {
  return `${spec.name}/${spec.attempt}.log`;
}

export function containerConfig(spec: ContainerSpec, place: ContainerPlace): ContainerBody {
  const { sandbox, hostsPath } = place;
  const mounts = spec.mounts.map(({ hostPath, containerPath, readOnly }) => ({
    hostPath,
    containerPath,
    readonly: readOnly,
  }));
  if (hostsPath !== undefined && !mounts.some((mount) => mount.containerPath === HOSTS_PATH)) {
    mounts.push({ hostPath: hostsPath, containerPath: HOSTS_PATH, readonly: false });
  }
  return {
    metadata: { name: spec.name, attempt: spec.attempt },
    image: { image: fullImageName(spec.image) },
    command: spec.command,
    args: spec.args,
    workingDir: spec.workingDir,
    envs: spec.env.map(({ name, value }) => ({ key: name, value })),
    mounts,
    devices: (spec.devices ?? []).map((device) => ({ ...device, permissions: 'rw' })),
    labels: {
      [LABELS.managed]: 'true',
      [LABELS.podUid]: sandbox.podUid,
      [LABELS.podName]: sandbox.podName,
      [LABELS.podNamespace]: sandbox.podNamespace,
      [LABELS.containerName]: spec.name,
      [LABELS.attempt]: String(spec.attempt),
      [LABELS.specHash]: spec.specHash,
    },
    annotations: { [IMAGE_ANNOTATION]: spec.image },
    logPath: logPath(spec),
    stdin: spec.stdin,
    tty: spec.tty,
    linux: {
      resources: resourcesOf(spec),
      securityContext: securityOf(spec, place),
    },
  };
}

/** The image's name as the pod has it. */
export const IMAGE_ANNOTATION = 'pier.local/image';

function resourcesOf(spec: ContainerSpec) {
  const { memoryLimitBytes = 0 } = spec.resources;
  const { shares, bandwidth } = cpuLimits(spec.resources);
  return {
    cpuShares: shares,
    cpuPeriod: bandwidth?.period,
    cpuQuota: bandwidth?.quota,
    memoryLimitInBytes: memoryLimitBytes,
    // The same limit for memory and swap together: no swap, as in Kubernetes.
    memorySwapLimitInBytes: memoryLimitBytes,
  };
}

function securityOf(spec: ContainerSpec, place: ContainerPlace) {
  const { security } = spec;
  if (security.runAsUser === undefined && security.runAsGroup !== undefined) {
    throw new RuntimeError(
      `container "${spec.name}": runAsGroup is set without runAsUser; set both`,
    );
  }
  const privileged = security.privileged ?? false;
  return {
    privileged,
    namespaceOptions: namespaces({ ...spec, hostNetwork: place.sandbox.ip === undefined }),
    readonlyRootfs: security.readOnlyRootFilesystem ?? false,
    noNewPrivs: security.noNewPrivileges ?? false,
    capabilities: {
      add: capabilities(security.addCapabilities),
      drop: capabilities(security.dropCapabilities),
    },
    runAsUser: security.runAsUser === undefined ? undefined : { value: security.runAsUser },
    runAsGroup: security.runAsGroup === undefined ? undefined : { value: security.runAsGroup },
    supplementalGroups: security.supplementalGroups ?? [],
    ...(privileged || security.seccomp !== undefined ? {} : seccomp(place)),
  };
}

/** As Kubernetes writes them, without `CAP_`: that is CRI's way, too. */
function capabilities(names: readonly string[] = []): string[] {
  return names.map((name) => name.toUpperCase().replace(/^CAP_/, ''));
}
