/**
 * Kills the agent, the engine, its shims and containers of a board with -9 at random instants, while pods come and go and the master is
 * now and then off; after each burst of kills the board must become what its pods ask for, with nothing left over (leftovers.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../../cli/client.ts';
import { readKubeconfig } from '../../cli/kubeconfig.ts';
import type { PersistentVolume, Pod } from '../../protocol/kinds/types.ts';
import { type Random, seededRandom } from '../sim/disk.ts';
import { type BoardProcess, boardProcesses, killNow } from './board-processes.ts';
import { drawShape, SHARED, type Shape } from './kill-workload.ts';
import { Lab } from './lab.ts';
import { type KillEngine, type Leftovers, leftoversOf } from './leftovers.ts';

const PODS = '/api/v1/namespaces/default/pods';
const CLAIMS = '/api/v1/namespaces/default/persistentvolumeclaims';
const VOLUMES = '/api/v1/persistentvolumes';
const PAUSE_MS_MAX = 1200;
const DOWN_MS_MAX = 800;
const MASTERLESS_SHARE = 0.25;
/** A container that was killed twice waits for 10 s, three times for 20 s; the agent looks around by itself every minute. */
const SETTLE_MS_MAX = 180_000;
const LOG_LINES_MAX = 200;

export interface KillOptions {
  readonly engine: KillEngine;
  readonly seed: number;
  readonly kills: number;
  readonly killsPerBurst: number;
  readonly pods: number;
  readonly victims: readonly Victim[];
  readonly say: (text: string) => void;
}

/** What watches a container is its shim; podman calls it conmon. */
export type Victim = 'agent' | 'engine' | 'shim' | 'container';
/** Shares, the last one takes the rest. */
const VICTIMS: ReadonlyArray<readonly [Victim, number]> = [
  ['shim', 0.12],
  ['container', 0.28],
  ['engine', 0.3],
  ['agent', 0.3],
];

/** Programs that do a single thing for the engine and end are among them. */
const PROCESSES: Record<KillEngine, Record<'engine' | 'shim', RegExp>> = {
  podman: { engine: /^\S*podman .*system service/, shim: /^\S*conmon / },
  cri: { engine: /^\S*containerd /, shim: /^\S*containerd-shim-runc-v2 / },
};

export type KillCounts = Record<Victim | 'bursts' | 'withoutMaster' | 'made' | 'deleted', number>;

export class AgentKills {
  readonly #options: KillOptions;
  readonly #random: Random;
  readonly #lab: Lab;
  readonly #client: Client;
  readonly #leftovers: Leftovers;
  readonly #shapes = new Map<string, Shape>();
  readonly counts: KillCounts = {
    ...{ agent: 0, engine: 0, shim: 0, container: 0 },
    ...{ bursts: 0, withoutMaster: 0, made: 0, deleted: 0 },
  };
  #made = 0;
  #agentUp = true;
  #history: string[] = [];

