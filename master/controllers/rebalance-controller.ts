/** The rebalancer as the runner drives it: when it looks, at what, and how long it rests. Off unless asked for. */
import type { Pod } from '../../protocol/kinds/types.ts';
import type { RebalanceMode } from '../config.ts';
import type { SharedInformers } from '../informer/shared.ts';
import { budgetOf } from '../scheduler/preemption.ts';
import type { Mobility, RebalancePlan } from '../scheduler/rebalance.ts';
import { readinessOf } from '../scheduler/taints.ts';
import type { Action } from './actions.ts';
import { FirstSeen } from './observed-times.ts';
import { controllerOf } from './pods.ts';
import {
  type ClusterApps,
  cleanUp,
  mobilityOf,
  nextStep,
  proposal,
  whatGoesOn,
} from './rebalance.ts';
import { type Controller, watchOf } from './runner.ts';

/** Looks at the whole cluster are no more frequent than this, or than the moves where those are quicker. */
const LOOK_MS = 10_000;
const CLUSTER = 'cluster';

/** The scheduler: it knows where pods would go. */
export interface Planner {
  planRebalance(mobility: (pod: Pod) => Mobility): RebalancePlan;
}

export interface RebalanceLook {
  /** What must be over first; empty when nothing goes on. */
  readonly goesOn: string;
  readonly plan: RebalancePlan;
}

/** What could be done now. Changes nothing. */
export function lookForMoves(
  informers: SharedInformers,
  planner: Planner,
  movedLast?: string,
): RebalanceLook {
  const apps: ClusterApps = {
    nodes: informers.nodes.list(),
    pods: informers.pods.list(),
    deployments: informers.deployments.list(),
    daemonSets: informers.daemonSets.list(),
    statefulSets: informers.statefulSets.list(),
    replicaSets: [...informers.replicaSets.list(), ...informers.replicationControllers.list()],
    budgets: informers.podDisruptionBudgets.list().map(budgetOf),
    movedLast,
  };
  return { goesOn: whatGoesOn(apps) ?? '', plan: planner.planRebalance(mobilityOf(apps)) };
}

export interface RebalanceOptions {
  readonly planner: Planner;
  readonly mode: RebalanceMode;
  /** After a move, and after a board came or went: what follows from it has to show. */
  readonly pauseMs: number;
}

/** `off` only takes away what a master that was told to move left behind. */
export function rebalanceController(
  informers: SharedInformers,
  { planner, mode, pauseMs }: RebalanceOptions,
): Controller {
  const { nodes, pods } = informers;
  const seen = new FirstSeen();
  let nextLookMs = 0;
  let proposed = '';
  let movedLast: string | undefined;
  /** When a board last came, went, or changed its readiness. */
  const boardsSinceMs = (nowMs: number): number => {
    const list = nodes.list().map((node) => `${node.metadata?.uid} ${readinessOf(node)}`);
    return seen.since(CLUSTER, list.sort().join(), nowMs);
  };
  const watchNodes = watchOf(nodes, () => [CLUSTER]);
  // A pod that was placed may have a better place already; one that ended leaves room.
  const watchPods = watchOf(pods, ({ type, object }) =>
    type === 'deleted' || object.spec?.nodeName ? [CLUSTER] : [],
  );
  const watchBudgets = watchOf(informers.podDisruptionBudgets, () => [CLUSTER]);

  return {
    name: 'rebalancer',
    workers: 1,
    watches: mode === 'off' ? [watchNodes] : [watchNodes, watchPods, watchBudgets],
    reconcile(_key, { monotonicMs }): readonly Action[] {
      if (mode === 'off') return cleanUp(nodes.list(), '');
      const waitMs = Math.max(nextLookMs, boardsSinceMs(monotonicMs) + pauseMs) - monotonicMs;
      if (waitMs > 0) return [{ type: 'requeueAfter', delayMs: waitMs }];
      nextLookMs = monotonicMs + Math.min(LOOK_MS, pauseMs);
      const { goesOn, plan } = lookForMoves(informers, planner, movedLast);
      // Boards and pods wake this up when they change, the end of a rollout does not.
      if (goesOn !== '') return [{ type: 'requeueAfter', delayMs: pauseMs }];
      const node = nodes.get('', plan.board);
      if (mode === 'propose') {
        const last = proposed;
        proposed = JSON.stringify(plan.moves);
        const isNews = node !== undefined && proposed !== last;
        return [...cleanUp(nodes.list(), ''), ...(isNews ? [proposal(plan, node)] : [])];
      }
      const tidying = cleanUp(nodes.list(), plan.board);
      if (node === undefined) return tidying;
      const pod = pods.getByKey(plan.moves[0]?.pod ?? '');
      const step = nextStep(plan, node, pod);
      if (step.type === 'evict') {
        nextLookMs = monotonicMs + pauseMs;
        movedLast = pod === undefined ? undefined : controllerOf(pod)?.uid;
      }
      return [...tidying, step, { type: 'requeueAfter', delayMs: nextLookMs - monotonicMs }];
    },
  };
}
