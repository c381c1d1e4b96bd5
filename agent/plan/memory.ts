/**
 * What an agent remembers about a pod beside what the engine shows: back-offs, failed pulls, the last end
 * of each container. Immutable; every function returns a new memory. None of it is needed to adopt a pod
 * after a restart of the agent: a lost memory only means that a wait starts over. (Which ephemeral containers were
 * made is in state/pod-records.ts as well.)
 */
import type { ContainerStateTerminated } from '../../protocol/kinds/types.ts';
import type { Container } from '../runtime/runtime.ts';
import { type Backoff, type BackoffLimits, crashBackoff, growBackoff } from './backoff.ts';
import { terminatedState } from './terminated.ts';

export interface PlanLimits {
  readonly crash: BackoffLimits & { readonly resetAfterMs: number };
  readonly pull: BackoffLimits;
  /** For failures of the engine and for missing configuration. */
  readonly retry: BackoffLimits;
}

/** Kubernetes' reasons for a container that waits because something failed. */
export type FailureReason =
  | 'CreateContainerConfigError'
  | 'CreateContainerError'
  | 'RunContainerError'
  | 'ErrImagePull'
  | 'ErrImageNeverPull'
  | 'InvalidImageName'
  /** A volume is not there yet: Kubernetes has no word of its own for it. */
  | 'ContainerCreating';

export interface Failure {
  readonly reason: FailureReason;
  readonly message: string;
  readonly atMs: number;
  readonly backoff: Backoff;
  /** The image it was about, for a pull: another image is tried at once. */
  readonly image: string | undefined;
}

export interface ReadyImage {
  readonly attempt: number;
  readonly image: string;
  readonly imageId: string;
}

export interface ContainerMemory {
  readonly running: { readonly id: string; readonly sinceMs: number } | undefined;
  /** The end that was noted last, and the wait it brought. */
  readonly ended: { readonly id: string; readonly backoff: Backoff } | undefined;
  readonly lastTerminated: ContainerStateTerminated | undefined;
  /** Highest attempt ever seen: restart counts survive a sandbox that was made anew. */
  readonly attempt: number | undefined;
  /** The image is on the board for this attempt. */
  readonly imageReady: ReadyImage | undefined;
  readonly failure: Failure | undefined;
  /** The container that is being ended, or was, because a probe or a hook of it failed. */
  readonly failedId: string | undefined;
}

export interface PodMemory {
  readonly containers: ReadonlyMap<string, ContainerMemory>;
  /** The sandbox could not be made or removed. */
  readonly sandboxFailure: { readonly message: string; readonly backoff: Backoff } | undefined;
}

export const EMPTY_MEMORY: PodMemory = { containers: new Map(), sandboxFailure: undefined };

/** Of a pod whose ephemeral containers of these names were made before: they are not made again. */
export function memoryOf(made: readonly string[]): PodMemory {
  const known = made.map((name) => [name, { ...EMPTY_CONTAINER, attempt: 0 }] as const);
  return { ...EMPTY_MEMORY, containers: new Map(known) };
}

const EMPTY_CONTAINER: ContainerMemory = {
  running: undefined,
  ended: undefined,
  lastTerminated: undefined,
  attempt: undefined,
  imageReady: undefined,
  failure: undefined,
  failedId: undefined,
};

export function containerMemory(memory: PodMemory, name: string): ContainerMemory {
  return memory.containers.get(name) ?? EMPTY_CONTAINER;
}

/** The newest container of each name. */
export function newestContainers(containers: readonly Container[]): Map<string, Container> {
  const newest = new Map<string, Container>();
  for (const container of containers) {
    const known = newest.get(container.name);
    if (known === undefined || container.attempt > known.attempt) {
      newest.set(container.name, container);
    }
  }
  return newest;
}

/** Takes in what the engine shows now: starts the clocks of back-offs. */
export function noteObserved(
  memory: PodMemory,
  containers: readonly Container[],
  limits: PlanLimits,
  nowMs: number,
): PodMemory {
  let next = memory;
  for (const container of newestContainers(containers).values()) {
    const known = containerMemory(next, container.name);
    const updated = noteContainer(known, container, limits, nowMs);
    if (updated !== known) next = withContainer(next, container.name, updated);
  }
  return next;
}

