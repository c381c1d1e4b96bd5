/**
 * For `pier store verify|repair|dump DIR` and `pier restore`: look at a data directory from outside.
 * `verifyStore` and `dumpStore` only read. `repairStore` keeps everything up to the damage as a new
 * life (new-life.ts) and moves all older files into `aside-N/`; it deletes nothing.
 */
import { randomBytes } from 'node:crypto';
import { type Backup, epochOfRestore, revisionFloor } from './backup.ts';
import {
  DamageError,
  decodeFormatFile,
  FORMAT_FILE,
  type Identity,
  segmentName,
  snapshotName,
  sortNames,
  unknownVersion,
} from './directory.ts';
import type { Disk } from './disk.ts';
import { beginNewLife, type NewLife } from './new-life.ts';
import {
  asBuffer,
  decodeSegmentHeader,
  FormatError,
  FormatVersionError,
  type LogRecord,
  type SegmentHeader,
} from './record.ts';
import { type Recovered, recover } from './recovery.ts';
import { scanSegment } from './scan.ts';
import { decodeSnapshot, type SnapshotHeader } from './snapshot.ts';
import { type KeyValue, StoreDamagedError } from './store.ts';

export interface Damage {
  readonly file: string;
  readonly offset: number;
  readonly reason: string;
}

export interface StoreReport extends Identity {
  readonly directory: string;
  /** True when the store opens with everything and every file is whole. */
  readonly healthy: boolean;
  readonly revision: number;
  readonly starts: number;
  readonly keys: number;
  readonly liveBytes: number;
  readonly files: readonly { readonly file: string; readonly bytes: number }[];
  /** Every damaged place; the first in replay order decides what a repair keeps. */
  readonly damages: readonly Damage[];
  /** Bytes of an unfinished write at the end: no damage, nobody was told it was done. */
  readonly tornBytes: number;
  readonly warnings: readonly string[];
}

export interface RepairReport {
  /** Undefined when nothing was wrong and nothing was changed. */
  readonly newLife: NewLife | undefined;
  /** The last revision that was kept. */
  readonly keptRevision: number;
  readonly damage: Damage | undefined;
  /** Where the old files are, and which. */
  readonly aside: string | undefined;
  readonly moved: readonly string[];
}

export type DumpEntry =
  | { readonly type: 'segment'; readonly file: string; readonly header: SegmentHeader }
  | { readonly type: 'snapshot'; readonly file: string; readonly header: SnapshotHeader }
  | { readonly type: 'key'; readonly file: string; readonly kv: KeyValue }
  | {
      readonly type: 'record';
      readonly file: string;
      readonly offset: number;
      readonly record: LogRecord;
    }
  | ({ readonly type: 'damage' } & Damage);

const randomSalt = () => randomBytes(4).readUInt32LE();

/** Checks every file, also those that a start would not read. */
export async function verifyStore(directory: string, disk: Disk): Promise<StoreReport> {
  const damages: Damage[] = [];
  const found = await recoverPart(directory, disk, damages);
  const files: { file: string; bytes: number }[] = [];
  for (const name of await storeFiles(directory, disk)) {
    const data = await disk.read(`${directory}/${name}`);
    files.push({ file: name, bytes: data?.length ?? 0 });
    if (name === FORMAT_FILE || data === undefined) continue;
    const ended = found !== undefined && name < segmentName(found.tail.header.segment);
    for (const entry of entriesOf(name, data, ended)) {
      const known = damages.some((damage) => damage.file === name);
      if (entry.type === 'damage' && !known) damages.push(entry);
    }
  }
  return {
    directory,
    healthy: damages.length === 0,
    clusterId: found?.clusterId ?? '',
    epoch: found?.epoch ?? 0,
    revision: found?.mvcc.revision ?? 0,
    starts: found?.starts ?? 0,
    keys: found?.mvcc.index.size ?? 0,
    liveBytes: found?.mvcc.liveBytes ?? 0,
    files,
    damages: damages.map(({ file, offset, reason }) => ({ file, offset, reason })),
    tornBytes: found?.tail.tornBytes ?? 0,
    warnings: found?.warnings ?? [],
  };
}

/** Throws StoreDamagedError when there is nothing left to keep. */
export async function repairStore(
  directory: string,
  disk: Disk,
  newSalt: () => number = randomSalt,
): Promise<RepairReport> {
  const lock = await disk.lock(directory);
  try {
    const damages: Damage[] = [];
    const found = await recoverPart(directory, disk, damages);
    const damage = damages[0];
    if (found === undefined || (damage !== undefined && found.sequence === 0)) {
      throw new StoreDamagedError(
        `nothing in ${directory} can be kept (${damage?.reason ?? 'there is no store'}); ` +
          `use "pier restore FILE --data NEW_DIRECTORY" with a backup`,
      );
    }
    const keptRevision = found.mvcc.revision;
    if (damage === undefined) {
      return { newLife: undefined, keptRevision, damage, aside: undefined, moved: [] };
    }
    const old = await storeFiles(directory, disk);
    const { segments, snapshots } = sortNames(old);
    const number = Math.max(found.tail.header.segment, ...segments, ...snapshots) + 1;
    const { clusterId, epoch, starts, sequence } = found;
    const kvs = found.mvcc.index.collect('', undefined);
    const life = { clusterId, epoch, starts, sequence, kvs, revision: keptRevision };
    const newLife = await beginNewLife(disk, directory, life, { number, newSalt });
    const aside = await newAside(directory, disk);
    const moved = old.filter((name) => name !== FORMAT_FILE);
    for (const name of moved) await disk.rename(`${directory}/${name}`, `${aside}/${name}`);
    await disk.syncDirectory(aside);
    await disk.syncDirectory(directory);
    return { newLife, keptRevision, damage, aside, moved };
  } finally {
    await lock.release();
  }
}

