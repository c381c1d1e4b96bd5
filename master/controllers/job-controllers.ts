/**
 * Job and CronJob as the runner drives them: which changes touch which keys, and how a view is gathered from the
 * caches. The decisions are in the pure files of the same names.
 */
import type { Job, Pod } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { joinKey, keyOf, splitKey } from '../informer/informer.ts';
import { BY_NAMESPACE, BY_OWNER_UID, type SharedInformers } from '../informer/shared.ts';
import type { Action } from './actions.ts';
import { isClockBehind, reconcileCronJob } from './cronjob.ts';
import { isFinished, reconcileJob, releaseOrphans } from './job.ts';
import { JobBackoff } from './job-backoff.ts';
import { isTracked } from './job-tally.ts';
import { ownerKey, ownerKeys, versionsOf } from './keys.ts';
import { FirstSeen } from './observed-times.ts';
import { controllerOf, type PodTimes } from './pods.ts';
import { type Controller, watchOf } from './runner.ts';

const WORKERS = 4;
const JOB_NAME = 'batch.kubernetes.io/job-name';

/** A pod that still has a Job's finalizer, but neither that Job nor another that would adopt it. */
function isOrphanOf(pod: Pod, name: string, job: Job | undefined): boolean {
  if (!isTracked(pod)) return false;
  const owner = controllerOf(pod);
  if (owner !== undefined) {
    return owner.kind === 'Job' && owner.name === name && owner.uid !== job?.metadata?.uid;
  }
  const labels = pod.metadata?.labels ?? {};
  return labels[JOB_NAME] === name && !matchesLabelSelector(job?.spec?.selector, labels);
}

export function jobController(informers: SharedInformers, times: PodTimes): Controller {
  const { jobs, pods } = informers;
  const backoff = new JobBackoff();
  const seen = new FirstSeen();
  const keysOfPod = (pod: Pod): string[] => {
    const keys = ownerKeys(jobs, 'Job', pod);
    const name = pod.metadata?.labels?.[JOB_NAME];
    if (keys.length > 0 || name === undefined || !isTracked(pod)) return keys;
    return [joinKey(pod.metadata?.namespace ?? '', name)];
  };
  return {
    name: 'job-controller',
    workers: WORKERS,
    watches: [
      watchOf(jobs, ({ type, object }) => {
        const uid = object.metadata?.uid ?? '';
        if (type === 'deleted') {
          backoff.forget(uid);
          seen.forget(uid);
        }
        return [keyOf(object)];
      }),
      watchOf(pods, (change) => versionsOf(change).flatMap(keysOfPod)),
    ],
    reconcile(key, now, lastFailure): Action[] {
      const { namespace, name } = splitKey(key);
      const job = jobs.getByKey(key);
      const near = pods.byIndex(BY_NAMESPACE, namespace);
      const orphans = releaseOrphans(near.filter((pod) => isOrphanOf(pod, name, job)));
      if (job === undefined) return orphans;
      const uid = job.metadata?.uid ?? '';
      // One entry per Job: it runs, or it has finished.
      const phase = isFinished(job) ? 'finished' : (job.status?.startTime ?? 'new');
      const sinceMs = seen.since(uid, phase, now.monotonicMs);
      const view = {
        job,
        pods: near,
        times,
        sinceMs,
        retryAtMs: (tally: { succeeded: number; failed: number }) =>
          backoff.retryAtMs(uid, tally, now.monotonicMs),
        lastFailure,
      };
      return [...orphans, ...reconcileJob(view, now)];
    },
  };
}

export function cronJobController(informers: SharedInformers): Controller {
  const { cronJobs, jobs } = informers;
  const behind = new FirstSeen();
  const lastLooks = new Map<string, number>();
  return {
    name: 'cronjob-controller',
    workers: 1,
    watches: [
      watchOf(cronJobs, ({ type, object }) => {
        const uid = object.metadata?.uid ?? '';
        if (type === 'deleted') {
          behind.forget(uid);
          lastLooks.delete(uid);
        }
        return [keyOf(object)];
      }),
      watchOf(jobs, (change) =>
        versionsOf(change).flatMap((job) => ownerKey(job, 'CronJob') ?? []),
      ),
    ],
    reconcile(key, now): Action[] {
      const cronJob = cronJobs.getByKey(key);
      if (cronJob === undefined) return [];
      const uid = cronJob.metadata?.uid ?? '';
      const wallMs = Date.parse(now.timestamp);
      const isBehind = isClockBehind(cronJob, wallMs) ? 'behind' : 'right';
      const view = {
        cronJob,
        jobs: jobs.byIndex(BY_OWNER_UID, uid),
        lastLookMs: lastLooks.get(uid),
        behindSinceMs: behind.since(uid, isBehind, now.monotonicMs),
      };
      lastLooks.set(uid, wallMs);
      return reconcileCronJob(view, now);
    },
  };
}
