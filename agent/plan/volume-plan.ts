/**
 * Where the volumes of a pod lie on the board and what is in them. Pure; agent/pods/volumes.ts makes it so.
 *
 * Secrets and memory-backed volumes lie under the run directory (a tmpfs: nothing readable is left on the
 * card, and no write wears it); the rest lies under the data directory, because /run may be noexec.
 */
import type {
  DownwardAPIVolumeFile,
  KeyToPath,
  Volume,
  VolumeProjection,
} from '../../protocol/kinds/types.ts';
import type { DesiredClaim } from '../../protocol/messages.ts';
import { tokenKey } from '../../protocol/seal.ts';
import type { BoardPod } from './board-pod.ts';
import { memoryBytes } from './empty-dir.ts';
import {
  ConfigError,
  type ConfigKind,
  type ConfigLookup,
  type PodFacts,
  podField,
  resourceField,
} from './environment.ts';
import { type NfsExport, type NfsMount, nfsMount } from './nfs.ts';

export interface VolumeFile {
  /** Relative, without `..`. */
  readonly path: string;
  readonly mode: number;
  readonly content: Uint8Array;
  /** Its owner; root without. */
  readonly user?: number;
}

export type PlannedVolume =
  | {
      readonly type: 'directory';
      readonly path: string;
      readonly group?: number;
      /** It may hold data of an earlier pod: files get the group as well. */
      readonly persistent?: true;
      readonly readOnly?: boolean;
    }
  | {
      readonly type: 'hostPath';
      readonly path: string;
      readonly expect: string;
      readonly readOnly?: boolean;
    }
  /** Mounted from a server; files have the owners that the server says. */
  | (NfsMount & {
      readonly type: 'nfs';
      readonly path: string;
      readonly readOnly: boolean;
    })
  /** A tmpfs of this size. */
  | {
      readonly type: 'memory';
      readonly path: string;
      readonly sizeBytes: number;
      readonly group?: number;
      readonly readOnly?: false;
    }
  /** Swapped as a whole when anything in it changes. */
  | {
      readonly type: 'files';
      readonly path: string;
      readonly files: readonly VolumeFile[];
      readonly group?: number;
    };

export interface VolumeContext {
  readonly configs: ConfigLookup;
  readonly facts: PodFacts;
  readonly directories: PodDirectories;
}

export interface PodDirectories {
  /** Of this pod, on disk. */
  readonly data: string;
  /** Of this pod, on a tmpfs. */
  readonly run: string;
  /** Of this pod, for what is mounted from servers; below neither of the others, for those are removed with all that is in them. */
  readonly mounts: string;
}

/** A volume cannot be made: FailedMount. The message names the volume. */
export class VolumeError extends Error {
  constructor(volume: string, message: string) {
    super(`MountVolume.SetUp failed for volume "${volume}" : ${message}`);
    this.name = 'VolumeError';
  }
}

/** Throws VolumeError. */
export function planVolumes(pod: BoardPod, context: VolumeContext): Map<string, PlannedVolume> {
  const volumes = new Map<string, PlannedVolume>();
  const group = pod.spec.securityContext?.fsGroup;
  for (const volume of pod.spec.volumes ?? []) {
    try {
      const planned = planVolume(pod, volume, context);
      // Kubernetes: fsGroup owns every volume that is made for the pod; the board's own paths and those of servers stay as they are.
      const hasOwner = planned.type === 'hostPath' || planned.type === 'nfs';
      volumes.set(volume.name, hasOwner || group === undefined ? planned : { ...planned, group });
    } catch (error) {
      if (error instanceof ConfigError) throw new VolumeError(volume.name, error.message);
      throw error;
    }
  }
  return volumes;
}

/** Where a volume lies below one of the pod's directories. */
export function volumePath(root: string, name: string): string {
  return `${root}/volumes/${name}`;
}

