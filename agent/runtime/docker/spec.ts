/**
 * From our specs to the Docker Engine API's bodies (docs.docker.com/engine/api, 1.40 and newer). Pure. A pod is a pause
 * container; the others join its network and IPC namespaces.
 */

import { fullImageName } from '../../../protocol/image-name.ts';
import { cpuLimits } from '../cpu-limits.ts';
import { PAUSE_IMAGE } from '../pause-image.ts';
import { BRIDGE, containerName, IP_LABEL, NETWORK, podName } from '../podman-spec.ts';
import {
  type ContainerSpec,
  LABELS,
  RuntimeError,
  type Sandbox,
  type SandboxSpec,
} from '../runtime.ts';

/** The image's name as the pod has it: Docker's list tells an id once the name has moved on. */
export const IMAGE_LABEL = 'pier.local/image';
export const SANDBOX_LABEL = 'pier.local/sandbox-id';

/** Body of `POST /networks/create`. */
export function networkBody(subnet: string, gateway: string): Record<string, unknown> {
  return {
    Name: NETWORK,
    Driver: 'bridge',
    EnableIPv6: false,
    IPAM: { Config: [{ Subnet: subnet, Gateway: gateway }] },
    Options: {
      'com.docker.network.bridge.name': BRIDGE,
      // Docker 27 and newer would drop what other boards send to pods; older ones do not know it.
      'com.docker.network.bridge.gateway_mode_ipv4': 'nat-unprotected',
    },
  };
}

/** Body of `POST /containers/create` for the pause container. */
export function sandboxBody(spec: SandboxSpec): Record<string, unknown> {
  const address = spec.ip === undefined ? {} : { IPAMConfig: { IPv4Address: spec.ip } };
  return {
    Image: PAUSE_IMAGE,
    ...(spec.hostNetwork ? {} : { Hostname: spec.hostname }),
    Labels: {
      [LABELS.managed]: 'true',
      [LABELS.podUid]: spec.podUid,
      [LABELS.podName]: spec.podName,
      [LABELS.podNamespace]: spec.podNamespace,
      ...(spec.ip === undefined || spec.hostNetwork ? {} : { [IP_LABEL]: spec.ip }),
    },
    HostConfig: {
      NetworkMode: spec.hostNetwork ? 'host' : NETWORK,
      IpcMode: spec.boardIpc === true ? 'host' : 'shareable',
      PidMode: spec.processes === 'board' ? 'host' : '',
      LogConfig: { Type: 'none' },
      RestartPolicy: { Name: 'no' },
    },
    ...(spec.hostNetwork ? {} : { NetworkingConfig: { EndpointsConfig: { [NETWORK]: address } } }),
  };
}

export const sandboxName = podName;

/** The pod's /etc/resolv.conf: Docker would put its own resolver there. Undefined: as Docker has it. */
export function resolvFile({ dns }: Pick<SandboxSpec, 'dns'>): string | undefined {
  const { servers, searches, options } = dns;
  if (servers.length === 0 && searches.length === 0 && options.length === 0) return undefined;
  const lines = [
    ...servers.map((server) => `nameserver ${server}`),
    ...(searches.length === 0 ? [] : [`search ${searches.join(' ')}`]),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
  ];
  return `${lines.join('\n')}\n`;
}

export interface ContainerPlace {
  readonly sandbox: Sandbox;
  /** Files of the pod that replace Docker's: path in the container and path on the board. */
  readonly files: ReadonlyMap<string, string>;
  readonly logBytesMax: number;
}

export interface NamedBody {
  readonly name: string;
  readonly body: Record<string, unknown>;
}

