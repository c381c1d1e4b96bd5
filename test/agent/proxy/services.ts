/** External addresses, affinity, locality and conflicts: the pure parts, as tables. */
import fc from 'fast-check';
import t from 'tap';
import { boardPod } from '../../../agent/plan/board-pod.ts';
import { AffinityTable } from '../../../agent/proxy/affinity.ts';
import { Balancer } from '../../../agent/proxy/balancer.ts';
import {
  type HostPort,
  hostPortsOf,
  type PodWithPorts,
  withHostPorts,
} from '../../../agent/proxy/host-ports.ts';
import { proxyHeader } from '../../../agent/proxy/proxy-header.ts';
import { type ListenerSpec, serviceTable } from '../../../agent/proxy/service-table.ts';
import { isLetIn } from '../../../agent/proxy/source-ranges.ts';
import { socketsFor } from '../../../agent/proxy/tcp-proxy.ts';
import type { ContainerPort } from '../../../protocol/kinds/types.ts';
import type { DesiredService } from '../../../protocol/messages.ts';
import { endpoint, service } from './desired.ts';
import { connectionEnds, isReadBack } from './proxy-header-reader.ts';

const BOARD = { node: 'a', address: '192.0.2.1', addresses: ['127.0.0.1', '192.0.2.1'] };

t.test(
  'two services that want the same port of the board: the second one is told so',
  async (t) => {
    const loadBalancer = { sourceRanges: [] };
    const first = service({ name: 'a', loadBalancer });
    const second = service({ name: 'b', clusterIp: '10.43.0.10', loadBalancer });
    const { listeners, problems } = serviceTable([second, first], BOARD);
    t.equal(listeners.get('192.0.2.1:80')?.service.name, 'a');
    t.same(problems, [
      {
        service: { namespace: 'default', name: 'b' },
        reason: 'PortConflict',
        message: 'port 80 of 192.0.2.1 is held by service default/a: give one of them another port',
      },
    ]);
    const external = service({ name: 'c', clusterIp: '10.43.0.11', externalIps: ['192.0.2.1'] });
    t.match(serviceTable([first, external], BOARD).problems, [{ service: { name: 'c' } }]);
  },
);

t.test(
  'a LoadBalancer is listened for on the address of the board, external IPs where they are',
  async (t) => {
    const keys = (one: DesiredService, board = BOARD) => [
      ...serviceTable([one], board).listeners.keys(),
    ];
    const balanced = service({ loadBalancer: { sourceRanges: ['192.0.2.0/24'] } });
    t.same(keys(balanced), ['10.43.0.9:80', '192.0.2.1:80']);
    const { listeners } = serviceTable([balanced], BOARD);
    t.same(listeners.get('192.0.2.1:80')?.sourceRanges, ['192.0.2.0/24']);
    t.equal(
      listeners.get('10.43.0.9:80')?.sourceRanges,
      undefined,
      'inside of the cluster all may',
    );
    t.same(keys(balanced, { ...BOARD, address: '' }), ['10.43.0.9:80'], 'an address not known yet');
    const external = service({ externalIps: ['192.0.2.1', '192.0.2.99'] });
    t.same(keys(external), ['10.43.0.9:80', '192.0.2.1:80'], 'another board has the other one');
    const both = service({ externalIps: ['192.0.2.1'], loadBalancer: { sourceRanges: [] } });
    t.same(serviceTable([both], BOARD).problems, [], 'no conflict with itself');
    const local = service({ externalIps: ['192.0.2.1'], externalTrafficLocal: true });
    t.same(serviceTable([local], BOARD).listeners.get('192.0.2.1:80')?.backends, [
      { ip: '10.42.0.2', port: 8080 },
    ]);
  },
);

