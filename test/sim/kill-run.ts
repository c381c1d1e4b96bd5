/**
 * Kills a real master with SIGKILL, again and again, while clients write, and compares what it serves after each restart with
 * the clients' own lists. Each writer owns its names, so the truth of a name is its last acknowledged write or the one whose
 * answer was cut off. Throws at the first difference; everything but the moments follows from the seed.
 *
 * Half of the kills come at a random moment, also while it starts. The other half come from strace at the n-th call of one of
 * the store's system calls, where strace is allowed: just before that call is carried out.
 */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../cli/client.ts';
import { type Random, seededRandom } from './disk.ts';
import { MasterProcess } from './master-process.ts';

const PATH = '/api/v1/namespaces/default/configmaps';
const WRITERS = 6;
const NAMES_PER_WRITER = 5;
/** Calls of the store's file layer, and how many of each a life has at least. The log's `pwrite64` is its sync, too (O_DSYNC). */
const CALLS = { pwrite64: 80, fdatasync: 3, fsync: 3, rename: 3 } as const;
const STUCK_MS = 4_000;

interface ConfigMap {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly data?: { readonly text?: string };
}

/** What a name is known to hold: `text` undefined means that it is not there. */
interface Known {
  readonly text: string | undefined;
  readonly revision: number;
}

export interface KillOptions {
  readonly program: string;
  readonly data: string;
  readonly seed: number;
  readonly killsMax: number;
  readonly timeMaxMs: number;
}

export interface KillCounts {
  kills: number;
  atCalls: number;
  whileStarting: number;
  acknowledged: number;
  /** Writes without an answer that were there afterwards, and that were not. */
  cutOffDone: number;
  cutOffLost: number;
}

/** The reason why calls cannot be counted here, or false. */
export function straceMissing(): string | false {
  const args = ['-f', '-qq', '-o', '/dev/null', '-e', 'trace=fsync', 'true'];
  const run = spawnSync('strace', args, { stdio: 'ignore', timeout: 10_000 });
  return run.status === 0 ? false : 'strace is missing or not allowed to trace';
}

export class KillRun {
  readonly counts: KillCounts = {
    kills: 0,
    atCalls: 0,
    whileStarting: 0,
    acknowledged: 0,
    cutOffDone: 0,
    cutOffLost: 0,
  };
  readonly #options: KillOptions;
  readonly #random: Random;
  readonly #known = new Map<string, Known>();
  readonly #cutOff = new Map<string, string | undefined>();
  /** The highest revision anyone has seen. */
  #seen = 0;

