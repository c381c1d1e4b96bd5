/**
 * Services of every kind as machines on the LAN and programs on the boards meet them: ports of boards, UDP, affinity, half-open
 * connections, Local policies, conflicts, names. Backends are programs on two boards that an EndpointSlice names, so no container engine is needed. Claims of ingress.test.ts.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Test } from 'tap';
import type { Endpoint, EndpointSlice, Event, Node, Service } from '../../protocol/kinds/types.ts';
import type { Board } from '../lab/board.ts';
import type { Lab } from '../lab/lab.ts';
import type { BoardKubectl } from '../support/board-kubectl.ts';
import { sliceByHand } from '../support/demo-manifests.ts';
import { runCommand } from '../support/kubectl.ts';
import { askDns, askUdp, floodWithSyns, startServer } from '../support/lan-asker.ts';
import type { LanMachine } from '../support/lan-resolver.ts';

export interface ServicesPlace {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
  readonly machine: LanMachine;
}

export const SERVICE_CLAIMS: ReadonlyArray<
  readonly [string, (t: Test, place: ServicesPlace) => Promise<void>]
> = [
  ['node ports and external addresses, TCP and UDP, lead to what a slice names', reachable],
  ['a client stays with its backend where the service asks for it', sticky],
  ['half-open connections shut nobody out', flooded],
  ['a Local policy leads to the board itself or nowhere', local],
  ['a backend that asks for it is told who the client is', greeted],
  ['a node port that a program holds is an event, and is had when it is free', conflict],
  ['names are those of Kubernetes’ specification, and not for the LAN', names],
];

const DNS = '10.43.0.10';
const PORTS = { tcp: 9080, udp: 9514, raw: 9081 };
const NODE_PORTS = { tcp: 30_180, udp: 30_514, taken: 30_190, raw: 30_191 };

async function reachable(t: Test, place: ServicesPlace): Promise<void> {
  const { lab, kubectl, machine } = place;
  const [first, second] = boards(lab);
  for (const board of [first, second]) {
    startServer(board, { ...PORTS, name: board.name, ip: board.address });
  }
  const external = first.address.replace(/\d+$/, '150');
  await second.exec('ip', ['address', 'add', `${external}/32`, 'dev', 'eth0']);
  await kubectl.apply(service({ externalIPs: [external] }), slice(lab));
  for (const board of [first, second]) {
    await untilFrom(place, `http://${board.address}:${NODE_PORTS.tcp}/`, [first, second]);
    // Several packets each way.
    const text = 'x'.repeat(20_000);
    await lab.until(`a datagram comes back from ${board.name}`, async () => {
      const asked = { ip: board.address, port: NODE_PORTS.udp, text };
      const answer = await askUdp(onLan(machine), asked);
      return /^board[12]: (.*)$/.exec(answer)?.[1] === text || answer.slice(0, 80);
    });
  }
  await untilFrom(place, `http://${external}:80/`, [first, second]);
  const clusterIp = (await kubectl.get<Service>('service', 'traffic')).spec?.clusterIP ?? '';
  const inside = { ip: clusterIp, port: 514 };
  t.match(await askUdp(first.enter(), inside), /^board[12]: hello$/, 'the cluster IP by UDP');
  t.match(await curl(first.enter(), `http://${clusterIp}/`), /^Hello from board/);

  // One that nobody has, and nobody answers for: a client waits a while, and is served all the same.
  const nobody = { addresses: [first.address.replace(/\d+$/, '177')] };
  await kubectl.apply(slice(lab, [nobody, endpointOf(second)]));
  await untilFrom(place, `http://${first.address}:${NODE_PORTS.tcp}/`, [second]);
  await kubectl.apply(slice(lab));
  await untilFrom(place, `http://${first.address}:${NODE_PORTS.tcp}/`, [first, second]);
}

async function sticky(t: Test, place: ServicesPlace): Promise<void> {
  const { lab, kubectl, machine } = place;
  const [first] = boards(lab);
  const url = `http://${first.address}:${NODE_PORTS.tcp}/`;
  const sessionAffinityConfig = { clientIP: { timeoutSeconds: 600 } };
  await kubectl.apply(service({ sessionAffinity: 'ClientIP', sessionAffinityConfig }));
  await lab.until('a client meets one backend', async () => {
    const seen = await met(place, url);
    return seen.length === 1 || seen.join(' ');
  });
  const udp = { ip: first.address, port: NODE_PORTS.udp };
  const answers = await Promise.all(Array.from({ length: 6 }, () => askUdp(onLan(machine), udp)));
  t.equal(new Set(answers).size, 1, 'by UDP, too, from a port of its own each time');
  await kubectl.apply(service({}));
  await untilFrom(place, url, boards(lab));
}

/** Twice what the kernel keeps for a port. */
const SYNS = 8_192;

