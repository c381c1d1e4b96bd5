/**
 * Services with an address of the pool as a machine on the LAN meets them: UDP, source ranges, Local policies, a port that a program holds,
 * and a name by mDNS that goes with the service. Backends are programs on the boards. Claims of load-balancer.test.ts.
 */
import type { Test } from 'tap';
import type { Endpoint, EndpointSlice, Event, Service } from '../../protocol/kinds/types.ts';
import type { Board } from '../lab/board.ts';
import type { Lab } from '../lab/lab.ts';
import type { BoardKubectl } from '../support/board-kubectl.ts';
import { sliceByHand } from '../support/demo-manifests.ts';
import { runCommand } from '../support/kubectl.ts';
import { askUdp, startServer } from '../support/lan-asker.ts';
import { askLan, hearGoodbye, type LanMachine } from '../support/lan-resolver.ts';

export interface PoolPlace {
  readonly lab: Lab;
  readonly admin: BoardKubectl;
  readonly machine: LanMachine;
  /** Two of the pool that are free. */
  readonly ips: readonly [string, string];
}

export const POOL_CLAIMS: ReadonlyArray<
  readonly [string, (t: Test, place: PoolPlace) => Promise<void>]
> = [
  ['TCP and UDP on one port, from that very address, and a name that leads to it', bothProtocols],
  ['only clients of the source ranges are let in', sourceRanges],
  ['with a Local policy the address is where a ready endpoint is, or nowhere', local],
  ['a port that a program has on all addresses is an event that names it', conflict],
  ['the name and the address go with the service', goodbye],
];

const PORTS = { tcp: 9080, udp: 9514 };
const GAME_PORT = 7777;
const TAKEN_PORT = 7790;

async function bothProtocols(t: Test, place: PoolPlace): Promise<void> {
  const { lab, admin, machine, ips } = place;
  for (const board of lab.boards) {
    startServer(board, { ...PORTS, name: board.name, ip: board.address });
  }
  await admin.apply(game(place), slice('game', lab.boards.map(endpointOf)));
  await untilServed(place);
  t.match(await curl(machine, `http://${ips[0]}:${GAME_PORT}/`), /^Hello from board/);
  const text = 'x'.repeat(20_000);
  const answer = await askUdp(onLan(machine), { ip: ips[0], port: GAME_PORT, text });
  t.match(answer, new RegExp(`^board\\d: ${text}$`), 'in several packets each way');
  await untilLeadsTo(place, 'game.local', [ips[0]]);
}

async function sourceRanges(t: Test, place: PoolPlace): Promise<void> {
  const { lab, admin, machine, ips } = place;
  await admin.apply(game(place, { loadBalancerSourceRanges: ['192.0.2.0/24'] }));
  await lab.until('the machine is turned away', async () => {
    const page = await curl(machine, `http://${ips[0]}:${GAME_PORT}/`);
    return /reset by peer/.test(page) || page;
  });
  const silent = await askUdp(onLan(machine), { ip: ips[0], port: GAME_PORT, waitMs: 500 });
  t.equal(silent, '', 'and not heard by UDP');
  const ranges = ['192.0.2.0/24', `${machine.address}/32`];
  await admin.apply(game(place, { loadBalancerSourceRanges: ranges }));
  await untilServed(place);
}

async function local(t: Test, place: PoolPlace): Promise<void> {
  const { lab, admin, machine, ips } = place;
  const [holder = 0] = await holders(lab, ips[0]);
  const others = lab.boards.filter((_, index) => index + 1 !== holder);
  await admin.apply(game(place, { externalTrafficPolicy: 'Local' }));
  for (const board of others) {
    await admin.apply(slice('game', [endpointOf(board)]));
    await untilHeldBy(lab, ips[0], [lab.boards.indexOf(board) + 1]);
    await untilServed(place, board);
    t.equal(await curl(machine, `http://${ips[0]}:${GAME_PORT}/`), `Hello from ${board.name}\n`);
  }
  await admin.apply(slice('game', []));
  await untilHeldBy(lab, ips[0], []);
  await admin.apply(game(place), slice('game', lab.boards.map(endpointOf)));
  await untilServed(place);
}

