/**
 * A whole cluster from one seed: master, boards, network, users and faults under one clock. One seed gives one history.
 *
 * A run: some time in which users act and things break (`calm` seeds: only users act), then everything is mended and must come
 * to rest, and then nothing may be written any more. What is kept out because it is not deterministic: sockets and TLS, the
 * HTTP edge, real engines and files, sealed Secrets (their keys come from the operating system).
 */
import { createHash } from 'node:crypto';
import { prefixEnd } from '../../../master/store/store.ts';
import { SimDisk } from '../disk.ts';
import { SimBoard } from './board.ts';
import { Chance } from './chance.ts';
import { unsettled } from './converged.ts';
import { Invariants, isOver } from './invariants.ts';
import { SimMaster, type Strain } from './master.ts';
import type { SimPod, Weather } from './pod.ts';
import { ProcessTimers, SimTime } from './time.ts';
import { Users } from './users.ts';
import { type Change, Witness } from './witness.ts';

const MINUTE_MS = 60_000;
/** After the last fault everything has to be right within this. */
const SETTLE_MAX_MS = 40 * MINUTE_MS;
/** So long nothing may be written then. */
const QUIET_MS = 15 * MINUTE_MS;
/** Finished jobs with a time to live, back-off that ends: the last writes come a little later. */
const QUIET_WITHIN_MS = 15 * MINUTE_MS;
const ALL_KEYS = { start: '/registry/', end: prefixEnd('/registry/') };
const NODE_LEASES = '/registry/coordination.k8s.io/leases/kube-node-lease/';

export interface SimulationOptions {
  readonly seed: number;
  /** How long users act, in virtual minutes. */
  readonly minutes: number;
}

export interface SimulationResult {
  /** What went wrong first; undefined when nothing did. */
  readonly failure: string | undefined;
  readonly history: readonly string[];
  /** The same for the same seed. */
  readonly fingerprint: string;
  readonly writes: number;
  readonly virtualMinutes: number;
}

