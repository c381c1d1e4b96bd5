/** Nodes, pods and snapshots for the tests of the scheduler. */
import pino from 'pino';
import { ApiEventRecorder } from '../../../master/controllers/events.ts';
import { SharedInformers } from '../../../master/informer/shared.ts';
import { refusalOf, startCycle } from '../../../master/scheduler/filters.ts';
import { compilePod } from '../../../master/scheduler/pod-info.ts';
import { schedule } from '../../../master/scheduler/schedule.ts';
import { Scheduler } from '../../../master/scheduler/scheduler.ts';
import { ClusterSnapshot } from '../../../master/scheduler/snapshot.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type {
  Container,
  Node,
  NodeCondition,
  Pod,
  PodSpec,
  Taint,
} from '../../../protocol/kinds/types.ts';
import type { FakeApi } from '../../support/fake-api.ts';

const log = pino({ level: 'silent' });
export const READY: NodeCondition = { type: 'Ready', status: 'True' };

interface NodeOptions {
  cpu?: string;
  memory?: string;
  pods?: string;
  extra?: Record<string, string>;
  labels?: Record<string, string>;
  taints?: Taint[];
  conditions?: NodeCondition[];
  unschedulable?: boolean;
}

export function node(name: string, options: NodeOptions = {}): Node {
  const { cpu = '4', memory = '4Gi', pods = '110', extra = {} } = options;
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...options.labels } },
    spec: {
      taints: options.taints ?? [],
      ...(options.unschedulable === true ? { unschedulable: true } : {}),
    },
    status: {
      allocatable: { cpu, memory, pods, ...extra },
      conditions: options.conditions ?? [READY],
    },
  };
}

let uids = 0;

export function pod(
  name: string,
  requests: Record<string, string> = {},
  spec: Partial<PodSpec> = {},
  labels: Record<string, string> = {},
): Pod {
  uids += 1;
  const containers: Container[] = [{ name: 'main', image: 'busybox', resources: { requests } }];
  return {
    metadata: { name, namespace: 'default', uid: `u${uids}`, labels },
    spec: { containers, ...spec },
  };
}

export function snapshotOf(nodes: Node[], placed: [string, Pod][] = []): ClusterSnapshot {
  const snapshot = new ClusterSnapshot();
  for (const one of nodes) snapshot.setNode(one);
  for (const [name, one] of placed) {
    snapshot.setPod({
      ...one,
      spec: { ...one.spec, containers: one.spec?.containers ?? [], nodeName: name },
    });
  }
  return snapshot;
}

export function reasonsFor(one: Pod, on: Node, placed: Pod[] = []): readonly string[] {
  const name = on.metadata?.name ?? '';
  const snapshot = snapshotOf(
    [on],
    placed.map((other) => [name, other]),
  );
  const info = compilePod(one, snapshot.resources);
  const view = snapshot.node(name);
  if (view === undefined) throw new Error('no such node');
  return refusalOf(info, view, startCycle(info, snapshot))?.reasons ?? [];
}

export function decide(
  one: Pod,
  snapshot: ClusterSnapshot,
  strategy: 'pack' | 'spread' = 'pack',
): string {
  const decision = schedule(compilePod(one, snapshot.resources), snapshot, { strategy });
  return 'node' in decision ? decision.node : decision.unschedulable;
}

/** Everything that the driver needs, over an API in memory. */
export async function startScheduler(api: FakeApi) {
  const informers = new SharedInformers({ client: api, log });
  const events = new ApiEventRecorder({ client: api, clock: systemClock, log, component: 'test' });
  const scheduler = new Scheduler({ client: api, clock: systemClock, log, informers, events });
  await informers.start();
  await scheduler.start();
  const stop = async (): Promise<void> => {
    await scheduler.stop();
    await events.stop();
    await informers.stop();
  };
  return { scheduler, informers, stop };
}
