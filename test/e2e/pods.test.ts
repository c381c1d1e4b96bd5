/**
 * What happens to pods on a board, as people see it with kubectl: probes, hooks and how pods end. Real podman, one board. Needs
 * root.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type {
  Endpoints,
  Event,
  PersistentVolume,
  Pod,
  PodSpec,
  Service,
  StatefulSet,
} from '../../protocol/kinds/types.ts';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl } from '../support/board-kubectl.ts';
import { demoContainer, demoPod, nodePortService } from '../support/demo-manifests.ts';
import { findKubectl } from '../support/kubectl.ts';
import { labMissing } from '../support/needs.ts';
import { busyboxTar } from '../support/podman.ts';
import { FOREIGN, REFUSAL, REGISTRY, registryCommand } from '../support/registry.ts';

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
}

const newest = findKubectl('current');
const skip = labMissing() || ('missing' in newest ? newest.missing : false);

/** Podman alone does not take the loopback for safe enough to go without TLS. */
const REGISTRY_CONF = `[[registry]]\nlocation = "${REGISTRY}"\ninsecure = true\n`;

t.setTimeout(600_000);

t.test('pods on a board', { skip, timeout: 600_000 }, async (t) => {
  if ('missing' in newest) return;
  const lab = await Lab.create({ boards: 1 });
  t.teardown(() => lab.close());
  await lab.startMaster();
  const conf = '/etc/containers/registries.conf.d';
  await lab
    .board(1)
    .exec('sh', ['-c', `mkdir -p ${conf}; echo '${REGISTRY_CONF}' >${conf}/test.conf`]);
  await lab.startAgent(1);
  const place = { lab, kubectl: new BoardKubectl(lab.board(1), newest) };
  for (const [what, prove] of CLAIMS) await t.test(what, (t) => prove(t, place));
});

const CLAIMS: ReadonlyArray<readonly [string, (t: Test, place: Place) => Promise<void>]> = [
  ['probes: readiness leads to endpoints, liveness restarts, also without a master', probes],
  ['hooks run at the start and at the end of a container', hooks],
  ['a container says why it ended', ends],
  ['a pod with a readiness gate waits for it', gates],
  ['a host port of a pod answers on the board, and is told when it is taken', hostPorts],
  ['volumes hold what they may, in memory and on the card', volumes],
  ['a private image is pulled with the secret that the pod names, and only so', pulls],
  ['a pod talks to the API with a token of its account', talksToApi],
  ['data outlives pods, and goes with its claim', keepsData],
  ['each pod of a StatefulSet has data of its own', setKeepsData],
];

/** Slow machines: exec forks, and the OCI runtime alone may take most of a second. */
const PROBE = { periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 2 };

