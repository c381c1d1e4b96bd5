/** Which board offers, holds and takes what: the pure parts, as tables. */
import t from 'tap';
import { macIn } from '../../../agent/pool/arping.ts';
import { leftOvers } from '../../../agent/pool/held-addresses.ts';
import { type Hello, Membership, winnerOf } from '../../../agent/pool/membership.ts';
import { offersOf } from '../../../agent/pool/offers.ts';
import { serviceTable } from '../../../agent/proxy/service-table.ts';
import type { DesiredService } from '../../../protocol/messages.ts';

const TIMING = { deadMs: 1600 };
const IP = '192.0.2.240';

function service(more: Partial<DesiredService> = {}): DesiredService {
  return {
    v: 1,
    namespace: 'default',
    name: 'web',
    digest: 'd',
    type: 'LoadBalancer',
    clusterIp: '10.43.0.9',
    ports: [{ name: '', protocol: 'TCP', port: 80 }],
    endpoints: [
      { ip: '10.42.0.2', node: 'a', ready: true, terminating: false, ports: { '': 8080 } },
    ],
    loadBalancer: { sourceRanges: [], address: IP },
    internalTrafficLocal: false,
    externalTrafficLocal: false,
    ...more,
  };
}

t.test('a board offers addresses of its own LAN', async (t) => {
  const lan = { interface: 'eth0', cidr: '192.0.2.1/24' };
  const offers = (services: DesiredService[], node = 'a', place = lan) =>
    offersOf(services, node, place).offers;
  t.same(offers([service()]), [IP]);
  t.same(offers([service()], 'b'), [IP], 'whoever has the pods');
  const local = service({ externalTrafficLocal: true });
  t.same(offers([local]), [IP]);
  t.same(offers([local], 'b'), [], 'Local: only where a pod is ready');
  t.same(offers([service({ loadBalancer: { sourceRanges: [] } })]), [], 'no pool');
  const far = offersOf([service()], 'a', { interface: 'eth0', cidr: '198.51.100.1/24' });
  t.same(far.offers, []);
  t.match(far.problems, [{ reason: 'AddressOffLan', message: /192\.0\.2\.240 is not in the LAN/ }]);
  t.equal(far.inUse.get(IP)?.name, 'web', 'heartbeats are sent all the same');
  t.same(offersOf([service()], 'a', undefined).offers, [], 'a board without a LAN');
});

t.test('only the board that has the address listens on it', async (t) => {
  const board = { node: 'a', address: '192.0.2.1', addresses: ['127.0.0.1', '192.0.2.1'] };
  const keys = (addresses: string[]) =>
    [...serviceTable([service()], { ...board, addresses }).listeners.keys()].sort();
  t.same(keys(board.addresses), ['10.43.0.9:80'], 'not on its own address either');
  t.same(keys([...board.addresses, IP]), ['10.43.0.9:80', `${IP}:80`]);
});

t.test(
  'the winner is the same for all, spread over boards, and moves only with its board',
  async (t) => {
    const boards = ['a', 'b', 'c', 'd'].map((node) => ({ node, ready: true }));
    const ips = Array.from({ length: 200 }, (_, index) => `192.168.1.${index + 10}`);
    const before = new Map(ips.map((ip) => [ip, winnerOf(ip, boards)?.node]));
    for (const { node } of boards) {
      const count = ips.filter((ip) => before.get(ip) === node).length;
      t.ok(count > 20 && count < 90, `${node} has ${count}`);
    }
    const reversed = [...boards].reverse();
    t.ok(ips.every((ip) => winnerOf(ip, reversed)?.node === before.get(ip)));
    const left = boards.filter(({ node }) => node !== 'c');
    for (const ip of ips) {
      const after = winnerOf(ip, left)?.node;
      if (before.get(ip) !== 'c' && after !== before.get(ip)) t.fail(`${ip} moved`);
    }
    const [sick] = ips.filter((ip) => before.get(ip) === 'a');
    const unwell = boards.map((one) => (one.node === 'a' ? { ...one, ready: false } : one));
    t.not(winnerOf(sick ?? '', unwell)?.node, 'a', 'boards whose engine works come first');
    const none = unwell.map(({ node }) => ({ node, ready: false }));
    t.equal(winnerOf(sick ?? '', none)?.node, 'a', 'where none does, any');
    t.equal(winnerOf(IP, []), undefined);
  },
);

