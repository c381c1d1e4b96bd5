/** Probes: what their answers mean (tables, no I/O), and what each kind of probe says about real servers on loopback. */
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import t, { type Test } from 'tap';
import { type BoardPod, boardPod } from '../../agent/plan/board-pod.ts';
import {
  dueProbes,
  failedProbe,
  isReady,
  isStarted,
  NO_HEALTH,
  noteAnswer,
  noteAsked,
  noteHooked,
  noteRunning,
  type PodHealth,
  type ProbeAnswer,
  type Remembered,
  toRemember,
} from '../../agent/plan/probes.ts';
import { ask } from '../../agent/probe/ask.ts';
import { FakeRuntime } from '../../agent/runtime/fake.ts';
import { type Container, RuntimeError } from '../../agent/runtime/runtime.ts';
import { makeAuthority } from '../../master/pki/certificates.ts';
import type { Container as KubeContainer, Probe } from '../../protocol/kinds/types.ts';

const PROBE: Probe = { exec: { command: ['true'] }, periodSeconds: 10, timeoutSeconds: 1 };

function podWith(container: Partial<KubeContainer>): BoardPod {
  const spec = { containers: [{ name: 'main', image: 'app:1', ...container }] };
  const made = boardPod({ metadata: { uid: 'u1', name: 'web' }, spec });
  if (made === undefined) throw new Error('not a pod');
  return made;
}

function running(id: string): Container {
  const facts = { podUid: 'u1', attempt: 0, specHash: '', image: 'app:1', imageId: '' };
  return { id, name: 'main', state: 'running', ...facts };
}

/** One container through time. `nowMs` is turned by `answer`, which answers all probes that are due. */
class Patient {
  readonly pod: BoardPod;
  readonly #remembered: Remembered | undefined;
  health: PodHealth = NO_HEALTH;
  nowMs = 0;

  constructor(container: Partial<KubeContainer>, remembered?: Remembered) {
    this.pod = podWith(container);
    this.#remembered = remembered;
    this.see('c0');
  }

