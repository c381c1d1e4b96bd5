/**
 * Two boards with a router between them that knows nothing of pods: each reaches the pods of the other through its agent. Real podman,
 * real network. Needs root.
 */
import t from 'tap';
import type { Node, Pod, Service, StatefulSet } from '../../protocol/kinds/types.ts';
import type { Board } from '../lab/board.ts';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl } from '../support/board-kubectl.ts';
import { demoContainer } from '../support/demo-manifests.ts';
import { findKubectl } from '../support/kubectl.ts';
import { labMissing } from '../support/needs.ts';

const kubectl = findKubectl('current');
const skip = labMissing() || ('missing' in kubectl ? kubectl.missing : false);
const UDP_PORT = 5300;
const ANSWER_UDP = `const s = require('dgram').createSocket('udp4'); s.bind(${UDP_PORT});
  s.on('message', (bytes, from) => s.send('heard ' + bytes, from.port, from.address));`;

t.setTimeout(240_000);

t.test('a board behind a router is one like the others', { skip, timeout: 240_000 }, async (t) => {
  if ('missing' in kubectl) return;
  const lab = await Lab.create({ boards: 2, behindRouter: [2] });
  t.teardown(() => lab.close());
  await lab.startMaster();
  for (const index of [1, 2]) await lab.startAgent(index);
  const admin = new BoardKubectl(lab.board(1), kubectl);
  await lab.until('both boards are Ready', async () => {
    const nodes = await admin.list<Node>('nodes');
    return nodes.filter(isReady).length === 2 || `${nodes.length} boards`;
  });
  await admin.apply(...app('near', 'board1'), ...app('far', 'board2'));
  await lab.until('the pods are ready', async () => {
    const pods = await admin.list<Pod>('pods');
    return pods.filter(isReady).length === 2 || JSON.stringify(pods.map(({ status }) => status));
  });

  for (const board of lab.boards) board.spawn('nsenter', await inPodNetwork(board, ANSWER_UDP));

  for (const [from, name] of [
    [lab.board(1), 'far'],
    [lab.board(2), 'near'],
  ] as const) {
    await t.test(`${name} from ${from.name}`, async (t) => {
      const hello = `Hello from ${name}-0\n`;
      const { spec } = await admin.get<Service>('service', `${name}-web`);
      const { status } = await admin.get<Pod>('pod', `${name}-0`);
      const podUrl = `http://${status?.podIP}:8080/`;
      const get = (url: string) => from.exec('curl', ['-sS', '--max-time', '5', url]);
      await lab.until('its service is known and served', async () => {
        const page = await get(`http://${spec?.clusterIP}/`);
        return page === hello || page;
      });
      t.equal(await get(podUrl), hello, 'the pod by its IP, from the board');
      const pod = await containerOf(from);
      const fetch = (url: string) => from.exec('podman', ['exec', pod, 'wget', '-qO-', url]);
      t.equal(await fetch(`http://${name}-web/`), hello, 'the service, from a pod');
      t.equal(await fetch(podUrl), hello, 'the pod by its IP, from a pod');
      t.equal(
        await fetch(`http://${name}-0.${name}:8080/`),
        hello,
        'the pod by its name of a headless service, from a pod',
      );
      t.equal(await askUdp(from, status?.podIP ?? ''), 'heard hello', 'UDP, from a pod');
      await t.rejects(
        get(`http://${status?.podIP}:9/`),
        /curl: \(7\)/,
        'what no service names is refused',
      );
    });
  }

  const { spec } = await admin.get<Node>('node', 'board2');
  const range = spec?.podCIDR ?? '';
  const ownRange = (await admin.get<Node>('node', 'board1')).spec?.podCIDR ?? '';

  await t.test('the board moves into the LAN', async (t) => {
    t.match(await localRanges(lab.board(1)), range);
    await lab.end(2, 'agent', 'SIGTERM');
    const address = await lab.move(2);
    await lab.startAgent(2);
    for (const [board, wanted, via] of [
      [lab.board(1), range, address],
      [lab.board(2), ownRange, lab.board(1).address],
    ] as const) {
      await lab.until(`${board.name} has a route to the other's pods`, async () => {
        const routes = await board.exec('ip', ['route', 'show', 'proto', '99']);
        const ranges = await localRanges(board);
        const isRouted = routes.includes(`${wanted} via ${via} `);
        return (isRouted && !ranges.includes(wanted)) || `${routes} ${ranges}`;
      });
    }
    const { status } = await admin.get<Pod>('pod', 'far-0');
    const fetch = ['exec', await containerOf(lab.board(1)), 'wget', '-qO-'];
    const page = await lab.board(1).exec('podman', [...fetch, `http://${status?.podIP}:8080/`]);
    t.equal(page, 'Hello from far-0\n', 'and its pods are reached by it');
    const listeners = await lab.board(1).exec('ss', ['-Hltn', 'sport = :8885']);
    t.equal(listeners, '', 'nobody has to come to the relay any more');
  });

  await t.test('the board leaves', async () => {
    await lab.end(2, 'agent', 'SIGTERM');
    await admin.ok('delete', 'node', 'board2');
    await lab.until('nothing leads to its pods', async () => {
      const routes = await lab.board(1).exec('ip', ['route', 'show', 'table', 'all']);
      return !routes.includes(range) || routes;
    });
  });
});

/** One pod on that board, with a service of its own and a headless one. */
function app(name: string, node: string): object[] {
  const labels = { app: name };
  const set: StatefulSet = {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name },
    spec: {
      serviceName: name,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          nodeSelector: { 'kubernetes.io/hostname': node },
          terminationGracePeriodSeconds: 1,
          containers: [demoContainer('main')],
        },
      },
    },
  };
  return [set, service(`${name}-web`, labels, {}), service(name, labels, { clusterIP: 'None' })];
}

function service(name: string, selector: Record<string, string>, more: Service['spec']): Service {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'ask', protocol: 'UDP', port: UDP_PORT, targetPort: UDP_PORT },
  ];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector, ports, ...more },
  };
}

function isReady({ status }: Node | Pod): boolean {
  const conditions: ReadonlyArray<{ type: string; status: string }> = status?.conditions ?? [];
  return conditions.some((one) => one.type === 'Ready' && one.status === 'True');
}

async function containerOf(board: Board): Promise<string> {
  const filter = 'label=pier.local/container-name=main';
  const words = await board.exec('podman', ['ps', '-q', '--filter', filter]);
  return words.trim();
}

/** Runs a script of Node in the network of the board's pod: the demo image speaks no UDP. */
async function inPodNetwork(board: Board, script: string): Promise<string[]> {
  const format = ['inspect', '--format', '{{.State.Pid}}', await containerOf(board)];
  const pid = (await board.exec('podman', format)).trim();
  return ['-t', pid, '--net', process.execPath, '-e', script];
}

async function askUdp(board: Board, ip: string): Promise<string> {
  // Asks until it is heard: nobody says when a datagram was lost.
  const script = `const s = require('dgram').createSocket('udp4'); s.unref();
    setTimeout(() => process.exit(1), 10000);
    setInterval(() => s.send('hello', ${UDP_PORT}, '${ip}'), 100);
    s.on('message', (bytes) => process.stdout.write(bytes, () => process.exit()));`;
  return board.exec('nsenter', await inPodNetwork(board, script));
}

/** Ranges that agents have made local, a line each. */
function localRanges(board: Board): Promise<string> {
  return board.exec('ip', ['route', 'show', 'table', 'local', 'proto', '99']);
}
