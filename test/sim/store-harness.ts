/**
 * Drives the durable store on a simulated disk through power cuts, flipped bits, torn tails, full and
 * failing disks, and throws at the first thing that is wrong. The store comes in as an argument, so
 * that the same runs can be shown to catch planted bugs (test/master/store-bugs.test.ts). Everything
 * follows from the seed.
 */

import type { Disk } from '../../master/store/disk.ts';
import type { StoreReport } from '../../master/store/inspect.ts';
import type { Recovered, RecoveryOptions } from '../../master/store/recovery.ts';
import type { Operation } from '../../master/store/store.ts';
import type { WalStore, WalStoreOptions } from '../../master/store/wal-store.ts';
import { type CrashChoice, type Random, SimDisk, seededRandom } from './disk.ts';

export const DIR = '/data';
const SMALL = { segmentBytes: 3000, snapshotLogBytes: 5000 };

/** The functions of master/store under test. */
export interface StoreUnderTest {
  openWalStore(directory: string, options: WalStoreOptions): Promise<WalStore>;
  recover(disk: Disk, directory: string, options?: RecoveryOptions): Promise<Recovered | undefined>;
  verifyStore(directory: string, disk: Disk): Promise<StoreReport>;
}

interface Kv {
  readonly value: Uint8Array;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
}

/** The truth: the state after every revision, as the order of calls decides it. */
export class Model {
  readonly digests: string[];
  readonly #state: Map<string, Kv>;

  constructor(digests: readonly string[] = [''], state: ReadonlyMap<string, Kv> = new Map()) {
    this.digests = [...digests];
    this.#state = new Map(state);
  }

  get revision(): number {
    return this.digests.length - 1;
  }

