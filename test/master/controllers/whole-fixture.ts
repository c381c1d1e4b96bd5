/**
 * Scheduler and controllers over the real API layer, with boards that only pretend: what the tests of whole runs
 * share.
 */
import type { Test } from 'tap';
import { bootstrap } from '../../../master/api/bootstrap.ts';
import { type ApiClient, RESOURCES } from '../../../master/api/client.ts';
import { KIND_MODULES } from '../../../master/api/kinds/all.ts';
import { createLocalClient } from '../../../master/api/local-client.ts';
import type { MetricsSource } from '../../../master/api/metrics.ts';
import { createRegistry } from '../../../master/api/registry.ts';
import type { RebalanceMode } from '../../../master/config.ts';
import { startControllers } from '../../../master/controllers/controllers.ts';
import { ApiEventRecorder } from '../../../master/controllers/events.ts';
import { DEFAULT_LIFECYCLE_OPTIONS } from '../../../master/controllers/node-lifecycle.ts';
import { SharedInformers } from '../../../master/informer/shared.ts';
import { systemTimers, type Timers } from '../../../master/informer/timers.ts';
import { Scheduler } from '../../../master/scheduler/scheduler.ts';
import { openMemoryStore } from '../../../master/store/memory-store.ts';
import { type Clock, systemClock } from '../../../protocol/clock.ts';
import type { Node, Pod, PodStatus } from '../../../protocol/kinds/types.ts';
import { log } from './objects.ts';

const GROUPS = ['system:masters'];

/** How a pod ends whose command is `exit CODE`; undefined for one that runs on. */
function endOf(pod: Pod): PodStatus | undefined {
  const [main] = pod.spec?.containers ?? [];
  const [word, code] = main?.command ?? [];
  if (main === undefined || word !== 'exit') return undefined;
  const exitCode = Number(code);
  const status = { name: main.name, ready: false, restartCount: 0, image: '', imageID: '' };
  return {
    phase: exitCode === 0 ? 'Succeeded' : 'Failed',
    conditions: [{ type: 'Ready', status: 'False' }],
    containerStatuses: [{ ...status, state: { terminated: { exitCode } } }],
  };
}

interface Faults {
  /** Names of boards. */
  readonly isDead: ReadonlySet<string>;
  /** Images whose containers run and never become ready. */
  readonly isBroken: ReadonlySet<string>;
}

/** Plays the agent of every board that is not dead. */
async function playBoards(
  client: ApiClient,
  signal: AbortSignal,
  { isDead, isBroken }: Faults,
): Promise<void> {
  let ips = 0;
  const { resourceVersion } = await client.list<Pod>(RESOURCES.pods);
  const watch = client.watch<Pod>(RESOURCES.pods, { resourceVersion, signal });
  for await (const event of watch) {
    if (event.type !== 'ADDED' && event.type !== 'MODIFIED') continue;
    const { object } = event;
    const { namespace = '', name = '', deletionTimestamp } = object.metadata ?? {};
    const nodeName = object.spec?.nodeName ?? '';
    if (nodeName === '' || isDead.has(nodeName)) continue;
    try {
      if (deletionTimestamp !== undefined) {
        await client.delete(RESOURCES.pods, namespace, name, { gracePeriodSeconds: 0 });
      } else if (object.status?.podIP === undefined) {
        ips += 1;
        const others = object.status?.conditions ?? [];
        const ready = isBroken.has(object.spec?.containers[0]?.image ?? '') ? 'False' : 'True';
        const status = {
          phase: 'Running',
          podIP: `10.42.0.${ips}`,
          conditions: [...others, { type: 'Ready', status: ready }],
        };
        await client.patch(RESOURCES.pods, namespace, name, { status }, 'status');
        const end = endOf(object);
        if (end !== undefined) {
          await client.patch(RESOURCES.pods, namespace, name, { status: end }, 'status');
        }
      }
    } catch (error) {
      log.debug({ err: error }, 'the pod went meanwhile');
    }
  }
}

/** A clock on which a minute is a second, with timers to match: for what waits long between its looks. */
const FAST = 60;
const fastClock: Clock = {
  wallMs: () => systemClock.wallMs(),
  monotonicMs: () => systemClock.monotonicMs() * FAST,
};
const fastTimers: Timers = { after: (ms, run) => systemTimers.after(ms / FAST, run) };

interface WholeOptions {
  /** What pods are said to use. */
  readonly metrics?: MetricsSource;
  /** Controllers live on a fast clock then. */
  readonly rebalance?: RebalanceMode;
  /** What is put into every namespace. */
  readonly caCertificate?: string;
}

export async function startWhole(t: Test, more: WholeOptions = {}) {
  const { metrics, rebalance, caCertificate } = more;
  const registry = await createRegistry({
    store: openMemoryStore(),
    memoryStore: openMemoryStore(),
    modules: KIND_MODULES,
    disableAdmissionPlugins: ['ServiceAccount'],
    propagationPolicies: ['Foreground', 'Orphan'],
  });
  const client = createLocalClient(registry, { name: 'system:pier:test', groups: GROUPS });
  await bootstrap(client, {
    serviceIp: '10.43.0.1',
    dnsIp: '10.43.0.10',
    address: { ip: '192.0.2.1', port: 6443 },
  });
  const informers = new SharedInformers({ client, log });
  const lifecycle = { ...DEFAULT_LIFECYCLE_OPTIONS, defaultTolerationMs: 50 };
  const events = new ApiEventRecorder({ client, clock: systemClock, log, component: 'scheduler' });
  const scheduler = new Scheduler({ client, clock: systemClock, log, informers, events });
  const controllers = startControllers({
    client,
    ...(rebalance === undefined
      ? { clock: systemClock }
      : {
          clock: fastClock,
          timers: fastTimers,
          rebalance: { planner: scheduler, mode: rebalance, pauseMs: 60_000 },
        }),
    log,
    informers,
    options: { lifecycle, ...(caCertificate === undefined ? {} : { caCertificate }) },
    ...(metrics === undefined ? {} : { metrics }),
  });
  await Promise.all([controllers.ready, scheduler.start()]);
  const abort = new AbortController();
  const isDead = new Set<string>();
  const isBroken = new Set<string>();
  const boards = playBoards(client, abort.signal, { isDead, isBroken });
  t.teardown(async () => {
    abort.abort();
    await boards;
    await scheduler.stop();
    await controllers.stop();
    await events.stop();
    await informers.stop();
  });
  return { client, registry, isDead, isBroken, scheduler };
}

export async function addBoard(client: ApiClient, name: string): Promise<void> {
  await client.create<Node>(RESOURCES.nodes, {
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
  });
  const amounts = { cpu: '2', memory: '2Gi', pods: '110' };
  await client.patch(
    RESOURCES.nodes,
    '',
    name,
    {
      status: {
        capacity: amounts,
        allocatable: amounts,
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
      },
    },
    'status',
  );
}
