/** Routes and local ranges follow the boards, with a kernel that is played here. */
import { pino } from 'pino';
import t from 'tap';
import { NetworkError } from '../../../agent/network/anyip.ts';
import { kernelLocalRanges } from '../../../agent/network/route-tables.ts';
import { PodRoutes } from '../../../agent/network/routes.ts';
import { board } from './decisions.ts';

const SERVICES = '10.43.0.0/16';

class FakeKernel {
  readonly routes = new Map<string, string>();
  readonly local = new Set<string>([SERVICES]);
  /** Gateways that are not reached without a router. */
  readonly unreachable = new Set<string>();
  readonly changes: string[] = [];

  readonly ip = async (args: readonly string[]): Promise<string> => {
    const words = args.join(' ');
    if (words === '-json -4 route show proto 99') {
      return JSON.stringify([...this.routes].map(([dst, gateway]) => ({ dst, gateway })));
    }
    if (words === '-json -4 route show table local proto 99') {
      return JSON.stringify([...this.local].map((dst) => ({ type: 'local', dst, dev: 'lo' })));
    }
    this.changes.push(words);
    const [, verb, ...rest] = args;
    if (rest[0] === 'local') {
      if (verb === 'del') this.local.delete(rest[1] ?? '');
      else this.local.add(rest[1] ?? '');
    } else if (verb === 'del') this.routes.delete(rest[0] ?? '');
    else if (this.unreachable.has(rest[2] ?? '')) {
      throw new NetworkError('Error: Nexthop has invalid gateway.');
    } else this.routes.set(rest[0] ?? '', rest[2] ?? '');
    return '';
  };
}

function running(canRelay = true) {
  const kernel = new FakeKernel();
  const place: { lan: string | undefined } = { lan: '192.0.2.1/24' };
  const told: string[] = [];
  const routes = new PodRoutes({
    self: 'a',
    ip: kernel.ip,
    log: pino({ level: 'silent' }),
    serviceCidr: SERVICES,
    lan: () => place.lan,
    canRelay,
    onRelays: (boards) =>
      told.push(`${boards.map(({ node, address }) => `${node}@${address}`).join(' ')}`),
  });
  return { kernel, place, told, routes };
}

const [A, B] = [
  board('a', '192.0.2.1', '10.42.0.0/24'),
  board('b', '192.0.2.2', '10.42.1.0/24'),
] as const;
const far = (address: string) => board('c', address, '10.42.2.0/24');

t.test('a board moves between subnets, and leaves', async (t) => {
  const { kernel, told, routes } = running();
  routes.update([A, B, far('198.51.100.3')]);
  await routes.flush();
  t.same(kernel.routes, new Map([['10.42.1.0/24', '192.0.2.2']]));
  t.same(kernel.local, new Set([SERVICES, '10.42.2.0/24']));
  t.same(told, ['c@198.51.100.3']);

  routes.update([A, B, far('198.51.100.4')]);
  await routes.flush();
  t.same(told.splice(0), ['c@198.51.100.3', 'c@198.51.100.4'], 'another address');
  t.same(kernel.local, new Set([SERVICES, '10.42.2.0/24']));

  routes.update([A, B, far('192.0.2.9')]);
  await routes.flush();
  t.equal(kernel.routes.get('10.42.2.0/24'), '192.0.2.9', 'now it is in our LAN');
  t.same(kernel.local, new Set([SERVICES]));
  t.same(told.splice(0), ['']);

  routes.update([A, B, far('198.51.100.3')]);
  await routes.flush();
  t.notOk(kernel.routes.has('10.42.2.0/24'), 'and gone again');
  t.same(told.splice(0), ['c@198.51.100.3']);

  kernel.changes.splice(0);
  routes.update([A, B, { ...far('198.51.100.3') }]);
  await routes.flush();
  t.same(kernel.changes, [], 'no news costs nothing');

  routes.update([A, B]);
  await routes.flush();
  t.same(kernel.local, new Set([SERVICES]), 'it has left');
  t.same(told.splice(0), ['']);
});

t.test('this board moves to another subnet', async (t) => {
  const { kernel, place, told, routes } = running();
  routes.update([A, B]);
  await routes.flush();
  place.lan = '198.51.100.1/24';
  await routes.check();
  await routes.flush();
  t.same(kernel.routes, new Map());
  t.same(kernel.local, new Set([SERVICES, '10.42.1.0/24']));
  t.same(told, ['b@192.0.2.2']);
});

t.test('what the kernel takes for no gateway is relayed to until it does', async (t) => {
  const { kernel, place, told, routes } = running();
  place.lan = undefined;
  kernel.unreachable.add('192.0.2.2');
  routes.update([A, B]);
  await routes.flush();
  t.same(told.splice(0), ['b@192.0.2.2']);
  t.same(kernel.local, new Set([SERVICES, '10.42.1.0/24']));
  kernel.unreachable.clear();
  await routes.check();
  await routes.flush();
  t.same(told, ['']);
  t.same(kernel.routes, new Map([['10.42.1.0/24', '192.0.2.2']]));
  t.same(kernel.local, new Set([SERVICES]));
});

t.test(
  'with the relay off, the network knows the way, and what was left behind goes',
  async (t) => {
    const { kernel, told, routes } = running(false);
    kernel.local.add('10.42.2.0/24');
    kernel.unreachable.add('198.51.100.3');
    routes.update([A, B, far('198.51.100.3')]);
    await routes.flush();
    t.same(kernel.routes, new Map([['10.42.1.0/24', '192.0.2.2']]));
    t.same(kernel.local, new Set([SERVICES]));
    t.same(told, []);
  },
);

t.test('the local ranges that the kernel has', (t) => {
  const text = `Main:
  +-- 0.0.0.0/1 2 0 2
     |-- 10.42.2.0
        /24 host LOCAL
     |-- 10.42.1.0
        /24 universe UNICAST
     |-- 127.255.255.255
        /32 link BROADCAST
`;
  t.same(kernelLocalRanges(text), new Set(['10.42.2.0/24']));
  t.end();
});
