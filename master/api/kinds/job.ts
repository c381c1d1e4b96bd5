/** Job: pods that run to success, so many times. The rules for its fields are in validate/job.ts. */
import type { Job, JobSpec } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import {
  AGE,
  ageCell,
  containerNamesCell,
  imagesCell,
  NAME,
  nameCell,
  selectorCell,
  TEMPLATE_COLUMNS,
  text,
} from './columns.ts';
import { defaultJobSpec } from './defaults/job.ts';
import { humanDuration } from './human-duration.ts';
import { dropStatus, keepStatus } from './status.ts';
import { podWarnings, warning } from './unsupported.ts';
import { validateJob, validateJobUpdate } from './validate/job.ts';
import { validateObjectMeta } from './validate/meta.ts';

const PREFIX = 'batch.kubernetes.io/';

export const JOB: KindModule<Job> = {
  group: 'batch',
  version: 'v1',
  kind: 'Job',
  plural: 'jobs',
  singular: 'job',
  shortNames: [],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.batch.v1.Job',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: true,
  setDefaults(job) {
    job.spec ??= { template: {} };
    defaultJobSpec(job.spec);
  },
  prepareForCreate(job) {
    dropStatus(job, {});
    if (job.spec?.manualSelector !== true) generateSelector(job);
    const labels = job.spec?.template.metadata?.labels;
    const own = Object.keys(job.metadata?.labels ?? {});
    // Kubernetes: a Job without labels is labelled like its pods.
    if (own.length === 0 && labels !== undefined) job.metadata = { ...job.metadata, labels };
  },
  prepareForUpdate: keepStatus,
  validate: (job) => [...validateObjectMeta(job.metadata), ...validateJob(job)],
  validateUpdate: validateJobUpdate,
  warnings: (job) =>
    // The CronJob has said it already to the person who wrote the template.
    (job.metadata?.ownerReferences ?? []).some(({ controller }) => controller === true)
      ? []
      : jobWarnings('spec', job.spec),
  columns: [
    NAME,
    text('Status', 'What the job is doing, or how it ended.'),
    text('Completions', 'Pods that succeeded of all that must.'),
    text('Duration', 'From the start to the end, or until now.'),
    AGE,
    ...TEMPLATE_COLUMNS,
  ],
  row(job, nowMs) {
    const { spec } = job;
    return [
      nameCell(job),
      statusCell(job),
      completionsCell(job),
      durationCell(job, nowMs),
      ageCell(job, nowMs),
      containerNamesCell(spec?.template.spec?.containers),
      imagesCell(spec?.template.spec?.containers),
      selectorCell(spec?.selector),
    ];
  },
  selectableFields: (job) => ({ 'status.successful': String(job.status?.succeeded ?? 0) }),
};

/** Labels and a selector that no other Job has, because the uid is in them. */
function generateSelector(job: Job): void {
  const { spec } = job;
  const { uid = '', name = '' } = job.metadata ?? {};
  if (spec === undefined) return;
  const controller = `${PREFIX}controller-uid`;
  const labels = {
    ...spec.template.metadata?.labels,
    [controller]: uid,
    'controller-uid': uid,
    [`${PREFIX}job-name`]: name,
    'job-name': name,
  };
  spec.template = { ...spec.template, metadata: { ...spec.template.metadata, labels } };
  // A selector that the user wrote stays, and is refused by the validation.
  spec.selector ??= { matchLabels: { [controller]: uid } };
}

/** What is stored and not honoured yet, of a Job or of a CronJob's template of Jobs. */
export function jobWarnings(path: string, spec: JobSpec | undefined): string[] {
  if (spec === undefined) return [];
  const warnings: string[] = [];
  if (spec.successPolicy !== undefined) {
    warnings.push(warning(`${path}.successPolicy`, 'end jobs by success policies'));
  }
  if (spec.backoffLimitPerIndex !== undefined) {
    warnings.push(warning(`${path}.backoffLimitPerIndex`, 'count failures per index'));
  }
  if (spec.maxFailedIndexes !== undefined) {
    warnings.push(warning(`${path}.maxFailedIndexes`, 'count failures per index'));
  }
  for (const [index, { action }] of (spec.podFailurePolicy?.rules ?? []).entries()) {
    if (action !== 'FailIndex') continue;
    const field = `${path}.podFailurePolicy.rules[${index}].action`;
    warnings.push(warning(field, 'fail single indexes: it counts the failure'));
  }
  return [...warnings, ...podWarnings(`${path}.template.spec`, spec.template.spec)];
}

function has(job: Job, type: string): boolean {
  return (job.status?.conditions ?? []).some((one) => one.type === type && one.status === 'True');
}

function statusCell(job: Job): string {
  if (has(job, 'Complete')) return 'Complete';
  if (has(job, 'Failed')) return 'Failed';
  if (job.metadata?.deletionTimestamp !== undefined) return 'Terminating';
  for (const type of ['Suspended', 'FailureTarget', 'SuccessCriteriaMet']) {
    if (has(job, type)) return type;
  }
  return 'Running';
}

function completionsCell({ spec, status }: Job): string {
  const succeeded = status?.succeeded ?? 0;
  if (spec?.completions !== undefined) return `${succeeded}/${spec.completions}`;
  const parallelism = spec?.parallelism ?? 0;
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function durationCell({ status }: Job, nowMs: number): string {
  if (status?.startTime === undefined) return '';
  const endMs = status.completionTime === undefined ? nowMs : Date.parse(status.completionTime);
  return humanDuration(endMs - Date.parse(status.startTime));
}
