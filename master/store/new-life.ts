/**
 * Starting a store's next life from a state that may be older than what clients have seen: after a
 * repair, or from a backup. The epoch goes up by one, so that boards do not obey a master that still
 * lives in the old one; revisions jump far ahead and everything before counts as compacted, so that
 * none is used twice and every watcher lists again (etcd: `--bump-revision --mark-compacted`).
 */
import { encodeFormatFile, FORMAT_FILE, type Identity, snapshotName } from './directory.ts';
import { type Disk, writeFileAtomically } from './disk.ts';
import { createSegment } from './log.ts';
import { encodeSnapshot } from './snapshot.ts';
import type { KeyValue } from './store.ts';

/** More than any store can have written since the state was taken. */
const REVISION_JUMP = 1_000_000_000;
/** Starts of the lost time may not come again: memory stores take their revisions from them. */
const STARTS_JUMP = 1000;

export interface OldLife extends Identity {
  readonly revision: number;
  readonly starts: number;
  readonly sequence: number;
  readonly kvs: readonly KeyValue[];
}

export interface NewLife extends Identity {
  readonly revision: number;
}

export interface LifePlace {
  readonly number: number;
  readonly newSalt: () => number;
  /** Default: one more than the old one. */
  readonly epoch?: number;
  readonly revisionMin?: number;
}

/**
 * Writes segment and snapshot `number`, which must be above all numbers in the directory, and last the
 * format file: with it the new life begins. A crash before that leaves the old one as it was.
 */
export async function beginNewLife(
  disk: Disk,
  directory: string,
  old: OldLife,
  place: LifePlace,
): Promise<NewLife> {
  const identity = { clusterId: old.clusterId, epoch: place.epoch ?? old.epoch + 1 };
  const revision = Math.max(old.revision + REVISION_JUMP, place.revisionMin ?? 0);
  const common = { ...identity, segment: place.number, firstSequence: old.sequence + 1 };
  await createSegment(disk, directory, {
    ...common,
    salt: place.newSalt(),
    baseRevision: revision,
  });
  const header = {
    ...common,
    salt: place.newSalt(),
    revision,
    compactedRevision: revision,
    starts: old.starts + STARTS_JUMP,
    keys: old.kvs.length,
  };
  const chunks = encodeSnapshot(header, old.kvs);
  await writeFileAtomically(disk, directory, snapshotName(place.number), chunks);
  await writeFileAtomically(disk, directory, FORMAT_FILE, [encodeFormatFile(identity)]);
  return { ...identity, revision };
}
