/**
 * Which PersistentVolume a claim may have: class, access modes, size, selector, and the board. Pure; asked by the controller
 * that binds and by the scheduler, which looks for a board where it can. Source: Kubernetes' "Persistent Volumes", Binding.
 */
import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
} from '../../protocol/kinds/types.ts';
import { compareQuantities } from '../../protocol/quantity.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { isReachableFrom } from './local-path.ts';

/** Most pods have no claims, and a scheduler looks at many pods. */
const NO_NAMES: readonly string[] = [];

export interface Board {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export function boardOf({ metadata }: Node): Board {
  return { name: metadata?.name ?? '', labels: metadata?.labels ?? {} };
}

/** Has its volume, and both sides say so. */
export function isBound({ spec, status }: PersistentVolumeClaim): boolean {
  return (spec?.volumeName ?? '') !== '' && status?.phase === 'Bound';
}

/** Its volume is chosen when it is known on which board it is used. */
export function isDelayed(
  { spec }: PersistentVolumeClaim,
  storage: StorageClass | undefined,
): boolean {
  const isOpen = (spec?.volumeName ?? '') === '';
  return isOpen && storage?.volumeBindingMode === 'WaitForFirstConsumer';
}

/** Is the volume the claim's, or kept for it by name? */
export function isKeptFor(volume: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const holder = volume.spec?.claimRef;
  if (holder === undefined) return false;
  const isNamed = holder.namespace === metadata?.namespace && holder.name === metadata?.name;
  const isAnother = (holder.uid ?? '') !== '' && holder.uid !== metadata?.uid;
  return isNamed && !isAnother;
}

/** Undefined when the volume will do; otherwise why not, in the words of Kubernetes' event VolumeMismatch. */
export function mismatch(
  { spec: volume = {} }: PersistentVolume,
  { spec: claim = {} }: PersistentVolumeClaim,
): string | undefined {
  const wanted = claim.resources?.requests?.storage ?? '0';
  if (compareQuantities(volume.capacity?.storage ?? '0', wanted) < 0) {
    return 'requested PV is too small';
  }
  if ((volume.storageClassName ?? '') !== (claim.storageClassName ?? '')) {
    return 'storageClassName does not match';
  }
  if ((volume.volumeMode ?? 'Filesystem') !== (claim.volumeMode ?? 'Filesystem')) {
    return 'incompatible volumeMode';
  }
  const offered = volume.accessModes ?? [];
  const isOffered = (claim.accessModes ?? []).every((mode) => offered.includes(mode));
  return isOffered ? undefined : 'incompatible accessMode';
}

/**
 * The volume that is kept for the claim, else the smallest that nobody has, then the first by name. With a board only one
 * that can be used there.
 */
export function findVolume(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  board: Board | undefined,
): PersistentVolume | undefined {
  const usable = volumes.filter(
    (one) =>
      one.metadata?.deletionTimestamp === undefined &&
      mismatch(one, claim) === undefined &&
      (board === undefined || isReachableFrom(one, board)),
  );
  const kept = usable.find((one) => isKeptFor(one, claim));
  if (kept !== undefined) return kept;
  const { selector } = claim.spec ?? {};
  const size = ({ spec }: PersistentVolume): string => spec?.capacity?.storage ?? '0';
  const nameOf = ({ metadata }: PersistentVolume): string => metadata?.name ?? '';
  return usable
    .filter(
      ({ metadata, spec, status }) =>
        spec?.claimRef === undefined &&
        status?.phase === 'Available' &&
        (selector === undefined || matchesLabelSelector(selector, metadata?.labels ?? {})),
    )
    .sort((a, b) => compareQuantities(size(a), size(b)) || (nameOf(a) < nameOf(b) ? -1 : 1))
    .at(0);
}

/** The names of the claims that a pod's volumes are. */
export function claimNames(
  volumes: readonly { readonly persistentVolumeClaim?: { readonly claimName: string } }[] = [],
): readonly string[] {
  if (!volumes.some((one) => one.persistentVolumeClaim !== undefined)) return NO_NAMES;
  const names = volumes.map((one) => one.persistentVolumeClaim?.claimName ?? '');
  return [...new Set(names)].filter((name) => name !== '');
}
