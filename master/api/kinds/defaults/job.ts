/** Defaults of a Job's spec, in place and idempotent; a CronJob's template of Jobs has the same. */
import type { JobSpec } from '../../../../protocol/kinds/types.ts';
import { defaultPodTemplate } from './pod-spec.ts';

const BACKOFF_LIMIT = 6;
const INT32_MAX = 2_147_483_647;

export function defaultJobSpec(spec: JobSpec): void {
  // Without both it is one pod that has to succeed; without completions alone, a work queue.
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? BACKOFF_LIMIT : INT32_MAX;
  spec.completionMode ||= 'NonIndexed';
  spec.suspend ??= false;
  spec.manualSelector ??= false;
  spec.podReplacementPolicy ||=
    spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed';
  for (const rule of spec.podFailurePolicy?.rules ?? []) {
    for (const condition of rule.onPodConditions ?? []) condition.status ||= 'True';
  }
  defaultPodTemplate(spec.template);
}
