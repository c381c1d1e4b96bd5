/**
 * Three boards that lose their agent, their power, their master, while an app of six pods serves on all of them; and who is
 * let in at all; at last one is freed by the rebalancer. Real podman, real network, one story in order. Needs root.
 */
import { rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { Node, Pod, Service } from '../../protocol/kinds/types.ts';
import { nodeTopics } from '../../protocol/topics.ts';
import type { Board } from '../lab/board.ts';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl } from '../support/board-kubectl.ts';
import { nodePortService, spreadDeployment } from '../support/demo-manifests.ts';
import { findKubectl, runCommand } from '../support/kubectl.ts';
import { labMissing } from '../support/needs.ts';
import { rebalanced } from './fleet-rebalance.ts';
import { updated } from './fleet-rolling.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const MASTER = '/var/lib/pier/master';
const NODE_PORT = 30_080;
const REPLICAS = 6;
const TWO_EACH = ['board1', 'board1', 'board2', 'board2', 'board3', 'board3'];

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
}

const kubectl = findKubectl('current');
const skip = labMissing() || ('missing' in kubectl ? kubectl.missing : false);

t.setTimeout(600_000);

t.test('three boards and what befalls them', { skip, timeout: 600_000 }, async (t) => {
  if ('missing' in kubectl) return;
  const lab = await Lab.create({ boards: 3 });
  t.teardown(() => lab.close());
  const place = { lab, kubectl: new BoardKubectl(lab.board(1), kubectl) };
  await lab.startMaster();
  for (const index of [1, 2, 3]) await lab.startAgent(index);
  for (const index of [1, 2, 3]) await untilReady(place, index, true);
  await place.kubectl.apply(
    spreadDeployment('web', REPLICAS),
    nodePortService('web', 'web', NODE_PORT),
  );
  for (const [what, prove] of STORY) await t.test(what, (t) => prove(t, place));
});

const STORY: ReadonlyArray<readonly [string, (t: Test, place: Place) => Promise<void>]> = [
  ['pods spread when asked, and every board serves all of them', serves],
  ['pods are replaced under load, and no request is lost', updated],
  ['nobody anonymous gets in, and a board only to what is its own', intruders],
  ['an agent is killed: its pods come back elsewhere, and go when it returns', agentKilled],
  [
    'a plug is pulled: its pods come back elsewhere, the board is Ready when it is back',
    plugPulled,
  ],
  ['the master is killed: nothing stops, nothing restarts, all is served', masterKilled],
  ['a board reboots without a master: its pods run and serve from its own card', rebootAlone],
  ['a master with an empty store stops nothing', emptyMaster],
  ['a board is freed when the master is told to, as a budget allows', rebalanced],
];

async function serves(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  await untilAvailable(place);
  const pods = await webPods(kubectl);
  t.same(boardsOf(pods), TWO_EACH, 'two on each board');
  const names = pods.map(nameOf).sort();
  for (const board of lab.boards) {
    t.same(await answering(lab.board(1), nodePort(board)), names, `the node port of ${board.name}`);
  }
  const { spec } = await kubectl.get<Service>('service', 'web');
  const clusterUrl = `http://${spec?.clusterIP}/`;
  for (const board of lab.boards) {
    t.same(await answering(board, clusterUrl), names, `the cluster IP on ${board.name}`);
  }
  const [inside = ''] = (await containers(lab.board(2))).map(({ id }) => id);
  const page = await lab.board(2).exec('podman', ['exec', inside, 'wget', '-qO-', clusterUrl]);
  t.match(page, /^Hello from web-/, 'the cluster IP in a pod');
  await namesResolve(t, lab, spec?.clusterIP ?? '');
  const other = pods.find(({ spec }) => spec?.nodeName === 'board3');
  const podUrl = `http://${other?.status?.podIP}:8080/`;
  const direct = await lab.board(2).exec('podman', ['exec', inside, 'wget', '-qO-', podUrl]);
  t.equal(direct, `Hello from ${nameOf(other)}\n`, 'a pod reaches a pod of another board');
}

