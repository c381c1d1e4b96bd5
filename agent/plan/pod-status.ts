/**
 * The PodStatus of a pod from what the engine shows and what the agent remembers. Pure.
 * Words and rules are Kubernetes' (core/v1 PodStatus, "Pod Lifecycle"). Wall-clock times in here are for
 * people; nothing is decided by them.
 */
import { rfc3339 } from '../../protocol/clock.ts';
import type {
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  Container as KubeContainer,
  PodCondition,
  PodStatus,
} from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import type { Container } from '../runtime/runtime.ts';
import { isSidecar } from './board-pod.ts';
import { containerMemory, type Failure, newestContainers } from './memory.ts';
import { exitCodeOf, type PodView, pendingInit, podOutcome } from './pod-plan.ts';
import { isReady, isStarted } from './probes.ts';
import { qosClass } from './qos.ts';
import { terminatedState } from './terminated.ts';

export interface StatusContext {
  /** "podman", "containerd" or "docker": the scheme of container IDs. */
  readonly runtimeScheme: string;
  readonly hostIp: string;
  /** When this board first knew the pod; wall clock. */
  readonly startTimeMs: number;
  readonly wallMs: number;
  /** The last status, so that transition times are kept. */
  readonly previous: PodStatus | undefined;
}

/** How long a failed pull is called ErrImagePull before it is called ImagePullBackOff. */
export const PULL_ERROR_SHOWN_MS = 2000;

export function podStatus(view: PodView, context: StatusContext): PodStatus {
  const { spec } = view.pod;
  const newest = newestContainers(view.containers);
  const describe = (container: KubeContainer, kind: ContainerKind) =>
    containerStatus(view, context, { container, newest: newest.get(container.name), kind });
  const inits = (spec.initContainers ?? []).map((container) => describe(container, 'init'));
  const mains = spec.containers.map((container) => describe(container, 'main'));
  const added = (spec.ephemeralContainers ?? []).map((one) => describe(one, 'ephemeral'));
  const sidecars = inits.filter(({ name }) =>
    spec.initContainers?.some((container) => container.name === name && isSidecar(container)),
  );
  const phase = podPhase(view, newest);
  const sandbox = view.sandboxes.find(({ ready }) => ready) ?? view.sandboxes[0];
  const podIp = spec.hostNetwork === true ? context.hostIp : sandbox?.ip;
  return {
    phase,
    ...(view.verdict === undefined
      ? {}
      : { reason: view.verdict.reason, message: view.verdict.message }),
    conditions: conditions(view, context, { phase, mains, sidecars, newest }),
    hostIP: context.hostIp,
    hostIPs: [{ ip: context.hostIp }],
    ...(podIp === undefined || podIp === '' ? {} : { podIP: podIp, podIPs: [{ ip: podIp }] }),
    startTime: rfc3339(context.startTimeMs),
    ...(inits.length === 0 ? {} : { initContainerStatuses: inits }),
    containerStatuses: mains,
    ...(added.length === 0 ? {} : { ephemeralContainerStatuses: added }),
    qosClass: qosClass(spec),
  };
}

function podPhase(view: PodView, newest: ReadonlyMap<string, Container>): string {
  const outcome = podOutcome(view);
  // Kubernetes: a pod that was ended is Failed when the last of its containers has stopped.
  const stops =
    view.verdict !== undefined && view.containers.some(({ state }) => state === 'running');
  if (outcome !== undefined && !stops) return outcome;
  const mains = view.pod.spec.containers.map(({ name }) => {
    const container = newest.get(name);
    const known = containerMemory(view.memory, name);
    // A pod that ran once stays Running while its sandbox is made anew.
    const isHooked = container === undefined || hasHooked(view, container);
    const isBegun =
      container === undefined
        ? known.attempt !== undefined
        : (container.state !== 'created' && isHooked) || container.attempt > 0;
    const exitCode =
      container === undefined ? known.lastTerminated?.exitCode : exitCodeOf(view, container);
    return { isBegun, exitCode };
  });
  if (!mains.every(({ isBegun }) => isBegun)) return 'Pending';
  // A pod on its way out is Running until all has ended; then its exit codes say how it went.
  const isOver = mains.every(({ exitCode }) => exitCode !== undefined);
  if (view.stopGraceSeconds === undefined || !isOver) return 'Running';
  return mains.every(({ exitCode }) => exitCode === 0) ? 'Succeeded' : 'Failed';
}