async function probes(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const main = {
    ...demoContainer('main'),
    ports: [{ name: 'web', containerPort: 8080 }],
    startupProbe: { ...PROBE, failureThreshold: 60, tcpSocket: { port: 'web' } },
    livenessProbe: { ...PROBE, exec: { command: ['sh', '-c', '! test -e /tmp/dead'] } },
    readinessProbe: { ...PROBE, httpGet: { path: '/good', port: 'web' } },
  };
  const eager: Service = {
    ...nodePortService('eager', 'probed', 30_091),
    spec: {
      type: 'NodePort',
      selector: { app: 'probed' },
      publishNotReadyAddresses: true,
      ports: [{ port: 80, targetPort: 'web', nodePort: 30_091 }],
    },
  };
  const said = await kubectl.apply(
    demoPod('probed', { containers: [main] }),
    nodePortService('probed', 'probed', 30_090),
    eager,
  );
  t.notMatch(said, /Warning/, 'nothing of it is unsupported');
  await untilPod(place, 'probed', 'started, not ready', (pod) => {
    const [status] = pod.status?.containerStatuses ?? [];
    return status?.started === true && !status.ready;
  });
  t.same(await addresses(kubectl), { ready: 0, notReady: 1 });
  const { address } = lab.board(1);
  await lab.until('a service that asks for pods that are not ready leads to it', async () => {
    const page = await curl(lab, `http://${address}:30091/`);
    return page.startsWith('Hello from') || page;
  });
  t.match(
    await curl(lab, `http://${address}:30090/`),
    /connect to server|refused/,
    'no other does',
  );
  await shell(lab, 'probed', 'echo yes >/www/good');
  await untilPod(place, 'probed', 'ready', isReady);
  await lab.until('it has endpoints', async () => (await addresses(kubectl)).ready === 1);
  await shell(lab, 'probed', 'rm /www/good');
  await untilPod(place, 'probed', 'not ready', (pod) => !isReady(pod));
  await lab.until('it has none', async () => (await addresses(kubectl)).ready === 0);
  t.match(await messages(kubectl, 'probed'), /Readiness probe failed: HTTP .* statuscode: 404/);

  await shell(lab, 'probed', 'echo yes >/www/good');
  await untilPod(place, 'probed', 'ready', isReady);
  const before = await kubectl.get<Pod>('pod', 'probed');
  await lab.end(1, 'agent', 'SIGKILL');
  await lab.startAgent(1);
  await lab.until('the agent is back', async () =>
    /True/.test(await kubectl.ok('get', 'node', 'board1', '-o', `jsonpath=${READY}`)),
  );
  const after = await kubectl.get<Pod>('pod', 'probed');
  t.same(readySince(after), readySince(before), 'a restarted agent takes it not out of service');

  await lab.end(1, 'master', 'SIGKILL');
  await shell(lab, 'probed', 'touch /tmp/dead');
  await lab.until('the container is another one, without a master', async () => {
    const dead = await shell(lab, 'probed', 'test -e /tmp/dead && echo dead || echo alive');
    return dead.trim() === 'alive' || dead;
  });
  await lab.startMaster();
  await untilPod(place, 'probed', 'restarted', (pod) => restarts(pod) === 1);
  await shell(lab, 'probed', 'echo yes >/www/good');
  await untilPod(place, 'probed', 'ready', isReady);
  t.equal(restarts(await kubectl.get<Pod>('pod', 'probed')), 1, 'once');
  await kubectl.ok('delete', 'pod/probed', 'service/eager');
}

async function ends(t: Test, { lab, kubectl }: Place): Promise<void> {
  const script = (text: string, policy: string) => ({
    ...demoContainer('main', text),
    terminationMessagePolicy: policy,
  });
  const pod = (name: string, text: string, policy = 'File') =>
    demoPod(name, { restartPolicy: 'Never', containers: [script(text, policy)] });
  await kubectl.apply(
    pod('told', 'echo for a reason >/dev/termination-log; exit 4'),
    pod('logged', 'echo last words; exit 5', 'FallbackToLogsOnError'),
  );
  const message = async (name: string) => {
    await untilPod({ lab, kubectl }, name, 'Failed', ({ status }) => status?.phase === 'Failed');
    const { status } = await kubectl.get<Pod>('pod', name);
    return status?.containerStatuses?.[0]?.state?.terminated?.message;
  };
  t.equal(await message('told'), 'for a reason\n');
  t.equal(await message('logged'), 'last words\n');
  await kubectl.ok('delete', 'pod', 'told', 'logged', '--now');
}

async function gates(t: Test, { lab, kubectl }: Place): Promise<void> {
  await kubectl.apply(demoPod('gated', { readinessGates: [{ conditionType: 'shop/open' }] }));
  await untilPod({ lab, kubectl }, 'gated', 'held back', (pod) => {
    const containers = pod.status?.conditions?.find(({ type }) => type === 'ContainersReady');
    return containers?.status === 'True' && readyOf(pod)?.reason === 'ReadinessGatesNotReady';
  });
  const open = { status: { conditions: [{ type: 'shop/open', status: 'True' }] } };
  const patch = ['--subresource=status', '--type=strategic', '-p', JSON.stringify(open)];
  await kubectl.ok('patch', 'pod', 'gated', ...patch);
  await untilPod({ lab, kubectl }, 'gated', 'Ready', isReady);
  t.match(await kubectl.ok('get', 'pod', 'gated', '-o', 'wide'), /1\/1\s*$/, 'shown by kubectl');
  await kubectl.ok('delete', 'pod', 'gated', '--now');
}

