/** The board's memory: what is obeyed, what is written, and what damage may cost. Routes beside it. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { reachOf } from '../../agent/network/reach.ts';
import { parseResolver } from '../../agent/network/resolver.ts';
import { kernelRoutes, parseRoutes } from '../../agent/network/route-tables.ts';
import { routeChanges } from '../../agent/network/routes.ts';
import { makeVolumes } from '../../agent/pods/volumes.ts';
import { judgeManifest } from '../../agent/state/accept.ts';
import { DesiredState } from '../../agent/state/desired-state.ts';
import { PodRecords } from '../../agent/state/pod-records.ts';
import { PodTokens } from '../../agent/state/pod-tokens.ts';
import { decodeStateFile, encodeStateFile, StateDirectory } from '../../agent/state/state-file.ts';
import { encodeCbor } from '../../protocol/codec.ts';
import type { BoardRoute, DesiredPod, DesiredService, Manifest } from '../../protocol/messages.ts';

async function folder(t: Test): Promise<string> {
  const made = await mkdtemp(path.join(os.tmpdir(), 'pier-state-'));
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}

interface Board {
  readonly directory: string;
  readonly refused: string[];
  readonly open: () => Promise<DesiredState>;
}

async function board(t: Test): Promise<Board> {
  const directory = await folder(t);
  const refused: string[] = [];
  const open = async () => {
    const state = new DesiredState({
      directory,
      clusterId: 'home',
      node: 'pi',
      log: pino({ level: 'silent' }),
      waitingPayloadsMax: 4,
      clusterWriteDelayMs: 1,
      openSecret: async (_namespace, name, sealed) => {
        if (name === 'foreign') throw new Error('sealed for another board');
        return sealed;
      },
      tokens: new PodTokens({
        file: path.join(directory, 'tokens'),
        open: async (_uid, sealed) => sealed,
        log: pino({ level: 'silent' }),
      }),
      onRefused: (reason) => refused.push(reason),
    });
    await state.load();
    return state;
  };
  return { directory, refused, open };
}

function pod(name: string, digest = `${name}-1`): DesiredPod {
  const metadata = { uid: name, name, namespace: 'default' };
  const spec = { containers: [{ name: 'main', image: `app:${digest}` }] };
  return { v: 1, uid: name, digest, pod: { metadata, spec } };
}

function manifest(
  revision: number,
  pods: readonly DesiredPod[],
  more: Partial<Manifest> = {},
): Manifest {
  return {
    v: 1,
    clusterId: 'home',
    epoch: 1,
    revision,
    node: { name: 'pi', uid: 'n', podCidr: '10.42.1.0/24' },
    pods: pods.map(({ uid, digest }) => ({ uid, digest })),
    configs: [],
    ...more,
  };
}

function names(state: DesiredState): string[] {
  return [...state.current().pods.keys()].sort();
}

function image(state: DesiredState, uid: string): string | undefined {
  return state.current().pods.get(uid)?.spec.containers[0]?.image;
}

async function filesOf(directory: string): Promise<string[]> {
  const all = await readdir(directory, { recursive: true, withFileTypes: true });
  return all
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}

t.test('what was accepted is there again after a restart, with no master', async (t) => {
  const { open } = await board(t);
  const state = await open();
  t.equal(state.current().complete, false, 'a new board knows nothing, and knows that');
  const changes: string[] = [];
  state.onChange((change) => changes.push(change));
  state.offerPod(pod('a'));
  state.offerPod(pod('b'));
  state.offerManifest(manifest(7, [pod('a'), pod('b')]));
  await state.flush();
  t.same(changes, ['pods']);

  const again = await open();
  t.same(names(again), ['a', 'b']);
  t.equal(again.current().complete, true);
  t.equal(again.current().node?.podCidr, '10.42.1.0/24');
  t.same(again.holds(), { clusterId: 'home', epoch: 1, revision: 7 });
});

t.test(
  'Ingresses to serve and their Secrets are known after a restart, and to others not',
  async (t) => {
    const { open } = await board(t);
    const state = await open();
    state.offerManifest(manifest(7, []));
    t.equal(state.current().ingresses, undefined, 'other boards serve');
    const named = { namespace: 'default', name: 'web', digest: 'i-1' };
    const secret = { kind: 'secret', namespace: 'default', name: 'cert', digest: 's-1' } as const;
    const tls = [{ hosts: ['a.example'], secret: 'cert' }];
    state.offerIngress({ v: 1, ...named, rules: [], tls });
    const sealed = encodeCbor({ 'tls.crt': new Uint8Array([1]) });
    state.offerConfig({ v: 1, ...secret, sealed });
    state.offerManifest(manifest(8, [], { ingresses: [named], configs: [secret] }));
    await state.flush();
    const again = (await open()).current();
    t.match(again.ingresses, [{ name: 'web', tls }]);
    const data = again.configs('secret', 'default', 'cert');
    t.same(data, { 'tls.crt': new Uint8Array([1]) });
    t.equal(again.configs('secret', 'default', 'cert'), data, 'the same while it is the same');
    state.offerManifest(manifest(9, [], { ingresses: [] }));
    await state.flush();
    t.same(state.current().ingresses, []);
  },
);

t.test('tokens of pods are renewed in memory only; the first is on the card', async (t) => {
  const { open, directory } = await board(t);
  const state = await open();
  const withToken = (token: string) => ({
    ...pod('a'),
    tokens: encodeCbor({ 'api/token': token }),
  });
  const tokensOf = (of: DesiredState) => of.current().pods.get('a')?.tokens;
  state.offerPod(withToken('one'));
  state.offerManifest(manifest(7, [pod('a'), pod('b')]));
  state.offerPod(pod('b'));
  await state.flush();
  t.same(tokensOf(state), { 'api/token': 'one' });

  const written = await cardOf(directory);
  const changes: string[] = [];
  state.onChange((change) => changes.push(change));
  const before = state.current().pods;
  state.offerPod(withToken('two'));
  state.offerPod(withToken('three'));
  await state.flush();
  t.same(tokensOf(state), { 'api/token': 'three' });
  t.same(changes, ['pods'], 'one change for all that came together');
  t.equal(state.current().pods.get('b'), before.get('b'), 'other pods are the same');
  t.not(state.current().pods.get('a'), before.get('a'));
  state.offerPod(withToken('three'));
  state.offerPod(pod('a'));
  await state.flush();
  t.same(changes, ['pods'], 'said again: nothing new');
  t.same(tokensOf(state), { 'api/token': 'three' }, 'and silence takes nothing away');
  t.same(await cardOf(directory), written, 'the card was not written to');

  t.same(tokensOf(await open()), { 'api/token': 'three' }, 'the next agent does not go back');
  const other = await open();
  other.offerManifest(manifest(8, [pod('a')]));
  await other.flush();
  t.same(tokensOf(other), { 'api/token': 'three' }, 'a new manifest brings no old token back');
  await rm(path.join(directory, 'tokens'));
  t.same(tokensOf(await open()), { 'api/token': 'one' }, 'after a reboot: what is on the card');
});

/** Name and content of all files but the one that is on a tmpfs. */
async function cardOf(directory: string): Promise<string[]> {
  const files = (await filesOf(directory)).filter((file) => path.basename(file) !== 'tokens');
  const one = async (file: string) => `${file} ${await readFile(file, 'hex')}`;
  return Promise.all(files.map(one));
}