async function agentKilled(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const before = await containers(lab.board(2));
  const others = [...(await containers(lab.board(1))), ...(await containers(lab.board(3)))];
  await lab.end(2, 'agent', 'SIGKILL');
  await lab.startAgent(2);
  await untilReady(place, 2, true);
  await untilAvailable(place);
  t.same(await containers(lab.board(2)), before, 'one that returns at once has lost nothing');
  const killedAt = performance.now();
  await lab.end(2, 'agent', 'SIGKILL');
  await untilReady(place, 2, false);
  t.comment(`NotReady after ${secondsSince(killedAt)} s`);
  await lab.until('the node port leaves its pods out', async () => {
    const names = await answering(lab.board(1), nodePort(lab.board(1)));
    return !before.some(({ pod }) => names.includes(pod)) || names.join(' ');
  });
  t.same(await containers(lab.board(2)), before, 'its pods run on meanwhile');
  await lab.until('its pods are ready elsewhere', async () => {
    const left = await webPods(kubectl);
    return (
      left.filter((pod) => isReady(pod) && pod.spec?.nodeName !== 'board2').length === REPLICAS
    );
  });
  t.comment(`pods ready elsewhere after ${secondsSince(killedAt)} s`);
  t.match(await kubectl.ok('get', 'pods'), new RegExp(`^${before[0]?.pod} .*Terminating`, 'm'));
  await lab.startAgent(2);
  await untilReady(place, 2, true);
  await lab.until('the old pods are gone from board2', async () => {
    const left = await containers(lab.board(2));
    return left.length === 0 || JSON.stringify(left);
  });
  await lab.until('and from the API', async () => (await webPods(kubectl)).length === REPLICAS);
  const still = [...(await containers(lab.board(1))), ...(await containers(lab.board(3)))];
  for (const one of others) {
    t.same(
      still.find(({ id }) => id === one.id),
      one,
      `${one.pod} did not restart`,
    );
  }
}

async function plugPulled(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const before = await containers(lab.board(3));
  const pulledAt = performance.now();
  // Without the cable not even the kernel says goodbye: a board without power is silent.
  await lab.cable(3, false);
  await lab.powerOff(3);
  await untilReady(place, 3, false);
  t.comment(`NotReady after ${secondsSince(pulledAt)} s`);
  await lab.until('its pods are ready elsewhere', async () => {
    const left = await webPods(kubectl);
    return (
      left.filter((pod) => isReady(pod) && pod.spec?.nodeName !== 'board3').length === REPLICAS
    );
  });
  t.comment(`pods ready elsewhere after ${secondsSince(pulledAt)} s`);
  await lab.cable(3, true);
  await lab.board(3).powerOn();
  await lab.startAgent(3);
  await untilReady(place, 3, true);
  await lab.until('the pods that moved away are gone from its card', async () => {
    const left = await containers(lab.board(3));
    return !left.some(({ pod }) => before.some((one) => one.pod === pod)) || JSON.stringify(left);
  });
  await lab.until('nothing keeps pods off board3', async () => {
    const { spec } = await kubectl.get<Node>('node', 'board3');
    return (spec?.taints ?? []).length === 0 || JSON.stringify(spec?.taints);
  });
  // Two on each board again, for what follows. A rolling update would count the old pods, too.
  await kubectl.ok('scale', 'deployment/web', '--replicas=0');
  await lab.until('the old pods are gone', async () => (await webPods(kubectl)).length === 0);
  await kubectl.ok('scale', 'deployment/web', `--replicas=${REPLICAS}`);
  await untilAvailable(place);
  t.same(boardsOf(await webPods(kubectl)), TWO_EACH);
  t.equal((await answering(lab.board(1), nodePort(lab.board(3)))).length, REPLICAS);
}

async function masterKilled(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const before = await allContainers(lab);
  const clusterIp = (await kubectl.get<Service>('service', 'web')).spec?.clusterIP ?? '';
  const restarts = (await webPods(kubectl)).map(restartsOf);
  const client = new AbortController();
  const watching = missedAnswers(lab, client.signal);
  await lab.end(1, 'master', 'SIGKILL');
  for (const board of lab.boards) {
    t.equal((await answering(lab.board(1), nodePort(board))).length, REPLICAS, 'without a master');
  }
  await namesResolve(t, lab, clusterIp);
  await lab.startMaster();
  for (const index of [1, 2, 3]) await untilReady(place, index, true);
  await kubectl.ok('annotate', 'pods', '-l', 'app=web', 'seen=yes');
  t.same((await webPods(kubectl)).map(restartsOf), restarts, 'no restart is counted');
  client.abort();
  t.same(await watching, [], 'every request was answered');
  t.same(await allContainers(lab), before, 'same containers, same processes');
}

