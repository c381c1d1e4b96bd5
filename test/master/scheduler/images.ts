/** Boards that cannot run a pod's image, once one of them has found out. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import { scheduleBatch } from '../../../master/scheduler/batch.ts';
import { compilePod } from '../../../master/scheduler/pod-info.ts';
import { explain, schedule } from '../../../master/scheduler/schedule.ts';
import type { ClusterSnapshot } from '../../../master/scheduler/snapshot.ts';
import type { Pod } from '../../../protocol/kinds/types.ts';
import { FakeApi, until } from '../../support/fake-api.ts';
import { node, pod, snapshotOf, startScheduler } from './objects.ts';

const board = (name: string, architecture: string, emulates = '') =>
  node(name, {
    labels: {
      'kubernetes.io/arch': architecture,
      ...(emulates === '' ? {} : { 'pier.local/emulates': emulates }),
    },
  });
const BUSYBOX = 'docker.io/library/busybox:latest';
const onAmd64 = { nodeSelector: { 'kubernetes.io/arch': 'amd64' } };
const compile = (one: Pod, { resources, images }: ClusterSnapshot) =>
  compilePod(one, resources, images);

t.test('what one board refused, its equals are spared', async (t) => {
  const snapshot = snapshotOf([
    board('a', 'amd64'),
    board('b', 'amd64'),
    board('c', 'amd64', 'arm64'),
    board('d', 'arm64'),
  ]);
  const nodeFor = (one: Pod): string => {
    const decision = schedule(compile(one, snapshot), snapshot);
    return 'node' in decision ? decision.node : decision.unschedulable;
  };
  t.equal(nodeFor(pod('before')), 'a');
  t.equal(snapshot.images.setRefused('a', [BUSYBOX]), false);
  t.equal(nodeFor(pod('after')), 'c', 'its emulator may run it');
  snapshot.images.setRefused('c', [BUSYBOX]);
  t.equal(nodeFor(pod('then')), 'd');
  const other = pod('other');
  const [main] = other.spec?.containers ?? [];
  if (main !== undefined) main.image = 'busybox:2';
  t.equal(nodeFor(other), 'a', 'another image');
  t.equal(
    nodeFor(pod('big', { cpu: '1' }, onAmd64)),
    "0/4 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, " +
      '3 node(s) had architecture amd64, which image "busybox" is not built for.',
  );
  const init = { name: 'init', image: 'docker.io/busybox' };
  t.match(
    explain(compile(pod('p', {}, { initContainers: [init] }), snapshot), snapshot).slice(1),
    ['a', 'b', 'c'].map((name) => ({ node: name, fits: false, filter: 'ImageArchitecture' })),
  );
  const gang = ['1', '2', '3'].map((name) => compile(pod(name, { cpu: '1' }), snapshot));
  t.same(
    scheduleBatch(gang, snapshot).map(({ decision }) => decision),
    gang.map(() => ({ node: 'd' })),
    'a batch is packed around it',
  );
  snapshot.setNode(board('b', 'arm64'));
  t.equal(nodeFor(pod('moved', { cpu: '2' })), 'b', 'a card that moved into another board');
  t.equal(snapshot.images.setRefused('a', []), true);
  t.equal(nodeFor(pod('again', {}, onAmd64)), 'a');
});

t.test(
  'a pod that waits for a board of the right kind wakes up when it may be tried',
  async (t) => {
    const api = new FakeApi();
    await api.create(RESOURCES.nodes, board('a', 'amd64'));
    const { stop, scheduler } = await startScheduler(api);
    t.teardown(stop);
    scheduler.setForeignImages('a', [BUSYBOX]);
    await api.create(RESOURCES.pods, pod('web'));
    const web = () => api.get<Pod>(RESOURCES.pods, 'default', 'web');
    await until('it is told why', async () => (await web()).status?.conditions !== undefined);
    t.match((await web()).status?.conditions, [
      { reason: 'Unschedulable', message: /1 node\(s\) had architecture amd64, which image/ },
    ]);
    scheduler.setForeignImages('a', []);
    await until('it is bound', async () => (await web()).spec?.nodeName === 'a');
  },
);
