/**
 * How a Job's pods went: who succeeded, who failed, who still runs. Pure.
 *
 * Each pod is counted once, also when it is deleted or the master restarts in between (Kubernetes: "Job tracking with
 * finalizers"): a pod keeps the finalizer until the Job's status knows of its end. First its uid goes into
 * `uncountedTerminatedPods`, then the finalizer goes, then the uid becomes a number. For an Indexed Job the set of
 * completed indexes is count enough.
 */

import type { Job, JobStatus, Pod } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { type FailurePolicyMatch, matchFailurePolicy } from './job-failure-policy.ts';
import { parseIndexes } from './job-indexes.ts';
import { isPodActive, isPodReady } from './pods.ts';

export const TRACKING_FINALIZER = 'batch.kubernetes.io/job-tracking';
export const COMPLETION_INDEX = 'batch.kubernetes.io/job-completion-index';

export interface JobTally {
  readonly succeeded: number;
  readonly failed: number;
  readonly completedIndexes: ReadonlySet<number>;
  /** What the status says while some of it is still to be counted. */
  readonly status: Pick<JobStatus, 'succeeded' | 'failed' | 'uncountedTerminatedPods'>;
  /** Pods whose end the status above tells: they may be let go. */
  readonly toRelease: readonly Pod[];
  readonly active: readonly Pod[];
  /** Deleted, and not yet at their end. */
  readonly terminating: readonly Pod[];
  readonly ready: number;
  /** The first failure that a rule of the podFailurePolicy says ends the Job. */
  readonly fatal: FailurePolicyMatch | undefined;
}

export function isTracked(pod: Pod): boolean {
  return pod.metadata?.finalizers?.includes(TRACKING_FINALIZER) === true;
}

export function isIndexed(job: Job): boolean {
  return job.spec?.completionMode === 'Indexed';
}

/** The pod's index; undefined when it has none, or one that the Job does not have. */
export function indexOf(pod: Pod, completions: number): number | undefined {
  const text = pod.metadata?.annotations?.[COMPLETION_INDEX] ?? '';
  const index = Number(text);
  return /^\d+$/.test(text) && index < completions ? index : undefined;
}

/**
 * Ended badly. A pod that is being deleted counts at once unless only pods that have failed are to be
 * replaced: one on a dead board might never tell of its end.
 */
function hasFailed(pod: Pod, job: Job): boolean {
  if (pod.status?.phase === 'Failed') return true;
  if (pod.metadata?.deletionTimestamp === undefined) return false;
  const isUnplaced = (pod.spec?.nodeName ?? '') === '';
  if (job.spec?.podReplacementPolicy === 'Failed' && !isUnplaced) return false;
  return pod.status?.phase !== 'Succeeded';
}

interface Counts {
  readonly uncounted: { readonly succeeded: Set<string>; readonly failed: Set<string> };
  readonly toRelease: Pod[];
  readonly indexes: Set<number>;
  fatal: FailurePolicyMatch | undefined;
}

export function tallyJob(job: Job, pods: readonly Pod[]): JobTally {
  const { status = {} } = job;
  const completions = job.spec?.completions ?? 0;
  const tracked = new Set(pods.filter(isTracked).map(({ metadata }) => metadata?.uid ?? ''));
  const before = status.uncountedTerminatedPods;
  // Without the finalizer (or gone): the number may say it now.
  const settle = (uids: readonly string[] = []): { rest: Set<string>; settled: number } => {
    const rest = new Set(uids.filter((uid) => tracked.has(uid)));
    return { rest, settled: uids.length - rest.size };
  };
  const succeeded = settle(before?.succeeded);
  const failed = settle(before?.failed);
  const counts: Counts = {
    uncounted: { succeeded: succeeded.rest, failed: failed.rest },
    toRelease: [],
    indexes: parseIndexes(status.completedIndexes, isIndexed(job) ? completions : 0),
    fatal: undefined,
  };
  for (const pod of pods) if (isTracked(pod)) countPod(job, pod, counts);
  const settledFailures = (status.failed ?? 0) + failed.settled;
  const settledSuccesses = isIndexed(job)
    ? counts.indexes.size
    : (status.succeeded ?? 0) + succeeded.settled;
  const active = pods.filter(isPodActive);
  return {
    succeeded: settledSuccesses + counts.uncounted.succeeded.size,
    failed: settledFailures + counts.uncounted.failed.size,
    completedIndexes: counts.indexes,
    status: {
      succeeded: settledSuccesses,
      failed: settledFailures,
      uncountedTerminatedPods: listsOf(counts.uncounted),
    },
    toRelease: counts.toRelease,
    active,
    terminating: pods.filter(
      (pod) => pod.metadata?.deletionTimestamp !== undefined && !hasEnded(pod.status),
    ),
    ready: active.filter(isPodReady).length,
    fatal: counts.fatal,
  };
}

function countPod(job: Job, pod: Pod, counts: Counts): void {
  const uid = pod.metadata?.uid ?? '';
  const { uncounted, toRelease, indexes } = counts;
  if (uncounted.succeeded.has(uid) || uncounted.failed.has(uid)) {
    toRelease.push(pod);
  } else if (pod.status?.phase === 'Succeeded') {
    if (isIndexed(job)) {
      const index = indexOf(pod, job.spec?.completions ?? 0);
      if (index !== undefined) indexes.add(index);
    } else {
      uncounted.succeeded.add(uid);
    }
    toRelease.push(pod);
  } else if (hasFailed(pod, job)) {
    const match = matchFailurePolicy(job.spec?.podFailurePolicy, pod);
    if (match?.action === 'FailJob') counts.fatal ??= match;
    if (match?.action !== 'Ignore') uncounted.failed.add(uid);
    toRelease.push(pod);
  }
}

function listsOf({ succeeded, failed }: Counts['uncounted']) {
  return {
    ...(succeeded.size === 0 ? {} : { succeeded: [...succeeded].sort() }),
    ...(failed.size === 0 ? {} : { failed: [...failed].sort() }),
  };
}
