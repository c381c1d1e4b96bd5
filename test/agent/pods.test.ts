/** The pods of a board on the fake engine: adoption, crashes, removal, lost state, failing engine. */
import './pods/architecture.ts';
import './pods/devices.ts';
import './pods/engine-watch.ts';
import './pods/ephemeral.ts';
import './pods/images.ts';
import './pods/nfs.ts';
import './pods/pressure.ts';
import './pods/storage.ts';
import './pods/tokens.ts';
import { readdirSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { AddressTakenError, RuntimeError } from '../../agent/runtime/runtime.ts';
import { board, container, pod, until, view } from './pods/board.ts';

t.test('a desired pod runs, with its own address, events and status', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('web is ready', () => pi.isReady('web'));
  const status = pi.last('web')?.status;
  t.equal(status?.phase, 'Running');
  t.equal(status?.podIP, '10.42.7.2', 'the first free address after the bridge');
  t.equal(status?.hostIP, '192.0.2.1');
  t.equal(status?.qosClass, 'BestEffort');
  t.equal(status?.containerStatuses?.[0]?.restartCount, 0);
  t.match(status?.containerStatuses?.[0]?.state?.running?.startedAt, /^\d{4}-/);
  t.same(pi.reasons('web'), ['Pulled', 'Created', 'Started']);
});

t.test('an agent that is killed and started again touches nothing', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const pods = Array.from({ length: 20 }, (_, index) => pod(`web-${index}`));
  pi.want(pods);
  await until('all are ready', () => pods.every(({ name }) => pi.isReady(name)));
  const before = await pi.engine.listContainers();
  await pi.stopAgent();
  const addresses = new Map(pods.map(({ name }) => [name, pi.last(name)?.status.podIP]));
  pi.reports.length = 0;
  pi.events.length = 0;
  await pi.startAgent();
  await until('all are ready again', () => pods.every(({ name }) => pi.isReady(name)));
  t.same(await pi.engine.listContainers(), before, 'same containers, same attempts');
  t.same(pi.events, [], 'nothing was done');
  for (const { name } of pods) t.equal(pi.last(name)?.status.podIP, addresses.get(name));
  t.equal(new Set(addresses.values()).size, 20, 'every pod has its own address');
});

t.test(
  'a board that lost its engine state in a reboot starts its pods at their addresses',
  async (t) => {
    const pi = await board(t);
    await pi.startAgent();
    pi.want([pod('a'), pod('b')]);
    await until('both ready', () => pi.isReady('a') && pi.isReady('b'));
    const addresses = ['a', 'b'].map((name) => pi.last(name)?.status.podIP);
    await pi.stopAgent();
    pi.engine.loseEverything();
    pi.reports.length = 0;
    // The other order, so that an address could only be kept by remembering it.
    pi.want([pod('b'), pod('a')]);
    await pi.startAgent();
    await until('both ready again', () => pi.isReady('a') && pi.isReady('b'));
    t.same(
      ['a', 'b'].map((name) => pi.last(name)?.status.podIP),
      addresses,
    );
  },
);

t.test('a container that crashes is started again, at once and then with a back-off', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  const status = () => pi.last('web')?.status.containerStatuses?.[0];
  const crash = async () => {
    const all = await pi.engine.listContainers();
    for (const { id, state } of all) if (state === 'running') pi.engine.exit(id, 3);
  };
  await crash();
  await until('restarted', () => status()?.restartCount === 1 && status()?.ready);
  t.equal(status()?.lastState?.terminated?.exitCode, 3);
  t.equal(status()?.lastState?.terminated?.reason, 'Error');
  await crash();
  await until('waits', () => status()?.state?.waiting?.reason === 'CrashLoopBackOff');
  t.match(
    status()?.state?.waiting?.message,
    /^back-off .* restarting failed container=main pod=web_default\(uid-web\)$/,
  );
  await until('restarted again', () => status()?.restartCount === 2 && status()?.ready);
  t.ok(pi.reasons('web').includes('BackOff'));
  const left = await pi.engine.listContainers();
  t.equal(left.length, 2, 'the running one and the one before, for its logs');
});

