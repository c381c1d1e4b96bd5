/**
 * Cluster DNS beside Debian's dnsmasq: the same names, the same questions, in turn, on loopback. What counts is the
 * server's CPU per question: the client is a Node process as well and takes as much as the server.
 *
 * Arguments: --seconds N for a round (default 5), --rounds N (default 3), --no-peers. The peer: `apt-get install
 * dnsmasq-base`, or the path of the program in DNSMASQ.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { buildMessage, CLASS_IN, parseMessage, TYPE } from '../agent/dns/message.ts';
import { nameOf } from '../agent/dns/name.ts';
import { type Figures, printTable, quantile, round, say, spreadOf } from './benchmark.ts';
import { HOME } from './host.ts';
import { usageOf } from './measure.ts';

export const summary = 'questions per second and CPU second of cluster DNS; dnsmasq beside it';

const NAMES = 100;
const WINDOW = 64;
const LOST_MS = 2000;

interface Server {
  readonly name: string;
  readonly port: number;
  readonly child: ChildProcess;
}

interface Round {
  readonly perSecond: number;
  readonly cpuMicros: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lost: number;
}

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '3' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const servers = [await start('pier', process.execPath, pierArgs)];
  try {
    if (!values['no-peers']) {
      servers.push(await start('dnsmasq', process.env.DNSMASQ ?? 'dnsmasq', dnsmasqArgs));
    }
    const results = new Map<string, Round[]>();
    for (const server of servers) await measure(server, 1);
    for (let index = 0; index < Number(values.rounds); index++) {
      for (const server of servers) {
        say(`dns: round ${index + 1}, ${server.name}`);
        const one = await measure(server, Number(values.seconds));
        results.set(server.name, [...(results.get(server.name) ?? []), one]);
      }
    }
    return report(results);
  } finally {
    for (const { child } of servers) child.kill('SIGKILL');
  }
}

function pierArgs(port: number): string[] {
  return ['--import', 'tsx', join(HOME, 'bench/dns-server.ts'), String(port), String(NAMES)];
}

function dnsmasqArgs(port: number): string[] {
  const names = Array.from(
    { length: NAMES },
    (_, index) => `--host-record=web${index}.default.svc.cluster.local,10.43.1.${index}`,
  );
  return [
    ...['--keep-in-foreground', `--port=${port}`, '--listen-address=127.0.0.1', '--user=root'],
    ...['--bind-interfaces', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--pid-file='],
    ...['--local-ttl=5', ...names],
  ];
}

async function start(
  name: string,
  command: string,
  args: (port: number) => string[],
): Promise<Server> {
  const port = await freePort();
  const child = spawn(command, args(port), { stdio: ['ignore', 'ignore', 'inherit'] });
  const failed = once(child, 'error').then(([error]) => {
    throw new Error(`${name} cannot be started (${error}): install it, or give --no-peers`);
  });
  const server = { name, port, child };
  const answers = async () => {
    for (let attempt = 0; attempt < 100; attempt++) {
      const { lost, perSecond } = await measure(server, 0.05);
      if (perSecond > 0 && lost === 0) return;
      await sleep(100);
    }
    throw new Error(`${name} does not answer on port ${port}`);
  };
  await Promise.race([failed, answers()]);
  return server;
}

async function freePort(): Promise<number> {
  const socket = dgram.createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

const QUESTIONS = Array.from({ length: NAMES }, (_, index) => {
  const name = nameOf(`web${index}.default.svc.cluster.local`);
  const head = parseMessage(Uint8Array.from([0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
  const edns = { udpSize: 1232, version: 0, dnssecOk: false };
  return buildMessage({ ...head, edns, questions: [{ name, type: TYPE.A, class: CLASS_IN }] });
});

/** Asks with `WINDOW` questions under way for so long. The id of a question is its place in the window. */
async function measure({ port, child }: Server, seconds: number): Promise<Round> {
  const socket = dgram.createSocket('udp4');
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const sentMs = new Float64Array(WINDOW);
  const latencies: number[] = [];
  let asked = 0;
  let lost = 0;
  let open = true;
  const ask = (place: number): void => {
    const question = QUESTIONS[asked % NAMES];
    if (!open || question === undefined) return;
    asked++;
    const bytes = Buffer.from(question);
    bytes.writeUInt16BE(place, 0);
    sentMs[place] = performance.now();
    socket.send(bytes, () => {});
  };
  socket.on('error', () => {});
  socket.on('message', (bytes) => {
    const place = bytes.readUInt16BE(0);
    latencies.push(performance.now() - (sentMs[place] ?? 0));
    ask(place);
  });
  const before = await usageOf(child.pid ?? 0);
  const startedMs = performance.now();
  for (let place = 0; place < WINDOW; place++) ask(place);
  const repeat = setInterval(() => {
    const nowMs = performance.now();
    for (let place = 0; place < WINDOW; place++) {
      if (nowMs - (sentMs[place] ?? 0) < LOST_MS) continue;
      lost++;
      ask(place);
    }
  }, 500);
  await sleep(seconds * 1000);
  open = false;
  const elapsed = (performance.now() - startedMs) / 1000;
  const after = await usageOf(child.pid ?? 0);
  clearInterval(repeat);
  socket.close();
  const count = latencies.length;
  const share = (part: number) => (count === 0 ? 0 : round(quantile(latencies, part), 2));
  return {
    perSecond: count / elapsed,
    cpuMicros: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / Math.max(1, count),
    p50Ms: share(0.5),
    p99Ms: share(0.99),
    lost,
  };
}

function report(results: ReadonlyMap<string, readonly Round[]>): Figures {
  const head = ['server', 'questions/s', 'CPU us/question', 'p50 ms', 'p99 ms', 'lost'];
  const rows: Array<Array<string | number>> = [head];
  const out: Record<string, Record<string, ReturnType<typeof spreadOf>>> = {};
  for (const [name, rounds] of results) {
    const spread = {
      perSecond: spreadOf(rounds.map((one) => one.perSecond)),
      cpuMicros: spreadOf(
        rounds.map((one) => one.cpuMicros),
        1,
      ),
      p50Ms: spreadOf(
        rounds.map((one) => one.p50Ms),
        2,
      ),
      p99Ms: spreadOf(
        rounds.map((one) => one.p99Ms),
        2,
      ),
      lost: spreadOf(rounds.map((one) => one.lost)),
    };
    out[name] = spread;
    rows.push([name, ...Object.values(spread).map(({ median }) => median)]);
  }
  printTable(rows);
  const { pier = {}, ...peers } = out;
  return { figures: pier, peers };
}
