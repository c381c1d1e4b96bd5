/** What may change in the files of a running pod: tokens of service accounts (their modes, owners, renewal), labels. */
import { readFileSync } from 'node:fs';
import { readFile, readlink, stat } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import type { PodSpec, Volume } from '../../../protocol/kinds/types.ts';
import { type Board, board, container, pod, until } from './board.ts';

const VOLUME: Volume = {
  name: 'api',
  projected: {
    defaultMode: 0o644,
    sources: [
      { serviceAccountToken: { path: 'token', expirationSeconds: 3607 } },
      { serviceAccountToken: { path: 'vault/token', audience: 'vault' } },
      { configMap: { name: 'kube-root-ca.crt' } },
    ],
  },
};
const CA = { 'ca.crt': Buffer.from('the authority') };
const CONFIGS = { configs: (kind: string) => (kind === 'configmap' ? CA : undefined) };

function withTokens(name: string, tokens: Record<string, string>, spec: Partial<PodSpec> = {}) {
  return { ...pod(name, { volumes: [VOLUME], ...spec }), tokens };
}

function placeOf(pi: Board, name: string): string {
  return path.join(pi.directory, 'run', `uid-${name}`, 'volumes/api');
}

t.test('tokens lie on the tmpfs, and are renewed in place in a running pod', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const first = withTokens('web', { 'api/token': 'one', 'api/vault/token': 'for the vault' });
  pi.want([first], CONFIGS);
  await until('web is ready', () => pi.isReady('web'));
  const place = placeOf(pi, 'web');
  t.equal(await readFile(path.join(place, 'token'), 'utf8'), 'one');
  t.equal(await readFile(path.join(place, 'vault/token'), 'utf8'), 'for the vault');
  t.equal(await readFile(path.join(place, 'ca.crt'), 'utf8'), 'the authority');
  t.equal(
    (await stat(path.join(place, 'token'))).mode & 0o777,
    0o644,
    'any user of the pod reads it',
  );
  const before = await readlink(path.join(place, '..data'));
  const containers = await pi.engine.listContainers();

  pi.want([{ ...first, tokens: { ...first.tokens, 'api/token': 'two' } }], CONFIGS);
  const read = () => readFileSync(path.join(place, 'token'), 'utf8');
  await until('the newer token', () => read() === 'two');
  t.not(await readlink(path.join(place, '..data')), before, 'all files were swapped at once');
  t.same(await pi.engine.listContainers(), containers, 'and the container runs on');
});

t.test('a pod without its token waits, says so, and starts when it comes', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const one = { ...VOLUME, projected: { sources: VOLUME.projected?.sources?.slice(0, 1) ?? [] } };
  const spec = { volumes: [one], serviceAccountName: 'robot' };
  pi.want([withTokens('web', {}, spec)]);
  await until('it says what it waits for', () =>
    pi.events.some(
      ({ name, message }) =>
        name === 'web' &&
        message.includes('no token of serviceaccount "robot" has come from the master yet'),
    ),
  );
  pi.want([withTokens('web', { 'api/token': 'late' }, spec)]);
  await until('web is ready', () => pi.isReady('web'));
  t.equal(await readFile(path.join(placeOf(pi, 'web'), 'token'), 'utf8'), 'late');
});

t.test('who may read a token', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const tokens = { 'api/token': 'x', 'api/vault/token': 'y' };
  const by = (...users: (number | undefined)[]) =>
    users.map((runAsUser, index) =>
      container(`c${index}`, runAsUser === undefined ? {} : { securityContext: { runAsUser } }),
    );
  const specs: Record<string, Partial<PodSpec>> = {
    group: { securityContext: { fsGroup: 777 } },
    user: { securityContext: { runAsUser: 55 }, containers: by(undefined, 55) },
    users: { containers: by(55, 56) },
    some: { containers: by(55, undefined) },
    both: { securityContext: { runAsUser: 55, fsGroup: 777 } },
  };
  pi.want(
    Object.entries(specs).map(([name, spec]) => withTokens(name, tokens, spec)),
    CONFIGS,
  );
  await until('all are ready', () => Object.keys(specs).every((name) => pi.isReady(name)));
  const seen: Record<string, string> = {};
  for (const name of Object.keys(specs)) {
    const { mode, uid, gid } = await stat(path.join(placeOf(pi, name), 'token'));
    seen[name] = `${(mode & 0o777).toString(8)} ${uid}:${gid}`;
  }
  t.same(seen, {
    group: '640 0:777',
    user: '600 55:0',
    users: '644 0:0',
    some: '644 0:0',
    both: '640 55:777',
  });
});

t.test('files of the downward API follow the labels of a running pod', async (t) => {
  const pi = await board(t);
  await pi.startAgent();
  const fieldRef = { fieldPath: "metadata.labels['tier']" };
  const one = pod('web', {
    volumes: [{ name: 'api', downwardAPI: { items: [{ path: 'tier', fieldRef }] } }],
  });
  const labelled = (tier: string) => ({ ...one, meta: { ...one.meta, labels: { tier } } });
  pi.want([labelled('test')]);
  await until('web is ready', () => pi.isReady('web'));
  const file = path.join(pi.directory, 'pods/uid-web/volumes/api/tier');
  t.equal(await readFile(file, 'utf8'), 'test');
  pi.want([labelled('live')]);
  await until('the new label', () => readFileSync(file, 'utf8') === 'live');
});
