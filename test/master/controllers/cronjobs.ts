/** Cron schedules and CronJob as Kubernetes documents them, and what a wrong clock may do. */
import t from 'tap';
import type { Action, Now } from '../../../master/controllers/actions.ts';
import { isClockBehind, reconcileCronJob } from '../../../master/controllers/cronjob.ts';
import { rfc3339 } from '../../../protocol/clock.ts';
import { isTimeZone, parseSchedule } from '../../../protocol/cron-schedule.ts';
import type { CronJob, CronJobSpec, CronJobStatus, Job } from '../../../protocol/kinds/types.ts';
import { controlledBy, ofType, template } from './objects.ts';

const SCHEDULED = 'batch.kubernetes.io/cronjob-scheduled-timestamp';
const MINUTE_MS = 60_000;

t.test('the next time of a schedule', async (t) => {
  const next = (text: string, after: string, zone?: string): string => {
    const ms = parseSchedule(text).next(Date.parse(after), zone);
    return ms === undefined ? 'never' : rfc3339(ms);
  };
  const table: [string, string, string, string?][] = [
    ['* * * * *', '2026-01-01T00:00:59Z', '2026-01-01T00:01:00Z'],
    ['* * * * *', '2026-01-01T00:01:00Z', '2026-01-01T00:02:00Z'],
    ['*/15 * * * *', '2026-01-01T00:16:00Z', '2026-01-01T00:30:00Z'],
    ['5/20 * * * *', '2026-01-01T00:26:00Z', '2026-01-01T00:45:00Z'],
    ['20-35/15 * * * *', '2026-01-01T00:21:00Z', '2026-01-01T00:35:00Z'],
    ['0 3 * * *', '2026-01-01T03:00:00Z', '2026-01-02T03:00:00Z'],
    ['30 8 * * mon-fri', '2026-01-02T09:00:00Z', '2026-01-05T08:30:00Z'],
    ['0 0 1 jan *', '2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z'],
    ['0 0 29 2 *', '2026-01-01T00:00:00Z', '2028-02-29T00:00:00Z'],
    ['0 0 30 2 *', '2026-01-01T00:00:00Z', 'never'],
    ['0 0 13 * 5', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'],
    ['0 0 */2 * 5', '2026-01-01T12:00:00Z', '2026-01-02T00:00:00Z'],
    ['0 0 13 * *', '2026-01-01T00:00:00Z', '2026-01-13T00:00:00Z'],
    ['0 0 * * 5', '2026-01-03T00:00:00Z', '2026-01-09T00:00:00Z'],
    ['@daily', '2026-01-01T10:00:00Z', '2026-01-02T00:00:00Z'],
    ['@hourly', '2026-01-01T10:00:00Z', '2026-01-01T11:00:00Z'],
    ['@every 1h30m', '2026-01-01T10:00:10Z', '2026-01-01T11:30:10Z'],
    ['0 12 * * *', '2026-01-01T00:00:00Z', '2026-01-01T11:00:00Z', 'Europe/Berlin'],
    ['0 12 * * *', '2026-07-01T00:00:00Z', '2026-07-01T10:00:00Z', 'Europe/Berlin'],
    ['30 12 * * *', '2026-01-01T00:00:00Z', '2026-01-01T07:00:00Z', 'Asia/Kolkata'],
    ['0 9 * * 1', '2026-01-04T20:00:00Z', '2026-01-05T00:00:00Z', 'Asia/Tokyo'],
    // 2:30 does not come on the 29th of March 2026 in Berlin.
    ['30 2 * * *', '2026-03-28T12:00:00Z', '2026-03-30T00:30:00Z', 'Europe/Berlin'],
    // And comes twice on the 25th of October.
    ['30 2 * * *', '2026-10-25T00:00:00Z', '2026-10-25T00:30:00Z', 'Europe/Berlin'],
    ['30 2 * * *', '2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', 'Europe/Berlin'],
    ['0 0 * * *', '2026-03-28T12:00:00Z', '2026-03-28T23:00:00Z', 'Europe/Berlin'],
    ['0 0 * * *', '2026-03-29T12:00:00Z', '2026-03-29T22:00:00Z', 'Europe/Berlin'],
  ];
  for (const [text, after, expected, zone] of table) {
    t.equal(next(text, after, zone), expected, `${text} after ${after} ${zone ?? ''}`);
  }
  const wrong: [string, RegExp][] = [
    ['', /expected exactly 5 fields, found 0/],
    ['* * * *', /expected exactly 5 fields, found 4/],
    ['60 * * * *', /end of range \(60\) above maximum \(59\): minute "60"/],
    ['* * 0 * *', /beginning of range \(0\) below minimum \(1\): day of month/],
    ['* * * * 7', /above maximum \(6\): day of week/],
    ['5-1 * * * *', /beyond end of range/],
    ['*/0 * * * *', /step of range should be a positive number/],
    ['a * * * *', /failed to parse number/],
    ['*-5 * * * *', /a range has two numbers/],
    ['1/2/3 * * * *', /too many slashes/],
    ['@sometimes', /unrecognized descriptor: @sometimes/],
    ['@every soon', /failed to parse duration/],
  ];
  for (const [text, message] of wrong) t.throws(() => parseSchedule(text), { message }, text);
  t.same(
    ['Europe/Berlin', 'UTC', 'Etc/GMT+1', 'Local', 'Mars/Base', '', '+01:00'].map(isTimeZone),
    [true, true, true, false, false, false, false],
  );
});

function cronJob(spec: Partial<CronJobSpec> = {}, status: CronJobStatus = {}): CronJob {
  return {
    metadata: {
      name: 'tick',
      namespace: 'default',
      uid: 'c',
      creationTimestamp: '2026-01-01T09:59:30Z',
    },
    spec: {
      schedule: '*/5 * * * *',
      concurrencyPolicy: 'Allow',
      suspend: false,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 1,
      jobTemplate: {
        metadata: { labels: { app: 'tick' }, annotations: { by: 'me' } },
        spec: { template: template('v1') },
      },
      ...spec,
    },
    status,
  };
}

function jobOf(at: string, end?: 'Complete' | 'Failed'): Job {
  const name = `tick-${Date.parse(at) / MINUTE_MS}`;
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      annotations: { [SCHEDULED]: at },
      ownerReferences: controlledBy('CronJob', 'tick', 'c'),
    },
    status: {
      startTime: at,
      ...(end === undefined ? {} : { conditions: [{ type: end, status: 'True' }] }),
      ...(end === 'Complete' ? { completionTime: at } : {}),
    },
  };
}