t.test('a pod that is deleted is stopped, removed and reported gone', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  const deletionTimestamp = '2026-01-01T00:00:00Z';
  pi.want([pod('web', {}, { deletionTimestamp, deletionGracePeriodSeconds: 5 })]);
  await until('gone', () => pi.last('web')?.gone);
  t.same(await pi.engine.listContainers(), []);
  t.same(await pi.engine.listSandboxes(), []);
  t.ok(pi.reasons('web').includes('Killing'));
  pi.want([pod('next')]);
  await until('ready', () => pi.isReady('next'));
  t.equal(pi.last('next')?.status.podIP, '10.42.7.2', 'the address is free again');
});

t.test('a second, shorter grace period overtakes the first', async (t) => {
  const pi = await board(t, { program: () => ({ isDeaf: true }) });
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  const deletionTimestamp = '2026-01-01T00:00:00Z';
  pi.want([pod('web', {}, { deletionTimestamp, deletionGracePeriodSeconds: 3600 })]);
  await until('killing', () => pi.reasons('web').includes('Killing'));
  pi.want([pod('web', {}, { deletionTimestamp, deletionGracePeriodSeconds: 0 })]);
  await until('gone', () => pi.last('web')?.gone);
});

t.test('absence never kills: only a complete manifest removes a pod', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  const before = await pi.engine.listContainers();
  await pi.stopAgent();

  // The board's own state is gone, and nothing is known from the master.
  pi.desired = view([], { complete: false, node: undefined });
  const restarted = await pi.startAgent();
  await until('engine seen', () => restarted.engineProblem === undefined);
  t.same(await pi.engine.listContainers(), before, 'a lost state kills nothing');

  pi.want([], { lostPods: new Set(['uid-web']) });
  t.same(await pi.engine.listContainers(), before, 'nor does a damaged pod file');

  pi.want([]);
  await until('gone', () => pi.last('web')?.gone);
  t.same(await pi.engine.listContainers(), [], 'a complete manifest does');
});

t.test('what cannot be pulled says so in the words of Kubernetes and of the engine', async (t) => {
  const pi = await board(t, { pull: () => ({ error: 'registry says: no such thing' }) });
  await pi.startAgent();
  pi.want([
    pod('web', { containers: [container('main', { image: 'missing:1' })] }),
    pod('never', {
      containers: [container('main', { image: 'missing:2', imagePullPolicy: 'Never' })],
    }),
  ]);
  const waiting = (name: string) => pi.last(name)?.status.containerStatuses?.[0]?.state?.waiting;
  await until('ErrImagePull', () => waiting('web')?.reason === 'ErrImagePull');
  t.equal(waiting('web')?.message, 'registry says: no such thing');
  await until('ErrImageNeverPull', () => waiting('never')?.reason === 'ErrImageNeverPull');
  await until('ImagePullBackOff', () => waiting('web')?.reason === 'ImagePullBackOff');
  t.match(waiting('web')?.message, /^Back-off pulling image "missing:1": .*no such thing/);
  t.same(pi.reasons('web'), ['Pulling', 'Failed', 'Failed', 'BackOff', 'Failed']);
  t.equal(pi.last('web')?.status.phase, 'Pending');
});

t.test('one pull serves all pods that want the image, and a deleted pod gives it up', async (t) => {
  let pulls = 0;
  const pi = await board(t, {
    pull: () => {
      pulls++;
      return { ms: 3_600_000 };
    },
  });
  await pi.startAgent();
  const spec = { containers: [container('main', { image: 'big:1' })] };
  pi.want([pod('a', spec), pod('b', spec)]);
  await until('pulling', () => pi.reasons('b').includes('Pulling') && pulls > 0);
  t.equal(pulls, 1);
  pi.want([]);
  await until('gone', () => pi.last('a')?.gone && pi.last('b')?.gone);
});