async function hooks(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const notes = {
    name: 'notes',
    hostPath: { path: '/var/lib/pier/notes', type: 'DirectoryOrCreate' },
  };
  const note = (word: string) => ({ exec: { command: ['sh', '-c', `echo ${word} >>/notes/all`] } });
  const main = {
    ...demoContainer('main'),
    volumeMounts: [{ name: 'notes', mountPath: '/notes' }],
    lifecycle: { postStart: note('hello'), preStop: note('bye') },
  };
  // Fails as the container's user and as no other.
  const bad = {
    ...demoContainer('main'),
    securityContext: { runAsUser: 3 },
    lifecycle: { postStart: { exec: { command: ['sh', '-c', 'exit $(id -u)'] } } },
  };
  await kubectl.apply(
    demoPod('hooked', { containers: [main], volumes: [notes], terminationGracePeriodSeconds: 20 }),
    demoPod('badly-hooked', { containers: [bad] }),
  );
  await untilPod(place, 'hooked', 'ready', isReady);
  // Why, should it have been ended in between.
  t.comment(await messages(kubectl, 'hooked'));
  t.equal(await lab.board(1).exec('cat', ['/var/lib/pier/notes/all']), 'hello\n');
  await kubectl.ok('delete', 'pod', 'hooked');
  t.equal(await lab.board(1).exec('cat', ['/var/lib/pier/notes/all']), 'hello\nbye\n');
  await untilPod(place, 'badly-hooked', 'restarted', (pod) => restarts(pod) > 0);
  t.match(await messages(kubectl, 'badly-hooked'), /PostStartHook failed: .*exited with 3/);
  await kubectl.ok('delete', 'pod', 'badly-hooked', '--now');
}

async function hostPorts(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const board = lab.board(1);
  const open = (name: string, hostPort: number) => {
    const ports = [{ containerPort: 8080, hostPort }];
    return demoPod(name, { containers: [{ ...demoContainer('main'), ports }] });
  };
  const said = await kubectl.apply(open('open', 18_080), open('second', 18_080));
  t.notMatch(said, /Warning/, 'nothing of it is unsupported');
  await lab.until('one of them answers', async () => {
    const page = await curl(lab, `http://${board.address}:18080/`);
    return page.startsWith('Hello from') || page;
  });
  t.match(await curl(lab, 'http://127.0.0.1:18080/'), /^Hello from/);
  const words = "didn't have free ports for the requested pod ports";
  await lab.until('the other one waits', async () => {
    const all = (await messages(kubectl, 'second')) + (await messages(kubectl, 'open'));
    return all.includes(words) || all;
  });
  await kubectl.ok('delete', 'pod', 'open', 'second', '--now');
  await lab.until('nobody listens', async () =>
    /connect to server|refused/.test(await curl(lab, 'http://127.0.0.1:18080/')),
  );

  // Until the board goes.
  board.spawn(process.execPath, ['-e', 'require("node:net").createServer().listen(18081)']);
  await lab.until(
    'the port is held',
    async () => (await board.exec('ss', ['-Hltn', 'sport = :18081'])) !== '',
  );
  await kubectl.apply(open('shut', 18_081));
  await lab.until('the holder is named', async () => {
    const all = await messages(kubectl, 'shut');
    return /PortConflict: board1: port 18081 .* held by .*\(pid \d+\)/.test(all) || all;
  });
  await kubectl.ok('delete', 'pod', 'shut', '--now');
}

