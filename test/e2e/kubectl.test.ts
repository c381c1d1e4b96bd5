/**
 * Unmodified kubectl on two boards: the current one and 1.32 for what a user does with boards, apps and pods and for what bad
 * input is answered, Debian's 1.20 for the basics; what is no matter of kubectl's with the current one alone. Needs root.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { Container, Node, Pod } from '../../protocol/kinds/types.ts';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl } from '../support/board-kubectl.ts';
import {
  demoContainer,
  demoPod,
  engineContainers,
  nodePortService,
  spreadDeployment,
} from '../support/demo-manifests.ts';
import { findKubectl } from '../support/kubectl.ts';
import { labMissing } from '../support/needs.ts';
import { CONTROLLER_CLAIMS, WORKLOAD_CLAIMS } from './kubectl-workloads.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const HELLO = join(HOME, 'docs/examples/hello.yaml');

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
}

const newest = findKubectl('current');
const skip = labMissing() || ('missing' in newest ? newest.missing : false);

t.setTimeout(600_000);

t.test('kubectl on two boards', { skip, timeout: 600_000 }, async (t) => {
  if ('missing' in newest) return;
  const lab = await Lab.create({ boards: 2 });
  t.teardown(() => lab.close());
  await lab.startMaster();
  await Promise.all([lab.startAgent(1), lab.startAgent(2)]);
  const first = { lab, kubectl: new BoardKubectl(lab.board(1), newest) };
  await lab.until('two boards are Ready', async () => (await readyBoards(first)).length === 2);
  const all =
    (claims: readonly Claim[]) =>
    async (t: Test, place: Place): Promise<void> => {
      for (const [what, prove] of claims) await t.test(what, (t) => prove(t, place));
    };
  for (const [version, prove] of [
    ['current', all([...CLAIMS, ...BOARD_CLAIMS, ...WORKLOAD_CLAIMS, ...CONTROLLER_CLAIMS])],
    ['1.32', all([...CLAIMS, ...WORKLOAD_CLAIMS])],
    ['1.20', basics],
  ] as const) {
    const found = findKubectl(version);
    const missing = 'missing' in found ? found.missing : false;
    await t.test(`kubectl ${version}`, { skip: missing }, async (t) => {
      if ('missing' in found) return;
      t.comment(found.version);
      await prove(t, { lab, kubectl: new BoardKubectl(lab.board(1), found) });
    });
  }
});

type Claim = readonly [string, (t: Test, place: Place) => Promise<void>];

const CLAIMS: readonly Claim[] = [
  ['boards are shown, described and labelled', boards],
  ['an app is applied, looked at, scaled, rolled and deleted', app],
  ['logs are followed to the end', logs],
  ['top shows the real CPU and memory of boards and pods', numbers],
  ['a board is cordoned and drained', drain],
  ['a pod has init containers, settings, secrets, and containers that share localhost', wholePod],
  ['a pod is deleted within its grace period, a namespace with all it holds', deletion],
  ['a wrong manifest is refused with the name of the field', wrongManifests],
];

/** What boards do, whichever kubectl asks. */
const BOARD_CLAIMS: readonly Claim[] = [
  ['a container that exits is restarted with growing waits', crashLoop],
  ['an image that cannot be had is told with the words of the engine', unreachableImage],
  ['a node port that is taken is told with who has it', takenPorts],
];

