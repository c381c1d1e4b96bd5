/** The pure parts of the relay: who is reached by it, what is listened for, and how datagrams are told apart. */
import fc from 'fast-check';
import t from 'tap';
import { type Reach, reachOf } from '../../../agent/network/reach.ts';
import { withRelayedPods } from '../../../agent/proxy/relayed-pods.ts';
import type { ServiceTable } from '../../../agent/proxy/service-table.ts';
import { CapsuleError, CapsuleReader, datagramCapsule } from '../../../agent/relay/capsules.ts';
import { refusalHeaders, requestFor, targetOf } from '../../../agent/relay/target.ts';
import type { BoardRoute } from '../../../protocol/messages.ts';
import { endpoint, service } from '../proxy/desired.ts';

export function board(node: string, address: string, podCidr: string): BoardRoute {
  return { v: 1, node, digest: '', address, podCidr };
}

const BOARDS = [
  board('a', '192.0.2.1', '10.42.0.0/24'),
  board('b', '192.0.2.2', '10.42.1.0/24'),
  board('c', '198.51.100.3', '10.42.2.0/24'),
];

function shortly({ routes, relays }: Reach) {
  return { routes: routes.map(({ via }) => via), relays: relays.map(({ node }) => node) };
}

t.test('a board behind another subnet is relayed to, by both sides', (t) => {
  const of = (self: string, lan: string | undefined) => shortly(reachOf(BOARDS, self, lan));
  t.same(of('a', '192.0.2.1/24'), { routes: ['192.0.2.2'], relays: ['c'] });
  t.same(of('c', '198.51.100.3/24'), { routes: [], relays: ['a', 'b'] });
  t.same(of('a', '192.0.2.1/32'), { routes: [], relays: ['b', 'c'] });
  t.same(of('a', '192.0.2.1/4'), { routes: ['192.0.2.2', '198.51.100.3'], relays: [] });
  t.same(
    of('a', undefined),
    { routes: ['192.0.2.2', '198.51.100.3'], relays: [] },
    'unknown: the kernel decides',
  );
  const moved = [...BOARDS.slice(0, 2), board('c', '192.0.2.9', '10.42.2.0/24')];
  t.same(shortly(reachOf(moved, 'a', '192.0.2.1/24')).relays, [], 'and it may move');
  const odd = [...BOARDS, board('d', '', '10.42.3.0/24'), board('e', '203.0.113.1', '')];
  t.same(shortly(reachOf(odd, 'a', '192.0.2.1/24')).relays, ['c'], 'nothing is known of others');
  const clash = [...BOARDS, board('d', '203.0.113.1', '10.42.0.0/24')];
  t.same(shortly(reachOf(clash, 'a', '192.0.2.1/24')).relays, ['c'], 'our own range is ours');
  t.end();
});

t.test('ports of relayed pods are listened for, whatever their service is', (t) => {
  const empty: ServiceTable = { listeners: new Map(), udpListeners: new Map(), problems: [] };
  const services = [
    service({
      clusterIp: 'None',
      ports: [
        { name: 'http', protocol: 'TCP', port: 80 },
        { name: 'dns', protocol: 'UDP', port: 53 },
        { name: 'odd', protocol: 'SCTP', port: 9 },
      ],
      endpoints: [
        endpoint('10.42.2.2', { ready: false, ports: { http: 8080, dns: 5353, odd: 9 } }),
        endpoint('10.42.1.2', { ports: { http: 8080 } }),
        endpoint('192.0.2.7', { ports: { http: 8080 } }),
      ],
    }),
    service({ name: 'twin', endpoints: [endpoint('10.42.2.2'), endpoint('10.42.2.3')] }),
  ];
  const table = withRelayedPods(empty, services, ['10.42.2.0/24']);
  t.same([...table.listeners.keys()], ['10.42.2.2:8080', '10.42.2.3:8080']);
  t.same([...table.udpListeners.keys()], ['10.42.2.2:5353']);
  t.match(table.listeners.get('10.42.2.2:8080'), {
    ...{ ip: '10.42.2.2', port: 8080, service: { namespace: 'default', name: 'web' } },
    backends: [{ ip: '10.42.2.2', port: 8080 }],
  });
  t.equal(withRelayedPods(empty, services, []), empty, 'nobody is relayed to');
  t.end();
});

