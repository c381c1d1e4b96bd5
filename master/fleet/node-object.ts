/**
 * The Node object as a board's words make it. Pure: in come the object as it is, the board's facts and its
 * health; out come merge patches, or nothing when nothing changes.
 *
 * A board never overwrites what people set: taints and `unschedulable` are not touched, and of the labels only
 * the well-known ones and those that the board itself set before and nobody changed since. Labels with a
 * protected prefix are refused (Kubernetes: NodeRestriction). lastHeartbeatTime moves only with a condition:
 * heartbeats never reach the disk.
 */
import type { Node, NodeCondition, NodeStatus } from '../../protocol/kinds/types.ts';
import { DEVICE_DOMAIN, type Heartbeat, type NodeFacts } from '../../protocol/messages.ts';
import { deepEqual } from '../api/equal.ts';
import { VOLUMES_DIRECTORY } from '../volumes/local-path.ts';
import type { BoardTrouble } from './board-trouble.ts';

/** What the master thinks of a board. `unseen`: not heard since the master started, and not long ago. */
export type BoardHealth =
  | { readonly state: 'unseen' }
  | {
      readonly state: 'online';
      readonly heartbeat: Heartbeat | undefined;
      readonly trouble?: BoardTrouble;
    }
  | { readonly state: 'offline' }
  | { readonly state: 'silent'; readonly seconds: number };

const BOARD_LABELS_ANNOTATION = 'pier.local/board-labels';
const PROTECTED_LABEL = /(^|\.)(kubernetes|k8s)\.io\//;
const UNKNOWN = 'NodeStatusUnknown';

export interface Versions {
  /** As GET /version says it, such as "v1.34.0+pier". */
  readonly kubernetes: string;
}

/** For a board without a Node object. */
export function newNode(name: string, facts: NodeFacts): Node {
  const labels = { ...boardLabels(facts), ...wellKnownLabels(name, facts) };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels,
      annotations: {
        [BOARD_LABELS_ANNOTATION]: JSON.stringify(boardLabels(facts)),
        ...(facts.volumesDirectory === undefined
          ? {}
          : { [VOLUMES_DIRECTORY]: facts.volumesDirectory }),
      },
    },
    spec: {},
  };
}

/** A merge patch for the labels and what is beside them, or undefined when they are right. */
export function labelPatch(node: Node, facts: NodeFacts): Record<string, unknown> | undefined {
  const current = node.metadata?.labels ?? {};
  const wanted = boardLabels(facts);
  const before = parseLabels(node.metadata?.annotations?.[BOARD_LABELS_ANNOTATION]);
  const labels: Record<string, string | null> = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(wanted)])) {
    // Someone else's value, or someone removed ours: theirs stands.
    if (current[key] !== before[key]) continue;
    if (wanted[key] !== current[key]) labels[key] = wanted[key] ?? null;
  }
  for (const [key, value] of Object.entries(wellKnownLabels(node.metadata?.name ?? '', facts))) {
    if (current[key] !== value) labels[key] = value;
  }
  const isRecorded = deepEqual(before, wanted);
  const { volumesDirectory } = facts;
  const isMoved =
    volumesDirectory !== undefined &&
    volumesDirectory !== node.metadata?.annotations?.[VOLUMES_DIRECTORY];
  if (Object.keys(labels).length === 0 && isRecorded && !isMoved) return undefined;
  const annotations = {
    ...(isRecorded ? {} : { [BOARD_LABELS_ANNOTATION]: JSON.stringify(wanted) }),
    ...(isMoved ? { [VOLUMES_DIRECTORY]: volumesDirectory } : {}),
  };
  return { metadata: { labels, ...(isRecorded && !isMoved ? {} : { annotations }) } };
}

/** A merge patch for the status, or undefined when it is right. `now`: RFC 3339, for display. */
export function statusPatch(
  node: Node,
  facts: NodeFacts | undefined,
  health: BoardHealth,
  context: { readonly now: string; readonly versions: Versions },
): Record<string, unknown> | undefined {
  const current = node.status ?? {};
  const wanted: NodeStatus = {
    ...(facts === undefined ? {} : statusOfFacts(facts, current, context.versions)),
    conditions: mergeConditions(current.conditions ?? [], conditionsOf(health), context.now),
  };
  const changed = Object.entries(wanted).filter(
    ([key, value]) =>
      !deepEqual(value, Object.entries(current).find(([name]) => name === key)?.[1]),
  );
  if (changed.length === 0) return undefined;
  return { status: Object.fromEntries(changed.map(([key, value]) => [key, merged(key, value)])) };

  /** In a merge patch a resource that is gone, as a device that was pulled, has to be named. */
  function merged(key: string, value: unknown): unknown {
    if (key !== 'capacity' && key !== 'allocatable') return value;
    const gone = Object.keys(current[key] ?? {}).filter((name) => !(name in (wanted[key] ?? {})));
    return { ...wanted[key], ...Object.fromEntries(gone.map((name) => [name, null])) };
  }
}

function statusOfFacts(facts: NodeFacts, current: NodeStatus, versions: Versions): NodeStatus {
  const extended = extendedResources(current);
  return {
    capacity: { ...extended, ...facts.capacity },
    allocatable: { ...extended, ...facts.allocatable },
    addresses: [
      ...(facts.internalIp === '' ? [] : [{ type: 'InternalIP', address: facts.internalIp }]),
      ...(facts.hostname === '' ? [] : [{ type: 'Hostname', address: facts.hostname }]),
    ],
    nodeInfo: {
      machineID: facts.machineId,
      systemUUID: facts.systemUuid,
      bootID: facts.bootId,
      kernelVersion: facts.kernelVersion,
      osImage: facts.osImage,
      containerRuntimeVersion: facts.containerRuntimeVersion,
      kubeletVersion: versions.kubernetes,
      kubeProxyVersion: versions.kubernetes,
      operatingSystem: facts.operatingSystem,
      architecture: facts.architecture,
    },
  };
}

