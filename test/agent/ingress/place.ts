/** A board's web server on loopback, backends for it, and clients that speak to it byte by byte. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import type { Test } from 'tap';
import { LIMITS } from '../../../agent/config.ts';
import { routingTable } from '../../../agent/ingress/routing-table.ts';
import { type WebLimits, WebServer } from '../../../agent/ingress/web-server.ts';
import { ServiceProxy } from '../../../agent/proxy/service-proxy.ts';
import type { ServiceProblem } from '../../../agent/proxy/service-table.ts';
import type { RelayTo } from '../../../agent/proxy/tcp-connection.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type { DesiredIngress } from '../../../protocol/ingress.ts';
import type { DesiredService } from '../../../protocol/messages.ts';
import { freePort } from '../../support/free-port.ts';
import { portOf } from '../../support/tcp-backend.ts';
import { endpoint, service } from '../proxy/desired.ts';

export const LOOPBACK = '127.0.0.1';

export async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 10_000;
  while (!condition()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** Leads every request for `host` (all by default) to the service `web`. */
export function everything(host = ''): DesiredIngress {
  const backend = { service: 'web', port: 80 };
  const rules = [{ host, paths: [{ path: '/', type: 'Prefix' as const, backend }] }];
  return { v: 1, namespace: 'default', name: 'all', digest: 'd', rules, tls: [] };
}

export function web(ports: readonly number[], more: Partial<DesiredService> = {}): DesiredService {
  return service({
    ports: [{ name: '', protocol: 'TCP', port: 80 }],
    endpoints: ports.map((port) => endpoint(LOOPBACK, { ports: { '': port } })),
    ...more,
  });
}

export type Secrets = Readonly<Record<string, Readonly<Record<string, Uint8Array>>>>;

export interface Place {
  readonly port: number;
  readonly securePort: number;
  readonly problems: ServiceProblem[];
  readonly server: WebServer;
  /** Returns what is wrong. */
  readonly set: (
    ingresses: readonly DesiredIngress[],
    services: readonly DesiredService[],
    secrets?: Secrets,
  ) => ServiceProblem[];
}

export async function place(
  t: Test,
  limits: Partial<WebLimits> = {},
  relay: RelayTo = () => undefined,
): Promise<Place> {
  const [port, securePort] = [await freePort(), await freePort()];
  const problems: ServiceProblem[] = [];
  const proxy: ServiceProxy = new ServiceProxy({
    clock: systemClock,
    log: pino({ level: 'silent' }),
    limits: LIMITS.proxy,
    random: Math.random,
    onProblem: (problem) => problems.push(problem),
    onWeb: (client, kind) => server.accept(client, kind),
  });
  const server = new WebServer({
    balancer: proxy.balancer,
    limits: { ...LIMITS.web, ...limits },
    relay,
  });
  t.teardown(() => {
    proxy.stop();
    server.stop();
  });
  const listener = (port: number, kind: 'http' | 'https') => ({
    ...{ ip: LOOPBACK, port, backends: [], affinity: undefined, sourceRanges: undefined },
    service: { namespace: '', name: '', isIngress: true as const },
    web: kind,
  });
  const listeners = new Map([
    ['http', listener(port, 'http')],
    ['https', listener(securePort, 'https')],
  ]);
  proxy.update({ listeners, udpListeners: new Map(), problems: [] });
  await until('listening', () => proxy.settled);
  const set: Place['set'] = (ingresses, services, secrets = {}) =>
    server.update(routingTable(ingresses, services, 'a'), ingresses, (kind, namespace, name) =>
      kind === 'secret' && namespace === 'default' ? secrets[name] : undefined,
    );
  return { port, securePort, problems, server, set };
}

/** A web server as in a pod. Returns its port. */
export async function backend(t: Test, listener: http.RequestListener): Promise<number> {
  const server = http.createServer(listener);
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return portOf(server);
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly text: string;
}

/** One request on a connection of its own. */
export async function ask(
  port: number,
  options: http.RequestOptions = {},
  body = '',
): Promise<Answer> {
  const request = http.request({ host: LOOPBACK, port, agent: false, ...options });
  request.end(body);
  const [response] = await once(request, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  const { statusCode: status, headers, rawHeaders } = response;
  return { status, headers, rawHeaders, text };
}

/** Sends these bytes and reads until the server ends the connection. */
export async function raw(port: number, bytes: string): Promise<string> {
  const socket = net.connect({ host: LOOPBACK, port, allowHalfOpen: true });
  socket.on('error', () => {});
  socket.write(bytes, 'latin1');
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  await new Promise((resolve) => {
    socket.once('end', resolve);
    socket.once('close', resolve);
  });
  socket.destroy();
  return text;
}

const run = promisify(execFile);

/** As a Secret of type kubernetes.io/tls, made by openssl. */
export async function tlsSecret(
  t: Test,
  ...names: readonly string[]
): Promise<Readonly<Record<'tls.crt' | 'tls.key', Uint8Array>>> {
  const folder = await mkdtemp(join(tmpdir(), 'pier-tls-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', '2', '-subj', `/CN=${names[0]}`, '-out', cert, '-keyout', key],
    ...['-addext', `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}`],
  ]);
  return { 'tls.crt': await readFile(cert), 'tls.key': await readFile(key) };
}