t.test('init containers run one after the other and before the rest', async (t) => {
  const order: string[] = [];
  const pi = await board(t, {
    program: ({ name }) => {
      order.push(name);
      return name.startsWith('init') ? { runMs: 5 } : {};
    },
  });
  await pi.startAgent();
  const initContainers = [container('init-1'), container('init-2')];
  pi.want([pod('web', { initContainers, containers: [container('x'), container('y')] })]);
  await until('ready', () => pi.isReady('web'));
  t.same(order.slice(0, 2), ['init-1', 'init-2']);
  t.same(order.slice(2).sort(), ['x', 'y']);
  const inits = pi.last('web')?.status.initContainerStatuses;
  t.same(
    inits?.map(({ state }) => state?.terminated?.reason),
    ['Completed', 'Completed'],
  );
});

t.test('a pod that runs to its end is Succeeded or Failed and stays', async (t) => {
  const pi = await board(t, {
    program: ({ env }) => ({ runMs: 5, exitCode: env.length }),
  });
  await pi.startAgent();
  const bad = container('main', { env: [{ name: 'BAD', value: '1' }] });
  pi.want([
    pod('good', { restartPolicy: 'OnFailure' }),
    pod('bad', { restartPolicy: 'Never', containers: [bad] }),
  ]);
  await until('good ended', () => pi.last('good')?.status.phase === 'Succeeded');
  await until('bad ended', () => pi.last('bad')?.status.phase === 'Failed');
  t.equal(pi.last('bad')?.status.containerStatuses?.[0]?.state?.terminated?.exitCode, 1);
  const ready = pi.last('good')?.status.conditions?.find(({ type }) => type === 'Ready');
  t.match(ready, { status: 'False', reason: 'PodCompleted' });
});

t.test('a changed image restarts that container only', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  pi.want([pod('web', { containers: [container('a'), container('b')] })]);
  await until('ready', () => pi.isReady('web'));
  const [a] = (await pi.engine.listContainers()).filter(({ name }) => name === 'a');
  pi.want([pod('web', { containers: [container('a'), container('b', { image: 'app:2' })] })]);
  const status = (name: string) =>
    pi.last('web')?.status.containerStatuses?.find((one) => one.name === name);
  await until('b is new', () => status('b')?.image === 'app:2' && status('b')?.ready);
  t.equal(status('b')?.restartCount, 1);
  t.equal(status('a')?.restartCount, 0);
  const [after] = (await pi.engine.listContainers()).filter(({ name }) => name === 'a');
  t.equal(after?.id, a?.id);
});

t.test('missing configuration waits, says what is missing, and starts when it comes', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const env = [
    { name: 'GREETING', valueFrom: { configMapKeyRef: { name: 'words', key: 'hello' } } },
    { name: 'LINE', value: '$(GREETING), $(NOBODY) $$(GREETING)' },
  ];
  const spec = {
    containers: [
      container('main', { env, volumeMounts: [{ name: 'words', mountPath: '/words' }] }),
    ],
    volumes: [{ name: 'words', configMap: { name: 'words' } }],
  };
  pi.want([pod('web', spec)]);
  await until('mount failed', () => pi.reasons('web').includes('FailedMount'));
  t.match(
    pi.events.find(({ reason }) => reason === 'FailedMount')?.message,
    'MountVolume.SetUp failed for volume "words" : configmap "words" not found',
  );
  const bytes = (text: string) => new TextEncoder().encode(text);
  const other = { configs: () => ({ bye: bytes('ciao') }), configsDigest: '1' };
  pi.want([pod('web', spec)], other);
  const waiting = () => pi.last('web')?.status.containerStatuses?.[0]?.state?.waiting;
  await until('key missing', () => waiting()?.reason === 'CreateContainerConfigError');
  t.equal(waiting()?.message, "couldn't find key hello in ConfigMap default/words");
  pi.want([pod('web', spec)], {
    configs: () => ({ hello: bytes('Servus') }),
    configsDigest: '2',
  });
  await until('ready', () => pi.isReady('web'));
  const file = path.join(pi.directory, 'pods/uid-web/volumes/words/hello');
  t.equal(await readFile(file, 'utf8'), 'Servus');

  pi.want([pod('web', spec)], { configs: () => ({ hello: bytes('Moin') }), configsDigest: '3' });
  let content = '';
  await until('the file follows', () => {
    readFile(file, 'utf8').then((text) => {
      content = text;
    }, t.threw);
    return content === 'Moin';
  });
});

