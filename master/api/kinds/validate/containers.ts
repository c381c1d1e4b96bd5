/** Containers of a pod, in order, and what must be unique among them. */
import type { Container, PodSpec } from '../../../../protocol/kinds/types.ts';
import { dnsLabelErrors } from '../../../../protocol/names.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { validateContainer } from './container.ts';
import { duplicate, eachReason, forbidden, notFoundValue, oneOf, required } from './errors.ts';

export function validateContainers(
  path: string,
  spec: PodSpec,
  volumes: ReadonlySet<string>,
): FieldError[] {
  if (spec.containers.length === 0) return [required(`${path}.containers`)];
  const errors = validateNames(`${path}.containers`, spec.containers, new Set());
  for (const [index, container] of spec.containers.entries()) {
    const at = `${path}.containers[${index}]`;
    errors.push(...validateContainer(at, container, volumes, spec));
    if (container.restartPolicy) {
      errors.push(forbidden(`${at}.restartPolicy`, 'may not be set for non-init containers'));
    }
  }
  return [...errors, ...validateHostPorts(`${path}.containers`, spec.containers)];
}

export function validateInitContainers(
  path: string,
  spec: PodSpec,
  volumes: ReadonlySet<string>,
): FieldError[] {
  const list = spec.initContainers ?? [];
  const taken = new Set(spec.containers.map(({ name }) => name));
  const errors = validateNames(`${path}.initContainers`, list, taken);
  for (const [index, container] of list.entries()) {
    const at = `${path}.initContainers[${index}]`;
    errors.push(...validateContainer(at, container, volumes, spec));
    errors.push(...oneOf(`${at}.restartPolicy`, container.restartPolicy, ['Always']));
    if (container.restartPolicy === 'Always') continue;
    // They end before the pod runs: there is nothing to probe and nothing to hook into.
    for (const field of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
      if (container[field] === undefined) continue;
      const why = 'may not be set for init containers without restartPolicy=Always';
      errors.push(forbidden(`${at}.${field}`, why));
    }
  }
  return errors;
}

/** They are for a look into a pod, not a part of its work: what would make them one may not be set. */
const NOT_EPHEMERAL = [
  ...(['ports', 'resources', 'resizePolicy', 'restartPolicy', 'restartPolicyRules'] as const),
  ...(['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const),
];

export function validateEphemeralContainers(
  path: string,
  spec: PodSpec,
  volumes: ReadonlySet<string>,
): FieldError[] {
  const list = spec.ephemeralContainers ?? [];
  const others = new Set(
    [...spec.containers, ...(spec.initContainers ?? [])].map(({ name }) => name),
  );
  const errors = validateNames(`${path}.ephemeralContainers`, list, others);
  const why = 'cannot be set for an Ephemeral Container';
  for (const [index, container] of list.entries()) {
    const at = `${path}.ephemeralContainers[${index}]`;
    errors.push(...validateContainer(at, container, volumes, spec));
    const { targetContainerName: target = '', volumeMounts = [] } = container;
    if (target !== '' && !others.has(target)) {
      errors.push(notFoundValue(`${at}.targetContainerName`, target));
    }
    for (const field of NOT_EPHEMERAL) {
      if (!isEmpty(container[field])) errors.push(forbidden(`${at}.${field}`, why));
    }
    for (const [number, mount] of volumeMounts.entries()) {
      for (const field of ['subPath', 'subPathExpr'] as const) {
        if (mount[field]) errors.push(forbidden(`${at}.volumeMounts[${number}].${field}`, why));
      }
    }
  }
  return errors;
}

function isEmpty(value: unknown): boolean {
  return value === undefined || (value !== null && Object.keys(value).length === 0);
}

function validateNames(
  path: string,
  containers: readonly Container[],
  taken: ReadonlySet<string>,
): FieldError[] {
  const names = new Set(taken);
  const errors: FieldError[] = [];
  for (const [index, { name }] of containers.entries()) {
    const field = `${path}[${index}].name`;
    if (name === '') errors.push(required(field));
    else errors.push(...eachReason(field, name, dnsLabelErrors(name)));
    if (name !== '' && names.has(name)) errors.push(duplicate(field, name));
    names.add(name);
  }
  return errors;
}

/** Containers of one pod share the board's ports. */
function validateHostPorts(path: string, containers: readonly Container[]): FieldError[] {
  const taken = new Set<string>();
  const errors: FieldError[] = [];
  for (const [index, container] of containers.entries()) {
    for (const [at, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol}/${port.hostIP ?? ''}/${port.hostPort}`;
      const field = `${path}[${index}].ports[${at}].hostPort`;
      if (taken.has(key)) errors.push(duplicate(field, key));
      taken.add(key);
    }
  }
  return errors;
}