t.test('UDP node ports are on each address, TCP ones on all at once', async (t) => {
  const ports: DesiredService['ports'] = [
    { name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 },
    { name: 'log', protocol: 'UDP', port: 514, nodePort: 30_514 },
  ];
  const endpoints = [endpoint('10.42.0.2', { ports: { http: 8080, log: 5140 } })];
  const { listeners, udpListeners } = serviceTable([service({ ports, endpoints })], BOARD);
  t.same([...listeners.keys()], ['10.43.0.9:80', '*:30080']);
  t.same([...udpListeners.keys()], ['10.43.0.9:514', '127.0.0.1:30514', '192.0.2.1:30514']);
  t.same(udpListeners.get('10.43.0.9:514')?.backends, [{ ip: '10.42.0.2', port: 5140 }]);
  const same: DesiredService['ports'] = [
    { name: 'log', protocol: 'UDP', port: 30_514, nodePort: 30_514 },
  ];
  const balanced = service({ ports: same, endpoints, loadBalancer: { sourceRanges: [] } });
  t.same(serviceTable([balanced], BOARD).problems, [], 'a service is in no conflict with itself');
});

t.test('host ports of pods are listened for while the pod is there', async (t) => {
  const made = (name: string, ports: ContainerPort[], more: Partial<PodWithPorts> = {}) => {
    const metadata = { uid: `uid-${name}`, namespace: 'default', name };
    const pod = boardPod({ metadata, spec: { containers: [{ name: 'main', ports }] } });
    if (pod === undefined) throw new Error('not a pod');
    return { pod, gone: false, status: { podIP: '10.42.0.7', phase: 'Running' }, ...more };
  };
  const udp: ContainerPort = { containerPort: 53, hostPort: 53, protocol: 'UDP' };
  const inner: ContainerPort = { containerPort: 9, hostPort: 9090, hostIP: '127.0.0.1' };
  const web = made('web', [{ containerPort: 80, hostPort: 8080 }, udp, inner]);
  const ports = hostPortsOf([web]);
  const open = withHostPorts(serviceTable([service()], BOARD), ports, BOARD);
  t.same([...open.udpListeners.keys()], ['127.0.0.1:53', '192.0.2.1:53']);
  const keys = ['10.43.0.9:80', '127.0.0.1:8080', '192.0.2.1:8080', '127.0.0.1:9090'];
  t.same([...open.listeners.keys()], keys);
  t.match(open.listeners.get('192.0.2.1:8080'), {
    backends: [{ ip: '10.42.0.7', port: 80 }],
    service: { name: 'web', podUid: 'uid-web' },
  });
  t.same(open.problems, []);
  t.same(hostPortsOf([{ ...web, gone: true }]), []);
  t.same(hostPortsOf([{ ...web, status: { podIP: '10.42.0.7', phase: 'Succeeded' } }]), []);
  t.same(hostPortsOf([{ ...web, status: { phase: 'Pending' } }]), [], 'no address yet');
  t.same(hostPortsOf([made('plain', [{ containerPort: 80 }])]), []);
});

t.test('a host port that is taken is told to its pod, and by whom', async (t) => {
  const pod = { namespace: 'default', name: 'web', podUid: 'uid-web' };
  const port = { pod, podIp: '10.42.0.7', containerPort: 80, hostIp: undefined } as const;
  const nodePort = service({
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 8080 }],
  });
  const one = { ...port, hostPort: 8080, protocol: 'TCP' } as const;
  const other = { ...one, pod: { ...pod, name: 'second', podUid: 'uid-2' } };
  const words = (services: readonly DesiredService[], ports: readonly HostPort[]) =>
    withHostPorts(serviceTable(services, BOARD), ports, BOARD).problems.map(
      ({ service: { name }, message }) => `${name}: ${message}`,
    );
  const another = 'give one of them another port';
  t.same(words([nodePort], [one]), [
    `web: port 8080 of this board is held by service default/web: ${another}`,
  ]);
  t.same(words([], [one, other]), [
    `second: port 8080 of this board is held by pod default/web: ${another}`,
  ]);
  t.same(words([nodePort], [{ ...one, protocol: 'UDP' }]), [], 'another protocol');
  t.same(words([service()], [{ ...one, hostPort: 80 }]), [], 'the address of a service is its own');
  const balanced = service({ loadBalancer: { sourceRanges: [] } });
  t.equal(words([balanced], [{ ...one, hostPort: 80 }]).length, 1);
  t.same(words([balanced], [{ ...one, hostPort: 80, hostIp: '127.0.0.1' }]), []);
  const board = { ...BOARD, addresses: [...BOARD.addresses, '192.0.2.240'] };
  const pool = service({ loadBalancer: { sourceRanges: [], address: '192.0.2.240' } });
  const beside = (hostIp?: string) =>
    withHostPorts(serviceTable([pool], board), [{ ...one, hostPort: 80, hostIp }], board);
  t.same(beside().problems, [], 'a service with an address of its own takes only that one');
  t.equal(beside().listeners.get('192.0.2.240:80')?.service.podUid, undefined);
  t.equal(beside().listeners.get('192.0.2.1:80')?.service.podUid, 'uid-web');
  t.equal(beside('192.0.2.240').problems.length, 1, 'unless the pod asks for that very one');
});

