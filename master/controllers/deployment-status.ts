/**
 * The status of a Deployment: counts and conditions with Kubernetes' reasons, which `kubectl
 * rollout status`, Helm and others read. Pure. The progress deadline is measured by the master's
 * monotonic clock (`progressSinceMs`); the timestamps in the conditions are for people.
 */
import type {
  Deployment,
  DeploymentCondition,
  DeploymentStatus,
  ReplicaSet,
} from '../../protocol/kinds/types.ts';
import type { Now } from './actions.ts';
import { limitsOf, sumAvailable, sumWanted } from './deployment-rollout.ts';

/** Kubernetes: a deadline of MaxInt32 seconds means none. */
const NO_DEADLINE = 2_147_483_647;

interface StatusInput {
  readonly deployment: Deployment;
  readonly newSet: ReplicaSet | undefined;
  readonly oldSets: readonly ReplicaSet[];
  /** Monotonic time since which the stored Progressing condition is as it is. */
  readonly progressSinceMs: number;
  /** The name of a ReplicaSet that this very reconciliation makes. */
  readonly creating?: string;
  readonly collisionCount: number | undefined;
}

interface StatusOutput {
  readonly status: DeploymentStatus;
  /** When to look again for the progress deadline. */
  readonly deadlineInMs: number | undefined;
}

type Counts = Required<
  Pick<
    DeploymentStatus,
    'replicas' | 'updatedReplicas' | 'readyReplicas' | 'availableReplicas' | 'unavailableReplicas'
  >
>;

function countsOf({ newSet, oldSets }: StatusInput): Counts {
  const all = newSet === undefined ? [...oldSets] : [...oldSets, newSet];
  const availableReplicas = sumAvailable(all);
  return {
    replicas: all.reduce((sum, one) => sum + (one.status?.replicas ?? 0), 0),
    updatedReplicas: newSet?.status?.replicas ?? 0,
    readyReplicas: all.reduce((sum, one) => sum + (one.status?.readyReplicas ?? 0), 0),
    availableReplicas,
    unavailableReplicas: Math.max(0, sumWanted(all) - availableReplicas),
  };
}

/** Everything wanted is updated and available, and nothing old is left. */
export function isComplete(deployment: Deployment, counts: DeploymentStatus): boolean {
  const wanted = deployment.spec?.replicas ?? 1;
  return (
    counts.updatedReplicas === wanted &&
    counts.replicas === wanted &&
    counts.availableReplicas === wanted
  );
}

function hasProgressed(before: DeploymentStatus | undefined, after: Counts): boolean {
  const was = (field: keyof Counts): number => before?.[field] ?? 0;
  return (
    after.updatedReplicas > was('updatedReplicas') ||
    after.replicas - after.updatedReplicas < was('replicas') - was('updatedReplicas') ||
    after.readyReplicas > was('readyReplicas') ||
    after.availableReplicas > was('availableReplicas')
  );
}

export function deploymentStatus(input: StatusInput, now: Now): StatusOutput {
  const { deployment, collisionCount } = input;
  const counts = countsOf(input);
  const generation = deployment.metadata?.generation;
  const progress = progressing(input, counts, now);
  const conditions = [
    availability(deployment, counts, now),
    ...(progress.condition === undefined ? [] : [progress.condition]),
    ...replicaFailure(input),
  ];
  return {
    status: {
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      ...counts,
      conditions,
      ...(collisionCount === undefined ? {} : { collisionCount }),
    },
    deadlineInMs: progress.deadlineInMs,
  };
}

/** Reasons of the Progressing condition that say that a rollout has ended, well or not. */
export type ProgressReason = 'NewReplicaSetAvailable' | 'ProgressDeadlineExceeded';

/** What the stored Progressing condition says, and of which ReplicaSet; its message is from here, as Kubernetes words it. */
export function progressOf(
  deployment: Deployment,
): { readonly reason: string; readonly replicaSet: string } | undefined {
  const { reason, message } = conditionOf(deployment, 'Progressing') ?? {};
  const replicaSet = /^ReplicaSet "([^"]+)" /.exec(message ?? '')?.[1];
  return reason === undefined || replicaSet === undefined ? undefined : { reason, replicaSet };
}

function conditionOf(deployment: Deployment, type: string): DeploymentCondition | undefined {
  return deployment.status?.conditions?.find((condition) => condition.type === type);
}

/** Keeps the old condition when status and reason are the same, else starts a new one. */
function condition(
  known: DeploymentCondition | undefined,
  next: { type: string; status: string; reason: string; message: string },
  now: Now,
): DeploymentCondition {
  if (known?.status === next.status && known.reason === next.reason) return known;
  return {
    type: next.type,
    status: next.status,
    lastUpdateTime: now.timestamp,
    lastTransitionTime:
      known?.status === next.status && known.lastTransitionTime !== undefined
        ? known.lastTransitionTime
        : now.timestamp,
    reason: next.reason,
    message: next.message,
  };
}

