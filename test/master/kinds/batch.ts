/** Job and CronJob. */
import t from 'tap';
import type { Job, JobSpec } from '../../../protocol/kinds/types.ts';
import { CREATED, cells, created, errorsOf, moduleOf, warningsOf } from './manifest.ts';

const NEVER = '{restartPolicy: Never, containers: [{name: a, image: tool}]}';

const jobYaml = (more = '', spec = NEVER) => `
metadata: {name: work, uid: u1, creationTimestamp: '${CREATED}'}
spec:
  ${more}
  template:
    metadata: {labels: {app: tool}}
    spec: ${spec}
`;

t.test('job', async (t) => {
  t.test('defaults', async (t) => {
    const object = created('Job', jobYaml());
    t.match(object, {
      metadata: { labels: { app: 'tool', 'job-name': 'work' } },
      spec: {
        parallelism: 1,
        completions: 1,
        backoffLimit: 6,
        completionMode: 'NonIndexed',
        suspend: false,
        manualSelector: false,
        podReplacementPolicy: 'TerminatingOrFailed',
        selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': 'u1' } },
        template: {
          metadata: {
            labels: {
              app: 'tool',
              'batch.kubernetes.io/controller-uid': 'u1',
              'controller-uid': 'u1',
              'batch.kubernetes.io/job-name': 'work',
              'job-name': 'work',
            },
          },
        },
      },
    });
    t.strictSame(moduleOf('Job').validate(object), []);
    const queue = created('Job', jobYaml('parallelism: 3'));
    t.match(queue, { spec: { parallelism: 3, completions: undefined } }, 'a work queue');
    const policy = 'podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: X}]}]}';
    t.match(created('Job', jobYaml(policy)), {
      spec: {
        podReplacementPolicy: 'Failed',
        podFailurePolicy: { rules: [{ onPodConditions: [{ status: 'True' }] }] },
      },
    });
  });

  t.test('errors', async (t) => {
    const policy = (rule: string) => jobYaml(`podFailurePolicy: {rules: [${rule}]}`);
    const rules = 'spec.podFailurePolicy.rules[0]';
    const cases: [string, string][] = [
      [
        jobYaml('', '{containers: [{name: a, image: tool}]}'),
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
      ],
      [
        jobYaml('completions: -1'),
        'spec.completions: Invalid value: -1: must be greater than or equal to 0',
      ],
      [
        jobYaml('backoffLimit: -1'),
        'spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0',
      ],
      [
        jobYaml('completionMode: Odd'),
        'spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed"',
      ],
      [
        jobYaml('completionMode: Indexed\n  parallelism: 2'),
        'spec.completions: Required value: when completion mode is Indexed',
      ],
      [
        jobYaml('backoffLimitPerIndex: 1'),
        'spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode',
      ],
      [jobYaml('managedBy: me'), 'spec.managedBy: Invalid value: "me": must be a domain-prefixed'],
      [jobYaml('selector: {matchLabels: {a: b}}'), 'spec.template.metadata.labels: Invalid value'],
      [
        jobYaml('selector: {matchLabels: {app: tool}}'),
        'spec.selector: Invalid value: {"matchLabels":{"app":"tool"}}: `selector` not auto-generated',
      ],
      [
        policy('{action: Ignore}'),
        `${rules}: Invalid value: {"action":"Ignore"}: specifying one of`,
      ],
      [
        policy('{action: Odd, onPodConditions: [{type: X}]}'),
        `${rules}.action: Unsupported value: "Odd": supported values: "Count", "FailIndex", "FailJob", "Ignore"`,
      ],
      [
        policy('{action: FailJob, onExitCodes: {operator: In, values: [0]}}'),
        `${rules}.onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator`,
      ],
      [
        policy('{action: FailJob, onExitCodes: {containerName: z, operator: In, values: [1]}}'),
        `${rules}.onExitCodes.containerName: Invalid value: "z": must be one of the container`,
      ],
    ];
    for (const [yaml, expected] of cases) {
      t.equal((errorsOf('Job', yaml)[0] ?? '').slice(0, expected.length), expected);
    }
    const own = jobYaml('manualSelector: true\n  selector: {matchLabels: {app: tool}}');
    t.strictSame(errorsOf('Job', own), []);
  });

  t.test('what may change', async (t) => {
    // As a patch does it: what the server has added stays.
    const change = (more: string, patch: Partial<JobSpec>): string[] => {
      const module = moduleOf('Job');
      const before: Job = created('Job', jobYaml(more));
      const spec: JobSpec = { ...(before.spec ?? { template: {} }), ...patch };
      const after: Job = { ...before, spec };
      const errors = [...module.validate(after), ...(module.validateUpdate?.(after, before) ?? [])];
      return errors.map(({ field, message }) => `${field}: ${message}`);
    };
    t.strictSame(change('', { parallelism: 3, suspend: true, activeDeadlineSeconds: 9 }), []);
    t.strictSame(change('', { completions: 2 }), [
      'spec.completions: Invalid value: 2: field is immutable',
    ]);
    t.strictSame(change('', { completionMode: 'Indexed' }), [
      'spec.completionMode: Invalid value: "Indexed": field is immutable',
    ]);
    const elastic = 'completionMode: Indexed\n  completions: 2\n  parallelism: 2';
    t.strictSame(change(elastic, { completions: 4, parallelism: 4 }), [], 'an elastic indexed job');
    t.strictSame(change(elastic, { completions: 4 }), [
      'spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism',
    ]);
    const { template } = (created('Job', jobYaml()) as Job).spec ?? { template: {} };
    const containers = template.spec?.containers ?? [];
    const placed = {
      ...template,
      spec: { ...template.spec, containers, nodeSelector: { a: 'b' } },
    };
    t.strictSame(change('suspend: true', { template: placed }), [], 'where, while suspended');
    t.match(change('', { template: placed }), [/^spec\.template: .*field is immutable$/]);
    const other = { ...template, spec: { ...template.spec, containers: [] } };
    t.match(change('suspend: true', { template: other }).at(-1), /^spec\.template: .*immutable$/);
  });

  t.test('cells', async (t) => {
    const object = created('Job', jobYaml('completions: 3'));
    t.match(cells('Job', object), {
      Name: 'work',
      Status: 'Running',
      Completions: '0/3',
      Duration: '',
    });
    const status = (fields: object) => {
      Reflect.set(object, 'status', fields);
      return cells('Job', object);
    };
    const startTime = '2026-01-09T23:55:00Z';
    t.match(status({ startTime, succeeded: 1 }), { Completions: '1/3', Duration: '5m' });
    const complete = [{ type: 'Complete', status: 'True' }];
    const completionTime = '2026-01-09T23:56:40Z';
    t.match(status({ startTime, completionTime, conditions: complete, succeeded: 3 }), {
      Status: 'Complete',
      Duration: '100s',
    });
    for (const type of ['Failed', 'Suspended', 'FailureTarget']) {
      t.equal(status({ conditions: [{ type, status: 'True' }] }).Status, type);
    }
    const queue = created('Job', jobYaml('parallelism: 2'));
    t.equal(cells('Job', queue).Completions, '0/1 of 2');
  });

  t.test('what is not honoured is told by name', async (t) => {
    const indexed = 'completionMode: Indexed\n  completions: 2\n  backoffLimitPerIndex: 1';
    t.strictSame(warningsOf('Job', jobYaml(indexed)), [
      'spec.backoffLimitPerIndex: stored, but this version of Pier does not count failures per index yet',
    ]);
    t.strictSame(warningsOf('Job', jobYaml()), []);
  });
});

