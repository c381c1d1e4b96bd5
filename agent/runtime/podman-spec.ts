/**
 * From our specs to libpod's PodSpecGenerator and SpecGenerator (containers/podman pkg/specgen). Pure. Fields that
 * podman 4 does not know are ignored by it, so podman 5's are set as well.
 */

import { fullImageName, isLocalImage } from '../../protocol/image-name.ts';
import { cpuLimits } from './cpu-limits.ts';
import { PAUSE_COMMAND, PAUSE_IMAGE } from './pause-image.ts';
import {
  type ContainerSpec,
  LABELS,
  RuntimeError,
  type Sandbox,
  type SandboxSpec,
} from './runtime.ts';

/** The board's pod network and its bridge. */
export const NETWORK = 'pier';
export const BRIDGE = 'pier0';

/** The pod's IP as a label: libpod's list of pods does not tell it. */
export const IP_LABEL = 'pier.local/pod-ip';

const HOSTS_PATH = '/etc/hosts';

/** Of podman's names: unique by uid, readable, as the kubelet did for Docker. */
export function podName(spec: Pick<SandboxSpec, 'podName' | 'podNamespace' | 'podUid'>): string {
  return `k8s_${spec.podName}_${spec.podNamespace}_${spec.podUid}`;
}

export function containerName(
  sandbox: Pick<SandboxSpec, 'podName' | 'podNamespace' | 'podUid'>,
  spec: Pick<ContainerSpec, 'name' | 'attempt'>,
): string {
  const { podName: pod, podNamespace, podUid } = sandbox;
  return `k8s_${spec.name}_${pod}_${podNamespace}_${podUid}_${spec.attempt}`;
}

/** Body of `POST /libpod/pods/create`. */
export function podBody(spec: SandboxSpec): Record<string, unknown> {
  return {
    name: podName(spec),
    hostname: spec.hostname,
    labels: {
      [LABELS.managed]: 'true',
      [LABELS.podUid]: spec.podUid,
      [LABELS.podName]: spec.podName,
      [LABELS.podNamespace]: spec.podNamespace,
      ...(spec.ip === undefined ? {} : { [IP_LABEL]: spec.ip }),
    },
    infra_image: PAUSE_IMAGE,
    infra_command: [PAUSE_COMMAND],
    shared_namespaces: [...['net', 'ipc', 'uts'], ...(spec.processes === 'pod' ? ['pid'] : [])],
    ...networkOf(spec),
    // Absent lists mean "as the board has it", which is dnsPolicy Default.
    ...(spec.dns.servers.length === 0 ? {} : { dns_server: spec.dns.servers }),
    // "." keeps podman from adding the board's own search domains.
    ...(spec.dns.servers.length === 0 && spec.dns.searches.length === 0
      ? {}
      : { dns_search: spec.dns.searches.length === 0 ? ['.'] : spec.dns.searches }),
    ...(spec.dns.options.length === 0 ? {} : { dns_option: spec.dns.options }),
    hostadd: spec.hostAliases.flatMap(({ ip, hostnames }) =>
      hostnames.map((hostname) => `${hostname}:${ip}`),
    ),
  };
}

function networkOf(spec: SandboxSpec): Record<string, unknown> {
  if (spec.hostNetwork) return { netns: { nsmode: 'host' } };
  const address = spec.ip === undefined ? {} : { static_ips: [spec.ip] };
  return { netns: { nsmode: 'bridge' }, Networks: { [NETWORK]: address } };
}

/**
 * The pod's /etc/hosts as the kubelet writes it: own name and aliases, but nothing of the board's file. A pod
 * with the board's network gets the board's file (`boardHosts`) first.
 */
export function hostsFile(spec: SandboxSpec, boardHosts: string): string {
  const lines = spec.hostNetwork
    ? [boardHosts.trimEnd()]
    : [
        '# Written by Pier.',
        '127.0.0.1\tlocalhost',
        '::1\tlocalhost ip6-localhost ip6-loopback',
        ...(spec.ip === undefined
          ? []
          : [[spec.ip, spec.fullName, spec.hostname].filter(Boolean).join('\t')]),
      ];
  const aliases = spec.hostAliases.map(({ ip, hostnames }) => `${ip}\t${hostnames.join(' ')}`);
  if (aliases.length > 0) lines.push("# From the pod's hostAliases.", ...aliases);
  return `${lines.join('\n')}\n`;
}

export interface ContainerPlace {
  readonly sandbox: Pick<Sandbox, 'id' | 'podUid' | 'podName' | 'podNamespace'>;
  /** The pod's hosts file on the board; undefined leaves /etc/hosts to podman. */
  readonly hostsPath: string | undefined;
  readonly logBytesMax: number;
  /** Of the container whose processes this one sees, if it is one: its process on the board. */
  readonly targetPid?: number;
}

