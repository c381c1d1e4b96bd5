/**
 * Ends pods while the board is short of memory, disk or process ids, one at a time, each time looking what that has given. Images that
 * nothing needs go before a pod does. What has been measured comes in; while nothing is short, this costs nothing.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { ContainerUse, HostSample } from '../host/metrics.ts';
import { pressuresOf } from '../host/pressures.ts';
import { evictionVerdict, firstVictim, type PodUse, type Shortage } from '../plan/eviction.ts';
import type { PodWorker } from './pod-worker.ts';

/** Kubernetes: how often the kubelet looks; what a pod has given back must be seen before the next one goes. */
const PAUSE_MS = 10_000;

type EndablePod = Pick<PodWorker, 'pod' | 'containers' | 'evict'>;

export interface PressureReliefOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly pods: () => Iterable<EndablePod>;
  /** Bytes on disk of the volumes of the pod with this uid. */
  readonly diskUse: (uid: string) => Promise<number>;
  readonly removeUnusedImages: () => Promise<void>;
}

export class PressureRelief {
  readonly #options: PressureReliefOptions;
  #leaving: EndablePod | undefined;
  #nextMs = 0;
  #imagesRemoved = false;
  #isBusy = false;

  constructor(options: PressureReliefOptions) {
    this.#options = options;
  }

  /** One measurement; `uses` by container id. Throws what the disk or the engine throws. */
  async relieve(sample: HostSample, uses: ReadonlyMap<string, ContainerUse>): Promise<void> {
    const shortage = shortageOf(sample);
    if (shortage !== 'disk') this.#imagesRemoved = false;
    if (shortage === undefined || this.#isWaiting()) return;
    this.#isBusy = true;
    try {
      await this.#act(shortage, sample, uses);
    } finally {
      this.#isBusy = false;
    }
  }

  async #act(
    shortage: Shortage,
    sample: HostSample,
    uses: ReadonlyMap<string, ContainerUse>,
  ): Promise<void> {
    const { clock, log, removeUnusedImages } = this.#options;
    if (shortage === 'disk' && !this.#imagesRemoved) {
      // What that gave is seen in the next measurement.
      this.#imagesRemoved = true;
      await removeUnusedImages();
      return;
    }
    const victim = firstVictim(await this.#measured(uses, shortage), shortage);
    if (victim === undefined) return;
    const verdict = evictionVerdict(victim, shortage, sample);
    log.warn({ pod: victim.pod.uid, reason: verdict.message }, 'pod evicted');
    victim.worker.evict(verdict);
    this.#leaving = victim.worker;
    this.#nextMs = clock.monotonicMs() + PAUSE_MS;
  }

  #isWaiting(): boolean {
    if (this.#isBusy || this.#options.clock.monotonicMs() < this.#nextMs) return true;
    return this.#leaving?.containers.some(({ state }) => state === 'running') === true;
  }

  async #measured(
    uses: ReadonlyMap<string, ContainerUse>,
    shortage: Shortage,
  ): Promise<(PodUse & { readonly worker: EndablePod })[]> {
    const measured = [];
    for (const worker of [...this.#options.pods()]) {
      const { pod, containers } = worker;
      const running = containers.filter(({ state }) => state === 'running');
      if (running.length === 0) continue;
      const memoryBytes = new Map(
        running.map(({ id, name }) => [name, uses.get(id)?.memoryWorkingSetBytes ?? 0]),
      );
      const diskBytes = shortage === 'disk' ? await this.#options.diskUse(pod.uid) : 0;
      measured.push({ worker, pod, memoryBytes, diskBytes });
    }
    return measured;
  }
}

/** The kubelet's order: memory first. */
function shortageOf(sample: HostSample): Shortage | undefined {
  const { memoryPressure, diskPressure, pidPressure } = pressuresOf(sample);
  if (memoryPressure) return 'memory';
  if (diskPressure) return 'disk';
  return pidPressure ? 'pids' : undefined;
}
