/**
 * Job: makes pods until so many have succeeded, or gives up. Pure.
 *
 * Promises: no pod is counted twice or forgotten (job-tally.ts); never more than `parallelism` pods at a time; after a
 * failure the next pod waits 10 s, 20 s, ... 10 min; the Job is called Complete or Failed only when its last pod has
 * ended. Deadlines run by the master's monotonic clock: after its restart they begin anew, so a Job may get longer
 * than it asked for, never less. Source: Kubernetes' documentation of Jobs.
 */
import type { Job, JobCondition, JobStatus, Pod } from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action, Now } from './actions.ts';
import { formatIndexes } from './job-indexes.ts';
import { createPods, dismiss, firstToGo, release, superfluous, targetOf } from './job-pods.ts';
import { indexOf, isIndexed, type JobTally, TRACKING_FINALIZER, tallyJob } from './job-tally.ts';
import { claim, deletePod } from './ownership.ts';
import { canonicalJson } from './pod-template.ts';
import { isPodActive, type PodTimes } from './pods.ts';

/** Kubernetes' words for the controller in `spec.managedBy`. */
const OUR_NAME = 'kubernetes.io/job-controller';

export interface JobView {
  readonly job: Job;
  /** All pods of the namespace, or at least those that it owns or that its selector matches. */
  readonly pods: readonly Pod[];
  readonly times: PodTimes;
  /** Monotonic time at which this master first saw the Job started; of a finished one, finished. */
  readonly sinceMs: number;
  /** Monotonic time before which no new pod is made, when pods have failed of late. */
  readonly retryAtMs: (tally: Pick<JobTally, 'succeeded' | 'failed'>) => number;
  /** Why the last attempt failed, if it did. */
  readonly lastFailure: string | undefined;
}

export function reconcileJob(view: JobView, now: Now): Action[] {
  const { job } = view;
  const { managedBy = OUR_NAME } = job.spec ?? {};
  if (managedBy !== OUR_NAME) return [];
  const { owned, actions } = claim({
    owner: targetOf(job),
    selector: job.spec?.selector,
    id: RESOURCES.pods,
    candidates: view.pods,
    mayAdopt: isPodActive,
    finalizer: TRACKING_FINALIZER,
  });
  if (isFinished(job)) return [...owned.flatMap(release), ...expire(view, now)];
  if (job.metadata?.deletionTimestamp !== undefined) return owned.flatMap(release);
  return [...actions, ...advance(view, tallyJob(job, owned), now)];
}

/** Pods of a Job that is gone: nobody else would let them go. */
export function releaseOrphans(pods: readonly Pod[]): Action[] {
  return pods.flatMap(release);
}

function conditionOf(job: Job, type: string): JobCondition | undefined {
  return job.status?.conditions?.find((one) => one.type === type && one.status === 'True');
}

export function isFinished(job: Job): boolean {
  return conditionOf(job, 'Complete') !== undefined || conditionOf(job, 'Failed') !== undefined;
}

/** ttlSecondsAfterFinished. */
function expire({ job, sinceMs }: JobView, now: Now): Action[] {
  const ttl = job.spec?.ttlSecondsAfterFinished;
  if (ttl === undefined || job.metadata?.deletionTimestamp !== undefined) return [];
  const delayMs = sinceMs + ttl * 1_000 - now.monotonicMs;
  if (delayMs > 0) return [{ type: 'requeueAfter', delayMs }];
  const { namespace = '', name = '', uid = '' } = job.metadata ?? {};
  const options = { propagationPolicy: 'Foreground' } as const;
  return [{ type: 'delete', id: RESOURCES.jobs, namespace, name, uid, options }];
}

/** How the Job will end, once its last pod has ended. */
interface Verdict {
  readonly type: 'SuccessCriteriaMet' | 'FailureTarget';
  readonly reason: string;
  readonly message: string;
}

interface PodWork {
  /** In the order in which they are carried out, after the status was written. */
  readonly actions: readonly Action[];
  readonly active: number;
  readonly delayMs?: number;
}

