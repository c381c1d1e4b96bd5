/** Job as Kubernetes documents it. */
import t from 'tap';
import type { Action } from '../../../master/controllers/actions.ts';
import { isFinished, type JobView, reconcileJob } from '../../../master/controllers/job.ts';
import { JobBackoff } from '../../../master/controllers/job-backoff.ts';
import { formatIndexes, parseIndexes } from '../../../master/controllers/job-indexes.ts';
import type { Job, JobSpec, JobStatus, Pod } from '../../../protocol/kinds/types.ts';
import { controlledBy, NO_TIMES, NOW, ofType, pod, template } from './objects.ts';

const TRACKING = 'batch.kubernetes.io/job-tracking';
const INDEX = 'batch.kubernetes.io/job-completion-index';

function job(spec: Partial<JobSpec> = {}, status: JobStatus = {}): Job {
  return {
    metadata: { name: 'work', namespace: 'default', uid: 'j', generation: 1, resourceVersion: '7' },
    spec: {
      parallelism: 1,
      completions: 1,
      backoffLimit: 6,
      completionMode: 'NonIndexed',
      suspend: false,
      podReplacementPolicy: 'TerminatingOrFailed',
      selector: { matchLabels: { app: 'web' } },
      template: template('v1'),
      ...spec,
    },
    status,
  };
}

/** A pod of the Job above that still has the Job's finalizer. */
function jobPod(
  name: string,
  phase: string,
  more: { index?: number; deleted?: boolean } = {},
): Pod {
  const isOver = phase === 'Succeeded' || phase === 'Failed';
  return pod(name, {
    phase,
    ready: !isOver,
    labels: { app: 'web' },
    owner: controlledBy('Job', 'work', 'j'),
    meta: {
      finalizers: [TRACKING],
      ...(more.index === undefined ? {} : { annotations: { [INDEX]: String(more.index) } }),
      ...(more.deleted === true ? { deletionTimestamp: NOW.timestamp } : {}),
    },
  });
}

function decide(one: Job, pods: Pod[], more: Partial<JobView> = {}): Action[] {
  const fixed = { sinceMs: NOW.monotonicMs, retryAtMs: () => 0, lastFailure: undefined };
  return reconcileJob({ job: one, pods, times: NO_TIMES, ...fixed, ...more }, NOW);
}

function statusIn(actions: readonly Action[]): JobStatus | undefined {
  return (ofType(actions, 'updateStatus')[0]?.object as Job | undefined)?.status;
}

/** "create 2, release a, delete a": what happens to pods, in order of sort. */
function pods(actions: readonly Action[]): string {
  const released = ofType(actions, 'patch').map(({ name }) => `release ${name}`);
  const deleted = ofType(actions, 'delete').map(({ name }) => `delete ${name}`);
  const created = ofType(actions, 'create').length;
  return [...(created > 0 ? [`create ${created}`] : []), ...released, ...deleted].join(', ');
}

const started = { startTime: '2025-12-31T00:00:00Z' };

t.test('how many pods a job has', async (t) => {
  const table: [string, Job, Pod[], string][] = [
    ['one to begin with', job(), [], 'create 1'],
    ['no more than parallelism', job({ completions: 5, parallelism: 2 }), [], 'create 2'],
    ['no more than are missing', job({ completions: 2, parallelism: 5 }), [], 'create 2'],
    [
      'what has succeeded is not done again',
      job({ completions: 5, parallelism: 5 }, { ...started, succeeded: 3 }),
      [jobPod('a', 'Running')],
      'create 1',
    ],
    ['none with parallelism 0', job({ parallelism: 0 }), [], ''],
    [
      'too many are let go without being counted',
      job({ parallelism: 1, completions: 5 }),
      [jobPod('a', 'Running'), jobPod('b', 'Pending')],
      'release b, delete b',
    ],
    [
      'suspended: none',
      job({ suspend: true }, started),
      [jobPod('a', 'Running')],
      'release a, delete a',
    ],
    [
      'a pod that failed is replaced',
      job({}, started),
      [jobPod('a', 'Failed')],
      'create 1, release a',
    ],
    [
      'a pod that is being deleted is replaced at once',
      job({}, started),
      [jobPod('a', 'Running', { deleted: true })],
      'create 1, release a',
    ],
    [
      'unless only failed pods are to be replaced',
      job({ podReplacementPolicy: 'Failed' }, started),
      [jobPod('a', 'Running', { deleted: true })],
      '',
    ],
    [
      'a work queue: no more pods after the first success',
      { ...job({ parallelism: 3 }, started), spec: workQueue(3) },
      [jobPod('a', 'Succeeded'), jobPod('b', 'Running')],
      'release a',
    ],
    ['managed by another controller', job({ managedBy: 'acme.io/jobs' }), [], ''],
  ];
  for (const [name, one, existing, expected] of table) {
    t.equal(pods(decide(one, existing)), expected, name);
  }
  const waits = decide(job({}, started), [], { retryAtMs: () => NOW.monotonicMs + 5_000 });
  t.equal(pods(waits), '', 'not before the back-off is over');
  t.match(ofType(waits, 'requeueAfter'), [{ delayMs: 5_000 }]);
});

