/** What pods keep and fetch: private images, volumes with limits, claims. Imported by pods.test.ts. */
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import type { BoardPod } from '../../../agent/plan/board-pod.ts';
import { VolumeRemover } from '../../../agent/pods/volume-remover.ts';

import { board, container, pod, until } from './board.ts';

t.test('an image is pulled with the pull secrets of the pod, one after the other', async (t) => {
  const shown: string[] = [];
  const pi = await board(t, {
    pull: (_image, login) => {
      shown.push(login?.username ?? 'nobody');
      return login?.username === 'good' ? {} : { error: 'registry says: unauthorized' };
    },
  });
  await pi.startAgent();
  const secret = (username: string) => ({
    '.dockerconfigjson': new TextEncoder().encode(
      JSON.stringify({ auths: { 'registry.lan': { username, password: 'hidden' } } }),
    ),
  });
  const secrets: Record<string, Record<string, Uint8Array>> = {
    bad: secret('bad'),
    good: secret('good'),
  };
  const wanted = (name: string, ...names: string[]) =>
    pod(name, {
      containers: [container('main', { image: `registry.lan/${name}:1` })],
      imagePullSecrets: names.map((one) => ({ name: one })),
    });
  pi.want([wanted('web', 'bad', 'good'), wanted('shut', 'bad', 'gone')], {
    configs: (_kind, _namespace, name) => secrets[name],
  });
  await until('web is ready', () => pi.isReady('web'));
  await until('shut waits', () => pi.reasons('shut').includes('BackOff'));
  t.same([...shown].sort(), ['bad', 'bad', 'good']);
  const words = pi.events.filter(({ name }) => name === 'shut').map(({ message }) => message);
  t.match(words.join('\n'), /Unable to retrieve some image pull secrets \(gone\)/);
  t.match(words.join('\n'), /registry says: unauthorized/);
  t.notMatch(JSON.stringify([pi.events, pi.reports]), /hidden/);
});

t.test('a pod whose volume holds more than it may is evicted, and the card freed', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const volumes = [{ name: 'cache', emptyDir: { sizeLimit: '64Ki' } }];
  pi.want([pod('web', { volumes }), pod('other', { volumes })]);
  await until('both are ready', () => pi.isReady('web') && pi.isReady('other'));
  const volume = (name: string) =>
    path.join(pi.directory, 'pods', `uid-${name}`, 'volumes', 'cache');
  writeFileSync(path.join(volume('other'), 'file'), randomBytes(16_384));
  writeFileSync(path.join(volume('web'), 'file'), randomBytes(128 * 1024));
  await until('web has ended', () => pi.last('web')?.status.phase === 'Failed');
  const message = 'Usage of EmptyDir volume "cache" exceeds the limit "64Ki".';
  t.match(pi.last('web')?.status, { reason: 'Evicted', message });
  t.match(
    pi.events.find(({ reason }) => reason === 'Evicted'),
    { name: 'web', type: 'Warning', message },
  );
  await until('its volume is gone', () => !existsSync(volume('web')));
  t.ok(pi.isReady('other'));
  await pi.stopAgent();
  await pi.startAgent();
  await until('it is still ended', () => pi.last('web')?.status.phase === 'Failed');
  t.equal(pi.last('web')?.status.reason, 'Evicted');
  const types = pi.last('web')?.status.conditions?.map(({ type }) => type);
  t.notOk(types?.includes('DisruptionTarget'), 'it was over a limit of its own');
});

t.test('the directory of a claim is made on demand, outlives pods, goes when told', async (t) => {
  const pi = await board(t);
  const manager = await pi.startAgent();
  const directory = path.join(pi.directory, 'volumes');
  const target = path.join(directory, 'pvc-1');
  const spec = {
    containers: [container('main', { volumeMounts: [{ name: 'v', mountPath: '/data' }] })],
    volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'data' } }],
  };
  const waiting = {
    type: 'problem',
    message: 'persistentvolumeclaim "data" is not bound',
  } as const;
  const claimed = (name: string, claim: object): BoardPod => ({
    ...pod(name, spec),
    claims: { data: claim } as NonNullable<BoardPod['claims']>,
  });
  pi.want([claimed('db', waiting)]);
  await until('mount failed', () => pi.reasons('db').includes('FailedMount'));
  pi.want([claimed('db', { type: 'directory', path: target })]);
  await until('ready', () => pi.isReady('db'));
  t.equal((await stat(target)).mode & 0o777, 0o777, 'every user in a pod may write');
  await writeFile(path.join(target, 'kept'), 'data');
  t.ok(manager.claimedPaths().has(target));

  const removed: string[] = [];
  const wanted = [
    { name: 'pvc-1', path: target },
    { name: 'pvc-2', path: path.join(directory, 'pvc-2') },
    { name: '..', path: pi.directory },
    { name: 'pvc-3', path: '/srv/pvc-3' },
  ];
  const remover = new VolumeRemover({
    directory,
    log: pino({ level: 'silent' }),
    wanted: () => wanted,
    pathsInUse: () => manager.claimedPaths(),
    report: (name, problem) => removed.push(problem === undefined ? name : `not ${name}`),
    retryMs: 5,
  });
  t.teardown(() => remover.stop());
  remover.look();
  await until('the others are answered', () => removed.includes('not pvc-3'));
  t.notOk(removed.includes('pvc-1'), 'a pod has it');
  t.ok(removed.includes('pvc-2'), 'what is not there counts as removed');
  t.ok(removed.includes('not ..'), 'only what is its own');
  t.equal(await readFile(path.join(target, 'kept'), 'utf8'), 'data');

  pi.want([]);
  await until('gone', () => pi.last('db')?.gone === true);
  await until('removed without being told again', () => removed.includes('pvc-1'));
  t.same(await readdir(directory), []);
});