  see(id: string | undefined): void {
    const seen = id === undefined ? [] : [running(id)];
    const facts = { nowMs: this.nowMs, remembered: () => this.#remembered };
    this.health = noteRunning(this.health, this.pod, seen, facts);
  }

  /** Types that are due now. */
  due(): string {
    return dueProbes(this.health, this.pod, this.nowMs)
      .due.map(({ type }) => type)
      .join(' ');
  }

  wakeAtMs(): number | undefined {
    return dueProbes(this.health, this.pod, this.nowMs).wakeAtMs;
  }

  answer(...answers: ProbeAnswer[]): string {
    for (const answer of answers) {
      const wakeAtMs = this.due() === '' ? this.wakeAtMs() : undefined;
      this.nowMs = wakeAtMs ?? this.nowMs;
      for (const due of dueProbes(this.health, this.pod, this.nowMs).due) {
        this.health = noteAsked(this.health, due);
        const times = { askedMs: this.nowMs, nowMs: this.nowMs + 5 };
        this.health = noteAnswer(this.health, due, answer, times);
      }
    }
    return this.says();
  }

  says(id = 'c0'): string {
    const [container] = this.pod.spec.containers;
    if (container === undefined) throw new Error('no container');
    const failed = failedProbe(this.health, container, id)?.type;
    const words = [
      isStarted(this.health, container, id) ? 'started' : 'not started',
      isReady(this.health, container, id) ? 'ready' : 'not ready',
      ...(failed === undefined ? [] : [`${failed} failed`]),
    ];
    return words.join(', ');
  }
}

t.test('a container without probes is ready as soon as it runs, and is never asked', async (t) => {
  const patient = new Patient({});
  t.equal(patient.says(), 'started, ready');
  t.equal(patient.due(), '');
  t.equal(patient.wakeAtMs(), undefined, 'no timer either');
  t.equal(patient.says('another'), 'not started, not ready');
  patient.see(undefined);
  t.equal(patient.says(), 'not started, not ready', 'an ended one is neither');
});

t.test('readiness: not before the first success, and thresholds both ways', async (t) => {
  const patient = new Patient({
    readinessProbe: { ...PROBE, successThreshold: 2, failureThreshold: 3 },
  });
  t.equal(patient.says(), 'started, not ready');
  t.equal(patient.due(), 'readiness', 'asked at once without a delay');
  t.equal(patient.answer('success'), 'started, not ready');
  t.equal(patient.wakeAtMs(), 10_000, 'the period counts from when it was due');
  t.equal(patient.answer('failure', 'success'), 'started, not ready', 'not in a row');
  t.equal(patient.answer('success'), 'started, ready');
  t.equal(patient.answer('failure', 'failure', 'unknown'), 'started, ready', 'still');
  t.equal(patient.answer('failure'), 'started, not ready', 'unknown does not break the row');
  t.equal(patient.answer('success', 'success'), 'started, ready');
});

t.test('liveness: ends the container at the third failure, and asks no more', async (t) => {
  const patient = new Patient({ livenessProbe: { ...PROBE, initialDelaySeconds: 7 } });
  t.equal(patient.due(), '');
  t.equal(patient.wakeAtMs(), 7000);
  t.equal(patient.answer('failure', 'failure', 'success', 'failure', 'failure'), 'started, ready');
  t.equal(patient.answer('failure'), 'started, ready, liveness failed');
  t.equal(patient.wakeAtMs(), undefined);
  patient.see('c1');
  t.equal(patient.says('c1'), 'started, ready', 'the next container begins from nothing');
  t.equal(patient.wakeAtMs(), patient.nowMs + 7000);
});

t.test('startup: the others wait for it, then it is asked no more', async (t) => {
  const patient = new Patient({
    startupProbe: { ...PROBE, failureThreshold: 2, periodSeconds: 1 },
    livenessProbe: PROBE,
    readinessProbe: { ...PROBE, initialDelaySeconds: 60 },
  });
  t.equal(patient.due(), 'startup');
  t.equal(patient.answer('failure'), 'not started, not ready');
  t.equal(patient.wakeAtMs(), 1000);
  t.equal(patient.answer('success'), 'started, not ready');
  patient.nowMs += 5;
  t.equal(patient.due(), 'liveness readiness', 'readiness does not wait for its turn');
  t.equal(patient.answer('success'), 'started, ready');
  const failing = new Patient({ startupProbe: { ...PROBE, failureThreshold: 2 } });
  t.equal(failing.answer('failure', 'failure'), 'not started, not ready, startup failed');
});

t.test('an answer that comes late counts for nobody else', async (t) => {
  const patient = new Patient({ livenessProbe: { ...PROBE, failureThreshold: 1 } });
  const [due] = dueProbes(patient.health, patient.pod, 0).due;
  if (due === undefined) throw new Error('nothing is due');
  patient.health = noteAsked(patient.health, due);
  t.equal(patient.due(), '', 'not asked twice at the same time');
  patient.see('c1');
  const after = noteAnswer(patient.health, due, 'failure', { askedMs: 0, nowMs: 1 });
  t.equal(after, patient.health);
  // A probe slower than its period is asked again at once, but what was missed is not made up for.
  const slow = new Patient({ livenessProbe: { ...PROBE, periodSeconds: 1 } });
  const [late] = dueProbes(slow.health, slow.pod, 0).due;
  if (late === undefined) throw new Error('nothing is due');
  slow.health = noteAnswer(slow.health, late, 'success', { askedMs: 0, nowMs: 9000 });
  slow.nowMs = 9000;
  t.equal(slow.due(), 'liveness');
  t.equal(slow.answer('success'), 'started, ready');
  t.equal(slow.wakeAtMs(), 10_000);
});

t.test('a restarted agent takes nobody out of service, and asks not all at once', async (t) => {
  const probes = { startupProbe: PROBE, readinessProbe: PROBE, livenessProbe: PROBE };
  const before = { started: true, ready: true, hooked: true };
  const patient = new Patient(probes, before);
  t.equal(patient.says(), 'started, ready');
  t.same(toRemember(patient.health, { name: 'main', ...probes }, 'c0'), before);
  const wakeAtMs = patient.wakeAtMs() ?? -1;
  t.ok(wakeAtMs > 0 && wakeAtMs < 10_000, 'somewhere within the period');
  t.equal(patient.answer('failure', 'failure', 'failure'), 'started, ready', 'two probes, in turn');
  t.match(patient.answer('failure', 'failure', 'failure'), /not ready, liveness failed/);
  const unready = new Patient(probes, { ...before, ready: false });
  t.equal(unready.says(), 'started, not ready');
});

t.test('nothing is probed before the postStart hook has run', async (t) => {
  const lifecycle = { postStart: { exec: { command: ['true'] } } };
  const patient = new Patient({ lifecycle, readinessProbe: PROBE });
  t.equal(patient.says(), 'not started, not ready');
  t.equal(patient.wakeAtMs(), undefined);
  patient.health = noteHooked(patient.health, 'main', 'another');
  t.equal(patient.due(), '');
  patient.health = noteHooked(patient.health, 'main', 'c0');
  t.equal(patient.due(), 'readiness');
  const again = new Patient({ lifecycle }, { started: true, ready: true, hooked: true });
  t.equal(again.says(), 'started, ready', 'it is not run again by another agent');
});

const ENGINE = new FakeRuntime();

function asks(probe: Probe, port = 0, more: Partial<KubeContainer> = {}) {
  const container = { name: 'main', ports: [{ name: 'web', containerPort: port }], ...more };
  const place = { container, containerId: 'c0', podIp: '127.0.0.1', runtime: ENGINE };
  return ask({ timeoutSeconds: 20, ...probe }, place);
}

async function listening(t: Test, server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port }: AddressInfo = JSON.parse(JSON.stringify(server.address()));
  return port;
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port }: AddressInfo = JSON.parse(JSON.stringify(server.address()));
  await new Promise((resolve) => server.close(resolve));
  return port;
}

