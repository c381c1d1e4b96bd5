/**
 * How many pods one metric asks for. Pure.
 *
 * The rule is desired = ceil(current * measured / wanted), and: nothing happens within the tolerance; a pod without metrics
 * counts as using all it should when that would scale down and nothing when that would scale up; a pod that is not ready yet
 * counts as using nothing when scaling up and not at all otherwise; none of this may turn the direction round. Source:
 * Kubernetes' "Horizontal Pod Autoscaling", "Algorithm details".
 */

import type { Container, MetricTarget, Pod } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { milliValue, quantityOfBytes, quantityOfMilli } from '../../protocol/quantity.ts';

/** After its start a pod is busy with itself: so long its CPU counts only when measured after it became ready. */
const CPU_STARTING_MS = 300_000;

/** What was measured in one pod. Quantities by resource. */
export interface PodUsage {
  /** When it reached the master, monotonic. */
  readonly receivedMs: number;
  /** Over which time it was measured. */
  readonly windowMs: number;
  readonly containers: readonly {
    readonly name: string;
    readonly usage: Readonly<Record<string, string>>;
  }[];
}

/** A pod of the target, with what this master has seen of it. Times are monotonic. */
export interface PodSample {
  readonly pod: Pod;
  readonly firstSeenMs: number;
  /** Undefined while it is not ready. */
  readonly readySinceMs: number | undefined;
  /** Also when it is not any more. */
  readonly wasReady: boolean;
  readonly usage: PodUsage | undefined;
}

export interface MetricQuestion {
  /** "cpu" or "memory". */
  readonly resource: string;
  /** Absent: all containers together. */
  readonly container?: string;
  readonly target: MetricTarget;
  /** How many pods the target asks for now. */
  readonly replicas: number;
  /** Shares of the target, as 0.1, within which nothing happens. */
  readonly tolerance: Tolerance;
}

export interface Tolerance {
  readonly up: number;
  readonly down: number;
}

export interface MetricAnswer {
  readonly replicas: number;
  /** Of the pods that were counted. */
  readonly averageUtilization?: number;
  readonly averageValue: string;
}

/** Why a metric has no answer: the words are for the condition and the event. */
export class MetricProblem extends Error {}

interface Measured {
  /** In thousandths. */
  readonly usage: number;
  readonly request: number;
}

/** Throws `MetricProblem`. */
export function replicasFor(
  question: MetricQuestion,
  samples: readonly PodSample[],
  nowMs: number,
): MetricAnswer {
  const { resource, target } = question;
  if (samples.length === 0) {
    throw new MetricProblem('no pods returned by selector while calculating replica count');
  }
  if (samples.every(({ usage }) => usage === undefined)) {
    throw new MetricProblem(
      `unable to get metrics for resource ${resource}: no metrics returned from resource metrics API`,
    );
  }
  const percent = target.averageUtilization;
  const { ready, missing, unready } = sorted(question, samples, nowMs);
  const ratioOf = (pods: readonly Measured[]): number => {
    const used = sum(pods.map(({ usage }) => usage));
    if (percent === undefined) return used / pods.length / wantedValue(target);
    const requested = sum(pods.map(({ request }) => request));
    if (requested === 0) throw new MetricProblem(`the pods request no ${resource}`);
    return Math.trunc((used * 100) / requested) / percent;
  };
  if (ready.length === 0) {
    throw new MetricProblem('did not receive metrics for targeted pods (pods might be unready)');
  }
  const ratio = ratioOf(ready);
  const average = sum(ready.map(({ usage }) => usage)) / ready.length;
  const answer = (replicas: number): MetricAnswer => ({
    replicas,
    ...(percent === undefined ? {} : { averageUtilization: Math.round(ratio * percent) }),
    averageValue: quantityOf(resource, average),
  });
  if (missing.length === 0 && (unready.length === 0 || ratio <= 1)) {
    return answer(
      isWithin(ratio, question.tolerance) ? question.replicas : ceil(ratio * ready.length),
    );
  }
  // Kubernetes: a pod without metrics is taken to use what is asked of it, at least 100 % of its request.
  const full = (one: Measured): number =>
    percent === undefined ? wantedValue(target) : (one.request * Math.max(100, percent)) / 100;
  const counted = [
    ...ready,
    ...(ratio === 1 ? [] : missing.map((one) => ({ ...one, usage: ratio < 1 ? full(one) : 0 }))),
    ...(ratio > 1 ? unready.map((one) => ({ ...one, usage: 0 })) : []),
  ];
  const cautious = ratioOf(counted);
  const isTurned = (ratio < 1 && cautious > 1) || (ratio > 1 && cautious < 1);
  if (isWithin(cautious, question.tolerance) || isTurned) return answer(question.replicas);
  const replicas = ceil(cautious * counted.length);
  const isWrongWay =
    (cautious < 1 && replicas > question.replicas) ||
    (cautious > 1 && replicas < question.replicas);
  return answer(isWrongWay ? question.replicas : replicas);
}

