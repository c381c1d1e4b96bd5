/**
 * A pod as the board works with it: identity and spec taken out of the API object once, so that the code
 * behind never asks whether a name is there. Pure.
 */
import type {
  Container,
  EphemeralContainer,
  ObjectMeta,
  Pod,
  PodSpec,
} from '../../protocol/kinds/types.ts';
import type { DesiredClaim } from '../../protocol/messages.ts';
import { fnv1a } from './fnv1a.ts';

export interface BoardPod {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly meta: ObjectMeta;
  readonly spec: PodSpec;
  /** What the claims of its volumes are on this board, by name. */
  readonly claims?: Readonly<Record<string, DesiredClaim>>;
  /** Of its service account, for its volumes, by tokenKey (protocol/seal.ts). */
  readonly tokens?: Readonly<Record<string, string>>;
}

/** Undefined when the object lacks what every stored pod has: a uid, a name and containers. */
export function boardPod(
  pod: Pod,
  claims: Readonly<Record<string, DesiredClaim>> = {},
  tokens: Readonly<Record<string, string>> = {},
): BoardPod | undefined {
  const { metadata: meta, spec } = pod;
  if (meta?.uid === undefined || meta.name === undefined || spec === undefined) return undefined;
  if (!Array.isArray(spec.containers) || spec.containers.length === 0) return undefined;
  const { uid, name, namespace = 'default' } = meta;
  return { uid, namespace, name, meta, spec, claims, tokens };
}

/** "namespace/name", for logs and messages. */
export function podKey(pod: { readonly namespace: string; readonly name: string }): string {
  return `${pod.namespace}/${pod.name}`;
}

/**
 * What makes a running container another one: its name and image, the only parts that Kubernetes lets
 * change in place. The rest of the spec is left out on purpose: a master that fills in one more default
 * must not restart every container of the fleet.
 */
export function containerHash(container: Container): string {
  const text = `${container.name}\0${container.image ?? ''}`;
  return `${hexHash(text, 0x811c9dc5)}${hexHash(text, 0x01234567)}`;
}

/** All that a pod may run: its containers, those that come before them, and those added to debug it. */
export function allContainers(spec: PodSpec): (Container & Partial<EphemeralContainer>)[] {
  const { containers, initContainers = [], ephemeralContainers = [] } = spec;
  return [...containers, ...initContainers, ...ephemeralContainers];
}

/** Those of the pod's ephemeral containers that are among these. */
export function namesOfEphemeral(
  { spec }: BoardPod,
  containers: readonly { readonly name: string }[],
): string[] {
  const names = new Set((spec.ephemeralContainers ?? []).map(({ name }) => name));
  return containers.map(({ name }) => name).filter((name) => names.has(name));
}

/** Seconds between SIGTERM and SIGKILL for a pod that goes (core/v1: default 30). */
export function stopGraceSeconds(pod: BoardPod): number {
  const grace = pod.meta.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds;
  return Math.max(0, grace ?? 30);
}

/** Init containers with restartPolicy Always run beside the others for the life of the pod. */
export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** 8 hexadecimal digits. They stand in labels of running containers: another hash would restart them all. */
function hexHash(text: string, basis: number): string {
  let hash = fnv1a(text, basis);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return ((hash ^ (hash >>> 13)) >>> 0).toString(16).padStart(8, '0');
}