async function rebootAlone(t: Test, place: Place): Promise<void> {
  const { lab, kubectl } = place;
  const pods = (await webPods(kubectl)).filter(({ spec }) => spec?.nodeName === 'board2');
  t.ok(pods.length > 0, 'board2 has pods');
  const others = [...(await containers(lab.board(1))), ...(await containers(lab.board(3)))];
  const clusterIp = (await kubectl.get<Service>('service', 'web')).spec?.clusterIP ?? '';
  await lab.end(1, 'master', 'SIGKILL');
  await lab.powerOff(2);
  await lab.board(2).powerOn();
  const startedAt = performance.now();
  await lab.startAgent(2);
  for (const pod of pods) {
    const url = `http://${pod.status?.podIP}:8080/`;
    await lab.until(`${nameOf(pod)} answers on its old address`, async () => {
      const page = await curl(lab.board(2), url);
      return page === `Hello from ${nameOf(pod)}\n` || page;
    });
  }
  t.comment(`pods answer ${secondsSince(startedAt)} s after the agent started`);
  await lab.until('its node port leads to all pods', async () => {
    const names = await answering(lab.board(1), nodePort(lab.board(2)));
    return names.length === REPLICAS || names.join(' ');
  });
  const rebooted = await containers(lab.board(2));
  await namesResolve(t, lab, clusterIp);
  await lab.startMaster();
  await untilReady(place, 2, true);
  await untilAvailable(place);
  t.same(await containers(lab.board(2)), rebooted, 'the master that returns restarts nothing');
  const still = [...(await containers(lab.board(1))), ...(await containers(lab.board(3)))];
  t.same(still, others, 'on no board');
  const after = await webPods(kubectl);
  for (const pod of pods) {
    const now = after.find((one) => nameOf(one) === nameOf(pod));
    t.equal(now?.status?.podIP, pod.status?.podIP, 'the same address in the API');
  }
}

async function emptyMaster(t: Test, place: Place): Promise<void> {
  const { lab } = place;
  const before = await allContainers(lab);
  const store = join(lab.board(1).dir, 'pier/master/store');
  await lab.end(1, 'master', 'SIGKILL');
  await rename(store, `${store}.kept`);
  const logged = (await lab.log(1, 'master')).length;
  await lab.startMaster();
  await lab.until('the master says that no board obeys it', async () => {
    const words = (await lab.log(1, 'master')).slice(logged);
    const lines = words.split('\n').filter((line) => line.includes('obeys another cluster'));
    const seen = lab.boards.filter(({ name }) => lines.some((one) => one.includes(`"${name}"`)));
    return seen.length === lab.boards.length || words.slice(-2_000);
  });
  t.same(await allContainers(lab), before, 'no board obeys it');
  for (const board of lab.boards) {
    t.equal((await answering(lab.board(1), nodePort(board))).length, REPLICAS, 'all is served');
  }
  await lab.end(1, 'master', 'SIGKILL');
  await rename(store, `${store}.empty`);
  await rename(`${store}.kept`, store);
  await lab.startMaster();
  for (const index of [1, 2, 3]) await untilReady(place, index, true);
  await untilAvailable(place);
  t.same(await allContainers(lab), before, 'the right store is back, and nothing has restarted');
}

/**
 * In a pod of each board that has one, and on the board itself: the service by its names, and a name that is not there.
 * No -T for wget: Debian's static busybox crashes with it.
 */