t.test('an engine that fails is asked again, and the failure is told', async (t) => {
  const pi = await board(t);
  pi.engine.failNext('listContainers', new RuntimeError('engine is away'));
  pi.engine.failNext('runSandbox', new RuntimeError('no bridge'));
  pi.engine.failNext('createContainer', new RuntimeError('no space'));
  pi.engine.failNext('startContainer', new RuntimeError('exec format error'));
  const manager = await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  t.equal(manager.engineProblem, undefined);
  const messages = pi.events.map(({ message }) => message);
  t.ok(messages.includes('Failed to create pod sandbox: no bridge'));
  t.ok(messages.includes('Error: no space'));
  t.ok(messages.includes('Error: exec format error'));
  const [status] = pi.last('web')?.status.containerStatuses ?? [];
  t.equal(status?.restartCount, 1, 'a container that could not be started is one attempt');
  t.equal(status?.lastState?.terminated?.reason, 'StartError');
});

t.test('a sandbox that died is made anew at the same address', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  await pi.stopAgent();
  const dead = (await pi.engine.listSandboxes()).map((one) => ({ ...one, ready: false }));
  const list = pi.engine.listSandboxes.bind(pi.engine);
  const ids = new Set(dead.map(({ id }) => id));
  pi.engine.listSandboxes = async () =>
    (await list()).map((one) => (ids.has(one.id) ? { ...one, ready: false } : one));
  pi.reports.length = 0;
  await pi.startAgent();
  await until('ready again', () => pi.isReady('web'));
  t.equal(pi.last('web')?.status.podIP, '10.42.7.2');
  t.equal(pi.last('web')?.status.containerStatuses?.[0]?.restartCount, 1);
  t.ok(pi.reasons('web').includes('SandboxChanged'));
});

t.test('an address that the engine does not give is exchanged for another one', async (t) => {
  const pi = await board(t);
  const run = pi.engine.runSandbox.bind(pi.engine);
  const lost = new Set(['10.42.7.2', '10.42.7.3', '10.42.7.4']);
  pi.engine.runSandbox = async (spec) => {
    if (lost.has(spec.ip ?? '')) throw new AddressTakenError(`${spec.ip} is allocated`);
    return run(spec);
  };
  await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  t.equal(pi.last('web')?.status.podIP, '10.42.7.5');
  t.notOk(pi.reasons('web').includes('FailedCreatePodSandBox'), 'nobody has to know');
});

t.test('what a killed agent left of pods that are gone is removed, and nothing else', async (t) => {
  const pi = await board(t);
  const places = ['pods', 'run'].map((name) => path.join(pi.directory, name));
  const uids = ['stray', 'web', 'lost'];
  for (const uid of uids) {
    for (const place of places) await mkdir(path.join(place, uid, 'volumes'), { recursive: true });
  }
  const left = () => places.map((place) => readdirSync(place).sort());
  const { uid } = pod('web');
  for (const place of places) await mkdir(path.join(place, uid), { recursive: true });
  pi.want([pod('web')], { complete: false });
  await pi.startAgent();
  await until('ready', () => pi.isReady('web'));
  t.ok(left()[0]?.includes('stray'), 'nothing is removed before all is known');
  pi.want([pod('web')], { lostPods: new Set(['lost', 'web']) });
  const expected = [...new Set(['lost', 'web', uid])].sort();
  await until('the stray is gone', () => left().flat().length === 2 * expected.length);
  t.same(left(), [expected, expected]);
});