/** Body of `POST /libpod/containers/create`. */
export function containerBody(spec: ContainerSpec, place: ContainerPlace): Record<string, unknown> {
  const { sandbox, hostsPath } = place;
  const mounts = [...spec.mounts];
  if (hostsPath !== undefined && !mounts.some((mount) => mount.containerPath === HOSTS_PATH)) {
    mounts.push({ hostPath: hostsPath, containerPath: HOSTS_PATH, readOnly: false });
  }
  return {
    name: containerName(sandbox, spec),
    pod: sandbox.id,
    image: isLocalImage(spec.image) ? spec.image : fullImageName(spec.image),
    ...(spec.command.length === 0 ? {} : { entrypoint: spec.command }),
    // Without arguments of its own a replaced entrypoint must not inherit the image's: `[]` says so.
    ...(spec.args.length > 0 || spec.command.length > 0 ? { command: spec.args } : {}),
    ...(spec.workingDir === undefined ? {} : { work_dir: spec.workingDir }),
    env: Object.fromEntries(spec.env.map(({ name, value }) => [name, value])),
    labels: {
      [LABELS.managed]: 'true',
      [LABELS.podUid]: sandbox.podUid,
      [LABELS.podName]: sandbox.podName,
      [LABELS.podNamespace]: sandbox.podNamespace,
      [LABELS.containerName]: spec.name,
      [LABELS.attempt]: String(spec.attempt),
      [LABELS.specHash]: spec.specHash,
    },
    mounts: mounts.map(({ hostPath, containerPath, readOnly }) => ({
      type: 'bind',
      source: hostPath,
      destination: containerPath,
      options: ['rbind', 'rprivate', readOnly ? 'ro' : 'rw'],
    })),
    ...namespacesOf(spec, place),
    // As `podman run --device` writes it: there are no fields of its own for the place and the rights.
    devices: (spec.devices ?? []).map(({ hostPath, containerPath }) => ({
      path: `${hostPath}:${containerPath}:rw`,
    })),
    resource_limits: resourcesOf(spec),
    ...securityOf(spec),
    stdin: spec.stdin,
    terminal: spec.tty,
    log_configuration: { driver: 'k8s-file', size: place.logBytesMax },
    // The agent alone decides what is started again.
    restart_policy: 'no',
    // Only for removal by force; stopContainer always names its own time.
    stop_timeout: 0,
    // podman would treat a program named init or systemd in a way of its own.
    systemd: 'false',
    image_volume_mode: 'anonymous',
  };
}

/** What differs from the pod's. A target by its path: named by id, podman would not let it be removed before this one. */
function namespacesOf(
  { processes, boardIpc }: ContainerSpec,
  { targetPid }: ContainerPlace,
): Record<string, unknown> {
  const target = { nsmode: 'path', value: `/proc/${targetPid}/ns/pid` };
  return {
    ...(processes === 'board' ? { pidns: { nsmode: 'host' } } : {}),
    ...(targetPid === undefined ? {} : { pidns: target }),
    ...(boardIpc === true ? { ipcns: { nsmode: 'host' } } : {}),
  };
}

function resourcesOf(spec: ContainerSpec): Record<string, unknown> {
  const { memoryLimitBytes } = spec.resources;
  const { shares, bandwidth } = cpuLimits(spec.resources);
  return {
    cpu: { shares, ...bandwidth },
    ...(memoryLimitBytes === undefined || memoryLimitBytes === 0
      ? {}
      : // The same limit for memory and swap together: no swap, as in Kubernetes.
        { memory: { limit: memoryLimitBytes, swap: memoryLimitBytes } }),
  };
}

function securityOf(spec: ContainerSpec): Record<string, unknown> {
  const { security } = spec;
  if (security.runAsUser === undefined && security.runAsGroup !== undefined) {
    throw new RuntimeError(
      `container "${spec.name}": runAsGroup is set without runAsUser; set both`,
    );
  }
  const user =
    security.runAsUser === undefined
      ? undefined
      : security.runAsGroup === undefined
        ? String(security.runAsUser)
        : `${security.runAsUser}:${security.runAsGroup}`;
  return {
    ...(user === undefined ? {} : { user }),
    privileged: security.privileged ?? false,
    read_only_filesystem: security.readOnlyRootFilesystem ?? false,
    // podman 5 would otherwise lay writable tmpfs over /tmp and /run.
    read_write_tmpfs: false,
    ...(security.addCapabilities === undefined
      ? {}
      : { cap_add: capabilities(security.addCapabilities) }),
    ...(security.dropCapabilities === undefined
      ? {}
      : { cap_drop: capabilities(security.dropCapabilities) }),
    no_new_privileges: security.noNewPrivileges ?? false,
    ...(security.supplementalGroups === undefined
      ? {}
      : { groups: security.supplementalGroups.map(String) }),
    ...(security.seccomp === undefined ? {} : { seccomp_profile_path: security.seccomp }),
  };
}

/** Kubernetes writes `NET_ADMIN` or `ALL`; libpod wants `CAP_NET_ADMIN` or `ALL`. */
function capabilities(names: readonly string[]): string[] {
  return names.map((name) => {
    const upper = name.toUpperCase();
    return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  });
}