t.test('where volumes lie and which must go is known after a restart, too', async (t) => {
  const { open } = await board(t);
  const state = await open();
  const claims = { data: { type: 'directory', path: '/volumes/pvc-1' } } as const;
  const removeVolumes = [{ name: 'pvc-2', path: '/volumes/pvc-2' }];
  const one = { ...pod('a'), claims };
  state.offerPod(one);
  state.offerManifest(manifest(7, [one], { removeVolumes }));
  await state.flush();
  const again = (await open()).current();
  t.same(again.pods.get('a')?.claims, claims);
  t.same(again.removeVolumes, removeVolumes);
  state.offerManifest(manifest(8, [one]));
  await state.flush();
  t.same((await open()).current().removeVolumes, [], 'done is done');
});

t.test('in whatever order messages come, only a complete manifest counts', async (t) => {
  const { open } = await board(t);
  const state = await open();
  state.offerManifest(manifest(7, [pod('a'), pod('b')]));
  state.offerPod(pod('b'));
  await state.flush();
  t.same(names(state), [], 'one payload is missing');
  state.offerPod(pod('a', 'old'));
  await state.flush();
  t.same(names(state), [], 'another digest is another payload');
  state.offerPod(pod('a'));
  await state.flush();
  t.same(names(state), ['a', 'b']);

  state.offerManifest(manifest(9, [pod('a', 'new')]));
  state.offerManifest(manifest(8, [pod('b')]));
  await state.flush();
  t.same(names(state), ['b'], 'a complete newer one counts although a still newer one waits');
  state.offerPod(pod('a', 'new'));
  await state.flush();
  t.same(names(state), ['a']);
  t.equal(image(state, 'a'), 'app:new');
});

