/**
 * What to do next for one pod: (spec, what the engine shows, memory, now) in, steps out. Pure.
 *
 * Rules kept here, all of them Kubernetes':
 * - A running container with an equal hash is never touched, whoever started it: that is how a restarted
 *   agent adopts pods.
 * - Init containers run one after the other, each to success; then the containers of the pod run together.
 * - A container that ended is started anew in the same sandbox, as a new attempt, after its back-off.
 * - A sandbox that died took the pod's address with it: it is removed and made anew, with the same IP.
 * - A container that was added to debug the pod (ephemeral) runs once, whatever the others do, and holds nothing up.
 * - A pod that goes: containers are stopped together, then the sandbox is removed, then the pod is gone.
 *
 * The steps of one plan do not depend on each other; after each the caller plans again.
 */
import type { EphemeralContainer, Container as KubeContainer } from '../../protocol/kinds/types.ts';
import type { Container, Sandbox } from '../runtime/runtime.ts';
import { type BoardPod, containerHash, isSidecar } from './board-pod.ts';
import { containerMemory, newestContainers, type PodMemory } from './memory.ts';
import { failedProbe, isStarted, type PodHealth } from './probes.ts';

export interface PodView {
  readonly pod: BoardPod;
  /** Set when the pod must go: seconds between SIGTERM and SIGKILL. */
  readonly stopGraceSeconds: number | undefined;
  readonly sandboxes: readonly Sandbox[];
  readonly containers: readonly Container[];
  readonly memory: PodMemory;
  readonly health: PodHealth;
  /** The board has ended the pod, for good: none of its containers may run any more. */
  readonly verdict: PodVerdict | undefined;
  /** Monotonic. */
  readonly nowMs: number;
}

/** Reason and message as the pod's status shows them. */
export interface PodVerdict {
  readonly reason: string;
  readonly message: string;
  /** Not for what the pod itself did: the board was short of something. */
  readonly isDisruption?: true;
}

/** Kubernetes: activeDeadlineSeconds counts from when the board first knew the pod. */
export const DEADLINE_EXCEEDED: PodVerdict = {
  reason: 'DeadlineExceeded',
  message: 'Pod was active on the node longer than the specified deadline',
};

/** The reason of pods that used more than they may. */
export const EVICTED = 'Evicted';
/** Kubernetes: what a pod gets to end when it is evicted for its disk use. */
const EVICTED_GRACE_SECONDS = 1;

export type PodStep =
  | { readonly type: 'runSandbox' }
  | { readonly type: 'removeSandbox'; readonly id: string; readonly why: 'dead' | 'deleted' }
  | {
      readonly type: 'ensureImage';
      readonly container: string;
      readonly image: string;
      readonly policy: PullPolicy;
      readonly attempt: number;
    }
  | {
      readonly type: 'createContainer';
      readonly sandboxId: string;
      readonly container: string;
      readonly attempt: number;
      readonly imageId: string;
      /** The container whose processes it is to see, by the engine's id. */
      readonly targetId?: string;
    }
  | { readonly type: 'startContainer'; readonly id: string; readonly container: string }
  | {
      readonly type: 'stopContainer';
      readonly id: string;
      readonly container: string;
      readonly graceSeconds: number;
      readonly why: StopReason;
    }
  | { readonly type: 'runPostStart'; readonly id: string; readonly container: string }
  | { readonly type: 'removeContainer'; readonly id: string; readonly container: string }
  | { readonly type: 'gone' };

/** `startup` and `liveness`: that probe has failed; `hook`: postStart has. */
export type StopReason = 'deleted' | 'changed' | 'finished' | 'startup' | 'liveness' | 'hook';

export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';

export interface PodPlan {
  readonly steps: readonly PodStep[];
  /** When to plan again although nothing happened; monotonic. */
  readonly wakeAtMs: number | undefined;
}