function noteContainer(
  known: ContainerMemory,
  container: Container,
  limits: PlanLimits,
  nowMs: number,
): ContainerMemory {
  let next = known;
  if (known.attempt === undefined || container.attempt > known.attempt) {
    next = { ...next, attempt: container.attempt };
  }
  if (container.state === 'running' && known.running?.id !== container.id) {
    return { ...next, running: { id: container.id, sinceMs: nowMs }, failure: undefined };
  }
  if (container.state === 'exited' && known.ended?.id !== container.id) {
    const ranMs = known.running?.id === container.id ? nowMs - known.running.sinceMs : 0;
    const backoff = crashBackoff(known.ended?.backoff, limits.crash, nowMs, ranMs);
    return {
      ...next,
      running: undefined,
      failure: undefined,
      ended: { id: container.id, backoff },
      lastTerminated: terminatedState(container),
    };
  }
  return next;
}

export function noteImageReady(memory: PodMemory, name: string, imageReady: ReadyImage): PodMemory {
  const known = containerMemory(memory, name);
  const pullFailed = known.failure !== undefined && known.failure.image !== undefined;
  const failure = pullFailed ? undefined : known.failure;
  return withContainer(memory, name, { ...known, imageReady, failure });
}

/** `limits` is `pull` for images and `retry` for the rest. */
export function noteFailure(
  memory: PodMemory,
  name: string,
  failure: Pick<Failure, 'reason' | 'message' | 'image'>,
  limits: BackoffLimits,
  nowMs: number,
): PodMemory {
  const known = containerMemory(memory, name);
  const backoff = growBackoff(known.failure?.backoff, limits, nowMs);
  return withContainer(memory, name, {
    ...known,
    imageReady: undefined,
    failure: { ...failure, atMs: nowMs, backoff },
  });
}

/** A container that was made but could not be started counts as one that ended with 128. */
export function noteStartFailed(
  memory: PodMemory,
  container: Container,
  message: string,
  limits: PlanLimits,
  nowMs: number,
): PodMemory {
  const known = containerMemory(memory, container.name);
  const failure = { reason: 'RunContainerError', message, image: undefined } as const;
  const next = noteFailure(memory, container.name, failure, limits.crash, nowMs);
  const terminated = { exitCode: 128, reason: 'StartError', message, containerID: container.id };
  return withContainer(next, container.name, {
    ...containerMemory(next, container.name),
    ended: {
      id: container.id,
      backoff: crashBackoff(known.ended?.backoff, limits.crash, nowMs, 0),
    },
    lastTerminated: terminated,
    attempt: Math.max(known.attempt ?? 0, container.attempt),
  });
}

/** The message of a container's end, which is read after the end was noted. */
export function noteMessage(
  memory: PodMemory,
  name: string,
  id: string,
  message: string,
): PodMemory {
  const known = containerMemory(memory, name);
  const last = known.lastTerminated;
  if (last?.containerID !== id || message === '') return memory;
  return withContainer(memory, name, { ...known, lastTerminated: { ...last, message } });
}

/** The container is about to be ended because a probe or a hook of it failed. */
export function noteFailed(memory: PodMemory, name: string, failedId: string): PodMemory {
  return withContainer(memory, name, { ...containerMemory(memory, name), failedId });
}

export function noteSandboxFailed(
  memory: PodMemory,
  message: string,
  limits: BackoffLimits,
  nowMs: number,
): PodMemory {
  const backoff = growBackoff(memory.sandboxFailure?.backoff, limits, nowMs);
  return { ...memory, sandboxFailure: { message, backoff } };
}

export function noteSandboxDone(memory: PodMemory): PodMemory {
  return memory.sandboxFailure === undefined ? memory : { ...memory, sandboxFailure: undefined };
}

/** A changed ConfigMap or spec is worth another try at once. */
export function forgetConfigFailures(memory: PodMemory): PodMemory {
  const containers = new Map(memory.containers);
  for (const [name, known] of containers) {
    const reason = known.failure?.reason;
    if (reason === 'CreateContainerConfigError' || reason === 'ContainerCreating') {
      containers.set(name, { ...known, failure: undefined });
    }
  }
  return { ...memory, containers };
}

function withContainer(memory: PodMemory, name: string, container: ContainerMemory): PodMemory {
  const containers = new Map(memory.containers);
  containers.set(name, container);
  return { ...memory, containers };
}
