/**
 * Rebalancing, the half that knows of apps and budgets: whether this is a time for it at all, which pods may move, and what
 * to do with the scheduler's plan. Pure. Only pods that somebody makes anew, without data on their board, of apps that
 * are whole, and as their disruption budgets allow.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type {
  DaemonSet,
  Deployment,
  Node,
  Pod,
  ReplicaSet,
  ReplicationController,
  StatefulSet,
  Taint,
} from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import { type Budget, covers } from '../scheduler/preemption.ts';
import {
  isBeingFreed,
  type Mobility,
  REBALANCE_TAINT,
  type RebalancePlan,
} from '../scheduler/rebalance.ts';
import { readinessOf } from '../scheduler/taints.ts';
import type { Action } from './actions.ts';
import { controllerOf } from './pods.ts';

/** As cluster autoscalers know it: "false" keeps a pod where it is, "true" gives up its emptyDir and hostPath data. */
const SAFE_TO_EVICT = 'cluster-autoscaler.kubernetes.io/safe-to-evict';
/** Priorities of the system (Kubernetes: SystemCriticalPriority). */
const SYSTEM_PRIORITY = 2_000_000_000;

export interface ClusterApps {
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly deployments: readonly Deployment[];
  readonly daemonSets: readonly DaemonSet[];
  readonly statefulSets: readonly StatefulSet[];
  readonly replicaSets: readonly (ReplicaSet | ReplicationController)[];
  readonly budgets: readonly Budget[];
  /** The uid of the owner of the pod that was moved last. */
  readonly movedLast?: string | undefined;
}