async function volumes(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const volume = (name: string, emptyDir: object) => ({ name, emptyDir });
  const main = (text: string) => ({
    ...demoContainer('main', text),
    volumeMounts: [{ name: 'cache', mountPath: '/cache' }],
  });
  const fill = 'dd if=/dev/zero of=/cache/file bs=1M count=4';
  const inMemory = demoPod('in-memory', {
    restartPolicy: 'Never',
    containers: [main(`${fill} 2>/dev/termination-log; exit 3`)],
    volumes: [volume('cache', { medium: 'Memory', sizeLimit: '1Mi' })],
  });
  const onCard = demoPod('on-card', {
    containers: [main(`${fill}; exec sleep 1000`)],
    volumes: [volume('cache', { sizeLimit: '1Mi' })],
  });
  const said = await kubectl.apply(inMemory, onCard);
  t.notMatch(said, /Warning/, 'nothing of it is unsupported');
  await untilPod(place, 'in-memory', 'Failed', ({ status }) => status?.phase === 'Failed');
  const { status } = await kubectl.get<Pod>('pod', 'in-memory');
  const told = status?.containerStatuses?.[0]?.state?.terminated?.message;
  t.match(told, /No space left on device/);
  await untilPod(place, 'on-card', 'evicted', ({ status }) => status?.phase === 'Failed');
  const evicted = await kubectl.get<Pod>('pod', 'on-card');
  t.match(evicted.status, {
    reason: 'Evicted',
    message: 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi".',
  });
  const mounts = () => lab.board(1).exec('cat', ['/proc/mounts']);
  t.match(await mounts(), /volumes\/cache/);
  await kubectl.ok('delete', 'pod', 'in-memory', 'on-card', '--now');
  await lab.until('nothing is left of it', async () => {
    const left = await mounts();
    return !/volumes\/cache/.test(left) || left;
  });
}

async function pulls(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const login = { username: 'someone', password: 'open-sesame' };
  const file = join(lab.dir, 'registry.tar');
  await writeFile(file, await busyboxTar());
  const [program = '', ...words] = registryCommand(file, login);
  lab.board(1).spawn(program, words);
  await lab.until('the registry listens', async () => {
    const page = await curl(lab, `http://${REGISTRY}/v2/`);
    return page.includes(REFUSAL) || page;
  });
  const pod = (name: string, tag: string, more: Partial<PodSpec> = {}) => {
    const image = `${REGISTRY}/private/tool:${tag}`;
    const main = { name: 'main', image, command: ['/bin/sleep', '1000'] };
    return demoPod(name, { containers: [main], ...more });
  };
  await kubectl.ok(
    ...['create', 'secret', 'docker-registry', 'private', `--docker-server=${REGISTRY}`],
    ...[`--docker-username=${login.username}`, `--docker-password=${login.password}`],
  );
  const said = await kubectl.apply(
    pod('pulls', '1', { imagePullSecrets: [{ name: 'private' }] }),
    pod('nameless', '2'),
  );
  t.notMatch(said, /Warning/, 'nothing of it is unsupported');
  await untilPod(place, 'pulls', 'ready', isReady);
  await untilPod(place, 'nameless', 'waiting', ({ status }) => {
    const waiting = status?.containerStatuses?.[0]?.state?.waiting;
    return (
      waiting?.reason === 'ImagePullBackOff' &&
      /unauthorized|authentication/.test(waiting.message ?? '')
    );
  });
  const log = (await lab.log(1, 'agent')) + (await messages(kubectl, 'pulls'));
  t.match(log, /private\/tool:1/);
  t.notMatch(log, login.password);
  t.notMatch(log, Buffer.from(`${login.username}:${login.password}`).toString('base64'));
  await kubectl.ok('delete', 'pod', 'pulls', 'nameless', '--now');
  const foreign = (name: string): object => {
    const image = `${REGISTRY}/foreign/tool:1`;
    const main = { name: 'main', image, command: ['/bin/sleep', '1000'] };
    return demoPod(name, { containers: [main], imagePullSecrets: [{ name: 'private' }] });
  };
  await kubectl.apply(foreign('first'));
  await untilPod(place, 'first', 'refused', ({ status }) => {
    const waiting = status?.containerStatuses?.[0]?.state?.waiting;
    return (
      /^(ErrImagePull|ImagePullBackOff)$/.test(waiting?.reason ?? '') &&
      new RegExp(`is built for ${FOREIGN}, and this board is`).test(waiting?.message ?? '')
    );
  });
  // The board tells with its next heartbeat.
  await lab.until('a new pod of that image is not sent there', async () => {
    await kubectl.apply(foreign('next'));
    const { spec, status } = await kubectl.get<Pod>('pod', 'next');
    const said = status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message ?? '';
    if (/had architecture .* is not built for/.test(said)) return true;
    if (spec?.nodeName !== undefined) await kubectl.ok('delete', 'pod', 'next', '--now');
    return said === '' ? 'it is not judged yet' : said;
  });
  await kubectl.ok('delete', 'pod', 'first', 'next', '--now');
}

