/**
 * Carries out one step of a pod's plan on the engine and says what came of it. It keeps no state and never
 * throws for what may happen: a failure is an outcome, which the worker notes and plans with.
 */
import type { Clock } from '../../protocol/clock.ts';
import type { Container as KubeContainer } from '../../protocol/kinds/types.ts';
import { allContainers, type BoardPod, containerHash, podKey } from '../plan/board-pod.ts';
import {
  type BoardResolver,
  containerSpec,
  needsImageUser,
  sandboxSpec,
} from '../plan/container-spec.ts';
import { type DeviceUnit, unitsOfContainer } from '../plan/device-plan.ts';
import { ConfigError, type ConfigLookup, type PodFacts } from '../plan/environment.ts';
import type { FailureReason } from '../plan/memory.ts';
import type { PodStep, StopReason } from '../plan/pod-plan.ts';
import { registryLogins } from '../plan/registry-login.ts';
import {
  type PlannedVolume,
  type PodDirectories,
  planVolumes,
  VolumeError,
} from '../plan/volume-plan.ts';
import {
  AddressTakenError,
  type Container,
  type Runtime,
  type Sandbox,
} from '../runtime/runtime.ts';
import { runPostStart, stopWithHook } from './hook-steps.ts';
import { ForeignImageError, ImageNeverPullError, type ImagePuller } from './image-puller.ts';
import type { Semaphore } from './semaphore.ts';
import { makeTerminationFile } from './termination.ts';