t.test('endpoints of the same board come first when the service asks for it', async (t) => {
  const backends = (one: DesiredService) =>
    serviceTable([one], BOARD)
      .listeners.get('10.43.0.9:80')
      ?.backends.map(({ ip }) => ip);
  t.same(backends(service({ preferLocal: true })), ['10.42.0.2']);
  const away = [endpoint('10.42.1.2', { node: 'b' })];
  t.same(backends(service({ preferLocal: true, endpoints: away })), ['10.42.1.2'], 'or any');
  t.equal(backends(service({ internalTrafficLocal: true, endpoints: away })), undefined);
});

t.test('a client keeps its backend for the time of the service, and only so long', async (t) => {
  const backends = ['a', 'b', 'c', 'd'].map((ip) => ({ ip, port: 1 }));
  const base = { ip: undefined, port: 80, service: { namespace: 'd', name: 'w' }, backends };
  const spec: ListenerSpec = {
    ...base,
    affinity: { key: 'd/w/', seconds: 10 },
    sourceRanges: undefined,
  };
  let nowMs = 0;
  const clock = { monotonicMs: () => nowMs, wallMs: () => 0 };
  const balancer = new Balancer({ clock, random: Math.random, clientsMax: 100 });
  const none = new Set<(typeof backends)[number]>();
  const client = '192.0.2.7';
  const first = balancer.choose(spec, none, client);
  const others = { ...spec, backends: backends.filter((one) => one !== first) };
  const second = balancer.choose(others, none, client);
  t.not(second, first, 'its backend has gone');
  nowMs = 9_999;
  t.equal(balancer.choose(spec, none, client), second, 'one that comes back does not take it away');
  nowMs = 19_998;
  t.equal(balancer.choose(spec, none, client), second, 'each connection begins the time anew');
  nowMs = 29_998;
  t.equal(balancer.choose(spec, none, client), first, 'afterwards the hash of its address counts');
  t.not(balancer.choose(spec, new Set(first === undefined ? [] : [first]), client), first);
});

t.test('a backend that was silent is chosen last, for 10 s', async (t) => {
  const backends = ['a', 'b', 'c'].map((ip) => ({ ip, port: 1 }));
  const [a, b, c] = backends;
  if (a === undefined || b === undefined || c === undefined) throw new Error('no backend');
  let nowMs = 0;
  const clock = { monotonicMs: () => nowMs, wallMs: () => 0 };
  const balancer = new Balancer({ clock, random: Math.random, clientsMax: 100 });
  for (const affinity of [undefined, { key: 'd/w/', seconds: 1 }]) {
    nowMs += 20_000;
    // A client of each backend, where clients keep theirs.
    const clients = Array.from({ length: 30 }, (_, index) => `192.0.2.${index}`);
    const chosen = (tried: readonly (typeof a)[] = []) =>
      new Set(clients.map((ip) => balancer.choose({ backends, affinity }, new Set(tried), ip)?.ip));
    t.same(chosen(), new Set(['a', 'b', 'c']));
    balancer.wasSilent(a);
    t.same(chosen(), new Set(['b', 'c']));
    t.same(chosen([b]), new Set(['c']));
    t.same(chosen([b, c]), new Set(['a']), 'better than none');
    balancer.wasSilent(b);
    balancer.wasSilent(c);
    // No client keeps one any more.
    nowMs += 1000;
    t.same(chosen(), new Set(['a', 'b', 'c']), 'when all were, none is worse');
    nowMs += 10_000;
    t.same(chosen(), new Set(['a', 'b', 'c']));
  }
});