export function planPod(view: PodView): PodPlan {
  if (view.stopGraceSeconds !== undefined) return planRemoval(view, view.stopGraceSeconds);
  if (podOutcome(view) !== undefined) return planFinished(view);
  const ready = view.sandboxes.find((sandbox) => sandbox.ready);
  const spare = view.sandboxes.filter((sandbox) => sandbox !== ready);
  const failure = view.memory.sandboxFailure;
  if (spare.length > 0 || ready === undefined) {
    if (failure !== undefined && view.nowMs < failure.backoff.untilMs) {
      return { steps: [], wakeAtMs: failure.backoff.untilMs };
    }
    if (spare.length > 0) {
      return steps(spare.map(({ id }) => ({ type: 'removeSandbox', id, why: 'dead' })));
    }
    return steps([{ type: 'runSandbox' }]);
  }
  return planContainers(view, ready);
}

/** Succeeded or Failed once no container will ever run again; undefined before. */
export function podOutcome(view: PodView): 'Succeeded' | 'Failed' | undefined {
  if (view.verdict !== undefined) return 'Failed';
  const newest = newestContainers(view.containers);
  const policy = view.pod.spec.restartPolicy ?? 'Always';
  if (policy === 'Always') return undefined;
  const codes: number[] = [];
  for (const container of view.pod.spec.containers) {
    const code = finalExitCode(view, container, newest.get(container.name), policy);
    if (code === undefined) return initFailed(view, newest, policy) ? 'Failed' : undefined;
    codes.push(code);
  }
  return codes.every((code) => code === 0) ? 'Succeeded' : 'Failed';
}

/** The init container whose turn it is; undefined when all are done. */
export function pendingInit(view: PodView): KubeContainer | undefined {
  const newest = newestContainers(view.containers);
  // Once a main container exists, init is over, even if somebody pruned the ended init containers.
  if (view.pod.spec.containers.some(({ name }) => newest.has(name))) return undefined;
  return view.pod.spec.initContainers?.find((container) => {
    const known = newest.get(container.name);
    if (known === undefined) return true;
    if (isSidecar(container)) {
      return known.state !== 'running' || !isStarted(view.health, container, known.id);
    }
    return known.state !== 'exited' || known.exitCode !== 0;
  });
}

/** Exit code of a container that has ended, also of one that could not even be started. */
export function exitCodeOf(view: PodView, container: Container): number | undefined {
  if (container.state === 'exited') return container.exitCode ?? 0;
  const ended = containerMemory(view.memory, container.name).ended;
  return container.state === 'created' && ended?.id === container.id ? 128 : undefined;
}

/** Kubernetes: Always for `:latest` and untagged images, IfNotPresent for the rest. */
export function pullPolicy(container: KubeContainer): PullPolicy {
  const policy = container.imagePullPolicy;
  if (policy === 'Always' || policy === 'IfNotPresent' || policy === 'Never') return policy;
  const image = container.image ?? '';
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^:/]+)$/.exec(image)?.[1];
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function planContainers(view: PodView, sandbox: Sandbox): PodPlan {
  const { spec } = view.pod;
  const policy = spec.restartPolicy ?? 'Always';
  const init = pendingInit(view);
  const inits = spec.initContainers ?? [];
  const started = init === undefined ? inits : inits.slice(0, inits.indexOf(init));
  const plans = [
    ...(spec.ephemeralContainers ?? []).map((one) => planEphemeral(view, sandbox, one)),
    ...started
      .filter(isSidecar)
      .map((container) => planContainer(view, sandbox, container, 'Always')),
  ];
  if (init !== undefined) {
    // An init container must succeed: Always means the same as OnFailure for it.
    const initPolicy = isSidecar(init) ? 'Always' : policy === 'Never' ? 'Never' : 'OnFailure';
    plans.push(planContainer(view, sandbox, init, initPolicy));
  } else {
    for (const container of spec.containers) {
      const plan = planContainer(view, sandbox, container, policy);
      plans.push(plan);
      // Kubernetes: a container is started when the postStart hook of the one before has run.
      if (container.lifecycle?.postStart !== undefined && plan.steps.length > 0) break;
    }
  }
  return merge(plans);
}

