/**
 * HorizontalPodAutoscaler: how many pods its target should have, and what its status says. Pure.
 *
 * Promises: metrics decide together, the one that asks for the most wins; while one of them cannot be read, nothing is scaled
 * down; a target that stands at zero is left alone; two autoscalers of one target do nothing. The status is written when
 * something happened, or when a shown value has drifted: a quiet fleet writes nothing. Source: Kubernetes' "Horizontal Pod
 * Autoscaling".
 */
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerCondition,
  HorizontalPodAutoscalerStatus,
  LabelSelector,
  MetricStatus,
} from '../../protocol/kinds/types.ts';
import { formatLabelSelector, labelRequirements } from '../../protocol/selector.ts';
import { RESOURCES, type ResourceId } from '../api/client.ts';
import type { Action, Now } from './actions.ts';
import type { EventTarget } from './events.ts';
import {
  limited,
  NO_HISTORY,
  type Outcome,
  pruned,
  type ScaleHistory,
} from './horizontal-behavior.ts';
import type { PodSample } from './horizontal-metrics.ts';
import { isCalm, rulesOf, type Wish, wishOf } from './horizontal-wish.ts';
import { withStatus } from './replicaset.ts';

/** Kubernetes' --horizontal-pod-autoscaler-sync-period. */
const SYNC_MS = 15_000;

/** What is scaled: any kind with `spec.replicas` and a selector. */
export interface ScaleTarget {
  readonly id: ResourceId;
  readonly name: string;
  readonly resourceVersion: string | undefined;
  readonly replicas: number;
  readonly selector: LabelSelector | undefined;
}

export interface HorizontalView {
  readonly autoscaler: HorizontalPodAutoscaler;
  /** Or why there is none. */
  readonly target: ScaleTarget | { readonly missing: string };
  /** The pods that the target's selector matches. */
  readonly samples: readonly PodSample[];
  /** Names of the other autoscalers of the same target. */
  readonly rivals: readonly string[];
  /** Why the last attempt failed, if it did. */
  readonly lastFailure: string | undefined;
}

/** What is remembered of an autoscaler between two looks. */
export interface HorizontalMemory {
  readonly history: ScaleHistory;
  /** Asked for at the last look; it counts as done when the target shows it. */
  readonly asked?: { readonly from: number; readonly to: number; readonly atMs: number };
}

interface Decision {
  /** Undefined: as before. */
  readonly desired?: number;
  readonly conditions: readonly HorizontalPodAutoscalerCondition[];
  readonly currentMetrics?: readonly MetricStatus[];
  readonly events: readonly Action[];
  readonly why?: string;
  readonly history: ScaleHistory;
}

/** One look at one autoscaler. `memory` is what the look before gave back, undefined at the first. */
export function reconcileHorizontal(
  view: HorizontalView,
  memory: HorizontalMemory | undefined,
  now: Now,
): { readonly actions: Action[]; readonly memory: HorizontalMemory | undefined } {
  const { autoscaler, target, lastFailure } = view;
  const again: Action = { type: 'requeueAfter', delayMs: SYNC_MS };
  if ('missing' in target) {
    const message = `the HPA controller was unable to get the target's current scale: ${target.missing}`;
    const decided = refused(autoscaler, now, memory?.history ?? NO_HISTORY, {
      ...{ type: 'AbleToScale', reason: 'FailedGetScale', message, note: target.missing },
    });
    const actions = [...decided.events, ...statusActions(view, decided, undefined, now), again];
    return { actions, memory: memory && { history: memory.history } };
  }
  const { replicas: current } = target;
  const decided = decide(view, target, historyOf(memory, current, now), now);
  const desired = decided.desired ?? current;
  if (desired === current) {
    const actions = [...decided.events, ...statusActions(view, decided, current, now), again];
    return { actions, memory: { history: decided.history } };
  }
  const failed = lastFailure === undefined ? undefined : failedUpdate(lastFailure);
  const done = {
    ...{ type: 'AbleToScale', status: 'True', reason: 'SucceededRescale' },
    message: `the HPA controller was able to update the target scale to ${desired}`,
  };
  const conditions = withCondition(decided.conditions, failed ?? done, now);
  const actions: Action[] = [
    ...decided.events,
    {
      type: 'patch',
      id: target.id,
      namespace: autoscaler.metadata?.namespace ?? '',
      name: target.name,
      mergePatch: {
        // Somebody else may have scaled it meanwhile: then the next look decides anew.
        metadata: { resourceVersion: target.resourceVersion },
        spec: { replicas: desired },
      },
    },
    event(autoscaler, 'SuccessfulRescale', `New size: ${desired}; reason: ${decided.why ?? ''}`),
    ...statusActions(view, { ...decided, conditions }, current, now, failed === undefined),
    again,
  ];
  const asked = { from: current, to: desired, atMs: now.monotonicMs };
  return { actions, memory: { history: decided.history, asked } };
}