/** The page, or curl's words when there is none. */
async function curl(lab: Lab, url: string): Promise<string> {
  return lab
    .board(1)
    .exec('curl', ['-sS', '--max-time', '10', url])
    .catch((error: unknown) => String(error));
}

const WISH = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '16Mi' } } };
/** Writes its line into the volume, is ready when that is done, and stays. */
const writer = (line: string) => ({
  ...demoContainer('main', `${line} >>/data/lines; touch /tmp/written; exec sleep 3600`),
  readinessProbe: { ...PROBE, exec: { command: ['test', '-e', '/tmp/written'] } },
  volumeMounts: [{ name: 'data', mountPath: '/data' }],
});

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
/** As a client library does it: the address of the environment, the authority and the token of the volume. */
const ASK = `
  const { host, ca, token, path } = JSON.parse(process.argv[1]);
  const headers = { authorization: 'Bearer ' + token };
  const to = { host, port: 443, path, ca, headers, servername: 'kubernetes.default.svc' };
  require('node:https').get(to, (answer) => {
    let text = '';
    answer.on('data', (part) => (text += part));
    answer.on('end', () => console.log(answer.statusCode + ' ' + text));
  });
`;

async function talksToApi(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const said = await kubectl.apply(
    demoPod('client'),
    demoPod('shut', { automountServiceAccountToken: false }),
  );
  t.notMatch(said, /Warning/, 'nothing of it is unsupported');
  await untilPod(place, 'client', 'ready', isReady);
  await untilPod(place, 'shut', 'ready', isReady);
  const read = (file: string) => shell(lab, 'client', `cat ${ACCOUNT}/${file}`);
  t.equal(await read('namespace'), 'default');
  const isThere = await shell(lab, 'shut', `test -e ${ACCOUNT} && echo yes || echo no`);
  t.equal(isThere, 'no\n', 'a pod may do without');
  const [ca, token] = [await read('ca.crt'), await read('token')];
  const host = (await shell(lab, 'client', 'echo $KUBERNETES_SERVICE_HOST')).trim();
  const found = await shell(lab, 'client', 'nslookup kubernetes.default.svc.cluster.local');
  t.match(found, new RegExp(`Address: *${host}`), 'the name is known, too');
  const board = lab.board(1);
  const inPod = ['--filter', 'label=pier.local/pod-name=client', '--format', '{{.Pid}}'];
  const ask = async () => {
    const [pid = ''] = (await board.exec('podman', ['ps', ...inPod])).split('\n');
    const wish = JSON.stringify({ host, ca, token, path: '/api/v1/namespaces/default/pods' });
    return board.exec('nsenter', ['-t', pid, '-n', process.execPath, '-e', ASK, wish]);
  };
  const user = 'system:serviceaccount:default:default';
  t.match(await ask(), new RegExp(`^403 .*User \\\\"${user}\\\\" cannot list resource`));
  await kubectl.ok('create', 'role', 'looker', '--verb=list', '--resource=pods');
  await kubectl.ok(
    ...['create', 'rolebinding', 'looker', '--role=looker', '--serviceaccount=default:default'],
  );
  t.match(await ask(), /^200 .*"name":"client"/, 'with a role it may');

  const isClear = ['-rlF', token, '/var/lib/pier'];
  t.equal(await board.exec('grep', isClear).catch(() => ''), '', 'it is not on the card in clear');
  await lab.end(1, 'master', 'SIGKILL');
  await lab.end(1, 'agent', 'SIGKILL');
  await lab.startAgent(1);
  // The shell may be gone before it is heard.
  await shell(lab, 'client', 'touch /tmp/old; kill 1').catch(() => '');
  await lab.until('the pod is up again without a master', async () => {
    const script = `test -e /tmp/old && echo old || cat ${ACCOUNT}/token`;
    const now = await shell(lab, 'client', script).catch(String);
    return now === token || now;
  });
  await lab.startMaster();
  await lab.until('a new master gives it a new token', async () => (await read('token')) !== token);
  t.match(await ask(), /^200/, 'and the old one holds as well');
  await kubectl.ok('delete', 'pod', 'client', 'shut');
  await kubectl.apply(demoPod('client'));
  await untilPod(place, 'client', 'ready', isReady);
  const old = ['get', 'pods', '--token', token, '--kubeconfig', '/dev/null'];
  const server = ['--server', lab.masterUrl, '--insecure-skip-tls-verify'];
  const refused = await kubectl.run([...old, ...server]);
  t.match(`${refused.stdout}${refused.stderr}`, /Unauthorized/, 'a token ends with its pod');
  await kubectl.ok('delete', 'pod', 'client');
}