/** Everything in the files, oldest file first; damage is an entry, and the next file follows. */
export async function* dumpStore(directory: string, disk: Disk): AsyncGenerator<DumpEntry> {
  for (const name of await storeFiles(directory, disk)) {
    const data = await disk.read(`${directory}/${name}`);
    if (data !== undefined && name !== FORMAT_FILE) yield* entriesOf(name, data);
  }
}

/**
 * Puts the objects of a backup into a directory that holds no store, as a new life. `wallMs`: the time
 * of day, for its epoch.
 */
export async function importBackup(
  directory: string,
  disk: Disk,
  backup: Backup,
  options: { readonly wallMs: number; readonly newSalt?: () => number },
): Promise<NewLife> {
  const { header, kvs } = backup;
  await disk.makeDirectory(directory);
  const lock = await disk.lock(directory);
  try {
    if ((await storeFiles(directory, disk)).length > 0) {
      throw new TypeError(`${directory} holds a store already; restore into an empty directory`);
    }
    const epoch = epochOfRestore(header.epoch, options.wallMs);
    const old = { ...header, sequence: header.firstSequence - 1, kvs };
    const newSalt = options.newSalt ?? randomSalt;
    const revisionMin = revisionFloor(epoch);
    return await beginNewLife(disk, directory, old, { number: 1, newSalt, epoch, revisionMin });
  } finally {
    await lock.release();
  }
}

/** What can be read up to the first damage, which is added to `damages`. */
async function recoverPart(
  directory: string,
  disk: Disk,
  damages: Damage[],
): Promise<Recovered | undefined> {
  try {
    const identity = await findIdentity(directory, disk, damages);
    const found = await recover(disk, directory, { stopAtDamage: true, ...identity });
    if (found?.damage !== undefined) damages.push(found.damage);
    return found;
  } catch (error) {
    if (!(error instanceof DamageError)) throw error;
    damages.push(error);
    return undefined;
  }
}

/** A lost format file is no loss: every other file has the identity, too. */
async function findIdentity(
  directory: string,
  disk: Disk,
  damages: Damage[],
): Promise<{ identity?: Identity }> {
  const format = await disk.read(`${directory}/${FORMAT_FILE}`);
  let reason = 'the file is missing';
  try {
    if (format !== undefined) return { identity: decodeFormatFile(format) };
  } catch (error) {
    if (error instanceof FormatVersionError) {
      throw unknownVersion(directory, FORMAT_FILE, error.message);
    }
    if (!(error instanceof FormatError)) throw error;
    reason = error.message;
  }
  const names = (await storeFiles(directory, disk)).toReversed();
  for (const name of names) {
    const data = await disk.read(`${directory}/${name}`);
    for (const entry of entriesOf(name, data ?? new Uint8Array(0))) {
      if (entry.type !== 'segment' && entry.type !== 'snapshot') continue;
      damages.push({ file: FORMAT_FILE, offset: 0, reason });
      const { clusterId, epoch } = entry.header;
      return { identity: { clusterId, epoch } };
    }
  }
  return {};
}

async function storeFiles(directory: string, disk: Disk): Promise<string[]> {
  const { hasFormat, snapshots, segments } = sortNames((await disk.list(directory)) ?? []);
  const files = [...snapshots.map(snapshotName), ...segments.map(segmentName)];
  return hasFormat ? [FORMAT_FILE, ...files] : files;
}

async function newAside(directory: string, disk: Disk): Promise<string> {
  for (let number = 1; ; number++) {
    const aside = `${directory}/aside-${number}`;
    const names = (await disk.list(aside)) ?? [];
    if (names.length > 0) continue;
    await disk.makeDirectory(aside);
    return aside;
  }
}

/** `ended`: the segment has a successor, so it must say so at its end. */
function entriesOf(file: string, data: Uint8Array, ended = false): DumpEntry[] {
  const entries: DumpEntry[] = [];
  try {
    if (file.startsWith('snapshot-')) {
      const header = decodeSnapshot(data, (kv) => entries.push({ type: 'key', file, kv }));
      entries.unshift({ type: 'snapshot', file, header });
      return entries;
    }
    const bytes = asBuffer(data);
    const header = decodeSegmentHeader(bytes);
    entries.push({ type: 'segment', file, header });
    const scan = scanSegment(bytes, header.salt, header.firstSequence - 1, (record, offset) => {
      entries.push({ type: 'record', file, offset, record });
    });
    const cutShort = ended && scan.nextSegment === undefined;
    const reason = scan.damage ?? (cutShort ? 'its end is missing' : undefined);
    if (reason !== undefined) entries.push({ type: 'damage', file, offset: scan.goodEnd, reason });
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    entries.push({ type: 'damage', file, offset: 0, reason: error.message });
  }
  return entries;
}
