/** What all metrics of an autoscaler ask for together, and how its status shows them. Pure. */
import type {
  HorizontalPodAutoscalerSpec,
  HPAScalingRules,
  MetricSpec,
  MetricStatus,
  MetricTarget,
} from '../../protocol/kinds/types.ts';
import { milliValue } from '../../protocol/quantity.ts';
import { DEFAULT_SCALING } from '../api/kinds/horizontal-pod-autoscaler.ts';
import type { ScaleRules } from './horizontal-behavior.ts';
import {
  MetricProblem,
  type MetricQuestion,
  type PodSample,
  replicasFor,
  type Tolerance,
} from './horizontal-metrics.ts';

/** Kubernetes' --horizontal-pod-autoscaler-tolerance. */
const TOLERANCE = 0.1;
/** A shown value is written anew when it is off by more than this share of the target. */
const SHOWN_DRIFT = 0.05;
/** What heartbeats tell of pods. */
const MEASURED: readonly string[] = ['cpu', 'memory'];

export interface Wish {
  readonly replicas: number;
  /** The metric that asks for the most, in Kubernetes' words. */
  readonly metric: string;
  /** In the order of the metrics; one without an answer has no type. */
  readonly currentMetrics: readonly MetricStatus[];
}

interface Unknown {
  readonly problem: { readonly reason: string; readonly detail: string };
  readonly currentMetrics: readonly MetricStatus[];
}

/** The rules of an autoscaler, with Kubernetes' defaults where it says nothing. */
export function rulesOf(spec: HorizontalPodAutoscalerSpec): ScaleRules {
  const { minReplicas = 1, maxReplicas, behavior } = spec;
  const whole = (direction: 'scaleUp' | 'scaleDown'): HPAScalingRules => {
    const { policies, ...rest } = DEFAULT_SCALING[direction];
    return { ...rest, policies: [...policies], ...behavior?.[direction] };
  };
  return { scaleUp: whole('scaleUp'), scaleDown: whole('scaleDown'), minReplicas, maxReplicas };
}

/** The largest number that any metric asks for. With a metric unknown, no number below the present one is believed. */
export function wishOf(
  spec: HorizontalPodAutoscalerSpec,
  current: number,
  samples: readonly PodSample[],
  nowMs: number,
): Wish | Unknown {
  const metrics = spec.metrics ?? [];
  const tolerance = toleranceOf(spec);
  const currentMetrics: MetricStatus[] = [];
  let best: { replicas: number; metric: string } | undefined;
  let problem: Unknown['problem'] | undefined;
  let problems = 0;
  for (const metric of metrics) {
    try {
      const question = questionOf(metric, current, tolerance);
      const { replicas, ...seen } = replicasFor(question, samples, nowMs);
      currentMetrics.push(statusOf(metric, seen));
      const name = nameOf(metric);
      if (best === undefined || replicas > best.replicas) best = { replicas, metric: name };
    } catch (error) {
      if (!(error instanceof MetricProblem)) throw error;
      currentMetrics.push({ type: '' });
      problem ??= { reason: `FailedGet${metric.type}Metric`, detail: detailOf(metric, error) };
      problems += 1;
    }
  }
  if (best !== undefined && (problem === undefined || best.replicas >= current)) {
    return { ...best, currentMetrics };
  }
  const { reason, detail } = problem ?? { reason: 'InvalidMetricSourceType', detail: 'no metrics' };
  const many = `invalid metrics (${problems} invalid out of ${metrics.length}), first error is: `;
  return {
    problem: { reason, detail: problems > 1 || best !== undefined ? many + detail : detail },
    currentMetrics: best === undefined ? [] : currentMetrics,
  };
}

function toleranceOf({ behavior }: HorizontalPodAutoscalerSpec): Tolerance {
  const share = (text: string | undefined): number =>
    text === undefined ? TOLERANCE : milliValue(text) / 1_000;
  return { up: share(behavior?.scaleUp?.tolerance), down: share(behavior?.scaleDown?.tolerance) };
}

/** Throws `MetricProblem` for what nobody measures here. */
function questionOf(metric: MetricSpec, replicas: number, tolerance: Tolerance): MetricQuestion {
  const { type, resource, containerResource } = metric;
  const source = resource ?? containerResource;
  if (source === undefined) {
    throw new MetricProblem(
      `metrics of type ${type} are not available: Pier measures the CPU and memory of pods only`,
    );
  }
  if (!MEASURED.includes(source.name)) {
    throw new MetricProblem('Pier measures the CPU and memory of pods only');
  }
  return {
    resource: source.name,
    ...(containerResource === undefined ? {} : { container: containerResource.container }),
    target: source.target,
    replicas,
    tolerance,
  };
}

function detailOf({ resource, containerResource }: MetricSpec, error: MetricProblem): string {
  const source = resource ?? containerResource;
  if (source === undefined) return error.message;
  const what = source.target.averageUtilization === undefined ? 'usage' : 'utilization';
  return `failed to get ${source.name} ${what}: ${error.message}`;
}

function nameOf({ resource, containerResource }: MetricSpec): string {
  const source = resource ?? containerResource;
  const sort = containerResource === undefined ? 'resource' : 'container resource';
  const share = ' utilization (percentage of request)';
  const isShare = source?.target.averageUtilization !== undefined;
  return `${source?.name ?? ''} ${sort}${isShare ? share : ''}`;
}

function statusOf(metric: MetricSpec, current: Omit<MetricStatusValue, 'value'>): MetricStatus {
  const { type, containerResource } = metric;
  const name = (metric.resource ?? containerResource)?.name ?? '';
  return containerResource === undefined
    ? { type, resource: { name, current } }
    : { type, containerResource: { name, container: containerResource.container, current } };
}

type MetricStatusValue = NonNullable<MetricStatus['resource']>['current'];

/** Is what the status shows still near enough to what was measured? Small changes are not worth a write to the card. */
export function isCalm(
  metrics: readonly MetricSpec[],
  shown: readonly MetricStatus[],
  measured: readonly MetricStatus[],
): boolean {
  if (shown.length !== measured.length) return false;
  return measured.every((one, index) => {
    const old = shown[index];
    const metric = metrics[index];
    const target = (metric?.resource ?? metric?.containerResource)?.target;
    if (old === undefined || target === undefined || old.type !== one.type) {
      return old?.type === one.type;
    }
    const now = shareOf(one, target);
    const before = shareOf(old, target);
    if (now === undefined || before === undefined) return now === before;
    return Math.abs(now - before) <= SHOWN_DRIFT;
  });
}

/** As a share of the target. */
function shareOf(status: MetricStatus, target: MetricTarget): number | undefined {
  const { averageUtilization, averageValue } =
    (status.resource ?? status.containerResource)?.current ?? {};
  if (target.averageUtilization !== undefined) {
    return averageUtilization === undefined
      ? undefined
      : averageUtilization / target.averageUtilization;
  }
  if (averageValue === undefined || target.averageValue === undefined) return undefined;
  return milliValue(averageValue) / milliValue(target.averageValue);
}