/** Once it was made it is never made again, however it ended, and whether or not the engine still has it. */
function planEphemeral(view: PodView, sandbox: Sandbox, container: EphemeralContainer): PodPlan {
  const { name, targetContainerName = '' } = container;
  const made = newestContainers(view.containers).get(name);
  if (made !== undefined) {
    const isNew = made.state === 'created' && exitCodeOf(view, made) === undefined;
    return isNew ? steps([{ type: 'startContainer', id: made.id, container: name }]) : NOTHING;
  }
  if (containerMemory(view.memory, name).attempt !== undefined) return NOTHING;
  const target = view.containers.find(
    (one) => one.name === targetContainerName && one.state === 'running',
  );
  const plan = planNew(view, sandbox, container);
  if (target === undefined) return plan;
  const targeted = plan.steps.map((step) =>
    step.type === 'createContainer' ? { ...step, targetId: target.id } : step,
  );
  return { ...plan, steps: targeted };
}

function planContainer(
  view: PodView,
  sandbox: Sandbox,
  container: KubeContainer,
  policy: string,
): PodPlan {
  const { name } = container;
  const [newest, ...older] = view.containers
    .filter((candidate) => candidate.name === name)
    .sort((a, b) => b.attempt - a.attempt || (a.id < b.id ? -1 : 1));
  // The one before the newest is kept for `kubectl logs --previous`.
  const cleaning = older
    .filter((old, index) => index > 0 || old.state !== 'exited')
    .map(({ id }) => ({ type: 'removeContainer', id, container: name }) as const);
  const next = planNewest(view, sandbox, container, { newest, policy });
  return { ...next, steps: [...cleaning, ...next.steps] };
}

function planNewest(
  view: PodView,
  sandbox: Sandbox,
  container: KubeContainer,
  { newest, policy }: { newest: Container | undefined; policy: string },
): PodPlan {
  if (newest === undefined) return planNew(view, sandbox, container);
  const { name } = container;
  const changed = newest.specHash !== containerHash(container);
  if (newest.state === 'running') {
    return planRunning(view, container, newest.id, changed);
  }
  const exitCode = exitCodeOf(view, newest);
  if (exitCode === undefined) {
    const { id } = newest;
    if (changed) return steps([{ type: 'removeContainer', id, container: name }]);
    return steps([{ type: 'startContainer', id, container: name }]);
  }
  if (changed) return planNew(view, sandbox, container);
  if (!restarts(view, newest, { policy, exitCode })) return NOTHING;
  const ended = containerMemory(view.memory, name).ended;
  if (ended?.id === newest.id && view.nowMs < ended.backoff.untilMs) {
    return { steps: [], wakeAtMs: ended.backoff.untilMs };
  }
  return planNew(view, sandbox, container);
}

function planRunning(
  view: PodView,
  container: KubeContainer,
  id: string,
  changed: boolean,
): PodPlan {
  const { name } = container;
  const failed = failedProbe(view.health, container, id);
  const stop = (why: StopReason, grace?: number): PodPlan => {
    const graceSeconds = grace ?? view.pod.spec.terminationGracePeriodSeconds ?? 30;
    return steps([{ type: 'stopContainer', id, container: name, graceSeconds, why }]);
  };
  if (changed) return stop('changed');
  if (failed !== undefined) return stop(failed.type, failed.probe.terminationGracePeriodSeconds);
  if (containerMemory(view.memory, name).failedId === id) return stop('hook');
  const health = view.health.get(name);
  if (health?.id !== id || health.hooked) return NOTHING;
  return steps([{ type: 'runPostStart', id, container: name }]);
}