async function flooded(t: Test, place: ServicesPlace): Promise<void> {
  const { lab, machine } = place;
  const [first] = boards(lab);
  const prefix = first.address.replace(/\.\d+$/, '');
  const target = { ip: first.address, port: NODE_PORTS.tcp };
  await floodWithSyns(onLan(machine), { prefix, ...target, count: SYNS });
  const sockets = await first.exec('ss', ['-Hnt', 'state', 'syn-recv']);
  t.ok(sockets.split('\n').length > 100, 'there are half-open connections');
  const pages = await Promise.all(
    Array.from({ length: 20 }, () => curl(onLan(machine), `http://${target.ip}:${target.port}/`)),
  );
  t.same(
    pages.filter((page) => !page.startsWith('Hello from board')),
    [],
  );
}

async function local(t: Test, place: ServicesPlace): Promise<void> {
  const { lab, kubectl, machine } = place;
  const [first, second] = boards(lab);
  const url = ({ address }: Board) => `http://${address}:${NODE_PORTS.tcp}/`;
  const clusterIp = (await kubectl.get<Service>('service', 'traffic')).spec?.clusterIP ?? '';
  await kubectl.apply(service({ externalTrafficPolicy: 'Local' }));
  for (const board of [first, second]) await untilFrom(place, url(board), [board]);
  await kubectl.apply(slice(lab, [endpointOf(second)]));
  await untilRefused(place, onLan(machine), url(first));
  await untilFrom(place, url(second), [second]);
  t.match(await curl(first.enter(), `http://${clusterIp}/`), /^Hello from board2/, 'not inside');
  t.equal(
    await askUdp(onLan(machine), { ip: first.address, port: NODE_PORTS.udp, waitMs: 500 }),
    '',
    'by UDP, too',
  );
  await kubectl.apply(service({ internalTrafficPolicy: 'Local' }));
  await untilFrom(place, url(first), [second]);
  await untilRefused(place, first.enter(), `http://${clusterIp}/`);
  t.match(await curl(second.enter(), `http://${clusterIp}/`), /^Hello from board2/);
  await kubectl.apply(service({}), slice(lab));
}

async function greeted(t: Test, place: ServicesPlace): Promise<void> {
  const { lab, kubectl, machine } = place;
  const [first, second] = boards(lab);
  second.spawn(process.execPath, ['-e', REPEATER, second.address, String(PORTS.raw)]);
  const asked = service(
    { ports: [{ name: 'raw', port: 80, nodePort: NODE_PORTS.raw }] },
    'greeted',
  );
  const metadata = { name: 'greeted', annotations: { 'pier.local/proxy-protocol': 'v1' } };
  await kubectl.apply({ ...asked, metadata }, slice(lab, [endpointOf(second)], 'greeted'));
  const url = `http://${first.address}:${NODE_PORTS.raw}/`;
  const line = `PROXY TCP4 ${machine.address} ${first.address} \\d+ ${NODE_PORTS.raw}\r\nGET / HTTP`;
  await lab.until('the backend has heard of the client', async () => {
    const heard = await curl([...onLan(machine)], url, '--http0.9');
    return new RegExp(`^${line}`).test(heard) || heard;
  });
  t.pass();
  await kubectl.ok('delete', 'service', 'greeted');
}

/** Sends back what it hears first. */
const REPEATER = `
const [ip, port] = process.argv.slice(1);
require('net').createServer((socket) => {
  socket.on('error', () => {}).once('data', (bytes) => socket.end(bytes));
}).listen(Number(port), ip);
`;

async function conflict(t: Test, place: ServicesPlace): Promise<void> {
  const { lab, kubectl, machine } = place;
  const [first, second] = boards(lab);
  startServer(first, { name: 'another program', ip: '0.0.0.0', tcp: NODE_PORTS.taken });
  const url = `http://${first.address}:${NODE_PORTS.taken}/`;
  await lab.until('the other program listens', async () => {
    const said = await curl(onLan(machine), url);
    return said.includes('another program') || said;
  });
  const more = { type: 'NodePort', ports: [{ port: 80, nodePort: NODE_PORTS.taken, name: 'tcp' }] };
  await kubectl.apply(service(more, 'taken'), slice(lab, undefined, 'taken'));
  const held = `${first.name}: port ${NODE_PORTS.taken} of this board is held by node \\(pid \\d+\\): `;
  await lab.until('the service has an event that names the program', async () => {
    const said = await events(kubectl, 'taken');
    return (
      new RegExp(`^PortConflict ${held}stop it, or give the service another nodePort$`, 'm').test(
        said,
      ) || said
    );
  });
  t.match(await kubectl.ok('describe', 'service', 'taken'), new RegExp(held));
  const other = `http://${second.address}:${NODE_PORTS.taken}/`;
  await untilFrom(place, other, [first, second]);
  await curl(onLan(machine), `${url}exit`);
  await untilFrom(place, url, [first, second]);
  await kubectl.ok('delete', 'service', 'taken');
}

