/**
 * Volumes of file servers. No server is asked here: a bind mount stands in for `mount -t nfs`, with the real mount(8), umount(8) and
 * the kernel's own list. Imported by pods.test.ts.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { mountsBelow, type RunProgram, runProgram } from '../../../agent/host/mount-table.ts';
import type { BoardPod } from '../../../agent/plan/board-pod.ts';
import { nfsMount } from '../../../agent/plan/nfs.ts';
import { planVolumes } from '../../../agent/plan/volume-plan.ts';
import { type Board, board, container, pod, until } from './board.ts';

t.test('how an export is mounted', async (t) => {
  t.same(nfsMount({ server: 'nas.lan', path: '/export' }), {
    source: 'nas.lan:/export',
    options: 'retry=0',
    server: { host: 'nas.lan', port: 2049 },
  });
  const own = ['soft,nfsvers=4.1', 'timeo=50,port=12049'];
  t.same(nfsMount({ server: 'fd00::7', path: '/', readOnly: true, mountOptions: own }), {
    source: '[fd00::7]:/',
    options: 'retry=0,soft,nfsvers=4.1,timeo=50,port=12049,ro',
    server: { host: 'fd00::7', port: 12049 },
  });
  const withOptions = (...mountOptions: string[]) =>
    nfsMount({ server: 'nas.lan', path: '/', mountOptions });
  t.match(withOptions('retry=1'), { options: 'retry=1' });
  t.match(withOptions('proto=tcp6,port=0'), { server: { port: 2049 } });
  for (const other of ['udp', 'proto=udp', 'proto=rdma', 'rdma']) {
    t.notOk(withOptions(other).server, `${other}: not asked by TCP`);
  }
});

t.test('where a volume of a server is mounted, by pod and by claim', async (t) => {
  const share = { server: 'nas.lan', path: '/export' };
  const volumes = [
    { name: 'own', nfs: { ...share, readOnly: true } },
    { name: 'claimed', persistentVolumeClaim: { claimName: 'data' } },
    { name: 'read', persistentVolumeClaim: { claimName: 'data', readOnly: true } },
  ];
  const nfs = { ...share, mountOptions: ['soft'] };
  const one: BoardPod = {
    ...pod('web', { volumes, securityContext: { fsGroup: 7 } }),
    claims: { data: { type: 'problem', message: 'for older agents', nfs } },
  };
  const planned = planVolumes(one, {
    configs: () => undefined,
    facts: {
      nodeName: 'pi-1',
      hostIp: '192.0.2.1',
      podIp: '10.42.7.2',
      allocatable: { cpuMillis: 4000, memoryBytes: 1024 ** 3 },
    },
    directories: { data: '/data/u', run: '/run/u', mounts: '/mounts/u' },
  });
  const server = { host: 'nas.lan', port: 2049 };
  const common = { type: 'nfs', source: 'nas.lan:/export', server };
  const claimed = 'retry=0,soft';
  t.same(Object.fromEntries(planned), {
    own: { ...common, path: '/mounts/u/own', options: 'retry=0,ro', readOnly: true },
    claimed: { ...common, path: '/mounts/u/claimed', options: claimed, readOnly: false },
    read: { ...common, path: '/mounts/u/read', options: `${claimed},ro`, readOnly: true },
  });
});

const isRoot = process.getuid?.() === 0 ? false : 'mounts are made as root only';
const NFS = { server: 'nas.lan', path: '/export' };

/** A pod of two containers that begin at the same time and share the volume. */
function using(name: string): BoardPod {
  const volumeMounts = [{ name: 'share', mountPath: '/data' }];
  return pod(name, {
    containers: ['main', 'side'].map((one) => container(one, { volumeMounts })),
    volumes: [{ name: 'share', nfs: NFS }],
  });
}

/** A folder that stands in for the server; the calls that were made. */
function fileServer(pi: Board) {
  const files = path.join(pi.directory, 'server');
  mkdirSync(files);
  writeFileSync(path.join(files, 'kept'), 'data');
  const calls: string[] = [];
  const run: RunProgram = (program, args, signal) => {
    calls.push([program, ...args.slice(0, -1)].join(' '));
    const target = args.at(-1) ?? '';
    return runProgram(program, program === 'mount' ? ['--bind', files, target] : args, signal);
  };
  return { files, calls, run };
}

const mounted = (pi: Board) => mountsBelow(path.join(pi.directory, 'mounts'));

