/**
 * The filter for persistent storage: a pod goes where its volumes are, or where they can be made. Pure. Semantics and words
 * of kube-scheduler's VolumeBinding. A claim that waits for its first pod is bound after that, on the pod's board, by
 * controllers/volumes.ts; until then its home is where a pod with it was placed.
 */
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
} from '../../protocol/kinds/types.ts';
import { findVolume, isBound, isDelayed } from '../volumes/binding.ts';
import { isReachableFrom, LOCAL_PATH_PROVISIONER } from '../volumes/local-path.ts';
import type { PodInfo } from './pod-info.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';
import type { VolumeCatalog } from './volume-catalog.ts';

const ELSEWHERE = "node(s) didn't match PersistentVolume's node affinity";
const NONE_FREE = "node(s) didn't find available persistent volumes to bind";
const NO_VOLUME = 'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)';

export interface VolumeState {
  /** Why the pod can run nowhere for now, whatever the board. */
  readonly blocked: string | undefined;
  /** Of bound claims; undefined for one that is gone. */
  readonly bound: readonly (PersistentVolume | undefined)[];
  readonly open: readonly OpenClaim[];
}

interface OpenClaim {
  readonly claim: PersistentVolumeClaim;
  readonly storage: StorageClass | undefined;
  /** The board of a pod that has it already. */
  readonly home: string | undefined;
  readonly volumes: readonly PersistentVolume[];
}

/** Undefined for a pod without claims. */
export function volumeState(pod: PodInfo, snapshot: ClusterSnapshot): VolumeState | undefined {
  if (pod.claims.length === 0) return undefined;
  const catalog = snapshot.volumes;
  const bound: (PersistentVolume | undefined)[] = [];
  const open: OpenClaim[] = [];
  for (const name of pod.claims) {
    const claim = catalog.claim(pod.namespace, name);
    if (claim === undefined) return blocked(`persistentvolumeclaim "${name}" not found`);
    const why = claimProblem(claim, catalog, pod);
    if (why !== undefined) return blocked(why);
    if (isBound(claim)) {
      bound.push(catalog.volume(claim.spec?.volumeName ?? ''));
      continue;
    }
    const storage = catalog.storageClass(claim.spec?.storageClassName ?? '');
    const [home] = othersOf(pod, name, catalog);
    open.push({ claim, storage, home, volumes: catalog.volumes() });
  }
  return { blocked: undefined, bound, open };
}

function blocked(why: string): VolumeState {
  return { blocked: why, bound: [], open: [] };
}

/** The boards of the other pods that use the claim, sorted. */
function othersOf(pod: PodInfo, name: string, catalog: VolumeCatalog): string[] {
  const users = [...catalog.usersOf(pod.namespace, name)].filter(([uid]) => uid !== pod.uid);
  return users.map(([, node]) => node).sort();
}

function claimProblem(
  claim: PersistentVolumeClaim,
  catalog: VolumeCatalog,
  pod: PodInfo,
): string | undefined {
  const { name = '', deletionTimestamp } = claim.metadata ?? {};
  const { volumeName = '', storageClassName = '', accessModes = [] } = claim.spec ?? {};
  if (claim.status?.phase === 'Lost') {
    return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${volumeName}"`;
  }
  if (deletionTimestamp !== undefined) {
    return `persistentvolumeclaim "${name}" is being deleted`;
  }
  if (accessModes.includes('ReadWriteOncePod') && othersOf(pod, name, catalog).length > 0) {
    return 'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode';
  }
  const isSettled = isBound(claim) || isDelayed(claim, catalog.storageClass(storageClassName));
  return isSettled ? undefined : 'pod has unbound immediate PersistentVolumeClaims';
}

/** Undefined when the board will do. */
export function checkVolumes(
  state: VolumeState | undefined,
  node: NodeView,
): readonly string[] | undefined {
  if (state === undefined) return undefined;
  if (state.blocked !== undefined) return [state.blocked];
  for (const volume of state.bound) {
    if (volume === undefined) return [NO_VOLUME];
    if (!isReachableFrom(volume, node)) return [ELSEWHERE];
  }
  for (const { claim, storage, home, volumes } of state.open) {
    if (home !== undefined && home !== node.name) return [ELSEWHERE];
    const canBeMade = storage?.provisioner === LOCAL_PATH_PROVISIONER;
    if (!canBeMade && findVolume(claim, volumes, node) === undefined) return [NONE_FREE];
  }
  return undefined;
}