async function boards(t: Test, { lab, kubectl }: Place): Promise<void> {
  const table = await kubectl.ok('get', 'nodes', '-o', 'wide');
  for (const { name, address } of lab.boards) {
    const row = `^${name} +Ready +\\S+ +\\S+ +v1\\.\\d+\\.\\d+\\+pier +${address} +<none> +\\S.* +podman://\\d`;
    t.match(table, new RegExp(row, 'm'));
  }
  const words = await kubectl.ok('describe', 'node', 'board2');
  t.match(words, /^ +Ready +True .*KubeletReady/m);
  t.match(words, new RegExp(`^ +InternalIP: +${lab.board(2).address}$`, 'm'));
  const { totalKb } = await memory();
  t.match(words, new RegExp(`^Capacity:\\n +cpu: +${availableParallelism()}\\n`, 'm'));
  t.match(words, new RegExp(`^ +memory: +${totalKb}Ki$`, 'm'), 'the memory of /proc/meminfo');
  await kubectl.ok('label', 'node', 'board2', 'shelf=top');
  t.equal(await kubectl.ok('get', 'nodes', '-l', 'shelf=top', '-o', 'name'), 'node/board2\n');
  await kubectl.ok('label', 'node', 'board2', 'shelf-');
  t.equal(await kubectl.ok('get', 'nodes', '-l', 'shelf=top', '-o', 'name'), '');
}

async function app(t: Test, { lab, kubectl }: Place): Promise<void> {
  t.match(await kubectl.ok('apply', '-f', HELLO), /deployment.apps\/hello created/);
  t.match(await rolledOut(kubectl, 'hello'), /successfully rolled out/);
  const table = await kubectl.ok('get', 'pods', '-o', 'wide');
  t.equal(table.match(/^hello-\S+ +1\/1 +Running +0 +\S+ +10\.42\.\d+\.\d+ +board/gm)?.length, 3);
  const [first] = await kubectl.list<Pod>('pods', '-l', 'app=hello');
  const words = await kubectl.ok('describe', 'pod', first?.metadata?.name ?? '');
  for (const reason of ['Scheduled', 'Pulled', 'Created', 'Started']) {
    t.match(words, new RegExp(`^ +Normal +${reason} `, 'm'), `the event ${reason}`);
  }
  for (const condition of ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready']) {
    t.match(words, new RegExp(`^ +${condition} +True`, 'm'), `the condition ${condition}`);
  }
  t.match(words, /Image ID: +\S+/, 'the id of the image');
  t.match(
    await kubectl.ok('logs', 'deployment/hello', '--tail=1'),
    /^serving on port 8080 as hello-/,
  );
  const all = await kubectl.ok('get', 'all');
  for (const kind of ['pod', 'service', 'deployment.apps', 'replicaset.apps']) {
    t.match(all, new RegExp(`^${kind}/hello`, 'm'));
  }

  await kubectl.ok('scale', 'deployment/hello', '--replicas=4');
  await rolledOut(kubectl, 'hello');
  t.equal((await kubectl.list<Pod>('pods', '-l', 'app=hello')).length, 4);

  await kubectl.ok('set', 'image', 'deployment/hello', 'web=localhost/no-such:1');
  await lab.until('the new image is missing', async () => {
    const pods = await kubectl.ok('get', 'pods');
    return /ErrImageNeverPull/.test(pods) || pods;
  });
  const available = await kubectl.ok(
    'get',
    'deployment/hello',
    '-o',
    'jsonpath={.status.availableReplicas}',
  );
  t.ok(Number(available) >= 3, 'a bad image takes at most a quarter away');
  await kubectl.ok('rollout', 'undo', 'deployment/hello');
  await rolledOut(kubectl, 'hello');
  t.notMatch(await kubectl.ok('get', 'pods', '-o', 'jsonpath={..image}'), /no-such/);
  t.match(await kubectl.ok('get', 'events'), /Normal +ScalingReplicaSet +deployment\/hello/);

  await kubectl.ok('delete', '-f', HELLO);
  await lab.until('the engines hold no container of it', () => isGone(lab, 'default/hello-'));
  t.match(await kubectl.ok('get', 'all'), /^service\/kubernetes .*\n$/m, 'nothing is left');
}