/** Name and body of `POST /containers/create`. */
export function containerBody(spec: ContainerSpec, place: ContainerPlace): NamedBody {
  const { sandbox } = place;
  const replaced = spec.command.length > 0 || spec.args.length > 0;
  const body = {
    Image: fullImageName(spec.image),
    ...(spec.command.length === 0 ? {} : { Entrypoint: spec.command }),
    ...(replaced ? { Cmd: spec.args } : {}),
    ...(spec.workingDir === undefined ? {} : { WorkingDir: spec.workingDir }),
    Env: spec.env.map(({ name, value }) => `${name}=${value}`),
    Labels: {
      [LABELS.managed]: 'true',
      [LABELS.podUid]: sandbox.podUid,
      [LABELS.podName]: sandbox.podName,
      [LABELS.podNamespace]: sandbox.podNamespace,
      [LABELS.containerName]: spec.name,
      [LABELS.attempt]: String(spec.attempt),
      [LABELS.specHash]: spec.specHash,
      [IMAGE_LABEL]: spec.image,
      [SANDBOX_LABEL]: sandbox.id,
    },
    OpenStdin: spec.stdin,
    Tty: spec.tty,
    ...userOf(spec),
    // The probes are Kubernetes'.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      NetworkMode: sandbox.ip === undefined ? 'host' : `container:${sandbox.id}`,
      IpcMode: spec.boardIpc === true ? 'host' : `container:${sandbox.id}`,
      PidMode: pidMode(spec, sandbox),
      Mounts: mountsOf(spec, place),
      Devices: (spec.devices ?? []).map(({ hostPath, containerPath }) => ({
        PathOnHost: hostPath,
        PathInContainer: containerPath,
        CgroupPermissions: 'rw',
      })),
      ...resourcesOf(spec),
      ...securityOf(spec),
      LogConfig: {
        Type: 'json-file',
        Config: { 'max-size': String(place.logBytesMax), 'max-file': '1' },
      },
      RestartPolicy: { Name: 'no' },
    },
  };
  return { name: containerName(sandbox, spec), body };
}

/** Empty: processes of its own. */
function pidMode({ processes }: ContainerSpec, sandbox: Pick<Sandbox, 'id'>): string {
  if (processes === undefined) return '';
  if (processes === 'board') return 'host';
  return `container:${processes === 'pod' ? sandbox.id : processes.of}`;
}

function mountsOf(spec: ContainerSpec, { files }: ContainerPlace): unknown[] {
  const mounts = [...spec.mounts];
  for (const [containerPath, hostPath] of files) {
    if (mounts.some((mount) => mount.containerPath === containerPath)) continue;
    mounts.push({ hostPath, containerPath, readOnly: false });
  }
  return mounts.map(({ hostPath, containerPath, readOnly }) => ({
    Type: 'bind',
    Source: hostPath,
    Target: containerPath,
    ReadOnly: readOnly,
    BindOptions: { Propagation: 'rprivate' },
  }));
}

function resourcesOf(spec: ContainerSpec): Record<string, unknown> {
  const { memoryLimitBytes = 0 } = spec.resources;
  const { shares, bandwidth } = cpuLimits(spec.resources);
  return {
    CpuShares: shares,
    ...(bandwidth === undefined ? {} : { CpuPeriod: bandwidth.period, CpuQuota: bandwidth.quota }),
    // The same limit for memory and swap together: no swap, as in Kubernetes.
    ...(memoryLimitBytes === 0 ? {} : { Memory: memoryLimitBytes, MemorySwap: memoryLimitBytes }),
  };
}

function userOf({ name, security }: ContainerSpec): Record<string, unknown> {
  const { runAsUser, runAsGroup } = security;
  if (runAsUser === undefined) {
    if (runAsGroup === undefined) return {};
    throw new RuntimeError(`container "${name}": runAsGroup is set without runAsUser; set both`);
  }
  return { User: runAsGroup === undefined ? String(runAsUser) : `${runAsUser}:${runAsGroup}` };
}

function securityOf({ security }: ContainerSpec): Record<string, unknown> {
  return {
    Privileged: security.privileged ?? false,
    ReadonlyRootfs: security.readOnlyRootFilesystem ?? false,
    CapAdd: capabilities(security.addCapabilities),
    CapDrop: capabilities(security.dropCapabilities),
    SecurityOpt: [
      ...(security.noNewPrivileges === true ? ['no-new-privileges'] : []),
      ...(security.seccomp === undefined ? [] : [`seccomp=${security.seccomp}`]),
    ],
    GroupAdd: (security.supplementalGroups ?? []).map(String),
  };
}

/** Without `CAP_`, as all of Docker's versions take them. */
function capabilities(names: readonly string[] = []): string[] {
  return names.map((name) => name.toUpperCase().replace(/^CAP_/, ''));
}
