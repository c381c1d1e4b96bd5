/** Pods are replaced one after another while a client asks at a fixed pace: no request is lost. */
import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import { pino } from 'pino';
import t from 'tap';
import { LIMITS } from '../../../agent/config.ts';
import { ServiceProxy } from '../../../agent/proxy/service-proxy.ts';
import { serviceTable } from '../../../agent/proxy/service-table.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type { DesiredService, ServiceEndpoint } from '../../../protocol/messages.ts';
import { freePort } from '../../support/free-port.ts';

const LOOPBACK = '127.0.0.1';
const PACE_MS = 5;
const REPLICAS = 3;
const REPLACED = 6;
/** Has crashed, and nobody has noticed yet: nothing listens there. */
const CRASHED: ServiceEndpoint = endpoint('127.0.0.9', 1);

function endpoint(ip: string, port: number, terminating = false): ServiceEndpoint {
  return { ip, ready: !terminating, terminating, ports: { http: port } };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 60_000;
  while (!condition()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** A web server that ends as those in pods should: it serves on, asks its clients to leave, and closes when they have. */
class Pod {
  answered = 0;
  port = 0;
  #leaving = false;
  readonly #sockets = new Set<net.Socket>();
  readonly #server = http.createServer((_, response) => {
    this.answered++;
    if (this.#leaving) response.setHeader('Connection', 'close');
    response.end('hello');
  });

  async start(): Promise<void> {
    // Only clients end idle connections here: a request and such an end may pass each other on the way.
    this.#server.keepAliveTimeout = 0;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    this.#server.listen(0, LOOPBACK);
    await once(this.#server, 'listening');
    const address = this.#server.address();
    this.port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  }

  /** For a pod that is no endpoint any more. */
  async leave(): Promise<void> {
    this.#leaving = true;
    // The kernel hands connections out in their order: whoever came before this one has been accepted when it is answered.
    await ask(this.port, false);
    await until('all clients have left', () => this.#sockets.size === 0);
    this.stop();
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function ask(port: number, agent: http.Agent | false): Promise<void> {
  const request = http.get({ host: LOOPBACK, port, agent });
  const [response] = await once(request, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  if (text !== 'hello') throw new Error(`the answer was cut off: "${text}"`);
}

t.test('pods replaced one after another under load cost no request', async (t) => {
  const clusterPort = await freePort();
  const nodePort = await freePort();
  const proxy = new ServiceProxy({
    clock: systemClock,
    log: pino({ level: 'silent' }),
    limits: LIMITS.proxy,
    random: Math.random,
    onProblem: ({ message }) => t.fail(message),
  });
  t.teardown(() => proxy.stop());
  const service: DesiredService = {
    v: 1,
    namespace: 'default',
    name: 'web',
    digest: 'd',
    type: 'NodePort',
    clusterIp: LOOPBACK,
    ports: [{ name: 'http', protocol: 'TCP', port: clusterPort, nodePort }],
    endpoints: [],
    internalTrafficLocal: false,
    externalTrafficLocal: false,
  };
  const board = { node: 'a', address: '', addresses: [LOOPBACK] };
  const follow = (endpoints: ServiceEndpoint[]): void =>
    proxy.update(serviceTable([{ ...service, endpoints: [...endpoints, CRASHED] }], board));
  const startPod = async (): Promise<Pod> => {
    const pod = new Pod();
    await pod.start();
    t.teardown(() => pod.stop());
    return pod;
  };
  const readyOnes = (pods: readonly Pod[]) => pods.map(({ port }) => endpoint(LOOPBACK, port));

  let pods = await Promise.all(Array.from({ length: REPLICAS }, startPod));
  follow(readyOnes(pods));
  await until('listening', () => proxy.settled);

  // First in, first out: each kept connection is used soon, and so hears soon that it should leave.
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4, scheduling: 'fifo' });
  t.teardown(() => agent.destroy());
  const lost: string[] = [];
  let asked = 0;
  let open = 0;
  const pace = setInterval(() => {
    const port = asked % 2 === 0 ? clusterPort : nodePort;
    const kept = asked % 4 < 2;
    asked++;
    open++;
    ask(port, kept ? agent : false)
      .catch((error: Error) => lost.push(`${kept ? 'kept' : 'new'} connection: ${error.message}`))
      .finally(() => open--);
  }, PACE_MS);
  t.teardown(() => clearInterval(pace));

  for (let index = 0; index < REPLACED; index++) {
    const fresh = await startPod();
    const [old, ...others] = pods;
    if (old === undefined) throw new Error('no pod left');
    follow(readyOnes([...pods, fresh]));
    await until('the new pod answers', () => fresh.answered >= 5);
    follow([...readyOnes([...others, fresh]), endpoint(LOOPBACK, old.port, true)]);
    await old.leave();
    pods = [...others, fresh];
    follow(readyOnes(pods));
  }
  clearInterval(pace);
  await until('every request has its answer', () => open === 0);
  t.same(lost, []);
  t.comment(`${asked} requests`);
});