t.test('old backups and other clusters are not obeyed, and it is told once', async (t) => {
  const { open, refused } = await board(t);
  const state = await open();
  state.offerPod(pod('a'));
  state.offerManifest(manifest(7, [pod('a')]));
  await state.flush();
  state.offerManifest(manifest(6, []));
  state.offerManifest(manifest(6, []));
  state.offerManifest(manifest(9, [], { epoch: 0 }));
  state.offerManifest(manifest(9, [], { clusterId: 'neighbour' }));
  const other = { name: 'pi-2', uid: 'x', podCidr: '' };
  state.offerManifest(manifest(9, [], { node: other }));
  await state.flush();
  t.same(names(state), ['a']);
  t.equal(refused.length, 4);
  t.match(refused[0], /older than the one held .*restored from a backup/);
  t.match(refused[2], /of cluster neighbour and this board belongs to home/);
  state.offerManifest(manifest(1, [], { epoch: 2 }));
  await state.flush();
  t.same(names(state), [], 'a new epoch is newer, whatever its revision');
});

t.test('nothing is written when nothing changed', async (t) => {
  const { open, directory } = await board(t);
  const state = await open();
  state.offerPod(pod('a'));
  state.offerManifest(manifest(7, [pod('a')]));
  await state.flush();
  const before = await Promise.all(
    (await filesOf(directory)).map(async (f) => (await stat(f)).ino),
  );
  for (let index = 0; index < 3; index++) {
    state.offerPod(pod('a'));
    state.offerManifest(manifest(7, [pod('a')]));
  }
  await state.flush();
  const after = await Promise.all((await filesOf(directory)).map(async (f) => (await stat(f)).ino));
  t.same(after, before);
  state.offerManifest(manifest(8, []));
  await state.flush();
  t.equal((await filesOf(directory)).length, 1, 'the file of a pod that went is removed');
});

t.test('any single damaged file costs at most its own content and kills nothing', async (t) => {
  const { open, directory } = await board(t);
  const state = await open();
  state.offerPod(pod('a'));
  state.offerPod(pod('b'));
  state.offerManifest(manifest(7, [pod('a'), pod('b')]));
  await state.flush();
  const files = await filesOf(directory);
  t.equal(files.length, 3);
  for (const file of files) {
    const good = await readFile(file);
    const damages = {
      cut: good.subarray(0, good.length - 1),
      empty: Buffer.alloc(0),
      zeroed: Buffer.alloc(good.length),
      flipped: Buffer.from(
        good.map((byte, index) => (index === good.length - 3 ? byte ^ 1 : byte)),
      ),
      reordered: Buffer.from(good.map((byte, index) => (index === 23 ? byte ^ 1 : byte))),
    };
    for (const [name, bytes] of Object.entries(damages)) {
      await writeFile(file, bytes);
      const again = await open();
      const { complete, lostPods } = again.current();
      if (file.endsWith('manifest')) {
        t.same(names(again), ['a', 'b'], `${name} manifest: the pods are still known`);
        t.equal(complete, false, 'and no other pod may be removed');
        again.offerManifest(manifest(6, []));
        t.equal(again.current().complete, false, 'an older one is still not obeyed');
      } else {
        t.equal(names(again).length, 1, `${name} pod: the other one is known`);
        t.equal(lostPods.size, 1, 'and the lost one is known to be lost');
        t.equal(complete, true);
        const [lost = ''] = lostPods;
        again.offerPod(pod(lost));
        await again.flush();
        t.same(names(again), ['a', 'b'], 'the master brings it back');
      }
      t.ok((await filesOf(directory)).includes(`${file}.damaged`), 'kept for a person to look at');
      await rm(`${file}.damaged`);
      await writeFile(file, good);
    }
  }
});

t.test('a state file is its content or an error, never something else', async (t) => {
  const file = encodeStateFile({
    order: { epoch: 3, revision: 2 ** 40 },
    body: encodeCbor({ a: 1 }),
  });
  t.same(decodeStateFile(file).order, { epoch: 3, revision: 2 ** 40 });
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const changed = Uint8Array.from(file);
      changed[at] = (changed[at] ?? 0) ^ mask;
      // Bytes 5 to 7 are checksummed too.
      t.throws(() => decodeStateFile(changed), { name: 'DamagedFileError' });
    }),
    { numRuns: 300 },
  );
  for (const garbage of [new Uint8Array(0), new Uint8Array(55), new Uint8Array(56)]) {
    t.throws(() => decodeStateFile(garbage), { name: 'DamagedFileError' });
  }
});

