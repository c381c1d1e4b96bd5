/** One container: image, ports, environment, mounts, security. */
import type {
  Container,
  EnvFromSource,
  EnvVar,
  EnvVarSource,
  PodSpec,
} from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import {
  duplicate,
  eachReason,
  invalidValue,
  notFoundValue,
  notSupported,
  oneOf,
  required,
} from './errors.ts';
import { ENV_FIELD_PATHS, validateFieldRef, validateResourceFieldRef } from './field-refs.ts';
import { configKeyReasons, envNameReasons, portNameReasons, portNumberReasons } from './names.ts';
import { PROTOCOLS, validateIp } from './ports.ts';
import { validateLifecycle, validateProbes } from './probe.ts';
import { validateResources } from './resources.ts';
import { validateSecurityContext } from './security-context.ts';
import { validateLocalPath } from './volumes.ts';

const PULL_POLICIES: readonly string[] = ['Always', 'IfNotPresent', 'Never'];
const MESSAGE_POLICIES: readonly string[] = ['FallbackToLogsOnError', 'File'];
const ONE_SOURCE = 'may not have more than one field specified at a time';

/** Everything but the name, which depends on the others. */
export function validateContainer(
  path: string,
  container: Container,
  volumes: ReadonlySet<string>,
  spec: PodSpec,
): FieldError[] {
  const { image = '', imagePullPolicy, terminationMessagePolicy } = container;
  const errors: FieldError[] = [];
  if (image === '') errors.push(required(`${path}.image`));
  else if (image !== image.trim()) {
    const why = 'must not have leading or trailing whitespace';
    errors.push(invalidValue(`${path}.image`, image, why));
  }
  errors.push(
    ...oneOf(`${path}.terminationMessagePolicy`, terminationMessagePolicy, MESSAGE_POLICIES),
    ...validateLifecycle(`${path}.lifecycle`, container.lifecycle),
    ...validateProbes(path, container),
    ...validatePorts(path, container, spec.hostNetwork === true),
    ...(container.env ?? []).flatMap((one, at) => validateEnv(`${path}.env[${at}]`, one)),
    ...(container.envFrom ?? []).flatMap((one, at) =>
      validateEnvFrom(`${path}.envFrom[${at}]`, one),
    ),
    ...validateMounts(`${path}.volumeMounts`, container, volumes),
    ...oneOf(`${path}.imagePullPolicy`, imagePullPolicy, PULL_POLICIES),
    ...validateResources(`${path}.resources`, container.resources),
    ...validateSecurityContext(`${path}.securityContext`, container),
  );
  return errors;
}

function validatePorts(path: string, container: Container, hostNetwork: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, port] of (container.ports ?? []).entries()) {
    const at = `${path}.ports[${index}]`;
    const { name = '', containerPort, hostPort, protocol = '', hostIP = '' } = port;
    if (name !== '') {
      const reasons = portNameReasons(name);
      errors.push(...eachReason(`${at}.name`, name, reasons));
      if (reasons.length === 0 && names.has(name)) errors.push(duplicate(`${at}.name`, name));
      names.add(name);
    }
    if (containerPort === 0) errors.push(required(`${at}.containerPort`));
    else {
      const field = `${at}.containerPort`;
      errors.push(...eachReason(field, containerPort, portNumberReasons(containerPort)));
    }
    if (hostPort) {
      errors.push(...eachReason(`${at}.hostPort`, hostPort, portNumberReasons(hostPort)));
    }
    if (hostNetwork && hostPort && hostPort !== containerPort) {
      const why = 'must match `hostPort` when `hostNetwork` is true';
      errors.push(invalidValue(`${at}.containerPort`, containerPort, why));
    }
    if (protocol === '') errors.push(required(`${at}.protocol`));
    else if (!PROTOCOLS.includes(protocol)) {
      errors.push(notSupported(`${at}.protocol`, protocol, PROTOCOLS));
    }
    if (hostIP !== '') errors.push(...validateIp(`${at}.hostIP`, hostIP));
  }
  return errors;
}

function validateEnv(path: string, { name, value = '', valueFrom }: EnvVar): FieldError[] {
  const errors =
    name === ''
      ? [required(`${path}.name`)]
      : eachReason(`${path}.name`, name, envNameReasons(name));
  if (valueFrom === undefined) return errors;
  return [...errors, ...validateEnvSource(`${path}.valueFrom`, valueFrom, value)];
}

function validateEnvSource(path: string, source: EnvVarSource, value: string): FieldError[] {
  const errors: FieldError[] = [];
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = source;
  if (fieldRef !== undefined) {
    errors.push(...validateFieldRef(`${path}.fieldRef`, fieldRef, ENV_FIELD_PATHS));
  }
  if (resourceFieldRef !== undefined) {
    errors.push(...validateResourceFieldRef(`${path}.resourceFieldRef`, resourceFieldRef));
  }
  for (const [field, ref] of Object.entries({ configMapKeyRef, secretKeyRef })) {
    if (ref === undefined) continue;
    const at = `${path}.${field}`;
    if (!ref.name) errors.push(required(`${at}.name`));
    if (ref.key === '') errors.push(required(`${at}.key`));
    else errors.push(...eachReason(`${at}.key`, ref.key, configKeyReasons(ref.key)));
  }
  const count = Object.values(source).filter((one) => one !== undefined).length;
  if (count === 0) {
    const why =
      'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`';
    errors.push(invalidValue(path, '', why));
  } else if (value !== '') {
    errors.push(invalidValue(path, '', 'may not be specified when `value` is not empty'));
  } else if (count > 1) {
    errors.push(invalidValue(path, '', ONE_SOURCE));
  }
  return errors;
}

function validateEnvFrom(path: string, source: EnvFromSource): FieldError[] {
  const { prefix = '', configMapRef, secretRef } = source;
  const errors: FieldError[] = [];
  if (prefix !== '') errors.push(...eachReason(`${path}.prefix`, prefix, envNameReasons(prefix)));
  if (configMapRef !== undefined && !configMapRef.name) {
    errors.push(required(`${path}.configMapRef.name`));
  }
  if (secretRef !== undefined && !secretRef.name) errors.push(required(`${path}.secretRef.name`));
  if (configMapRef === undefined && secretRef === undefined) {
    errors.push(invalidValue(path, '', 'must specify one of: `configMapRef` or `secretRef`'));
  } else if (configMapRef !== undefined && secretRef !== undefined) {
    errors.push(invalidValue(path, '', ONE_SOURCE));
  }
  return errors;
}

function validateMounts(
  path: string,
  container: Container,
  volumes: ReadonlySet<string>,
): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}[${index}]`;
    const { name, mountPath, subPath = '' } = mount;
    if (name === '') errors.push(required(`${at}.name`));
    else if (!volumes.has(name)) errors.push(notFoundValue(`${at}.name`, name));
    if (mountPath === '') errors.push(required(`${at}.mountPath`));
    else if (paths.has(mountPath)) {
      errors.push(invalidValue(`${at}.mountPath`, mountPath, 'must be unique'));
    }
    paths.add(mountPath);
    if (subPath !== '') errors.push(...validateLocalPath(`${at}.subPath`, subPath));
    if (subPath !== '' && mount.subPathExpr) {
      const why = 'subPathExpr and subPath are mutually exclusive';
      errors.push(invalidValue(`${at}.subPathExpr`, mount.subPathExpr, why));
    }
  }
  return errors;
}