t.test('cron job', async (t) => {
  const cronYaml = (more: string, schedule = '*/5 * * * *', name = 'tick') => `
metadata: {name: ${name}, creationTimestamp: '${CREATED}'}
spec:
  schedule: "${schedule}"
  ${more}
  jobTemplate:
    spec:
      template:
        spec: ${NEVER}
`;
  t.test('defaults', async (t) => {
    const object = created('CronJob', cronYaml(''));
    t.match(object, {
      spec: {
        concurrencyPolicy: 'Allow',
        suspend: false,
        successfulJobsHistoryLimit: 3,
        failedJobsHistoryLimit: 1,
        jobTemplate: { spec: { template: { spec: { dnsPolicy: 'ClusterFirst' } } } },
      },
    });
    t.strictSame(moduleOf('CronJob').validate(object), []);
  });

  t.test('errors', async (t) => {
    const cases: [string, string][] = [
      [cronYaml('', ''), 'spec.schedule: Required value'],
      [cronYaml('', '* * *'), 'spec.schedule: Invalid value: "* * *": expected exactly 5 fields'],
      [
        cronYaml('', 'TZ=UTC * * * * *'),
        'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule',
      ],
      [
        cronYaml('timeZone: Mars/Base'),
        'spec.timeZone: Invalid value: "Mars/Base": unknown time zone',
      ],
      [
        cronYaml('timeZone: Local'),
        'spec.timeZone: Invalid value: "Local": timeZone must be an explicit',
      ],
      [
        cronYaml('timeZone: ""'),
        'spec.timeZone: Invalid value: "": timeZone must be nil or non-empty',
      ],
      [
        cronYaml('concurrencyPolicy: Queue'),
        'spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"',
      ],
      [
        cronYaml('startingDeadlineSeconds: -1'),
        'spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0',
      ],
      [
        cronYaml('', '@daily', 'x'.repeat(53)),
        `metadata.name: Invalid value: "${'x'.repeat(53)}": must be no more than 52 characters`,
      ],
      [
        cronYaml('').replace('Never', 'Always'),
        'spec.jobTemplate.spec.template.spec.restartPolicy: Required value',
      ],
      [
        cronYaml('').replace('template:', 'selector: {matchLabels: {a: b}}\n      template:'),
        'spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated',
      ],
    ];
    for (const [yaml, expected] of cases) {
      t.equal((errorsOf('CronJob', yaml)[0] ?? '').slice(0, expected.length), expected);
    }
  });

  t.test('cells', async (t) => {
    const object = created('CronJob', cronYaml('timeZone: Europe/Berlin'));
    t.match(cells('CronJob', object), {
      Schedule: '*/5 * * * *',
      Timezone: 'Europe/Berlin',
      Suspend: 'False',
      Active: 0,
      'Last Schedule': '<none>',
      Age: '10m',
      Selector: '<none>',
    });
    Reflect.set(object, 'status', { lastScheduleTime: '2026-01-09T23:58:00Z', active: [{}] });
    t.match(cells('CronJob', object), { Active: 1, 'Last Schedule': '2m' });
  });
});