t.test('a write that was cut leaves the old content', async (t) => {
  const { open, directory } = await board(t);
  const state = await open();
  state.offerPod(pod('a'));
  state.offerManifest(manifest(7, [pod('a')]));
  await state.flush();
  const [first = ''] = await filesOf(directory);
  await writeFile(path.join(path.dirname(first), 'manifest.tmp'), 'half of a new mani');
  const again = await open();
  t.same(names(again), ['a']);
  t.equal((await filesOf(directory)).length, 2, 'the leftover is gone');
});

t.test('a disk that refuses writes stops nothing', async (t) => {
  const { open, directory } = await board(t);
  const state = await open();
  await rm(directory, { recursive: true });
  await writeFile(directory, 'not a folder any more');
  state.offerPod(pod('a'));
  state.offerManifest(manifest(7, [pod('a')]));
  await state.flush();
  t.same(names(state), ['a']);
});

t.test(
  'secrets stay sealed on disk and are opened in memory; one that does not open costs only itself',
  async (t) => {
    const { open, directory } = await board(t);
    const state = await open();
    const sealed = encodeCbor({ password: new TextEncoder().encode('s3cret-word') });
    const secret = (name: string) =>
      ({ v: 1, kind: 'secret', namespace: 'default', name, digest: name, sealed }) as const;
    state.offerConfig(secret('db'));
    state.offerConfig(secret('foreign'));
    const configs = ['db', 'foreign'].map(
      (name) => ({ kind: 'secret', namespace: 'default', name, digest: name }) as const,
    );
    state.offerManifest(manifest(7, [], { configs }));
    await state.flush();
    const again = await open();
    const data = again.current().configs('secret', 'default', 'db');
    t.equal(new TextDecoder().decode(data?.password), 's3cret-word');
    t.equal(again.current().configs('secret', 'default', 'foreign'), undefined);
    t.equal((await filesOf(directory)).length, 3);
  },
);

t.test('services and boards follow their own manifest and survive a restart', async (t) => {
  const { open } = await board(t);
  const state = await open();
  const service: DesiredService = {
    v: 1,
    namespace: 'default',
    name: 'web',
    digest: 's',
    type: 'ClusterIP',
    clusterIp: '10.43.0.9',
    ports: [],
    endpoints: [],
    internalTrafficLocal: false,
    externalTrafficLocal: false,
  };
  const route = {
    v: 1,
    node: 'pi-2',
    digest: 'b',
    address: '192.0.2.2',
    podCidr: '10.42.2.0/24',
  } as const;
  state.offerService(service);
  state.offerBoard(route);
  state.offerClusterManifest({
    v: 1,
    clusterId: 'home',
    epoch: 1,
    revision: 3,
    services: [{ namespace: 'default', name: 'web', digest: 's' }],
    boards: [{ node: 'pi-2', digest: 'b' }],
  });
  t.equal(state.current().services.length, 1, 'at once, before it is written');
  await state.flush();
  const again = await open();
  t.same(again.current().services, [service]);
  t.same(again.current().boards, [route]);
});

t.test('payloads that no manifest names are bounded', async (t) => {
  const { open } = await board(t);
  const state = await open();
  for (let index = 0; index < 100; index++) state.offerPod(pod(`p${index}`));
  const kept = [96, 97, 98, 99].map((index) => pod(`p${index}`));
  state.offerManifest(manifest(7, [pod('p0'), ...kept]));
  await state.flush();
  t.same(names(state), [], 'the oldest was dropped and is waited for');
  state.offerPod(pod('p0'));
  await state.flush();
  t.equal(names(state).length, 5);
});

t.test('a manifest is judged by cluster, board, order and completeness', async (t) => {
  const incoming = { clusterId: 'home', node: 'pi', epoch: 1, revision: 5 };
  const question = { clusterId: 'home', node: 'pi', held: undefined, incoming, missing: 0 };
  const held = (revision: number, complete = true) => ({ order: { epoch: 1, revision }, complete });
  t.equal(judgeManifest(question).type, 'accept');
  t.equal(judgeManifest({ ...question, held: held(5) }).type, 'same');
  t.equal(judgeManifest({ ...question, held: held(5, false) }).type, 'accept');
  t.equal(judgeManifest({ ...question, held: held(6, false) }).type, 'refuse');
  t.same(judgeManifest({ ...question, missing: 2 }), { type: 'wait', missing: 2 });
});