  constructor(options: KillOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  /** Resolves after so many kills or so much time, whichever comes first, and one last comparison. */
  async run(): Promise<KillCounts> {
    const { killsMax, timeMaxMs } = this.#options;
    const canTrace = straceMissing() === false;
    const deadline = performance.now() + timeMaxMs;
    while (this.counts.kills < killsMax && performance.now() < deadline) {
      if (canTrace && this.counts.kills % 2 === 1) await this.#lifeToCall();
      else await this.#lifeToMoment();
      this.counts.kills++;
    }
    const master = await MasterProcess.start(this.#options);
    try {
      await this.#compare(master.client);
    } finally {
      await master.kill();
    }
    return this.counts;
  }

  async #lifeToMoment(): Promise<void> {
    const master = await MasterProcess.spawn(this.#options);
    try {
      if (this.#random() < 0.25) {
        await sleep(this.#random() * 700);
        if (!master.words.includes('the master is up')) this.counts.whileStarting++;
        return;
      }
      await this.#serve(master, async () => {
        await sleep(5 + this.#random() * 200);
        await master.kill();
      });
    } finally {
      await master.kill();
    }
  }

  async #lifeToCall(): Promise<void> {
    const calls = Object.entries(CALLS);
    const [call, most] = calls[Math.floor(this.#random() * calls.length)] ?? ['fdatasync', 1];
    const when = 1 + Math.floor(this.#random() * most);
    const inject = `inject=${call}:signal=KILL:when=${when}`;
    const wrapper = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', inject];
    // strace counts per thread: one thread makes all calls on files.
    const env = { UV_THREADPOOL_SIZE: '1' };
    const master = await MasterProcess.spawn({ ...this.#options, wrapper, env });
    let byCall = true;
    try {
      await this.#serve(master, async () => {
        byCall = await master.endsWithin(STUCK_MS);
        await master.kill();
      });
      if (byCall) this.counts.atCalls++;
    } finally {
      await master.kill();
    }
  }

  /** Compares, then writes until `kill` has done its work. */
  async #serve(master: MasterProcess, kill: () => Promise<void>): Promise<void> {
    if (!(await master.isUp())) {
      this.counts.whileStarting++;
      this.#mustHaveBeenKilled(master);
      return;
    }
    const { client } = master;
    try {
      await this.#compare(client);
    } catch (error) {
      if (!master.hasEnded && !(await master.endsWithin(100))) throw error;
      // Killed while it was read: the next life shows what it holds.
      if (error instanceof DifferenceError) throw error;
      return;
    }
    const writers = Array.from({ length: WRITERS }, (_, number) => this.#write(client, number));
    await Promise.all([kill(), ...writers]);
    this.#mustHaveBeenKilled(master);
  }

  /** A master that ends by itself is a failure of its own. */
  #mustHaveBeenKilled(master: MasterProcess): void {
    if (/pier-master: error|"level":60/.test(master.words)) {
      throw new Error(`the master refused to go on (seed ${this.#options.seed}): ${master.words}`);
    }
  }

  async #write(client: Client, writer: number): Promise<void> {
    for (let number = 0; ; number++) {
      const name = `w${writer}-${Math.floor(this.#random() * NAMES_PER_WRITER)}`;
      const exists = this.#known.get(name)?.text !== undefined;
      const remove = exists && this.#random() < 0.2;
      const text = remove ? undefined : `${writer}.${number}.`.padEnd(this.#random() * 3000, 'x');
      this.#cutOff.set(name, text);
      const path = exists ? `${PATH}/${name}` : PATH;
      const method = remove ? 'DELETE' : exists ? 'PUT' : 'POST';
      const body = remove ? undefined : { metadata: { name }, data: { text } };
      let answer: ConfigMap;
      try {
        answer = await client.json<ConfigMap>(path, { method, body, timeoutMs: 20_000 });
      } catch (error) {
        // Code 0: no answer. Anything else is an answer that this client did not expect.
        if (error instanceof Error && 'code' in error && error.code === 0) return;
        throw error;
      }
      this.#cutOff.delete(name);
      const revision = Number(answer.metadata?.resourceVersion ?? 0);
      if (!remove && revision <= this.#seenBefore(name)) {
        this.#differ(`${name}: revision ${revision} was used before`);
      }
      this.#known.set(name, { text, revision });
      this.#seen = Math.max(this.#seen, revision);
      this.counts.acknowledged++;
    }
  }

  #seenBefore(name: string): number {
    return Math.max(this.#known.get(name)?.revision ?? 0, this.#floor);
  }

  /** The revision at the last start: whatever is written later must be above it. */
  #floor = 0;

  async #compare(client: Client): Promise<void> {
    const list = await client.json<{
      readonly metadata: { readonly resourceVersion: string };
      readonly items: readonly ConfigMap[];
    }>(PATH);
    const revision = Number(list.metadata.resourceVersion);
    if (revision < this.#seen) this.#differ(`revision ${revision}, but ${this.#seen} was seen`);
    const found = new Map(list.items.map((item) => [item.metadata.name, item]));
    for (const name of new Set([...this.#known.keys(), ...this.#cutOff.keys()])) {
      this.#compareName(name, found.get(name));
    }
    for (const name of found.keys()) {
      if (/^w\d/.test(name) && !this.#known.has(name)) this.#differ(`${name} was never written`);
    }
    this.#cutOff.clear();
    this.#seen = Math.max(this.#seen, revision);
    this.#floor = this.#seen;
  }

  #compareName(name: string, item: ConfigMap | undefined): void {
    const text = item?.data?.text;
    const revision = Number(item?.metadata.resourceVersion ?? 0);
    const known = this.#known.get(name) ?? { text: undefined, revision: 0 };
    const same = text === known.text && (text === undefined || revision === known.revision);
    const wasCutOff = this.#cutOff.has(name);
    if (wasCutOff && !same && text === this.#cutOff.get(name)) this.counts.cutOffDone++;
    else if (same && wasCutOff) this.counts.cutOffLost++;
    else if (!same) {
      const short = (value: string | undefined) => value?.slice(0, 12) ?? 'nothing';
      this.#differ(
        `${name} holds ${short(text)} of revision ${revision}; acknowledged was ${short(known.text)} of ${known.revision}`,
      );
    }
    this.#known.set(name, { text, revision: Math.max(revision, known.revision) });
  }

  #differ(what: string): never {
    throw new DifferenceError(`${what} (seed ${this.#options.seed}, kill ${this.counts.kills})`);
  }
}

class DifferenceError extends Error {}
