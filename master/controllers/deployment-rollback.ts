/**
 * Automatic rollback of a Deployment that asks for it (annotation `pier.local/auto-rollback: "true"`): when its newest revision
 * misses the progress deadline, the template goes back to the last revision that was complete. Pure.
 *
 * Promises: once per failed revision, and never from a revision that a rollback led to, so that two broken revisions do
 * not take turns; nothing while the Deployment is paused; nothing from the condition of another revision. It decides by
 * what is stored and not by what was just seen, so that a master that dies in between does neither more nor less.
 */
import type { Deployment, ReplicaSet } from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import { AUTO_ROLLBACK } from '../api/kinds/validate/deployment.ts';
import type { Action } from './actions.ts';
import { REVISION, revisionOf } from './deployment-rollout.ts';
import { type ProgressReason, progressOf } from './deployment-status.ts';
import { withoutHash } from './pod-template.ts';

/** On a ReplicaSet of such a Deployment: its rollout was complete once. */
export const WAS_COMPLETE = 'pier.local/was-complete';
/** On a Deployment: the ReplicaSet and the revision that the last automatic rollback led to ("web-x revision 3"), and why. */
export const ROLLED_BACK_TO = 'pier.local/rolled-back-to';
export const ROLLED_BACK_BECAUSE = 'pier.local/rolled-back-because';
/** What `kubectl rollout history` shows beside a revision. */
const CHANGE_CAUSE = 'kubernetes.io/change-cause';

/** Its ReplicaSets by role: the one of the current template, and all others. */
export interface RolloutSets {
  readonly newSet: ReplicaSet | undefined;
  readonly oldSets: readonly ReplicaSet[];
}

type Rollback =
  | { readonly type: 'none' }
  /** It should go back, but no other revision was ever complete. */
  | { readonly type: 'nowhere' }
  | { readonly type: 'back'; readonly from: ReplicaSet; readonly to: ReplicaSet };

function place(replicaSet: ReplicaSet, revision: number | string): string {
  return `${replicaSet.metadata?.name} revision ${revision}`;
}

function isAskedFor(deployment: Deployment): boolean {
  return deployment.metadata?.annotations?.[AUTO_ROLLBACK] === 'true';
}

/** The ReplicaSet that the stored Progressing condition speaks of, if it has this reason. */
function subject(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  reason: ProgressReason,
): ReplicaSet | undefined {
  const progress = progressOf(deployment);
  if (progress?.reason !== reason) return undefined;
  return sets.find(({ metadata }) => metadata?.name === progress.replicaSet);
}

/** Whether the stored state of a Deployment asks for a rollback, and where to. */
export function rollbackOf(deployment: Deployment, { newSet, oldSets }: RolloutSets): Rollback {
  if (!isAskedFor(deployment) || deployment.spec?.paused === true || newSet === undefined) {
    return { type: 'none' };
  }
  const failed = subject(deployment, [newSet], 'ProgressDeadlineExceeded');
  const ledTo = deployment.metadata?.annotations?.[ROLLED_BACK_TO];
  if (failed === undefined || ledTo === place(failed, revisionOf(failed))) return { type: 'none' };
  const [to] = oldSets
    .filter(({ metadata }) => metadata?.annotations?.[WAS_COMPLETE] === 'true')
    .filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
    .sort((a, b) => revisionOf(b) - revisionOf(a));
  return to === undefined ? { type: 'nowhere' } : { type: 'back', from: failed, to };
}

/** The Deployment with the template of `to`. What was said about the failed revision does not hold for it. */
export function rolledBack(
  deployment: Deployment,
  { from, to }: { readonly from: ReplicaSet; readonly to: ReplicaSet },
  because: string,
): Action {
  const { [CHANGE_CAUSE]: _ofTheFailed, ...annotations } = deployment.metadata?.annotations ?? {};
  return {
    type: 'update',
    id: RESOURCES.deployments,
    object: {
      ...deployment,
      metadata: {
        ...deployment.metadata,
        annotations: {
          ...annotations,
          [ROLLED_BACK_TO]: place(to, revisionOf(from) + 1),
          [ROLLED_BACK_BECAUSE]: because,
        },
      },
      ...{ spec: { ...deployment.spec, template: withoutHash(to.spec?.template) } },
    },
  };
}

/** In words, for the event and the history. */
export function rollbackReason(
  deployment: Deployment,
  { from, to }: { readonly from: ReplicaSet; readonly to: ReplicaSet },
): string {
  const deadlineSeconds = deployment.spec?.progressDeadlineSeconds;
  return (
    `Rolled back to revision ${revisionOf(to)} automatically: ` +
    `revision ${revisionOf(from)} exceeded its progress deadline of ${deadlineSeconds} s`
  );
}

/** Marks the ReplicaSet whose rollout is complete, so that there is something to go back to. */
export function markComplete(deployment: Deployment, { newSet, oldSets }: RolloutSets): Action[] {
  if (!isAskedFor(deployment)) return [];
  const all = newSet === undefined ? oldSets : [newSet, ...oldSets];
  const complete = subject(deployment, all, 'NewReplicaSetAvailable');
  const { namespace = '', name = '', annotations = {} } = complete?.metadata ?? {};
  if (complete === undefined || annotations[WAS_COMPLETE] === 'true') return [];
  return [
    {
      type: 'patch',
      id: RESOURCES.replicaSets,
      namespace,
      name,
      mergePatch: { metadata: { annotations: { [WAS_COMPLETE]: 'true' } } },
    },
  ];
}

/** The revision that a rollback led to says so in the history. */
export function revisionAnnotations(
  deployment: Deployment,
  replicaSet: ReplicaSet,
  revision: string,
): Record<string, string> {
  const { [ROLLED_BACK_TO]: ledTo, [ROLLED_BACK_BECAUSE]: because } =
    deployment.metadata?.annotations ?? {};
  const isIt = ledTo === place(replicaSet, revision) && because !== undefined;
  return { [REVISION]: revision, ...(isIt ? { [CHANGE_CAUSE]: because } : {}) };
}
