/**
 * What happens to containers, told by the engine: by containerd's own stream (1.6 has no other), else by CRI's (CRI-O
 * with enable_pod_events). An engine with neither makes the caller list again and again, with growing pauses.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RuntimeEvent } from '../runtime.ts';
import { CONTAINERD, ContainerEvent, TaskEvent } from './containerd-proto.ts';
import { type GrpcSocket, isNotFound, isUnimplemented } from './grpc.ts';
import { CONTAINER_STATE, CRI } from './proto.ts';
import { decode } from './wire.ts';

/** Who a container or a sandbox belongs to. */
export interface Owner {
  readonly podUid: string;
  readonly isSandbox: boolean;
}

interface Happening {
  readonly type: RuntimeEvent['type'];
  readonly id: string;
}

const TOPICS = ['/tasks/start', '/tasks/exit', '/containers/delete'];
const FILTERS = TOPICS.map((topic) => `namespace==k8s.io,topic=="${topic}"`);

/**
 * `ownerOf` is undefined for what is not ours. Ends on abort; throws GrpcError when the stream breaks off or the
 * engine has none.
 */
export async function* criEvents(
  grpc: GrpcSocket,
  ownerOf: (id: string) => Promise<Owner | undefined>,
  signal: AbortSignal,
): AsyncGenerator<RuntimeEvent> {
  for await (const { type, id } of happenings(grpc, signal)) {
    const owner = await ownerOf(id);
    if (owner === undefined) continue;
    // The end of a sandbox is told with its id, so that the pod is looked at.
    if (owner.isSandbox && type !== 'exited') continue;
    if (!owner.isSandbox) await untilListed(grpc, type, id, signal);
    yield { type, containerId: id, podUid: owner.podUid };
  }
}

async function* happenings(grpc: GrpcSocket, signal: AbortSignal): AsyncGenerator<Happening> {
  try {
    for await (const { topic, event } of grpc.answers(
      CONTAINERD.subscribe,
      { filters: FILTERS },
      signal,
    )) {
      const told = event === undefined ? undefined : readEvent(topic, event.value);
      if (told !== undefined) yield told;
    }
    return;
  } catch (error) {
    if (!isUnimplemented(error)) throw error;
  }
  for await (const { containerId, type } of grpc.answers(CRI.containerEvents, {}, signal)) {
    const told = CRI_TYPES[type];
    if (told !== undefined) yield { type: told, id: containerId };
  }
}

/** CRI's ContainerEventType; 0, the creation, is nobody's concern. */
const CRI_TYPES: ReadonlyArray<RuntimeEvent['type'] | undefined> = [
  undefined,
  'started',
  'exited',
  'removed',
];

/** Undefined for the end of a program that was run in a container. Exported for tests. */
export function readEvent(topic: string, value: Uint8Array): Happening | undefined {
  if (topic === '/containers/delete') {
    return { type: 'removed', id: decode(ContainerEvent, value).id };
  }
  const isExit = topic === '/tasks/exit';
  if (!isExit && topic !== '/tasks/start') return undefined;
  if (!isExit) return { type: 'started', id: decode(ContainerEvent, value).id };
  const { containerId, id } = decode(TaskEvent, value);
  return containerId === id ? { type: 'exited', id } : undefined;
}

const LISTED_MS_MAX = 2_000;
const LOOK_AGAIN_MS = 10;

/** CRI follows the same events, and may be behind: whoever lists now must find what was told. */
async function untilListed(
  grpc: GrpcSocket,
  type: RuntimeEvent['type'],
  id: string,
  signal: AbortSignal,
): Promise<void> {
  if (type === 'started') return;
  const deadline = performance.now() + LISTED_MS_MAX;
  while (!signal.aborted && performance.now() < deadline) {
    try {
      const { status } = await grpc.call(CRI.containerStatus, { containerId: id });
      if (type === 'exited' && status?.state !== CONTAINER_STATE.running) return;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return;
    }
    await delay(LOOK_AGAIN_MS);
  }
}
