/**
 * Node lifecycle: what follows for scheduling and for pods when a board is not well. Pure.
 *
 * Input are the conditions that the fleet link writes and the monotonic times at which this master
 * first saw them; clocks of boards decide nothing.
 * Promises:
 * - Conditions become taints (not-ready, unreachable, pressure, cordon), and are taken away when
 *   they end.
 * - Pods of a board that is gone lose their Ready condition, so that Services leave them out at
 *   once.
 * - Pods leave a NoExecute-tainted board after their tolerationSeconds; those that say nothing
 *   about not-ready and unreachable stay `defaultTolerationMs`.
 * - Few boards are emptied at a time, and none while most boards are gone: then it is the network
 *   or the master. When the boards return, every wait starts anew.
 * - Pods of a Node that was deleted, and ending pods of a board declared out of service, are
 *   removed.
 */
import type { Node, Pod, PodCondition, Taint } from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import {
  CONDITION_TAINT_KEYS,
  conditionTaints,
  readinessOf,
  TAINT_NOT_READY,
  TAINT_OUT_OF_SERVICE,
  TAINT_UNREACHABLE,
  tolerates,
} from '../scheduler/taints.ts';
import type { Action, Now } from './actions.ts';
import { BOARD_SILENT_REASON, isPodReady } from './pods.ts';

export interface LifecycleOptions {
  /** For pods without a toleration of their own for not-ready and unreachable. */
  readonly defaultTolerationMs: number;
  /** Evictions stop while more than this share of the boards is not ready. */
  readonly haltAboveShare: number;
  /** One more board may be emptied after each such time; `evictionBurst` of them at once. */
  readonly evictionIntervalMs: number;
  readonly evictionBurst: number;
  /** How long a pod may name a Node that does not exist: caches differ by a moment. */
  readonly orphanGraceMs: number;
}

export const DEFAULT_LIFECYCLE_OPTIONS: LifecycleOptions = {
  defaultTolerationMs: 10_000,
  haltAboveShare: 0.5,
  evictionIntervalMs: 10_000,
  evictionBurst: 2,
  orphanGraceMs: 10_000,
};

interface BoardView {
  readonly node: Node;
  readonly pods: readonly Pod[];
  /** Since when the node is not ready; undefined while it is. */
  readonly notReadySinceMs: number | undefined;
  /** Since when the node bears a NoExecute taint of somebody else's. */
  taintedSinceMs(taint: Taint): number;
}

interface OrphanView {
  readonly pod: Pod;
  readonly sinceMs: number;
}

export interface LifecycleView {
  readonly boards: readonly BoardView[];
  /** Pods that name a Node which does not exist. */
  readonly orphans: readonly OrphanView[];
}

/** What is remembered from one call to the next. */
export interface LifecycleState {
  readonly tokens: number;
  readonly refilledAtMs: number;
  /** Boards that may be emptied, until they are ready again. */
  readonly granted: ReadonlySet<string>;
  readonly isHalted: boolean;
  /** When evictions were last allowed again after a halt. */
  readonly resumedAtMs: number;
  /** Boards that said at the last call that they were ready: only their silence is news, not that of a new board. */
  readonly ready: ReadonlySet<string>;
  /** Boards that were there and not ready: that they are now is news, too. */
  readonly unready: ReadonlySet<string>;
}

export function initialLifecycleState(options: LifecycleOptions, nowMs: number): LifecycleState {
  return {
    tokens: options.evictionBurst,
    refilledAtMs: nowMs,
    granted: new Set(),
    isHalted: false,
    resumedAtMs: 0,
    ready: new Set(),
    unready: new Set(),
  };
}

interface LifecycleResult {
  readonly actions: readonly Action[];
  readonly state: LifecycleState;
}

export function reconcileLifecycle(
  view: LifecycleView,
  before: LifecycleState,
  options: LifecycleOptions,
  now: Now,
): LifecycleResult {
  const actions: Action[] = [];
  const notReady = view.boards.filter((board) => board.notReadySinceMs !== undefined);
  const isHalted = notReady.length > view.boards.length * options.haltAboveShare;
  const resumedAtMs = before.isHalted && !isHalted ? now.monotonicMs : before.resumedAtMs;
  const bucket = refill(before, options, now.monotonicMs);
  const limiter: Limiter = {
    tokens: bucket.tokens,
    granted: new Set(
      [...before.granted].filter((name) => notReady.some((board) => nameOf(board.node) === name)),
    ),
  };
  const plan: Plan = { actions, limiter, options, isHalted, resumedAtMs, waits: [], now };
  if (isHalted && !before.isHalted) actions.push(...haltEvents(notReady));
  for (const board of view.boards) {
    actions.push(...taintActions(board, now));
    const isReady = readinessOf(board.node) === 'True';
    if (!isReady && before.ready.has(nameOf(board.node))) {
      actions.push(readinessEvent(board.node, 'NodeNotReady'));
    } else if (isReady && before.unready.has(nameOf(board.node))) {
      actions.push(readinessEvent(board.node, 'NodeReady'));
    }
    if (readinessOf(board.node) === 'Unknown') actions.push(...markPodsNotReady(board, now));
    planEvictions(plan, board);
    actions.push(...outOfService(board));
  }
  for (const orphan of view.orphans) planOrphan(plan, orphan);
  if (plan.waits.length > 0) {
    actions.push({ type: 'requeueAfter', delayMs: Math.max(1, Math.min(...plan.waits)) });
  }
  const state: LifecycleState = {
    tokens: limiter.tokens,
    refilledAtMs: bucket.refilledAtMs,
    granted: limiter.granted,
    isHalted,
    resumedAtMs,
    ready: namesOf(view.boards, (readiness) => readiness === 'True'),
    unready: namesOf(view.boards, (readiness) => readiness !== 'True'),
  };
  return { actions, state };
}