t.test('reports are said again on request, and gone pods too', async (t) => {
  const pi = await board(t);
  const manager = await pi.startAgent();
  pi.want([pod('web'), pod('old', {}, { deletionTimestamp: '2026-01-01T00:00:00Z' })]);
  await until('done', () => pi.isReady('web') && pi.last('old')?.gone === true);
  pi.reports.length = 0;
  manager.reportAll();
  await until('said again', () => pi.isReady('web') && pi.last('old')?.gone === true);
});

t.test('a failed liveness probe ends the container, which starts again', async (t) => {
  const alive = new Set(['c0']);
  const pi = await board(t, {
    program: () => ({}),
    execute: (_, { attempt }) => ({
      exitCode: alive.has(`c${attempt}`) ? 0 : 1,
      output: [{ stream: 'stderr', line: 'no pulse' }],
    }),
  });
  await pi.startAgent();
  const probe = { exec: { command: ['pulse'] }, periodSeconds: 1, failureThreshold: 1 };
  const main = container('main', {
    livenessProbe: { ...probe, terminationGracePeriodSeconds: 7 },
    readinessProbe: probe,
  });
  pi.want([pod('web', { containers: [main], restartPolicy: 'OnFailure' })]);
  await until('ready', () => pi.isReady('web'));
  const stops: number[] = [];
  const stop = pi.engine.stopContainer.bind(pi.engine);
  pi.engine.stopContainer = async (id, graceSeconds) => {
    stops.push(graceSeconds);
    // Ends as a program that was asked to: that must not count as a success.
    pi.engine.exit(id, 0);
    await stop(id, graceSeconds);
  };
  alive.add('c1');
  alive.delete('c0');
  const status = () => pi.last('web')?.status.containerStatuses?.[0];
  await until('restarted', () => status()?.restartCount === 1 && pi.isReady('web'));
  t.same(stops, [7], "the probe's own grace period");
  t.ok(pi.reports.every(({ status: { phase } }) => phase !== 'Succeeded'));
  const told = pi.events.filter(({ reason }) => reason === 'Unhealthy' || reason === 'Killing');
  t.ok(told.some(({ message }) => message === 'Liveness probe failed: no pulse\n'));
  t.equal(
    told.find(({ reason }) => reason === 'Killing')?.message,
    'Container main failed liveness probe, will be restarted',
  );
});

t.test('readiness goes up and down without a restart; the next agent knows of it', async (t) => {
  let good = false;
  const pi = await board(t, { execute: () => ({ exitCode: good ? 0 : 1 }) });
  await pi.startAgent();
  const probe = { exec: { command: ['check'] }, periodSeconds: 1, failureThreshold: 1 };
  pi.want([pod('web', { containers: [container('main', { readinessProbe: probe })] })]);
  const status = () => pi.last('web')?.status.containerStatuses?.[0];
  await until('runs, not ready', () => status()?.started === true && status()?.ready === false);
  t.notOk(pi.isReady('web'));
  good = true;
  await until('ready', () => pi.isReady('web'));
  const readySince = () => {
    const ready = pi.last('web')?.status.conditions?.find(({ type }) => type === 'Ready');
    return Date.parse(ready?.lastTransitionTime ?? '');
  };
  const before = readySince();
  await pi.stopAgent();
  pi.reports.length = 0;
  await pi.startAgent();
  await until('reported', () => pi.reports.length > 0);
  t.ok(Math.abs(readySince() - before) <= 1000, 'and since the same time');
  t.ok(
    pi.reports.every(({ status: { containerStatuses } }) => containerStatuses?.[0]?.ready),
    'never taken out of service by the restart',
  );
  good = false;
  await until('not ready', () => status()?.ready === false);
  t.equal(status()?.restartCount, 0);
});

