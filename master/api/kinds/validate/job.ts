/** A Job's spec, as a Job of its own and as the template in a CronJob. Wording as in batch/v1. */
import type { Job, JobSpec, PodFailurePolicyRule } from '../../../../protocol/kinds/types.ts';
import { dnsLabelErrors } from '../../../../protocol/names.ts';
import {
  matchesLabelSelector,
  validateLabelSelector,
  validateLabels,
} from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { deepEqual } from '../../equal.ts';
import {
  eachReason,
  IMMUTABLE,
  invalidValue,
  notNegative,
  notSupported,
  oneOf,
  required,
  tooMany,
} from './errors.ts';
import { validateAnnotations } from './meta.ts';
import { validatePodSpec } from './pod-spec.ts';

const COMPLETION_MODES: readonly string[] = ['NonIndexed', 'Indexed'];
const REPLACEMENT_POLICIES: readonly string[] = ['Failed', 'TerminatingOrFailed'];
const FAILURE_ACTIONS: readonly string[] = ['Count', 'FailIndex', 'FailJob', 'Ignore'];
/** Kubernetes' bounds. */
const INDEXED_PARALLELISM_MAX = 100_000;
const FAILURE_RULES_MAX = 20;
const EXIT_CODES_MAX = 255;

export function validateJob(job: Job): FieldError[] {
  const { selector, template, manualSelector } = job.spec ?? { template: {} };
  const errors = validateJobSpec('spec', job.spec ?? { template: {} });
  if (selector === undefined) {
    errors.push(required('spec.selector'));
  } else {
    const wrong = validateLabelSelector(selector, 'spec.selector');
    errors.push(...wrong);
    const labels = template.metadata?.labels ?? {};
    if (wrong.length === 0 && !matchesLabelSelector(selector, labels)) {
      const why = '`selector` does not match template `labels`';
      errors.push(invalidValue('spec.template.metadata.labels', labels, why));
    }
    const uid = job.metadata?.uid ?? '';
    const generated = { 'batch.kubernetes.io/controller-uid': uid, 'controller-uid': uid };
    const names = { 'batch.kubernetes.io/job-name': job.metadata?.name ?? '' };
    const made = { ...generated, ...names, 'job-name': job.metadata?.name ?? '' };
    if (manualSelector !== true && wrong.length === 0 && !matchesLabelSelector(selector, made)) {
      errors.push(invalidValue('spec.selector', selector, '`selector` not auto-generated'));
    }
  }
  if (job.spec?.completionMode === 'Indexed' && job.spec.completions !== undefined) {
    // The pod with the highest index is named after the Job, and its hostname is a DNS label.
    const hostname = `${job.metadata?.name ?? ''}-${Math.max(0, job.spec.completions - 1)}`;
    const field = 'metadata.name';
    const why = `will not able to create pod with invalid DNS hostname: ${hostname}`;
    if (dnsLabelErrors(hostname).length > 0) errors.push(invalidValue(field, hostname, why));
  }
  return errors;
}