async function logs(t: Test, { lab, kubectl }: Place): Promise<void> {
  const script = 'for n in 1 2 3 4 5; do echo line $n; sleep 0.3; done';
  await kubectl.apply(
    demoPod('talker', { restartPolicy: 'Never', containers: [demoContainer('main', script)] }),
  );
  await kubectl
    .ok('wait', '--for=jsonpath={.status.phase}=Running', 'pod/talker', '--timeout=30s')
    .catch(
      // It may have ended already.
      () => undefined,
    );
  const lines = 'line 1\nline 2\nline 3\nline 4\nline 5\n';
  t.equal(await kubectl.ok('logs', '-f', 'talker'), lines, '-f ends when the container does');
  t.equal(await kubectl.ok('logs', 'talker', '--tail=2'), 'line 4\nline 5\n');
  t.match(await kubectl.ok('logs', 'talker', '--timestamps', '--tail=1'), /^\d{4}-\S+Z line 5\n$/);
  t.equal(await kubectl.ok('logs', 'talker', '--limit-bytes=1'), 'l');
  t.equal(await kubectl.ok('logs', 'talker', '--since=24h'), lines);
  await lab.until('the last line is older than a second', async () => {
    return (await kubectl.ok('logs', 'talker', '--since=1s')) === '';
  });
  t.match(await kubectl.refused(['logs', 'talker', '-c', 'other']), /container other is not valid/);
  await kubectl.ok('delete', 'pod', 'talker');
}

async function numbers(t: Test, { lab, kubectl }: Place): Promise<void> {
  // dd keeps its buffer of 24 MiB for as long as it runs.
  const main: Container = {
    ...demoContainer('main', 'exec dd if=/dev/zero of=/dev/null bs=24M'),
    resources: { limits: { cpu: '200m', memory: '64Mi' } },
  };
  await kubectl.apply(demoPod('hungry', { terminationGracePeriodSeconds: 0, containers: [main] }));
  await lab.until('the pod uses what it may', async () => {
    const table = await kubectl.ok('top', 'pods');
    const [, cpu = 0, mebibytes = 0] = /^hungry +(\d+)m +(\d+)Mi/m.exec(table) ?? [];
    const isReal = Number(cpu) >= 120 && Number(cpu) <= 260;
    return (isReal && Number(mebibytes) >= 24 && Number(mebibytes) <= 40) || table;
  });
  const { usedKb } = await memory();
  const table = await kubectl.ok('top', 'nodes');
  for (const { name } of lab.boards) {
    const row = new RegExp(`^${name} +(\\d+)m +\\d+% +(\\d+)Mi +\\d+%`, 'm').exec(table) ?? [];
    const cpu = Number(row[1]);
    t.ok(cpu >= 100 && cpu <= availableParallelism() * 1050, `CPU of ${name}: ${cpu}m`);
    const share = (Number(row[2]) * 1024) / usedKb;
    t.ok(share > 0.5 && share < 2, `memory of ${name}: ${row[2]} MiB, /proc says ${usedKb} KiB`);
  }
  await kubectl.ok('delete', 'pod', 'hungry');
}

async function drain(t: Test, { lab, kubectl }: Place): Promise<void> {
  await kubectl.apply(spreadDeployment('moving', 2));
  await rolledOut(kubectl, 'moving');
  t.same(await boardsOf(kubectl, 'moving'), ['board1', 'board2'], 'spread when asked');
  await kubectl.ok('cordon', 'board2');
  t.match(await kubectl.ok('get', 'nodes'), /^board2 +Ready,SchedulingDisabled/m);
  t.match(await kubectl.ok('drain', 'board2', '--timeout=60s'), /node\/board2 drained/);
  await rolledOut(kubectl, 'moving');
  t.same(await boardsOf(kubectl, 'moving'), ['board1', 'board1']);
  await lab.until('the engine of board2 is empty', async () => {
    const left = await engineContainers(lab.board(2));
    return left.length === 0 || left.join(' ');
  });
  await kubectl.ok('uncordon', 'board2');
  t.match(await kubectl.ok('get', 'nodes'), /^board2 +Ready /m);
  await kubectl.ok('delete', 'deployment', 'moving');
}

