/** The queue, and the driver over an API in memory. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import { SchedulingQueue } from '../../../master/scheduler/queue.ts';
import type { Event, Pod } from '../../../protocol/kinds/types.ts';
import { FakeApi, until } from '../../support/fake-api.ts';
import { node, pod, startScheduler } from './objects.ts';

t.test('parked pods wake up for what could help them, after their back-off', async (t) => {
  const queue = new SchedulingQueue();
  queue.add('low', 0);
  queue.add('high', 10);
  t.same(queue.take(10, 0), ['high', 'low'], 'priority first');
  queue.park('high', ['NodeResourcesFit'], 0);
  queue.park('low', ['NodeAffinity'], 0);
  t.equal(queue.nextInMs(0), undefined, 'nobody polls');
  t.equal(queue.wake('podRemoved'), true);
  t.equal(queue.nextInMs(0), 1_000, 'back-off first');
  t.same(queue.take(10, 999), []);
  t.same(queue.take(10, 1_000), ['high'], 'a removed pod frees resources, not labels');
  queue.park('high', ['NodeResourcesFit'], 1_000);
  t.equal(queue.wake('node'), true, 'a node event may help anybody');
  t.same(queue.take(10, 1_000), ['low'], 'the second back-off of the other is longer');
  t.equal(queue.nextInMs(1_000), 2_000);
});

const nodeOf = async (api: FakeApi, name: string): Promise<string | undefined> =>
  (await api.get<Pod>(RESOURCES.pods, 'default', name)).spec?.nodeName;

t.test('the driver binds pods, reports those that fit nowhere, and wakes them up', async (t) => {
  const api = new FakeApi();
  const { stop, scheduler } = await startScheduler(api);
  t.teardown(stop);
  await api.create(RESOURCES.pods, pod('early', { cpu: '1' }));
  const condition = async () => {
    const one = await api.get<Pod>(RESOURCES.pods, 'default', 'early');
    return one.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  };
  await until('the condition is written', async () => (await condition()) !== undefined);
  t.match(await condition(), {
    status: 'False',
    reason: 'Unschedulable',
    message: 'no nodes available to schedule pods',
  });
  await api.create(RESOURCES.nodes, node('a', { cpu: '2' }));
  await until('the pod is bound', async () => (await nodeOf(api, 'early')) === 'a');
  await api.create(RESOURCES.pods, pod('big', { cpu: '2' }));
  const events = async () => (await api.list<Event>(RESOURCES.events)).items;
  await until('the event is written', async () =>
    (await events()).some(
      ({ reason, message }) =>
        reason === 'FailedScheduling' &&
        message ===
          '0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: ' +
            '1 No preemption victims found for incoming pod.',
    ),
  );
  t.match(scheduler.explain(pod('q', { cpu: '2' })), [
    { node: 'a', reasons: ['Insufficient cpu'] },
  ]);
  await api.delete(RESOURCES.pods, 'default', 'early', { gracePeriodSeconds: 0 });
  await until('room was made and used', async () => (await nodeOf(api, 'big')) === 'a');
  t.ok((await events()).some(({ reason }) => reason === 'Scheduled'));
});

t.test('the driver never overcommits a board: what is on its way counts', async (t) => {
  const api = new FakeApi();
  for (const name of ['a', 'b', 'c']) await api.create(RESOURCES.nodes, node(name, { cpu: '2' }));
  const { stop } = await startScheduler(api);
  t.teardown(stop);
  for (let index = 0; index < 4; index += 1) {
    await api.create(RESOURCES.pods, pod(`p${index}`, { cpu: '1' }));
  }
  const binds = (): string[] => api.writes.filter((write) => write.startsWith('bind'));
  await until('four are bound', () => binds().length === 4);
  for (let index = 4; index < 8; index += 1) {
    await api.create(RESOURCES.pods, pod(`p${index}`, { cpu: '1' }));
  }
  await until('six are bound', () => binds().length === 6);
  const perNode = new Map<string, number>();
  for (const bind of binds()) {
    const name = bind.split(' ').at(-1) ?? '';
    perNode.set(name, (perNode.get(name) ?? 0) + 1);
  }
  t.same([...perNode].sort(), [
    ['a', 2],
    ['b', 2],
    ['c', 2],
  ]);
});

t.test('a failed binding is tried again and gives its place back', async (t) => {
  const api = new FakeApi();
  await api.create(RESOURCES.nodes, node('a', { cpu: '1' }));
  let failures = 1;
  api.beforeWrite = (write) => {
    if (!write.startsWith('bind') || failures === 0) return;
    failures -= 1;
    throw new Error('the disk is full');
  };
  const { stop } = await startScheduler(api);
  t.teardown(stop);
  await api.create(RESOURCES.pods, pod('p', { cpu: '1' }));
  await until('it is bound in the end', async () => (await nodeOf(api, 'p')) === 'a');
  t.equal(failures, 0);
});

t.test('pods of other schedulers, gated and ending pods are left alone', async (t) => {
  const api = new FakeApi();
  await api.create(RESOURCES.nodes, node('a'));
  const { stop } = await startScheduler(api);
  t.teardown(stop);
  await api.create(RESOURCES.pods, pod('theirs', {}, { schedulerName: 'other' }));
  await api.create(RESOURCES.pods, pod('gated', {}, { schedulingGates: [{ name: 'wait' }] }));
  await api.create(RESOURCES.pods, pod('ours'));
  await until('ours is bound', async () => (await nodeOf(api, 'ours')) === 'a');
  t.equal(await nodeOf(api, 'theirs'), undefined);
  t.equal(await nodeOf(api, 'gated'), undefined);
  await api.patch(RESOURCES.pods, 'default', 'gated', { spec: { schedulingGates: null } });
  await until('the gate is gone', async () => (await nodeOf(api, 'gated')) === 'a');
});

t.test(
  'a pod that waits is tried again when it, or a pod that it looks for, has changed',
  async (t) => {
    const api = new FakeApi();
    const taints = [{ key: 'k', value: 'v', effect: 'NoSchedule' }];
    await api.create(RESOURCES.nodes, node('a', { taints }));
    const { stop } = await startScheduler(api);
    t.teardown(stop);
    await api.create(RESOURCES.pods, pod('strict'));
    const isTold = async (name: string): Promise<boolean> => {
      const { status } = await api.get<Pod>(RESOURCES.pods, 'default', name);
      return (status?.conditions ?? []).some(({ reason }) => reason === 'Unschedulable');
    };
    await until('the pod fits nowhere', () => isTold('strict'));
    const tolerations = [{ operator: 'Exists' }];
    await api.patch(RESOURCES.pods, 'default', 'strict', { spec: { tolerations } });
    await until('a toleration helped it', async () => (await nodeOf(api, 'strict')) === 'a');
    const term = {
      topologyKey: 'kubernetes.io/hostname',
      labelSelector: { matchLabels: { app: 'web' } },
    };
    const affinity = {
      podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] },
    };
    await api.create(RESOURCES.pods, pod('friend', {}, { tolerations, affinity }));
    await until('its company is missing', () => isTold('friend'));
    await api.patch(RESOURCES.pods, 'default', 'strict', { metadata: { labels: { app: 'web' } } });
    await until('a label helped it', async () => (await nodeOf(api, 'friend')) === 'a');
  },
);
