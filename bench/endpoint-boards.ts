/**
 * Some boards of `bench/endpoints.ts` in one process: of each the real link, desired state (on tmpfs) and service proxy of the agent. Told by IPC
 * which boards they are; says which backends the proxies have for the watched services, and when they had them.
 */

import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { pino } from 'pino';
import { configOf } from '../agent/config.ts';
import { Link } from '../agent/link/link.ts';
import { ServiceProxy } from '../agent/proxy/service-proxy.ts';
import { serviceTable } from '../agent/proxy/service-table.ts';
import { desiredHandlers } from '../agent/state/desired-handlers.ts';
import { desiredState } from '../agent/state/open-state.ts';
import { systemClock } from '../protocol/clock.ts';
import type { BoardCredentials, DesiredService } from '../protocol/messages.ts';
import { facts, heartbeat } from '../test/master/fleet/fixture.ts';

export interface BoardsOrder {
  readonly folder: string;
  /** Names of services of the namespace default. */
  readonly watched: readonly string[];
  readonly boards: ReadonlyArray<{
    readonly index: number;
    readonly credentials: BoardCredentials;
  }>;
}

export interface ProxyHas {
  readonly board: string;
  readonly service: string;
  /** Of its backends, in order. */
  readonly ips: string;
  /** CLOCK_MONOTONIC, which all processes of a machine share. */
  readonly atNs: string;
}

const HEARTBEAT_MS = 10_000;
/** Told when the process has nothing else to do, so that telling disturbs nothing. */
const TELL_MS = 15;
const log = pino({ level: 'error' });
let untold: ProxyHas[] = [];

process.on('message', (order: BoardsOrder) => {
  for (const board of order.boards) void startBoard(order, board);
});
process.on('disconnect', () => process.exit());

async function startBoard(
  { folder, watched }: BoardsOrder,
  { index, credentials }: BoardsOrder['boards'][number],
): Promise<void> {
  const { node, certificate } = credentials;
  const config = configOf({
    data: join(folder, node),
    runDir: join(folder, node, 'run'),
    serviceCidr: '10.43.0.0/16',
    clusterDomain: 'cluster.local',
    heartbeatSeconds: HEARTBEAT_MS / 1000,
    relayPort: 0,
  });
  const desired = desiredState(config, credentials, log, (reason) => log.error({ node }, reason));
  await desired.load();
  const proxy = new ServiceProxy({
    clock: systemClock,
    log,
    limits: config.limits.proxy,
    random: Math.random,
    onProblem: ({ message }) => log.error({ node }, message),
  });
  const had = new Map<string, string>();
  desired.onChange((change) => {
    if (change !== 'cluster') return;
    const place = { node, address: `127.${index}.255.1`, addresses: [] };
    const services = desired.current().services.map((one) => onLoopback(one, index));
    const table = serviceTable(services, place);
    proxy.update(table);
    const atNs = String(process.hrtime.bigint());
    for (const { service, backends } of table.listeners.values()) {
      if (!watched.includes(service.name) || service.namespace !== 'default') continue;
      const ips = backends.map(({ ip }) => ip).join();
      if (had.get(service.name) === ips) continue;
      had.set(service.name, ips);
      if (untold.push({ board: node, service: service.name, ips, atNs }) === 1) tellSoon();
    }
  });
  const session = `bench-${node}`;
  const spki = createPublicKey(certificate).export({ type: 'spki', format: 'der' });
  let sequence = 0;
  const link = new Link({
    credentials,
    session,
    log,
    random: Math.random,
    handlers: {
      ...desiredHandlers(desired),
      onRequest: () => undefined,
      onConnected: () => {
        const internalIp = `198.18.0.${index}`;
        const publicKey = new Uint8Array(spki);
        link.publishFacts(facts(session, { hostname: node, internalIp, publicKey }));
        beat();
      },
    },
  });
  const beat = () => link.publishHeartbeat(heartbeat(session, sequence++));
  setInterval(beat, HEARTBEAT_MS);
  link.start();
}

/** Each board has a loopback of its own: 10.43.x.y is 127.INDEX.x.y. */
function onLoopback(service: DesiredService, index: number): DesiredService {
  return { ...service, clusterIp: service.clusterIp.replace(/^10\.43\./, `127.${index}.`) };
}

function tellSoon(): void {
  setTimeout(() => {
    process.send?.(untold);
    untold = [];
  }, TELL_MS);
}