function workQueue(parallelism: number): JobSpec {
  const { completions: _none, ...spec } = job({ parallelism }).spec ?? { template: {} };
  return spec;
}

t.test('each end is counted once, whatever happens in between', async (t) => {
  const first = decide(job({ completions: 2, parallelism: 2 }, started), [
    jobPod('a', 'Succeeded'),
    jobPod('b', 'Failed'),
  ]);
  const uncounted = { succeeded: ['a'], failed: ['b'] };
  t.match(statusIn(first), { uncountedTerminatedPods: uncounted });
  t.equal(statusIn(first)?.succeeded, undefined, 'the number comes when the finalizer is gone');
  const order = first.map(({ type }) => type);
  t.ok(order.indexOf('updateStatus') < order.indexOf('patch'), 'told before they are let go');
  t.equal(ofType(first, 'updateStatus')[0]?.object.metadata?.resourceVersion, '7');
  const between = job(
    { completions: 2, parallelism: 2 },
    {
      ...started,
      uncountedTerminatedPods: uncounted,
    },
  );
  const again = decide(between, [jobPod('a', 'Succeeded'), jobPod('b', 'Failed')]);
  t.match(pods(again), /release a, release b/, 'a finalizer that is still there is taken again');
  t.match(statusIn(again) ?? between.status, { uncountedTerminatedPods: uncounted });
  const { finalizers: _gone, ...metadata } = jobPod('a', 'Succeeded').metadata ?? {};
  const after = decide(between, [{ ...jobPod('a', 'Succeeded'), metadata }]);
  t.match(statusIn(after), { succeeded: 1, failed: 1, uncountedTerminatedPods: {} });
});

