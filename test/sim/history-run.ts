/**
 * Makes a history (history.ts) with a real master: clients that read and write the same few objects over HTTPS while the master
 * is killed with SIGKILL and started again, and watches that go on from where they were cut. Nothing is retried: every call is
 * noted with what came of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../cli/client.ts';
import { type Random, seededRandom } from './disk.ts';
import type { Change, History } from './history.ts';
import { HistoryClients, LABEL, PATH } from './history-clients.ts';
import { MasterProcess } from './master-process.ts';
import { changeOf, watchLines } from './watch-lines.ts';

const CLIENTS = 10;
const LAST_KEY = 'h-last';
const WATCHES = 3;
const CALL_MS = 20_000;
const END_MS = 60_000;

interface WatchLog {
  readonly name: string;
  readonly after: number;
  upTo: number;
  readonly changes: Change[];
}

export interface HistoryOptions {
  readonly program: string;
  readonly data: string;
  readonly seed: number;
  readonly lives: number;
  /** Of each life, from when it listens. */
  readonly lifeMs: number;
  readonly timeMaxMs: number;
}

export interface HistoryResult {
  readonly history: History;
  readonly lives: number;
}

/** Throws when a master refuses to start, a watch is told that its place is gone, or an answer makes no sense. */
export async function makeHistory(options: HistoryOptions): Promise<HistoryResult> {
  return await new HistoryRun(options).run();
}

class HistoryRun {
  readonly #options: HistoryOptions;
  readonly #random: Random;
  readonly #clients: HistoryClients;
  readonly #watches: WatchLog[] = [];

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#clients = new HistoryClients(this.#random);
  }

  async run(): Promise<HistoryResult> {
    const { lives, lifeMs, timeMaxMs } = this.#options;
    const deadline = performance.now() + timeMaxMs;
    let first: number | undefined;
    let done = 0;
    for (; done < lives && performance.now() < deadline; done++) {
      const master = await MasterProcess.start(this.#options);
      try {
        first ??= await this.#revision(master.client);
        while (this.#watches.length < WATCHES) this.#addWatch(first);
        const watching = this.#watches.map((watch) => this.#follow(master, watch, () => false));
        const clients = Array.from({ length: CLIENTS }, (_, at) =>
          this.#clients.run(master.client, `c${at}`),
        );
        await sleep(lifeMs * (0.5 + this.#random()));
        await master.kill();
        await Promise.all([...watching, ...clients]);
      } finally {
        await master.kill();
      }
    }
    await this.#lastLife(first ?? 0);
    return { history: { calls: this.#clients.calls, watches: this.#watches }, lives: done };
  }

  /**
   * The watches come to the end, and a new one sees all of it again. The end is a write of its own: what the killed master did
   * without an answer stands before it, and no client knows its revision.
   */
  async #lastLife(first: number): Promise<void> {
    const master = await MasterProcess.start(this.#options);
    try {
      await this.#clients.list(master.client, 'last');
      const last = await this.#clients.mustPut(master.client, LAST_KEY);
      this.#addWatch(first);
      await Promise.all(
        this.#watches.map((watch) =>
          this.#follow(master, watch, () => watch.changes.at(-1)?.revision === last),
        ),
      );
      for (const watch of this.#watches) watch.upTo = last;
    } finally {
      await master.kill();
    }
  }

  async #revision(client: Client): Promise<number> {
    const list = await client.json<{ readonly metadata: { readonly resourceVersion: string } }>(
      PATH,
      { timeoutMs: CALL_MS },
    );
    return Number(list.metadata.resourceVersion);
  }

  #addWatch(after: number): void {
    const name = `watch ${this.#watches.length}`;
    this.#watches.push({ name, after, upTo: after, changes: [] });
  }

  /** Reads events until the connection breaks or `isDone`; throws on anything else. */
  async #follow(master: MasterProcess, watch: WatchLog, isDone: () => boolean): Promise<void> {
    const after = watch.changes.at(-1)?.revision ?? watch.after;
    const query = `watch=true&resourceVersion=${after}&labelSelector=${LABEL}&timeoutSeconds=600`;
    if (isDone()) return;
    const server = { kubeconfig: master.kubeconfig, silentMs: END_MS };
    for await (const line of watchLines(server, `${PATH}?${query}`)) {
      if (line.type === 'ERROR') throw new Error(`${watch.name}: ${line.object.message}`);
      watch.changes.push(changeOf(line));
      if (isDone()) return;
    }
  }
}
