/** Probes and lifecycle hooks. */
import type {
  Container,
  HTTPGetAction,
  Lifecycle,
  LifecycleHandler,
  Probe,
} from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { eachReason, forbidden, invalidValue, notNegative, oneOf, required } from './errors.ts';
import { headerNameReasons, portNumberReasons } from './names.ts';
import { validatePortOrName } from './ports.ts';

const SCHEMES: readonly string[] = ['HTTP', 'HTTPS'];
const PROBES = ['livenessProbe', 'readinessProbe', 'startupProbe'] as const;
const COUNTS = [
  ...(['initialDelaySeconds', 'timeoutSeconds', 'periodSeconds'] as const),
  ...(['successThreshold', 'failureThreshold'] as const),
];
const HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;

type Handler = Pick<Probe, 'grpc'> & LifecycleHandler;

export function validateProbes(path: string, container: Container): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of PROBES) {
    const probe = container[field];
    const at = `${path}.${field}`;
    if (probe === undefined) continue;
    errors.push(...validateHandler(at, probe));
    for (const count of COUNTS) errors.push(...notNegative(`${at}.${count}`, probe[count]));
    const grace = probe.terminationGracePeriodSeconds;
    if (grace !== undefined && field === 'readinessProbe') {
      const why = 'must not be set for readinessProbes';
      errors.push(invalidValue(`${at}.terminationGracePeriodSeconds`, grace, why));
    } else if (grace !== undefined && grace <= 0) {
      const why = 'must be greater than 0';
      errors.push(invalidValue(`${at}.terminationGracePeriodSeconds`, grace, why));
    }
    const successes = probe.successThreshold ?? 1;
    if (field !== 'readinessProbe' && successes !== 1) {
      errors.push(invalidValue(`${at}.successThreshold`, successes, 'must be 1'));
    }
  }
  return errors;
}

export function validateLifecycle(path: string, lifecycle: Lifecycle | undefined): FieldError[] {
  const errors: FieldError[] = [];
  for (const hook of ['postStart', 'preStop'] as const) {
    const handler = lifecycle?.[hook];
    if (handler !== undefined) errors.push(...validateHandler(`${path}.${hook}`, handler));
  }
  return errors;
}

function validateHandler(path: string, handler: Handler): FieldError[] {
  const [first, ...others] = HANDLERS.filter((one) => handler[one] !== undefined);
  if (first === undefined) return [required(path, 'must specify a handler type')];
  const errors = others.map((one) =>
    forbidden(`${path}.${one}`, 'may not specify more than 1 handler type'),
  );
  const { exec, httpGet, tcpSocket, grpc, sleep } = handler;
  if (exec !== undefined && (exec.command ?? []).length === 0) {
    errors.push(required(`${path}.exec.command`));
  }
  if (httpGet !== undefined) errors.push(...validateHttpGet(`${path}.httpGet`, httpGet));
  if (tcpSocket !== undefined) {
    errors.push(...validatePortOrName(`${path}.tcpSocket.port`, tcpSocket.port));
  }
  if (grpc !== undefined) {
    errors.push(...eachReason(`${path}.grpc.port`, grpc.port, portNumberReasons(grpc.port)));
  }
  if (sleep !== undefined && sleep.seconds < 0) {
    errors.push(...notNegative(`${path}.sleep.seconds`, sleep.seconds));
  }
  return errors;
}

function validateHttpGet(path: string, action: HTTPGetAction): FieldError[] {
  const errors: FieldError[] = [];
  if (!action.path) errors.push(required(`${path}.path`));
  errors.push(...validatePortOrName(`${path}.port`, action.port));
  errors.push(...oneOf(`${path}.scheme`, action.scheme, SCHEMES));
  for (const [index, { name }] of (action.httpHeaders ?? []).entries()) {
    const field = `${path}.httpHeaders[${index}].name`;
    errors.push(...eachReason(field, name, headerNameReasons(name)));
  }
  return errors;
}