t.test('datagrams are told apart however the bytes are cut', (t) => {
  const datagrams = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  fc.assert(
    fc.property(datagrams, fc.infiniteStream(fc.integer({ min: 1, max: 200 })), (sent, cuts) => {
      // A capsule of a type and a datagram of a context that nobody knows are between them.
      const unknown = Buffer.from([0x41, 0x00, 3, 1, 2, 3, 0, 3, 7, 1, 2]);
      const bytes = Buffer.concat(sent.flatMap((one) => [datagramCapsule(one), unknown]));
      const reader = new CapsuleReader();
      const got: Buffer[] = [];
      for (let at = 0; at < bytes.length; ) {
        const end = at + (cuts.next().value ?? 1);
        got.push(...reader.read(bytes.subarray(at, end)));
        at = end;
      }
      return Buffer.concat(got).equals(Buffer.concat(sent)) && got.length === sent.length;
    }),
  );
  const longest = Buffer.alloc(65_527, 1);
  t.same(new CapsuleReader().read(datagramCapsule(longest)), [longest]);
  t.throws(() => datagramCapsule(Buffer.alloc(65_528)), RangeError);
  t.end();
});

t.test('what is no capsule is an error or nothing, and is not kept', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }), (chunks) => {
      const reader = new CapsuleReader();
      try {
        for (const chunk of chunks) reader.read(Buffer.from(chunk));
      } catch (error) {
        if (!(error instanceof CapsuleError)) throw error;
      }
    }),
    { numRuns: 5000 },
  );
  const endless = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  t.throws(() => new CapsuleReader().read(endless), /longer than UDP/);
  t.throws(() => new CapsuleReader().read(Buffer.from([0, 0])), /shorter than its context/);
  t.end();
});

t.test('what is asked for is understood, and only pods of the board are a target', (t) => {
  const port = fc.integer({ min: 1, max: 65_535 });
  const ip = fc.integer({ min: 0, max: 255 }).map((last) => `10.42.1.${last}`);
  fc.assert(
    fc.property(fc.constantFrom('TCP' as const, 'UDP' as const), ip, port, (protocol, ip, port) => {
      const target = { protocol, ip, port };
      t.strictSame(targetOf(requestFor(target), '10.42.1.0/24'), target);
      t.match(targetOf(requestFor(target), '10.42.2.0/24'), { status: 403 });
      t.match(targetOf(requestFor(target), ''), { status: 403 }, 'while it has no range');
    }),
    { numRuns: 20 },
  );
  const hostile = fc.record({
    ':method': fc.constantFrom('CONNECT', 'GET', ''),
    ':protocol': fc.constantFrom(undefined, 'connect-udp', 'websocket'),
    ':authority': fc.oneof(fc.string(), fc.stringMatching(/^[0-9.:]{0,24}$/)),
    ':path': fc.oneof(
      fc.string(),
      fc.stringMatching(/^\/\.well-known\/masque\/udp\/[0-9./]{0,24}$/),
    ),
  });
  fc.assert(
    fc.property(hostile, (headers) => {
      const { ':protocol': protocol, ...rest } = headers;
      const all = protocol === undefined ? rest : { ...rest, ':protocol': protocol };
      const target = targetOf(all, '10.42.1.0/24');
      return 'status' in target || /^10\.42\.1\.\d+$/.test(target.ip);
    }),
    { numRuns: 5000 },
  );
  t.end();
});

t.test('words of a refusal are fit for a header', (t) => {
  const headers = refusalHeaders({ status: 502, error: 'x', details: 'a "b" \\ c\r\nd é' });
  t.equal(headers['proxy-status'], 'pier; error=x; details="a \\"b\\" \\\\ c??d ?"');
  t.end();
});
