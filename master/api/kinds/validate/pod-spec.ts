/** A pod's spec as a whole: containers, volumes, and the fields that apply to all of them. */
import type { PodSpec } from '../../../../protocol/kinds/types.ts';
import { dnsLabelErrors, dnsSubdomainErrors, labelKeyErrors } from '../../../../protocol/names.ts';
import { validateLabels } from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import {
  validateContainers,
  validateEphemeralContainers,
  validateInitContainers,
} from './containers.ts';
import {
  duplicate,
  eachReason,
  forbidden,
  invalidValue,
  NOT_NEGATIVE,
  notSupported,
  required,
} from './errors.ts';
import { inclusiveRange } from './names.ts';
import { validateIp } from './ports.ts';
import { validateAffinity, validateSpread, validateTolerations } from './scheduling.ts';
import { validateIds, validateSeccomp } from './security-context.ts';
import { validateVolumes } from './volumes.ts';

const RESTART_POLICIES: readonly string[] = ['Always', 'OnFailure', 'Never'];
const DNS_POLICIES: readonly string[] = [
  'ClusterFirst',
  'ClusterFirstWithHostNet',
  'Default',
  'None',
];
const ID_MAX = 2_147_483_647;
const NAMESERVERS_MAX = 3;
const SEARCHES_MAX = 32;
const SEARCH_CHARACTERS_MAX = 2048;

export function validatePodSpec(path: string, spec: PodSpec): FieldError[] {
  const { names, errors } = validateVolumes(`${path}.volumes`, spec.volumes ?? []);
  errors.push(
    ...validateContainers(path, spec, names),
    ...validateInitContainers(path, spec, names),
    ...validateEphemeralContainers(path, spec, names),
    ...validatePolicies(path, spec),
    ...validateLabels(spec.nodeSelector ?? {}, `${path}.nodeSelector`),
    ...validateIds(`${path}.securityContext`, spec.securityContext ?? {}),
    ...validateSeccomp(
      `${path}.securityContext.seccompProfile`,
      spec.securityContext?.seccompProfile,
    ),
    ...validateReferences(path, spec),
    ...validateAffinity(`${path}.affinity`, spec.affinity),
    ...validateDns(path, spec),
    ...validateSpread(`${path}.topologySpreadConstraints`, spec.topologySpreadConstraints ?? []),
    ...validateDeadlines(path, spec),
    ...validateHostNames(path, spec),
    ...validateTolerations(`${path}.tolerations`, spec.tolerations ?? []),
    ...validateGates(path, spec),
  );
  // Of a pod itself they are what its subresource has added.
  if ((spec.ephemeralContainers ?? []).length > 0 && path !== 'spec') {
    const why = 'ephemeral containers not allowed in pod template';
    errors.push(forbidden(`${path}.ephemeralContainers`, why));
  }
  if (spec.hostPID === true && spec.shareProcessNamespace === true) {
    const why = 'ShareProcessNamespace and HostPID cannot both be enabled';
    errors.push(invalidValue(`${path}.securityContext.shareProcessNamespace`, true, why));
  }
  return errors;
}

function validatePolicies(path: string, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  if (!spec.restartPolicy) errors.push(required(`${path}.restartPolicy`));
  else if (!RESTART_POLICIES.includes(spec.restartPolicy)) {
    errors.push(notSupported(`${path}.restartPolicy`, spec.restartPolicy, RESTART_POLICIES));
  }
  if (!spec.dnsPolicy) errors.push(required(`${path}.dnsPolicy`));
  else if (!DNS_POLICIES.includes(spec.dnsPolicy)) {
    errors.push(notSupported(`${path}.dnsPolicy`, spec.dnsPolicy, DNS_POLICIES));
  }
  return errors;
}

/** Names of other objects. */
function validateReferences(path: string, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, secret] of (spec.imagePullSecrets ?? []).entries()) {
    if (!secret.name) errors.push(required(`${path}.imagePullSecrets[${index}].name`));
  }
  const names = [
    'serviceAccountName',
    'nodeName',
    'priorityClassName',
    'runtimeClassName',
  ] as const;
  for (const field of names) {
    const name = spec[field];
    if (name) errors.push(...eachReason(`${path}.${field}`, name, dnsSubdomainErrors(name)));
  }
  return errors;
}

