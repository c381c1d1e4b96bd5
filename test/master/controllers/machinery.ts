/** Work queue, informer and event recorder. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import { ApiEventRecorder } from '../../../master/controllers/events.ts';
import { type Controller, Runner, type Watch } from '../../../master/controllers/runner.ts';
import { WorkQueue } from '../../../master/controllers/workqueue.ts';
import { Informer } from '../../../master/informer/informer.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type { Event, Pod } from '../../../protocol/kinds/types.ts';
import { FakeApi, until } from '../../support/fake-api.ts';
import { HandTime } from '../fleet/fixture.ts';
import { log, pod } from './objects.ts';

t.test('the work queue merges, delays and backs off', async (t) => {
  const queue = new WorkQueue();
  queue.add('a');
  queue.add('a');
  t.equal(queue.take(0), 'a');
  t.equal(queue.take(0), undefined, 'merged');
  queue.add('a');
  t.equal(queue.take(0), undefined, 'not while it is handled');
  queue.done('a');
  t.equal(queue.take(0), 'a', 'but afterwards');
  queue.done('a');
  t.same([queue.fail('a', 0), queue.fail('a', 0)], [200, 400]);
  t.equal(queue.nextInMs(0), 200);
  t.equal(queue.take(199), undefined);
  t.equal(queue.take(200), 'a');
  queue.succeed('a');
  queue.done('a');
  for (let index = 0; index < 20; index += 1) queue.fail('a', 0);
  t.equal(queue.fail('a', 0), 30_000, 'bounded');
  t.equal(queue.take(30_000), 'a');
  queue.fail('a', 30_000);
  queue.done('a');
  queue.add('a');
  t.equal(queue.take(30_000), undefined, 'after many failures events do not shorten the wait');
});

t.test('an informer re-lists when history is gone and reports the difference', async (t) => {
  const api = new FakeApi();
  const changes: string[] = [];
  const informer = new Informer<Pod>({
    client: api,
    id: RESOURCES.pods,
    log,
    indexes: { node: ({ spec }) => [spec?.nodeName ?? ''] },
  });
  informer.onChange(({ type, object }) => changes.push(`${type} ${object.metadata?.name}`));
  await api.create(RESOURCES.pods, pod('a'));
  await api.create(RESOURCES.pods, pod('b'));
  informer.start();
  await informer.whenSynced();
  t.same(changes.splice(0), ['added a', 'added b']);
  t.equal(informer.byIndex('node', 'a').length, 2);
  api.holdWatches(true);
  await api.delete(RESOURCES.pods, 'default', 'a', { gracePeriodSeconds: 0 });
  await api.create(RESOURCES.pods, pod('c', { node: 'z' }));
  api.forgetHistory();
  api.holdWatches(false);
  await until('the difference is seen', () => informer.get('default', 'c') !== undefined);
  t.same(changes.sort(), ['added c', 'deleted a']);
  t.equal(informer.byIndex('node', 'a').length, 1);
  t.equal(informer.revision, api.revision);
  await informer.stop();
});

t.test('events are counted, not repeated, and a noisy object is muted', async (t) => {
  const api = new FakeApi();
  const recorder = new ApiEventRecorder({ client: api, clock: systemClock, log, component: 'x' });
  const target = { apiVersion: 'v1', kind: 'Pod', metadata: pod('p').metadata ?? {} };
  for (let index = 0; index < 3; index += 1) recorder.record(target, 'Normal', 'Same', 'again');
  await recorder.flush();
  const events = async () => (await api.list<Event>(RESOURCES.events)).items;
  t.match(await events(), [
    { reason: 'Same', count: 3, involvedObject: { kind: 'Pod', name: 'p' } },
  ]);
  for (let index = 0; index < 100; index += 1) {
    recorder.record(target, 'Warning', 'Noise', `message ${index}`);
  }
  await recorder.stop();
  t.equal((await events()).length, 23, 'a bucket of 25, of which 3 were used');
});

t.test('a master that stood still does not decide on the cache of before', async (t) => {
  const time = new HandTime();
  let isSeen = false;
  let decisions = 0;
  let touch = (): void => {};
  let advance = (): void => {};
  const watch: Watch = {
    id: RESOURCES.pods,
    whenSynced: async () => {},
    subscribe(enqueue, onAdvance) {
      touch = () => enqueue('key');
      advance = onAdvance;
      return () => {};
    },
    isMet: () => isSeen,
  };
  const controller: Controller = {
    name: 'test',
    workers: 1,
    watches: [watch],
    reconcile() {
      decisions += 1;
      return [{ type: 'create', id: RESOURCES.pods, object: pod(`made-${decisions}`) }];
    },
  };
  const events = { record: () => {} };
  const client = new FakeApi();
  const runner = new Runner(controller, { client, clock: time, timers: time, log, events });
  await runner.start();
  touch();
  await time.advance(1);
  t.equal(decisions, 1);
  time.freeze(60_000);
  touch();
  await time.advance(1);
  t.equal(decisions, 1, 'its own write is not in the cache: time alone says nothing');
  isSeen = true;
  advance();
  await time.advance(1);
  t.equal(decisions, 2);
  isSeen = false;
  touch();
  await time.advance(400_000);
  t.ok(decisions > 2, 'a cache that never shows it is not waited for for ever');
  await runner.stop();
});