function planVolume(pod: BoardPod, volume: Volume, context: VolumeContext): PlannedVolume {
  const { data, run, mounts } = context.directories;
  const at = (root: string) => volumePath(root, volume.name);
  if (volume.emptyDir !== undefined) {
    if (volume.emptyDir.medium !== 'Memory') {
      return { type: 'directory', path: volumePath(data, volume.name) };
    }
    const sizeBytes = memoryBytes(pod.spec, volume, context.facts.allocatable.memoryBytes);
    return { type: 'memory', path: at(run), sizeBytes };
  }
  if (volume.hostPath !== undefined) {
    return { type: 'hostPath', path: volume.hostPath.path, expect: volume.hostPath.type ?? '' };
  }
  if (volume.persistentVolumeClaim !== undefined) {
    const { claimName, readOnly = false } = volume.persistentVolumeClaim;
    const mountPoint = `${mounts}/${volume.name}`;
    return planClaim(pod.claims?.[claimName], { name: claimName, readOnly, mountPoint });
  }
  if (volume.nfs !== undefined) return planNfs(volume.nfs, `${mounts}/${volume.name}`);
  if (volume.configMap !== undefined) {
    const { name = '', defaultMode, items, optional } = volume.configMap;
    const source = { kind: 'configmap', name, defaultMode, items, optional } as const;
    return { type: 'files', path: at(data), files: configFiles(pod, source, context) };
  }
  if (volume.secret !== undefined) {
    const { secretName: name = '', defaultMode, items, optional } = volume.secret;
    const source = { kind: 'secret', name, defaultMode, items, optional } as const;
    return { type: 'files', path: at(run), files: configFiles(pod, source, context) };
  }
  if (volume.downwardAPI !== undefined) {
    const { items, defaultMode } = volume.downwardAPI;
    return { type: 'files', path: at(data), files: fieldFiles(pod, items, defaultMode, context) };
  }
  if (volume.projected !== undefined) {
    const { sources = [], defaultMode } = volume.projected;
    const files = sources.flatMap((source) =>
      projectedFiles(pod, volume.name, source, defaultMode, context),
    );
    return { type: 'files', path: at(run), files };
  }
  const type = Object.keys(volume).find((key) => key !== 'name') ?? 'without a source';
  throw new ConfigError(`volumes of type ${type} are not supported on this board`);
}

/** As the master resolved it: the board knows no PersistentVolumes. */
function planClaim(
  claim: DesiredClaim | undefined,
  use: { readonly name: string; readonly readOnly: boolean; readonly mountPoint: string },
): PlannedVolume {
  const { name, readOnly, mountPoint } = use;
  if (claim === undefined) throw new ConfigError(`persistentvolumeclaim "${name}" not found`);
  switch (claim.type) {
    case 'problem': {
      const { nfs, message } = claim;
      if (nfs === undefined) throw new ConfigError(message);
      return planNfs({ ...nfs, readOnly: nfs.readOnly === true || readOnly }, mountPoint);
    }
    case 'directory':
      return { type: 'directory', path: claim.path, persistent: true, readOnly };
    case 'hostPath':
      return { type: 'hostPath', path: claim.path, expect: claim.expect, readOnly };
    default:
      return claim satisfies never;
  }
}

function planNfs(exported: NfsExport, path: string): PlannedVolume {
  return { type: 'nfs', path, ...nfsMount(exported), readOnly: exported.readOnly === true };
}

interface ConfigFileSource {
  readonly kind: ConfigKind;
  readonly name: string;
  readonly defaultMode: number | undefined;
  readonly items: readonly KeyToPath[] | undefined;
  readonly optional: boolean | undefined;
}

