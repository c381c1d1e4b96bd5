/** A CronJob's spec. Wording as in batch/v1; the schedule's own errors are those of its parser. */

import { CronSyntaxError, isTimeZone, parseSchedule } from '../../../../protocol/cron-schedule.ts';
import type { CronJob } from '../../../../protocol/kinds/types.ts';
import { validateLabels } from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { invalidValue, notNegative, notSupported, required } from './errors.ts';
import { validateJobSpec } from './job.ts';
import { validateAnnotations } from './meta.ts';

const POLICIES: readonly string[] = ['Allow', 'Forbid', 'Replace'];
/** The minutes since 1970 and a hyphen are added for the names of its Jobs. */
const NAME_CHARACTERS_MAX = 52;

export function validateCronJob(cronJob: CronJob): FieldError[] {
  const { metadata, spec } = cronJob;
  const errors: FieldError[] = [];
  const name = metadata?.name ?? '';
  if (name.length > NAME_CHARACTERS_MAX) {
    const why = `must be no more than ${NAME_CHARACTERS_MAX} characters`;
    errors.push(invalidValue('metadata.name', name, why));
  }
  if (spec === undefined) return [...errors, required('spec.schedule')];
  const { concurrencyPolicy = '', jobTemplate } = spec;
  errors.push(
    ...validateSchedule('spec.schedule', spec.schedule),
    ...validateTimeZone('spec.timeZone', spec.timeZone),
    ...notNegative('spec.startingDeadlineSeconds', spec.startingDeadlineSeconds),
    ...notNegative('spec.successfulJobsHistoryLimit', spec.successfulJobsHistoryLimit),
    ...notNegative('spec.failedJobsHistoryLimit', spec.failedJobsHistoryLimit),
    ...validateLabels(jobTemplate.metadata?.labels ?? {}, 'spec.jobTemplate.metadata.labels'),
    ...validateAnnotations(
      'spec.jobTemplate.metadata.annotations',
      jobTemplate.metadata?.annotations,
    ),
    ...validateJobSpec('spec.jobTemplate.spec', jobTemplate.spec ?? { template: {} }),
  );
  if (concurrencyPolicy === '') errors.push(required('spec.concurrencyPolicy'));
  else if (!POLICIES.includes(concurrencyPolicy)) {
    errors.push(notSupported('spec.concurrencyPolicy', concurrencyPolicy, POLICIES));
  }
  const { selector, manualSelector } = jobTemplate.spec ?? {};
  if (selector !== undefined) {
    const why = '`selector` will be auto-generated';
    errors.push(invalidValue('spec.jobTemplate.spec.selector', selector, why));
  }
  if (manualSelector === true) {
    const field = 'spec.jobTemplate.spec.manualSelector';
    errors.push(notSupported(field, manualSelector, ['nil', 'false']));
  }
  return errors;
}

function validateSchedule(field: string, schedule: string): FieldError[] {
  if (!schedule) return [required(field)];
  if (schedule.includes('TZ')) {
    const why = 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead';
    return [invalidValue(field, schedule, why)];
  }
  try {
    parseSchedule(schedule);
    return [];
  } catch (error) {
    if (!(error instanceof CronSyntaxError)) throw error;
    return [invalidValue(field, schedule, error.message)];
  }
}

function validateTimeZone(field: string, timeZone: string | undefined): FieldError[] {
  if (timeZone === undefined) return [];
  if (timeZone === '')
    return [invalidValue(field, timeZone, 'timeZone must be nil or non-empty string')];
  if (timeZone.toLowerCase() === 'local') {
    const why =
      'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones';
    return [invalidValue(field, timeZone, why)];
  }
  if (isTimeZone(timeZone)) return [];
  return [invalidValue(field, timeZone, `unknown time zone ${timeZone}`)];
}
