/**
 * Deployment: one ReplicaSet per pod template, and a way from the old one to the new one. Pure.
 *
 * Promises: it never touches a ReplicaSet that another controller owns; at most one step is taken
 * per call, and each step keeps the bounds of deployment-rollout.ts. Source: Kubernetes'
 * documentation of Deployments.
 */

import type { Deployment, Pod, ReplicaSet } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action, Now } from './actions.ts';
import {
  markComplete,
  ROLLED_BACK_BECAUSE,
  ROLLED_BACK_TO,
  type RolloutSets,
  revisionAnnotations,
  rollbackOf,
  rollbackReason,
  rolledBack,
  WAS_COMPLETE,
} from './deployment-rollback.ts';
import {
  byRevision,
  DESIRED_REPLICAS,
  isScaling,
  limitsOf,
  MAX_REPLICAS,
  nextNewSize,
  REVISION,
  type Resize,
  revisionOf,
  rollingStep,
  scaleStep,
  sumWanted,
  wantedOf,
} from './deployment-rollout.ts';
import { deploymentStatus, isComplete, progressOf } from './deployment-status.ts';
import type { EventTarget } from './events.ts';
import { claim, ownerReferenceTo } from './ownership.ts';
import { canonicalJson, POD_TEMPLATE_HASH, sameTemplate, templateHash } from './pod-template.ts';
import { controllerOf } from './pods.ts';
import { withStatus } from './replicaset.ts';

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
/** Annotations that belong to one object and are not handed down from Deployment to ReplicaSet. */
const OWN_ANNOTATIONS: ReadonlySet<string> = new Set([
  LAST_APPLIED,
  REVISION,
  'deployment.kubernetes.io/revision-history',
  DESIRED_REPLICAS,
  MAX_REPLICAS,
  'deprecated.deployment.rollback.to',
  WAS_COMPLETE,
  ROLLED_BACK_TO,
  ROLLED_BACK_BECAUSE,
]);

interface DeploymentView {
  readonly deployment: Deployment;
  /** All ReplicaSets of the namespace, or at least those that it owns or that match. */
  readonly replicaSets: readonly ReplicaSet[];
  /** Pods of its ReplicaSets, ending ones included: Recreate waits until the old ones are gone. */
  readonly pods: readonly Pod[];
  /** Monotonic time since which the Progressing condition is as it is. */
  readonly progressSinceMs: number;
}

export function reconcileDeployment(view: DeploymentView, now: Now): Action[] {
  const { deployment } = view;
  if (deployment.metadata?.deletionTimestamp !== undefined) return [];
  if (selectsEverything(deployment)) {
    return [
      {
        type: 'event',
        regarding: targetOf(deployment),
        eventType: 'Warning',
        reason: 'SelectingAll',
        message: 'This deployment is selecting all pods. A non-empty selector is required.',
      },
    ];
  }
  const { owned, actions } = claim({
    owner: targetOf(deployment),
    selector: deployment.spec?.selector,
    id: RESOURCES.replicaSets,
    candidates: view.replicaSets,
    mayAdopt: (one) => one.metadata?.deletionTimestamp === undefined,
  });
  const sets = splitSets(deployment, owned);
  actions.push(...markComplete(deployment, sets));
  const rollback = rollbackOf(deployment, sets);
  if (rollback.type === 'back') {
    const because = rollbackReason(deployment, rollback);
    const back = rolledBack(deployment, rollback, because);
    return [...actions, back, rollbackEvent(deployment, 'DeploymentRollback', because)];
  }
  const step = nextStep(view, sets);
  actions.push(...step.actions);
  const { status, deadlineInMs } = deploymentStatus(
    {
      deployment,
      ...sets,
      progressSinceMs: view.progressSinceMs,
      collisionCount: step.collisionCount ?? deployment.status?.collisionCount,
      ...(step.creating === undefined ? {} : { creating: step.creating }),
    },
    now,
  );
  if (isComplete(deployment, status)) actions.push(...dropHistory(deployment, sets.oldSets));
  if (canonicalJson(status) !== canonicalJson(deployment.status ?? {})) {
    const object = withStatus(deployment, status);
    actions.push({ type: 'updateStatus', id: RESOURCES.deployments, object });
    const isNews = progressOf(object)?.reason !== progressOf(deployment)?.reason;
    if (isNews && rollbackOf(object, sets).type === 'nowhere') {
      const message = 'No other revision was ever complete: there is nothing to roll back to';
      actions.push(rollbackEvent(deployment, 'DeploymentRollbackRevisionNotFound', message));
    }
  }
  if (deadlineInMs !== undefined) actions.push({ type: 'requeueAfter', delayMs: deadlineInMs });
  return actions;
}