/** What holds for a Job and for the template of Jobs in a CronJob; the selector is not looked at. */
export function validateJobSpec(path: string, spec: JobSpec): FieldError[] {
  const { template } = spec;
  const errors = [
    ...notNegative(`${path}.parallelism`, spec.parallelism),
    ...notNegative(`${path}.completions`, spec.completions),
    ...notNegative(`${path}.activeDeadlineSeconds`, spec.activeDeadlineSeconds),
    ...notNegative(`${path}.backoffLimit`, spec.backoffLimit),
    ...notNegative(`${path}.ttlSecondsAfterFinished`, spec.ttlSecondsAfterFinished),
    ...notNegative(`${path}.backoffLimitPerIndex`, spec.backoffLimitPerIndex),
    ...notNegative(`${path}.maxFailedIndexes`, spec.maxFailedIndexes),
    ...oneOf(`${path}.completionMode`, spec.completionMode, COMPLETION_MODES),
    ...oneOf(`${path}.podReplacementPolicy`, spec.podReplacementPolicy, REPLACEMENT_POLICIES),
    ...validateManagedBy(`${path}.managedBy`, spec.managedBy),
    ...validateIndexed(path, spec),
    ...validateFailurePolicy(`${path}.podFailurePolicy`, spec),
    ...validateLabels(template.metadata?.labels ?? {}, `${path}.template.metadata.labels`),
    ...validateAnnotations(`${path}.template.metadata.annotations`, template.metadata?.annotations),
    ...validatePodSpec(`${path}.template.spec`, template.spec ?? { containers: [] }),
  ];
  const restartPolicy = template.spec?.restartPolicy;
  const field = `${path}.template.spec.restartPolicy`;
  if (restartPolicy === 'Always') {
    errors.push(required(field, 'valid values: "OnFailure", "Never"'));
  }
  if (spec.podFailurePolicy !== undefined && restartPolicy !== 'Never') {
    const why = 'only "Never" is supported when podFailurePolicy is specified';
    errors.push(invalidValue(field, restartPolicy, why));
  }
  return errors;
}

function validateIndexed(path: string, spec: JobSpec): FieldError[] {
  const errors: FieldError[] = [];
  const mode = spec.completionMode;
  if (mode === 'Indexed') {
    if (spec.completions === undefined) {
      errors.push(required(`${path}.completions`, `when completion mode is ${mode}`));
    }
    if ((spec.parallelism ?? 0) > INDEXED_PARALLELISM_MAX) {
      const why = `must be less than or equal to ${INDEXED_PARALLELISM_MAX} when completion mode is ${mode}`;
      errors.push(invalidValue(`${path}.parallelism`, spec.parallelism, why));
    }
    return errors;
  }
  for (const name of ['backoffLimitPerIndex', 'maxFailedIndexes'] as const) {
    if (spec[name] === undefined) continue;
    const why = 'requires indexed completion mode';
    errors.push(invalidValue(`${path}.${name}`, spec[name], why));
  }
  return errors;
}

function validateFailurePolicy(path: string, spec: JobSpec): FieldError[] {
  const rules = spec.podFailurePolicy?.rules ?? [];
  if (rules.length > FAILURE_RULES_MAX) {
    return [tooMany(`${path}.rules`, rules.length, FAILURE_RULES_MAX)];
  }
  const names = new Set(
    [...(spec.template.spec?.containers ?? []), ...(spec.template.spec?.initContainers ?? [])].map(
      ({ name }) => name,
    ),
  );
  return rules.flatMap((rule, index) => validateRule(`${path}.rules[${index}]`, rule, names));
}

function validateRule(
  path: string,
  rule: PodFailurePolicyRule,
  names: ReadonlySet<string>,
): FieldError[] {
  const errors: FieldError[] = [];
  if (!rule.action) errors.push(required(`${path}.action`));
  else if (!FAILURE_ACTIONS.includes(rule.action)) {
    errors.push(notSupported(`${path}.action`, rule.action, FAILURE_ACTIONS));
  }
  const { onExitCodes, onPodConditions = [] } = rule;
  if (onExitCodes !== undefined && onPodConditions.length > 0) {
    const why = 'specifying both OnExitCodes and OnPodConditions is not supported';
    errors.push(invalidValue(path, rule, why));
  }
  if (onExitCodes === undefined && onPodConditions.length === 0) {
    const why = 'specifying one of OnExitCodes and OnPodConditions is required';
    errors.push(invalidValue(path, rule, why));
  }
  for (const [index, { type, status }] of onPodConditions.entries()) {
    const at = `${path}.onPodConditions[${index}]`;
    if (!type) errors.push(required(`${at}.type`));
    errors.push(...oneOf(`${at}.status`, status, ['False', 'True', 'Unknown']));
  }
  if (onExitCodes === undefined) return errors;
  const at = `${path}.onExitCodes`;
  const { operator, containerName, values } = onExitCodes;
  if (operator !== 'In' && operator !== 'NotIn') {
    errors.push(notSupported(`${at}.operator`, operator, ['In', 'NotIn']));
  }
  if (containerName && !names.has(containerName)) {
    const why = 'must be one of the container or initContainer names in the pod template';
    errors.push(invalidValue(`${at}.containerName`, containerName, why));
  }
  if (values.length === 0)
    errors.push(invalidValue(`${at}.values`, values, 'at least one value is required'));
  if (values.length > EXIT_CODES_MAX) {
    errors.push(tooMany(`${at}.values`, values.length, EXIT_CODES_MAX));
  }
  for (const [index, value] of values.entries()) {
    if (value !== 0 || operator !== 'In') continue;
    const why = 'must not be 0 for the In operator';
    errors.push(invalidValue(`${at}.values[${index}]`, value, why));
  }
  return errors;
}