/** What must be over before any pod is moved; undefined when the cluster is at rest. */
export function whatGoesOn(apps: ClusterApps): string | undefined {
  const nameOf = ({ metadata }: KubeObject): string =>
    `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
  const lost = apps.nodes.find((node) => readinessOf(node) !== 'True');
  if (lost !== undefined) return `board ${lost.metadata?.name ?? ''} is not ready`;
  const ending = apps.pods.find(({ metadata }) => metadata?.deletionTimestamp !== undefined);
  if (ending !== undefined) return `pod ${nameOf(ending)} is ending`;
  const deployment = apps.deployments.find(isRolling);
  if (deployment !== undefined) return `Deployment ${nameOf(deployment)} is being rolled out`;
  const daemonSet = apps.daemonSets.find(isSpreading);
  if (daemonSet !== undefined) return `DaemonSet ${nameOf(daemonSet)} is being rolled out`;
  const stepping = apps.statefulSets.find(isStepping);
  if (stepping !== undefined) return `StatefulSet ${nameOf(stepping)} is being rolled out`;
  const { movedLast } = apps;
  if (movedLast === undefined) return undefined;
  const moved = setsOf(apps).find(({ metadata }) => metadata?.uid === movedLast);
  if (moved === undefined || isWhole(moved)) return undefined;
  return `${nameOf(moved)}, of which a pod was moved, has not all its pods ready again`;
}

function setsOf({ replicaSets, statefulSets }: ClusterApps) {
  return [...replicaSets, ...statefulSets];
}

function isWhole({ spec, status }: ReplicaSet | ReplicationController | StatefulSet): boolean {
  return (status?.readyReplicas ?? 0) >= (spec?.replicas ?? 1);
}

function isRolling({ metadata, spec, status = {} }: Deployment): boolean {
  const updated = status.updatedReplicas ?? 0;
  return (
    (status.observedGeneration ?? 0) < (metadata?.generation ?? 0) ||
    updated < (spec?.replicas ?? 1) ||
    (status.replicas ?? 0) > updated
  );
}

function isSpreading({ spec, status }: DaemonSet): boolean {
  if (spec?.updateStrategy?.type === 'OnDelete') return false;
  return (status?.updatedNumberScheduled ?? 0) < (status?.desiredNumberScheduled ?? 0);
}

function isStepping({ spec, status }: StatefulSet): boolean {
  const { type, rollingUpdate } = spec?.updateStrategy ?? {};
  if (type === 'OnDelete' || (rollingUpdate?.partition ?? 0) > 0) return false;
  return status?.currentRevision !== status?.updateRevision;
}

/** Answers for any pod of the cluster. */
export function mobilityOf(apps: ClusterApps): (pod: Pod) => Mobility {
  const whole = new Set(
    setsOf(apps)
      .filter(isWhole)
      .map(({ metadata }) => metadata?.uid),
  );
  return (pod) => {
    const owner = controllerOf(pod);
    if (owner?.kind === 'DaemonSet') return 'of the board';
    const stays = whyItStays(pod, apps.budgets);
    if (stays !== undefined) return { stays };
    if (owner === undefined) return { stays: 'nobody would make it anew' };
    if (!['ReplicaSet', 'ReplicationController', 'StatefulSet'].includes(owner.kind)) {
      return { stays: `it belongs to a ${owner.kind}` };
    }
    return whole.has(owner.uid) ? 'moves' : { stays: 'not all pods of its app are ready' };
  };
}

function whyItStays({ metadata = {}, spec }: Pod, budgets: readonly Budget[]): string | undefined {
  const safe = metadata.annotations?.[SAFE_TO_EVICT];
  if (safe === 'false') return `the annotation ${SAFE_TO_EVICT} says so`;
  if ((spec?.priority ?? 0) >= SYSTEM_PRIORITY) return 'it belongs to the system';
  for (const { persistentVolumeClaim, hostPath, emptyDir, ephemeral } of spec?.volumes ?? []) {
    const isScratch = hostPath !== undefined || (emptyDir && emptyDir.medium !== 'Memory');
    if (persistentVolumeClaim || ephemeral || (isScratch && safe !== 'true')) {
      return 'its data is on the board';
    }
  }
  const { namespace = '', name = '', labels = {} } = metadata;
  const isHeld = budgets.some(
    (budget) => budget.disruptionsAllowed < 1 && covers(budget, { namespace, name, labels }),
  );
  return isHeld ? 'its disruption budget allows none' : undefined;
}

/** Takes the taint away from boards that are not (any more) the one that is being freed. */
export function cleanUp(nodes: readonly Node[], board: string): Action[] {
  return nodes
    .filter(({ metadata, spec }) => metadata?.name !== board && isBeingFreed(spec?.taints))
    .map((node) =>
      withTaints(
        node,
        node.spec?.taints?.filter((taint) => !isBeingFreed([taint])),
      ),
    );
}

/** The next step: the taint first, so that no pod comes back, then the first move. The plan is made anew after each. */
export function nextStep(
  { board, moves }: RebalancePlan,
  node: Node,
  pod: Pod | undefined,
): Action {
  const { taints = [] } = node.spec ?? {};
  if (!isBeingFreed(taints)) return withTaints(node, [...taints, REBALANCE_TAINT]);
  const { namespace = '', name = '', uid = '' } = pod?.metadata ?? {};
  const message = `Evicted so that board ${board} becomes free; there is room on ${moves[0]?.to}`;
  return {
    type: 'evict',
    namespace,
    name,
    uid,
    announce: {
      regarding: { apiVersion: 'v1', kind: 'Pod', metadata: pod?.metadata ?? {} },
      success: { reason: 'Rebalanced', message },
      failure: { reason: 'RebalanceFailed', message: 'Not evicted: {error}' },
    },
  };
}

/** Fails when somebody else changed the board meanwhile: taints are one list. */
function withTaints(node: Node, taints: readonly Taint[] = []): Action {
  const object: Node = { ...node, spec: { ...node.spec, taints: [...taints] } };
  return { type: 'update', id: RESOURCES.nodes, object };
}

export function proposal(plan: RebalancePlan, node: Node): Action {
  const { board, moves } = plan;
  const list = moves.map(({ pod, to }) => `${pod} to ${to}`).join(', ');
  return {
    type: 'event',
    regarding: { apiVersion: 'v1', kind: 'Node', metadata: node.metadata ?? {} },
    eventType: 'Normal',
    reason: 'RebalanceProposed',
    message: `Board ${board} would be free after these moves: ${list}`,
  };
}