interface Limiter {
  tokens: number;
  readonly granted: Set<string>;
}

interface Plan {
  readonly actions: Action[];
  readonly limiter: Limiter;
  readonly options: LifecycleOptions;
  readonly isHalted: boolean;
  readonly resumedAtMs: number;
  /** Milliseconds until something is due. */
  readonly waits: number[];
  readonly now: Now;
}

function nameOf(node: Node): string {
  return node.metadata?.name ?? '';
}

function refill(
  state: LifecycleState,
  options: LifecycleOptions,
  nowMs: number,
): { tokens: number; refilledAtMs: number } {
  const earned = Math.floor((nowMs - state.refilledAtMs) / options.evictionIntervalMs);
  if (earned <= 0) return state;
  return {
    tokens: Math.min(options.evictionBurst, state.tokens + earned),
    refilledAtMs: state.refilledAtMs + earned * options.evictionIntervalMs,
  };
}

function namesOf(
  boards: readonly BoardView[],
  isWanted: (readiness: ReturnType<typeof readinessOf>) => boolean,
): ReadonlySet<string> {
  const wanted = boards.filter(({ node }) => isWanted(readinessOf(node)));
  return new Set(wanted.map(({ node }) => nameOf(node)));
}

function readinessEvent(node: Node, reason: 'NodeReady' | 'NodeNotReady'): Action {
  return {
    type: 'event',
    regarding: { apiVersion: 'v1', kind: 'Node', metadata: node.metadata ?? {} },
    eventType: reason === 'NodeReady' ? 'Normal' : 'Warning',
    reason,
    message: `Node ${nameOf(node)} status is now: ${reason}`,
  };
}

/** A board without pods has nothing that stays: while a fleet starts, all boards are such. */
function haltEvents(notReady: readonly BoardView[]): Action[] {
  const holding = notReady.filter(({ pods }) => pods.length > 0);
  return holding.map(({ node }) => ({
    type: 'event',
    regarding: { apiVersion: 'v1', kind: 'Node', metadata: node.metadata ?? {} },
    eventType: 'Warning',
    reason: 'EvictionHalted',
    message: 'Most boards are not ready at once: no pods are moved until more of them return',
  }));
}

/** The NoExecute taint that the node's readiness asks for. */
function executeTaint(node: Node): Taint | undefined {
  const readiness = readinessOf(node);
  if (readiness === 'True') return undefined;
  if (readiness === 'False') return { key: TAINT_NOT_READY, effect: 'NoExecute' };
  const hasReported = node.status?.conditions?.some((one) => one.type === 'Ready') === true;
  return hasReported ? { key: TAINT_UNREACHABLE, effect: 'NoExecute' } : undefined;
}

function isOurTaint(taint: Taint): boolean {
  if (taint.effect === 'NoSchedule') return CONDITION_TAINT_KEYS.has(taint.key);
  return (
    taint.effect === 'NoExecute' &&
    (taint.key === TAINT_NOT_READY || taint.key === TAINT_UNREACHABLE)
  );
}

function taintActions({ node }: BoardView, now: Now): Action[] {
  const written = node.spec?.taints ?? [];
  const execute = executeTaint(node);
  const wanted = [...conditionTaints(node), ...(execute === undefined ? [] : [execute])];
  const isIn = (taint: Taint, list: readonly Taint[]): boolean =>
    list.some((one) => one.key === taint.key && one.effect === taint.effect);
  const kept = written.filter((taint) => !isOurTaint(taint) || isIn(taint, wanted));
  const added = wanted.filter((taint) => !isIn(taint, written));
  if (added.length === 0 && kept.length === written.length) return [];
  const taints = [...kept, ...added.map((taint) => ({ ...taint, timeAdded: now.timestamp }))];
  const object: Node = { ...node, spec: { ...node.spec, taints } };
  return [{ type: 'update', id: RESOURCES.nodes, object }];
}

/** A silent board cannot say that its pods serve nobody any more. */
function markPodsNotReady({ pods }: BoardView, now: Now): Action[] {
  return pods.filter(isPodReady).map((pod) => {
    const conditions = (pod.status?.conditions ?? []).map((one): PodCondition => {
      if (one.type !== 'Ready') return one;
      return {
        ...one,
        status: 'False',
        reason: BOARD_SILENT_REASON,
        message: 'The board does not answer',
        lastTransitionTime: now.timestamp,
      };
    });
    const object: Pod = { ...pod, status: { ...pod.status, conditions } };
    return { type: 'updateStatus', id: RESOURCES.pods, object };
  });
}