  private constructor(options: KillOptions, lab: Lab, client: Client, leftovers: Leftovers) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#lab = lab;
    this.#client = client;
    this.#leftovers = leftovers;
  }

  /** One board with master, agent and pods that run; `close` removes all of it. */
  static async start(options: KillOptions): Promise<AgentKills> {
    const { engine } = options;
    const random = seededRandom(options.seed);
    const engineDownMs = () => random() * DOWN_MS_MAX;
    const lab = await Lab.create({ boards: 1, connectHost: true, engine, engineDownMs });
    try {
      const leftovers = await leftoversOf(lab, engine);
      await lab.startMaster();
      const client = new Client(readKubeconfig(lab.kubeconfig));
      await lab.startAgent(1);
      const kills = new AgentKills(options, lab, client, leftovers);
      for (const [path, body] of SHARED) await client.json(path, { method: 'POST', body });
      while (kills.#shapes.size < options.pods) await kills.#makePod();
      await kills.#settle();
      return kills;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#client.close();
    await this.#lab.close();
  }

  /** All bursts, then no pods at all. Throws an Error with what is left over and what was done before. */
  async run(): Promise<void> {
    const { kills, killsPerBurst, say } = this.#options;
    for (let left = kills; left > 0; left -= killsPerBurst) {
      await this.#burst(Math.min(left, killsPerBurst));
      say(JSON.stringify(this.counts));
    }
    this.#history = [];
    for (const name of [...this.#shapes.keys()]) await this.#deletePod(name);
    await this.#settle();
  }

  async #burst(kills: number): Promise<void> {
    this.#history = [];
    this.counts.bursts += 1;
    const isMasterless = this.#random() < MASTERLESS_SHARE;
    const changes = this.#changes();
    if (isMasterless) {
      this.counts.withoutMaster += 1;
      await changes;
      await this.#lab.end(1, 'master', 'SIGKILL');
      this.#note('the master is off');
    }
    const starts: Array<Promise<void>> = [];
    for (let kill = 0; kill < kills; kill += 1) {
      await sleep(this.#random() * PAUSE_MS_MAX);
      await this.#kill(starts);
    }
    await Promise.all([changes, ...starts]);
    if (isMasterless) {
      await this.#lab.startMaster();
      this.#note('the master is on');
    }
    await this.#settle();
  }

  /** Pods go and others come, those first that were restarted: they would wait ever longer. */
  async #changes(): Promise<void> {
    const pods = await this.#pods();
    const worn = pods.filter(isWorn).map(({ metadata }) => metadata?.name ?? '');
    const others = [...this.#shapes.keys()].filter((name) => !worn.includes(name));
    const going = new Set([...worn, ...others.filter(() => this.#random() < 0.2)]);
    for (const name of going) {
      await this.#deletePod(name);
      await sleep(this.#random() * PAUSE_MS_MAX);
      await this.#makePod();
    }
  }

  async #makePod(): Promise<void> {
    this.#made += 1;
    const name = `pod-${this.#made}`;
    const shape = drawShape(name, this.#random);
    const { claim, pod } = shape;
    if (claim !== undefined) await this.#client.json(CLAIMS, { method: 'POST', body: claim });
    await this.#client.json(PODS, { method: 'POST', body: pod });
    this.#shapes.set(name, shape);
    this.counts.made += 1;
    this.#note(`made ${name}`);
  }

  async #deletePod(name: string): Promise<void> {
    const shape = this.#shapes.get(name);
    await this.#client.json(`${PODS}/${name}`, { method: 'DELETE' });
    if (shape?.claim !== undefined)
      await this.#client.json(`${CLAIMS}/${name}`, { method: 'DELETE' });
    this.#shapes.delete(name);
    this.counts.deleted += 1;
    this.#note(`deleted ${name}`);
  }

  /** One that is there; the agent and the engine are started again a moment later, containers by the agent. */
  async #kill(starts: Array<Promise<void>>): Promise<void> {
    while (true) {
      const victim = this.#draw();
      if (!this.#options.victims.includes(victim)) continue;
      if (victim === 'agent') {
        if (!this.#agentUp) continue;
        this.#agentUp = false;
        await this.#lab.end(1, 'agent', 'SIGKILL');
        starts.push(this.#startAgentAfter(this.#random() * DOWN_MS_MAX));
        this.#note('killed the agent');
      } else {
        const found = await this.#find(victim);
        const chosen = found[Math.floor(this.#random() * found.length)];
        if (chosen === undefined || !killNow(chosen.pid)) {
          await sleep(20);
          continue;
        }
        this.#note(`killed ${victim} ${chosen.words.slice(-100)}`);
      }
      this.counts[victim] += 1;
      return;
    }
  }

  #draw(): Victim {
    let rest = this.#random();
    for (const [victim, share] of VICTIMS) {
      rest -= share;
      if (rest < 0) return victim;
    }
    return 'agent';
  }

  async #find(victim: Exclude<Victim, 'agent'>): Promise<readonly BoardProcess[]> {
    const { own, contained } = await boardProcesses(this.#lab.board(1));
    if (victim === 'container') return contained;
    return own.filter(({ words }) => PROCESSES[this.#options.engine][victim].test(words));
  }

  async #startAgentAfter(waitMs: number): Promise<void> {
    await sleep(waitMs);
    await this.#lab.startAgent(1);
    this.#agentUp = true;
    this.#note('started the agent');
  }

  /** Until all pods are Ready, the deleted ones gone, and nothing is left over. */
  async #settle(): Promise<void> {
    try {
      await this.#lab.until('the desired state', () => this.#isSettled(), SETTLE_MS_MAX);
    } catch (error) {
      for (const line of this.#history) this.#options.say(line);
      for (const part of ['agent', this.#options.engine] as const) {
        const log = (await this.#lab.log(1, part)).split('\n').slice(-LOG_LINES_MAX);
        for (const line of log) this.#options.say(line);
      }
      throw error;
    }
  }

  async #isSettled(): Promise<boolean | string> {
    const pods = await this.#pods();
    const names = pods.map(({ metadata }) => metadata?.name ?? '').sort();
    const wanted = [...this.#shapes.keys()].sort();
    if (names.join() !== wanted.join()) return `pods ${names.join(' ')}, not ${wanted.join(' ')}`;
    const late = pods.filter((pod) => !isReady(pod));
    if (late.length > 0) return `not ready: ${late.map(told).join('; ')}`;
    const { items } = await this.#client.json<{ items: PersistentVolume[] }>(VOLUMES);
    const claims = [...this.#shapes.values()].filter(({ claim }) => claim !== undefined).length;
    if (items.length !== claims) return `${items.length} volumes, not ${claims}`;
    const volumes = items.map(({ metadata }) => metadata?.name ?? '');
    const found = await this.#leftovers.find(pods, volumes);
    if (found.length === 0) return true;
    // Some of it goes with a listing a minute later: each look costs much.
    await sleep(1000);
    return found.join('\n');
  }

  async #pods(): Promise<Pod[]> {
    return (await this.#client.json<{ items: Pod[] }>(PODS)).items;
  }

  #note(text: string): void {
    this.#history.push(`${new Date().toISOString().slice(11, 23)} ${text}`);
  }
}

function isReady({ metadata, status }: Pod): boolean {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return metadata?.deletionTimestamp === undefined && ready?.status === 'True';
}

function isWorn({ status }: Pod): boolean {
  return status?.containerStatuses?.some(({ restartCount = 0 }) => restartCount > 0) ?? false;
}

function told({ metadata, status }: Pod): string {
  const states = status?.containerStatuses?.map(({ state }) => JSON.stringify(state)) ?? [];
  return `${metadata?.name} ${status?.phase} ${states.join(' ')}`;
}