function advance(view: JobView, tally: JobTally, now: Now): Action[] {
  const { job } = view;
  const isSuspended = job.spec?.suspend === true;
  const verdict = verdictOf(view, tally, now);
  const work = verdict === undefined ? adjustPods(view, tally, now) : endPods(job, tally, verdict);
  const isOver =
    verdict !== undefined &&
    tally.active.length === 0 &&
    tally.terminating.length === 0 &&
    tally.toRelease.length === 0;
  const status = statusOf(view, tally, now, { verdict, isOver, active: work.active });
  const actions: Action[] = [];
  if (canonicalJson(status) !== canonicalJson(job.status ?? {})) {
    // With its resourceVersion: what was counted on an old copy must not be written.
    const object: Job = { ...job, status };
    actions.push({
      type: 'updateStatus',
      id: RESOURCES.jobs,
      object,
      ...(view.lastFailure === undefined ? {} : { evenAfterFailure: true }),
    });
  }
  actions.push(...tally.toRelease.flatMap(release), ...work.actions);
  if (isOver) actions.push(endEvent(job, verdict));
  else if (verdict === undefined) actions.push(...suspendEvent(job, isSuspended));
  const waits = [work.delayMs, deadlineMs(view, now)].filter((ms) => ms !== undefined && ms > 0);
  for (const delayMs of waits)
    if (delayMs !== undefined) actions.push({ type: 'requeueAfter', delayMs });
  return actions;
}

/** Milliseconds until activeDeadlineSeconds is over; undefined when there is none, or nothing runs. */
function deadlineMs({ job, sinceMs }: JobView, now: Now): number | undefined {
  const { activeDeadlineSeconds, suspend } = job.spec ?? {};
  if (activeDeadlineSeconds === undefined || suspend === true) return undefined;
  if (job.status?.startTime === undefined) return activeDeadlineSeconds * 1_000;
  return sinceMs + activeDeadlineSeconds * 1_000 - now.monotonicMs;
}