/**
 * Resources with a domain are put into `status.capacity` by whoever has them to give, and stay there
 * (Kubernetes: "Advertise Extended Resources for a Node"). Devices are the board's own to tell.
 */
function extendedResources({ capacity = {} }: NodeStatus): Record<string, string> {
  return Object.fromEntries(
    Object.entries(capacity).filter(
      ([name]) =>
        name.includes('/') && !PROTECTED_LABEL.test(name) && !name.startsWith(DEVICE_DOMAIN),
    ),
  );
}

type Verdict = Pick<NodeCondition, 'type' | 'status' | 'reason' | 'message'>;

/** Empty: nothing is known that would change what stands there. */
function conditionsOf(health: BoardHealth): Verdict[] {
  switch (health.state) {
    case 'unseen':
      return [];
    case 'offline':
      return unknown('The connection to the board was lost.');
    case 'silent':
      return unknown(`The board has sent no heartbeat for ${health.seconds} seconds.`);
    case 'online':
      if (health.heartbeat === undefined) return [];
      return [...fromHeartbeat(health.heartbeat), ...fromTrouble(health.trouble ?? {})];
    default:
      return health satisfies never;
  }
}

function unknown(message: string): Verdict[] {
  return ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => ({
    type,
    status: 'Unknown',
    reason: UNKNOWN,
    message,
  }));
}

function fromHeartbeat(heartbeat: Heartbeat): Verdict[] {
  const { memoryPressure, diskPressure, pidPressure, runtimeReady, runtimeMessage } = heartbeat;
  return [
    memoryPressure
      ? pressure('MemoryPressure', 'KubeletHasInsufficientMemory', 'The board is short of memory.')
      : relief('MemoryPressure', 'KubeletHasSufficientMemory', 'The board has memory available.'),
    diskPressure
      ? pressure('DiskPressure', 'KubeletHasDiskPressure', 'The board is short of disk space.')
      : relief('DiskPressure', 'KubeletHasNoDiskPressure', 'The board has disk space available.'),
    pidPressure
      ? pressure('PIDPressure', 'KubeletHasInsufficientPID', 'The board is short of process ids.')
      : relief('PIDPressure', 'KubeletHasSufficientPID', 'The board has process ids available.'),
    runtimeReady
      ? { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'The agent is ready.' }
      : {
          type: 'Ready',
          status: 'False',
          reason: 'KubeletNotReady',
          message: runtimeMessage ?? 'The container engine does not answer.',
        },
  ];
}

/** Pier's own conditions, only for boards with such sensors. */
function fromTrouble({ overheating, underVoltage }: BoardTrouble): Verdict[] {
  const hot = overheating
    ? pressure('Overheating', 'BoardIsHot', 'The board is too hot and slows itself down.')
    : relief('Overheating', 'BoardIsCool', 'The board is cool enough.');
  const weak = underVoltage
    ? pressure('UnderVoltage', 'PowerIsWeak', "The board's power supply is too weak.")
    : relief('UnderVoltage', 'PowerIsSteady', "The board's power supply is steady.");
  return [
    ...(overheating === undefined ? [] : [hot]),
    ...(underVoltage === undefined ? [] : [weak]),
  ];
}

function pressure(type: string, reason: string, message: string): Verdict {
  return { type, status: 'True', reason, message };
}

function relief(type: string, reason: string, message: string): Verdict {
  return { type, status: 'False', reason, message };
}

function mergeConditions(
  current: readonly NodeCondition[],
  verdicts: readonly Verdict[],
  now: string,
): NodeCondition[] {
  const merged = current.map((condition) => {
    const verdict = verdicts.find(({ type }) => type === condition.type);
    return verdict === undefined ? condition : updated(condition, verdict, now);
  });
  const added = verdicts
    .filter(({ type }) => !current.some((condition) => condition.type === type))
    .map((verdict) => ({ ...verdict, lastHeartbeatTime: now, lastTransitionTime: now }));
  return [...merged, ...added];
}

function updated(condition: NodeCondition, verdict: Verdict, now: string): NodeCondition {
  const { status, reason, message } = verdict;
  const isSame = condition.status === status && condition.reason === reason;
  // "No heartbeat for 16 seconds" may not become a write per second.
  if (isSame && (status === 'Unknown' || condition.message === message)) return condition;
  return {
    ...condition,
    ...verdict,
    lastHeartbeatTime: now,
    ...(condition.status === status ? {} : { lastTransitionTime: now }),
  };
}

function wellKnownLabels(name: string, facts: NodeFacts): Record<string, string> {
  const model = labelValue(facts.model);
  return {
    'kubernetes.io/hostname': name,
    'kubernetes.io/arch': facts.architecture,
    'kubernetes.io/os': facts.operatingSystem,
    ...(model === '' ? {} : { 'node.kubernetes.io/instance-type': model }),
  };
}

function boardLabels(facts: NodeFacts): Record<string, string> {
  const allowed = Object.entries(facts.labels).filter(([key]) => !PROTECTED_LABEL.test(key));
  return Object.fromEntries(allowed);
}

/** "Raspberry Pi 4 Model B Rev 1.4" is no label value, "Raspberry-Pi-4-Model-B-Rev-1.4" is. */
function labelValue(text: string): string {
  return text
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, 63)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
}

function parseLabels(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return {};
    const entries = Object.entries(value).filter((entry) => typeof entry[1] === 'string');
    return Object.fromEntries(entries);
  } catch {
    // Someone edited the annotation: then no label counts as ours, and none is changed.
    return {};
  }
}
