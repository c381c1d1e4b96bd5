/**
 * The environment of a container: literal values, references, `$(VAR)`. Pure.
 * Kubernetes' words are kept in the errors, because people search for them.
 */
import type { Container, EnvVar } from '../../protocol/kinds/types.ts';
import type { DesiredService } from '../../protocol/messages.ts';
import { milliValue, value } from '../../protocol/quantity.ts';
import type { BoardPod } from './board-pod.ts';

/** Something the container needs is missing or wrong: CreateContainerConfigError. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigError';
  }
}

export type ConfigKind = 'configmap' | 'secret';

/** Data of a ConfigMap or Secret of the board's desired state; undefined if there is none. */
export type ConfigLookup = (
  kind: ConfigKind,
  namespace: string,
  name: string,
) => Readonly<Record<string, Uint8Array>> | undefined;

/** What a container may ask about where it runs. */
export interface PodFacts {
  readonly nodeName: string;
  readonly hostIp: string;
  readonly podIp: string;
  /** What the board can give, for resourceFieldRef without a limit. */
  readonly allocatable: { readonly cpuMillis: number; readonly memoryBytes: number };
  /** Where pods reach the API; absent until the board knows the Service `kubernetes`. */
  readonly apiServer?: ApiServerAddress | undefined;
}

export interface ApiServerAddress {
  readonly ip: string;
  readonly port: number;
}

/** The Service `kubernetes` of the namespace default. */
export function apiServerAddress(
  services: readonly DesiredService[],
): ApiServerAddress | undefined {
  const service = services.find(
    ({ namespace, name }) => namespace === 'default' && name === 'kubernetes',
  );
  const port = service?.ports[0]?.port;
  return service === undefined || port === undefined ? undefined : { ip: service.clusterIp, port };
}

const KIND_NAMES = { configmap: 'ConfigMap', secret: 'Secret' } as const;
const ENV_NAME = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;

/**
 * Variables in order, those of the API server first, then envFrom; a later one of the same name wins.
 * Throws ConfigError for a missing ConfigMap, Secret or key that is not optional.
 */
export function environment(
  pod: BoardPod,
  container: Container,
  configs: ConfigLookup,
  facts: PodFacts,
): Map<string, string> {
  const env = new Map(apiServerVariables(facts.apiServer));
  for (const { prefix, configMapRef, secretRef } of container.envFrom ?? []) {
    for (const [kind, ref] of [
      ['configmap', configMapRef],
      ['secret', secretRef],
    ] as const) {
      if (ref === undefined) continue;
      const data = configs(kind, pod.namespace, ref.name ?? '');
      if (data === undefined) {
        if (ref.optional === true) continue;
        throw new ConfigError(`${kind} "${ref.name ?? ''}" not found`);
      }
      for (const key of Object.keys(data).sort()) {
        const name = `${prefix ?? ''}${key}`;
        // Kubernetes skips keys that are no variable names.
        if (ENV_NAME.test(name)) env.set(name, text(data[key]));
      }
    }
  }
  for (const variable of container.env ?? []) {
    const resolved = resolve(pod, container, variable, { configs, facts, env });
    if (resolved !== undefined) env.set(variable.name, resolved);
  }
  return env;
}

/** Kubernetes: what every container is told of the Service `kubernetes`, whatever enableServiceLinks says. */
function apiServerVariables(address: ApiServerAddress | undefined): [string, string][] {
  if (address === undefined) return [];
  const { ip, port } = address;
  const link = `KUBERNETES_PORT_${port}_TCP`;
  const url = `tcp://${ip}:${port}`;
  return [
    ['KUBERNETES_SERVICE_HOST', ip],
    ['KUBERNETES_SERVICE_PORT', String(port)],
    ['KUBERNETES_SERVICE_PORT_HTTPS', String(port)],
    ['KUBERNETES_PORT', url],
    [link, url],
    [`${link}_PROTO`, 'tcp'],
    [`${link}_PORT`, String(port)],
    [`${link}_ADDR`, ip],
  ];
}

/** Replaces `$(NAME)` of known variables; `$$` is a literal `$`; an unknown name stays as it is. */
export function expand(template: string, env: ReadonlyMap<string, string>): string {
  return template.replace(/\$\$|\$\(([^()]*)\)/g, (match, name: string | undefined) =>
    name === undefined ? '$' : (env.get(name) ?? match),
  );
}

