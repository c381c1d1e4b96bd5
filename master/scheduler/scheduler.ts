/**
 * The scheduler's driver, its only edge: informers feed the snapshot and the queue, pure code
 * decides, bindings go out through the API.
 *
 * Promises: a decision is assumed in the snapshot before the binding is sent, so that the next
 * decision sees it; an assumption ends when the informer shows the pod or when the binding failed.
 * At most `BATCH_MAX` pods per decision round and `WRITES_MAX` writes at a time. An unschedulable
 * pod gets PodScheduled=False and an event, may push out pods of lower priority, and waits for something that could
 * help it.
 */

import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { Node, Pod } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import type { MetricFamily } from '../../protocol/prometheus.ts';
import { ApiError } from '../../protocol/status.ts';
import type { ApiClient } from '../api/client.ts';
import type { EventRecorder } from '../controllers/events.ts';
import type { Change } from '../informer/informer.ts';
import type { SharedInformers } from '../informer/shared.ts';
import { systemTimers, type Timers } from '../informer/timers.ts';
import { Attempts } from './attempts.ts';
import { type PlacedPod, scheduleBatch } from './batch.ts';
import { compilePod, type PodInfo } from './pod-info.ts';
import { budgetOf, findPreemption } from './preemption.ts';
import { SchedulingQueue } from './queue.ts';
import { type Mobility, planRebalance, type RebalancePlan } from './rebalance.ts';
import { explain, type NodeExplanation, type Unschedulable } from './schedule.ts';
import { keyOfPod, runLimited, SchedulerWrites } from './scheduler-writes.ts';
import type { Strategy } from './scores.ts';
import { ClusterSnapshot, type MeasuredUsage } from './snapshot.ts';
import { followVolumes } from './volume-catalog.ts';

const BATCH_MAX = 500;
const WRITES_MAX = 64;
/** Pods of one gang come one after the other: a round waits until none has come for so long, */
const SETTLE_MS = 10;
/** but no longer than this after the first. */
const SETTLE_MAX_MS = 50;

/** Scheduler profiles by `spec.schedulerName`. Pods that name another scheduler are left alone. */
export const DEFAULT_PROFILES: Readonly<Record<string, Strategy>> = {
  'default-scheduler': 'pack',
  'pier-spread': 'spread',
};

export interface SchedulerOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Started by the caller; the scheduler reads pods, nodes, namespaces and storage. */
  readonly informers: SharedInformers;
  readonly events: EventRecorder;
  readonly timers?: Timers;
  readonly profiles?: Readonly<Record<string, Strategy>>;
}