function selectsEverything(deployment: Deployment): boolean {
  const { matchLabels, matchExpressions } = deployment.spec?.selector ?? {};
  return Object.keys(matchLabels ?? {}).length === 0 && (matchExpressions ?? []).length === 0;
}

function targetOf(deployment: Deployment): EventTarget {
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: deployment.metadata ?? {} };
}

function splitSets(deployment: Deployment, owned: readonly ReplicaSet[]): RolloutSets {
  // Of several with the same template the oldest is the current one, as in Kubernetes.
  const [newSet] = owned
    .filter((one) => sameTemplate(one.spec?.template, deployment.spec?.template))
    .sort(byRevision);
  return { newSet, oldSets: owned.filter((one) => one !== newSet) };
}

interface Step {
  readonly actions: Action[];
  readonly creating?: string;
  readonly collisionCount?: number;
}

function nextStep(view: DeploymentView, sets: RolloutSets): Step {
  const { deployment } = view;
  const { newSet, oldSets } = sets;
  const all = newSet === undefined ? oldSets : [...oldSets, newSet];
  const isPaused = deployment.spec?.paused === true;
  if (isPaused || isScaling(deployment, all)) {
    const actions = resizes(deployment, scaleStep(deployment, newSet, oldSets));
    if (isPaused || actions.length > 0) return { actions };
  }
  const isRecreate = deployment.spec?.strategy?.type === 'Recreate';
  if (isRecreate) {
    const shrink = oldSets
      .filter((one) => wantedOf(one) > 0)
      .map((replicaSet) => ({ replicaSet, replicas: 0 }));
    if (shrink.length > 0) return { actions: resizes(deployment, shrink) };
    if (oldSets.some(mayHavePods) || hasOldPods(view, newSet)) return { actions: [] };
  }
  if (newSet === undefined) return createNewSet(view, oldSets);
  const actions = syncRevision(deployment, newSet, oldSets);
  const { replicas } = limitsOf(deployment);
  const step = isRecreate
    ? [{ replicaSet: newSet, replicas }]
    : rollingStep(limitsOf(deployment), newSet, oldSets);
  actions.push(...resizes(deployment, step));
  return { actions };
}

/** As Kubernetes' controller asks its status; and one that has not heard of its size yet may be making pods right now. */
function mayHavePods({ metadata, status }: ReplicaSet): boolean {
  const hasHeard = (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0);
  return !hasHeard || (status?.replicas ?? 0) > 0;
}

function hasOldPods(view: DeploymentView, newSet: ReplicaSet | undefined): boolean {
  return view.pods.some((pod) => {
    return !hasEnded(pod.status) && controllerOf(pod)?.uid !== newSet?.metadata?.uid;
  });
}

function createNewSet(view: DeploymentView, oldSets: readonly ReplicaSet[]): Step {
  const { deployment } = view;
  const template = deployment.spec?.template ?? {};
  const collisions = deployment.status?.collisionCount ?? 0;
  const hash = templateHash(template, collisions);
  const name = `${deployment.metadata?.name ?? ''}-${hash}`;
  if (view.replicaSets.some((one) => one.metadata?.name === name)) {
    // Somebody else's, or of another template: the next hash makes another name.
    return { actions: [], collisionCount: collisions + 1 };
  }
  const limits = limitsOf(deployment);
  const replicas = nextNewSize(limits, 0, sumWanted(oldSets));
  const revision = String(Math.max(0, ...oldSets.map(revisionOf)) + 1);
  const labels = { ...template.metadata?.labels, [POD_TEMPLATE_HASH]: hash };
  const selector = deployment.spec?.selector;
  const object: ReplicaSet = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name,
      namespace: deployment.metadata?.namespace ?? '',
      labels,
      annotations: {
        ...inheritedAnnotations(deployment),
        ...sizeAnnotations(deployment),
        [REVISION]: revision,
      },
      ownerReferences: [ownerReferenceTo(targetOf(deployment))],
    },
    spec: {
      replicas,
      minReadySeconds: deployment.spec?.minReadySeconds ?? 0,
      selector: {
        ...selector,
        matchLabels: { ...selector?.matchLabels, [POD_TEMPLATE_HASH]: hash },
      },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
  const actions: Action[] = [{ type: 'create', id: RESOURCES.replicaSets, object }];
  if (replicas > 0) actions.push(scalingEvent(deployment, name, 0, replicas));
  actions.push(...syncDeploymentRevision(deployment, revision));
  return { actions, creating: name };
}