async function keepsData(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const claim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'diary' },
    spec: WISH,
  };
  const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'diary' } }];
  const said = await kubectl.apply(claim);
  t.notMatch(said, /Warning/, 'nothing of it is unsupported');
  await lab.until('it waits for a pod, and says so', async () => {
    const words = await kubectl.ok('describe', 'pvc', 'diary');
    return /WaitForFirstConsumer .*waiting for first consumer/.test(words) || words;
  });
  await kubectl.apply(demoPod('first', { containers: [writer('echo one')], volumes }));
  await untilPod(place, 'first', 'ready', isReady);
  t.match(
    await kubectl.ok('get', 'pvc', 'diary'),
    /^diary +Bound +pvc-\S+ +16Mi +RWO +local-path/m,
  );
  await kubectl.ok('delete', 'pod', 'first');
  await kubectl.apply(demoPod('second', { containers: [writer('echo two')], volumes }));
  await untilPod(place, 'second', 'ready', isReady);
  t.equal(await shell(lab, 'second', 'sort -u /data/lines'), 'one\ntwo\n', 'the new one reads it');
  t.match(await kubectl.ok('describe', 'pvc', 'diary'), /^Used By: +second$/m);

  const [volume] = await kubectl.list<PersistentVolume>('pv');
  const directory = volume?.spec?.local?.path ?? '';
  t.equal(await lab.board(1).exec('sort', ['-u', `${directory}/lines`]), 'one\ntwo\n', directory);
  await kubectl.ok('delete', 'pvc', 'diary', '--wait=false');
  t.match(await kubectl.ok('get', 'pvc', 'diary'), /Terminating/, 'it stays while a pod uses it');
  t.equal(await shell(lab, 'second', 'sort -u /data/lines'), 'one\ntwo\n');
  await kubectl.ok('delete', 'pod', 'second');
  await lab.until('claim and volume are gone', async () => {
    const left = await kubectl.ok('get', 'pv,pvc', '-o', 'name');
    return left === '' || left;
  });
  const all = await lab.board(1).exec('ls', ['-A', directory.slice(0, directory.lastIndexOf('/'))]);
  t.equal(all, '', 'and so is the directory');
}

