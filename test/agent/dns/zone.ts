/** What the names of a cluster lead to: the specification as a table of questions. */
import t from 'tap';
import { ClusterZone, type ZoneAnswer } from '../../../agent/dns/cluster-zone.ts';
import { type ResourceRecord, TYPE } from '../../../agent/dns/message.ts';
import { nameOf, nameText } from '../../../agent/dns/name.ts';
import type { DesiredService, ServiceEndpoint } from '../../../protocol/messages.ts';

function service(name: string, more: Partial<DesiredService> = {}): DesiredService {
  return {
    v: 1,
    namespace: 'default',
    name,
    digest: 'd',
    type: 'ClusterIP',
    clusterIp: '10.43.1.1',
    ports: [],
    endpoints: [],
    internalTrafficLocal: false,
    externalTrafficLocal: false,
    ...more,
  };
}

function endpoint(ip: string, more: Partial<ServiceEndpoint> = {}): ServiceEndpoint {
  return { ip, ready: true, terminating: false, ports: { sql: 5432 }, ...more };
}

const SERVICES = [
  service('web', {
    ports: [
      { name: 'http', protocol: 'TCP', port: 80 },
      { name: 'log', protocol: 'UDP', port: 514 },
    ],
  }),
  service('plain', { clusterIp: '10.43.1.2', ports: [{ name: '', protocol: 'TCP', port: 1 }] }),
  service('db', {
    clusterIp: 'None',
    ports: [{ name: 'sql', protocol: 'TCP', port: 5432 }],
    endpoints: [
      endpoint('10.42.0.5', { hostname: 'db-0' }),
      endpoint('10.42.1.6'),
      endpoint('10.42.1.7', { ready: false }),
      endpoint('10.42.1.8', { terminating: true }),
    ],
  }),
  service('nas', {
    clusterIp: 'None',
    endpoints: [
      endpoint('192.0.2.77', { hostname: 'big' }),
      endpoint('192.0.2.77', { hostname: 'big', ports: { sql: 2 } }),
      endpoint('192.0.2.78', { hostname: 'big' }),
      endpoint('192.0.2.78', { hostname: 'small', ports: { sql: 1 } }),
    ],
  }),
  service('empty', { clusterIp: 'None', endpoints: [endpoint('10.42.9.9', { ready: false })] }),
  service('out', { type: 'ExternalName', clusterIp: '', externalName: 'www.example.com' }),
];

export function testZone(services: readonly DesiredService[] = SERVICES): ClusterZone {
  return new ClusterZone({
    domain: 'cluster.local',
    dnsIp: '10.43.0.10',
    serviceCidr: '10.43.0.0/16',
    services,
    boards: [
      { v: 1, node: 'a', digest: 'd', address: '192.0.2.1', podCidr: '10.42.0.0/24' },
      { v: 1, node: 'b', digest: 'd', address: '192.0.2.2', podCidr: '10.42.1.0/24' },
    ],
  });
}

function dataText({ type, data }: ResourceRecord): string {
  return data
    .map((part) => {
      if (!(part instanceof Uint8Array)) return nameText(part);
      if (type === TYPE.SRV) return String(Buffer.from(part).readUInt16BE(4));
      if (type === TYPE.TXT) return Buffer.from(part.subarray(1)).toString();
      return part.join('.');
    })
    .join(' ');
}

function words(answer: ZoneAnswer | undefined): string | string[] {
  if (answer === undefined) return 'forward';
  if (answer.type === 'missing') return 'missing';
  if (answer.type === 'alias') return `alias ${nameText(answer.target)}`;
  return answer.answers.map(dataText);
}

const SVC = 'default.svc.cluster.local';