t.test('how a job ends', async (t) => {
  const verdict = (one: Job, existing: Pod[], more: Partial<JobView> = {}) => {
    const [condition] = (statusIn(decide(one, existing, more))?.conditions ?? []).slice(-1);
    return condition === undefined ? '' : `${condition.type} ${condition.reason}`;
  };
  const failedJob = job({ backoffLimit: 0 }, { ...started, failed: 1 });
  const onFailure = job({
    backoffLimit: 2,
    template: { ...template('v1'), spec: { restartPolicy: 'OnFailure', containers: [] } },
  });
  const restarted = (restarts: number) => ({
    ...jobPod('a', 'Running'),
    status: { ...pod('a', { restarts }).status },
  });
  const table: [string, string, string][] = [
    [
      'success',
      verdict(job({}, started), [jobPod('a', 'Succeeded')]),
      'SuccessCriteriaMet CompletionsReached',
    ],
    ['no pods wanted', verdict(job({ completions: 0 }), []), 'Complete CompletionsReached'],
    [
      'too many failures',
      verdict(failedJob, [jobPod('a', 'Running')]),
      'FailureTarget BackoffLimitExceeded',
    ],
    ['failures within the limit', verdict(job({ backoffLimit: 1 }, { failed: 1 }), []), ''],
    ['too many restarts', verdict(onFailure, [restarted(2)]), 'FailureTarget BackoffLimitExceeded'],
    ['restarts within the limit', verdict(onFailure, [restarted(1)]), ''],
    [
      'too long',
      verdict(job({ activeDeadlineSeconds: 10 }, started), [jobPod('a', 'Running')], {
        sinceMs: NOW.monotonicMs - 10_000,
      }),
      'FailureTarget DeadlineExceeded',
    ],
    [
      'not yet too long, whatever the clock on the wall said at the start',
      verdict(job({ activeDeadlineSeconds: 10 }, started), [jobPod('a', 'Running')]),
      '',
    ],
  ];
  for (const [name, found, expected] of table) t.equal(found, expected, name);

  const going = decide(failedJob, [jobPod('a', 'Running')]);
  t.equal(pods(going), 'delete a', 'what runs is ended');
  const target = statusIn(going);
  const still = job({ backoffLimit: 0 }, { ...target, failed: 1 });
  const ending = jobPod('a', 'Running', { deleted: true });
  t.notOk(
    isFinished({ status: statusIn(decide(still, [ending])) ?? {} }),
    'not over while a pod ends',
  );
  const over = decide(still, []);
  t.match(statusIn(over), { conditions: [{}, { type: 'Failed', reason: 'BackoffLimitExceeded' }] });
  t.equal(statusIn(over)?.completionTime, undefined, 'only success has a completion time');
  t.match(ofType(over, 'event'), [{ eventType: 'Warning', reason: 'BackoffLimitExceeded' }]);
  const done = decide(job({}, { ...started, succeeded: 1 }), []);
  t.match(statusIn(done), {
    completionTime: NOW.timestamp,
    conditions: [{ type: 'SuccessCriteriaMet' }, { type: 'Complete', status: 'True' }],
  });
  t.match(ofType(done, 'event'), [{ reason: 'Completed' }]);
});

t.test('a deadline and a time to live are waited for', async (t) => {
  const waits = (one: Job) => ofType(decide(one, []), 'requeueAfter').map(({ delayMs }) => delayMs);
  t.same(waits(job({ activeDeadlineSeconds: 30 })), [30_000]);
  const conditions = [{ type: 'Complete', status: 'True' }];
  const ended = job({ ttlSecondsAfterFinished: 60 }, { ...started, conditions });
  t.same(waits(ended), [60_000]);
  const late = decide(ended, [], { sinceMs: NOW.monotonicMs - 60_000 });
  t.match(ofType(late, 'delete'), [{ name: 'work', options: { propagationPolicy: 'Foreground' } }]);
  t.same(decide(job({}, { conditions }), []), [], 'a finished job is left alone');
});

t.test('an indexed job does every index once', async (t) => {
  t.equal(formatIndexes(new Set([7, 1, 3, 4, 5, 9, 10])), '1,3-5,7,9,10');
  t.same([...parseIndexes('1,3-5,7', 6)], [1, 3, 4, 5]);
  const spec: Partial<JobSpec> = { completionMode: 'Indexed', completions: 4, parallelism: 3 };
  const made = ofType(
    decide(job(spec, { ...started, completedIndexes: '0' }), [
      jobPod('b', 'Running', { index: 2 }),
    ]),
    'create',
  );
  t.same(
    made.map(({ object }) => object.metadata?.generateName),
    ['work-1-', 'work-3-'],
  );
  t.match(made[0]?.object, {
    metadata: { annotations: { [INDEX]: '1' }, labels: { [INDEX]: '1' } },
    spec: {
      hostname: 'work-1',
      containers: [
        {
          env: [
            {
              name: 'JOB_COMPLETION_INDEX',
              valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${INDEX}']` } },
            },
          ],
        },
      ],
    },
  });
  const twice = [jobPod('a', 'Running', { index: 1 }), jobPod('b', 'Running', { index: 1 })];
  t.equal(pods(decide(job({ ...spec, parallelism: 1 }, started), twice)), 'release b, delete b');
  const succeeded = decide(job(spec, { ...started, completedIndexes: '0' }), [
    jobPod('a', 'Succeeded', { index: 1 }),
    jobPod('b', 'Succeeded', { index: 1 }),
  ]);
  t.match(statusIn(succeeded), { succeeded: 2, completedIndexes: '0,1' }, 'an index counts once');
});

