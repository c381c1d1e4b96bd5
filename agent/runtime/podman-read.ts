/**
 * From libpod's answers to our types. Pure. What is missing in an answer gets a harmless value; what is not ours
 * (no labels, the infra container) is left out.
 */
import { asArray, asNumber, asObject, asText, textEntries } from './json-read.ts';
import { IP_LABEL } from './podman-spec.ts';
import { type Container, LABELS, type RuntimeEvent, type Sandbox } from './runtime.ts';

/** As the shell counts a death by SIGKILL; the real code is lost. */
export const KILLED = 137;

/** One entry of `GET /libpod/pods/json`; `dead` are containers that podman wrongly believes in. */
export function readSandbox(value: unknown, dead: ReadonlySet<string>): Sandbox | undefined {
  const pod = asObject(value);
  const labels = textEntries(pod.Labels);
  const id = asText(pod.Id);
  const podUid = labels[LABELS.podUid];
  if (id === undefined || podUid === undefined) return undefined;
  const infraId = asText(pod.InfraId);
  const infra = asArray(pod.Containers)
    .map(asObject)
    .find((container) => container.Id === infraId);
  return {
    id,
    podUid,
    podName: labels[LABELS.podName] ?? '',
    podNamespace: labels[LABELS.podNamespace] ?? '',
    ip: labels[IP_LABEL],
    ready: infra?.Status === 'running' && !dead.has(infraId ?? ''),
  };
}

/** One entry of `GET /libpod/containers/json`. Times are to the second there. */
export function readContainer(value: unknown): Container | undefined {
  const entry = asObject(value);
  const labels = textEntries(entry.Labels);
  const id = asText(entry.Id);
  const podUid = labels[LABELS.podUid];
  const name = labels[LABELS.containerName];
  if (id === undefined || podUid === undefined || name === undefined) return undefined;
  const startedAtS = asNumber(entry.StartedAt) ?? 0;
  const exitedAtS = asNumber(entry.ExitedAt) ?? 0;
  // After a power cut podman (4.3) calls what ran "created", and knows no end of it: it was killed, and a pod that
  // must not run twice has failed.
  const told = readState(asText(entry.State));
  const state = told === 'created' && startedAtS > 0 ? 'exited' : told;
  const exitCode = startedAtS > 0 && exitedAtS <= 0 ? KILLED : (asNumber(entry.ExitCode) ?? 0);
  return {
    id,
    podUid,
    name,
    attempt: Number(labels[LABELS.attempt] ?? '0'),
    specHash: labels[LABELS.specHash] ?? '',
    image: asText(entry.Image) ?? '',
    imageId: asText(entry.ImageID) ?? '',
    state,
    ...(startedAtS <= 0 ? {} : { startedAtMs: startedAtS * 1000 }),
    ...(state === 'exited'
      ? { exitCode, ...(exitedAtS <= 0 ? {} : { finishedAtMs: exitedAtS * 1000 }) }
      : {}),
  };
}

function readState(state: string | undefined): Container['state'] {
  switch (state) {
    case 'running':
    case 'paused':
    // Still alive until podman has cleaned up behind it.
    case 'stopping':
      return 'running';
    case 'stopped':
    case 'exited':
    case 'removing':
      return 'exited';
    default:
      // configured, created, initialized, unknown.
      return 'created';
  }
}

export interface ExitFacts {
  readonly startedAtMs?: number;
  readonly finishedAtMs?: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
}

/** What only `GET /libpod/containers/ID/json` tells about one that has ended. */
export function readExit(value: unknown): ExitFacts {
  const state = asObject(asObject(value).State);
  const startedAtMs = readTime(state.StartedAt);
  const finishedAtMs = readTime(state.FinishedAt);
  return {
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    ...(finishedAtMs === undefined ? {} : { finishedAtMs }),
    exitCode:
      startedAtMs !== undefined && finishedAtMs === undefined
        ? KILLED
        : (asNumber(state.ExitCode) ?? 0),
    oomKilled: state.OOMKilled === true,
  };
}

/** Go's zero time is the year 1: never happened. */
function readTime(value: unknown): number | undefined {
  const ms = Date.parse(asText(value) ?? '');
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

/**
 * One line of `GET /libpod/events`. The end of a sandbox's own infra container is told as `exited` too, with
 * its id: the pod has to be looked at.
 */
export function readEvent(line: string): RuntimeEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // A torn line at the end of a broken stream; the caller lists again after that anyway.
    return undefined;
  }
  const event = asObject(value);
  const actor = asObject(event.Actor);
  const attributes = textEntries(actor.Attributes);
  const containerId = asText(actor.ID) ?? asText(event.id);
  const type = eventType(asText(event.Action) ?? asText(event.status));
  if (containerId === undefined || type === undefined) return undefined;
  if (attributes[LABELS.managed] !== 'true') return undefined;
  const isInfra = attributes[LABELS.containerName] === undefined;
  if (isInfra && type !== 'exited') return undefined;
  return { type, containerId, podUid: attributes[LABELS.podUid] };
}

function eventType(action: string | undefined): RuntimeEvent['type'] | undefined {
  switch (action) {
    case 'start':
      return 'started';
    case 'died':
    case 'die':
      return 'exited';
    case 'remove':
    // Docker's word.
    case 'destroy':
      return 'removed';
    default:
      return undefined;
  }
}