t.test('a volume of a server comes and goes with its pod', { skip: isRoot }, async (t) => {
  const folders: (string | undefined)[] = [];
  const pi = await board(t, {
    program: ({ mounts }) => {
      folders.push(mounts.find(({ containerPath }) => containerPath === '/data')?.hostPath);
      return {};
    },
  });
  const { files, calls, run } = fileServer(pi);
  pi.mounting = { run };
  await pi.startAgent();
  pi.want([using('web'), using('other')]);
  await until('ready', () => pi.isReady('web') && pi.isReady('other'));
  const mount = 'mount -t nfs -o retry=0 -- nas.lan:/export';
  t.same(calls, [mount, mount], 'once for each pod, whatever its containers');
  const target = path.join(pi.directory, 'mounts', 'uid-web', 'share');
  t.equal(folders.filter((one) => one === target).length, 2);
  t.equal(readFileSync(path.join(target, 'kept'), 'utf8'), 'data');

  await pi.stopAgent();
  pi.engine.loseEverything();
  pi.reports.length = 0;
  await pi.startAgent();
  await until('ready again', () => pi.isReady('web') && pi.isReady('other'));
  t.equal(calls.length, 2, 'a restarted agent finds what is mounted');

  pi.want([using('other')]);
  await until('gone', () => pi.last('web')?.gone === true);
  t.same(await mounted(pi), [target.replace('uid-web', 'uid-other')]);
  t.match(calls[2], /^umount -l -c -i$/);

  await pi.stopAgent();
  pi.engine.loseEverything();
  pi.want([]);
  await pi.startAgent();
  await until('an agent unmounts what was left when it was away', () => calls.length === 4);
  await until('no folder is left', () => !existsSync(path.dirname(target).replace('web', 'other')));
  t.same(await mounted(pi), []);
  t.same(readdirSync(files), ['kept'], 'files of the server stay');
});

t.test('a server that does not answer holds up its own pod only', { skip: isRoot }, async (t) => {
  const pi = await board(t);
  const { run } = fileServer(pi);
  let isUp = false;
  let answer: (() => void) | undefined;
  let finish: (outcome: unknown) => void = () => {};
  pi.mounting = {
    timeoutMs: 20,
    run: (program, args) =>
      program === 'mount' && !isUp
        ? new Promise((resolve, reject) => {
            // As a program that waits in the kernel: it is killed and does not end.
            answer = () => {
              const ended = run(program, args);
              ended.then(finish, finish);
              ended.then(resolve, reject);
            };
          })
        : run(program, args),
  };
  await pi.startAgent();
  pi.want([using('stuck'), pod('web')]);
  const told = (words: string) =>
    until(words, () =>
      pi.events.some(({ reason, message }) => reason === 'FailedMount' && message.includes(words)),
    );
  await told(
    'MountVolume.SetUp failed for volume "share" : mount of nas.lan:/export failed: no answer within 0.02 s',
  );
  await told('an earlier mount of nas.lan:/export has not ended yet: does the server answer?');
  await until('the other pod runs', () => pi.isReady('web'));
  isUp = true;
  answer?.();
  await until('it runs once the server answers', () => pi.isReady('stuck'));

  isUp = false;
  answer = undefined;
  pi.want([using('stuck'), using('going'), pod('web')]);
  await until('it waits', () => pi.reasons('going').includes('FailedMount'));
  pi.want([using('stuck'), pod('web')]);
  await until('it goes all the same', () => pi.last('going')?.gone === true);
  const late = await new Promise((resolve) => {
    if (answer === undefined) throw new Error('no mount was tried');
    finish = resolve;
    answer();
  });
  t.match(late, { message: /mount point does not exist/ }, 'what answers then is mounted nowhere');
});

t.test('no container is made on what a silent server mounted', { skip: isRoot }, async (t) => {
  const pi = await board(t);
  const { run } = fileServer(pi);
  let isUp = true;
  const dialled = new Set<string>();
  pi.mounting = {
    run,
    dial: async (host, port) => {
      dialled.add(`${host}:${port}`);
      return isUp
        ? { answer: 'success', output: '' }
        : { answer: 'failure', output: 'dial tcp nas.lan:2049: i/o timeout' };
    },
  };
  await pi.startAgent();
  pi.want([using('web')]);
  await until('ready', () => pi.isReady('web'));
  isUp = false;
  pi.engine.loseEverything();
  await pi.stopAgent();
  await pi.startAgent();
  await until('it waits', () => pi.reasons('web').includes('FailedMount'));
  const event = pi.events.find(({ reason }) => reason === 'FailedMount');
  t.match(
    event?.message,
    'the server of nas.lan:/export does not answer: dial tcp nas.lan:2049: i/o timeout',
  );
  t.same((await pi.engine.listContainers()).length, 0, 'the engine knows of none');
  isUp = true;
  await until('it runs once the server answers', () => pi.isReady('web'));
  t.same([...dialled], ['nas.lan:2049']);
});

t.test('a board without mount.nfs says what to install', { skip: isRoot }, async (t) => {
  const pi = await board(t);
  pi.mounting = {
    run: () => Promise.reject(new Error('mount: bad option')),
    helper: path.join(pi.directory, 'sbin/mount.nfs'),
  };
  await pi.startAgent();
  pi.want([using('web')]);
  await until('it says so', () => pi.reasons('web').includes('FailedMount'));
  const event = pi.events.find(({ reason }) => reason === 'FailedMount');
  t.match(event?.message, /mounting nas\.lan:\/export needs \S+mount\.nfs.*apt-get install nfs-/);
  const waiting = pi.last('web')?.status.containerStatuses?.[0]?.state?.waiting;
  t.match(waiting, { reason: 'ContainerCreating', message: /apt-get install nfs-common/ });
  // The next attempt may be under way, and has one for a moment.
  const folder = path.join(pi.directory, 'mounts/uid-web/share');
  await until('no folder is left', () => !existsSync(folder));
});