async function names(t: Test, place: ServicesPlace): Promise<void> {
  const { lab, kubectl, machine } = place;
  const [first, second] = boards(lab);
  const many = Array.from({ length: 120 }, (_, index) => ({ addresses: [`192.0.2.${index + 1}`] }));
  const pets = [
    { ...endpointOf(first), hostname: 'pet-0' },
    { ...endpointOf(second), hostname: 'pet-1' },
    { addresses: ['192.0.2.200'], hostname: 'pet-2', conditions: { ready: false } },
  ];
  await kubectl.apply(
    service({ ...HEADLESS, ports: [{ port: PORTS.tcp, name: 'tcp' }] }, 'pets'),
    slice(lab, pets, 'pets'),
    service({ ...HEADLESS, ports: [{ port: 1, name: 'tcp' }] }, 'many'),
    slice(lab, many, 'many'),
    service({ ...HEADLESS, ports: [{ port: 1, name: 'tcp' }] }, 'empty'),
    service({ type: 'ExternalName', externalName: 'www.example.com', ports: [] }, 'out'),
    service({ type: 'ExternalName', externalName: `traffic.${SVC}`, ports: [] }, 'alias'),
  );
  const clusterIp = (await kubectl.get<Service>('service', 'traffic')).spec?.clusterIP ?? '';
  const { spec } = await kubectl.get<Node>('node', first.name);
  const pod = (spec?.podCIDR ?? '').replace(/\d+\/\d+$/, '9');
  const reversed = (ip: string) => `${ip.split('.').reverse().join('.')}.in-addr.arpa`;
  const both = [first.address, second.address].sort();
  const srv = (name: string, port: number) => ({ name, port, priority: 0, weight: 100 });
  const expected: ReadonlyArray<readonly [Parameters<typeof askDns>[2][number], unknown]> = [
    [['resolve4', `traffic.${SVC}`], [clusterIp]],
    [['resolve4', `TRAFFIC.default.SVC.cluster.local`], [clusterIp]],
    [['resolve6', `traffic.${SVC}`], 'ENODATA'],
    [['resolveSrv', `_tcp._tcp.traffic.${SVC}`], [srv(`traffic.${SVC}`, 80)]],
    [['resolveSrv', `_udp._udp.traffic.${SVC}`], [srv(`traffic.${SVC}`, 514)]],
    [['resolveSrv', `_tcp._udp.traffic.${SVC}`], 'ENOTFOUND'],
    [['resolvePtr', reversed(clusterIp)], [`traffic.${SVC}`]],
    [['resolve4', `pets.${SVC}`], both],
    [['resolve4', `pet-1.pets.${SVC}`], [second.address]],
    [['resolve4', `pet-2.pets.${SVC}`], 'ENOTFOUND'],
    [['resolve6', `pet-1.pets.${SVC}`], 'ENODATA'],
    [
      ['resolveSrv', `_tcp._tcp.pets.${SVC}`],
      [0, 1].map((index) => srv(`pet-${index}.pets.${SVC}`, PORTS.tcp)),
    ],
    [['resolvePtr', reversed(second.address)], [`pet-1.pets.${SVC}`]],
    [['resolve4', `many.${SVC}`], many.flatMap(({ addresses }) => addresses).sort()],
    [['resolve4', `empty.${SVC}`], 'ENOTFOUND'],
    [['resolve4', `none.${SVC}`], 'ENOTFOUND'],
    [['resolveCname', `out.${SVC}`], ['www.example.com']],
    [['resolve4', `alias.${SVC}`], [clusterIp]],
    [['resolve4', `${pod.replaceAll('.', '-')}.default.pod.cluster.local`], [pod]],
    [['resolveTxt', 'dns-version.cluster.local'], [['1.1.0']]],
  ];
  const questions = expected.map(([question]) => question);
  const wanted = expected.map(([[, name], answer]) => [name, answer]);
  for (const board of [first, second]) {
    await lab.until(`${board.name} knows all names`, async () => {
      const answers = (await askDns(board.enter(), DNS, questions)).map(sorted);
      const have = expected.map(([[, name]], index) => [name, answers[index]]);
      const wrong = have.filter((one, index) => !isDeepStrictEqual(one, wanted[index]));
      return wrong.length === 0 || JSON.stringify(wrong).slice(0, 500);
    });
  }
  // Who is no pod and no board finds the way, and is turned back.
  await runCommand('ip', ['-n', machine.netns, 'route', 'add', DNS, 'via', first.address]);
  t.same(await askDns(onLan(machine), DNS, [['resolve4', `traffic.${SVC}`]]), ['EREFUSED']);
  await runCommand('ip', ['-n', machine.netns, 'route', 'del', DNS]);
}