/** Two boards that hear each other at `nowMs`. */
function pair(nowMs = 0): [Membership, Membership] {
  const a = new Membership('a', 'session a', TIMING, nowMs);
  const b = new Membership('b', 'session b', TIMING, nowMs);
  a.follow(['b'], { ready: true, offers: [IP] });
  b.follow(['a'], { ready: true, offers: [IP] });
  b.receive('a', a.helloTo('b', nowMs), nowMs);
  a.receive('b', b.helloTo('a', nowMs), nowMs);
  b.receive('a', a.helloTo('b', nowMs + 1), nowMs + 1);
  a.receive('b', b.helloTo('a', nowMs + 1), nowMs + 1);
  return [a, b];
}

t.test('a lone board holds at once, one among others first listens', async (t) => {
  const lone = new Membership('a', 's', TIMING, 0);
  lone.follow([], { ready: true, offers: [IP] });
  t.same(lone.holds(0), [IP]);
  const shy = new Membership('a', 's', TIMING, 0);
  shy.follow(['b'], { ready: true, offers: [IP] });
  t.same(shy.holds(1599), []);
  t.same(shy.helloTo('b', 100).offers, [], 'and makes no other let go');
  t.same(shy.holds(1600), [IP], 'nobody is there');
  const [a, b] = pair();
  t.same([...a.holds(1), ...b.holds(1)], [IP], 'all have been heard: one of them holds it');
});

t.test('silence is death after 1.6 s, good-bye at once', async (t) => {
  const [a, b] = pair();
  const [winner, loser] = a.holds(1).length > 0 ? [a, b] : [b, a];
  const [from, to] = winner === a ? ['a', 'b'] : ['b', 'a'];
  t.same(loser.holds(1600), []);
  t.same(loser.holds(1602), [IP]);
  t.equal(loser.receive(from, winner.helloTo(to, 1602), 1602), 'stranger', 'its echo is old');
  winner.receive(to, loser.helloTo(from, 1603), 1603);
  t.equal(loser.receive(from, winner.helloTo(to, 1604), 1604), 'news', 'heard again');
  t.same(loser.holds(1604), [], 'the hash decides with the first hello');
  t.equal(loser.receive(from, winner.helloTo(to, 1700, true), 1700), 'news');
  t.same(loser.holds(1700), [IP], 'good-bye');
});

t.test('what is sent again, held up, or from another life changes nothing', async (t) => {
  const [a, b] = pair();
  const old = b.helloTo('a', 100);
  t.equal(a.receive('b', old, 100), 'known');
  t.equal(a.receive('b', old, 101), 'old', 'doubled');
  const held = b.helloTo('a', 200);
  t.equal(a.receive('b', b.helloTo('a', 300), 300), 'known');
  t.equal(a.receive('b', held, 301), 'old', 'overtaken');
  t.same(a.alive(2000), []);
  t.equal(a.receive('b', held, 2000), 'old', 'it does not wake the dead');
  const restarted = new Membership('a', 'next session', TIMING, 0);
  restarted.follow(['b'], { ready: true, offers: [IP] });
  t.equal(restarted.receive('b', old, 10), 'stranger', 'made for the session before');
  t.same(restarted.alive(10), []);
  const forged: Hello = { ...old, echo: { session: 'session a', atMs: -5000 } };
  t.equal(a.receive('b', { ...forged, mark: { session: 'x', atMs: 1 } }, 2100), 'stranger');
  t.equal(a.receive('c', old, 100), 'old', 'none of our boards');
});

t.test('a process that stood still judges nobody by it', async (t) => {
  const [a] = pair();
  a.stoodStill(10_000);
  t.same(a.alive(10_500), ['b']);
});

t.test('what a killed agent left is known by its label', async (t) => {
  const address = (ip: string) => [{ address: ip }];
  const all = { lo: address('127.0.0.1'), eth0: address('192.0.2.1'), 'eth0:pier': address(IP) };
  t.same([...leftOvers(all)], [[IP, 'eth0']]);
});

t.test('who answers arping', async (t) => {
  const iputils = `Unicast reply from ${IP} [B8:27:EB:00:00:01]  0.912ms`;
  t.equal(macIn(`ARPING ${IP} from 0.0.0.0 eth0\n${iputils}\n`), 'b8:27:eb:00:00:01');
  t.equal(macIn('Received 0 response(s)\n'), undefined);
});
