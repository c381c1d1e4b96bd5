/**
 * Cells of a pod, as `kubectl get pods` shows them: STATUS is one word drawn from phase, reasons and the states of
 * the containers, with the rules of Kubernetes' own printer.
 */

import type {
  Container,
  ContainerStatus,
  Pod,
  PodCondition,
} from '../../../../protocol/kinds/types.ts';
import { hasEnded } from '../../../../protocol/pod-phase.ts';
import type { Cell } from '../../kind.ts';
import { ageCell, NONE, nameCell } from '../columns.ts';
import { ageSince } from '../human-duration.ts';

interface Summary {
  word: string;
  restarts: number;
  /** Timestamp of the end before the last restart; empty when there was none. */
  lastRestart: string;
  ready: number;
}

/** Reason of the node lifecycle controller for pods of a board that it has lost. */
const NODE_LOST = 'NodeLost';

export function podRow(pod: Pod, nowMs: number): Cell[] {
  const containers = pod.spec?.containers ?? [];
  const sidecars = (pod.spec?.initContainers ?? []).filter(isSidecar);
  const { word, restarts, lastRestart, ready } = summary(pod);
  const ago = restarts !== 0 && lastRestart !== '' ? ` (${ageSince(lastRestart, nowMs)} ago)` : '';
  const gates = pod.spec?.readinessGates ?? [];
  const conditions = pod.status?.conditions ?? [];
  const open = gates.filter((gate) => isTrue(conditions, gate.conditionType));
  return [
    nameCell(pod),
    `${ready}/${containers.length + sidecars.length}`,
    word,
    `${restarts}${ago}`,
    ageCell(pod, nowMs),
    pod.status?.podIPs?.[0]?.ip || pod.status?.podIP || NONE,
    pod.spec?.nodeName || NONE,
    pod.status?.nominatedNodeName || NONE,
    gates.length === 0 ? NONE : `${open.length}/${gates.length}`,
  ];
}

function isSidecar(container: Container | undefined): boolean {
  return container?.restartPolicy === 'Always';
}

function isTrue(conditions: readonly PodCondition[], type: string): boolean {
  return conditions.some((one) => one.type === type && one.status === 'True');
}

function summary(pod: Pod): Summary {
  const phase = pod.status?.phase ?? '';
  const conditions = pod.status?.conditions ?? [];
  const gated = conditions.some(
    ({ type, reason }) => type === 'PodScheduled' && reason === 'SchedulingGated',
  );
  const found: Summary = {
    word: gated ? 'SchedulingGated' : pod.status?.reason || phase,
    restarts: 0,
    lastRestart: '',
    ready: 0,
  };
  const initializing = addInitContainers(pod, found);
  if (!initializing || isTrue(conditions, 'Initialized')) addContainers(pod, found);
  if (pod.metadata?.deletionTimestamp !== undefined) {
    if (pod.status?.reason === NODE_LOST) found.word = 'Unknown';
    else if (!hasEnded(pod.status)) found.word = 'Terminating';
  }
  return found;
}

/** Init containers run one after the other: the first that is not through gives the word. */
function addInitContainers(pod: Pod, found: Summary): boolean {
  const specs = new Map((pod.spec?.initContainers ?? []).map((one) => [one.name, one]));
  for (const [index, status] of (pod.status?.initContainerStatuses ?? []).entries()) {
    addRestarts(status, found);
    const { terminated, waiting } = status.state ?? {};
    if (terminated?.exitCode === 0) continue;
    if (isSidecar(specs.get(status.name)) && status.started === true) {
      if (status.ready) found.ready += 1;
      continue;
    }
    if (terminated !== undefined) found.word = `Init:${endWord(terminated)}`;
    else if (waiting?.reason && waiting.reason !== 'PodInitializing') {
      found.word = `Init:${waiting.reason}`;
    } else found.word = `Init:${index}/${specs.size}`;
    return true;
  }
  return false;
}

/** From the last to the first, so that the first container's word is the one that stays. */
function addContainers(pod: Pod, found: Summary): void {
  const specs = new Map((pod.spec?.initContainers ?? []).map((one) => [one.name, one]));
  // Restarts of ordinary init containers are history once the pod runs.
  found.restarts = 0;
  found.lastRestart = '';
  for (const status of pod.status?.initContainerStatuses ?? []) {
    if (isSidecar(specs.get(status.name))) addRestarts(status, found);
  }
  let running = false;
  for (const status of [...(pod.status?.containerStatuses ?? [])].reverse()) {
    addRestarts(status, found);
    const { terminated, waiting } = status.state ?? {};
    if (waiting?.reason) found.word = waiting.reason;
    else if (terminated !== undefined) found.word = endWord(terminated);
    else if (status.ready && status.state?.running !== undefined) {
      running = true;
      found.ready += 1;
    }
  }
  if (found.word === 'Completed' && running) {
    found.word = isTrue(pod.status?.conditions ?? [], 'Ready') ? 'Running' : 'NotReady';
  }
}

function addRestarts(status: ContainerStatus, found: Summary): void {
  found.restarts += status.restartCount;
  const finished = status.lastState?.terminated?.finishedAt ?? '';
  // Timestamps have one form (RFC 3339 in UTC, whole seconds), so text order is time order.
  if (finished > found.lastRestart) found.lastRestart = finished;
}

function endWord(end: { reason?: string; signal?: number; exitCode: number }): string {
  if (end.reason) return end.reason;
  return end.signal ? `Signal:${end.signal}` : `ExitCode:${end.exitCode}`;
}
