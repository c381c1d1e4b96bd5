/**
 * CronJob: makes a Job at the times of a schedule. Pure.
 *
 * The one controller that asks what the clock on the wall says, because that is what the kind is about. Promises:
 * - However many times were missed (the master was off, the clock jumped), at most one Job makes up for them: that of
 *   the latest one, within startingDeadlineSeconds.
 * - A clock that falls back by up to an hour runs nothing twice. One that is further behind what it was is not
 *   believed for ten minutes: a board without a battery wakes up in the past, until NTP has set it.
 * - The name of a Job is that of its time, so that no time is done twice, also after a crash in between.
 */

import { rfc3339 } from '../../protocol/clock.ts';
import { type CronSchedule, isTimeZone, parseSchedule } from '../../protocol/cron-schedule.ts';
import type { CronJob, CronJobStatus, Job, ObjectReference } from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action, Now } from './actions.ts';
import type { EventTarget } from './events.ts';
import { isFinished } from './job.ts';
import { ownerReferenceTo } from './ownership.ts';
import { canonicalJson } from './pod-template.ts';
import { controllerOf } from './pods.ts';

const SCHEDULED_AT = 'batch.kubernetes.io/cronjob-scheduled-timestamp';
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** The wall clock may jump while we wait, so it is looked at again and again. */
const LOOK_AGAIN_MS = MINUTE_MS;
const SMALL_STEP_BACK_MS = HOUR_MS;
const DISBELIEF_MS = 10 * MINUTE_MS;
/** Kubernetes: from here on people are told. */
const MISSED_MAX = 100;
/** How far back the latest missed time is looked for, step by step. */
const WINDOWS_MS: readonly number[] = [2 * HOUR_MS, DAY_MS, 40 * DAY_MS, 9 * 366 * DAY_MS];

interface CronJobView {
  readonly cronJob: CronJob;
  /** All Jobs of the namespace, or at least those that it owns. */
  readonly jobs: readonly Job[];
  /** What the wall clock said when this master last looked; undefined the first time. */
  readonly lastLookMs: number | undefined;
  /** Monotonic time since which the clock has been behind what the CronJob has seen. */
  readonly behindSinceMs: number;
}

export function reconcileCronJob(view: CronJobView, now: Now): Action[] {
  const { cronJob } = view;
  const uid = cronJob.metadata?.uid;
  const owned = view.jobs.filter((job) => controllerOf(job)?.uid === uid);
  const active = owned.filter((job) => !isFinished(job) && isScheduled(job));
  const actions = [...endedJobs(cronJob, owned), ...dropHistory(cronJob, owned)];
  const status: CronJobStatus = {
    ...cronJob.status,
    active: active.map(referenceTo).sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1)),
  };
  const success = lastSuccess(cronJob, owned);
  if (success !== undefined) status.lastSuccessfulTime = success;
  const isGoing = cronJob.metadata?.deletionTimestamp !== undefined;
  const run = isGoing || cronJob.spec?.suspend === true ? [] : nextRun(view, active, status, now);
  if (canonicalJson(status) !== canonicalJson(cronJob.status ?? {})) {
    // After the Job was made: a time that is noted has been done.
    const { resourceVersion: _any, ...metadata } = cronJob.metadata ?? {};
    const object: CronJob = { ...cronJob, metadata, status };
    run.push({ type: 'updateStatus', id: RESOURCES.cronJobs, object });
  }
  return [...actions, ...run];
}

/** Is the wall clock further behind what this CronJob has seen than a correction explains? */
export function isClockBehind(cronJob: CronJob, nowMs: number): boolean {
  return lastSeenMs(cronJob) > nowMs + SMALL_STEP_BACK_MS;
}

function lastSeenMs({ metadata, status }: CronJob): number {
  return Date.parse(status?.lastScheduleTime ?? metadata?.creationTimestamp ?? rfc3339(0));
}

function targetOf(cronJob: CronJob): EventTarget {
  return { apiVersion: 'batch/v1', kind: 'CronJob', metadata: cronJob.metadata ?? {} };
}