function conditions(
  view: PodView,
  context: StatusContext,
  {
    phase,
    mains,
    sidecars,
    newest,
  }: {
    phase: string;
    mains: readonly ContainerStatus[];
    sidecars: readonly ContainerStatus[];
    newest: ReadonlyMap<string, Container>;
  },
): PodCondition[] {
  const finished = hasEnded({ phase });
  // Kubernetes: a sidecar counts like a container of the pod.
  const unready = [...sidecars, ...mains].filter(({ ready }) => !ready).map(({ name }) => name);
  const notReady =
    phase === 'Succeeded'
      ? { reason: 'PodCompleted' }
      : phase === 'Failed'
        ? { reason: 'PodFailed' }
        : {
            reason: 'ContainersNotReady',
            message: `containers with unready status: [${unready.join(' ')}]`,
          };
  const init = pendingInit(view);
  const initPending = init !== undefined && phase !== 'Succeeded';
  const waitingInits = (view.pod.spec.initContainers ?? [])
    .filter((container) => {
      const known = newest.get(container.name);
      if (isSidecar(container)) return !isStarted(view.health, container, known?.id ?? '');
      return known?.exitCode !== 0 || known.state !== 'exited';
    })
    .map(({ name }) => name);
  const readySince = [...readyTimes(view), latestStart(mains) ?? ''].sort().at(-1) || undefined;
  const initialized: Draft = initPending
    ? {
        type: 'Initialized',
        ok: false,
        reason: 'ContainersNotInitialized',
        message: `containers with incomplete status: [${waitingInits.join(' ')}]`,
      }
    : { type: 'Initialized', ok: true };
  const ok = unready.length === 0 && !finished;
  const ready = ok
    ? { ok, ...(readySince === undefined ? {} : { since: readySince }) }
    : { ok, ...notReady };
  const sandboxUp = view.sandboxes.some((sandbox) => sandbox.ready);
  const drafts: Draft[] = [
    { type: 'PodReadyToStartContainers', ok: sandboxUp },
    initialized,
    { type: 'Ready', ...ready },
    { type: 'ContainersReady', ...ready },
    { type: 'PodScheduled', ok: true, since: rfc3339(context.startTimeMs) },
  ];
  const { isDisruption, message } = view.verdict ?? {};
  if (isDisruption === true && message !== undefined) {
    // Kubernetes: not for a pod that was ended over a limit of its own.
    drafts.push({ type: 'DisruptionTarget', ok: true, reason: 'TerminationByKubelet', message });
  }
  return drafts.map((draft) => settle(draft, context));
}

interface Draft {
  readonly type: string;
  readonly ok: boolean;
  readonly reason?: string;
  readonly message?: string;
  /** Best guess of the transition when this agent did not see it. */
  readonly since?: string;
}

function settle(draft: Draft, context: StatusContext): PodCondition {
  const status = draft.ok ? 'True' : 'False';
  const before = context.previous?.conditions?.find(({ type }) => type === draft.type);
  const kept = before?.status === status ? before.lastTransitionTime : undefined;
  const first =
    context.previous === undefined ? (draft.since ?? rfc3339(context.startTimeMs)) : undefined;
  return {
    type: draft.type,
    status,
    lastTransitionTime: kept ?? first ?? rfc3339(context.wallMs),
    ...(draft.reason === undefined ? {} : { reason: draft.reason }),
    ...(draft.message === undefined ? {} : { message: draft.message }),
  };
}

/** When containers became ready, as a former agent saw it. */
function readyTimes({ health }: PodView): string[] {
  return [...health.values()].flatMap(({ before }) =>
    before?.readySinceMs === undefined ? [] : [rfc3339(before.readySinceMs)],
  );
}

function latestStart(statuses: readonly ContainerStatus[]): string | undefined {
  const starts = statuses.flatMap(({ state }) => state?.running?.startedAt ?? []);
  return starts.sort().at(-1);
}

type ContainerKind = 'init' | 'main' | 'ephemeral';

/** A container of the pod, what the engine has of it, and where in the pod's spec it stands. */
interface Described {
  readonly container: KubeContainer;
  readonly newest: Container | undefined;
  readonly kind: ContainerKind;
}

function containerStatus(
  view: PodView,
  context: StatusContext,
  described: Described,
): ContainerStatus {
  const { container, newest, kind } = described;
  const { name } = container;
  const known = containerMemory(view.memory, name);
  const state = containerState(view, context, described);
  const lastState = lastTerminated(view, context, newest, state);
  const running = newest?.state === 'running';
  const completes = kind === 'init' && !isSidecar(container);
  const completed = newest?.state === 'exited' && newest.exitCode === 0;
  const isUp = kind !== 'ephemeral' && running && isReady(view.health, container, newest.id);
  const ready = completes ? completed : isUp;
  const started = running && (completes || isStarted(view.health, container, newest.id));
  const id = newest?.id ?? known.lastTerminated?.containerID;
  return {
    name,
    state,
    ...(lastState === undefined ? {} : { lastState }),
    ready,
    restartCount: Math.max(newest?.attempt ?? 0, known.attempt ?? 0),
    image: newest?.image ?? container.image ?? '',
    imageID: newest?.imageId ?? '',
    ...(id === undefined ? {} : { containerID: `${context.runtimeScheme}://${id}` }),
    // Kubernetes says nothing of the kind about one that was added to debug.
    ...(kind === 'ephemeral' ? {} : { started }),
  };
}

