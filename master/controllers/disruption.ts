/**
 * PodDisruptionBudget: counts the pods that a budget covers and says how many may be evicted now. Pure.
 *
 * Promises: it only ever writes the status. An eviction that was granted counts as a missing pod until the pod is seen to
 * be going, or for two minutes by the master's monotonic clock: then it has failed, and is given back. Source:
 * Kubernetes' "Specifying a Disruption Budget for your Application".
 */
import type {
  Condition,
  Pod,
  PodDisruptionBudget,
  PodDisruptionBudgetStatus,
  Time,
} from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action, Now } from './actions.ts';
import { resolveIntOrPercent } from './deployment-rollout.ts';
import type { EventTarget } from './events.ts';
import { controllerOf, isPodReady } from './pods.ts';
import { withStatus } from './replicaset.ts';

/** As in Kubernetes (DeletionTimeout). */
const EVICTION_LOST_MS = 120_000;

export interface DisruptionView {
  readonly budget: PodDisruptionBudget;
  /** The pods of the namespace that the selector matches, ended ones included. */
  readonly pods: readonly Pod[];
  /** How many pods the app of this owner is meant to have; undefined when its kind has no such number. */
  scaleOf(ownerUid: string): { readonly app: string; readonly replicas: number } | undefined;
  /** When the entry in `disruptedPods` was first seen, monotonic. */
  grantedSinceMs(pod: string): number;
}

interface Wanted {
  readonly expected: number;
  readonly desired: number;
  /** Pods whose app is not known: they count for nothing. */
  readonly unmanaged: readonly string[];
}

export function reconcileDisruption(view: DisruptionView, now: Now): Action[] {
  const { budget, pods } = view;
  const { disruptedPods, nextMs } = stillGranted(view, now);
  const living = pods.filter(
    ({ status }) => !['Succeeded', 'Failed'].includes(status?.phase ?? ''),
  );
  const { expected, desired, unmanaged } = wantedOf(view, living);
  const healthy = living.filter(
    (pod) =>
      pod.metadata?.deletionTimestamp === undefined &&
      disruptedPods[pod.metadata?.name ?? ''] === undefined &&
      isPodReady(pod),
  ).length;
  const allowed = expected <= 0 ? 0 : Math.max(0, healthy - desired);
  const actions: Action[] = [];
  if (unmanaged.length > 0) actions.push(unmanagedEvent(budget, unmanaged));
  actions.push(
    ...statusActions(budget, now, {
      disruptionsAllowed: allowed,
      currentHealthy: healthy,
      desiredHealthy: desired,
      expectedPods: expected,
      ...(Object.keys(disruptedPods).length === 0 ? {} : { disruptedPods }),
    }),
  );
  if (nextMs !== undefined) actions.push({ type: 'requeueAfter', delayMs: nextMs });
  return actions;
}

/** Granted evictions whose pod is there and does not go yet. */
function stillGranted(
  { budget, pods, grantedSinceMs }: DisruptionView,
  now: Now,
): { readonly disruptedPods: Record<string, Time>; readonly nextMs: number | undefined } {
  const disruptedPods: Record<string, Time> = {};
  let nextMs: number | undefined;
  for (const [name, time] of Object.entries(budget.status?.disruptedPods ?? {})) {
    const pod = pods.find(({ metadata }) => metadata?.name === name);
    if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined) continue;
    const leftMs = grantedSinceMs(name) + EVICTION_LOST_MS - now.monotonicMs;
    if (leftMs <= 0) continue;
    disruptedPods[name] = time;
    nextMs = Math.min(nextMs ?? leftMs, leftMs);
  }
  return { disruptedPods, nextMs };
}

function wantedOf({ budget, scaleOf }: DisruptionView, pods: readonly Pod[]): Wanted {
  const { minAvailable, maxUnavailable } = budget.spec ?? {};
  if (maxUnavailable === undefined && typeof minAvailable !== 'string') {
    return { expected: pods.length, desired: minAvailable ?? 0, unmanaged: [] };
  }
  const apps = new Map<string, number>();
  const unmanaged: string[] = [];
  for (const pod of pods) {
    const owner = controllerOf(pod);
    const scale = owner === undefined ? undefined : scaleOf(owner.uid);
    if (scale === undefined) unmanaged.push(pod.metadata?.name ?? '');
    else apps.set(scale.app, scale.replicas);
  }
  const expected = [...apps.values()].reduce((sum, replicas) => sum + replicas, 0);
  const desired =
    maxUnavailable === undefined
      ? resolveIntOrPercent(minAvailable, expected, 'up')
      : Math.max(0, expected - resolveIntOrPercent(maxUnavailable, expected, 'up'));
  return { expected, desired, unmanaged };
}

function targetOf({ metadata = {} }: PodDisruptionBudget): EventTarget {
  return { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata };
}

function unmanagedEvent(budget: PodDisruptionBudget, unmanaged: readonly string[]): Action {
  return {
    type: 'event',
    regarding: targetOf(budget),
    eventType: 'Warning',
    reason: 'UnmanagedPods',
    message:
      `Pods of this budget have no controller with a number of replicas (${[...unmanaged].sort().join(', ')}), so ` +
      'that its status cannot be right: set spec.minAvailable to a whole number to count them',
  };
}

function statusActions(
  budget: PodDisruptionBudget,
  now: Now,
  counts: PodDisruptionBudgetStatus,
): Action[] {
  const old = budget.status ?? {};
  const generation = budget.metadata?.generation ?? 0;
  const conditions = conditionsOf(old.conditions ?? [], counts, generation, now.timestamp);
  const status: PodDisruptionBudgetStatus = {
    ...counts,
    observedGeneration: generation,
    conditions,
  };
  const same =
    (old.disruptionsAllowed ?? 0) === counts.disruptionsAllowed &&
    (old.currentHealthy ?? 0) === counts.currentHealthy &&
    (old.desiredHealthy ?? 0) === counts.desiredHealthy &&
    (old.expectedPods ?? 0) === counts.expectedPods &&
    old.observedGeneration === generation &&
    JSON.stringify(old.disruptedPods ?? {}) === JSON.stringify(counts.disruptedPods ?? {}) &&
    JSON.stringify(old.conditions ?? []) === JSON.stringify(conditions);
  if (same) return [];
  // An eviction writes this status too: with the version that was counted, so that what it spent is not undone.
  const object = { ...withStatus(budget, status), metadata: budget.metadata ?? {} };
  return [{ type: 'updateStatus', id: RESOURCES.podDisruptionBudgets, object }];
}

function conditionsOf(
  old: readonly Condition[],
  { disruptionsAllowed = 0 }: PodDisruptionBudgetStatus,
  observedGeneration: number,
  timestamp: string,
): Condition[] {
  const isAllowed = disruptionsAllowed > 0;
  const known = old.find(({ type }) => type === 'DisruptionAllowed');
  const status = isAllowed ? 'True' : 'False';
  const since = known?.status === status ? known.lastTransitionTime : undefined;
  return [
    ...old.filter(({ type }) => type !== 'DisruptionAllowed'),
    {
      type: 'DisruptionAllowed',
      status,
      observedGeneration,
      lastTransitionTime: since ?? timestamp,
      reason: isAllowed ? 'SufficientPods' : 'InsufficientPods',
      message: '',
    },
  ];
}