t.test('a rule of the podFailurePolicy decides what a failure means', async (t) => {
  const exit = (name: string, exitCode: number): Pod => {
    const one = jobPod(name, 'Failed');
    const status = { name: 'main', ready: false, restartCount: 0, image: '', imageID: '' };
    const containerStatuses = [{ ...status, state: { terminated: { exitCode } } }];
    return { ...one, status: { ...one.status, containerStatuses } };
  };
  const policy = job(
    {
      podReplacementPolicy: 'Failed',
      podFailurePolicy: {
        rules: [
          { action: 'FailJob', onExitCodes: { operator: 'In', values: [42] } },
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
        ],
      },
    },
    started,
  );
  t.match(statusIn(decide(policy, [exit('a', 42)])), {
    conditions: [
      {
        type: 'FailureTarget',
        reason: 'PodFailurePolicy',
        message:
          'Container main for pod default/a failed with exit code 42 matching FailJob rule at index 0',
      },
    ],
  });
  const disrupted = exit('b', 143);
  const conditions = [{ type: 'DisruptionTarget', status: 'True' }];
  const ignored = decide(policy, [{ ...disrupted, status: { ...disrupted.status, conditions } }]);
  t.equal(pods(ignored), 'create 1, release b');
  t.equal(statusIn(ignored)?.uncountedTerminatedPods?.failed, undefined, 'does not count');
  t.same(statusIn(decide(policy, [exit('c', 1)]))?.uncountedTerminatedPods?.failed, ['c']);
});

t.test('the wait after failures grows and starts over after a success', async (t) => {
  const backoff = new JobBackoff();
  const wait = (succeeded: number, failed: number) =>
    backoff.retryAtMs('j', { succeeded, failed }, 1_000) - 1_000;
  t.same([wait(0, 0), wait(0, 1), wait(0, 1), wait(0, 2)], [0, 10_000, 10_000, 20_000]);
  t.equal(wait(0, 20), 600_000, 'bounded');
  t.equal(wait(1, 20), 0, 'a success');
  t.equal(wait(1, 21), 10_000);
  t.equal(new JobBackoff().retryAtMs('j', { succeeded: 0, failed: 3 }, 0), 40_000, 'a new master');
});

t.test('suspending and resuming are told', async (t) => {
  const suspended = decide(job({ suspend: true }, { ...started, active: 1 }), [
    jobPod('a', 'Running'),
  ]);
  t.match(statusIn(suspended), { conditions: [{ type: 'Suspended', status: 'True' }] });
  t.equal(statusIn(suspended)?.startTime, undefined);
  t.match(ofType(suspended, 'event'), [{ reason: 'Suspended' }]);
  const resumed = decide(job({}, statusIn(suspended)), []);
  t.match(statusIn(resumed), {
    startTime: NOW.timestamp,
    active: 1,
    conditions: [{ type: 'Suspended', status: 'False', reason: 'JobResumed' }],
  });
  t.match(ofType(resumed, 'event'), [{ reason: 'Resumed' }]);
});

t.test('pods are adopted with the finalizer, and let go without it', async (t) => {
  const orphan = pod('a', { labels: { app: 'web' } });
  t.match(ofType(decide(job(), [orphan]), 'update')[0]?.object.metadata, {
    finalizers: [TRACKING],
    ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', uid: 'j', controller: true }],
  });
  const strayed = { ...jobPod('a', 'Running') };
  const metadata = { ...strayed.metadata, labels: { app: 'other' } };
  t.match(ofType(decide(job(), [{ ...strayed, metadata }]), 'update')[0]?.object.metadata, {
    finalizers: [],
    ownerReferences: [],
  });
  const gone = { ...job(), metadata: { ...job().metadata, deletionTimestamp: NOW.timestamp } };
  t.equal(
    pods(decide(gone, [jobPod('a', 'Running')])),
    'release a',
    'a job that goes holds nothing',
  );
});

t.test('a failure to make pods is not told as pods', async (t) => {
  const actions = decide(job(), [], { lastFailure: 'exceeded quota' });
  t.equal(statusIn(actions)?.active, undefined);
  t.equal(ofType(actions, 'updateStatus')[0]?.evenAfterFailure, true);
});