function availability(deployment: Deployment, counts: Counts, now: Now): DeploymentCondition {
  const { replicas, maxUnavailable } = limitsOf(deployment);
  const isAvailable = counts.availableReplicas >= replicas - maxUnavailable;
  return condition(
    conditionOf(deployment, 'Available'),
    isAvailable
      ? {
          type: 'Available',
          status: 'True',
          reason: 'MinimumReplicasAvailable',
          message: 'Deployment has minimum availability.',
        }
      : {
          type: 'Available',
          status: 'False',
          reason: 'MinimumReplicasUnavailable',
          message: 'Deployment does not have minimum availability.',
        },
    now,
  );
}

interface Progress {
  readonly condition: DeploymentCondition | undefined;
  readonly deadlineInMs: number | undefined;
}

function progressing(input: StatusInput, counts: Counts, now: Now): Progress {
  const { deployment, newSet, creating } = input;
  const known = conditionOf(deployment, 'Progressing');
  const deadlineSeconds = deployment.spec?.progressDeadlineSeconds ?? NO_DEADLINE;
  const settled = (next: DeploymentCondition | undefined): Progress => ({
    condition: next,
    deadlineInMs: undefined,
  });
  if (deadlineSeconds === NO_DEADLINE) return settled(undefined);
  const make = (status: string, reason: string, message: string): DeploymentCondition =>
    condition(known, { type: 'Progressing', status, reason, message }, now);
  if (deployment.spec?.paused === true) {
    if (known?.reason === 'ProgressDeadlineExceeded') return settled(known);
    return settled(make('Unknown', 'DeploymentPaused', 'Deployment is paused'));
  }
  const deadlineMs = deadlineSeconds * 1_000;
  const restarted = (next: DeploymentCondition): Progress => ({
    condition: next,
    deadlineInMs: deadlineMs,
  });
  if (known?.reason === 'DeploymentPaused') {
    return restarted(make('Unknown', 'DeploymentResumed', 'Deployment is resumed'));
  }
  const name = creating ?? newSet?.metadata?.name ?? '';
  if (creating !== undefined) {
    return restarted(make('True', 'NewReplicaSetCreated', `Created new replica set "${name}"`));
  }
  if (newSet === undefined) return settled(known);
  const wasComplete =
    known?.reason === 'NewReplicaSetAvailable' && counts.replicas === counts.updatedReplicas;
  if (wasComplete) return settled(known);
  if (isComplete(deployment, counts)) {
    const message = `ReplicaSet "${name}" has successfully progressed.`;
    return settled(make('True', 'NewReplicaSetAvailable', message));
  }
  if (hasProgressed(deployment.status, counts)) {
    const next = make('True', 'ReplicaSetUpdated', `ReplicaSet "${name}" is progressing.`);
    // Progress starts the deadline anew, also when status and reason stay.
    return restarted({ ...next, lastUpdateTime: now.timestamp });
  }
  return overdue(input, known, deadlineMs, name, now);
}

function overdue(
  input: StatusInput,
  known: DeploymentCondition | undefined,
  deadlineMs: number,
  name: string,
  now: Now,
): Progress {
  if (known === undefined) {
    const message = `Found new replica set "${name}"`;
    const found = { type: 'Progressing', status: 'True', reason: 'FoundNewReplicaSet', message };
    return { condition: condition(undefined, found, now), deadlineInMs: deadlineMs };
  }
  const isSettled =
    known.reason === 'NewReplicaSetAvailable' || known.reason === 'ProgressDeadlineExceeded';
  if (isSettled) return { condition: known, deadlineInMs: undefined };
  const leftMs = input.progressSinceMs + deadlineMs - now.monotonicMs;
  if (leftMs > 0) return { condition: known, deadlineInMs: leftMs };
  const message = `ReplicaSet "${name}" has timed out progressing.`;
  const reason = 'ProgressDeadlineExceeded';
  const next = { type: 'Progressing', status: 'False', reason, message };
  return { condition: condition(known, next, now), deadlineInMs: undefined };
}

/** A ReplicaSet that cannot make pods says so in its status; the Deployment passes it on. */
function replicaFailure({ newSet, oldSets }: StatusInput): DeploymentCondition[] {
  for (const one of newSet === undefined ? oldSets : [newSet, ...oldSets]) {
    const found = one.status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
    if (found === undefined) continue;
    const since = found.lastTransitionTime;
    return [
      {
        type: 'ReplicaFailure',
        status: found.status,
        ...(since === undefined ? {} : { lastUpdateTime: since, lastTransitionTime: since }),
        reason: found.reason ?? '',
        message: found.message ?? '',
      },
    ];
  }
  return [];
}