t.test('httpGet: what counts as a success, and the words for the rest', async (t) => {
  const heard: http.IncomingHttpHeaders[] = [];
  const server = http.createServer((request, response) => {
    heard.push(request.headers);
    const url = request.url ?? '';
    if (url === '/hang') return;
    if (url === '/loop') response.writeHead(302, { location: '/loop' });
    else if (url === '/away') response.writeHead(302, { location: 'http://198.51.100.1/' });
    else if (url === '/to-good') response.writeHead(302, { location: '/200' });
    else response.writeHead(Number(url.slice(1, 4)));
    response.end('body');
  });
  const port = await listening(t, server);
  t.teardown(() => server.closeAllConnections());
  const get = (path: string, more: object = {}) =>
    asks({ httpGet: { port: 'web', path, ...more } }, port);
  const at = `http://127.0.0.1:${port}`;
  const cases: ReadonlyArray<readonly [string, string, string | RegExp]> = [
    ['/200', 'success', 'body'],
    ['/399', 'success', 'body'],
    ['/400', 'failure', 'HTTP probe failed with statuscode: 400'],
    ['/503?deep=1', 'failure', 'HTTP probe failed with statuscode: 503'],
    ['/to-good', 'success', 'body'],
    ['/away', 'success', 'Probe terminated redirects, Response body: body'],
    ['/loop', 'failure', `Get "${at}/loop": stopped after 10 redirects`],
  ];
  for (const [path, answer, output] of cases) t.match(await get(path), { answer, output }, path);
  t.match(await get('/away'), { warning: true });
  heard.length = 0;
  const httpHeaders = [
    { name: 'Host', value: 'shop' },
    { name: 'X-Probe', value: '1' },
  ];
  await get('200', { httpHeaders });
  t.match(heard[0], { host: 'shop', 'x-probe': '1', 'user-agent': /^kube-probe\//, accept: '*/*' });
  t.match(await asks({ httpGet: { port, path: '/hang' }, timeoutSeconds: 1 }), {
    answer: 'failure',
    output: /^Get ".*\/hang": context deadline exceeded/,
  });
  const closed = await closedPort();
  t.same(await asks({ httpGet: { port: closed, path: '/' } }), {
    answer: 'failure',
    output: `Get "http://127.0.0.1:${closed}/": dial tcp 127.0.0.1:${closed}: connect: connection refused`,
  });
  t.match(await asks({ httpGet: { port: 'other', path: '/' } }, port), {
    answer: 'unknown',
    output: "couldn't find port: other in container main",
  });
});

t.test('httpGet over TLS takes any certificate', async (t) => {
  const { certificate: cert, privateKey: key } = await makeAuthority('test', randomBytes);
  const server = https.createServer({ cert, key }, (_, response) => response.end('safe'));
  const port = await listening(t, server);
  const result = await asks({ httpGet: { port, path: '/', scheme: 'HTTPS' } });
  t.match(result, { answer: 'success', output: 'safe' });
});

t.test('tcpSocket: open or not', async (t) => {
  const port = await listening(
    t,
    net.createServer((socket) => socket.destroy()),
  );
  t.equal((await asks({ tcpSocket: { port } })).answer, 'success');
  t.equal((await asks({ tcpSocket: { port: 'web' } }, port)).answer, 'success');
  const closed = await closedPort();
  t.same(await asks({ tcpSocket: { port: closed, host: '127.0.0.1' } }), {
    answer: 'failure',
    output: `dial tcp 127.0.0.1:${closed}: connect: connection refused`,
  });
});

t.test('grpc: the health service over HTTP/2', async (t) => {
  const server = http2.createServer();
  server.on('stream', (stream, headers) => {
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => {
      const service = Buffer.concat(parts).subarray(7).toString();
      if (service === 'silent') return;
      if (service === 'nobody' || headers[':path'] !== '/grpc.health.v1.Health/Check') {
        const trailers = { 'grpc-status': '12', 'grpc-message': 'unknown%20service' };
        stream.respond({ ':status': 200, ...trailers }, { endStream: true });
        return;
      }
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      const message = service === 'bad' ? [0x08, 2] : service === 'zero' ? [] : [0x08, 1];
      stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]));
    });
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  t.teardown(() => {
    for (const session of sessions) session.destroy();
  });
  const port = await listening(t, server);
  const says = (service: string, timeoutSeconds = 20) =>
    asks({ grpc: { port, service }, timeoutSeconds });
  t.same(await says(''), { answer: 'success', output: '' });
  t.same(await says('shop'), { answer: 'success', output: '' });
  t.same(await says('bad'), {
    answer: 'failure',
    output: 'service unhealthy (responded with "NOT_SERVING")',
  });
  t.match(await says('zero'), { answer: 'failure', output: /"UNKNOWN"/ });
  t.match(await says('nobody'), {
    answer: 'failure',
    output: /does not implement the grpc health protocol .*: unknown service$/,
  });
  t.match(await says('silent', 1), {
    answer: 'failure',
    output: /^timeout: failed to connect service ".*" within 1s: context deadline exceeded$/,
  });
  const closed = await closedPort();
  t.match(await asks({ grpc: { port: closed } }), {
    answer: 'failure',
    output: /connect: connection refused/,
  });
  const plain = await listening(
    t,
    http.createServer((_, response) => response.end()),
  );
  t.equal((await asks({ grpc: { port: plain } })).answer, 'failure', 'no HTTP/2 there');
});

t.test('exec: exit codes, time, and what could not be asked', async (t) => {
  const engine = (results: Partial<Awaited<ReturnType<FakeRuntime['execute']>>>) => ({
    execute: async () => ({ exitCode: undefined, output: '', ...results }),
  });
  const asksEngine = (runtime: Pick<FakeRuntime, 'execute'>) =>
    ask(PROBE, { container: { name: 'main' }, containerId: 'c0', podIp: '', runtime });
  t.same(await asksEngine(engine({ exitCode: 0, output: 'fine' })), {
    answer: 'success',
    output: 'fine',
  });
  t.same(await asksEngine(engine({ exitCode: 1, output: 'no such file' })), {
    answer: 'failure',
    output: 'no such file',
  });
  t.same(await asksEngine(engine({})), {
    answer: 'failure',
    output: 'command "true" timed out after 1s',
  });
  const broken = {
    execute: () => Promise.reject(new RuntimeError('engine is away')),
  };
  t.same(await asksEngine(broken), { answer: 'unknown', output: 'engine is away' });
});
