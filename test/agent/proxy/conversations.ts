/** Whatever two programs say to each other through the proxy, they hear it as they would without it. */
import { once } from 'node:events';
import net from 'node:net';
import fc from 'fast-check';
import { pino } from 'pino';
import t from 'tap';
import { LIMITS } from '../../../agent/config.ts';
import { ServiceProxy } from '../../../agent/proxy/service-proxy.ts';
import { systemClock } from '../../../protocol/clock.ts';
import { freePort } from '../../support/free-port.ts';
import { portOf } from '../../support/tcp-backend.ts';

const LOOPBACK = '127.0.0.1';

/** What one side does: the sizes of what it writes, and whether it reads nothing before it has written all. */
interface Part {
  readonly writes: readonly number[];
  readonly readsLate: boolean;
}

interface Conversation {
  readonly client: Part;
  readonly backend: Part;
  /** Who says first that it is done; the other one says it after it has heard that. Or each by itself. */
  readonly endsFirst: 'client' | 'backend' | 'each';
  /** Then nobody says so: when all has been heard, this one resets the connection. */
  readonly resets: 'client' | 'backend' | undefined;
}

const part: fc.Arbitrary<Part> = fc.record({
  writes: fc.array(
    fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 600_000 })),
    {
      maxLength: 4,
    },
  ),
  readsLate: fc.boolean(),
});

const conversation: fc.Arbitrary<Conversation> = fc.record({
  client: part,
  backend: part,
  endsFirst: fc.constantFrom('client' as const, 'backend' as const, 'each' as const),
  resets: fc.option(fc.constantFrom('client' as const, 'backend' as const), { nil: undefined }),
});

/** The side's bytes are all this one: a byte of the other side would be seen. */
const BYTE = { client: 0x63, backend: 0x62 } as const;

class Speaker {
  readonly heard = { bytes: 0, foreign: 0 };
  /** "end", or the code of an error. */
  readonly over: Promise<string>;
  readonly #socket: net.Socket;

  constructor(socket: net.Socket, foreign: number) {
    this.#socket = socket;
    this.over = new Promise((resolve) => {
      socket.on('end', () => resolve('end'));
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
    socket.on('data', (chunk: Buffer) => {
      this.heard.bytes += chunk.length;
      if (!chunk.every((byte) => byte === foreign)) this.heard.foreign++;
    });
    socket.pause();
  }

  /** Writes all; ends only when the kernel has it. */
  async say({ writes, readsLate }: Part, byte: number): Promise<void> {
    if (!readsLate) this.#socket.resume();
    const all = writes.map(
      (size) => new Promise((resolve) => this.#socket.write(Buffer.alloc(size, byte), resolve)),
    );
    // Two that read nothing before all is written would wait for each other.
    if (readsLate) setImmediate(() => this.#socket.resume());
    await Promise.all(all);
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  async hears(bytes: number): Promise<void> {
    while (this.heard.bytes < bytes) await once(this.#socket, 'data');
  }
}

async function held(speakers: Record<'client' | 'backend', Speaker>, plan: Conversation) {
  const { client, backend } = speakers;
  const saying = [client.say(plan.client, BYTE.client), backend.say(plan.backend, BYTE.backend)];
  if (plan.resets === undefined) {
    const first = plan.endsFirst === 'each' ? ['client', 'backend'] : [plan.endsFirst];
    for (const [index, name] of (['client', 'backend'] as const).entries()) {
      const speaker = speakers[name];
      void Promise.all([saying[index], first.includes(name) ? undefined : speaker.over]).then(() =>
        speaker.end(),
      );
    }
    return Promise.all([client.over, backend.over]);
  }
  await Promise.all([...saying, client.hears(sum(plan.backend)), backend.hears(sum(plan.client))]);
  speakers[plan.resets].reset();
  return [await other(speakers, plan.resets).over];
}

function other<T>(speakers: Record<'client' | 'backend', T>, name: 'client' | 'backend'): T {
  return speakers[name === 'client' ? 'backend' : 'client'];
}

function sum({ writes }: Part): number {
  return writes.reduce((total, size) => total + size, 0);
}

t.test('both sides hear each other as without a proxy, and nothing stays behind', async (t) => {
  const waiting: Array<(socket: net.Socket) => void> = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => waiting.shift()?.(socket));
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  const port = await freePort();
  const proxy = new ServiceProxy({
    clock: systemClock,
    log: pino({ level: 'silent' }),
    limits: LIMITS.proxy,
    random: Math.random,
    onProblem: () => {},
  });
  t.teardown(() => {
    proxy.stop();
    server.close();
  });
  const service = { namespace: 'default', name: 'web' };
  const backends = [{ ip: LOOPBACK, port: portOf(server) }];
  const spec = { ip: LOOPBACK, port, service, backends, affinity: undefined };
  proxy.update({
    listeners: new Map([['web', { ...spec, sourceRanges: undefined }]]),
    udpListeners: new Map(),
    problems: [],
  });
  while (!proxy.settled) await new Promise((resolve) => setTimeout(resolve, 3));
  const open = () =>
    process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  const before = open();

  const heardOn = async (port: number, plan: Conversation) => {
    const accepted = new Promise<net.Socket>((resolve) => waiting.push(resolve));
    const socket = net.connect({ port, host: LOOPBACK, allowHalfOpen: true });
    const speakers = {
      client: new Speaker(socket, BYTE.backend),
      backend: new Speaker(await accepted, BYTE.client),
    };
    const over = await held(speakers, plan);
    return { over, client: speakers.client.heard, backend: speakers.backend.heard };
  };
  await fc.assert(
    fc.asyncProperty(conversation, async (plan) => {
      const direct = await heardOn(portOf(server), plan);
      t.strictSame(await heardOn(port, plan), direct);
      t.strictSame(direct.client, { bytes: sum(plan.backend), foreign: 0 });
      t.strictSame(direct.backend, { bytes: sum(plan.client), foreign: 0 });
    }),
    { numRuns: 100 },
  );
  while (proxy.connections > 0 || open() > before) {
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
});
