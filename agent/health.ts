/**
 * The heartbeat: what the board and its pods use, every few seconds, from /proc and the engine's counters. No
 * fork, no disk write; a heartbeat that cannot be measured is sent without the part that failed.
 */
import type { Logger } from 'pino';
import type { Clock } from '../protocol/clock.ts';
import { type Heartbeat, MESSAGE_VERSION } from '../protocol/messages.ts';
import { ContainerRates, type ContainerUse, HostMetrics, type HostSample } from './host/metrics.ts';
import { HeldPressures, pressuresOf } from './host/pressures.ts';
import { messageOf } from './pods/pod-steps.ts';
import type { PodWorker } from './pods/pod-worker.ts';
import type { Runtime } from './runtime/runtime.ts';

export interface HealthOptions {
  readonly session: string;
  readonly dataDir: string;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly runtime: Runtime;
  readonly workers: () => Iterable<PodWorker>;
  readonly foreignImages: () => string[];
  readonly engineProblem: () => string | undefined;
  readonly publish: (message: Heartbeat) => void;
  /** Acts on what was measured; by container id. */
  readonly relieve: (sample: HostSample, uses: ReadonlyMap<string, ContainerUse>) => Promise<void>;
}

export class Health {
  readonly #options: HealthOptions;
  readonly #metrics: HostMetrics;
  readonly #rates = new ContainerRates();
  readonly #pressures = new HeldPressures();
  #sequence = 0;
  #timer: NodeJS.Timeout | undefined;
  #busy = false;
  #statsProblem: string | undefined;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#metrics = new HostMetrics({ dataDir: options.dataDir, clock: options.clock });
  }

  start(): void {
    this.#timer = setInterval(() => this.beat(), this.#options.intervalMs);
    this.beat();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Measures and sends now, unless that is under way. */
  beat(): void {
    if (this.#busy) return;
    this.#busy = true;
    this.#measure()
      .then((message) => this.#options.publish(message))
      .catch((error: unknown) => {
        this.#options.log.warn({ reason: messageOf(error) }, 'heartbeat not sent');
      })
      .finally(() => {
        this.#busy = false;
      });
  }

  async #measure(): Promise<Heartbeat> {
    const { session, engineProblem, clock } = this.#options;
    const foreignImages = this.#options.foreignImages();
    const sample = await this.#metrics.sample();
    const uses = await this.#containerUses();
    const problem = engineProblem();
    if (uses !== undefined) this.#relieve(sample, uses);
    this.#sequence++;
    return {
      v: MESSAGE_VERSION,
      session,
      sequence: this.#sequence,
      windowMs: sample.windowMs,
      cpuNanoCores: sample.cpuNanoCores,
      memoryWorkingSetBytes: sample.memoryWorkingSetBytes,
      memoryAvailableBytes: sample.memoryAvailableBytes,
      diskTotalBytes: sample.diskTotalBytes,
      diskAvailableBytes: sample.diskAvailableBytes,
      networkReceiveBytes: sample.networkReceiveBytes,
      networkTransmitBytes: sample.networkTransmitBytes,
      ...(sample.temperatureCelsius === undefined
        ? {}
        : { temperatureCelsius: sample.temperatureCelsius }),
      ...(sample.underVoltage === undefined ? {} : { underVoltage: sample.underVoltage }),
      ...(sample.throttled === undefined ? {} : { throttled: sample.throttled }),
      ...this.#pressures.update(pressuresOf(sample), clock.monotonicMs()),
      runtimeReady: problem === undefined,
      ...(problem === undefined ? {} : { runtimeMessage: problem }),
      ...(foreignImages.length === 0 ? {} : { foreignImages }),
      pods: uses === undefined ? [] : this.#podUses(uses),
    };
  }

  /** Not waited for: the heartbeat of a board in trouble must not be late. */
  #relieve(sample: HostSample, uses: ReadonlyMap<string, ContainerUse>): void {
    this.#options.relieve(sample, uses).catch((error: unknown) => {
      this.#options.log.warn({ reason: messageOf(error) }, 'the board could not be relieved');
    });
  }

  async #containerUses(): Promise<ReadonlyMap<string, ContainerUse> | undefined> {
    try {
      const stats = await this.#options.runtime.stats(this.#runningIds());
      this.#statsProblem = undefined;
      return this.#rates.update(stats, this.#options.clock.monotonicMs());
    } catch (error) {
      const reason = messageOf(error);
      // Said, but no reason to take the board for NotReady: a container may have ended while it was measured.
      if (reason !== this.#statsProblem)
        this.#options.log.warn({ reason }, 'containers not measured');
      this.#statsProblem = reason;
      return undefined;
    }
  }

  /** As the last look at the engine had it: a listing for each heartbeat costs podman 100 opened files. */
  #runningIds(): string[] {
    return [...this.#options.workers()].flatMap(({ containers }) =>
      containers.filter(({ state }) => state === 'running').map(({ id }) => id),
    );
  }

  #podUses(uses: ReadonlyMap<string, ContainerUse>): Heartbeat['pods'] {
    const pods: Heartbeat['pods'] = [];
    for (const { pod, containers } of this.#options.workers()) {
      const measured = containers.flatMap(({ id, name }) => {
        const use = uses.get(id);
        return use === undefined ? [] : [{ name, ...use }];
      });
      const { uid, namespace, name } = pod;
      if (measured.length > 0) pods.push({ uid, namespace, name, containers: measured });
    }
    return pods;
  }
}