t.test('a sidecar lets the rest start only when its startup probe has succeeded', async (t) => {
  let up = false;
  const pi = await board(t, { execute: () => ({ exitCode: up ? 0 : 1 }) });
  await pi.startAgent();
  const startupProbe = { exec: { command: ['up'] }, periodSeconds: 1, failureThreshold: 1000 };
  const proxy = container('proxy', { restartPolicy: 'Always', startupProbe });
  pi.want([pod('web', { initContainers: [proxy] })]);
  await until('asked', () => pi.reasons('web').includes('Unhealthy'));
  t.same(
    (await pi.engine.listContainers()).map(({ name }) => name),
    ['proxy'],
  );
  t.match(
    pi.last('web')?.status.conditions?.find(({ type }) => type === 'Initialized'),
    { status: 'False', message: 'containers with incomplete status: [proxy]' },
  );
  up = true;
  await until('ready', () => pi.isReady('web'));
});

t.test('postStart: not running before it has run, and not started when it fails', async (t) => {
  let code = 0;
  const ran: string[] = [];
  const pi = await board(t, {
    execute: ([word = '']) => {
      ran.push(word);
      return { exitCode: code, runMs: 50, output: [{ stream: 'stderr', line: 'oh no' }] };
    },
  });
  await pi.startAgent();
  const lifecycle = { postStart: { exec: { command: ['greet'] } } };
  const spec = { containers: [container('main', { lifecycle }), container('second')] };
  pi.want([pod('web', spec)]);
  await until('greeting', () => ran.length > 0);
  t.same(
    (await pi.engine.listContainers()).map(({ name }) => name),
    ['main'],
    'the next container waits',
  );
  await until('ready', () => pi.isReady('web'));
  const firstSaid = pi.reports.find(({ status }) =>
    status.containerStatuses?.some(({ name, state }) => name === 'main' && state?.running),
  );
  t.ok(firstSaid?.status.containerStatuses?.[0]?.started, 'running is said with started');
  await pi.stopAgent();
  await pi.startAgent();
  await until('ready again', () => pi.isReady('web'));
  t.same(ran, ['greet'], 'a restarted agent does not run it again');

  code = 5;
  pi.want([pod('bad', spec)]);
  await until('restarted', () => pi.last('bad')?.status.containerStatuses?.[0]?.restartCount === 1);
  const told = pi.events.filter(({ name }) => name === 'bad').map((event) => event.message);
  t.ok(told.includes("PostStartHook failed: command 'greet' exited with 5: oh no\n"));
  t.ok(told.includes('FailedPostStartHook'), 'the words with which it is ended');
});

t.test('preStop runs before the stop, within the grace period', async (t) => {
  const order: string[] = [];
  const pi = await board(t, {
    execute: ([word = '']) => {
      order.push(word);
      return word === 'hang' ? { runMs: 3_600_000 } : { exitCode: word === 'fail' ? 1 : 0 };
    },
  });
  const stop = pi.engine.stopContainer.bind(pi.engine);
  const graces: number[] = [];
  pi.engine.stopContainer = async (id, graceSeconds) => {
    order.push('stop');
    graces.push(graceSeconds);
    await stop(id, graceSeconds);
  };
  await pi.startAgent();
  const going = (word: string, grace: number, deleted: boolean) => {
    const lifecycle = { preStop: { exec: { command: [word] } } };
    const meta = { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: grace };
    return pod(word, { containers: [container('main', { lifecycle })] }, deleted ? meta : {});
  };
  for (const [word, grace] of [
    ['bye', 30],
    ['fail', 30],
    ['hang', 1],
    ['skip', 0],
  ] as const) {
    order.length = 0;
    graces.length = 0;
    pi.want([going(word, grace, false)]);
    await until('ready', () => pi.isReady(word));
    pi.want([going(word, grace, true)]);
    await until('gone', () => pi.last(word)?.gone);
    t.same(order, grace === 0 ? ['stop'] : [word, 'stop'], word);
    if (word === 'bye') t.ok((graces[0] ?? 0) > 20 && (graces[0] ?? 0) < 30, 'its time counts');
    if (word === 'hang') t.same(graces, [2], 'two seconds are always left');
    if (word === 'hang') continue;
    t.equal(pi.reasons(word).includes('FailedPreStopHook'), word === 'fail', word);
  }
});

