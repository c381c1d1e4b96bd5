/** The DNS server of the agent alone, as a process of its own for bench/dns.ts: `dns-server.ts PORT NAMES`. */
import { pino } from 'pino';
import { LIMITS } from '../agent/config.ts';
import { mayAsk } from '../agent/dns/clients.ts';
import { ClusterZone } from '../agent/dns/cluster-zone.ts';
import { Forwarder } from '../agent/dns/forwarder.ts';
import { Resolver } from '../agent/dns/resolver.ts';
import { Responder } from '../agent/dns/responder.ts';
import { DnsServer } from '../agent/dns/server.ts';
import { systemClock as clock } from '../protocol/clock.ts';
import type { DesiredService } from '../protocol/messages.ts';

const [port = 0, names = 0] = process.argv.slice(2).map(Number);

const services = Array.from(
  { length: names },
  (_, index): DesiredService => ({
    v: 1,
    namespace: 'default',
    name: `web${index}`,
    digest: 'd',
    type: 'ClusterIP',
    clusterIp: `10.43.1.${index}`,
    ports: [],
    endpoints: [],
    internalTrafficLocal: false,
    externalTrafficLocal: false,
  }),
);
const zone = new ClusterZone({
  domain: 'cluster.local',
  dnsIp: '127.0.0.1',
  serviceCidr: '10.43.0.0/16',
  services,
  boards: [],
});
const forwarder = new Forwarder({
  clock,
  limits: LIMITS.dns.forwarder,
  exchange: () => Promise.reject(new Error('this server has nobody to ask')),
  after: () => () => {},
  onDown: (reason) => process.stderr.write(`${reason}\n`),
});
const responder = new Responder({
  clock,
  limits: LIMITS.dns,
  resolver: new Resolver(() => zone, forwarder, Math.random),
  mayAsk: (ip) => mayAsk({ podCidr: '10.42.0.0/24', ranges: [], ownAddresses: new Set() }, ip),
});
const server = new DnsServer({
  ip: '127.0.0.1',
  port,
  clock,
  log: pino({ level: 'silent' }),
  limits: LIMITS.dns,
  responder,
  onProblem: (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  },
});
server.start();
