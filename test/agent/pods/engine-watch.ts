/** When a board says that its container engine is down. Imported by pods.test.ts. */
import { pino } from 'pino';
import t from 'tap';
import { EngineWatch } from '../../../agent/pods/engine-watch.ts';
import { FakeRuntime } from '../../../agent/runtime/fake.ts';
import { RuntimeError } from '../../../agent/runtime/runtime.ts';
import { until } from './board.ts';

t.test('an engine that stumbles is not down, one that fails for half a minute is', async (t) => {
  let nowMs = 0;
  let listings = 0;
  let broken: RuntimeError | undefined = new RuntimeError('not up yet');
  const runtime = new FakeRuntime();
  const listContainers = runtime.listContainers.bind(runtime);
  runtime.listContainers = async () => {
    listings += 1;
    if (broken !== undefined) throw broken;
    return listContainers();
  };
  const watch = new EngineWatch({
    runtime,
    clock: { monotonicMs: () => nowMs, wallMs: () => nowMs },
    log: pino({ level: 'silent' }),
    relistMs: 2 ** 30,
    retry: { firstMs: 1, maxMs: 1 },
    beforeList: () => new Map(),
    onList: () => undefined,
    onEvent: () => false,
  });
  t.teardown(() => watch.stop());
  watch.start();
  await until('the first listing failed', () => listings > 0);
  await until('it was never reached', () => watch.problem === 'not up yet');

  broken = undefined;
  await until('reached', () => watch.problem === undefined);

  // Long after the last listing, which was long ago because nothing happened.
  nowMs = 3_600_000;
  broken = new RuntimeError('database is locked');
  const before = listings;
  watch.requestList();
  await until('it failed twice', () => listings >= before + 2);
  t.equal(watch.problem, undefined, 'not at once');
  nowMs += 30_000;
  t.equal(watch.problem, 'database is locked');

  broken = undefined;
  await until('it answers again', () => watch.problem === undefined);
});