  apply(operations: readonly Operation[]): void {
    const revision = this.revision + 1;
    let changed = false;
    for (const operation of operations) {
      if (operation.type === 'put') {
        const { key, value } = operation;
        const old = this.#state.get(key);
        if (old && Buffer.compare(old.value, value) === 0) continue;
        const version = (old?.version ?? 0) + 1;
        this.#state.set(key, { value, create: old?.create ?? revision, mod: revision, version });
        changed = true;
      } else if (operation.type === 'delete') {
        changed = this.#state.delete(operation.start) || changed;
      }
    }
    if (changed) this.digests.push(digest(this.#state));
  }
}

export function digest(state: ReadonlyMap<string, Kv>): string {
  const lines = [...state].map(
    ([key, kv]) =>
      `${key}=${kv.value.length}:${kv.value[0] ?? 0},${kv.create},${kv.mod},${kv.version}`,
  );
  return lines.sort().join(' ');
}

export interface Found {
  readonly revision: number;
  readonly starts: number;
  readonly state: ReadonlyMap<string, Kv>;
  readonly warnings: readonly string[];
}

function randomOperations(random: Random): Operation[] {
  const count = random() < 0.8 ? 1 : 3;
  const keys = new Set<string>();
  while (keys.size < count) keys.add(`/k/${Math.floor(random() * 12)}`);
  return [...keys].map((key): Operation => {
    if (random() < 0.2) return { type: 'delete', start: key };
    const length = random() < 0.7 ? Math.floor(random() * 200) : Math.floor(random() * 2500);
    return { type: 'put', key, value: new Uint8Array(length).fill(random() * 256) };
  });
}

/** One life: some groups of concurrent writes. Returns when all are answered. */
export class Life {
  readonly model: Model;
  acknowledged: number;
  /** The highest revision the store has shown to anyone. */
  served = 0;
  starts = 0;
  readonly #random: Random;

  constructor(model: Model, random: Random) {
    this.model = model;
    this.acknowledged = model.revision;
    this.#random = random;
  }

  async run(
    store: Pick<WalStore, 'txn' | 'compact' | 'revision' | 'starts'>,
    groups: number,
  ): Promise<void> {
    this.starts = store.starts;
    for (let group = 0; group < groups; group++) {
      const writes: Promise<void>[] = [];
      for (let left = 1 + Math.floor(this.#random() * 4); left > 0; left--) {
        const operations = randomOperations(this.#random);
        this.model.apply(operations);
        const expected = this.model.revision;
        const write = store.txn({ compare: [], success: operations }).then((result) => {
          if (result.revision !== expected)
            throw new Error(`${result.revision} is not ${expected}`);
          this.acknowledged = Math.max(this.acknowledged, expected);
        });
        writes.push(write);
      }
      await Promise.all(writes);
      if (this.#random() < 0.05 && store.revision > 0)
        await store.compact(Math.max(1, store.revision - 2));
    }
  }
}

/** The same files on a disk of their own, all durable. */
export function copyOf(disk: SimDisk): SimDisk {
  return disk.crash(() => 0, { content: 'all', names: 'all' });
}

const nameOf = (error: unknown) => (error instanceof Error ? error.name : '');

export class StoreHarness {
  readonly #under: StoreUnderTest;
  readonly #seed: number;

  constructor(under: StoreUnderTest, seed: number) {
    this.#under = under;
    this.#seed = seed;
  }

  /** What a process that starts on this disk would serve. */
  async readBack(disk: SimDisk): Promise<Found> {
    const recovered = await this.#under.recover(disk, DIR);
    const state = new Map<string, Kv>();
    if (recovered === undefined) return { revision: 0, starts: 0, state, warnings: [] };
    for (const kv of recovered.mvcc.index.collect('', undefined)) {
      const { value, createRevision: create, modRevision: mod, version } = kv;
      // Every value is one byte again and again; shifted by one it is the same, then.
      if (Buffer.compare(value.subarray(1), value.subarray(0, -1)) !== 0) {
        this.#fail(`${kv.key} is mixed up`);
      }
      state.set(kv.key, { value, create, mod, version });
    }
    const { mvcc, starts, warnings } = recovered;
    return { revision: mvcc.revision, starts, state, warnings };
  }

  open(disk: SimDisk, random: Random, options: WalStoreOptions = {}): Promise<WalStore> {
    const newSalt = () => Math.floor(random() * 2 ** 32);
    return this.#under.openWalStore(DIR, { disk, newSalt, ...SMALL, ...options });
  }

  /** Looks at about so many crash states; returns how many. */
  async crashes(statesWanted: number): Promise<number> {
    const random = seededRandom(this.#seed);
    let states = 0;
    let disk = new SimDisk();
    let model = new Model();
    while (states < statesWanted) {
      const life = new Life(model, random);
      states += await this.#crashingLife(disk, life, random);
      // The next life begins on what a crash left. Writes nobody was told of may be there or not.
      disk = disk.crash(random);
      const found = await this.readBack(disk);
      model = new Model(model.digests.slice(0, found.revision + 1), found.state);
      if (random() < 0.2 || model.revision > 400) {
        disk = new SimDisk();
        model = new Model();
      }
    }
    return states;
  }

  async #crashingLife(disk: SimDisk, life: Life, random: Random): Promise<number> {
    let states = 0;
    let failure: unknown;
    let store: WalStore | undefined;
    const { starts: startsBefore } = await this.readBack(disk);
    const check = async (choice: CrashChoice, deep: boolean) => {
      states++;
      life.served = Math.max(life.served, store?.revision ?? 0);
      try {
        await this.#checkImage(disk.crash(random, choice), life, startsBefore, deep, random);
      } catch (error) {
        // The store may take it for a failing disk and go on.
        failure ??= error;
      }
    };
    disk.onStep = async () => {
      const torn = disk.unsyncedBytes;
      for (let at = 0; at < torn; at += 512) await check({ tornAt: at, content: 'all' }, false);
      for (let left = torn > 0 ? 4 : 0; left > 0; left--) {
        const tornAt = Math.floor(random() * torn);
        await check({ tornAt, content: 'all', names: 'prefix' }, false);
      }
      for (const names of ['all', 'none', 'prefix', 'random'] as const) {
        await check({ names, content: 'none' }, false);
        await check({ names, content: 'all' }, false);
        for (let left = 0; left < 5; left++) await check({ names }, random() < 0.05);
      }
    };
    store = await this.open(disk, random);
    await life.run(store, 6);
    if (random() < 0.3) await store.close();
    disk.onStep = undefined;
    if (failure !== undefined) throw failure;
    return states;
  }

  async #checkImage(
    image: SimDisk,
    life: Life,
    startsBefore: number,
    deep: boolean,
    random: Random,
  ): Promise<void> {
    const found = await this.readBack(image);
    const { revision } = found;
    if (revision < life.acknowledged)
      this.#fail(`${revision} is below ${life.acknowledged}`, image);
    if (revision < life.served) this.#fail(`${life.served} was served before it was safe`, image);
    if (revision > life.model.revision) this.#fail(`${revision} was never written`, image);
    if (digest(found.state) !== life.model.digests[revision]) this.#fail('a wrong state', image);
    if (found.starts < Math.max(startsBefore, life.starts)) this.#fail('starts went back', image);
    if (found.warnings.length > 0) this.#fail(found.warnings.join(), image);
    if (!deep) return;
    const store = await this.open(image, random);
    if (store.starts <= found.starts) this.#fail('a start number is used twice', image);
    const value = new Uint8Array(700).fill(7);
    const result = await store.txn({ compare: [], success: [{ type: 'put', key: '/new', value }] });
    if (result.revision !== revision + 1) this.#fail(`${result.revision} after ${revision}`, image);
    const again = await this.readBack(image.crash(random));
    if (again.revision !== result.revision) this.#fail('the first write is lost', image);
  }

  /** A disk with a closed store that has snapshots and several segments, and what it holds. */
  async grown(random: Random): Promise<{ disk: SimDisk; found: Found }> {
    const disk = new SimDisk();
    const model = new Model();
    // The second part stays in the log, so that there is something to replay.
    for (const [groups, options] of [
      [40, {}],
      [8, { snapshotLogBytes: 1e9, segmentBytes: 1e9 }],
    ] as const) {
      const store = await this.open(disk, random, options);
      await new Life(model, random).run(store, groups);
      await store.settled();
      await store.close();
    }
    const found = await this.readBack(disk);
    if (digest(found.state) !== model.digests[found.revision]) this.#fail('a wrong state', disk);
    return { disk, found };
  }

  /** Flips bits in every file, all over and in every byte near its ends; each must be refused or change nothing, and `verify` must see it. */
  async flips(perFile: number, edgeBytes: number): Promise<{ flips: number; refused: number }> {
    const random = seededRandom(this.#seed + 1);
    const { disk, found } = await this.grown(random);
    const expected = digest(found.state);
    let refused = 0;
    let flips = 0;
    for (const path of disk.paths) {
      const size = disk.get(path)?.length ?? 0;
      const step = Math.max(1, Math.floor(size / perFile));
      for (let at = 0; at < size; at += at < edgeBytes || at > size - edgeBytes ? 1 : step) {
        const image = copyOf(disk);
        const content = new Uint8Array(image.get(path) ?? []);
        content[at] = (content[at] ?? 0) ^ (1 << Math.floor(random() * 8));
        image.put(path, content);
        flips++;
        if (await this.#refuses(image, expected, `${path} at ${at}`)) refused++;
        await this.#verifyNotices(image, `${path} at ${at}`);
      }
    }
    return { flips, refused };
  }

  /** Without its newest snapshot the store is still whole: it starts from the one before. */
  async snapshotLoss(): Promise<void> {
    const { disk, found } = await this.grown(seededRandom(this.#seed + 6));
    const path = disk.paths.filter((name) => name.includes('snapshot-')).at(-1) ?? '';
    const content = new Uint8Array(disk.get(path) ?? []);
    content[content.length >> 1] = (content[content.length >> 1] ?? 0) ^ 1;
    disk.put(path, content);
    const { state, warnings } = await this.readBack(disk);
    if (digest(state) !== digest(found.state))
      this.#fail('the older snapshot leads elsewhere', disk);
    if (!/snapshot-\d+ is damaged and was passed over/.test(warnings.join())) {
      this.#fail('nobody is told that a snapshot is damaged', disk);
    }
  }

  async #refuses(image: SimDisk, expected: string, what: string): Promise<boolean> {
    let found: Found;
    try {
      found = await this.readBack(image);
    } catch (error) {
      if (nameOf(error) !== 'StoreDamagedError') throw error;
      const helps = /data\/\S+ cannot be .*("pier store repair \/data"|newer one)/;
      if (!helps.test(String(error))) throw error;
      return true;
    }
    if (digest(found.state) !== expected) this.#fail(`${what}: a wrong state was served`);
    return false;
  }

  async #verifyNotices(image: SimDisk, what: string): Promise<void> {
    try {
      const report = await this.#under.verifyStore(DIR, image);
      if (report.damages.length === 0 && report.tornBytes === 0) {
        this.#fail(`${what}: verify finds nothing`);
      }
    } catch (error) {
      if (nameOf(error) !== 'StoreDamagedError') throw error;
    }
  }

  /** Cuts and overwrites the last write at every byte: what was acknowledged before must stay. */
  async tails(): Promise<void> {
    const random = seededRandom(this.#seed + 2);
    const disk = new SimDisk();
    const store = await this.open(disk, random);
    const model = new Model();
    await new Life(model, random).run(store, 2);
    await store.settled();
    const before = copyOf(disk);
    const value = new Uint8Array(1500).fill(3);
    await store.txn({ compare: [], success: [{ type: 'put', key: '/last', value }] });
    const path = disk.paths.at(-1) ?? '';
    const good = before.get(path)?.length ?? 0;
    const whole = disk.get(path) ?? new Uint8Array(0);
    for (let at = good; at < whole.length; at++) {
      for (const junk of [undefined, 0, 0xff, 'old'] as const) {
        const image = copyOf(disk);
        const content = new Uint8Array(junk === undefined ? whole.slice(0, at) : whole);
        if (junk === 'old') content.set(whole.subarray(0, content.length - at), at);
        else if (junk !== undefined) content.fill(junk, at);
        image.put(path, content);
        const { revision } = await this.readBack(image);
        if (revision < model.revision) this.#fail(`cut at ${at} (${junk}): revision ${revision}`);
      }
    }
  }

  /** Fills the disk at different places and makes room again. Returns how many writes were refused. */
  async fullDisks(rounds: number): Promise<number> {
    const random = seededRandom(this.#seed + 4);
    let refusals = 0;
    for (let round = 0; round < rounds; round++) {
      const disk = new SimDisk();
      const store = await this.open(disk, random);
      const accepted = new Map<string, number>();
      const watch = store.watch({ start: '', end: '', startRevision: 1 })[Symbol.asyncIterator]();
      const write = async (count: number) => {
        const refused = await writeSome(store, accepted, count, random);
        refusals += refused;
        return refused;
      };
      await write(3);
      disk.capacityBytes = 1500 + Math.floor(random() * 9000);
      for (let group = 0; group < 8; group++) await write(1 + Math.floor(random() * 3));
      const { count } = await store.range({ start: '', end: '' });
      if (count !== accepted.size) this.#fail(`${count} keys are served of ${accepted.size}`);
      await this.readBack(disk.crash(random));
      disk.capacityBytes = Number.POSITIVE_INFINITY;
      if ((await write(4)) > 0) this.#fail('writing does not resume by itself');
      let seen = 0;
      while (seen < accepted.size) seen += (await watch.next()).value?.events.length ?? 0;
      await store.settled();
      const found = await this.readBack(round % 2 === 0 ? disk.crash(random) : copyOf(disk));
      for (const [key, length] of accepted) {
        if (found.state.get(key)?.value.length !== length) this.#fail(`${key} is lost`, disk);
      }
      if (found.state.size !== accepted.size) this.#fail('a refused write is there', disk);
      await store.close();
    }
    return refusals;
  }

  /**
   * Lets each operation fail once, with snapshots and without (they would cover up what is missing in the log before them); afterwards the process starts again on what the page cache shows,
   * writes once more, and then the power goes.
   */
  async failures(operations: number): Promise<{ failed: number; full: number }> {
    const random = seededRandom(this.#seed + 5);
    const counts = { failed: 0, full: 0 };
    for (const code of ['EIO', 'ENOSPC']) {
      for (const options of [{}, { snapshotLogBytes: 1e9 }]) {
        for (let at = 1; at < operations; at++) {
          await this.#failure({ code, at, options }, random, counts);
        }
      }
    }
    return counts;
  }

  async #failure(
    { code, at, options }: { code: string; at: number; options: { snapshotLogBytes?: number } },
    random: Random,
    counts: { failed: number; full: number },
  ): Promise<void> {
    const disk = new SimDisk();
    disk.fault = () => (disk.operations === at ? code : undefined);
    const acknowledged = await this.#lifeWithFault(disk, random, counts, options);
    disk.fault = undefined;
    disk.unlock();
    if (random() < 0.5) {
      const store = await this.open(disk, random);
      const { starts } = store;
      await writeSome(store, new Map(), 1, random);
      const found = await this.readBack(disk.crash(random));
      if (found.revision < store.revision) this.#fail(`${code} at ${at}: lost after reopening`);
      if (found.starts < starts) this.#fail(`${code} at ${at}: starts went back`);
    }
    const image = disk.crash(random);
    const { revision } = await this.readBack(image);
    if (revision < acknowledged) this.#fail(`${code} at ${at}: ${revision} < ${acknowledged}`);
    await (await this.open(image, random)).close();
  }

  /** Writes until the fault has passed. Returns the last acknowledged revision. */
  async #lifeWithFault(
    disk: SimDisk,
    random: Random,
    counts: { failed: number; full: number },
    options: { snapshotLogBytes?: number },
  ): Promise<number> {
    let acknowledged = 0;
    let failed = false;
    const onFailure = () => {
      failed = true;
    };
    try {
      const store = await this.open(disk, random, { onFailure, ...options });
      for (let group = 0; group < 12; group++) {
        const value = new Uint8Array(800).fill(group + 1);
        const success: Operation[] = [{ type: 'put', key: `/k/${group % 5}`, value }];
        try {
          await store.txn({ compare: [], success });
          if (failed) this.#fail('acknowledged after a failure');
          acknowledged = store.revision;
        } catch (error) {
          if (nameOf(error) === 'NoSpaceError') counts.full++;
          else if (nameOf(error) === 'StoreFailedError') counts.failed++;
          else throw error;
        }
      }
      await store.settled();
      if (!failed) await store.close();
    } catch (error) {
      if (!/EIO|ENOSPC|full|failed/.test(String(error))) throw error;
    }
    return acknowledged;
  }

  #fail(what: string, disk?: SimDisk): never {
    const files = disk === undefined ? '' : `; files ${disk.paths.join(' ')}`;
    throw new Error(`${what} (seed ${this.#seed}${files})`);
  }
}

/** Concurrent puts of new keys; notes those accepted, counts those refused for want of room. */
async function writeSome(
  store: WalStore,
  accepted: Map<string, number>,
  count: number,
  random: Random,
): Promise<number> {
  const tries = Array.from({ length: count }, async () => {
    const value = new Uint8Array(1 + Math.floor(random() * 900)).fill(1 + random() * 255);
    const key = `/k/${Math.floor(random() * 1e6)}`;
    await store.txn({ compare: [], success: [{ type: 'put', key, value }] });
    accepted.set(key, value.length);
  });
  let refused = 0;
  for (const tried of await Promise.allSettled(tries)) {
    if (tried.status === 'fulfilled') continue;
    if (nameOf(tried.reason) !== 'NoSpaceError') throw tried.reason;
    refused++;
  }
  return refused;
}