t.test('addresses of pods are kept, given out once, and forgotten with the pod', async (t) => {
  const directory = await folder(t);
  const open = async () => {
    const records = new PodRecords(new StateDirectory(directory, () => {}), () => {});
    await records.load();
    return records;
  };
  const records = await open();
  const cidr = '10.42.1.0/24';
  const given = await Promise.all(['a', 'b', 'c'].map((uid) => records.assignIp(uid, cidr, 42)));
  t.same(given, ['10.42.1.2', '10.42.1.3', '10.42.1.4']);
  records.forget('b');
  await records.flush();
  const again = await open();
  t.equal(await again.assignIp('c', cidr, 43), '10.42.1.4');
  t.equal(again.get('c')?.startTimeMs, 42);
  t.equal(await again.assignIp('d', cidr, 43), '10.42.1.3');
  again.note('e', '10.42.1.9', 44);
  t.equal(await again.assignIp('e', cidr, 45), '10.42.1.9', 'what the engine shows is the truth');
  t.equal(await again.assignIp('a', '10.42.7.0/24', 46), '10.42.7.2', 'of another range: anew');
  again.refuseIp('d');
  t.equal(await again.assignIp('d', cidr, 47), '10.42.1.2', 'another one, the first that is free');
  again.forget('c');
  again.refuseIp('d');
  t.equal(await again.assignIp('d', cidr, 48), '10.42.1.4', 'what was refused is not tried again');
  const small = '10.42.2.0/30';
  t.equal(await again.assignIp('f', small, 49), '10.42.2.2');
  again.refuseIp('f');
  t.equal(await again.assignIp('f', small, 50), '10.42.2.2', 'unless there is no other');
  await again.flush();
  await writeFile(path.join(directory, 'pod-records'), 'garbage');
  t.equal((await open()).get('a'), undefined, 'a damaged file is the same as none');
});

t.test('routes: only what has to change', async (t) => {
  const boards: BoardRoute[] = [
    { v: 1, node: 'pi', digest: '', address: '192.0.2.1', podCidr: '10.42.1.0/24' },
    { v: 1, node: 'pi-2', digest: '', address: '192.0.2.2', podCidr: '10.42.2.0/24' },
    { v: 1, node: 'pi-3', digest: '', address: '192.0.2.3', podCidr: '10.42.3.0/24' },
    { v: 1, node: 'new', digest: '', address: '192.0.2.4', podCidr: '' },
    { v: 1, node: 'odd', digest: '', address: '10.42.9.1', podCidr: '10.42.9.0/24' },
  ];
  const present = parseRoutes(
    JSON.stringify([
      { dst: '10.42.2.0/24', gateway: '192.0.2.2', dev: 'eth0' },
      { dst: '10.42.3.0/24', gateway: '192.0.2.99', dev: 'eth0' },
      { dst: '10.42.8.0/24', gateway: '192.0.2.8', dev: 'eth0' },
      { type: 'local', dst: '10.43.0.0/16', dev: 'lo' },
    ]),
  );
  t.same(routeChanges(reachOf(boards, 'pi', '192.0.2.1/24').routes, present), {
    set: [{ cidr: '10.42.3.0/24', via: '192.0.2.3' }],
    remove: [{ cidr: '10.42.8.0/24', via: '192.0.2.8' }],
  });
  t.same(parseRoutes(''), []);
  const line = 'eth0\t00022A0A\t020200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0';
  t.same(kernelRoutes(`Iface\tDestination\n${line}\n`), [
    { cidr: '10.42.2.0/24', via: '192.0.2.2' },
  ]);
});

t.test('a resolver that pods cannot reach is left out', async (t) => {
  t.same(
    parseResolver(
      'nameserver 127.0.0.53\nnameserver 192.0.2.53 # x\nsearch lan a.b\noptions edns0',
    ),
    {
      servers: ['192.0.2.53'],
      searches: ['lan', 'a.b'],
      options: ['edns0'],
    },
  );
});

const isRoot = process.getuid?.() === 0;
t.test('fsGroup gets what an earlier pod left', { skip: !isRoot && 'needs root' }, async (t) => {
  const target = path.join(await folder(t), 'pvc-1');
  const make = (group?: number) => {
    const owner = group === undefined ? {} : { group };
    const volume = { type: 'directory', path: target, persistent: true, ...owner } as const;
    return makeVolumes(new Map([['v', volume]]), () => {
      throw new Error('nothing to mount');
    });
  };
  await make();
  await mkdir(path.join(target, 'sub'));
  await writeFile(path.join(target, 'sub/file'), 'x', { mode: 0o600 });
  await make(1234);
  for (const one of ['', 'sub', 'sub/file']) {
    const { gid, mode } = await stat(path.join(target, one));
    t.equal(gid, 1234, `group of /${one}`);
    t.equal(mode & 0o060, 0o060, `mode of /${one}`);
  }
});