interface FailedPod {
  readonly object: Pod;
  readonly pod: PodInfo;
  readonly decision: Unschedulable;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #timers: Timers;
  readonly #profiles: Readonly<Record<string, Strategy>>;
  readonly #snapshot = new ClusterSnapshot();
  readonly #queue = new SchedulingQueue();
  readonly #attempts = new Attempts();
  readonly #writes: SchedulerWrites;
  /** By uid: pods for which boards are being cleared. Each stands in the snapshot too. */
  readonly #nominations = new Map<string, { readonly pod: PodInfo; readonly node: string }>();
  /** Uids of pods whose binding is on its way, or done and not yet seen. */
  readonly #assumed = new Set<string>();
  readonly #unsubscribe: (() => void)[] = [];
  #round: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  /** When the pods came that no round has looked at yet. */
  #arrivals: { readonly firstMs: number; readonly lastMs: number } | undefined;
  #stopped = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#profiles = options.profiles ?? DEFAULT_PROFILES;
    this.#writes = new SchedulerWrites(options);
  }

  /** Resolves when the first state is loaded and scheduling has begun. */
  async start(): Promise<void> {
    const { pods, nodes, namespaces, podDisruptionBudgets } = this.#options.informers;
    const { persistentVolumeClaims, persistentVolumes, storageClasses } = this.#options.informers;
    const storage = [persistentVolumeClaims, persistentVolumes, storageClasses];
    const needed = [pods, nodes, namespaces, podDisruptionBudgets, ...storage];
    await Promise.all(needed.map((informer) => informer.whenSynced()));
    if (this.#stopped) return;
    this.#unsubscribe.push(
      namespaces.onChange(({ type, object }) => {
        const name = object.metadata?.name ?? '';
        if (type === 'deleted') this.#snapshot.removeNamespace(name);
        else this.#snapshot.setNamespace(name, object.metadata?.labels ?? {});
        if (this.#queue.wake('namespace')) this.#wakeUp();
      }),
      ...followVolumes(this.#options.informers, this.#snapshot.volumes, () => {
        if (this.#queue.wake('volume')) this.#wakeUp();
      }),
      nodes.onChange((change) => this.#onNode(change)),
      pods.onChange((change) => this.#onPod(change)),
    );
  }

  /** Stops deciding and resolves when the writes under way have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#cancelTimer?.();
    await this.#round;
  }

  /** For `/metrics`. */
  families(): MetricFamily[] {
    return this.#attempts.families(this.#queue, this.#options.informers.pods.list());
  }

  /** What a heartbeat measured on a board; undefined when the board has fallen silent. */
  setUsage(nodeName: string, usage: MeasuredUsage | undefined): void {
    this.#snapshot.setUsage(nodeName, usage);
  }

  /** Full names of the images that a board refused not long ago because they are not built for it. */
  setForeignImages(nodeName: string, images: readonly string[]): void {
    const isFree = this.#snapshot.images.setRefused(nodeName, images);
    if (isFree && this.#queue.wake('image')) this.#wakeUp();
  }

  /** As it is to be placed. */
  #compile(pod: Pod): PodInfo {
    return compilePod(pod, this.#snapshot.resources, this.#snapshot.images);
  }

  /**
   * For `pier why`: how each board looks to this pod now. A placed pod is judged as if it were not
   * there.
   */
  explain(pod: Pod): NodeExplanation[] {
    const info = { ...this.#compile(pod), nodeName: '' };
    const placed = this.#snapshot.removePod(info.uid);
    try {
      return explain(info, this.#snapshot, { strategy: this.#strategyOf(pod) ?? 'pack' });
    } finally {
      if (placed !== undefined) this.#snapshot.assume(info, placed);
    }
  }

  /** Which moves would free a board, of the pods that `mobility` lets move. */
  planRebalance(mobility: (pod: Pod) => Mobility): RebalancePlan {
    const { pods } = this.#options.informers;
    return planRebalance(this.#snapshot, {
      mobility: ({ key }) => {
        const pod = pods.getByKey(key);
        return pod === undefined ? { stays: 'it is not known yet' } : mobility(pod);
      },
      successor: ({ key }) => {
        const pod = pods.getByKey(key);
        const strategy = pod === undefined ? undefined : this.#strategyOf(pod);
        if (pod?.spec === undefined || strategy === undefined) return undefined;
        const { nodeName: _, ...spec } = pod.spec;
        return { pod: this.#compile({ ...pod, spec }), strategy };
      },
    });
  }

  #strategyOf(pod: Pod): Strategy | undefined {
    const name = pod.spec?.schedulerName;
    return this.#profiles[name === undefined || name === '' ? 'default-scheduler' : name];
  }

  #onNode({ type, object }: Change<Node>): void {
    if (type === 'deleted') {
      this.#snapshot.removeNode(object.metadata?.name ?? '');
      return;
    }
    const changed = this.#snapshot.setNode(object);
    if (changed && this.#queue.wake('node')) this.#wakeUp();
  }

  #onPod(change: Change<Pod>): void {
    const { type, object } = change;
    const uid = object.metadata?.uid ?? '';
    const key = keyOfPod(object);
    if (type === 'deleted' || hasEnded(object.status)) {
      this.#queue.remove(key);
      this.#assumed.delete(uid);
      this.#nominations.delete(uid);
      const freed = this.#snapshot.removePod(uid) !== undefined;
      if (freed && this.#queue.wake('podRemoved')) this.#wakeUp();
      return;
    }
    if ((object.spec?.nodeName ?? '') !== '') {
      this.#queue.remove(key);
      this.#assumed.delete(uid);
      this.#nominations.delete(uid);
      const known = this.#snapshot.nodeOfPod(uid) !== undefined;
      this.#snapshot.setPod(object);
      const isNews = !known || (change.type === 'modified' && isRelabelled(change));
      if (isNews && this.#queue.wake('podPlaced')) this.#wakeUp();
      return;
    }
    if (this.#assumed.has(uid)) return;
    const isOurs = this.#strategyOf(object) !== undefined;
    const gated = (object.spec?.schedulingGates ?? []).length > 0;
    if (!isOurs || gated || object.metadata?.deletionTimestamp !== undefined) {
      this.#queue.remove(key);
      this.#forgetNomination(uid);
      return;
    }
    if (this.#queue.has(key)) {
      // A toleration or a label more may be what it waited for.
      const isChanged =
        change.type === 'modified' &&
        (isRelabelled(change) ||
          change.previous.metadata?.generation !== object.metadata?.generation);
      if (!isChanged) return;
      this.#queue.add(key, object.spec?.priority ?? 0);
      this.#wakeUp();
      return;
    }
    const nominated = object.status?.nominatedNodeName ?? '';
    if (nominated !== '') {
      // Cleared by this master in an earlier life: the place is still the pod's.
      const pod = this.#compile(object);
      this.#nominations.set(uid, { pod, node: nominated });
      this.#snapshot.assume(pod, nominated);
    }
    this.#queue.add(key, object.spec?.priority ?? 0);
    const nowMs = this.#options.clock.monotonicMs();
    this.#arrivals = { firstMs: this.#arrivals?.firstMs ?? nowMs, lastMs: nowMs };
    this.#wakeUp();
  }

  /** Arms the timer for the next round; rounds never overlap. */
  #wakeUp(): void {
    if (this.#stopped || this.#round !== undefined) return;
    const nowMs = this.#options.clock.monotonicMs();
    const waitMs = this.#queue.nextInMs(nowMs);
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (waitMs === undefined) return;
    this.#cancelTimer = this.#timers.after(Math.max(waitMs, this.#settleMs(nowMs)), () => {
      this.#cancelTimer = undefined;
      if (this.#stopped || this.#round !== undefined) return;
      this.#round = this.#runRound()
        .catch((error: unknown) => {
          this.#options.log.error({ err: error }, 'scheduling round failed');
        })
        .finally(() => {
          this.#round = undefined;
          this.#wakeUp();
        });
    });
  }

  #settleMs(nowMs: number): number {
    if (this.#arrivals === undefined) return 0;
    const { firstMs, lastMs } = this.#arrivals;
    return Math.min(lastMs + SETTLE_MS, firstMs + SETTLE_MAX_MS) - nowMs;
  }

  async #runRound(): Promise<void> {
    const { clock, informers } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#arrivals = undefined;
    const byStrategy = new Map<Strategy, PodInfo[]>();
    const pods = new Map<string, Pod>();
    for (const key of this.#queue.take(BATCH_MAX, nowMs)) {
      const pod = informers.pods.getByKey(key);
      const strategy = pod === undefined ? undefined : this.#strategyOf(pod);
      if (pod === undefined || strategy === undefined) {
        this.#queue.remove(key);
        continue;
      }
      pods.set(key, pod);
      const info = this.#compile(pod);
      byStrategy.set(strategy, [...(byStrategy.get(strategy) ?? []), info]);
    }
    const placed: PlacedPod[] = [];
    for (const [strategy, infos] of byStrategy) {
      const nominations = this.#nominations;
      placed.push(...scheduleBatch(infos, this.#snapshot, { strategy, nominations }));
    }
    const writes: (() => Promise<void>)[] = [];
    const failed: FailedPod[] = [];
    for (const { pod, decision } of placed) {
      const object = pods.get(pod.key);
      if (object === undefined) continue;
      if ('node' in decision) {
        this.#nominations.delete(pod.uid);
        this.#assumed.add(pod.uid);
        writes.push(() => this.#bind(object, pod, decision.node));
      } else {
        this.#attempts.count(object, 'unschedulable');
        failed.push({ object, pod, decision });
      }
    }
    writes.push(...this.#preempt(failed, nowMs));
    // Placements of this round may be what another pod's affinity waits for.
    if (this.#assumed.size > 0) this.#queue.wake('podPlaced');
    await runLimited(writes, WRITES_MAX);
  }

  async #bind(object: Pod, pod: PodInfo, nodeName: string): Promise<void> {
    const { clock, log, informers } = this.#options;
    try {
      await this.#writes.bind(object, pod, nodeName);
      this.#attempts.count(object, 'scheduled');
      this.#queue.remove(pod.key);
    } catch (error) {
      // Unless the informer has shown meanwhile that the pod did get its place.
      if (this.#assumed.delete(pod.uid)) this.#snapshot.removePod(pod.uid);
      const isGone = error instanceof ApiError && error.reason === 'NotFound';
      if (isGone && informers.pods.getByKey(pod.key) === undefined) {
        this.#queue.remove(pod.key);
        return;
      }
      this.#attempts.count(object, 'error');
      log.warn({ err: error, pod: pod.key, node: nodeName }, 'binding failed, will be tried again');
      this.#queue.retry(pod.key, clock.monotonicMs());
    }
  }

  /** Looks for boards that can be cleared for the pods that fit nowhere; in order of their priority. */
  #preempt(failed: readonly FailedPod[], nowMs: number): (() => Promise<void>)[] {
    const writes: (() => Promise<void>)[] = [];
    const budgets = this.#options.informers.podDisruptionBudgets.list().map(budgetOf);
    /** A shape that could push nobody out can do so no better a moment later. */
    const hopeless = new Map<string, string>();
    for (const { object, pod, decision } of failed) {
      const shape = `${pod.priority} ${pod.preempts} ${pod.shapeKey}`;
      const known = pod.isPlain ? hopeless.get(shape) : undefined;
      const result =
        this.#clearing(pod) ??
        (known === undefined
          ? findPreemption(pod, decision.refusals, this.#snapshot, budgets)
          : { why: known });
      this.#queue.park(pod.key, decision.refusedBy, nowMs);
      if ('why' in result) {
        hopeless.set(shape, result.why);
        const message = `${decision.unschedulable} ${result.why}`;
        writes.push(() => this.#writes.reportUnschedulable(object, message, undefined));
        continue;
      }
      hopeless.clear();
      this.#nominations.set(pod.uid, { pod, node: result.node });
      writes.push(() =>
        this.#writes.reportUnschedulable(object, decision.unschedulable, result.node),
      );
      for (const victim of result.victims) writes.push(...this.#pushOut(victim, pod, result.node));
      this.#snapshot.assume(pod, result.node);
    }
    return writes;
  }

  /** While pods of lower priority are still ending on the board that is cleared for it, nobody else must go. */
  #clearing(pod: PodInfo): { readonly why: string } | undefined {
    const nominated = this.#nominations.get(pod.uid);
    const view = nominated === undefined ? undefined : this.#snapshot.node(nominated.node);
    const isEnding = [...(view?.pods.values() ?? [])].some(
      ({ terminating, priority }) => terminating && priority < pod.priority,
    );
    if (!isEnding) return undefined;
    return { why: 'preemption: not eligible due to a terminating pod on the nominated node.' };
  }

  #pushOut(victim: PodInfo, preemptor: PodInfo, node: string): (() => Promise<void>)[] {
    const object = this.#options.informers.pods.getByKey(victim.key);
    if (object?.metadata?.uid !== victim.uid) return [];
    // It only waits for this board itself.
    if (this.#nominations.delete(victim.uid)) {
      this.#snapshot.removePod(victim.uid);
      return [() => this.#writes.withdrawNomination(object)];
    }
    return [() => this.#writes.preempt(object, preemptor, node)];
  }

  #forgetNomination(uid: string): void {
    if (this.#nominations.delete(uid)) this.#snapshot.removePod(uid);
  }
}

function isRelabelled({ object, previous }: { object: Pod; previous: Pod }): boolean {
  const [now, before] = [object.metadata?.labels, previous.metadata?.labels];
  return JSON.stringify(now ?? {}) !== JSON.stringify(before ?? {});
}