function configFiles(
  pod: BoardPod,
  source: ConfigFileSource,
  { configs }: VolumeContext,
): VolumeFile[] {
  const data = configs(source.kind, pod.namespace, source.name);
  if (data === undefined) {
    if (source.optional === true) return [];
    throw new ConfigError(`${source.kind} "${source.name}" not found`);
  }
  const defaultMode = source.defaultMode ?? 0o644;
  const items: readonly KeyToPath[] =
    source.items ?? Object.keys(data).map((key) => ({ key, path: key }));
  const files: VolumeFile[] = [];
  for (const { key, path: target, mode } of items) {
    const content = data[key];
    if (content !== undefined) {
      files.push({ path: safePath(target), mode: mode ?? defaultMode, content });
    } else if (source.optional !== true) {
      throw new ConfigError(
        `references non-existent ${source.kind === 'secret' ? 'secret' : 'config'} key: ${key}`,
      );
    }
  }
  return files;
}

function fieldFiles(
  pod: BoardPod,
  items: readonly DownwardAPIVolumeFile[] = [],
  defaultMode: number | undefined,
  { facts }: VolumeContext,
): VolumeFile[] {
  return items.map(({ path: target, fieldRef, resourceFieldRef, mode }) => {
    const container = pod.spec.containers.find(
      ({ name }) => name === resourceFieldRef?.containerName,
    );
    let content = '';
    if (fieldRef !== undefined) content = podField(pod, facts, fieldRef.fieldPath);
    else if (resourceFieldRef !== undefined && container !== undefined) {
      content = resourceField(container, facts, resourceFieldRef);
    } else throw new ConfigError(`"${target}" has no source`);
    return {
      path: safePath(target),
      mode: mode ?? defaultMode ?? 0o644,
      content: new TextEncoder().encode(content),
    };
  });
}

function projectedFiles(
  pod: BoardPod,
  volume: string,
  source: VolumeProjection,
  defaultMode: number | undefined,
  context: VolumeContext,
): VolumeFile[] {
  if (source.configMap !== undefined) {
    const { name = '', items, optional } = source.configMap;
    return configFiles(pod, { kind: 'configmap', name, defaultMode, items, optional }, context);
  }
  if (source.secret !== undefined) {
    const { name = '', items, optional } = source.secret;
    return configFiles(pod, { kind: 'secret', name, defaultMode, items, optional }, context);
  }
  if (source.downwardAPI !== undefined) {
    return fieldFiles(pod, source.downwardAPI.items, defaultMode, context);
  }
  if (source.serviceAccountToken !== undefined) {
    return [tokenFile(pod, volume, source.serviceAccountToken.path, defaultMode)];
  }
  const type = Object.keys(source)[0] ?? 'without a source';
  throw new ConfigError(`projections of type ${type} are not supported on this board`);
}

/**
 * Kubernetes: a token is for its owner alone when the pod says who that is, by an fsGroup (whose files its group may read) or by one user
 * for all of its containers.
 */
function tokenFile(pod: BoardPod, volume: string, target: string, defaultMode = 0o644): VolumeFile {
  const content = pod.tokens?.[tokenKey(volume, target)];
  if (content === undefined) {
    const account = pod.spec.serviceAccountName ?? 'default';
    throw new ConfigError(`no token of serviceaccount "${account}" has come from the master yet`);
  }
  const user = commonUser(pod);
  const isPrivate = user !== undefined || pod.spec.securityContext?.fsGroup !== undefined;
  return {
    path: safePath(target),
    mode: isPrivate ? 0o600 : defaultMode,
    content: new TextEncoder().encode(content),
    ...(user === undefined ? {} : { user }),
  };
}

/** The runAsUser of all containers, if it is the same. */
function commonUser({ spec }: BoardPod): number | undefined {
  const users = [...(spec.initContainers ?? []), ...spec.containers].map(
    ({ securityContext }) => securityContext?.runAsUser ?? spec.securityContext?.runAsUser,
  );
  return users.every((user) => user === users[0]) ? users[0] : undefined;
}

/** Refuses to leave the volume. */
export function safePath(relative: string): string {
  const parts = relative.split('/').filter((part) => part !== '' && part !== '.');
  if (relative.startsWith('/') || parts.length === 0 || parts.includes('..')) {
    throw new ConfigError(`"${relative}" is not a path within the volume`);
  }
  return parts.join('/');
}