function event(
  cronJob: CronJob,
  reason: string,
  message: string,
  eventType: 'Normal' | 'Warning' = 'Normal',
): Action {
  return { type: 'event', regarding: targetOf(cronJob), eventType, reason, message };
}

/** Made by this controller; `kubectl create job --from` makes others, which are nobody's turn. */
function isScheduled(job: Job): boolean {
  return job.metadata?.annotations?.[SCHEDULED_AT] !== undefined;
}

function referenceTo(job: Job): ObjectReference {
  const { name = '', namespace = '', uid = '' } = job.metadata ?? {};
  return { apiVersion: 'batch/v1', kind: 'Job', name, namespace, uid };
}

function conditionOf(job: Job, type: string): boolean {
  return job.status?.conditions?.some((one) => one.type === type && one.status === 'True') === true;
}

/** Tells of Jobs that were active when last looked at and are not any more. */
function endedJobs(cronJob: CronJob, owned: readonly Job[]): Action[] {
  return (cronJob.status?.active ?? []).flatMap(({ name = '', uid }) => {
    const job = owned.find(({ metadata }) => metadata?.uid === uid);
    if (job === undefined) {
      return [event(cronJob, 'MissingJob', `Active job went missing: ${name}`)];
    }
    if (!isFinished(job)) return [];
    const condition = conditionOf(job, 'Complete') ? 'Complete' : 'Failed';
    const message = `Saw completed job: ${name}, condition: ${condition}`;
    return [event(cronJob, 'SawCompletedJob', message)];
  });
}

function lastSuccess(cronJob: CronJob, owned: readonly Job[]): string | undefined {
  const times = owned
    .filter((job) => conditionOf(job, 'Complete'))
    .flatMap(({ status }) => status?.completionTime ?? []);
  const known = cronJob.status?.lastSuccessfulTime;
  return [...times, ...(known === undefined ? [] : [known])].sort().at(-1);
}

/** Of the Jobs that finished, only the newest few of each sort stay. */
function dropHistory(cronJob: CronJob, owned: readonly Job[]): Action[] {
  const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cronJob.spec ?? {};
  const ended = owned.filter(
    (job) => isFinished(job) && job.metadata?.deletionTimestamp === undefined,
  );
  const oldest = (jobs: readonly Job[], limit: number): Job[] =>
    [...jobs]
      .sort((a, b) => (ageKey(a) < ageKey(b) ? -1 : 1))
      .slice(0, Math.max(0, jobs.length - limit));
  const isFailed = (job: Job): boolean => conditionOf(job, 'Failed');
  return [
    ...oldest(
      ended.filter((job) => !isFailed(job)),
      successfulJobsHistoryLimit,
    ),
    ...oldest(ended.filter(isFailed), failedJobsHistoryLimit),
  ].map((job) => deleteJob(cronJob, job));
}

function ageKey({ metadata, status }: Job): string {
  return `${status?.startTime ?? metadata?.creationTimestamp ?? ''} ${metadata?.name ?? ''}`;
}

function deleteJob(cronJob: CronJob, { metadata }: Job): Action {
  return {
    type: 'delete',
    id: RESOURCES.jobs,
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    options: { propagationPolicy: 'Background' },
    announce: {
      regarding: targetOf(cronJob),
      success: { reason: 'SuccessfulDelete', message: 'Deleted job {name}' },
      failure: { reason: 'FailedDelete', message: 'Error deleting job: {error}' },
    },
  };
}