function planEvictions(plan: Plan, board: BoardView): void {
  const { options, now } = plan;
  for (const pod of board.pods) {
    if (pod.metadata?.deletionTimestamp !== undefined) continue;
    const due = evictionDue(board, pod, options, plan.resumedAtMs);
    if (due === undefined || (due.byReadiness && plan.isHalted)) continue;
    const waitMs = due.atMs - now.monotonicMs;
    if (waitMs > 0) {
      plan.waits.push(waitMs);
    } else if (!due.byReadiness || isGranted(plan, nameOf(board.node))) {
      plan.actions.push(evict(pod, now));
    } else {
      plan.waits.push(options.evictionIntervalMs);
    }
  }
}

function isGranted({ limiter }: Plan, name: string): boolean {
  if (limiter.granted.has(name)) return true;
  if (limiter.tokens < 1) return false;
  limiter.tokens -= 1;
  limiter.granted.add(name);
  return true;
}

interface Due {
  readonly atMs: number;
  /** Because the board is not ready, rather than because of somebody's own taint. */
  readonly byReadiness: boolean;
}

/**
 * The earliest time at which one of the NoExecute taints drives the pod away; undefined for never.
 */
function evictionDue(
  board: BoardView,
  pod: Pod,
  options: LifecycleOptions,
  resumedAtMs: number,
): Due | undefined {
  let earliest: Due | undefined;
  const consider = (taint: Taint, sinceMs: number, byReadiness: boolean): void => {
    const fallbackMs = byReadiness ? options.defaultTolerationMs : 0;
    const stayMs = toleratedMs(pod, taint, fallbackMs);
    if (stayMs === undefined) return;
    const atMs = sinceMs + stayMs;
    if (earliest === undefined || atMs < earliest.atMs) earliest = { atMs, byReadiness };
  };
  const own = executeTaint(board.node);
  if (own !== undefined && board.notReadySinceMs !== undefined) {
    consider(own, Math.max(board.notReadySinceMs, resumedAtMs), true);
  }
  for (const taint of board.node.spec?.taints ?? []) {
    if (taint.effect !== 'NoExecute' || isOurTaint(taint)) continue;
    consider(taint, board.taintedSinceMs(taint), false);
  }
  return earliest;
}

/**
 * How long the pod may stay with the taint: undefined for ever, `fallbackMs` when it tolerates
 * nothing.
 */
function toleratedMs(pod: Pod, taint: Taint, fallbackMs: number): number | undefined {
  const matching = (pod.spec?.tolerations ?? []).filter((one) => tolerates(one, taint));
  if (matching.length === 0) return fallbackMs;
  const limits = matching.flatMap(({ tolerationSeconds }) =>
    tolerationSeconds === undefined ? [] : [Math.max(0, tolerationSeconds) * 1_000],
  );
  return limits.length === 0 ? undefined : Math.min(...limits);
}

function evict(pod: Pod, now: Now): Action {
  const { namespace, name, uid } = pod.metadata ?? {};
  const id = RESOURCES.pods;
  return {
    type: 'delete',
    id,
    namespace: namespace ?? '',
    name: name ?? '',
    uid: uid ?? '',
    announce: {
      regarding: { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata ?? {} },
      success: {
        reason: 'TaintManagerEviction',
        message: `Marking for deletion Pod ${namespace ?? ''}/{name}`,
      },
    },
    disruption: {
      reason: 'DeletionByTaintManager',
      message: 'Taint manager: deleting due to NoExecute taint',
      timestamp: now.timestamp,
    },
  };
}

function forceDelete(pod: Pod): Extract<Action, { type: 'delete' }> {
  return {
    type: 'delete',
    id: RESOURCES.pods,
    namespace: pod.metadata?.namespace ?? '',
    name: pod.metadata?.name ?? '',
    uid: pod.metadata?.uid ?? '',
    options: { gracePeriodSeconds: 0 },
  };
}

/** Somebody declared the board to be off: what ends there has ended. */
function outOfService({ node, pods, notReadySinceMs }: BoardView): Action[] {
  const isDeclared = node.spec?.taints?.some((taint) => taint.key === TAINT_OUT_OF_SERVICE);
  if (isDeclared !== true || notReadySinceMs === undefined) return [];
  return pods.filter((pod) => pod.metadata?.deletionTimestamp !== undefined).map(forceDelete);
}

function planOrphan(plan: Plan, { pod, sinceMs }: OrphanView): void {
  const waitMs = sinceMs + plan.options.orphanGraceMs - plan.now.monotonicMs;
  if (waitMs > 0) {
    plan.waits.push(waitMs);
    return;
  }
  const { timestamp } = plan.now;
  const message = 'PodGC: node no longer exists';
  const disruption = { reason: 'DeletionByPodGC', message, timestamp, hasFailed: true } as const;
  plan.actions.push({ ...forceDelete(pod), disruption });
}