/** An event of the API about a pod, or about one container of it. */
export interface PodEvent {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly container: string | undefined;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

export interface StepContext {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly images: ImagePuller;
  /** Bounds the engine calls of all pods together. */
  readonly engineSlots: Semaphore;
  readonly pod: BoardPod;
  readonly configs: ConfigLookup;
  readonly facts: Omit<PodFacts, 'podIp'>;
  readonly podIp: string | undefined;
  readonly resolver: BoardResolver;
  readonly directories: PodDirectories;
  /** Throws VolumeError. */
  readonly makeVolumes: (volumes: ReadonlyMap<string, PlannedVolume>) => Promise<void>;
  /** The pod ran on this board before this agent was started. */
  readonly ranBefore: boolean;
  /** Undefined when the range is used up; throws if the board has no range yet. */
  readonly assignIp: () => Promise<string | undefined>;
  /** The devices of the pod. Throws an Error when the board has not enough. */
  readonly devices: () => Promise<readonly DeviceUnit[]>;
  /** The engine does not let the pod have the address that was assigned: the next one is another. */
  readonly refuseIp: () => void;
  readonly signal: AbortSignal;
  /** preStop hooks under way, by container id: a second, shorter stop joins the first one's. */
  readonly preStops: Map<string, Promise<void>>;
  readonly emit: (event: PodEvent) => void;
}

export type StepOutcome =
  | { readonly type: 'sandboxUp'; readonly sandbox: Sandbox }
  | { readonly type: 'sandboxGone'; readonly id: string }
  | { readonly type: 'sandboxFailed'; readonly message: string }
  | {
      readonly type: 'imageReady';
      readonly container: string;
      readonly attempt: number;
      readonly image: string;
      readonly imageId: string;
    }
  | {
      readonly type: 'containerFailed';
      readonly container: string;
      readonly reason: FailureReason;
      readonly message: string;
      readonly image: string | undefined;
    }
  | { readonly type: 'created'; readonly container: Container }
  | { readonly type: 'started'; readonly id: string }
  | { readonly type: 'startFailed'; readonly id: string; readonly message: string }
  | { readonly type: 'stopped'; readonly id: string }
  | { readonly type: 'removed'; readonly id: string }
  | {
      readonly type: 'hooked';
      readonly container: string;
      readonly id: string;
      readonly succeeded: boolean;
    }
  /** Stopping or removing failed; the same step is tried again later. */
  | { readonly type: 'failed'; readonly message: string };

/** A podman that was killed often has lost some: the pod waits for none of them, unless there are very many. */
const ADDRESSES_MAX = 16;

export async function runStep(
  step: Exclude<PodStep, { readonly type: 'gone' }>,
  context: StepContext,
): Promise<StepOutcome> {
  const { runtime, engineSlots } = context;
  switch (step.type) {
    case 'runSandbox':
      return runSandbox(context);
    case 'removeSandbox':
      return removeSandbox(step, context);
    case 'ensureImage':
      return ensureImage(step, context);
    case 'createContainer':
      return createContainer(step, context);
    case 'startContainer':
      return startContainer(step, context);
    case 'stopContainer':
      announceStop(step, context);
      return attempt(
        // Not in the engine's slots: a long grace period must not hold up other pods.
        () => stopWithHook(step, context),
        { type: 'stopped', id: step.id },
      );
    case 'runPostStart':
      return runPostStart(step, context);
    case 'removeContainer':
      return attempt(() => engineSlots.run(() => runtime.removeContainer(step.id)), {
        type: 'removed',
        id: step.id,
      });
    default: {
      const never: never = step;
      throw new Error(`unknown step ${String(never)}`);
    }
  }
}

async function runSandbox(context: StepContext, addresses = ADDRESSES_MAX): Promise<StepOutcome> {
  const { pod, runtime, engineSlots } = context;
  try {
    const ip = pod.spec.hostNetwork === true ? undefined : await assignedIp(context);
    const spec = sandboxSpec(pod, ip, context.resolver);
    const sandbox = await engineSlots.run(() => runtime.runSandbox(spec));
    return { type: 'sandboxUp', sandbox };
  } catch (error) {
    const message = messageOf(error);
    if (error instanceof AddressTakenError) {
      context.refuseIp();
      if (addresses > 1) return runSandbox(context, addresses - 1);
    }
    tell(context, undefined, 'Warning', 'FailedCreatePodSandBox', {
      message: `Failed to create pod sandbox: ${message}`,
    });
    return { type: 'sandboxFailed', message };
  }
}

async function assignedIp(context: StepContext): Promise<string> {
  const ip = await context.assignIp();
  if (ip === undefined) throw new Error('no pod address of this board is free');
  return ip;
}

async function removeSandbox(
  step: Extract<PodStep, { type: 'removeSandbox' }>,
  context: StepContext,
): Promise<StepOutcome> {
  if (step.why === 'dead') {
    tell(context, undefined, 'Normal', 'SandboxChanged', {
      message: 'Pod sandbox changed, it will be killed and re-created.',
    });
  }
  try {
    await context.engineSlots.run(() => context.runtime.removeSandbox(step.id));
    return { type: 'sandboxGone', id: step.id };
  } catch (error) {
    const message = messageOf(error);
    tell(context, undefined, 'Warning', 'FailedKillPod', {
      message: `error killing pod: failed to remove its sandbox: ${message}`,
    });
    return { type: 'sandboxFailed', message };
  }
}

async function ensureImage(
  step: Extract<PodStep, { type: 'ensureImage' }>,
  context: StepContext,
): Promise<StepOutcome> {
  const { container, image, policy, attempt: number } = step;
  const say = (type: PodEvent['type'], reason: string, message: string) =>
    tell(context, container, type, reason, { message });
  const { logins, missing } = registryLogins(context.pod, context.configs, image);
  try {
    const ensured = await context.images.ensure({
      image,
      policy,
      copyWillDo: context.ranBefore || number > 0,
      logins,
      signal: context.signal,
      onPulling: () => {
        if (missing.length > 0) {
          say('Warning', 'FailedToRetrieveImagePullSecret', missingSecretWords(missing));
        }
        say('Normal', 'Pulling', `Pulling image "${image}"`);
      },
    });
    if (ensured.type === 'present') {
      say('Normal', 'Pulled', `Container image "${image}" already present on machine`);
    } else if (ensured.type === 'pulled') {
      const took = `${seconds(ensured.tookMs)} (${seconds(ensured.waitedMs)} including waiting)`;
      say('Normal', 'Pulled', `Successfully pulled image "${image}" in ${took}`);
    } else {
      say('Warning', 'Failed', `Failed to pull image "${image}": ${ensured.reason}`);
      say('Normal', 'Pulled', `Using the copy of image "${image}" present on machine`);
    }
    return { type: 'imageReady', container, attempt: number, image, imageId: ensured.imageId };
  } catch (error) {
    const message = messageOf(error);
    const never = error instanceof ImageNeverPullError;
    const reason = never ? 'ErrImageNeverPull' : 'ErrImagePull';
    if (!context.signal.aborted) {
      const isSaid = never || error instanceof ForeignImageError;
      say('Warning', 'Failed', isSaid ? message : `Failed to pull image "${image}": ${message}`);
      say('Warning', 'Failed', `Error: ${reason}`);
    }
    return { type: 'containerFailed', container, reason, message, image };
  }
}

function missingSecretWords(names: readonly string[]): string {
  const list = names.join(', ');
  return `Unable to retrieve some image pull secrets (${list}); attempting to pull the image may not succeed.`;
}

async function createContainer(
  step: Extract<PodStep, { type: 'createContainer' }>,
  context: StepContext,
): Promise<StepOutcome> {
  const { pod, runtime } = context;
  const container = findContainer(pod, step.container);
  if (container === undefined) {
    return { type: 'failed', message: `${podKey(pod)} has no container ${step.container}` };
  }
  try {
    checkTarget(pod, container.targetContainerName, step.targetId);
    const facts = { ...context.facts, podIp: context.podIp ?? context.facts.hostIp };
    const { configs, directories } = context;
    const volumes = planVolumes(pod, { configs, facts, directories });
    await context.makeVolumes(volumes);
    await makeTerminationFile(directories, container.name, step.attempt);
    const image = needsImageUser(pod, container)
      ? await runtime.imageStatus(container.image ?? '')
      : undefined;
    const devices = unitsOfContainer(pod.spec, container, await context.devices());
    const spec = containerSpec({
      pod,
      container,
      attempt: step.attempt,
      configs,
      facts,
      volumes,
      directories,
      devices,
      ...(image?.user === undefined ? {} : { imageUser: image.user }),
      ...(step.targetId === undefined ? {} : { targetId: step.targetId }),
    });
    const id = await context.engineSlots.run(() => runtime.createContainer(step.sandboxId, spec));
    tell(context, container.name, 'Normal', 'Created', {
      message: `Created container: ${container.name}`,
    });
    return {
      type: 'created',
      container: {
        id,
        podUid: pod.uid,
        name: container.name,
        attempt: step.attempt,
        specHash: containerHash(container),
        image: spec.image,
        imageId: step.imageId,
        state: 'created',
      },
    };
  } catch (error) {
    return createFailed(error, container.name, context);
  }
}

/** Kubernetes: it waits until the container that it is to look into runs. Throws ConfigError. */
function checkTarget({ spec }: BoardPod, name = '', id: string | undefined): void {
  const matters = name !== '' && spec.hostPID !== true && spec.shareProcessNamespace !== true;
  if (matters && id === undefined) throw new ConfigError(`unable to find target container ${name}`);
}

function createFailed(error: unknown, container: string, context: StepContext): StepOutcome {
  const message = messageOf(error);
  const mount = error instanceof VolumeError;
  const reason: FailureReason = mount
    ? 'ContainerCreating'
    : error instanceof ConfigError
      ? 'CreateContainerConfigError'
      : 'CreateContainerError';
  tell(context, mount ? undefined : container, 'Warning', mount ? 'FailedMount' : 'Failed', {
    message: mount ? message : `Error: ${message}`,
  });
  return { type: 'containerFailed', container, reason, message, image: undefined };
}

async function startContainer(
  step: Extract<PodStep, { type: 'startContainer' }>,
  context: StepContext,
): Promise<StepOutcome> {
  try {
    await context.engineSlots.run(() => context.runtime.startContainer(step.id));
  } catch (error) {
    const message = messageOf(error);
    tell(context, step.container, 'Warning', 'Failed', { message: `Error: ${message}` });
    return { type: 'startFailed', id: step.id, message };
  }
  tell(context, step.container, 'Normal', 'Started', {
    message: `Started container ${step.container}`,
  });
  return { type: 'started', id: step.id };
}

function announceStop(
  step: Extract<PodStep, { type: 'stopContainer' }>,
  context: StepContext,
): void {
  const { container, why } = step;
  tell(context, container, 'Normal', 'Killing', { message: killWords(container, why) });
}

function killWords(container: string, why: StopReason): string {
  switch (why) {
    case 'changed':
      return `Container ${container} definition changed, will be restarted`;
    case 'startup':
    case 'liveness':
      return `Container ${container} failed ${why} probe, will be restarted`;
    case 'hook':
      return 'FailedPostStartHook';
    default:
      return `Stopping container ${container}`;
  }
}

export function findContainer(
  pod: BoardPod,
  name: string,
): (KubeContainer & { readonly targetContainerName?: string }) | undefined {
  return allContainers(pod.spec).find((container) => container.name === name);
}

async function attempt(job: () => Promise<void>, done: StepOutcome): Promise<StepOutcome> {
  try {
    await job();
    return done;
  } catch (error) {
    return { type: 'failed', message: messageOf(error) };
  }
}

export function tell(
  { pod, emit }: StepContext,
  container: string | undefined,
  type: PodEvent['type'],
  reason: string,
  { message }: { readonly message: string },
): void {
  const { uid, namespace, name } = pod;
  emit({ uid, namespace, name, container, type, reason, message });
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(1)}s`;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