function containerState(
  view: PodView,
  context: StatusContext,
  { container, newest, kind }: Described,
): ContainerState {
  const { name } = container;
  if (newest?.state === 'running' && hasHooked(view, newest)) {
    const startedAt = newest.startedAtMs;
    return { running: startedAt === undefined ? {} : { startedAt: rfc3339(startedAt) } };
  }
  const known = containerMemory(view.memory, name);
  const exitCode = newest === undefined ? undefined : exitCodeOf(view, newest);
  const going = view.stopGraceSeconds !== undefined || podOutcome(view) !== undefined;
  const failure = known.failure;
  if (failure !== undefined && !going) return { waiting: failureWaiting(view, container, failure) };
  if (newest !== undefined && exitCode !== undefined) {
    const ended = known.ended;
    const waits =
      !going &&
      willRestart(view, container, exitCode, kind) &&
      ended?.id === newest.id &&
      ended.backoff.delayMs > 0;
    return waits
      ? { waiting: crashWaiting(view, name, ended.backoff.delayMs) }
      : { terminated: endOf(context, newest, known.lastTerminated) };
  }
  // The containers of a pod that goes are removed before it is reported for the last time.
  const isOver = going || (kind === 'ephemeral' && newest === undefined);
  if (isOver && known.lastTerminated !== undefined) {
    const id = known.lastTerminated.containerID ?? '';
    const containerID = `${context.runtimeScheme}://${id}`;
    return { terminated: { ...known.lastTerminated, containerID } };
  }
  if (kind === 'ephemeral' && newest === undefined && known.attempt !== undefined) {
    return { terminated: LOST };
  }
  return { waiting: { reason: notMadeYet(view) } };
}

/** Kubernetes' words for a container that ran and that the engine knows no more: it went with its sandbox. */
const LOST: ContainerStateTerminated = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message: 'The container could not be located when the pod was restarted',
};

/** Kubernetes shows a container as running only when its postStart hook has run. */
function hasHooked({ health }: PodView, { name, id }: Container): boolean {
  const known = health.get(name);
  return known?.id !== id || known.hooked;
}

/** Kubernetes: in a pod with init containers every container that was not made yet says so, they too. */
function notMadeYet(view: PodView): string {
  const inits = view.pod.spec.initContainers ?? [];
  return inits.length > 0 ? 'PodInitializing' : 'ContainerCreating';
}

function willRestart(
  view: PodView,
  container: KubeContainer,
  exitCode: number,
  kind: ContainerKind,
): boolean {
  if (kind === 'ephemeral') return false;
  if (isSidecar(container)) return true;
  const policy = view.pod.spec.restartPolicy ?? 'Always';
  if (policy === 'Always' && kind === 'main') return true;
  const { ended, failedId } = containerMemory(view.memory, container.name);
  const failed = exitCode !== 0 || (failedId !== undefined && failedId === ended?.id);
  return policy !== 'Never' && failed;
}

function crashWaiting(view: PodView, name: string, delayMs: number) {
  const { pod } = view;
  const wait = formatWait(delayMs);
  return {
    reason: 'CrashLoopBackOff',
    message:
      `back-off ${wait} restarting failed container=${name} ` +
      `pod=${pod.name}_${pod.namespace}(${pod.uid})`,
  };
}

function failureWaiting(view: PodView, container: KubeContainer, failure: Failure) {
  if (failure.reason === 'ErrImagePull' && view.nowMs - failure.atMs >= PULL_ERROR_SHOWN_MS) {
    const message = `Back-off pulling image "${container.image ?? ''}": ErrImagePull: ${failure.message}`;
    return { reason: 'ImagePullBackOff', message };
  }
  const reason = failure.reason === 'ContainerCreating' ? notMadeYet(view) : failure.reason;
  return { reason, message: failure.message };
}

function endOf(
  context: StatusContext,
  container: Container,
  remembered: ContainerStateTerminated | undefined,
) {
  const end = remembered?.containerID === container.id ? remembered : terminatedState(container);
  return { ...end, containerID: `${context.runtimeScheme}://${container.id}` };
}

/** How the attempt before ended: from the engine if it still has it, from memory otherwise. */
function lastTerminated(
  view: PodView,
  context: StatusContext,
  newest: Container | undefined,
  state: ContainerState,
): ContainerState | undefined {
  if (newest === undefined) return undefined;
  const remembered = containerMemory(view.memory, newest.name).lastTerminated;
  if (remembered !== undefined && state.terminated === undefined) {
    const id = remembered.containerID ?? '';
    return { terminated: { ...remembered, containerID: `${context.runtimeScheme}://${id}` } };
  }
  const before = view.containers
    .filter(
      ({ name, attempt, state: at }) =>
        name === newest.name && attempt < newest.attempt && at === 'exited',
    )
    .sort((a, b) => b.attempt - a.attempt)[0];
  return before === undefined ? undefined : { terminated: endOf(context, before, undefined) };
}

/** "10s", "1m20s", "5m0s": as Go prints a duration. */
function formatWait(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