const TABLE: readonly (readonly [string, keyof typeof TYPE, string | string[]])[] = [
  ['nothing.default.svc.cluster.local', 'A', 'missing'],
  ['web.nowhere.svc.cluster.local', 'A', 'missing'],
  ['nowhere.svc.cluster.local', 'A', 'missing'],
  [`a.b.c.web.${SVC}`, 'A', 'missing'],
  [`a.web.${SVC}`, 'A', 'missing'],
  ['other.cluster.local', 'A', 'missing'],
  [`web.${SVC}.cluster.local`, 'A', 'missing'],
  [`web.${SVC}`, 'A', ['10.43.1.1']],
  [`WEB.Default.SVC.cluster.LOCAL`, 'A', ['10.43.1.1']],
  [`web.${SVC}`, 'AAAA', []],
  [`web.${SVC}`, 'MX', []],
  [`web.${SVC}`, 'ANY', ['10.43.1.1']],
  [`_http._tcp.web.${SVC}`, 'SRV', [`80 web.${SVC}.`]],
  [`_HTTP._TCP.web.${SVC}`, 'SRV', [`80 web.${SVC}.`]],
  [`_log._udp.web.${SVC}`, 'SRV', [`514 web.${SVC}.`]],
  [`_http._udp.web.${SVC}`, 'SRV', 'missing'],
  [`_http._tcp.web.${SVC}`, 'A', []],
  [`_tcp.web.${SVC}`, 'SRV', []],
  [`web.${SVC}`, 'SRV', [`80 web.${SVC}.`, `514 web.${SVC}.`]],
  [`plain.${SVC}`, 'SRV', []],
  [`db.${SVC}`, 'A', ['10.42.0.5', '10.42.1.6']],
  [`db.${SVC}`, 'AAAA', []],
  [`db-0.db.${SVC}`, 'A', ['10.42.0.5']],
  [`10-42-1-6.db.${SVC}`, 'A', ['10.42.1.6']],
  [`10-42-1-7.db.${SVC}`, 'A', 'missing'],
  [`10-42-1-8.db.${SVC}`, 'A', 'missing'],
  [`_sql._tcp.db.${SVC}`, 'SRV', [`5432 db-0.db.${SVC}.`, `5432 10-42-1-6.db.${SVC}.`]],
  [`empty.${SVC}`, 'A', 'missing'],
  [`out.${SVC}`, 'A', 'alias www.example.com.'],
  [`x.out.${SVC}`, 'A', 'missing'],
  ['1.1.43.10.in-addr.arpa', 'PTR', [`web.${SVC}.`]],
  ['5.0.42.10.in-addr.arpa', 'PTR', [`db-0.db.${SVC}.`]],
  ['6.1.42.10.in-addr.arpa', 'PTR', [`10-42-1-6.db.${SVC}.`]],
  ['7.1.42.10.in-addr.arpa', 'PTR', 'missing'],
  ['9.9.43.10.in-addr.arpa', 'PTR', 'missing'],
  ['1.2.0.192.in-addr.arpa', 'PTR', 'forward'],
  ['77.2.0.192.in-addr.arpa', 'PTR', [`big.nas.${SVC}.`]],
  ['78.2.0.192.in-addr.arpa', 'PTR', [`big.nas.${SVC}.`, `small.nas.${SVC}.`]],
  [`nas.${SVC}`, 'A', ['192.0.2.77', '192.0.2.78']],
  [`big.nas.${SVC}`, 'A', ['192.0.2.77', '192.0.2.78']],
  [`BIG.nas.${SVC}`, 'A', ['192.0.2.77', '192.0.2.78']],
  [`nas.${SVC}`, 'SRV', []],
  ['1.1.43.10.in-addr.arpa', 'A', []],
  ['300.1.43.10.in-addr.arpa', 'PTR', 'forward'],
  ['10-42-1-77.default.pod.cluster.local', 'A', ['10.42.1.77']],
  ['10-44-1-77.default.pod.cluster.local', 'A', 'missing'],
  ['192-0-2-1.default.pod.cluster.local', 'A', 'missing'],
  ['default.pod.cluster.local', 'A', []],
  ['default.svc.cluster.local', 'A', []],
  ['svc.cluster.local', 'A', []],
  ['cluster.local', 'A', []],
  ['cluster.local', 'NS', ['ns.dns.cluster.local.']],
  ['ns.dns.cluster.local', 'A', ['10.43.0.10']],
  ['dns-version.cluster.local', 'TXT', ['1.1.0']],
  ['example.com', 'A', 'forward'],
  ['xcluster.local', 'A', 'forward'],
  ['local', 'A', 'forward'],
  ['.', 'NS', 'forward'],
];

t.test('names of the cluster', async (t) => {
  const zone = testZone();
  for (const [name, type, wanted] of TABLE) {
    t.same(words(zone.answer(nameOf(name), TYPE[type])), wanted, `${name} ${type}`);
  }
});

t.test(
  'the addresses of SRV targets come along, and answers keep the case of the question',
  async (t) => {
    const zone = testZone();
    const answer = zone.answer(nameOf(`_sql._tcp.db.${SVC}`), TYPE.SRV);
    t.same(
      answer?.type === 'records' &&
        answer.additionals.map((one) => [nameText(one.name), dataText(one)]),
      [
        [`db-0.db.${SVC}.`, '10.42.0.5'],
        [`10-42-1-6.db.${SVC}.`, '10.42.1.6'],
      ],
    );
    const mixed = zone.answer(nameOf(`Web.${SVC}`), TYPE.A);
    t.equal(mixed?.type === 'records' && nameText(mixed.answers[0]?.name ?? []), `Web.${SVC}.`);
  },
);
