/**
 * What the scheduler writes, each with its events: bindings, the reasons of pods that fit nowhere, and the end of pods that
 * make room for others. Decides nothing.
 */
import type { Logger } from 'pino';
import { type Clock, rfc3339 } from '../../protocol/clock.ts';
import type { Pod, PodCondition } from '../../protocol/kinds/types.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import { withDisruption } from '../api/disruption.ts';
import type { EventRecorder, EventTarget } from '../controllers/events.ts';
import type { PodInfo } from './pod-info.ts';

interface WritesOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
}

export class SchedulerWrites {
  readonly #options: WritesOptions;

  constructor(options: WritesOptions) {
    this.#options = options;
  }

  /** Throws what the API answers. */
  async bind(object: Pod, pod: PodInfo, nodeName: string): Promise<void> {
    const { client, log, events } = this.#options;
    await client.bind(pod.namespace, pod.name, pod.uid, nodeName);
    log.info({ pod: pod.key, node: nodeName }, 'bound');
    const message = `Successfully assigned ${pod.key} to ${nodeName}`;
    events.record(targetOf(object), 'Normal', 'Scheduled', message);
  }

  /** `nominated`: the board that is being cleared for the pod; undefined leaves the field as it is. Never throws. */
  async reportUnschedulable(
    pod: Pod,
    message: string,
    nominated: string | undefined,
  ): Promise<void> {
    const { client, clock, log, events } = this.#options;
    events.record(targetOf(pod), 'Warning', 'FailedScheduling', message);
    const conditions = pod.status?.conditions ?? [];
    const known = conditions.find(({ type }) => type === 'PodScheduled');
    const isKnown = known?.reason === 'Unschedulable' && known.message === message;
    const isNews = nominated !== undefined && nominated !== (pod.status?.nominatedNodeName ?? '');
    if (isKnown && !isNews) return;
    const condition: PodCondition = {
      type: 'PodScheduled',
      status: 'False',
      lastTransitionTime:
        known?.status === 'False' && known.lastTransitionTime !== undefined
          ? known.lastTransitionTime
          : rfc3339(clock.wallMs()),
      reason: 'Unschedulable',
      message,
    };
    const status = {
      conditions: [...conditions.filter(({ type }) => type !== 'PodScheduled'), condition],
      ...(isNews ? { nominatedNodeName: nominated } : {}),
    };
    await this.#orWarn(pod, 'could not report an unschedulable pod', () =>
      client.patch<Pod>(RESOURCES.pods, ...nameOf(pod), { status }, 'status'),
    );
    if (nominated) log.info({ pod: keyOfPod(pod), node: nominated }, 'a board is being cleared');
  }

  /** The pod is not waiting for its board any more. Never throws. */
  async withdrawNomination(pod: Pod): Promise<void> {
    const { client } = this.#options;
    const status = { nominatedNodeName: null };
    await this.#orWarn(pod, 'could not withdraw a nomination', () =>
      client.patch<Pod>(RESOURCES.pods, ...nameOf(pod), { status }, 'status'),
    );
  }

  /** Ends a pod, with its grace period, so that `preemptor` gets its place. Never throws. */
  async preempt(victim: Pod, preemptor: PodInfo, nodeName: string): Promise<void> {
    const { client, clock, events } = this.#options;
    const uid = victim.metadata?.uid ?? '';
    if (victim.metadata?.deletionTimestamp !== undefined) return;
    const conditions = withDisruption(victim.status, {
      reason: 'PreemptionByScheduler',
      message: 'default-scheduler: preempting to accommodate a higher priority pod',
      timestamp: rfc3339(clock.wallMs()),
    });
    await this.#orWarn(victim, 'could not preempt a pod', async () => {
      const status = conditions === undefined ? {} : { conditions };
      await client.patch<Pod>(
        RESOURCES.pods,
        ...nameOf(victim),
        { metadata: { uid }, status },
        'status',
      );
      await client.delete(RESOURCES.pods, ...nameOf(victim), { preconditions: { uid } });
      const message = `Preempted by pod ${preemptor.uid} on node ${nodeName}`;
      events.record(targetOf(victim), 'Normal', 'Preempted', message);
    });
  }

  async #orWarn(pod: Pod, what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof ApiError && error.reason === 'NotFound') return;
      this.#options.log.warn({ err: error, pod: keyOfPod(pod) }, what);
    }
  }
}

function targetOf({ metadata = {} }: Pod): EventTarget {
  return { apiVersion: 'v1', kind: 'Pod', metadata };
}

function nameOf({ metadata = {} }: Pod): [namespace: string, name: string] {
  return [metadata.namespace ?? '', metadata.name ?? ''];
}

export function keyOfPod(pod: Pod): string {
  return nameOf(pod).join('/');
}

/** Runs the tasks with at most `max` at a time; each handles its own errors. */
export async function runLimited(
  tasks: readonly (() => Promise<void>)[],
  max: number,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < tasks.length) {
      const task = tasks[next];
      next += 1;
      await task?.();
    }
  };
  await Promise.all(Array.from({ length: Math.min(max, tasks.length) }, worker));
}