interface Look {
  readonly jobs?: readonly Job[];
  readonly lastLook?: string;
  /** How long the clock has been behind. */
  readonly behindMs?: number;
}

const nowAt = (timestamp: string): Now => ({ monotonicMs: 10_000_000, timestamp });

function decide(one: CronJob, at: string, look: Look = {}): Action[] {
  const lastLookMs = look.lastLook === undefined ? undefined : Date.parse(look.lastLook);
  const behindSinceMs = nowAt(at).monotonicMs - (look.behindMs ?? 0);
  const view = { cronJob: one, jobs: look.jobs ?? [], lastLookMs, behindSinceMs };
  return reconcileCronJob(view, nowAt(at));
}

const made = (actions: readonly Action[]): string[] =>
  ofType(actions, 'create').map(({ object }) => object.metadata?.annotations?.[SCHEDULED] ?? '');
const statusIn = (actions: readonly Action[]): CronJobStatus | undefined =>
  (ofType(actions, 'updateStatus')[0]?.object as CronJob | undefined)?.status;
const reasons = (actions: readonly Action[]): string[] =>
  ofType(actions, 'event').map(({ reason }) => reason);

t.test('a job at each time of the schedule', async (t) => {
  const before = decide(cronJob(), '2026-01-01T09:59:40Z');
  t.same(made(before), []);
  t.match(ofType(before, 'requeueAfter'), [{ delayMs: 20_000 }], 'looked at again on time');
  const actions = decide(cronJob(), '2026-01-01T10:00:00Z');
  t.match(ofType(actions, 'create')[0]?.object, {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: `tick-${Date.parse('2026-01-01T10:00:00Z') / MINUTE_MS}`,
      labels: { app: 'tick' },
      annotations: { by: 'me', [SCHEDULED]: '2026-01-01T10:00:00Z' },
      ownerReferences: [{ kind: 'CronJob', uid: 'c', controller: true }],
    },
  });
  t.match(statusIn(actions), { lastScheduleTime: '2026-01-01T10:00:00Z' });
  const order = actions.map(({ type }) => type);
  t.ok(order.indexOf('create') < order.indexOf('updateStatus'), 'noted when it is done');
  const noted = { lastScheduleTime: '2026-01-01T10:00:00Z' };
  t.same(made(decide(cronJob({}, noted), '2026-01-01T10:04:59Z')), [], 'once');
  const crashed = decide(cronJob(), '2026-01-01T10:00:01Z', {
    jobs: [jobOf('2026-01-01T10:00:00Z')],
  });
  t.same(made(crashed), [], 'a crash before it was noted does not run it again');
  t.match(statusIn(crashed), noted);
  const far = decide(cronJob({ schedule: '0 0 1 1 *' }), '2026-01-01T10:00:00Z');
  t.match(ofType(far, 'requeueAfter'), [{ delayMs: 60_000 }], 'the clock may jump meanwhile');
});

