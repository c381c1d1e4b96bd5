/** Two boards on loopback, each with its relay, and pods of the second one. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import type { Readable } from 'node:stream';
import { pino } from 'pino';
import type { Test } from 'tap';
import { LIMITS } from '../../../agent/config.ts';
import type { Backend } from '../../../agent/proxy/service-table.ts';
import { Relay, type RelayedBoard, type RelayLimits } from '../../../agent/relay/relay.ts';
import type { RelayedSocket } from '../../../agent/relay/relayed-socket.ts';
import { type Identity, issueLeaf, makeAuthority } from '../../../master/pki/certificates.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type { BoardCredentials } from '../../../protocol/messages.ts';
import { freePort } from '../../support/free-port.ts';

export const NEAR = '127.0.0.2';
export const FAR = '127.0.0.3';
/** Where pods of the far board are. */
export const POD_CIDR = '127.9.0.0/24';
export const POD_IP = '127.9.0.5';

const random = (length: number) => randomBytes(length);
const authorities = new Map<string, Promise<Identity>>();

function authority(name: string): Promise<Identity> {
  const known = authorities.get(name) ?? makeAuthority(name, random);
  authorities.set(name, known);
  return known;
}

export interface Who {
  readonly commonName?: string;
  readonly organization?: string;
  /** Another cluster's. */
  readonly authority?: string;
}

export async function credentials(node: string, who: Who = {}): Promise<BoardCredentials> {
  const ca = await authority(who.authority ?? 'pier');
  const { commonName = `system:node:${node}`, organization = 'system:nodes' } = who;
  const request = { commonName, organizations: [organization], usage: 'client' as const };
  const { certificate, privateKey } = await issueLeaf(ca, request, { random });
  return {
    ...{ v: 1, clusterId: 'c', node, certificate, privateKey },
    ...{ apiServer: '', broker: '', caCertificate: ca.certificate },
  };
}

export interface Boards {
  readonly near: Relay;
  readonly far: Relay;
  readonly port: number;
  /** What the far board told as an event on itself. */
  readonly troubles: string[];
  /** The near board knows the far one, and the other way round. */
  readonly meet: () => void;
  readonly connect: (port: number, ip?: string) => RelayedSocket;
}

export interface BoardsOptions {
  readonly limits?: Partial<RelayLimits>;
  readonly farLimits?: Partial<RelayLimits>;
  readonly near?: BoardCredentials;
  readonly far?: BoardCredentials;
  readonly isBoard?: (node: string) => boolean;
  /** Where the far board listens, when something else passes on to it. */
  readonly farHost?: string;
}

export async function boards(t: Test, options: BoardsOptions = {}): Promise<Boards> {
  const { farHost = FAR } = options;
  const port = await freePort();
  const troubles: string[] = [];
  const shared = {
    clock: systemClock,
    log: pino({ level: 'silent' }),
    port,
    limits: { ...LIMITS.relay, ...options.limits },
    isBoard: options.isBoard ?? (() => true),
    podCidr: () => POD_CIDR,
    onTrouble: (reason: string) => troubles.push(reason),
  };
  const near = new Relay({ ...shared, credentials: options.near ?? (await credentials('near')) });
  const far = new Relay({
    ...shared,
    limits: { ...shared.limits, ...options.farLimits },
    credentials: options.far ?? (await credentials('far')),
  });
  t.teardown(() => {
    near.stop();
    far.stop();
  });
  const board = (node: string, address: string, podCidr: string): RelayedBoard => {
    return { node, address, podCidr };
  };
  const meet = () => {
    far.follow([board('near', NEAR, '127.8.0.0/24')], farHost);
    near.follow([board('far', FAR, POD_CIDR)], NEAR);
  };
  meet();
  await listening(farHost, port);
  const connect = (podPort: number, ip = POD_IP) => {
    const socket = near.connect({ ip, port: podPort });
    if (socket === undefined) throw new Error(`${ip} is not relayed to`);
    t.teardown(() => socket.destroy());
    return socket;
  };
  return { near, far, port, troubles, meet, connect };
}

/** Waits until somebody listens there. */
export async function listening(host: string, port: number): Promise<void> {
  for (;;) {
    const socket = net.connect({ host, port });
    const isThere = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A pod of the far board; returns its backend. */
export async function pod(t: Test, onClient: (socket: net.Socket) => unknown): Promise<Backend> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onClient(socket);
  });
  server.listen(0, POD_IP);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return { ip: POD_IP, port: address.port };
}

/** Until the other side has said all. Unlike a loop over it, it leaves the socket open. */
export function readAll(socket: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve, reject) => {
    socket.once('end', () => resolve(Buffer.concat(chunks).toString()));
    socket.once('error', reject);
  });
}

/** Resolves with the words of the error that it ends with. */
export async function failure(socket: RelayedSocket): Promise<string> {
  const [error] = await once(socket, 'error');
  return error instanceof Error ? error.message : String(error);
}

export async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 20_000;
  while (!condition()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}
