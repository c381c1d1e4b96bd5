/**
 * Local-path storage: what a PersistentVolume is that Pier makes itself, a directory on one board. Pure. Who makes and
 * removes the directory is the agent; when, is decided in master/controllers/volumes.ts.
 */
import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
} from '../../protocol/kinds/types.ts';
import { matchesNodeTerms } from '../scheduler/node-affinity.ts';

export const LOCAL_PATH_PROVISIONER = 'pier.local/local-path';
/** On a node: below which directory its agent keeps volumes. */
export const VOLUMES_DIRECTORY = 'pier.local/volumes-directory';
export const PV_PROTECTION = 'kubernetes.io/pv-protection';
export const PVC_PROTECTION = 'kubernetes.io/pvc-protection';
export const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';
const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';
const HOSTNAME = 'kubernetes.io/hostname';

/** The class that a new cluster has: a claim without a class gets a directory on the board of its first pod. */
export const LOCAL_PATH_CLASS: StorageClass = {
  metadata: { name: 'local-path', annotations: { [DEFAULT_CLASS]: 'true' } },
  provisioner: LOCAL_PATH_PROVISIONER,
  reclaimPolicy: 'Delete',
  volumeBindingMode: 'WaitForFirstConsumer',
};

/** A volume for the claim on that board; undefined while the board has not said where it keeps volumes. */
export function localPathVolume(
  claim: PersistentVolumeClaim,
  storage: StorageClass,
  node: Node,
): PersistentVolume | undefined {
  const directory = node.metadata?.annotations?.[VOLUMES_DIRECTORY] ?? '';
  const hostname = node.metadata?.labels?.[HOSTNAME];
  if (directory === '' || hostname === undefined) return undefined;
  const { uid = '', name = '', namespace = '' } = claim.metadata ?? {};
  const { accessModes = [], resources, volumeMode = 'Filesystem' } = claim.spec ?? {};
  // The claim's uid makes the name one that no other volume ever had.
  const volume = `pvc-${uid}`;
  const here = { key: HOSTNAME, operator: 'In', values: [hostname] };
  return {
    metadata: {
      name: volume,
      annotations: { [PROVISIONED_BY]: LOCAL_PATH_PROVISIONER },
      finalizers: [PV_PROTECTION],
    },
    spec: {
      accessModes: [...accessModes],
      capacity: { storage: resources?.requests?.storage ?? '0' },
      claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
      local: { path: `${directory}/${volume}` },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } },
      persistentVolumeReclaimPolicy: storage.reclaimPolicy ?? 'Delete',
      storageClassName: storage.metadata?.name ?? '',
      volumeMode,
    },
  };
}

export function isLocalPath({ metadata }: PersistentVolume): boolean {
  return metadata?.annotations?.[PROVISIONED_BY] === LOCAL_PATH_PROVISIONER;
}

/** Its claim is gone and its policy says that its directory must go: the board is told so until it says that it is done. */
export function awaitsRemoval(volume: PersistentVolume): boolean {
  return (
    isLocalPath(volume) &&
    volume.status?.phase === 'Released' &&
    volume.spec?.persistentVolumeReclaimPolicy === 'Delete'
  );
}

/** May the volume be used on that board? Without an affinity on all of them. */
export function isReachableFrom(
  { spec }: PersistentVolume,
  node: { readonly name: string; readonly labels: Readonly<Record<string, string>> },
): boolean {
  const terms = spec?.nodeAffinity?.required?.nodeSelectorTerms;
  return terms === undefined || matchesNodeTerms(terms, node);
}