function verdictOf(view: JobView, tally: JobTally, now: Now): Verdict | undefined {
  const { job } = view;
  for (const type of ['FailureTarget', 'SuccessCriteriaMet'] as const) {
    const found = conditionOf(job, type);
    if (found !== undefined) {
      return { type, reason: found.reason ?? '', message: found.message ?? '' };
    }
  }
  const failed = (reason: string, message: string): Verdict => ({
    type: 'FailureTarget',
    reason,
    message,
  });
  if (tally.fatal !== undefined) return failed('PodFailurePolicy', tally.fatal.message);
  const limit = job.spec?.backoffLimit ?? 6;
  if (tally.failed > limit || restartsExceed(job, tally.active, limit)) {
    return failed('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  }
  const leftMs = deadlineMs(view, now);
  if (leftMs !== undefined && leftMs <= 0) {
    return failed('DeadlineExceeded', 'Job was active longer than specified deadline');
  }
  const { completions } = job.spec ?? {};
  const isDone =
    completions === undefined
      ? tally.succeeded > 0 && tally.active.length === 0
      : tally.succeeded >= completions;
  if (!isDone) return undefined;
  return {
    type: 'SuccessCriteriaMet',
    reason: 'CompletionsReached',
    message: 'Reached expected number of succeeded pods',
  };
}

/** restartPolicy OnFailure: the board starts the container again, so its restarts are the failures. */
function restartsExceed(job: Job, active: readonly Pod[], limit: number): boolean {
  if (job.spec?.template.spec?.restartPolicy !== 'OnFailure') return false;
  let restarts = 0;
  for (const { status } of active) {
    for (const one of [
      ...(status?.initContainerStatuses ?? []),
      ...(status?.containerStatuses ?? []),
    ]) {
      restarts += one.restartCount;
    }
  }
  return limit === 0 ? restarts > 0 : restarts >= limit;
}

/** The verdict is there: what still runs has to end. */
function endPods(job: Job, tally: JobTally, verdict: Verdict): PodWork {
  const { active } = tally;
  // Pods of a Job that failed count as failed; of one that succeeded they are only superfluous.
  const actions =
    verdict.type === 'FailureTarget'
      ? active.map((pod) => deletePod(pod, targetOf(job)))
      : dismiss(job, active);
  return { actions, active: 0 };
}

/** As many pods as there should be now. */
function adjustPods(view: JobView, tally: JobTally, now: Now): PodWork {
  const { job, times } = view;
  const { completions, parallelism = 1, suspend, podReplacementPolicy } = job.spec ?? {};
  if (suspend === true) {
    return { actions: dismiss(job, tally.active), active: 0 };
  }
  const extra = superfluous(job, tally.active);
  const active = tally.active.filter((pod) => !extra.includes(pod));
  const wanted =
    completions === undefined
      ? // A work queue: the first success says that the queue is empty.
        tally.succeeded > 0
        ? Math.min(active.length, parallelism)
        : parallelism
      : Math.min(parallelism, Math.max(0, completions - tally.succeeded));
  if (active.length > wanted) {
    const surplus = firstToGo(job, active, times).slice(0, active.length - wanted);
    return { actions: dismiss(job, [...extra, ...surplus]), active: wanted };
  }
  const goingOn = podReplacementPolicy === 'Failed' ? tally.terminating : [];
  const missing = wanted - active.length - goingOn.length;
  const actions = dismiss(job, extra);
  if (missing <= 0) return { actions, active: active.length };
  const delayMs = view.retryAtMs(tally) - now.monotonicMs;
  if (delayMs > 0) return { actions, active: active.length, delayMs };
  const taken = new Set(tally.completedIndexes);
  if (isIndexed(job)) {
    for (const pod of [...active, ...goingOn]) {
      const index = indexOf(pod, completions ?? 0);
      if (index !== undefined) taken.add(index);
    }
  }
  const creates = createPods(job, missing, taken);
  return { actions: [...actions, ...creates], active: active.length + creates.length };
}

interface Outcome {
  readonly verdict: Verdict | undefined;
  readonly isOver: boolean;
  readonly active: number;
}

function statusOf(view: JobView, tally: JobTally, now: Now, outcome: Outcome): JobStatus {
  const { job, lastFailure } = view;
  const { verdict, isOver } = outcome;
  const isSuspended = job.spec?.suspend === true && verdict === undefined;
  const startTime = isSuspended ? undefined : (job.status?.startTime ?? now.timestamp);
  const conditions = conditionsOf(job, outcome, now);
  const isComplete = isOver && verdict?.type === 'SuccessCriteriaMet';
  // What was to be made or ended may not have come about: then only what is there counts.
  const active = lastFailure === undefined ? outcome.active : tally.active.length;
  const completed = formatIndexes(tally.completedIndexes);
  return {
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(isComplete ? { completionTime: now.timestamp } : {}),
    ...(active === 0 ? {} : { active }),
    ...nonZero('succeeded', tally.status.succeeded),
    ...nonZero('failed', tally.status.failed),
    terminating: tally.terminating.length,
    ready: tally.ready,
    ...(completed === '' ? {} : { completedIndexes: completed }),
    uncountedTerminatedPods: tally.status.uncountedTerminatedPods ?? {},
  };
}

function nonZero<K extends string>(name: K, value: number | undefined): Partial<Record<K, number>> {
  const filled: Partial<Record<K, number>> = {};
  if (value !== undefined && value !== 0) filled[name] = value;
  return filled;
}

function conditionsOf(job: Job, { verdict, isOver }: Outcome, now: Now): JobCondition[] {
  const conditions = [...(job.status?.conditions ?? [])];
  const set = (type: string, status: string, reason: string, message: string): void => {
    const at = conditions.findIndex((one) => one.type === type);
    if (conditions[at]?.status === status) return;
    const lastProbeTime = now.timestamp;
    const condition = { type, status, lastProbeTime, lastTransitionTime: lastProbeTime };
    const next = { ...condition, reason, message };
    if (at < 0) conditions.push(next);
    else conditions[at] = next;
  };
  if (verdict === undefined) {
    const isKnown = conditions.some(({ type }) => type === 'Suspended');
    if (job.spec?.suspend === true) set('Suspended', 'True', 'JobSuspended', 'Job suspended');
    else if (isKnown) set('Suspended', 'False', 'JobResumed', 'Job resumed');
    return conditions;
  }
  set(verdict.type, 'True', verdict.reason, verdict.message);
  const end = verdict.type === 'FailureTarget' ? 'Failed' : 'Complete';
  if (isOver) set(end, 'True', verdict.reason, verdict.message);
  return conditions;
}

function endEvent(job: Job, { type, reason, message }: Verdict): Action {
  const isFailure = type === 'FailureTarget';
  return {
    type: 'event',
    regarding: targetOf(job),
    eventType: isFailure ? 'Warning' : 'Normal',
    reason: isFailure ? reason : 'Completed',
    message: isFailure ? message : 'Job completed',
  };
}

function suspendEvent(job: Job, isSuspended: boolean): Action[] {
  const known = job.status?.conditions?.find(({ type }) => type === 'Suspended')?.status;
  if (isSuspended === (known === 'True')) return [];
  return [
    {
      type: 'event',
      regarding: targetOf(job),
      eventType: 'Normal',
      reason: isSuspended ? 'Suspended' : 'Resumed',
      message: isSuspended ? 'Job suspended' : 'Job resumed',
    },
  ];
}
