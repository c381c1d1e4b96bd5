/**
 * `store verify|repair|dump DIR`. Results go to stdout, the rest to stderr. They resolve with the exit code: 0 for a healthy
 * store, 2 when damage was found; what could not be done is thrown with a sentence.
 */
import { once } from 'node:events';
import { join } from 'node:path';
import { type DiskLock, errorCode, isNoSpace, nodeDisk } from '../store/disk.ts';
import { type DumpEntry, dumpStore, repairStore, verifyStore } from '../store/inspect.ts';
import { StoreLockedError } from '../store/lock.ts';
import type { Change, LogRecord } from '../store/record.ts';
import type { KeyValue } from '../store/store.ts';

const DAMAGED = 2;
/** Values below are shown by their size only, metadata too: kubectl keeps a copy of the data in an annotation. */
const SECRETS_PREFIX = '/registry/core/secrets/';

const print = (line: string) => process.stdout.write(`${line}\n`);
const say = (text: string) => process.stderr.write(`pier: ${text}\n`);

export async function verify(path: string): Promise<number> {
  const directory = await storeDirectory(path);
  const report = await reading(directory, () => verifyStore(directory, nodeDisk));
  const { clusterId, epoch, revision, keys, liveBytes, starts } = report;
  print(`${directory}: cluster ${clusterId}, epoch ${epoch}, opened ${starts} times`);
  print(`revision ${revision}, ${keys} keys, ${liveBytes} bytes`);
  for (const { file, bytes } of report.files) print(`${file}  ${bytes} bytes`);
  for (const warning of report.warnings) print(`note: ${warning}`);
  if (report.tornBytes > 0) {
    print(
      `note: ${report.tornBytes} bytes of an unfinished write at the end; the next start cuts them off`,
    );
  }
  for (const { file, offset, reason } of report.damages) {
    print(`damaged: ${directory}/${file} from offset ${offset} on: ${reason}`);
  }
  if (report.healthy) {
    print('healthy');
    return 0;
  }
  print(
    `What is shown above as revision ${revision} is what a repair keeps: pier store repair ${directory}`,
  );
  return DAMAGED;
}

export async function repair(path: string): Promise<void> {
  const directory = await storeDirectory(path);
  const report = await reporting(directory, () => repairStore(directory, nodeDisk));
  const { newLife, damage, keptRevision, aside, moved } = report;
  if (newLife === undefined || damage === undefined) {
    print(`${directory} is not damaged: nothing was changed`);
    return;
  }
  print(`damaged: ${directory}/${damage.file} from offset ${damage.offset} on: ${damage.reason}`);
  print(`kept: everything up to revision ${keptRevision}; what was written after it is lost`);
  print(`put aside into ${aside}: ${moved.join(' ')}`);
  print(`the store goes on as epoch ${newLife.epoch} at revision ${newLife.revision}`);
  say(`start the master; when all is well, ${aside} can be removed`);
}

export async function dump(path: string): Promise<number> {
  const directory = await storeDirectory(path);
  let code = 0;
  // A reader that has seen enough (`| head`) is no error.
  let readerIsGone = false;
  process.stdout.on('error', (error) => {
    if (errorCode(error) !== 'EPIPE') throw error;
    readerIsGone = true;
  });
  await reading(directory, async () => {
    for await (const entry of dumpStore(directory, nodeDisk)) {
      if (entry.type === 'damage') code = DAMAGED;
      if (readerIsGone) return;
      if (!process.stdout.write(`${JSON.stringify(shown(entry))}\n`)) await drained();
    }
  });
  return code;
}

async function drained(): Promise<void> {
  // A broken pipe never drains; its error is handled above.
  await once(process.stdout, 'drain').catch(() => undefined);
}

/** The directory with the store's files, of a path that may be the data directory above it. */
async function storeDirectory(path: string): Promise<string> {
  const names = await reporting(path, () => nodeDisk.list(path));
  if (names === undefined) throw new Error(`there is no directory ${path}`);
  const isStore = (list: readonly string[]) =>
    list.some((name) => name === 'format' || /^(wal|snapshot)-\d+$/.test(name));
  if (isStore(names)) return path;
  const below = join(path, 'store');
  if (names.includes('store') && isStore((await nodeDisk.list(below)) ?? [])) return below;
  throw new Error(
    `${path} holds no store: give the data directory of a master, such as /var/lib/pier/master`,
  );
}

/** Keeps a master from starting meanwhile, where the directory can be written at all. */
async function reading<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const lock = await reporting(directory, () => lockIfWritable(directory));
  try {
    return await reporting(directory, work);
  } finally {
    await lock?.release();
  }
}

async function lockIfWritable(directory: string): Promise<DiskLock | undefined> {
  try {
    return await nodeDisk.lock(directory);
  } catch (error) {
    // A card that is mounted read-only, or full: to read, nothing must be written.
    if (errorCode(error) === 'EROFS' || isNoSpace(error)) return undefined;
    throw error;
  }
}

/** Turns what the system says into a sentence with the way out. */
async function reporting<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreLockedError) {
      throw new Error(
        `${error.message}. For a copy of a running master's store use "pier backup FILE"`,
        { cause: error },
      );
    }
    if (isNoSpace(error)) {
      throw new Error(`the disk of ${path} is full: free some room there, then try again`, {
        cause: error,
      });
    }
    const code = errorCode(error);
    if (code === 'EACCES' || code === 'EPERM') {
      throw new Error(`${path} may be read only by the user of the master: try with sudo`, {
        cause: error,
      });
    }
    if (code === 'ENOTDIR') throw new Error(`${path} is no directory`, { cause: error });
    throw error;
  }
}

function shown(entry: DumpEntry): object {
  switch (entry.type) {
    case 'key':
      return { file: entry.file, type: 'key', ...shownKey(entry.kv) };
    case 'record':
      return { file: entry.file, offset: entry.offset, ...shownRecord(entry.record) };
    case 'segment':
    case 'snapshot':
      return { file: entry.file, type: entry.type, ...entry.header };
    case 'damage':
      return entry;
    default:
      throw new TypeError(`unknown entry ${String(entry satisfies never)}`);
  }
}

function shownKey(kv: KeyValue): object {
  const { key, value, createRevision, modRevision, version } = kv;
  return { key, createRevision, modRevision, version, ...shownValue(key, value) };
}

function shownRecord(record: LogRecord): object {
  if (record.type !== 'transaction') return record;
  return { ...record, changes: record.changes.map(shownChange) };
}

function shownChange(change: Change): object {
  if (change.type === 'delete') return change;
  return { type: 'put', key: change.key, ...shownValue(change.key, change.value) };
}

function shownValue(key: string, value: Uint8Array): object {
  const bytes = value.length;
  if (key.startsWith(SECRETS_PREFIX)) return { bytes, value: 'hidden: this is a Secret' };
  const text = new TextDecoder().decode(value);
  try {
    return { bytes, value: JSON.parse(text) as unknown };
  } catch {
    return { bytes, text };
  }
}