/** After board 2 was started with --dns-clients for this machine. */
export async function asksAsAllowed({
  lab,
  machine,
}: Omit<ServicesPlace, 'kubectl'>): Promise<void> {
  const [, second] = boards(lab);
  await runCommand('ip', ['-n', machine.netns, 'route', 'add', DNS, 'via', second.address]);
  await lab.until('a machine that may ask is answered', async () => {
    const said = await askDns(onLan(machine), DNS, [['resolve4', `pet-1.pets.${SVC}`]]);
    return isDeepStrictEqual(said, [[second.address]]) || JSON.stringify(said);
  });
}

const SVC = 'default.svc.cluster.local';
const HEADLESS = { type: 'ClusterIP', clusterIP: 'None' };

function boards(lab: Lab): readonly [Board, Board] {
  return [lab.board(1), lab.board(2)];
}

function onLan({ netns }: LanMachine): string[] {
  return [`--net=/run/netns/${netns}`];
}

/** Without a selector: what is behind it stands in the slice. */
function service(spec: Service['spec'], name = 'traffic'): Service {
  const ports = [
    { name: 'tcp', port: 80, nodePort: NODE_PORTS.tcp },
    { name: 'udp', port: 514, nodePort: NODE_PORTS.udp, protocol: 'UDP' },
  ];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { type: 'NodePort', ports, ...spec },
  };
}

function slice(
  lab: Lab,
  endpoints: NonNullable<EndpointSlice['endpoints']> = boards(lab).map(endpointOf),
  name = 'traffic',
): EndpointSlice {
  return sliceByHand(name, endpoints, [
    { name: 'tcp', port: PORTS.tcp, protocol: 'TCP' },
    { name: 'udp', port: PORTS.udp, protocol: 'UDP' },
    { name: 'raw', port: PORTS.raw, protocol: 'TCP' },
  ]);
}

function endpointOf({ address, name }: Board): Endpoint {
  return { addresses: [address], nodeName: name };
}

/** What curl prints, or its words when it gets no answer. */
async function curl(
  enter: readonly string[],
  url: string,
  ...flags: readonly string[]
): Promise<string> {
  const command = ['curl', '-sS', '--max-time', '10', ...flags, url];
  const { stdout, stderr } = await runCommand('nsenter', [...enter, ...command]);
  return stdout === '' ? stderr : stdout;
}

/** Names of the boards whose backends answer the machine on the LAN, of a few requests. */
async function met({ machine }: ServicesPlace, url: string): Promise<string[]> {
  const pages = await Promise.all(Array.from({ length: 6 }, () => curl(onLan(machine), url)));
  return [...new Set(pages.map((page) => /^Hello from (.*)\n$/.exec(page)?.[1] ?? page))].sort();
}

async function untilFrom(
  place: ServicesPlace,
  url: string,
  expected: readonly Board[],
): Promise<void> {
  const wanted = expected.map(({ name }) => name).join(' ');
  await place.lab.until(`${wanted} answer at ${url}`, async () => {
    const seen = (await met(place, url)).join(' ');
    return seen === wanted || seen;
  });
}

async function untilRefused(
  { lab }: ServicesPlace,
  enter: readonly string[],
  url: string,
): Promise<void> {
  await lab.until(`${url} refuses`, async () => {
    const said = await curl(enter, url);
    return /connect to server|refused/.test(said) || said;
  });
}

async function events(kubectl: BoardKubectl, name: string): Promise<string> {
  const list = await kubectl.list<Event>(
    'events',
    '--field-selector',
    `involvedObject.name=${name}`,
  );
  return list.map(({ reason, message }) => `${reason} ${message}`).join('\n');
}

/** Answers come in any order. */
function sorted(answer: unknown): unknown {
  if (!Array.isArray(answer)) return answer;
  const key = (one: unknown) => (typeof one === 'object' ? JSON.stringify(one) : String(one));
  return [...answer].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
