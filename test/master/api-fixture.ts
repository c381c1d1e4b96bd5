/** A real API server on loopback with memory stores and its own authority, and a small HTTPS client for tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { bootstrap } from '../../master/api/bootstrap.ts';
import type { ApiClient } from '../../master/api/client.ts';
import { KIND_MODULES } from '../../master/api/kinds/all.ts';
import { createLocalClient } from '../../master/api/local-client.ts';
import { createRegistry, type Registry } from '../../master/api/registry.ts';
import { type ApiServer, type ApiServerOptions, createApiServer } from '../../master/api/server.ts';
import { ensurePki, issueClientCertificate, type Pki } from '../../master/pki/pki.ts';
import { openMemoryStore } from '../../master/store/memory-store.ts';
import type { Store } from '../../master/store/store.ts';
import type { Clock } from '../../protocol/clock.ts';

export interface Identity {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface Answer {
  readonly code: number;
  readonly headers: IncomingMessage['headers'];
  readonly bytes: Buffer;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape.
  readonly json: any;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
  readonly as?: Identity | 'nobody';
  readonly headers?: Record<string, string>;
}

export interface Fixture {
  readonly store: Store;
  readonly registry: Registry;
  readonly client: ApiClient;
  readonly server: ApiServer;
  readonly pki: Pki;
  readonly dir: string;
  readonly port: number;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** Opens a watch (or any stream); read with `next`. */
  stream(path: string, options?: CallOptions): Promise<EventStream>;
  identity(name: string, groups: readonly string[]): Promise<Identity>;
  close(): Promise<void>;
}

export type FixtureOptions = Partial<Omit<ApiServerOptions, 'registry' | 'tls'>> & {
  readonly port?: number;
  readonly store?: Store;
  readonly clock?: Clock;
  /** Pods need an account: whoever says so makes it. */
  readonly serviceAccounts?: boolean;
  /** Of a server that is gone: clients that trusted it trust the new one. */
  readonly pki?: Pki;
};

export async function startApi(options: FixtureOptions = {}): Promise<Fixture> {
  const dir = await mkdtemp(join(tmpdir(), 'pier-api-'));
  const pki = options.pki ?? (await ensurePki(join(dir, 'pki'), { hostnames: [], addresses: [] }));
  const store = options.store ?? openMemoryStore();
  const registry = await createRegistry({
    store,
    memoryStore: openMemoryStore(),
    modules: KIND_MODULES,
    // No controller makes accounts here.
    ...(options.serviceAccounts === true ? {} : { disableAdmissionPlugins: ['ServiceAccount'] }),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });
  const client = createLocalClient(registry, {
    name: 'system:pier:test',
    groups: ['system:masters'],
  });
  await bootstrap(client, {
    serviceIp: '10.43.0.1',
    dnsIp: '10.43.0.10',
    address: { ip: '192.0.2.1', port: 6443 },
  });
  const server = createApiServer({
    log: pino({ level: process.env.LOG ?? 'silent' }),
    ...options,
    registry,
    tls: { key: pki.server.privateKey, cert: pki.server.certificate, ca: pki.caCertificate },
  });
  const { port } = await server.listen(options.port ?? 0, '127.0.0.1');
  const agents = new Map<Identity | 'nobody', Agent>();
  const agentOf = (as: Identity | 'nobody'): Agent => {
    const known = agents.get(as);
    if (known !== undefined) return known;
    const identity = as === 'nobody' ? {} : { cert: as.certificate, key: as.privateKey };
    const made = new Agent({ keepAlive: true, ca: pki.caCertificate, ...identity });
    agents.set(as, made);
    return made;
  };
  const open = (method: string, path: string, call: CallOptions) =>
    send({ method, path, port, agent: agentOf(call.as ?? pki.admin), call });
  return {
    store,
    registry,
    client,
    server,
    pki,
    dir,
    port,
    call: async (method, path, call = {}) => readAnswer(await open(method, path, call)),
    stream: async (path, call = {}) => new EventStream(await open('GET', path, call)),
    identity: (name, groups) => issueClientCertificate(pki, name, groups),
    close: async () => {
      for (const agent of agents.values()) agent.destroy();
      await server.close(500);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

interface Sending {
  readonly method: string;
  readonly path: string;
  readonly port: number;
  readonly agent: Agent;
  readonly call: CallOptions;
}

function send({ method, path, port, agent, call }: Sending): Promise<IncomingMessage> {
  const body =
    call.body === undefined || typeof call.body === 'string' || call.body instanceof Uint8Array
      ? call.body
      : JSON.stringify(call.body);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        servername: 'localhost',
        port,
        method,
        path,
        agent,
        headers: {
          ...(body === undefined
            ? {}
            : {
                'Content-Type': call.type ?? 'application/json',
                'Content-Length': Buffer.byteLength(body),
              }),
          ...(call.accept === undefined ? {} : { Accept: call.accept }),
          ...call.headers,
        },
      },
      resolve,
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(Buffer.from(chunk));
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString('utf8');
  const json = text.startsWith('{') ? JSON.parse(text) : undefined;
  return { code: response.statusCode ?? 0, headers: response.headers, bytes, text, json };
}

/** The events of a watch, one at a time. */
export class EventStream {
  readonly response: IncomingMessage;
  readonly #lines: AsyncGenerator<string, void, undefined>;

  constructor(response: IncomingMessage) {
    this.response = response;
    this.#lines = lines(response);
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape.
  async next(): Promise<any> {
    const { value, done } = await this.#lines.next();
    return done === true ? undefined : JSON.parse(value);
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above.
  async take(count: number): Promise<any[]> {
    const events: unknown[] = [];
    for (let i = 0; i < count; i += 1) events.push(await this.next());
    return events;
  }

  close(): void {
    this.response.destroy();
  }
}

async function* lines(response: IncomingMessage): AsyncGenerator<string, void, undefined> {
  let rest = '';
  for await (const chunk of response) {
    rest += String(chunk);
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      yield rest.slice(0, end);
      rest = rest.slice(end + 1);
    }
  }
}

export const PODS = '/api/v1/namespaces/default/pods';
export const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';
export const SERVICES = '/api/v1/namespaces/default/services';
export const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
export const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';

export const pod = (name: string, more: object = {}, labels = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels },
  spec: { containers: [{ name: 'c', image: 'busybox' }], ...more },
});
export const configMap = (name: string, data: object = {}, metadata: object = {}) => ({
  metadata: { name, ...metadata },
  data,
});
export const deployment = (name: string) => ({
  metadata: { name },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'c', image: 'busybox' }] },
    },
  },
});