function validateDns(path: string, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  const { nameservers = [], searches = [], options = [] } = spec.dnsConfig ?? {};
  const at = `${path}.dnsConfig`;
  if (spec.dnsPolicy === 'None') {
    const why = 'must provide `dnsConfig` when `dnsPolicy` is None';
    if (spec.dnsConfig === undefined) return [required(at, why)];
    if (nameservers.length === 0) {
      const missing = 'must provide at least one DNS nameserver when `dnsPolicy` is None';
      errors.push(required(`${at}.nameservers`, missing));
    }
  }
  if (nameservers.length > NAMESERVERS_MAX) {
    const why = `must not have more than ${NAMESERVERS_MAX} nameservers`;
    errors.push(invalidValue(`${at}.nameservers`, nameservers, why));
  }
  for (const [index, ip] of nameservers.entries()) {
    errors.push(...validateIp(`${at}.nameservers[${index}]`, ip));
  }
  if (searches.length > SEARCHES_MAX) {
    const why = `must not have more than ${SEARCHES_MAX} search paths`;
    errors.push(invalidValue(`${at}.searches`, searches, why));
  }
  if (searches.join(' ').length > SEARCH_CHARACTERS_MAX) {
    const why = `must not have more than ${SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list`;
    errors.push(invalidValue(`${at}.searches`, searches, why));
  }
  for (const [index, search] of searches.entries()) {
    const name = search.replace(/\.$/, '');
    errors.push(...eachReason(`${at}.searches[${index}]`, search, dnsSubdomainErrors(name)));
  }
  for (const [index, option] of options.entries()) {
    if (!option.name) errors.push(required(`${at}.options[${index}]`, 'must not be empty'));
  }
  return errors;
}

function validateDeadlines(path: string, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && (deadline < 1 || deadline > ID_MAX)) {
    const why = inclusiveRange(1, ID_MAX);
    errors.push(invalidValue(`${path}.activeDeadlineSeconds`, deadline, why));
  }
  const grace = spec.terminationGracePeriodSeconds;
  if (grace !== undefined && grace < 0) {
    errors.push(invalidValue(`${path}.terminationGracePeriodSeconds`, grace, NOT_NEGATIVE));
  }
  return errors;
}

function validateHostNames(path: string, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['hostname', 'subdomain'] as const) {
    const name = spec[field];
    if (name) errors.push(...eachReason(`${path}.${field}`, name, dnsLabelErrors(name)));
  }
  for (const [index, alias] of (spec.hostAliases ?? []).entries()) {
    const at = `${path}.hostAliases[${index}]`;
    errors.push(...validateIp(`${at}.ip`, alias.ip));
    for (const [i, name] of (alias.hostnames ?? []).entries()) {
      errors.push(...eachReason(`${at}.hostnames[${i}]`, name, dnsSubdomainErrors(name)));
    }
  }
  return errors;
}

/** Gates that hold a pod back from scheduling, and conditions that it waits for before it is ready. */
function validateGates(path: string, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, { name }] of (spec.schedulingGates ?? []).entries()) {
    const field = `${path}.schedulingGates[${index}]`;
    errors.push(...eachReason(field, name, labelKeyErrors(name)));
    if (names.has(name)) errors.push(duplicate(field, name));
    names.add(name);
  }
  if (names.size > 0 && spec.nodeName) {
    const why = 'cannot be set until all schedulingGates have been cleared';
    errors.push(forbidden(`${path}.nodeName`, why));
  }
  for (const [index, { conditionType }] of (spec.readinessGates ?? []).entries()) {
    const field = `${path}.readinessGates[${index}].conditionType`;
    errors.push(...eachReason(field, conditionType, labelKeyErrors(conditionType)));
  }
  return errors;
}