t.test('only so many clients are remembered', async (t) => {
  const table = new AffinityTable(2);
  table.set('a', '1', 10);
  table.set('b', '1', 10);
  table.set('a', '2', 10);
  table.set('c', '1', 10);
  t.same([table.get('a', 0), table.get('b', 0), table.get('c', 0)], ['2', undefined, '1']);
  t.equal(table.get('a', 10), undefined);
  t.equal(table.size, 1);
});

t.test('a port that is wanted on all addresses and on one is one socket', async (t) => {
  const spec = (ip: string | undefined, port: number): ListenerSpec => ({
    ...{ ip, port, service: { namespace: 'd', name: `${ip}` }, backends: [] },
    ...{ affinity: undefined, sourceRanges: undefined },
  });
  const sockets = socketsFor([
    spec('10.43.0.1', 80),
    spec('10.43.0.2', 30_080),
    spec(undefined, 30_080),
  ]);
  t.same(
    [...sockets.values()].map(({ host, port, specs }) => [host, port, [...specs.keys()]]),
    [
      ['10.43.0.1', 80, ['10.43.0.1']],
      ['::', 30_080, ['10.43.0.2', '*']],
    ],
  );
});

t.test('source ranges', async (t) => {
  t.ok(isLetIn(undefined, '192.0.2.1'));
  t.ok(isLetIn(['198.51.100.0/24', '192.0.2.0/24'], '::ffff:192.0.2.1'));
  t.notOk(isLetIn(['192.0.2.0/25'], '192.0.2.200'));
  t.notOk(isLetIn(['0.0.0.0/0'], '2001:db8::1'));
});

t.test('PROXY protocol headers are those of its specification', async (t) => {
  const ends = (remoteAddress: string, localAddress: string) => ({
    ...{ remoteAddress, remotePort: 56_324, localAddress, localPort: 443 },
  });
  const v1 = (remote: string, local: string) => proxyHeader('v1', ends(remote, local)).toString();
  const v2 = (remote: string, local: string) =>
    proxyHeader('v2', ends(remote, local)).toString('hex');
  const signature = '0d0a0d0a000d0a515549540a';
  t.equal(v1('192.0.2.7', '192.0.2.1'), 'PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n');
  t.equal(v2('192.0.2.7', '192.0.2.1'), `${signature}2111000cc0000207c0000201dc0401bb`);
  t.equal(v1('::ffff:192.0.2.7', '::ffff:192.0.2.1'), v1('192.0.2.7', '192.0.2.1'));
  t.equal(v2('::ffff:192.0.2.7', '::ffff:192.0.2.1'), v2('192.0.2.7', '192.0.2.1'));
  t.equal(v1('fe80::1%eth0', '2001:db8::2'), 'PROXY TCP6 fe80::1 2001:db8::2 56324 443\r\n');
  t.equal(
    v2('fe80::1%eth0', '2001:db8:1:2:3:4:5:678'),
    `${signature}21210024${'fe800000000000000000000000000001'}${'20010db8000100020003000400050678'}dc0401bb`,
  );
  t.equal(v2('::1.2.3.4', '::').slice(32, 96), `${'0'.repeat(24)}01020304${'0'.repeat(32)}`);
  // Of a client that is gone already nothing is known.
  t.equal(proxyHeader('v1', {}).toString(), 'PROXY UNKNOWN\r\n');
  t.equal(proxyHeader('v2', {}).toString('hex'), `${signature}21000000`);
});

t.test(
  'the PROXY protocol is asked for by annotation, and a wrong word is a problem',
  async (t) => {
    const asked = serviceTable([service({ proxyProtocol: 'v2' })], BOARD);
    t.equal(asked.listeners.get('10.43.0.9:80')?.proxyProtocol, 'v2');
    t.same(asked.problems, []);
    const wrong = serviceTable([service({ proxyProtocol: 'V3' })], BOARD);
    t.equal(wrong.listeners.get('10.43.0.9:80')?.proxyProtocol, undefined);
    t.match(wrong.problems, [
      {
        service: { namespace: 'default', name: 'web' },
        reason: 'InvalidAnnotation',
        message: /^annotation pier.local\/proxy-protocol is "V3", and may be "v1" or "v2"/,
      },
    ]);
  },
);

t.test('PROXY headers are read back by another reader as they were meant', async (t) => {
  fc.assert(fc.property(connectionEnds, isReadBack), { numRuns: 3_000 });
  t.pass();
});
