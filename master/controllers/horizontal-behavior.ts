/**
 * How far a wish may be followed: stabilization windows, policies of the rate of change, and the bounds of the autoscaler.
 * Pure. Source: Kubernetes' "Configurable scaling behavior". Times are monotonic: after a restart of the master all windows
 * begin anew, so that scaling down waits longer, never shorter.
 */
import type { HPAScalingRules } from '../../protocol/kinds/types.ts';

/** What an autoscaler remembers between two looks. */
export interface ScaleHistory {
  /** What the metrics asked for. */
  readonly wishes: readonly { readonly replicas: number; readonly atMs: number }[];
  /** What was done: positive up, negative down. */
  readonly changes: readonly { readonly by: number; readonly atMs: number }[];
}

export const NO_HISTORY: ScaleHistory = { wishes: [], changes: [] };

export interface ScaleRules {
  readonly scaleUp: HPAScalingRules;
  readonly scaleDown: HPAScalingRules;
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

/** Why the outcome is not what the metrics asked for, in the words of Kubernetes' conditions. */
export interface Outcome {
  readonly replicas: number;
  readonly stabilized: 'ScaleUpStabilized' | 'ScaleDownStabilized' | undefined;
  readonly limited:
    | 'ScaleUpLimit'
    | 'ScaleDownLimit'
    | 'TooManyReplicas'
    | 'TooFewReplicas'
    | undefined;
}

/** The number of pods to ask for, `wish` being the last of the wishes in the history. */
export function limited(
  current: number,
  wish: number,
  history: ScaleHistory,
  rules: ScaleRules,
  nowMs: number,
): Outcome {
  const stable = stabilize(current, wish, history, rules, nowMs);
  const stabilized =
    stable === wish ? undefined : wish > current ? 'ScaleUpStabilized' : 'ScaleDownStabilized';
  if (stable > current) {
    const limit = Math.max(current, upLimit(current, history, rules.scaleUp, nowMs));
    const isRate = limit < rules.maxReplicas;
    const most = Math.min(limit, rules.maxReplicas);
    if (stable <= most) return { replicas: stable, stabilized, limited: undefined };
    const why = isRate ? 'ScaleUpLimit' : 'TooManyReplicas';
    return { replicas: most, stabilized, limited: why };
  }
  const limit = Math.min(current, downLimit(current, history, rules.scaleDown, nowMs));
  const isRate = limit > rules.minReplicas;
  const least = Math.max(limit, rules.minReplicas);
  if (stable === current || stable >= least) {
    return { replicas: stable, stabilized, limited: undefined };
  }
  const why = isRate ? 'ScaleDownLimit' : 'TooFewReplicas';
  return { replicas: least, stabilized, limited: why };
}

/** Up no further than the lowest wish of the window, down no further than the highest of its own. */
function stabilize(
  current: number,
  wish: number,
  { wishes }: ScaleHistory,
  { scaleUp, scaleDown }: ScaleRules,
  nowMs: number,
): number {
  const within = (seconds: number): number[] => [
    wish,
    ...wishes.filter(({ atMs }) => nowMs - atMs < seconds * 1_000).map(({ replicas }) => replicas),
  ];
  const lowest = Math.min(...within(scaleUp.stabilizationWindowSeconds ?? 0));
  const highest = Math.max(...within(scaleDown.stabilizationWindowSeconds ?? 0));
  if (current < lowest) return lowest;
  return current > highest ? highest : current;
}

/** The highest number that the policies allow now. */
function upLimit(
  current: number,
  history: ScaleHistory,
  { selectPolicy, policies = [] }: HPAScalingRules,
  nowMs: number,
): number {
  if (selectPolicy === 'Disabled') return current;
  const limits = policies.map(({ type, value, periodSeconds }) => {
    const before = current - changed(history, periodSeconds, nowMs);
    return type === 'Pods' ? before + value : Math.ceil(before * (1 + value / 100) - 1e-9);
  });
  return selectPolicy === 'Min' ? Math.min(...limits) : Math.max(...limits);
}

/** The lowest number that the policies allow now. */
function downLimit(
  current: number,
  history: ScaleHistory,
  { selectPolicy, policies = [] }: HPAScalingRules,
  nowMs: number,
): number {
  if (selectPolicy === 'Disabled') return current;
  const limits = policies.map(({ type, value, periodSeconds }) => {
    const before = current - changed(history, periodSeconds, nowMs);
    return type === 'Pods' ? before - value : Math.floor(before * (1 - value / 100) + 1e-9);
  });
  return selectPolicy === 'Min' ? Math.max(...limits) : Math.min(...limits);
}

/** By how many pods the target has grown in the period. */
function changed({ changes }: ScaleHistory, periodSeconds: number, nowMs: number): number {
  return changes
    .filter(({ atMs }) => nowMs - atMs < periodSeconds * 1_000)
    .reduce((total, { by }) => total + by, 0);
}

/** Without what no window and no period reaches any more. */
export function pruned(history: ScaleHistory, rules: ScaleRules, nowMs: number): ScaleHistory {
  const both = [rules.scaleUp, rules.scaleDown];
  const windowMs =
    Math.max(...both.map(({ stabilizationWindowSeconds = 0 }) => stabilizationWindowSeconds)) *
    1_000;
  const periods = both.flatMap(({ policies = [] }) =>
    policies.map(({ periodSeconds }) => periodSeconds),
  );
  const periodMs = Math.max(0, ...periods) * 1_000;
  return {
    wishes: history.wishes.filter(({ atMs }) => nowMs - atMs < windowMs),
    changes: history.changes.filter(({ atMs }) => nowMs - atMs < periodMs),
  };
}