/** At the first look, the present number counts as a wish: nothing is scaled down before the window is over. */
function historyOf(memory: HorizontalMemory | undefined, current: number, now: Now): ScaleHistory {
  if (memory === undefined) {
    return { wishes: [{ replicas: current, atMs: now.monotonicMs }], changes: [] };
  }
  const { history, asked } = memory;
  if (asked?.to !== current) return history;
  const change = { by: asked.to - asked.from, atMs: asked.atMs };
  return { ...history, changes: [...history.changes, change] };
}

function decide(
  view: HorizontalView,
  target: ScaleTarget,
  history: ScaleHistory,
  now: Now,
): Decision {
  const { autoscaler, rivals } = view;
  const { minReplicas = 1, maxReplicas } = autoscaler.spec;
  const { replicas: current, selector } = target;
  const found = {
    ...{ type: 'AbleToScale', status: 'True', reason: 'SucceededGetScale' },
    message: "the HPA controller was able to get the target's current scale",
  };
  const known = autoscaler.status?.conditions ?? [];
  const conditions = withCondition(known, found, now);
  const plain = { conditions, events: [], history };
  if (current === 0) {
    const message = 'scaling is disabled since the replica count of the target is zero';
    const off = { type: 'ScalingActive', status: 'False', reason: 'ScalingDisabled', message };
    return { ...plain, desired: 0, conditions: withCondition(conditions, off, now) };
  }
  if (current > maxReplicas) {
    const why = 'Current number of replicas above Spec.MaxReplicas';
    return { ...plain, desired: maxReplicas, why };
  }
  if (current < minReplicas) {
    const why = 'Current number of replicas below Spec.MinReplicas';
    return { ...plain, desired: minReplicas, why };
  }
  const text = selector === undefined ? '' : formatLabelSelector(labelRequirements(selector));
  if (text === '') {
    const message = "the HPA target's scale is missing a selector";
    return refused(autoscaler, now, history, {
      ...{ type: 'ScalingActive', reason: 'InvalidSelector', message, note: message },
    });
  }
  if (rivals.length > 0) {
    const names = [autoscaler.metadata?.name ?? '', ...rivals].sort().join(' ');
    const message = `pods by selector ${text} are controlled by multiple HPAs: [${names}]`;
    return refused(autoscaler, now, history, {
      ...{ type: 'ScalingActive', reason: 'AmbiguousSelector', message, note: message },
    });
  }
  const wish = wishOf(autoscaler.spec, current, view.samples, now.monotonicMs);
  if ('problem' in wish) {
    const { reason, detail } = wish.problem;
    const message = `the HPA was unable to compute the replica count: ${detail}`;
    return {
      ...refused(autoscaler, now, history, {
        ...{ type: 'ScalingActive', reason, message, note: detail },
      }),
      currentMetrics: wish.currentMetrics,
    };
  }
  return followed(view, wish, current, { history, conditions }, now);
}

/** The wish, as far as windows, policies and bounds allow. */
function followed(
  { autoscaler }: HorizontalView,
  wish: Wish,
  current: number,
  { history, conditions }: Pick<Decision, 'history' | 'conditions'>,
  now: Now,
): Decision {
  const rules = rulesOf(autoscaler.spec);
  const outcome = limited(current, wish.replicas, history, rules, now.monotonicMs);
  const wishes = [...history.wishes, { replicas: wish.replicas, atMs: now.monotonicMs }];
  const active = {
    ...{ type: 'ScalingActive', status: 'True', reason: 'ValidMetricFound' },
    message: `the HPA was able to successfully calculate a replica count from ${wish.metric}`,
  };
  const all = [active, ...outcomeConditions(outcome)];
  return {
    desired: outcome.replicas,
    conditions: all.reduce<readonly HorizontalPodAutoscalerCondition[]>(
      (list, one) => withCondition(list, one, now),
      conditions,
    ),
    currentMetrics: wish.currentMetrics,
    events: [],
    why: wish.replicas > current ? `${wish.metric} above target` : 'All metrics below target',
    history: pruned({ ...history, wishes }, rules, now.monotonicMs),
  };
}