async function wholePod(t: Test, { lab, kubectl }: Place): Promise<void> {
  const scratch = { name: 'scratch', mountPath: '/scratch' };
  const prepare = demoContainer(
    'prepare',
    'echo "made by $(hostname)" > /scratch/note; echo ready',
  );
  const look =
    'until wget -q -O - http://127.0.0.1:8080/ 2>/dev/null; do sleep 0.2; done; cat /scratch/note; ' +
    'cat /etc/settings/greeting /etc/key/password; echo; ls -l /etc/key/..data/password; ' +
    'echo "$WORD $PASSWORD $POD $greeting"; sleep 1000';
  const container = demoContainer('look', look);
  container.volumeMounts = [
    scratch,
    { name: 'settings', mountPath: '/etc/settings' },
    { name: 'key', mountPath: '/etc/key', readOnly: true },
  ];
  container.envFrom = [{ configMapRef: { name: 'settings' } }];
  container.env = [
    { name: 'WORD', valueFrom: { configMapKeyRef: { name: 'settings', key: 'greeting' } } },
    { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'key', key: 'password' } } },
    { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
  ];
  const pod = demoPod('whole', {
    initContainers: [{ ...prepare, volumeMounts: [scratch] }],
    containers: [demoContainer('web'), container],
    volumes: [
      { name: 'scratch', emptyDir: {} },
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'key', secret: { secretName: 'key', defaultMode: 0o400 } },
    ],
  });
  await kubectl.apply(pod);
  await lab.until('it waits for its settings', async () =>
    /FailedMount .*"settings" not found/.test(await kubectl.ok('describe', 'pod', 'whole')),
  );
  t.match(await kubectl.ok('get', 'pod', 'whole'), /^whole +0\/2 +Init:0\/1 /m);
  await kubectl.ok('create', 'configmap', 'settings', '--from-literal=greeting=hello');
  await kubectl.ok('create', 'secret', 'generic', 'key', '--from-literal=password=s3cret');
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/whole', '--timeout=60s');
  t.equal(await kubectl.ok('logs', 'whole', '-c', 'prepare'), 'ready\n');
  await lab.until('it has looked at everything', async () => {
    const words = await kubectl.ok('logs', 'whole', '-c', 'look');
    return /\nhello s3cret whole hello\n/.test(words) || words;
  });
  const words = await kubectl.ok('logs', 'whole', '-c', 'look');
  t.match(words, /^Hello from whole\n/, 'both containers have one localhost');
  t.match(words, /\nmade by whole\n/, 'and share a volume with the init container');
  t.match(words, /\nhellos3cret\n/, 'settings and secret are files');
  t.match(words, /\n-r-------- /, 'with the mode of the volume');
  await lab.until('it is measured', async () =>
    /^whole +web +\d+m/m.test(await kubectl.ok('top', 'pod', 'whole', '--containers')),
  );
  await kubectl.ok('delete', 'pod/whole', 'configmap/settings', 'secret/key');
}

async function crashLoop(t: Test, { lab, kubectl }: Place): Promise<void> {
  const main = demoContainer('main', 'echo going down; exit 3');
  await kubectl.apply(demoPod('crash', { containers: [main] }));
  await lab.until('it waits to be restarted', async () => {
    const table = await kubectl.ok('get', 'pod', 'crash');
    return /^crash +0\/1 +CrashLoopBackOff +[1-9]/m.test(table) || table;
  });
  const words = await kubectl.ok('describe', 'pod', 'crash');
  t.match(words, /Reason: +CrashLoopBackOff\n +Last State: +Terminated\n.*\n +Exit Code: +3\n/);
  t.match(words, /Warning +BackOff .*Back-off restarting failed container main in pod crash/);
  t.equal(await kubectl.ok('logs', 'crash', '--previous'), 'going down\n');
  await kubectl.ok('delete', 'pod', 'crash');
}

