/** CronJob: Jobs at the times of a schedule. */
import type { CronJob } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import {
  AGE,
  ageCell,
  containerNamesCell,
  count,
  imagesCell,
  NAME,
  NONE,
  nameCell,
  selectorCell,
  TEMPLATE_COLUMNS,
  text,
} from './columns.ts';
import { defaultPodTemplate } from './defaults/pod-spec.ts';
import { ageSince } from './human-duration.ts';
import { jobWarnings } from './job.ts';
import { dropStatus, keepStatus } from './status.ts';
import { validateCronJob } from './validate/cron-job.ts';
import { validateObjectMeta } from './validate/meta.ts';

export const CRON_JOB: KindModule<CronJob> = {
  group: 'batch',
  version: 'v1',
  kind: 'CronJob',
  plural: 'cronjobs',
  singular: 'cronjob',
  shortNames: ['cj'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.batch.v1.CronJob',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: true,
  setDefaults(cronJob) {
    cronJob.spec ??= { schedule: '', jobTemplate: {} };
    const { spec } = cronJob;
    spec.concurrencyPolicy ||= 'Allow';
    spec.suspend ??= false;
    spec.successfulJobsHistoryLimit ??= 3;
    spec.failedJobsHistoryLimit ??= 1;
    spec.jobTemplate.spec ??= { template: {} };
    // The Jobs themselves get the rest when they are made.
    defaultPodTemplate(spec.jobTemplate.spec.template);
  },
  prepareForCreate: (cronJob) => dropStatus(cronJob, {}),
  prepareForUpdate: keepStatus,
  validate: (cronJob) => [...validateObjectMeta(cronJob.metadata), ...validateCronJob(cronJob)],
  warnings: (cronJob) => jobWarnings('spec.jobTemplate.spec', cronJob.spec?.jobTemplate.spec),
  columns: [
    NAME,
    text('Schedule', 'When a job is made, as five cron fields or a macro.'),
    text('Timezone', 'Where the schedule reads the clock on the wall.'),
    text('Suspend', 'Is no job made for the time being?'),
    count('Active', 'How many of its jobs run.'),
    text('Last Schedule', 'Time since a job was made last.'),
    AGE,
    ...TEMPLATE_COLUMNS,
  ],
  row(cronJob, nowMs) {
    const { spec, status } = cronJob;
    const template = spec?.jobTemplate.spec?.template.spec;
    const last = status?.lastScheduleTime;
    return [
      nameCell(cronJob),
      spec?.schedule ?? '',
      spec?.timeZone ?? NONE,
      spec?.suspend === undefined ? NONE : spec.suspend ? 'True' : 'False',
      status?.active?.length ?? 0,
      last === undefined ? NONE : ageSince(last, nowMs),
      ageCell(cronJob, nowMs),
      containerNamesCell(template?.containers),
      imagesCell(template?.containers),
      selectorCell(spec?.jobTemplate.spec?.selector),
    ];
  },
};
