/**
 * Clients that list and then watch, while the master is killed (SIGKILL) and stopped (SIGTERM) at random moments and started again
 * on the same data and port, and others write. Once in a run some of them are away while more is written than the master
 * remembers, so that they must list again (410).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/free-port.ts';
import { type Random, seededRandom } from './disk.ts';
import { faultsOf, type Version } from './history.ts';
import { HistoryClients } from './history-clients.ts';
import { ClientNodeInformer, ListWatcher } from './list-watcher.ts';
import { MasterProcess } from './master-process.ts';
import type { ObjectLog } from './object-log.ts';

const WRITERS = 6;
const GONE_MS = 300;
const CAUGHT_UP_MS = 60_000;
const LAST_KEY = 'h-last';
/** More than the store's window of history (DEFAULT_HISTORY in master/store/mvcc.ts). */
const FLOOD_KEY = 'h-flood';
const FLOOD_LIFE = 1;
const FLOOD_WRITES = 36;
const FLOOD_BYTES = 1_000_000;

export interface WatchRunOptions {
  readonly program: string;
  readonly data: string;
  readonly seed: number;
  readonly lives: number;
  /** Of a life on average, from when it listens. */
  readonly lifeMs: number;
  readonly timeMaxMs: number;
}

export interface WatchRunResult {
  readonly faults: readonly string[];
  readonly lives: number;
  readonly kills: number;
  readonly calls: number;
  /** By client: how often it listed, and the events that it got. */
  readonly lists: Readonly<Record<string, number>>;
  readonly events: Readonly<Record<string, number>>;
}

/** Throws when a master refuses to start, or a client something that it may do. */
export async function runWatches(options: WatchRunOptions): Promise<WatchRunResult> {
  return await new WatchRun(options).run();
}

class WatchRun {
  readonly #options: WatchRunOptions;
  readonly #random: Random;
  readonly #clients: HistoryClients;
  #watchers: readonly ListWatcher[] = [];
  #informer: ClientNodeInformer | undefined;
  #failure: unknown;
  #kills = 0;

  constructor(options: WatchRunOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#clients = new HistoryClients(this.#random);
  }

  async run(): Promise<WatchRunResult> {
    const { lives, timeMaxMs } = this.#options;
    const deadline = performance.now() + timeMaxMs;
    const start = { ...this.#options, ports: [await freePort(), await freePort()] as const };
    let done = 0;
    try {
      for (; done < lives && performance.now() < deadline; done++) {
        await this.#life(await MasterProcess.start(start), done);
        await sleep(this.#random() * GONE_MS);
      }
      const final = await this.#lastLife(await MasterProcess.start(start));
      return this.#result(final, done);
    } finally {
      for (const watcher of this.#watchers) watcher.stop();
      await this.#informer?.stop();
    }
  }

  async #life(master: MasterProcess, life: number): Promise<void> {
    try {
      if (this.#informer === undefined) await this.#startWatchers(master.kubeconfig);
      const writers = Array.from({ length: WRITERS }, (_, at) =>
        this.#clients.run(master.client, `c${at}`),
      );
      if (life === FLOOD_LIFE) await this.#flood(master);
      await sleep(this.#options.lifeMs * (0.2 + 1.6 * this.#random()));
      // The first is killed and the second stopped, so that both happen however few there are.
      const isKill = life < 2 ? life === 0 : this.#random() < 0.5;
      if (isKill) this.#kills++;
      await (isKill ? master.kill() : master.stop());
      await Promise.all(writers);
    } finally {
      await master.kill();
    }
  }

  async #startWatchers(kubeconfig: string): Promise<void> {
    const common = { kubeconfig, clients: this.#clients, random: this.#random };
    this.#watchers = [
      new ListWatcher({ ...common, name: 'prompt', awayMs: 0, timeoutSeconds: 600 }),
      new ListWatcher({ ...common, name: 'short', awayMs: 50, timeoutSeconds: 1 }),
      new ListWatcher({ ...common, name: 'slow', awayMs: 1000, timeoutSeconds: 3 }),
    ];
    for (const watcher of this.#watchers) {
      watcher.run().catch((error: unknown) => {
        this.#failure = error;
      });
    }
    this.#informer = new ClientNodeInformer(kubeconfig);
    await this.#informer.start();
    await this.#until('every client has listed', () =>
      this.#logs().every(({ revision }) => revision !== undefined),
    );
  }

  /** Writes more than the master remembers while two clients are away; the others follow it write by write. */
  async #flood(master: MasterProcess): Promise<void> {
    const [prompt, short, slow] = this.#watchers;
    // An informer that is told to stop while it connects does not.
    await this.#haveSeen(await this.#clients.mustPut(master.client, FLOOD_KEY), this.#logs());
    slow?.hold();
    await this.#informer?.stop();
    const others = [prompt, short].flatMap((watcher) => watcher?.log ?? []);
    for (let write = 0; write < FLOOD_WRITES; write++) {
      const revision = await this.#clients.mustPut(master.client, FLOOD_KEY, FLOOD_BYTES);
      await this.#haveSeen(revision, others);
    }
    slow?.release();
    await this.#informer?.start();
  }

  /** Everybody comes to the end, which is a write of its own; the list that was made then. */
  async #lastLife(master: MasterProcess): Promise<ReadonlyMap<string, Version>> {
    try {
      const last = await this.#clients.mustPut(master.client, LAST_KEY);
      await this.#haveSeen(last, this.#logs());
      const list = await this.#clients.list(master.client, 'last');
      if (list === undefined) throw new Error('no answer to the last list');
      return list.seen;
    } finally {
      await master.kill();
    }
  }