/** Makes the Job whose time has come, notes that in `status`, and says when to look again. */
function nextRun(
  view: CronJobView,
  active: readonly Job[],
  status: CronJobStatus,
  now: Now,
): Action[] {
  const { cronJob } = view;
  const { timeZone, concurrencyPolicy, schedule: text = '' } = cronJob.spec ?? {};
  if (timeZone !== undefined && !isTimeZone(timeZone)) {
    const message = `invalid timeZone: "${timeZone}": unknown time zone`;
    return [event(cronJob, 'UnknownTimeZone', message, 'Warning')];
  }
  const nowMs = Date.parse(now.timestamp);
  const schedule = parseSchedule(text);
  const nextMs = schedule.next(nowMs, timeZone);
  const delayMs = Math.min(LOOK_AGAIN_MS, Math.max(1, (nextMs ?? nowMs + DAY_MS) - nowMs));
  const again: Action = { type: 'requeueAfter', delayMs };
  const missed = latestMissed(view, schedule, now);
  if (missed === undefined) return [again];
  const actions: Action[] = [again];
  if (missed.isMany) {
    const why = 'too many missed start times. Set or decrease .spec.startingDeadlineSeconds';
    actions.push(event(cronJob, 'TooManyMissedTimes', `${why} or check clock skew`, 'Warning'));
  }
  const object = jobAt(cronJob, missed.atMs);
  const isDone = view.jobs.some((job) => {
    const isOurs = controllerOf(job)?.uid === cronJob.metadata?.uid;
    return isOurs && job.metadata?.name === object.metadata?.name;
  });
  if (!isDone && active.length > 0 && concurrencyPolicy === 'Forbid') {
    const why =
      'Not starting job because prior execution is running and concurrency policy is Forbid';
    return [...actions, event(cronJob, 'JobAlreadyActive', why)];
  }
  status.lastScheduleTime = rfc3339(missed.atMs);
  if (isDone) return actions;
  if (concurrencyPolicy === 'Replace') {
    actions.push(...active.map((job) => deleteJob(cronJob, job)));
    status.active = [];
  }
  actions.push({
    type: 'create',
    id: RESOURCES.jobs,
    object,
    announce: {
      regarding: targetOf(cronJob),
      success: { reason: 'SuccessfulCreate', message: 'Created job {name}' },
      failure: { reason: 'FailedCreate', message: 'Error creating job: {error}' },
    },
  });
  return actions;
}

interface Missed {
  readonly atMs: number;
  readonly isMany: boolean;
}

/** The latest time of the schedule that has come and was not done. */
function latestMissed(view: CronJobView, schedule: CronSchedule, now: Now): Missed | undefined {
  const { cronJob, lastLookMs } = view;
  const nowMs = Date.parse(now.timestamp);
  const { timeZone, startingDeadlineSeconds } = cronJob.spec ?? {};
  let earliestMs = lastSeenMs(cronJob);
  if (isClockBehind(cronJob, nowMs)) {
    if (now.monotonicMs - view.behindSinceMs < DISBELIEF_MS) return undefined;
    // It stays like that: from now on its time is the time.
    earliestMs = Math.min(lastLookMs ?? nowMs, nowMs);
  }
  if (startingDeadlineSeconds !== undefined) {
    earliestMs = Math.max(earliestMs, nowMs - startingDeadlineSeconds * 1_000);
  }
  for (const windowMs of WINDOWS_MS) {
    const fromMs = Math.max(earliestMs, nowMs - windowMs);
    let latest: number | undefined;
    let count = 0;
    let at = schedule.next(fromMs, timeZone);
    while (at !== undefined && at <= nowMs) {
      latest = at;
      count += 1;
      at = schedule.next(at, timeZone);
    }
    if (latest !== undefined) return { atMs: latest, isMany: count > MISSED_MAX };
    if (fromMs === earliestMs) return undefined;
  }
  return undefined;
}

function jobAt(cronJob: CronJob, atMs: number): Job {
  const { metadata, spec } = cronJob.spec?.jobTemplate ?? {};
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      // Kubernetes: minutes since 1970. A schedule in seconds has Jobs of the same minute: one is enough.
      name: `${cronJob.metadata?.name ?? ''}-${Math.floor(atMs / MINUTE_MS)}`,
      namespace: cronJob.metadata?.namespace ?? '',
      ...(metadata?.labels === undefined ? {} : { labels: metadata.labels }),
      annotations: { ...metadata?.annotations, [SCHEDULED_AT]: rfc3339(atMs) },
      ownerReferences: [ownerReferenceTo(targetOf(cronJob))],
    },
    ...(spec === undefined ? {} : { spec }),
  };
}