/**
 * What a Job that exists may change: parallelism, limits and deadlines; the template only as far as scheduling goes,
 * and only before the first start or while suspended; completions together with parallelism for Indexed.
 */
export function validateJobUpdate(next: Job, previous: Job): FieldError[] {
  const after = next.spec ?? { template: {} };
  const before = previous.spec ?? { template: {} };
  const errors: FieldError[] = [];
  const fixed = [
    'selector',
    'completionMode',
    'podFailurePolicy',
    'backoffLimitPerIndex',
    'managedBy',
    'successPolicy',
  ] as const;
  for (const name of fixed) {
    if (deepEqual(after[name], before[name])) continue;
    errors.push(invalidValue(`spec.${name}`, after[name] ?? null, IMMUTABLE));
  }
  if (after.completions !== before.completions) {
    const isElastic =
      after.completionMode === 'Indexed' &&
      after.completions !== undefined &&
      before.completions !== undefined;
    if (!isElastic) {
      errors.push(invalidValue('spec.completions', after.completions ?? null, IMMUTABLE));
    } else if (after.completions !== after.parallelism) {
      const why = 'can only be modified in tandem with spec.parallelism';
      errors.push(invalidValue('spec.completions', after.completions, why));
    }
  }
  const wasHeld = before.suspend === true && previous.status?.startTime === undefined;
  const kept = wasHeld ? withScheduling(before, after) : before.template;
  if (!deepEqual(after.template, kept)) {
    errors.push(invalidValue('spec.template', after.template, IMMUTABLE));
  }
  return errors;
}

/** The old template with the scheduling directives of the new one. */
function withScheduling({ template: old }: JobSpec, { template }: JobSpec): JobSpec['template'] {
  const { labels, annotations } = template.metadata ?? {};
  const { nodeSelector, tolerations, schedulingGates, affinity } = template.spec ?? {};
  const {
    nodeSelector: _n,
    tolerations: _t,
    schedulingGates: _s,
    affinity: _a,
    ...rest
  } = old.spec ?? { containers: [] };
  const { labels: _l, annotations: _an, ...meta } = old.metadata ?? {};
  return {
    ...(old.metadata === undefined && template.metadata === undefined
      ? {}
      : {
          metadata: {
            ...meta,
            ...(labels === undefined ? {} : { labels }),
            ...(annotations === undefined ? {} : { annotations }),
          },
        }),
    spec: {
      ...rest,
      ...(nodeSelector === undefined ? {} : { nodeSelector }),
      ...(tolerations === undefined ? {} : { tolerations }),
      ...(schedulingGates === undefined ? {} : { schedulingGates }),
      ...(affinity === undefined ? {} : { affinity }),
    },
  };
}

/** `managedBy` names the controller that acts on the Job, as a path of the form `domain/name`. */
function validateManagedBy(path: string, managedBy: string | undefined): FieldError[] {
  if (managedBy === undefined) return [];
  const why = 'must be a domain-prefixed path (such as "acme.io/foo")';
  const isPath = /^[a-z0-9.-]+\/[A-Za-z0-9._~%!$&'()*+,;=:-]+$/.test(managedBy);
  return eachReason(path, managedBy, isPath ? [] : [why]);
}