async function setKeepsData(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const labels = { app: 'db' };
  const set: StatefulSet = {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'db' },
    spec: {
      replicas: 2,
      serviceName: 'db',
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [writer('hostname')] },
      },
      volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: WISH }],
    },
  };
  const governing: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'db' },
    spec: { clusterIP: 'None', selector: labels, ports: [{ port: 8080 }] },
  };
  const said = await kubectl.apply(governing, set);
  t.notMatch(said, /Warning/, 'nothing of it is unsupported');
  // A container that was started once more writes once more.
  const lines = async (pod: string) => {
    const written = (await shell(lab, pod, 'cat /data/lines')).trim().split('\n');
    return { words: [...new Set(written)], count: written.length };
  };
  const uids = async () =>
    (await kubectl.list<Pod>('pods', '-l', 'app=db')).map(({ metadata }) => metadata?.uid ?? '');
  const untilTwo = (what: string, before: readonly string[]) =>
    lab.until(what, async () => {
      const pods = await kubectl.list<Pod>('pods', '-l', 'app=db');
      const fresh = pods.filter(({ metadata }) => !before.includes(metadata?.uid ?? ''));
      return fresh.filter(isReady).length === 2 || JSON.stringify(pods.map(({ status }) => status));
    });
  await untilTwo('both are ready', []);
  const [first0, first1] = [await lines('db-0'), await lines('db-1')];
  t.same([first0.words, first1.words], [['db-0'], ['db-1']]);
  const before = await uids();
  await kubectl.ok('delete', 'pod', '-l', 'app=db');
  await untilTwo('both are ready again', before);
  await lab.until('one finds the other by its name', async () => {
    const { status } = await kubectl.get<Pod>('pod', 'db-1');
    const name = 'db-1.db.default.svc.cluster.local';
    const answer = await shell(lab, 'db-0', `nslookup -type=a ${name}`);
    const found = new RegExp(`Name:\\s+${name}\\s+Address:\\s+${status?.podIP}\\s`);
    return found.test(answer) || answer;
  });
  const [again0, again1] = [await lines('db-0'), await lines('db-1')];
  t.same([again0.words, again1.words], [['db-0'], ['db-1']], 'its own lines');
  t.ok(again0.count > first0.count, 'added to those of the pod before');
  t.ok(again1.count > first1.count);
  await kubectl.ok('delete', 'statefulset/db', 'service/db');
  t.match(
    await kubectl.ok('get', 'pvc', '-o', 'name'),
    /^persistentvolumeclaim\/data-db-0\npersistentvolumeclaim\/data-db-1\n$/,
    'the data stays',
  );
  await kubectl.ok('delete', 'pvc', 'data-db-0', 'data-db-1');
}

const READY = '{.status.conditions[?(@.type=="Ready")].status}';

async function untilPod(
  { lab, kubectl }: Place,
  name: string,
  what: string,
  check: (pod: Pod) => boolean,
): Promise<void> {
  await lab.until(`${name} is ${what}`, async () => {
    const pod = await kubectl.get<Pod>('pod', name);
    return check(pod) || JSON.stringify(pod.status);
  });
}

function isReady(pod: Pod): boolean {
  return readyOf(pod)?.status === 'True';
}

function readyOf({ status }: Pod) {
  return status?.conditions?.find(({ type }) => type === 'Ready');
}

function readySince(pod: Pod): string | undefined {
  return isReady(pod) ? readyOf(pod)?.lastTransitionTime : 'not ready';
}

function restarts(pod: Pod): number {
  return pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
}

async function addresses(kubectl: BoardKubectl): Promise<{ ready: number; notReady: number }> {
  const { subsets = [] } = await kubectl.get<Endpoints>('endpoints', 'probed');
  const count = (list: readonly unknown[] = []) => list.length;
  const [subset] = subsets;
  return { ready: count(subset?.addresses), notReady: count(subset?.notReadyAddresses) };
}

async function messages(kubectl: BoardKubectl, name: string): Promise<string> {
  const events = await kubectl.list<Event>(
    'events',
    '--field-selector',
    `involvedObject.name=${name}`,
  );
  return events.map(({ reason, message }) => `${reason}: ${message}`).join('\n');
}

/** Runs a script in the first running container of a pod, past Pier. */
async function shell(lab: Lab, pod: string, script: string): Promise<string> {
  const board = lab.board(1);
  const filters = ['--filter', `label=pier.local/pod-name=${pod}`];
  const only = ['--filter', 'label=pier.local/container-name'];
  const ids = await board.exec('podman', ['ps', '-q', ...filters, ...only]);
  const [id = ''] = ids.split('\n');
  return board.exec('podman', ['exec', id, 'sh', '-c', script]);
}