async function namesResolve(t: Test, lab: Lab, clusterIp: string): Promise<void> {
  const name = 'web.default.svc.cluster.local';
  for (const board of lab.boards) {
    const [inside] = (await containers(board)).map(({ id }) => id);
    if (inside === undefined) continue;
    const run = async (...command: string[]): Promise<string> => {
      const words = ['podman', 'exec', inside, ...command];
      const { stdout, stderr } = await runCommand('nsenter', [...board.enter(), ...words]);
      return `${stdout}${stderr}`;
    };
    const resolvConf = await run('cat', '/etc/resolv.conf');
    for (const line of RESOLV_CONF) t.match(resolvConf, line);
    const answer = await run('nslookup', '-type=a', name);
    t.match(answer, /^Server:\s+10\.43\.0\.10/m, `who answers in a pod of ${board.name}`);
    const [, address = ''] = /^Name:\s+web\.default\S*\s+Address:\s+(\S+)/m.exec(answer) ?? [];
    t.equal(address, clusterIp, 'and what');
    for (const one of ['web', 'web.default', name]) {
      t.match(await run('wget', '-qO-', `http://${one}/`), /^Hello from web-/, `http://${one}/`);
    }
    t.match(await run('nslookup', '-type=a', 'none.default.svc.cluster.local'), /NXDOMAIN/);
    const onBoard = await board.exec(process.execPath, ['-e', ASK, name]);
    t.same(JSON.parse(onBoard), [clusterIp], `asked by ${board.name} itself`);
  }
}

const RESOLV_CONF = [
  /^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/m,
  /^nameserver 10\.43\.0\.10$/m,
  /^options ndots:5$/m,
];

/** Runs on a board: prints what the cluster's DNS server says of a name. */
const ASK = `
const { Resolver } = require('dns').promises;
const resolver = new Resolver({ timeout: 2000, tries: 4 });
resolver.setServers(['10.43.0.10']);
resolver.resolve4(process.argv[1]).then((list) => console.log(JSON.stringify(list)));
`;

async function intruders(t: Test, { lab }: Place): Promise<void> {
  const [first, second] = [lab.board(1), lab.board(2)];
  const status = ['-sS', '-k', '-o', '/dev/null', '-w', '%{http_code}'];
  for (const path of ['/api', '/api/v1/secrets', '/openapi/v3', '/']) {
    const answer = await second.exec('curl', [...status, `${lab.masterUrl}${path}`]);
    t.equal(answer, '401', `${path} without a certificate`);
  }
  const mqtt = `https://${first.address}:8883/`;
  const nothing = await runCommand('nsenter', [...second.enter(), 'curl', '-sSk', mqtt]);
  t.not(nothing.code, 0);
  t.match(nothing.stderr, /certificate required|handshake/i, 'the broker wants a certificate');

  // A board of its own name, so that it takes nothing from those that run.
  const file = '/var/lib/pier/intruder.json';
  const master = [join(HOME, 'dist/pier-master.mjs'), 'board-credentials', 'intruder'];
  await first.exec(process.execPath, [
    ...[...master, '--data', MASTER, '--output', file, '--api-server', lab.masterUrl],
    ...['--broker', `mqtts://${first.address}:8883`],
  ]);
  const topics = nodeTopics('board2');
  const filters = [topics.allDesired, topics.request, 'pier/v1/#', '#'];
  const own = nodeTopics('intruder').allDesired;
  const said = await first.exec(process.execPath, ['-e', INTRUDER, HOME, file, own, ...filters]);
  const { secrets, granted }: IntruderWords = JSON.parse(said);
  t.same(secrets, { code: 403, reason: 'Forbidden' }, 'a board cannot list secrets');
  t.same(granted[own], 0, 'a board may hear what is meant for it');
  for (const filter of filters) t.equal(granted[filter], 128, `it may not hear ${filter}`);
}

interface IntruderWords {
  readonly secrets: { readonly code: number; readonly reason: string };
  readonly granted: Readonly<Record<string, number>>;
}

/** Runs in a board, with a board's credentials; prints IntruderWords. */
const INTRUDER = `
const [home, file, ...filters] = process.argv.slice(1);
const mqtt = require(home + '/node_modules/mqtt');
const board = JSON.parse(require('fs').readFileSync(file, 'utf8'));
const tls = { ca: board.caCertificate, cert: board.certificate, key: board.privateKey, servername: 'pier-master' };
const get = (path) => new Promise((resolve, reject) =>
  require('https').get(board.apiServer + path, tls, (answer) => {
    let text = '';
    answer.on('data', (chunk) => { text += chunk; }).on('end', () => resolve(JSON.parse(text)));
  }).on('error', reject));
(async () => {
  const { code, reason } = await get('/api/v1/namespaces/default/secrets');
  const options = { ...tls, clientId: 'intruder', protocolVersion: 4, reconnectPeriod: 0, keepalive: 30 };
  const client = await mqtt.connectAsync(board.broker, options);
  const granted = {};
  for (const filter of filters) {
    await new Promise((resolve) => client.subscribe(filter, { qos: 0 }, (error, list, packet) => {
      granted[filter] = packet ? packet.granted[0] : String(error);
      resolve();
    }));
  }
  console.log(JSON.stringify({ secrets: { code, reason }, granted }));
  process.exit(0);
})();
`;