t.test(
  'the message of an end: from its file, or from the log when the policy says so',
  async (t) => {
    const pi = await board(t, {
      program: ({ args: [word = ''], mounts }) => {
        const file = mounts.find(({ containerPath }) => containerPath === '/dev/end')?.hostPath;
        if (word === 'writes') writeFileSync(file ?? '', `why it ended${'.'.repeat(5000)}`);
        const line = 'x'.repeat(30);
        const output = Array.from({ length: 100 }, (_, index) => ({
          stream: 'stdout' as const,
          line: `${line} ${index}`,
        }));
        return { runMs: 5, exitCode: word === 'succeeds' ? 0 : 3, output };
      },
    });
    await pi.startAgent();
    const ends = (word: string, terminationMessagePolicy: string) =>
      pod(word, {
        restartPolicy: 'Never',
        containers: [
          container('main', {
            args: [word],
            terminationMessagePath: '/dev/end',
            terminationMessagePolicy,
          }),
        ],
      });
    const fallback = 'FallbackToLogsOnError';
    const pods = [ends('writes', 'File'), ends('silent', 'File'), ends('fails', fallback)];
    pi.want([...pods, ends('succeeds', fallback)]);
    const message = async (name: string) => {
      const terminated = () => pi.last(name)?.status.containerStatuses?.[0]?.state?.terminated;
      await until(`${name} ended`, () => terminated() !== undefined);
      const said = pi.reports.filter((report) => report.name === name);
      const ended = said.filter(({ status }) => status.containerStatuses?.[0]?.state?.terminated);
      t.equal(ended.length, 1, 'said once, with its message');
      return terminated()?.message;
    };
    const written = (await message('writes')) ?? '';
    t.match(written, /^why it ended/);
    t.equal(written.length, 4096);
    t.equal(await message('silent'), undefined);
    t.equal(await message('succeeds'), undefined);
    const log = (await message('fails')) ?? '';
    t.equal(log.length, 2048);
    t.ok(log.endsWith('x 99\n'));
    const before = pi.last('writes')?.status;
    await pi.stopAgent();
    pi.reports.length = 0;
    await pi.startAgent();
    await until('said again', () => pi.last('writes') !== undefined);
    t.same(pi.last('writes')?.status.containerStatuses, before?.containerStatuses);
  },
);

t.test('a pod past its deadline is ended for good, also for the next agent', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const late = pod('late', { activeDeadlineSeconds: 1 });
  pi.want([late, pod('patient', { activeDeadlineSeconds: 3600 })]);
  await until('patient is ready', () => pi.isReady('patient'));
  await until('late has failed', () => pi.last('late')?.status.phase === 'Failed');
  const ended = {
    phase: 'Failed',
    reason: 'DeadlineExceeded',
    message: 'Pod was active on the node longer than the specified deadline',
  };
  t.match(pi.last('late')?.status, ended);
  t.match(pi.last('late')?.status.containerStatuses?.[0]?.state?.terminated, { exitCode: 143 });
  t.equal(pi.reasons('late').filter((reason) => reason === 'DeadlineExceeded').length, 1);
  const first = pi.reports.find(({ name, status }) => name === 'late' && status.reason);
  t.equal(first?.status.phase, 'Running', 'not Failed before its containers have stopped');
  const before = await pi.engine.listContainers();
  await pi.stopAgent();
  pi.reports.length = 0;
  await pi.startAgent();
  await until('said again', () => pi.last('late') !== undefined && pi.isReady('patient'));
  t.match(pi.last('late')?.status, ended);
  t.same(await pi.engine.listContainers(), before, 'nothing was started');
  await pi.stopAgent();
  pi.engine.loseEverything();
  await pi.startAgent();
  await until('patient is back', () => pi.isReady('patient'));
  t.match(pi.last('late')?.status, ended, 'not even after a reboot');
});
