/** Defaults of one container, as the documentation of each field states them. In place and idempotent. */
import type {
  Container,
  EnvVarSource,
  HTTPGetAction,
  LifecycleHandler,
  Probe,
} from '../../../../protocol/kinds/types.ts';

/** An image without a tag, or with the tag `latest`, may change under its name: always ask again. */
function defaultImagePullPolicy(image: string): 'Always' | 'IfNotPresent' {
  const [named = '', digest] = image.split('@', 2);
  const lastPart = named.slice(named.lastIndexOf('/') + 1);
  const colon = lastPart.lastIndexOf(':');
  const tag = colon < 0 ? '' : lastPart.slice(colon + 1);
  if (tag === 'latest' || (tag === '' && digest === undefined)) return 'Always';
  return 'IfNotPresent';
}

export function defaultContainer(container: Container): void {
  if (!container.imagePullPolicy) {
    container.imagePullPolicy = defaultImagePullPolicy(container.image ?? '');
  }
  container.terminationMessagePath ||= '/dev/termination-log';
  container.terminationMessagePolicy ||= 'File';
  container.resources ??= {};
  for (const port of container.ports ?? []) port.protocol ||= 'TCP';
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom !== undefined) defaultFieldRefs(valueFrom);
  }
  defaultProbe(container.livenessProbe);
  defaultProbe(container.readinessProbe);
  defaultProbe(container.startupProbe);
  defaultHandler(container.lifecycle?.postStart);
  defaultHandler(container.lifecycle?.preStop);
}

/** References to fields of the pod, in variables and in files. */
export function defaultFieldRefs(
  source: Pick<EnvVarSource, 'fieldRef' | 'resourceFieldRef'>,
): void {
  if (source.fieldRef !== undefined) source.fieldRef.apiVersion ||= 'v1';
  if (source.resourceFieldRef !== undefined) source.resourceFieldRef.divisor ||= '0';
}

/** What is asked for when only a ceiling was named: the ceiling. Pods only, not templates. */
export function defaultRequestsFromLimits(container: Container): void {
  const limits = Object.entries(container.resources?.limits ?? {});
  if (limits.length === 0) return;
  container.resources ??= {};
  container.resources.requests ??= {};
  for (const [name, limit] of limits) container.resources.requests[name] ??= limit;
}

/** On the host's network a container port is a host port. */
export function defaultHostPorts(container: Container): void {
  for (const port of container.ports ?? []) {
    if (!port.hostPort && port.containerPort !== 0) port.hostPort = port.containerPort;
  }
}

function defaultProbe(probe: Probe | undefined): void {
  if (probe === undefined) return;
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  defaultHttpGet(probe.httpGet);
  if (probe.grpc !== undefined) probe.grpc.service ??= '';
}

function defaultHandler(handler: LifecycleHandler | undefined): void {
  defaultHttpGet(handler?.httpGet);
}

function defaultHttpGet(action: HTTPGetAction | undefined): void {
  if (action === undefined) return;
  action.path ||= '/';
  action.scheme ||= 'HTTP';
}