/** Pods whose use counts, those of which nothing is known, and those that are still starting. */
function sorted(question: MetricQuestion, samples: readonly PodSample[], nowMs: number) {
  const ready: Measured[] = [];
  const missing: Measured[] = [];
  const unready: Measured[] = [];
  for (const sample of samples) {
    const { pod } = sample;
    const phase = pod.status?.phase;
    if (pod.metadata?.deletionTimestamp !== undefined || hasEnded(pod.status)) continue;
    const request = question.target.averageUtilization === undefined ? 0 : requestOf(pod, question);
    const usage = usageOf(sample, question);
    if (phase !== 'Running') unready.push({ usage: 0, request });
    else if (usage === undefined) missing.push({ usage: 0, request });
    else if (question.resource === 'cpu' && isStarting(sample, nowMs)) {
      unready.push({ usage, request });
    } else ready.push({ usage, request });
  }
  return { ready, missing, unready };
}

/** Its CPU says nothing of its load yet. */
function isStarting(sample: PodSample, nowMs: number): boolean {
  const { firstSeenMs, readySinceMs, wasReady, usage } = sample;
  if (nowMs - firstSeenMs >= CPU_STARTING_MS) return readySinceMs === undefined && !wasReady;
  if (readySinceMs === undefined || usage === undefined) return true;
  return usage.receivedMs < readySinceMs + usage.windowMs;
}

/** Thousandths of what was measured; undefined when nothing (or not all of the pod) was. */
function usageOf({ usage }: PodSample, { resource, container }: MetricQuestion) {
  if (usage === undefined || usage.containers.length === 0) return undefined;
  const measured = usage.containers.filter(
    ({ name }) => container === undefined || name === container,
  );
  let total = 0;
  for (const one of measured) {
    const amount = one.usage[resource];
    if (amount === undefined) return undefined;
    total += milliValue(amount);
  }
  return measured.length === 0 ? undefined : total;
}

/** Thousandths of what the pod requests. Throws `MetricProblem` when a container says nothing. */
function requestOf(pod: Pod, { resource, container }: MetricQuestion): number {
  const sidecars = (pod.spec?.initContainers ?? []).filter(
    ({ restartPolicy }) => restartPolicy === 'Always',
  );
  const own: readonly Container[] = [...(pod.spec?.containers ?? []), ...sidecars];
  const asked = own.filter(({ name }) => container === undefined || name === container);
  const pods = pod.metadata?.name ?? '';
  if (asked.length === 0) {
    throw new MetricProblem(`container ${container} not found in pod ${pods}`);
  }
  return sum(
    asked.map(({ name, resources }) => {
      const request = resources?.requests?.[resource];
      if (request !== undefined) return milliValue(request);
      throw new MetricProblem(
        `missing request for ${resource} in container ${name} of Pod ${pods}`,
      );
    }),
  );
}

function wantedValue({ averageValue }: MetricTarget): number {
  if (averageValue !== undefined) return milliValue(averageValue);
  throw new MetricProblem('neither target utilization nor target value is set');
}

function isWithin(ratio: number, { up, down }: Tolerance): boolean {
  return ratio >= 1 - down && ratio <= 1 + up;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, one) => total + one, 0);
}

/** Rounded up, but not for the last bit of a floating point product. */
function ceil(value: number): number {
  return Math.ceil(value - 1e-9);
}

function quantityOf(resource: string, milli: number): string {
  return resource === 'memory' ? quantityOfBytes(milli / 1_000) : quantityOfMilli(milli);
}