/** A field of the pod for fieldRef and downwardAPI. Throws ConfigError for a field that is not offered. */
export function podField(pod: BoardPod, facts: PodFacts, path: string): string {
  const entry = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (entry !== null) {
    const map = entry[1] === 'labels' ? pod.meta.labels : pod.meta.annotations;
    return map?.[entry[2] ?? ''] ?? '';
  }
  switch (path) {
    case 'metadata.name':
      return pod.name;
    case 'metadata.namespace':
      return pod.namespace;
    case 'metadata.uid':
      return pod.uid;
    case 'metadata.labels':
      return formatMap(pod.meta.labels);
    case 'metadata.annotations':
      return formatMap(pod.meta.annotations);
    case 'spec.nodeName':
      return pod.spec.nodeName ?? facts.nodeName;
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? 'default';
    case 'status.hostIP':
    case 'status.hostIPs':
      return facts.hostIp;
    case 'status.podIP':
    case 'status.podIPs':
      return facts.podIp;
    default:
      throw new ConfigError(`unsupported fieldPath: ${path}`);
  }
}

/** A limit or request for resourceFieldRef, divided and rounded up as Kubernetes does. */
export function resourceField(
  container: Container,
  facts: PodFacts,
  ref: { readonly resource: string; readonly divisor?: string },
): string {
  const match = /^(limits|requests)\.(cpu|memory|ephemeral-storage)$/.exec(ref.resource);
  const [, list, name] = match ?? [];
  if ((list !== 'limits' && list !== 'requests') || name === undefined) {
    throw new ConfigError(`unsupported container resource: ${ref.resource}`);
  }
  const quantity = container.resources?.[list]?.[name];
  const divisor = ref.divisor === undefined || ref.divisor === '0' ? '1' : ref.divisor;
  if (name === 'cpu') {
    const millis =
      quantity !== undefined
        ? milliValue(quantity)
        : list === 'limits'
          ? facts.allocatable.cpuMillis
          : 0;
    return String(Math.ceil(millis / Math.max(1, milliValue(divisor))));
  }
  const fallback = list === 'limits' && name === 'memory' ? facts.allocatable.memoryBytes : 0;
  const bytes = quantity === undefined ? fallback : value(quantity);
  return String(Math.ceil(bytes / Math.max(1, value(divisor))));
}

interface ResolveContext {
  readonly configs: ConfigLookup;
  readonly facts: PodFacts;
  readonly env: ReadonlyMap<string, string>;
}

function resolve(
  pod: BoardPod,
  container: Container,
  variable: EnvVar,
  { configs, facts, env }: ResolveContext,
): string | undefined {
  const from = variable.valueFrom;
  if (from === undefined) return expand(variable.value ?? '', env);
  if (from.fieldRef !== undefined) return podField(pod, facts, from.fieldRef.fieldPath);
  if (from.resourceFieldRef !== undefined) {
    const { containerName } = from.resourceFieldRef;
    const other =
      containerName === undefined || containerName === ''
        ? container
        : pod.spec.containers.find(({ name }) => name === containerName);
    if (other === undefined) throw new ConfigError(`container "${containerName}" not found`);
    return resourceField(other, facts, from.resourceFieldRef);
  }
  if (from.configMapKeyRef !== undefined) {
    return configKey(pod.namespace, 'configmap', from.configMapKeyRef, configs);
  }
  if (from.secretKeyRef !== undefined) {
    return configKey(pod.namespace, 'secret', from.secretKeyRef, configs);
  }
  throw new ConfigError(`the source of environment variable "${variable.name}" is not supported`);
}

function configKey(
  namespace: string,
  kind: ConfigKind,
  ref: { readonly name?: string; readonly key: string; readonly optional?: boolean },
  configs: ConfigLookup,
): string | undefined {
  const name = ref.name ?? '';
  const data = configs(kind, namespace, name);
  if (data === undefined) {
    if (ref.optional === true) return undefined;
    throw new ConfigError(`${kind} "${name}" not found`);
  }
  const bytes = data[ref.key];
  if (bytes !== undefined) return text(bytes);
  if (ref.optional === true) return undefined;
  const where = `${KIND_NAMES[kind]} ${namespace}/${name}`;
  throw new ConfigError(`couldn't find key ${ref.key} in ${where}`);
}

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}

/** One `key="value"` a line, sorted: the downward API's form of labels and annotations. */
function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.keys(map ?? {})
    .sort()
    .map((key) => `${key}=${JSON.stringify(map?.[key] ?? '')}`)
    .join('\n');
}
