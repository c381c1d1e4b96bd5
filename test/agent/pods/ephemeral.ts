/** Containers that are added to a running pod to debug it (kubectl debug): they run once and disturb nothing. */
import t from 'tap';
import type { EphemeralContainer } from '../../../protocol/kinds/types.ts';
import { board, pod, until } from './board.ts';

const DEBUGGER: EphemeralContainer = {
  name: 'debugger',
  image: 'app:2',
  targetContainerName: 'main',
};

t.test('an ephemeral container runs once, beside what runs already', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  const [main] = await pi.engine.listContainers();
  const added = [pod('web', { ephemeralContainers: [DEBUGGER] })];
  pi.want(added);
  const status = () => pi.last('web')?.status.ephemeralContainerStatuses?.[0];
  await until('it runs', () => status()?.state?.running !== undefined);
  t.match(status(), { name: 'debugger', ready: false, restartCount: 0, image: 'app:2' });
  t.ok(pi.isReady('web'));
  const both = await pi.engine.listContainers();
  t.same(
    both.find(({ name }) => name === 'main'),
    main,
    'the other was not touched',
  );

  await pi.stopAgent();
  pi.reports.length = 0;
  await pi.startAgent();
  await until('ready again', () => pi.isReady('web'));
  t.same(await pi.engine.listContainers(), both, 'another agent adopts it');

  const { id = '' } = both.find(({ name }) => name === 'debugger') ?? {};
  pi.engine.exit(id, 3);
  await until('its end is told', () => status()?.state?.terminated?.exitCode === 3);
  t.match(pi.last('web')?.status.phase, 'Running');
  t.equal((await pi.engine.listContainers()).length, 2, 'it is not started again');

  await pi.stopAgent();
  pi.engine.loseEverything();
  pi.reports.length = 0;
  await pi.startAgent();
  await until('ready after a reboot', () => pi.isReady('web'));
  t.match(status()?.state?.terminated, { exitCode: 137, reason: 'ContainerStatusUnknown' });
  t.same(
    (await pi.engine.listContainers()).map(({ name }) => name),
    ['main'],
    'not even after a reboot',
  );
  const deletionTimestamp = '2026-01-01T00:00:00Z';
  pi.want([pod('web', added[0]?.spec, { deletionTimestamp, deletionGracePeriodSeconds: 5 })]);
  await until('gone', () => pi.last('web')?.gone);
  t.same(await pi.engine.listContainers(), []);
});

t.test('it waits for its target, and its failures are its own', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const containers = [{ name: 'main', image: 'absent:1', imagePullPolicy: 'Never' }];
  const ephemeralContainers = [DEBUGGER, { name: 'free', image: 'app:1' }];
  pi.want([pod('web', { containers, ephemeralContainers })]);
  const states = () =>
    (pi.last('web')?.status.ephemeralContainerStatuses ?? []).map(({ state }) => state);
  await until('one runs', () => states()[1]?.running !== undefined);
  await until('the other waits', () => states()[0]?.waiting?.message !== undefined);
  t.match(states()[0]?.waiting, {
    reason: 'CreateContainerConfigError',
    message: 'unable to find target container main',
  });
  pi.want([pod('web', { ephemeralContainers })]);
  await until('both run', () => states().every((state) => state?.running !== undefined));
  t.ok(pi.isReady('web'));
});