/** Asks two boards' node ports over and over until the signal; resolves with what went wrong. */
async function missedAnswers(lab: Lab, signal: AbortSignal): Promise<string[]> {
  const missed: string[] = [];
  while (!signal.aborted) {
    for (const index of [2, 3]) {
      const page = await curl(lab.board(1), nodePort(lab.board(index)));
      if (!page.startsWith('Hello from web-')) missed.push(page);
    }
    await sleep(50);
  }
  return missed;
}

interface RunningContainer {
  readonly pod: string;
  readonly id: string;
  readonly startedAt: string;
}

/** The app's containers that run on a board, by pod. */
async function containers(board: Board): Promise<RunningContainer[]> {
  const format = '{{index .Labels "pier.local/pod-name"}} {{.ID}} {{.StartedAt}}';
  const words = await board.exec('podman', [
    ...['ps', '--no-trunc', '--filter', 'label=pier.local/container-name', '--format', format],
  ]);
  return words
    .split('\n')
    .filter(Boolean)
    .sort()
    .map((line) => {
      const [pod = '', id = '', startedAt = ''] = line.split(' ');
      return { pod, id, startedAt };
    });
}

async function allContainers(lab: Lab): Promise<RunningContainer[][]> {
  return Promise.all(lab.boards.map(containers));
}

function nodePort(board: Board): string {
  return `http://${board.address}:${NODE_PORT}/`;
}

/** The page, or curl's words when there is none. */
async function curl(board: Board, url: string): Promise<string> {
  const command = ['curl', '-sS', '--max-time', '5', url];
  const { stdout, stderr } = await runCommand('nsenter', [...board.enter(), ...command]);
  return stdout === '' ? stderr : stdout;
}

/** Names of the pods that answer, sorted: asked until all have, or 60 times. */
async function answering(from: Board, url: string): Promise<string[]> {
  const names = new Set<string>();
  for (let n = 0; n < 60 && names.size < REPLICAS; n += 1) {
    const page = await curl(from, url);
    names.add(/^Hello from (\S+)$/m.exec(page)?.[1] ?? page);
  }
  return [...names].sort();
}

async function webPods(kubectl: BoardKubectl): Promise<Pod[]> {
  return kubectl.list<Pod>('pods', '-l', 'app=web');
}

function isReady({ status, metadata }: Pod): boolean {
  const ready = status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');
  return ready === true && metadata?.deletionTimestamp === undefined;
}

function boardsOf(pods: readonly Pod[]): string[] {
  return pods.map(({ spec }) => spec?.nodeName ?? '').sort();
}

function nameOf(pod: Pod | undefined): string {
  return pod?.metadata?.name ?? '';
}

function restartsOf(pod: Pod): string {
  return `${nameOf(pod)} ${pod.status?.containerStatuses?.[0]?.restartCount}`;
}

async function untilAvailable({ lab, kubectl }: Place): Promise<void> {
  await lab.until('all pods are ready', async () => {
    const ready = (await webPods(kubectl)).filter(isReady).length;
    return ready === REPLICAS || `${ready} are`;
  });
}

async function untilReady({ lab, kubectl }: Place, index: number, wanted: boolean): Promise<void> {
  const what = `board${index} is ${wanted ? 'Ready' : 'NotReady'}`;
  const check = async () => {
    const node = await kubectl.get<Node>('node', `board${index}`);
    const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
    return (ready?.status === 'True') === wanted || JSON.stringify(ready);
  };
  await lab.until(what, check);
}

function secondsSince(startedAt: number): string {
  return ((performance.now() - startedAt) / 1000).toFixed(1);
}