const STABILIZED = {
  ScaleUpStabilized:
    'recent recommendations were lower than current one, applying the lowest recent recommendation',
  ScaleDownStabilized:
    'recent recommendations were higher than current one, applying the highest recent recommendation',
};
const LIMITED = {
  ScaleUpLimit: 'the desired replica count is increasing faster than the maximum scale rate',
  ScaleDownLimit: 'the desired replica count is decreasing faster than the maximum scale rate',
  TooManyReplicas: 'the desired replica count is more than the maximum replica count',
  TooFewReplicas: 'the desired replica count is less than the minimum replica count',
};

type NewCondition = Omit<HorizontalPodAutoscalerCondition, 'lastTransitionTime'>;

function outcomeConditions({ stabilized, limited: why }: Outcome): NewCondition[] {
  const able =
    stabilized === undefined
      ? { reason: 'ReadyForNewScale', message: 'recommended size matches current size' }
      : { reason: stabilized, message: STABILIZED[stabilized] };
  const bound =
    why === undefined
      ? {
          reason: 'DesiredWithinRange',
          message: 'the desired count is within the acceptable range',
        }
      : { reason: why, message: LIMITED[why] };
  return [
    { type: 'AbleToScale', status: 'True', ...able },
    { type: 'ScalingLimited', status: why === undefined ? 'False' : 'True', ...bound },
  ];
}

function failedUpdate(why: string): NewCondition {
  const message = `the HPA controller was unable to update the target scale: ${why}`;
  return { type: 'AbleToScale', status: 'False', reason: 'FailedUpdateScale', message };
}

/** A condition that is False, told once in an event. */
function refused(
  autoscaler: HorizontalPodAutoscaler,
  now: Now,
  history: ScaleHistory,
  what: { type: string; reason: string; message: string; note: string },
): Decision {
  const { note, ...condition } = what;
  const known = autoscaler.status?.conditions ?? [];
  const isTold = known.some(
    (one) => one.type === condition.type && one.message === condition.message,
  );
  return {
    conditions: withCondition(known, { ...condition, status: 'False' }, now),
    events: isTold ? [] : [event(autoscaler, condition.reason, note, 'Warning')],
    history,
  };
}

function withCondition(
  conditions: readonly HorizontalPodAutoscalerCondition[],
  next: NewCondition,
  now: Now,
): readonly HorizontalPodAutoscalerCondition[] {
  const known = conditions.find(({ type }) => type === next.type);
  const since = known?.status === next.status ? known.lastTransitionTime : undefined;
  const { type, status, ...rest } = next;
  const made = { type, status, lastTransitionTime: since ?? now.timestamp, ...rest };
  if (known === undefined) return [...conditions, made];
  return conditions.map((one) => (one === known ? made : one));
}

function event(
  autoscaler: HorizontalPodAutoscaler,
  reason: string,
  message: string,
  eventType: 'Normal' | 'Warning' = 'Normal',
): Action {
  const { metadata = {} } = autoscaler;
  const regarding: EventTarget = {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata,
  };
  return { type: 'event', regarding, eventType, reason, message };
}

/** Nothing when the status says it already, or nearly. */
function statusActions(
  { autoscaler }: HorizontalView,
  decided: Decision,
  current: number | undefined,
  now: Now,
  scaled = false,
): Action[] {
  const old = autoscaler.status;
  const generation = autoscaler.metadata?.generation;
  const lastScaleTime = scaled ? now.timestamp : old?.lastScaleTime;
  const currentReplicas = current ?? old?.currentReplicas;
  const metrics = decided.currentMetrics ?? [];
  const status: HorizontalPodAutoscalerStatus = {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(lastScaleTime === undefined ? {} : { lastScaleTime }),
    ...(currentReplicas === undefined ? {} : { currentReplicas }),
    desiredReplicas: decided.desired ?? old?.desiredReplicas ?? 0,
    ...(metrics.length === 0 ? {} : { currentMetrics: [...metrics] }),
    conditions: [...decided.conditions],
  };
  const same =
    old !== undefined &&
    old.observedGeneration === status.observedGeneration &&
    old.lastScaleTime === status.lastScaleTime &&
    (old.currentReplicas ?? 0) === (status.currentReplicas ?? 0) &&
    (old.desiredReplicas ?? 0) === status.desiredReplicas &&
    JSON.stringify(old.conditions ?? []) === JSON.stringify(status.conditions) &&
    isCalm(autoscaler.spec.metrics ?? [], old.currentMetrics ?? [], metrics);
  if (same) return [];
  return [
    {
      type: 'updateStatus',
      id: RESOURCES.horizontalPodAutoscalers,
      object: withStatus(autoscaler, status),
      ...(scaled ? {} : { evenAfterFailure: true as const }),
    },
  ];
}