function inheritedAnnotations(deployment: Deployment): Record<string, string> {
  const annotations: Record<string, string> = {};
  for (const [key, value] of Object.entries(deployment.metadata?.annotations ?? {})) {
    if (!OWN_ANNOTATIONS.has(key)) annotations[key] = value;
  }
  return annotations;
}

function sizeAnnotations(deployment: Deployment): Record<string, string> {
  const { replicas, maxSurge } = limitsOf(deployment);
  return { [DESIRED_REPLICAS]: String(replicas), [MAX_REPLICAS]: String(replicas + maxSurge) };
}

/** The current ReplicaSet bears the highest revision (after a rollback it gets a new one). */
function syncRevision(
  deployment: Deployment,
  newSet: ReplicaSet,
  oldSets: readonly ReplicaSet[],
): Action[] {
  const newest = Math.max(0, ...oldSets.map(revisionOf));
  const revision = revisionOf(newSet) > newest ? revisionOf(newSet) : newest + 1;
  const annotations: Record<string, string> = {
    ...inheritedAnnotations(deployment),
    ...revisionAnnotations(deployment, newSet, String(revision)),
  };
  const known = newSet.metadata?.annotations ?? {};
  const isSame = Object.entries(annotations).every(([key, value]) => known[key] === value);
  const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
  const actions: Action[] = [];
  if (!isSame || (newSet.spec?.minReadySeconds ?? 0) !== minReadySeconds) {
    actions.push(patchSet(newSet, { metadata: { annotations }, spec: { minReadySeconds } }));
  }
  actions.push(...syncDeploymentRevision(deployment, String(revision)));
  return actions;
}

function syncDeploymentRevision(deployment: Deployment, revision: string): Action[] {
  if (deployment.metadata?.annotations?.[REVISION] === revision) return [];
  return [
    {
      type: 'patch',
      id: RESOURCES.deployments,
      namespace: deployment.metadata?.namespace ?? '',
      name: deployment.metadata?.name ?? '',
      mergePatch: { metadata: { annotations: { [REVISION]: revision } } },
    },
  ];
}

function patchSet(replicaSet: ReplicaSet, mergePatch: Record<string, unknown>): Action {
  return {
    type: 'patch',
    id: RESOURCES.replicaSets,
    namespace: replicaSet.metadata?.namespace ?? '',
    name: replicaSet.metadata?.name ?? '',
    mergePatch,
  };
}

function resizes(deployment: Deployment, steps: readonly Resize[]): Action[] {
  const annotations = sizeAnnotations(deployment);
  const actions: Action[] = [];
  for (const { replicaSet, replicas } of steps) {
    const known = replicaSet.metadata?.annotations ?? {};
    const isAnnotated = Object.entries(annotations).every(([key, value]) => known[key] === value);
    const before = wantedOf(replicaSet);
    if (before === replicas && isAnnotated) continue;
    actions.push(patchSet(replicaSet, { metadata: { annotations }, spec: { replicas } }));
    const name = replicaSet.metadata?.name ?? '';
    if (before !== replicas) actions.push(scalingEvent(deployment, name, before, replicas));
  }
  return actions;
}

function rollbackEvent(deployment: Deployment, reason: string, message: string): Action {
  return { type: 'event', regarding: targetOf(deployment), eventType: 'Warning', reason, message };
}

function scalingEvent(deployment: Deployment, name: string, from: number, to: number): Action {
  return {
    type: 'event',
    regarding: targetOf(deployment),
    eventType: 'Normal',
    reason: 'ScalingReplicaSet',
    message: `Scaled ${to > from ? 'up' : 'down'} replica set ${name} from ${from} to ${to}`,
  };
}

/** Deletes the oldest empty ReplicaSets beyond revisionHistoryLimit. */
function dropHistory(deployment: Deployment, oldSets: readonly ReplicaSet[]): Action[] {
  const limit = deployment.spec?.revisionHistoryLimit ?? 10;
  const empty = oldSets
    .filter(
      (one) =>
        wantedOf(one) === 0 &&
        (one.status?.replicas ?? 0) === 0 &&
        (one.metadata?.generation ?? 0) <= (one.status?.observedGeneration ?? 0) &&
        one.metadata?.deletionTimestamp === undefined,
    )
    .sort(byRevision);
  return empty.slice(0, Math.max(0, empty.length - limit)).map((one) => ({
    type: 'delete',
    id: RESOURCES.replicaSets,
    namespace: one.metadata?.namespace ?? '',
    name: one.metadata?.name ?? '',
    uid: one.metadata?.uid ?? '',
    options: { propagationPolicy: 'Background' },
  }));
}