/** A new attempt: first the image, then the container. */
function planNew(view: PodView, sandbox: Sandbox, container: KubeContainer): PodPlan {
  const { name } = container;
  const image = container.image ?? '';
  const known = containerMemory(view.memory, name);
  const attempt = known.attempt === undefined ? 0 : known.attempt + 1;
  const failure = known.failure;
  const sameImage = failure?.image === undefined || failure.image === image;
  if (failure !== undefined && sameImage && view.nowMs < failure.backoff.untilMs) {
    return { steps: [], wakeAtMs: failure.backoff.untilMs };
  }
  if (known.imageReady?.attempt === attempt && known.imageReady.image === image) {
    const { imageId } = known.imageReady;
    const where = { sandboxId: sandbox.id, container: name, attempt };
    return steps([{ type: 'createContainer', ...where, imageId }]);
  }
  const policy = pullPolicy(container);
  return steps([{ type: 'ensureImage', container: name, image, policy, attempt }]);
}

/** A finished pod keeps its ended containers for their logs; what still runs, as sidecars, is left to stop. */
function planFinished(view: PodView): PodPlan {
  const running = view.containers.filter(({ state }) => state === 'running');
  const grace = view.pod.spec.terminationGracePeriodSeconds ?? 30;
  const graceSeconds = view.verdict?.reason === EVICTED ? EVICTED_GRACE_SECONDS : grace;
  return steps(
    running.map(({ id, name }) => ({
      type: 'stopContainer',
      id,
      container: name,
      graceSeconds,
      why: 'finished',
    })),
  );
}

function planRemoval(view: PodView, graceSeconds: number): PodPlan {
  const running = view.containers.filter(({ state }) => state === 'running');
  if (running.length > 0) {
    return steps(
      running.map(({ id, name }) => ({
        type: 'stopContainer',
        id,
        container: name,
        graceSeconds,
        why: 'deleted',
      })),
    );
  }
  const failure = view.memory.sandboxFailure;
  if (failure !== undefined && view.nowMs < failure.backoff.untilMs) {
    return { steps: [], wakeAtMs: failure.backoff.untilMs };
  }
  if (view.sandboxes.length > 0) {
    return steps(view.sandboxes.map(({ id }) => ({ type: 'removeSandbox', id, why: 'deleted' })));
  }
  if (view.containers.length > 0) {
    return steps(
      view.containers.map(({ id, name }) => ({ type: 'removeContainer', id, container: name })),
    );
  }
  return steps([{ type: 'gone' }]);
}

function restarts(
  view: PodView,
  { name, id }: Container,
  { policy, exitCode }: { readonly policy: string; readonly exitCode: number },
): boolean {
  // What a failed probe has ended has failed, whatever its exit code says.
  const failed = exitCode !== 0 || containerMemory(view.memory, name).failedId === id;
  return policy === 'Always' || (policy === 'OnFailure' && failed);
}

/** Undefined while the container runs, waits, or will be started again. */
function finalExitCode(
  view: PodView,
  container: KubeContainer,
  newest: Container | undefined,
  policy: string,
): number | undefined {
  if (newest === undefined || newest.specHash !== containerHash(container)) return undefined;
  const exitCode = exitCodeOf(view, newest);
  if (exitCode === undefined) return undefined;
  return restarts(view, newest, { policy, exitCode }) ? undefined : exitCode;
}

function initFailed(
  view: PodView,
  newest: ReadonlyMap<string, Container>,
  policy: string,
): boolean {
  const init = policy === 'Never' ? pendingInit(view) : undefined;
  if (init === undefined || isSidecar(init)) return false;
  const known = newest.get(init.name);
  return known !== undefined && (exitCodeOf(view, known) ?? 0) !== 0;
}

const NOTHING: PodPlan = { steps: [], wakeAtMs: undefined };

function steps(list: readonly PodStep[]): PodPlan {
  return { steps: list, wakeAtMs: undefined };
}

function merge(plans: readonly PodPlan[]): PodPlan {
  const wakeUps = plans.flatMap(({ wakeAtMs }) => (wakeAtMs === undefined ? [] : [wakeAtMs]));
  return {
    steps: plans.flatMap((plan) => plan.steps),
    wakeAtMs: wakeUps.length === 0 ? undefined : Math.min(...wakeUps),
  };
}
