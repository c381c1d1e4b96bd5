/**
 * Persistent storage as a board is told of it: what the claims of a pod are there, and which directories must go. Pure.
 */
import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
} from '../../protocol/kinds/types.ts';
import type { DesiredClaim, Manifest } from '../../protocol/messages.ts';
import { volumeSources } from '../api/kinds/validate/persistent-volume.ts';
import { boardOf, claimNames, isBound, isKeptFor } from '../volumes/binding.ts';
import { awaitsRemoval, isLocalPath, isReachableFrom } from '../volumes/local-path.ts';

export interface StorageView {
  readonly claim: (namespace: string, name: string) => PersistentVolumeClaim | undefined;
  readonly volume: (name: string) => PersistentVolume | undefined;
  readonly volumes: readonly PersistentVolume[];
}

/**
 * Is it too early to tell the board of the pod? Only while no agent has begun it: of a pod that runs nothing is ever held
 * back, whatever became of its claims.
 */
export function isHeldBack(pod: Pod, storage: StorageView): boolean {
  if (pod.status?.startTime !== undefined) return false;
  if (pod.metadata?.deletionTimestamp !== undefined) return false;
  const namespace = pod.metadata?.namespace ?? '';
  return claimNames(pod.spec?.volumes).some((name) => {
    const claim = storage.claim(namespace, name);
    return claim === undefined || !isBound(claim);
  });
}

/** By the name of the claim; undefined for a pod without claims. */
export function desiredClaims(
  pod: Pod,
  node: Node,
  storage: StorageView,
): Record<string, DesiredClaim> | undefined {
  const names = claimNames(pod.spec?.volumes);
  if (names.length === 0) return undefined;
  const namespace = pod.metadata?.namespace ?? '';
  return Object.fromEntries(
    names.map((name) => [name, desiredClaim(name, storage.claim(namespace, name), node, storage)]),
  );
}

function desiredClaim(
  name: string,
  claim: PersistentVolumeClaim | undefined,
  node: Node,
  storage: StorageView,
): DesiredClaim {
  if (claim === undefined) return problem(`persistentvolumeclaim "${name}" not found`);
  if (!isBound(claim)) return problem(`persistentvolumeclaim "${name}" is not bound`);
  const volumeName = claim.spec?.volumeName ?? '';
  const volume = storage.volume(volumeName);
  if (volume === undefined) return problem(`persistentvolume "${volumeName}" not found`);
  if (!isKeptFor(volume, claim)) {
    return problem(`persistentvolume "${volumeName}" is bound to another claim`);
  }
  if (!isReachableFrom(volume, boardOf(node))) {
    return problem(
      `MountVolume.NodeAffinity check failed for volume "${volumeName}" : no matching NodeSelectorTerms`,
    );
  }
  const { local, hostPath, nfs, mountOptions } = volume.spec ?? {};
  if (local !== undefined) {
    const { path } = local;
    return isLocalPath(volume)
      ? { type: 'directory', path }
      : { type: 'hostPath', path, expect: 'Directory' };
  }
  if (hostPath !== undefined) {
    return { type: 'hostPath', path: hostPath.path, expect: hostPath.type ?? '' };
  }
  if (nfs !== undefined) {
    const message = 'the agent of this board is too old for NFS volumes: update it';
    const options = mountOptions === undefined ? {} : { mountOptions };
    return { type: 'problem', message, nfs: { ...nfs, ...options } };
  }
  const [source] = volumeSources(volume.spec ?? {});
  return problem(`volumes of type ${source?.[0] ?? 'none'} are not supported on this board`);
}

function problem(message: string): DesiredClaim {
  return { type: 'problem', message };
}

/** Directories on the board whose claims are gone for good. */
export function volumesToRemove(
  node: Node,
  volumes: readonly PersistentVolume[],
): NonNullable<Manifest['removeVolumes']> {
  const board = boardOf(node);
  return volumes
    .filter((volume) => awaitsRemoval(volume) && isReachableFrom(volume, board))
    .map(({ metadata, spec }) => ({ name: metadata?.name ?? '', path: spec?.local?.path ?? '' }))
    .filter(({ path }) => path !== '')
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