  #result(final: ReadonlyMap<string, Version>, lives: number): WatchRunResult {
    const { calls } = this.#clients;
    const logs = this.#logs();
    const faults = logs.flatMap((log) => log.faults);
    faults.push(...(this.#informer?.faults ?? []).map((fault) => `informer: ${fault}`));
    faults.push(...faultsOf({ calls, watches: logs.flatMap((log) => log.segments) }));
    for (const { name, objects } of logs) faults.push(...differences(name, objects, final));
    faults.push(...differences('the cache', this.#informer?.objects ?? new Map(), final));
    const count = (of: (log: ObjectLog) => number) =>
      Object.fromEntries(logs.map((log) => [log.name, of(log)]));
    return {
      faults,
      lives,
      kills: this.#kills,
      calls: calls.length,
      lists: count((log) => log.segments.length),
      events: count((log) => log.segments.reduce((sum, { changes }) => sum + changes.length, 0)),
    };
  }

  #logs(): readonly ObjectLog[] {
    const logs = this.#watchers.map((watcher) => watcher.log);
    return this.#informer === undefined ? logs : [...logs, this.#informer.log];
  }

  async #haveSeen(revision: number, logs: readonly ObjectLog[]): Promise<void> {
    for (const log of logs) {
      await this.#until(`${log.name} sees ${revision}`, () => (log.revision ?? 0) >= revision);
    }
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    const deadline = performance.now() + CAUGHT_UP_MS;
    while (!isSo()) {
      if (this.#failure !== undefined) throw this.#failure;
      if (performance.now() > deadline) throw new Error(`not after ${CAUGHT_UP_MS} ms: ${what}`);
      await sleep(5);
    }
  }
}

function differences(
  who: string,
  has: ReadonlyMap<string, Version>,
  final: ReadonlyMap<string, Version>,
): string[] {
  const shown = (version: Version | undefined) => `${version?.tag}@${version?.revision}`;
  return [...new Set([...has.keys(), ...final.keys()])]
    .filter((key) => shown(has.get(key)) !== shown(final.get(key)))
    .map((key) => `${who} ends with ${key} as ${shown(has.get(key))}: ${shown(final.get(key))}`);
}