async function deletion(t: Test, { lab, kubectl }: Place): Promise<void> {
  const deaf = demoContainer('main', `trap '' TERM; echo deaf; while :; do sleep 1; done`);
  const patient = { terminationGracePeriodSeconds: 600, containers: [deaf] };
  await kubectl.apply(demoPod('deaf', patient));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/deaf', '--timeout=30s');
  await lab.until('it is deaf', async () => (await kubectl.ok('logs', 'deaf')) === 'deaf\n');
  const startedAt = performance.now();
  await kubectl.ok('delete', 'pod', 'deaf', '--grace-period=1');
  t.ok(performance.now() - startedAt < 30_000, 'killed after the grace period');
  t.ok(await isGone(lab, 'default/deaf/'), 'deleted means that the engine has removed it');

  await kubectl.ok('create', 'namespace', 'work');
  const labelled = ['--from-literal=a=b'];
  await kubectl.ok('-n', 'work', 'create', 'configmap', 'settings', ...labelled);
  const deployment = spreadDeployment('crew', 2);
  await kubectl.apply({ ...deployment, metadata: { name: 'crew', namespace: 'work' } });
  await kubectl.ok('-n', 'work', 'rollout', 'status', 'deployment/crew', '--timeout=60s');
  await kubectl.ok('delete', 'namespace', 'work', '--timeout=60s');
  t.ok(await isGone(lab, 'work/'), 'its pods are gone from the engines');
  t.match(await kubectl.refused(['get', 'namespace', 'work']), /namespaces "work" not found/);
}

async function wrongManifests(t: Test, { kubectl }: Place): Promise<void> {
  const container = { name: 'main', image: 'x' };
  const refuse = (spec: object, name = 'wrong') =>
    kubectl.refused(['apply', '-f', '-'], JSON.stringify({ ...demoPod(name), spec }));
  t.match(
    await refuse({ containers: [{ ...container, imagee: 'y' }] }),
    /unknown field "spec.containers\[0\].imagee"/,
  );
  t.match(
    await refuse({ containers: [{ ...container, ports: [{ containerPort: 'eighty' }] }] }),
    /spec.containers.ports.containerPort of type int32/,
  );
  t.match(
    await refuse({ containers: [{ ...container, ports: [{ containerPort: 99_999 }] }] }),
    /spec.containers\[0\].ports\[0\].containerPort: Invalid value: 99999/,
  );
  t.match(await refuse({ containers: [] }), /spec.containers: Required value/);
  t.match(
    await refuse({ containers: [container] }, 'Wrong_Name'),
    /metadata.name: Invalid value: "Wrong_Name": a lowercase RFC 1123 subdomain/,
  );
  t.match(
    await kubectl.refused(['apply', '-f', '-'], '{"apiVersion":"apps/v1","kind":"Deploymentt"}'),
    /no matches for kind "Deploymentt" in version "apps\/v1"/,
  );
  const unhonoured = demoPod('warned', { setHostnameAsFQDN: true });
  t.match(
    await kubectl.apply(unhonoured),
    /Warning: spec.setHostnameAsFQDN: stored, but this version of Pier/,
  );
  await kubectl.ok('delete', 'pod', 'warned');
  t.match(
    await kubectl.refused(['get', 'pod', 'wrong']),
    /pods "wrong" not found/,
    'none is stored',
  );
}

async function unreachableImage(t: Test, { lab, kubectl }: Place): Promise<void> {
  const main = { name: 'main', image: '127.0.0.1:1/no/such:1' };
  await kubectl.apply(demoPod('unreachable', { containers: [main] }));
  await lab.until('it waits to be pulled again', async () => {
    const table = await kubectl.ok('get', 'pod', 'unreachable');
    return /ImagePullBackOff/.test(table) || table;
  });
  const words = await kubectl.ok('describe', 'pod', 'unreachable');
  t.match(words, /Failed to pull image "127.0.0.1:1\/no\/such:1": .*connection refused/);
  t.match(words, /Error: ErrImagePull/);
  t.match(words, /Back-off pulling image "127.0.0.1:1\/no\/such:1"/);
  await kubectl.ok('delete', 'pod', 'unreachable');
}

