/** A board that runs short: its conditions, and which pods go. Imported by pods.test.ts. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import type { ContainerUse, HostSample } from '../../../agent/host/metrics.ts';
import { HeldPressures, pressuresOf } from '../../../agent/host/pressures.ts';
import {
  evictionVerdict,
  firstVictim,
  type PodUse,
  type Shortage,
} from '../../../agent/plan/eviction.ts';

import { board, container, pod, until } from './board.ts';

const MIB = 2 ** 20;
const FINE: HostSample = {
  windowMs: 5000,
  cpuNanoCores: 0,
  cpuSeconds: 0,
  memoryTotalBytes: 2 ** 30,
  memoryAvailableBytes: 2 ** 29,
  memoryWorkingSetBytes: 2 ** 29,
  diskTotalBytes: 1000 * MIB,
  diskAvailableBytes: 100 * MIB,
  networkReceiveBytes: 0,
  networkTransmitBytes: 0,
  processes: 95,
  processesMax: 100,
};
const SHORT = {
  memory: { ...FINE, memoryAvailableBytes: 99 * MIB },
  disk: { ...FINE, diskAvailableBytes: 99 * MIB },
  pids: { ...FINE, processes: 96 },
};
const NONE = { memoryPressure: false, diskPressure: false, pidPressure: false };

t.test("pressure follows the kubelet's default thresholds", async (t) => {
  t.strictSame(pressuresOf(FINE), NONE);
  t.strictSame(pressuresOf(SHORT.memory), { ...NONE, memoryPressure: true });
  t.strictSame(pressuresOf(SHORT.disk), { ...NONE, diskPressure: true });
  t.strictSame(pressuresOf(SHORT.pids), { ...NONE, pidPressure: true });
});

t.test('a condition stays for five minutes after it was last true', async (t) => {
  const held = new HeldPressures();
  const short = { ...NONE, memoryPressure: true };
  t.strictSame(held.update(NONE, 0), NONE);
  t.strictSame(held.update(short, 1000), short);
  t.strictSame(held.update(NONE, 300_999), short);
  t.strictSame(held.update(NONE, 301_000), NONE);
});

interface Wish {
  readonly request?: string;
  readonly usedMiB?: number;
  readonly diskMiB?: number;
  readonly priority?: number;
}

function use(name: string, { request, usedMiB = 0, diskMiB = 0, priority = 0 }: Wish): PodUse {
  const requests = request === undefined ? {} : { memory: request, 'ephemeral-storage': request };
  return {
    pod: pod(name, { containers: [container('main', { resources: { requests } })], priority }),
    memoryBytes: new Map([['main', usedMiB * MIB]]),
    diskBytes: diskMiB * MIB,
  };
}

t.test('who goes first', async (t) => {
  const table: [string, Shortage, Record<string, Wish>, string | undefined][] = [
    ['no pods', 'memory', {}, undefined],
    [
      'the largest of those without requests',
      'memory',
      { a: { usedMiB: 10 }, b: { usedMiB: 20 } },
      'b',
    ],
    [
      'who is over the request goes before a larger one that is not',
      'memory',
      { within: { request: '500Mi', usedMiB: 400 }, over: { request: '10Mi', usedMiB: 20 } },
      'over',
    ],
    [
      'of those that are over, the lowest priority',
      'memory',
      { low: { usedMiB: 10, priority: 1 }, high: { usedMiB: 500, priority: 100 } },
      'low',
    ],
    [
      'by how much, not by size',
      'memory',
      { big: { request: '400Mi', usedMiB: 410 }, small: { request: '10Mi', usedMiB: 50 } },
      'small',
    ],
    [
      'a critical pod stays',
      'memory',
      {
        critical: { usedMiB: 500, priority: 2_000_000_000 },
        other: { request: '90Mi', usedMiB: 1 },
      },
      'other',
    ],
    [
      'alone it stays, too',
      'memory',
      { critical: { usedMiB: 500, priority: 2_000_001_000 } },
      undefined,
    ],
    ['the disk: by volumes', 'disk', { a: { diskMiB: 5, usedMiB: 90 }, b: { diskMiB: 6 } }, 'b'],
    ['nobody goes who holds nothing there', 'disk', { a: { usedMiB: 90 } }, undefined],
    [
      'process ids: by priority alone, whatever was requested',
      'pids',
      { low: { request: '1Gi', usedMiB: 1 }, high: { usedMiB: 500, priority: 1 } },
      'low',
    ],
  ];
  for (const [name, shortage, wishes, expected] of table) {
    const pods = Object.entries(wishes).map(([podName, wish]) => use(podName, wish));
    t.equal(firstVictim(pods, shortage)?.pod.name, expected, name);
    t.equal(firstVictim(pods.reverse(), shortage)?.pod.name, expected, `${name}, in another order`);
  }
});

t.test("the words are the kubelet's", async (t) => {
  const victim = use('a', { request: '10Mi', usedMiB: 50 });
  t.strictSame(evictionVerdict(victim, 'memory', SHORT.memory), {
    isDisruption: true,
    reason: 'Evicted',
    message:
      'The node was low on resource: memory. Threshold quantity: 100Mi, available: 99Mi. Container main was using 50Mi, request is 10Mi, has larger consumption of memory. ',
  });
  t.match(evictionVerdict(victim, 'disk', SHORT.disk).message, /ephemeral-storage.*100Mi.*99Mi/);
  t.match(evictionVerdict(victim, 'pids', SHORT.pids).message, /pids.*quantity: 5, available: 4\./);
});

t.test('one pod goes at a time, and only while the board is short', async (t) => {
  const pi = await board(t);
  const manager = await pi.startAgent();
  pi.want(['small', 'large', 'larger'].map((name) => pod(name)));
  await until('all are ready', () =>
    ['small', 'large', 'larger'].every((name) => pi.isReady(name)),
  );
  const MIBS: Record<string, number> = { small: 1, large: 50, larger: 60 };
  const uses = new Map<string, ContainerUse>();
  for (const worker of manager.workers()) {
    for (const { id } of worker.containers) {
      uses.set(id, { cpuNanoCores: 0, memoryWorkingSetBytes: (MIBS[worker.pod.name] ?? 0) * MIB });
    }
  }
  await manager.relief.relieve(FINE, uses);
  await manager.relief.relieve(SHORT.memory, uses);
  await manager.relief.relieve(SHORT.memory, uses);
  await until('the larger one has failed', () => pi.last('larger')?.status.phase === 'Failed');
  t.match(pi.last('larger')?.status, { reason: 'Evicted', message: /low on resource: memory/ });
  const disrupted = () =>
    pi.last('larger')?.status.conditions?.find(({ type }) => type === 'DisruptionTarget');
  const reason = 'TerminationByKubelet';
  t.match(disrupted(), { status: 'True', reason, message: /low on resource: memory/ });
  t.ok(pi.reasons('larger').includes('Evicted'));
  t.ok(pi.isReady('large') && pi.isReady('small'), 'the others wait for what that gave');
  await pi.stopAgent();
  await pi.startAgent();
  await until('it is told again', () => pi.last('larger')?.status.phase === 'Failed');
  t.match(disrupted(), { status: 'True', reason }, 'the board remembers why');
});

t.test('a full disk: unused images first, then the pod that holds most of it', async (t) => {
  const pi = await board(t, { images: ['app:1', 'old:1'] });
  const manager = await pi.startAgent();
  pi.want(
    ['web', 'hoarder'].map((name) => pod(name, { volumes: [{ name: 'data', emptyDir: {} }] })),
  );
  await until('both are ready', () => pi.isReady('web') && pi.isReady('hoarder'));
  const volume = path.join(pi.directory, 'pods', 'uid-hoarder', 'volumes', 'data');
  await mkdir(volume, { recursive: true });
  await writeFile(path.join(volume, 'file'), Buffer.alloc(2 * MIB, 1));
  await manager.relief.relieve(SHORT.disk, new Map());
  t.equal(await pi.engine.imageStatus('old:1'), undefined, 'what nothing needs has gone');
  t.ok(await pi.engine.imageStatus('app:1'), 'what pods need has not');
  t.ok(pi.isReady('hoarder'), 'first it is seen what that gave');
  await manager.relief.relieve(SHORT.disk, new Map());
  await until('the hoarder has failed', () => pi.last('hoarder')?.status.phase === 'Failed');
  t.match(pi.last('hoarder')?.status, { reason: 'Evicted', message: /ephemeral-storage/ });
  t.ok(pi.isReady('web'));
});