t.test('what was missed, and clocks that jump, make one job at most', async (t) => {
  const noted = { lastScheduleTime: '2026-01-01T10:00:00Z' };
  const late = decide(cronJob({}, noted), '2026-01-01T10:31:00Z');
  t.same(made(late), ['2026-01-01T10:30:00Z'], 'the latest of six');
  t.same(reasons(late), []);
  const jump = decide(cronJob({}, noted), '2076-01-01T10:31:00Z');
  t.same(made(jump), ['2076-01-01T10:30:00Z'], 'fifty years ahead');
  const yearly = decide(cronJob({ schedule: '0 0 29 2 *' }, noted), '2031-01-01T00:00:00Z');
  t.same(made(yearly), ['2028-02-29T00:00:00Z'], 'years ago');
  const daily = decide(cronJob({ schedule: '0 3 * * *' }, noted), '2026-06-01T02:00:00Z');
  t.same(made(daily), ['2026-05-31T03:00:00Z']);
  t.same(reasons(decide(cronJob({ schedule: '* * * * *' }, noted), '2026-01-01T13:00:00Z')), [
    'TooManyMissedTimes',
  ]);
  const deadline = cronJob({ startingDeadlineSeconds: 30 }, noted);
  t.same(made(decide(deadline, '2026-01-01T10:31:00Z')), [], 'too late');
  t.same(made(decide(deadline, '2026-01-01T10:30:29Z')), ['2026-01-01T10:30:00Z']);

  const one = cronJob({}, noted);
  t.same(made(decide(one, '2026-01-01T09:30:00Z')), [], 'a small step back runs nothing twice');
  t.notOk(isClockBehind(one, Date.parse('2026-01-01T09:30:00Z')));
  const booted = '1970-01-01T00:05:00Z';
  t.ok(isClockBehind(one, Date.parse(booted)));
  t.same(made(decide(one, booted, { lastLook: '1970-01-01T00:04:00Z' })), [], 'not believed');
  const look = { lastLook: '1970-01-01T00:04:00Z', behindMs: 600_000 };
  t.same(made(decide(one, booted, look)), [booted], 'unless it stays like that');
  t.same(made(decide(one, booted, { ...look, lastLook: booted })), [], 'and then once');
});

t.test('concurrency policies', async (t) => {
  const running = { jobs: [jobOf('2026-01-01T10:00:00Z')] };
  const noted = { lastScheduleTime: '2026-01-01T10:00:00Z' };
  const at = (concurrencyPolicy: string) =>
    decide(cronJob({ concurrencyPolicy }, noted), '2026-01-01T10:05:00Z', running);
  t.same(made(at('Allow')), ['2026-01-01T10:05:00Z']);
  t.same(made(at('Forbid')), []);
  t.same(reasons(at('Forbid')), ['JobAlreadyActive']);
  t.equal(statusIn(at('Forbid'))?.lastScheduleTime, '2026-01-01T10:00:00Z', 'still to be done');
  t.same(made(at('Replace')), ['2026-01-01T10:05:00Z']);
  t.match(ofType(at('Replace'), 'delete'), [
    { name: jobOf('2026-01-01T10:00:00Z').metadata?.name },
  ]);
  const ended = { jobs: [jobOf('2026-01-01T10:00:00Z', 'Complete')] };
  const after = cronJob({ concurrencyPolicy: 'Forbid' }, noted);
  t.same(
    made(decide(after, '2026-01-01T10:06:00Z', ended)),
    ['2026-01-01T10:05:00Z'],
    'made up for',
  );
});

t.test('suspended, unknown zone, going', async (t) => {
  t.same(decide(cronJob({ suspend: true }, { active: [] }), '2026-01-01T10:05:00Z'), []);
  const lost = decide(cronJob({ timeZone: 'Mars/Base' }), '2026-01-01T10:05:00Z');
  t.same(reasons(lost), ['UnknownTimeZone']);
  const going = cronJob();
  const metadata = { ...going.metadata, deletionTimestamp: '2026-01-01T10:00:00Z' };
  t.same(made(decide({ ...going, metadata }, '2026-01-01T10:05:00Z')), []);
});

t.test('status and history', async (t) => {
  const times = ['09:00', '09:05', '09:10', '09:15', '09:20'].map((at) => `2026-01-01T${at}:00Z`);
  const [first = '', second = '', ...others] = times;
  const jobs = [
    jobOf(first, 'Failed'),
    jobOf(second, 'Failed'),
    ...others.map((at) => jobOf(at, 'Complete')),
    jobOf('2026-01-01T10:00:00Z'),
    { ...jobOf('2026-01-01T09:25:00Z'), metadata: { ...jobOf(first).metadata, annotations: {} } },
  ];
  const active = [first, '2026-01-01T08:00:00Z'].map((at) => {
    const { name = '', uid = '' } = jobOf(at).metadata ?? {};
    return { kind: 'Job', name, uid };
  });
  const one = cronJob({ suspend: true, successfulJobsHistoryLimit: 2 }, { active });
  const actions = decide(one, '2026-01-01T10:01:00Z', { jobs });
  t.same(
    ofType(actions, 'delete').map(({ name }) => name),
    [others[0] ?? '', first].map((at) => jobOf(at).metadata?.name),
    'the oldest beyond the limits',
  );
  t.match(statusIn(actions), {
    active: [{ name: jobOf('2026-01-01T10:00:00Z').metadata?.name }],
    lastSuccessfulTime: others[2],
  });
  t.equal(statusIn(actions)?.active?.length, 1, 'a job that was made by hand is no turn of it');
  t.same(reasons(actions), ['SawCompletedJob', 'MissingJob']);
});