async function conflict(t: Test, place: PoolPlace): Promise<void> {
  const { lab, admin, machine, ips } = place;
  for (const board of lab.boards) {
    startServer(board, { name: 'another program', ip: '0.0.0.0', tcp: TAKEN_PORT });
  }
  for (const { address } of lab.boards) {
    await lab.until('the other program listens', async () => {
      const page = await curl(machine, `http://${address}:${TAKEN_PORT}/`);
      return page.includes('another program') || page;
    });
  }
  const ports = [{ name: 'tcp', port: TAKEN_PORT }];
  await admin.apply(
    balanced('blocked', ips[1], { ports }),
    slice('blocked', lab.boards.map(endpointOf)),
  );
  const held = `board\\d: port ${TAKEN_PORT} of this board is held by node \\(pid \\d+\\): stop it, or `;
  await lab.until('the service has an event that names the program', async () => {
    const list = await admin.list<Event>(
      'events',
      '--field-selector',
      'involvedObject.name=blocked',
    );
    const said = list.map(({ reason, message }) => `${reason} ${message}`).join('\n');
    return (
      new RegExp(`^PortConflict ${held}give the service another port$`, 'm').test(said) || said
    );
  });
  await curl(machine, `http://${ips[1]}:${TAKEN_PORT}/exit`);
  await lab.until('it is served when the program has gone', async () => {
    const page = await curl(machine, `http://${ips[1]}:${TAKEN_PORT}/`);
    return page.startsWith('Hello from board') || page;
  });
  await admin.ok('delete', 'service', 'blocked');
  t.pass();
}

async function goodbye(t: Test, place: PoolPlace): Promise<void> {
  const { lab, admin, machine, ips } = place;
  const { heard } = await hearGoodbye(machine, 'game.local');
  await admin.ok('delete', 'service', 'game');
  t.same(await heard, [ips[0]], 'phones are told to forget it');
  await untilLeadsTo(place, 'game.local', []);
  await untilHeldBy(lab, ips[0], []);
}

/** Boards that run and have the address. */
export async function holders(lab: Lab, ip: string): Promise<number[]> {
  const having: number[] = [];
  for (const [index, board] of lab.boards.entries()) {
    if (!board.running) continue;
    const words = await board.exec('ip', ['-4', 'address', 'show', 'dev', 'eth0']);
    if (words.includes(` ${ip}/32 `)) having.push(index + 1);
  }
  return having;
}

/** What is said of the name on the LAN is these addresses, whoever says it. */
export async function untilLeadsTo(
  { lab, machine }: Pick<PoolPlace, 'lab' | 'machine'>,
  name: string,
  addresses: readonly string[],
): Promise<void> {
  await lab.until(`${name} leads to ${addresses.join(', ')}`, async () => {
    const said = (await askLan(machine, name)).filter(({ type }) => type === 1);
    const have = [...new Set(said.map(({ value }) => value))];
    return have.join() === addresses.join() || JSON.stringify(said);
  });
}

async function untilHeldBy(lab: Lab, ip: string, boards: readonly number[]): Promise<void> {
  await lab.until(`${ip} is held by ${boards.join(' ') || 'nobody'}`, async () => {
    const having = (await holders(lab, ip)).join();
    return having === boards.join() || having;
  });
}

/** By both protocols; `board`: by its backend. */
async function untilServed({ lab, machine, ips: [ip] }: PoolPlace, board?: Board): Promise<void> {
  const name = board?.name ?? 'board\\d';
  await lab.until(`${ip} is served`, async () => {
    const datagram = await askUdp(onLan(machine), { ip, port: GAME_PORT, waitMs: 1000 });
    const page = await curl(machine, `http://${ip}:${GAME_PORT}/`);
    const isServed = new RegExp(`^${name}: hello Hello from ${name}\\n$`);
    return isServed.test(`${datagram} ${page}`) || `${datagram} ${page}`;
  });
}

function game({ ips }: PoolPlace, more: Service['spec'] = {}): Service {
  const ports = [
    { name: 'tcp', port: GAME_PORT },
    { name: 'udp', port: GAME_PORT, protocol: 'UDP' },
  ];
  const service = balanced('game', ips[0], { ports, ...more });
  return { ...service, metadata: { name: 'game', annotations: { 'pier.local/mdns': 'true' } } };
}

/** Without a selector: what is behind it stands in its slice. */
function balanced(name: string, loadBalancerIP: string, more: Service['spec']): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false, loadBalancerIP, ...more },
  };
}

function slice(name: string, endpoints: Endpoint[]): EndpointSlice {
  return sliceByHand(name, endpoints, [
    { name: 'tcp', port: PORTS.tcp, protocol: 'TCP' },
    { name: 'udp', port: PORTS.udp, protocol: 'UDP' },
  ]);
}

function endpointOf({ address, name }: Board): Endpoint {
  return { addresses: [address], nodeName: name };
}

function onLan({ netns }: LanMachine): string[] {
  return [`--net=/run/netns/${netns}`];
}

async function curl(machine: LanMachine, url: string): Promise<string> {
  const command = ['curl', '-sS', '--max-time', '5', url];
  const { stdout, stderr } = await runCommand('nsenter', [...onLan(machine), ...command]);
  return stdout === '' ? stderr : stdout;
}