/** Never rejects for what the cluster does wrong: that is the result. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return new Simulation(options).run();
}

const FAULTS = [
  ...(['power', 'agent', 'cable', 'slow', 'doubles', 'flap', 'master', 'stall'] as const),
  ...(['power', 'agent', 'cable', 'clock', 'epoch', 'blackout', 'full', 'card'] as const),
  ...(['amnesia', 'address', 'pressure', 'engine'] as const),
];

const HEALTHY = { memoryPressure: false, diskPressure: false, runtimeReady: true };

class Simulation {
  readonly #options: SimulationOptions;
  readonly #time = new SimTime();
  readonly #chance: Chance;
  readonly #history: string[] = [];
  readonly #hash = createHash('sha256');
  readonly #witness: Witness;
  readonly #invariants: Invariants;
  readonly #users: Users;
  readonly #boards: SimBoard[];
  readonly #weather: Weather = { crashEveryMs: 0, failures: 0.3 };
  readonly #isCalm: boolean;
  /** How often something breaks, and how many acts come at once. */
  readonly #faults: number;
  readonly #rush: number;
  readonly #strain: Strain;
  readonly #masterChance: Chance;
  #master: SimMaster | undefined;
  #watching = new ProcessTimers(this.#time);
  #disk = new SimDisk();
  #clusterId = '';
  #lastStallMs = 0;
  #faultsEnded = false;
  #failure: string | undefined;
  #mustRestart = false;
  readonly #declaredLost = new Set<string>();
  #diskIsFull = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#chance = new Chance(options.seed);
    this.#masterChance = this.#chance.fork();
    this.#isCalm = this.#chance.happens(0.25);
    this.#faults = this.#chance.between(0.05, 0.6);
    this.#rush = this.#chance.one(0, 0.3, 0.7);
    this.#strain = {
      historyEvents: this.#chance.one(20, 200, 20_000),
      watchBufferEvents: this.#chance.one(2, 1_024),
      syncMs: this.#chance.one(2, 5, 50),
      lagMs: this.#chance.one(0, 5, 100, 1_000),
    };
    if (!this.#isCalm && this.#chance.happens(0.5)) {
      this.#weather.crashEveryMs = this.#chance.between(1, 20) * MINUTE_MS;
    }
    this.#witness = new Witness(
      (change) => this.#changed(change),
      (message) => this.#fail(message),
    );
    this.#invariants = new Invariants(this.#witness, {
      nowMs: () => this.#time.monotonicMs(),
      lastStallMs: () => this.#lastStallMs,
      isCalm: this.#isCalm,
      onBroken: (message) => this.#fail(message),
    });
    this.#users = new Users({
      chance: this.#chance.fork(),
      witness: this.#witness,
      isCalm: this.#isCalm,
      master: () => this.#master?.running,
      note: (line) => this.#note(line),
      onViolence: () => this.#invariants.pardon(),
      onEvict: (pod) => this.#invariants.willEvict(pod),
      onEvicted: (pod) => this.#invariants.checkEvicted(pod),
      onNotEvicted: (pod) => this.#invariants.notEvicted(pod),
    });
    this.#boards = this.#makeBoards();
  }

  async run(): Promise<SimulationResult> {
    const onRejection = (error: unknown): void => this.#fail(`unhandled: ${describe(error)}`);
    process.on('unhandledRejection', onRejection);
    try {
      await this.#live();
    } catch (error) {
      this.#fail(`the simulation itself failed: ${describe(error)}`);
    } finally {
      // A rejection of the last moment is told in the next turn.
      await new Promise((resolve) => setImmediate(resolve));
      process.off('unhandledRejection', onRejection);
      this.#watching.kill();
      this.#master?.crash(false);
      for (const board of this.#boards) board.powerOff();
    }
    return {
      failure: this.#failure,
      history: this.#history,
      fingerprint: this.#hash.digest('hex'),
      writes: this.#witness.writes,
      virtualMinutes: Math.round(this.#time.monotonicMs() / MINUTE_MS),
    };
  }

  async #live(): Promise<void> {
    this.#note(this.#isCalm ? 'a calm run: nothing breaks' : 'a stormy run');
    await this.#startMaster();
    this.#users.prepare();
    for (const board of this.#boards) board.powerOn();
    await this.#pass(30_000);
    const endMs = this.#time.monotonicMs() + this.#options.minutes * MINUTE_MS;
    while (this.#time.monotonicMs() < endMs && this.#failure === undefined) {
      this.#users.act();
      if (!this.#isCalm && this.#chance.happens(this.#faults)) await this.#breakSomething();
      // In a rush the next act does not wait until this one has been seen everywhere.
      if (this.#chance.happens(this.#rush)) await this.#pass(this.#chance.between(0, 50));
      else await this.#pass(this.#chance.between(0, 1) ** 2 * 25_000);
    }
    if (this.#failure !== undefined) return;
    await this.#mend();
    await this.#comeToRest();
    if (this.#failure === undefined) await this.#staysQuiet();
  }

  async #pass(ms: number): Promise<void> {
    const endMs = this.#time.monotonicMs() + ms;
    await this.#time.runUntil(endMs, () => this.#failure !== undefined || this.#mustRestart);
    if (!this.#mustRestart || this.#failure !== undefined) return;
    await this.#restartMaster('failed');
  }

  #makeBoards(): SimBoard[] {
    const count = this.#chance.int(2, 5);
    return Array.from({ length: count }, (_, at) => {
      return new SimBoard({
        time: this.#time,
        chance: this.#chance.fork(),
        weather: this.#weather,
        name: `board-${at + 1}`,
        capacity: {
          cpu: this.#chance.one('2', '4'),
          memory: this.#chance.one('2Gi', '4Gi'),
          'ephemeral-storage': '10Gi',
          pods: '60',
        },
        clusterId: () => this.#clusterId,
        broker: () => (this.#master?.running === undefined ? undefined : this.#master.broker),
        onPodStarted: (board, pod) => this.#podStarted(board, pod),
        onPodStopping: (board, pod) => this.#podStopping(board, pod),
      });
    });
  }

  async #startMaster(): Promise<void> {
    const master = new SimMaster(
      {
        time: this.#time,
        chance: this.#masterChance,
        onError: (line) => this.#masterComplains(line),
        strain: this.#strain,
        onEviction: (pod) => this.#invariants.checkTaintEviction(pod),
        onEnd: (why) => {
          this.#note(why);
          this.#mustRestart = true;
        },
        onWarning: (line) => this.#note(`warning ${line.slice(0, 400)}`),
        onStore: async (store) => {
          this.#clusterId = store.clusterId;
          this.#watching.kill();
          this.#watching = new ProcessTimers(this.#time);
          await this.#witness.follow(store, this.#watching);
        },
      },
      this.#disk,
    );
    this.#master = master;
    this.#lastStallMs = this.#time.monotonicMs();
    master
      .start()
      .catch((error: unknown) => this.#fail(`the master did not start: ${describe(error)}`));
    const limitMs = this.#time.monotonicMs() + MINUTE_MS;
    while (master.running === undefined && this.#failure === undefined) {
      if (this.#time.monotonicMs() > limitMs) this.#fail('the master does not get ready');
      await this.#pass(500);
    }
    this.#lastStallMs = this.#time.monotonicMs();
    this.#note('the master is up');
  }

  /** While nothing can be written, that is what it has to say. */
  #masterComplains(line: string): void {
    if (this.#diskIsFull || this.#mustRestart) this.#note(`error ${line.slice(0, 400)}`);
    else this.#fail(`the master logged an error: ${line}`);
  }

  async #restartMaster(how: 'stopped' | 'killed' | 'power' | 'failed'): Promise<void> {
    const master = this.#master;
    this.#mustRestart = false;
    if (master === undefined) return;
    this.#note(`the master goes down: ${how}`);
    this.#diskIsFull = false;
    if (how === 'stopped') {
      master.freeDisk();
      let disk: SimDisk | undefined;
      master.stop().then(
        (left) => {
          disk = left;
        },
        (error: unknown) => this.#fail(`the master does not stop: ${describe(error)}`),
      );
      const limitMs = this.#time.monotonicMs() + MINUTE_MS;
      while (disk === undefined && this.#failure === undefined) {
        if (this.#time.monotonicMs() > limitMs) this.#fail('the master does not end');
        await this.#pass(200);
      }
      this.#disk = disk ?? this.#disk;
    } else {
      this.#disk = master.crash(how === 'power');
    }
    this.#watching.kill();
    this.#master = undefined;
    await this.#pass(this.#chance.between(0, 1) ** 2 * 60_000);
    await this.#startMaster();
  }

  async #breakSomething(): Promise<void> {
    const time = this.#time;
    this.#invariants.pardon();
    const board = this.#chance.pick(this.#boards);
    if (board === undefined) return;
    const whileMs = this.#chance.between(0, 1) ** 2 * 3 * MINUTE_MS;
    const kind = this.#chance.pick(FAULTS);
    if (kind !== 'master') this.#note(`fault: ${kind} ${board.name} for ${Math.round(whileMs)} ms`);
    const later = (undo: () => void): void => {
      time.after(whileMs, () => {
        if (!this.#faultsEnded) undo();
      });
    };
    switch (kind) {
      case 'power':
        board.powerOff();
        later(() => board.powerOn());
        if (this.#chance.happens(0.2)) {
          time.after(whileMs / 2, () => {
            if (this.#faultsEnded) return;
            // It may come back with a pod of a StatefulSet that runs elsewhere by then: people were told so.
            this.#declaredLost.add(board.name);
            this.#users.forgetBoard(board.name);
          });
        }
        break;
      case 'agent':
        board.killAgent();
        later(() => board.startAgent());
        break;
      case 'cable':
        board.cable.cut = this.#chance.one('both', 'both', 'up', 'down');
        later(() => {
          board.cable.cut = 'none';
        });
        break;
      case 'slow':
        board.cable.slowMs = this.#chance.between(100, 3_000);
        later(() => {
          board.cable.slowMs = 0;
        });
        break;
      case 'doubles':
        board.cable.duplicates = 0.3;
        later(() => {
          board.cable.duplicates = 0;
        });
        break;
      case 'amnesia':
        board.loseState();
        later(() => board.startAgent());
        break;
      case 'address':
        board.move();
        break;
      case 'pressure':
        board.health.memoryPressure = this.#chance.happens(0.5);
        board.health.diskPressure = !board.health.memoryPressure;
        later(() => Object.assign(board.health, HEALTHY));
        break;
      case 'engine':
        board.health.runtimeReady = false;
        later(() => Object.assign(board.health, HEALTHY));
        break;
      case 'flap':
        this.#flap(board, time.monotonicMs() + whileMs);
        break;
      case 'master':
        await this.#restartMaster(this.#chance.one('stopped', 'killed', 'power'));
        break;
      case 'blackout':
        for (const one of this.#boards) one.powerOff();
        later(() => {
          for (const one of this.#boards) one.powerOn();
        });
        if (this.#chance.happens(0.5)) await this.#restartMaster('power');
        break;
      case 'full':
        this.#diskIsFull = true;
        this.#master?.fillDisk();
        time.after(whileMs / 4, () => {
          this.#diskIsFull = false;
          this.#master?.freeDisk();
          this.#lastStallMs = time.monotonicMs();
        });
        break;
      case 'card':
        this.#master?.breakDisk();
        break;
      case 'stall': {
        const stallMs = this.#chance.between(1_000, 40_000);
        this.#master?.stall(stallMs);
        this.#lastStallMs = time.monotonicMs() + stallMs;
        break;
      }
      case 'epoch': {
        // No battery: 1970 until NTP has set it.
        const rightMs = time.wallOffsetMs;
        time.wallOffsetMs = 0;
        time.after(whileMs, () => {
          time.wallOffsetMs = rightMs;
        });
        break;
      }
      default:
        time.wallOffsetMs +=
          this.#chance.one(-1, 1) * this.#chance.between(0, 3) * 24 * 60 * MINUTE_MS;
    }
  }

  #flap(board: SimBoard, untilMs: number): void {
    board.cable.cut = board.cable.cut === 'none' ? 'both' : 'none';
    this.#time.after(this.#chance.between(1_000, 20_000), () => {
      if (this.#faultsEnded || this.#time.monotonicMs() > untilMs) board.cable.cut = 'none';
      else this.#flap(board, untilMs);
    });
  }

  /** The last fault is over. */
  async #mend(): Promise<void> {
    this.#note('everything is mended');
    this.#faultsEnded = true;
    this.#diskIsFull = false;
    this.#master?.freeDisk();
    this.#strain.syncMs = 5;
    this.#strain.lagMs = Math.min(this.#strain.lagMs, 100);
    this.#weather.crashEveryMs = 0;
    this.#weather.failures = 0;
    for (const board of this.#boards) {
      board.cable.cut = 'none';
      board.cable.slowMs = 0;
      board.cable.duplicates = 0;
      Object.assign(board.health, HEALTHY);
      board.powerOn();
    }
    await this.#pass(10_000);
    for (const board of this.#boards) board.startAgent();
    await this.#pass(60_000);
    this.#users.calmDown();
    await this.#pass(5_000);
    this.#users.deleteBroken();
  }

  async #comeToRest(): Promise<void> {
    const limitMs = this.#time.monotonicMs() + SETTLE_MAX_MS;
    while (this.#failure === undefined) {
      const left = unsettled(this.#witness, this.#boards);
      if (left.length === 0) break;
      if (this.#time.monotonicMs() > limitMs) {
        this.#fail(`no rest after ${SETTLE_MAX_MS / MINUTE_MS} minutes:\n  ${left.join('\n  ')}`);
      }
      await this.#pass(10_000);
    }
    this.#note('all is as it should be');
  }

  async #staysQuiet(): Promise<void> {
    const limitMs = this.#time.monotonicMs() + QUIET_WITHIN_MS;
    let sinceMs = this.#time.monotonicMs();
    let seen = await this.#written();
    while (this.#failure === undefined && this.#time.monotonicMs() - sinceMs < QUIET_MS) {
      await this.#pass(10_000);
      const now = await this.#written();
      if (now === seen) continue;
      seen = now;
      sinceMs = this.#time.monotonicMs();
      if (sinceMs > limitMs)
        this.#fail(`still written though nothing happens:\n  ${this.#lastWrites()}`);
    }
    if (this.#failure !== undefined) return;
    const left = unsettled(this.#witness, this.#boards);
    if (left.length > 0) this.#fail(`it did not stay right:\n  ${left.join('\n  ')}`);
  }

  /** The last writes, on disk and in memory. The leases of boards do not count: they are renewed for ever. */
  async #written(): Promise<string> {
    const running = this.#master?.running;
    const inMemory = await running?.memoryStore.range(ALL_KEYS);
    const others = inMemory?.kvs.filter(({ key }) => !key.startsWith(NODE_LEASES)) ?? [];
    const last = others.reduce((most, { modRevision }) => Math.max(most, modRevision), 0);
    return `${running?.store.revision} ${last} ${others.length}`;
  }

  #lastWrites(): string {
    return this.#history.slice(-30).join('\n  ');
  }

  /** A container was started: nobody else may have one of the same pod, or of the same name in a StatefulSet. */
  #podStarted(board: SimBoard, pod: SimPod): void {
    this.#note(`${board.name} runs ${pod.name} ${pod.uid.slice(0, 8)}`);
    for (const other of this.#boards) {
      for (const twin of other.pods) {
        if (other === board && twin === pod) continue;
        if (!twin.isRunning) continue;
        if (twin.uid === pod.uid)
          this.#fail(`pod ${pod.name} runs on ${board.name} and ${other.name}`);
        const isSameOrdinal =
          pod.owner === 'StatefulSet' && twin.owner === pod.owner && twin.name === pod.name;
        const isTold = this.#declaredLost.has(board.name) || this.#declaredLost.has(other.name);
        if (isSameOrdinal && !isTold)
          this.#fail(`${pod.name} runs twice: on ${board.name} and ${other.name}`);
      }
    }
  }

  /** Absence never kills: a board stops only what the API does not want there any more. */
  #podStopping(board: SimBoard, { uid, namespace, name }: SimPod): void {
    const known = this.#witness.get('core/pods', namespace, name);
    const isWanted =
      known?.metadata?.uid === uid &&
      known.metadata.deletionTimestamp === undefined &&
      known.spec?.nodeName === board.name &&
      !isOver(known);
    if (isWanted) this.#fail(`${board.name} stops ${name}, which nobody has deleted`);
  }

  #changed(change: Change): void {
    const { what, revision, before, after } = change;
    const verb = after === undefined ? 'gone' : before === undefined ? 'new' : 'changed';
    this.#note(`${revision} ${what} ${verb}`);
    this.#hash.update(JSON.stringify(after ?? null));
    this.#invariants.check(change);
  }

  #note(line: string): void {
    const text = `${(this.#time.monotonicMs() / 1_000).toFixed(3)} ${line}`;
    this.#history.push(text);
    this.#hash.update(text);
  }

  #fail(message: string): void {
    this.#note(`FAILED: ${message}`);
    this.#failure ??= `after ${Math.round(this.#time.monotonicMs() / 1_000)} s: ${message}`;
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