async function takenPorts(t: Test, { lab, kubectl }: Place): Promise<void> {
  const listen = `require('net').createServer().listen(30099, '0.0.0.0', () => console.log(process.pid))`;
  const holder = lab.board(2).spawn(process.execPath, ['-e', listen]);
  const pid = await new Promise<string>((resolve) =>
    holder.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString('utf8').trim())),
  );
  await kubectl.apply(demoPod('web'), nodePortService('web', 'web', 30099));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/web', '--timeout=30s');
  await lab.until('the service says who holds its port', async () => {
    const words = await kubectl.ok('describe', 'service', 'web');
    return new RegExp(`port 30099 .*held by node \\(pid ${pid}\\)`).test(words) || words;
  });
  await lab.until('the other board answers all the same', async () =>
    /^Hello from web/.test(
      await lab.board(1).exec('curl', ['-sS', `${lab.board(1).address}:30099`]),
    ),
  );
  await lab.board(2).exec('kill', [pid]);
  await lab.until('the port is taken over when it is free', async () =>
    /^Hello from web/.test(
      await lab.board(1).exec('curl', ['-sS', `${lab.board(2).address}:30099`]),
    ),
  );
  const second = JSON.stringify(nodePortService('second', 'web', 30099));
  t.match(
    await kubectl.refused(['apply', '-f', '-'], second),
    /spec.ports\[0\].nodePort: Invalid value: 30099: provided port is already allocated/,
  );
  await kubectl.ok('delete', 'pod/web', 'service/web');
}

async function basics(t: Test, { lab, kubectl }: Place): Promise<void> {
  t.match(await kubectl.ok('get', 'nodes', '-o', 'wide'), /^board2 +Ready .*podman:\/\//m);
  await kubectl.ok('apply', '-f', HELLO);
  t.match(await rolledOut(kubectl, 'hello'), /successfully rolled out/);
  const table = await kubectl.ok('get', 'pods', '-o', 'wide');
  t.equal(table.match(/^hello-\S+ +1\/1 +Running +0 +\S+ +10\.42\.\d+\.\d+ +board/gm)?.length, 3);
  const [first] = await kubectl.list<Pod>('pods', '-l', 'app=hello');
  const name = first?.metadata?.name ?? '';
  t.match(await kubectl.ok('describe', 'pod', name), /Normal +Started /);
  t.equal(await kubectl.ok('logs', name), `serving on port 8080 as ${name}\n`);
  await kubectl.ok('scale', 'deployment/hello', '--replicas=1');
  await rolledOut(kubectl, 'hello');
  t.match(await kubectl.ok('get', 'events'), /Normal +ScalingReplicaSet +deployment\/hello/);
  t.match(await kubectl.ok('get', 'all'), /^deployment.apps\/hello +1\/1 /m);
  t.match(await kubectl.ok('top', 'nodes'), /^board1 +\d+m +\d+% +\d+Mi +\d+%/m);
  await kubectl.ok('delete', 'deployment/hello', 'service/hello');
  await lab.until('the engines hold no container of it', () => isGone(lab, 'default/hello-'));
}

async function readyBoards({ kubectl }: Place): Promise<string[]> {
  const nodes = await kubectl.list<Node>('nodes');
  return nodes
    .filter(({ status }) =>
      status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
    )
    .map(({ metadata }) => metadata?.name ?? '');
}

function rolledOut(kubectl: BoardKubectl, name: string): Promise<string> {
  return kubectl.ok('rollout', 'status', `deployment/${name}`, '--timeout=60s');
}

async function boardsOf(kubectl: BoardKubectl, name: string): Promise<string[]> {
  const pods = await kubectl.list<Pod>('pods', '-l', `app=${name}`);
  return pods
    .filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
    .map(({ spec }) => spec?.nodeName ?? '')
    .sort();
}

/** True when no engine holds a container whose "namespace/pod/container" begins so; else what is left. */
async function isGone(lab: Lab, prefix: string): Promise<true | string> {
  const all = (await Promise.all(lab.boards.map(engineContainers))).flat();
  const left = all.filter((name) => name.startsWith(prefix));
  return left.length === 0 || left.join(' ');
}

async function memory(): Promise<{ totalKb: number; usedKb: number }> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const kb = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1]);
  return { totalKb: kb('MemTotal'), usedKb: kb('MemTotal') - kb('MemAvailable') };
}
