/**
 * The API of a whole built master over TLS on loopback: create, get, patch, list of 5,000 pods of 1 KB, events to 100 watchers,
 * what `kubectl get pods` asks on a fleet of 50 boards and 500 pods, memory. On tmpfs (`/dev/shm`) and on the disk.
 *   --seconds N (5) of each load   --clients N (32)   --only tmpfs|disk
 * The pods name a scheduler that nobody is, so that the API is measured and not the scheduler. Load and master share the cores; the
 * CPU time of the master per request says most where others work on the machine too. Each load runs warm for a second before it counts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { parseArgs } from 'node:util';
import { type Connection, readKubeconfig } from '../cli/kubeconfig.ts';
import { type Figures, type Json, printTable, quantile, round, say } from './benchmark.ts';
import { buildPier } from './cluster.ts';
import { HOME } from './host.ts';
import { HttpConnection, load } from './store-client.ts';

export const summary =
  'create, get, list, patch and watch of the whole master over TLS; its memory';

const PODS = 5_000;
const WATCHERS = 100;
const EVENTS = 200;
const LISTS = 10;
const START_MS = 60_000;
const WARM_SECONDS = 1;
/** A tick of /proc/PID/stat. */
const TICK_MS = 10;
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
const BENCH = '/api/v1/namespaces/default/pods';

interface Master {
  readonly connection: Connection;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '5' },
      clients: { type: 'string', default: '32' },
      only: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  buildPier();
  const options = { seconds: Number(values.seconds), clients: Number(values.clients) };
  const figures: Record<string, Json> = {};
  for (const [name, parent] of [
    ['tmpfs', '/dev/shm'],
    ['disk', tmpdir()],
  ] as const) {
    if (values.only !== undefined && values.only !== name) continue;
    const folder = mkdtempSync(join(parent, 'pier-bench-api-'));
    try {
      figures[name] = await measure(folder, name, options);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return { figures, peers: {} };
}

interface Options {
  readonly seconds: number;
  readonly clients: number;
}

async function measure(folder: string, name: string, options: Options): Promise<Json> {
  const master = await startMaster(folder);
  try {
    const head = [name, 'per second', 'p50 ms', 'p99 ms', 'CPU ms each'];
    const rows: (string | number)[][] = [head];
    const figures: Record<string, Json> = {};
    const put = async (what: string, next: (number: number) => Uint8Array): Promise<void> => {
      say(`${name}: ${what}`);
      await load(open, { ...options, seconds: WARM_SECONDS, next });
      const beforeMs = cpuMsOf(master);
      const result = await load(open, { ...options, next });
      const each = (cpuMsOf(master) - beforeMs) / Math.max(1, result.rate * options.seconds);
      const { rate, p50Ms, p99Ms } = result;
      rows.push([what, round(rate, 0), round(p50Ms, 2), round(p99Ms, 2), round(each, 3)]);
      const shown = { rate: round(rate, 0), p50Ms: round(p50Ms, 2), p99Ms: round(p99Ms, 2) };
      figures[what] = { ...shown, cpuMs: round(each, 3) };
    };
    const open = () => openTls(master.connection);
    const post = (n: number) => requestOf('POST', BENCH, JSON.stringify(podOf(`p${n}`)));
    let made = 0;
    await put('create', () => post(made++));
    made = await settle(open, made);
    const get = (n: number) => requestOf('GET', `${BENCH}/p${n % PODS}`);
    await put('get', get);
    const patch = (n: number) => {
      const body = JSON.stringify({ metadata: { annotations: { n: String(n) } } });
      return requestOf('PATCH', `${BENCH}/p${n % PODS}`, body, 'application/merge-patch+json');
    };
    await put('patch', patch);
    say(`${name}: list, watch`);
    figures.list = await lists(rows, master, `list of ${PODS}`, requestOf('GET', '/api/v1/pods'));
    figures.watch = await fanOut(rows, master);
    figures.fleet = await fleet(rows, master);
    const rssMiB = round(rssOf(master) / 1024, 0);
    rows.push([`RSS with ${PODS} pods and ${WATCHERS} watches, MiB`, rssMiB, '', '']);
    printTable(rows);
    return { ...figures, rssMiB };
  } finally {
    await master.stop();
  }
}

/** Exactly PODS pods, whatever the create load made. Returns how many there are. */
async function settle(open: () => Promise<HttpConnection>, made: number): Promise<number> {
  const connection = await open();
  for (let n = made; n < PODS; n += 1) {
    await connection.send(requestOf('POST', BENCH, JSON.stringify(podOf(`p${n}`))));
  }
  for (let n = PODS; n < made; n += 1) {
    await connection.send(requestOf('DELETE', `${BENCH}/p${n}`)).catch(() => undefined);
  }
  connection.close();
  return PODS;
}

async function lists(
  rows: (string | number)[][],
  { connection }: Master,
  what: string,
  request: Buffer,
): Promise<Json> {
  const client = await openTls(connection);
  const tookMs: number[] = [];
  let bytes = 0;
  for (let i = 0; i < LISTS; i += 1) {
    const startMs = performance.now();
    bytes = (await client.send(request)).byteLength;
    tookMs.push(performance.now() - startMs);
  }
  client.close();
  const p50Ms = round(quantile(tookMs, 0.5), 1);
  const maxMs = round(Math.max(...tookMs), 1);
  rows.push([`${what}, ${round(bytes / 2 ** 20, 1)} MiB`, '', p50Ms, maxMs]);
  return { p50Ms, maxMs, bytes };
}

/** From the write to the arrival at each of the watchers. */
async function fanOut(rows: (string | number)[][], { connection }: Master): Promise<Json> {
  const tookMs: number[] = [];
  let sentMs = 0;
  let left = 0;
  let arrived: () => void = () => undefined;
  const watch = requestOf('GET', `${BENCH}?watch=1&resourceVersion=${await revision(connection)}`);
  const watchers = await Promise.all(
    Array.from({ length: WATCHERS }, async () => {
      const client = await openTls(connection);
      client.onData = (data) => {
        if (!data.includes('"MODIFIED"')) return;
        tookMs.push(performance.now() - sentMs);
        left -= 1;
        if (left === 0) arrived();
      };
      client.write(watch);
      return client;
    }),
  );
  // The heads have come when the first event reaches all.
  const writer = await openTls(connection);
  for (let n = 0; n < EVENTS; n += 1) {
    const all = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    left = WATCHERS;
    const body = JSON.stringify({ metadata: { annotations: { event: String(n) } } });
    sentMs = performance.now();
    const patch = requestOf('PATCH', `${BENCH}/p0`, body, 'application/merge-patch+json');
    await Promise.all([writer.send(patch), all]);
  }
  for (const client of [writer, ...watchers]) client.close();
  // Without the first events: the watches were still being opened.
  const settled = tookMs.slice(WATCHERS * 5);
  const figures = {
    p50Ms: round(quantile(settled, 0.5), 1),
    p99Ms: round(quantile(settled, 0.99), 1),
  };
  rows.push([`event to ${WATCHERS} watchers`, '', figures.p50Ms, figures.p99Ms]);
  return figures;
}

/** 50 boards and 500 pods: what `kubectl get pods` asks for. */
async function fleet(rows: (string | number)[][], master: Master): Promise<Json> {
  const client = await openTls(master.connection);
  const namespace = JSON.stringify({ metadata: { name: 'fleet' } });
  await client.send(requestOf('POST', '/api/v1/namespaces', namespace));
  for (let n = 0; n < 50; n += 1) {
    const node = JSON.stringify({ metadata: { name: `board-${n}` } });
    await client.send(requestOf('POST', '/api/v1/nodes', node));
  }
  const pods = '/api/v1/namespaces/fleet/pods';
  for (let n = 0; n < 500; n += 1) {
    const pod = podOf(`p${n}`);
    const body = { ...pod, spec: { ...pod.spec, nodeName: `board-${n % 50}` } };
    await client.send(requestOf('POST', pods, JSON.stringify(body)));
  }
  client.close();
  const request = requestOf('GET', `${pods}?limit=500`, '', '', TABLE);
  return lists(rows, master, 'kubectl get pods (500)', request);
}

async function revision(connection: Connection): Promise<string> {
  const client = await openTls(connection);
  const answer = await client.send(requestOf('GET', `${BENCH}?limit=1`));
  client.close();
  return /"resourceVersion":"(\d+)"/.exec(answer.toString('utf8'))?.[1] ?? '0';
}

/** About 1 KB as JSON when stored. */
function podOf(name: string) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'bench', tier: 'web' } },
    spec: {
      schedulerName: 'bench',
      containers: [
        {
          name: 'web',
          image: 'registry.example/team/web:1.2.3',
          ports: [{ containerPort: 8080 }],
          env: [{ name: 'MODE', value: 'production' }],
          resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
        },
      ],
    },
  };
}

function requestOf(method: string, path: string, body = '', type = '', accept = ''): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: pier-master'];
  if (accept !== '') lines.push(`Accept: ${accept}`);
  if (body !== '') {
    lines.push(`Content-Type: ${type === '' ? 'application/json' : type}`);
    lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

function openTls({ server, ca, cert, key, serverName }: Connection): Promise<HttpConnection> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: Number(server.port), ca, cert, key };
    const socket = connect({ ...options, servername: serverName ?? 'localhost' }, () => {
      socket.off('error', reject);
      resolve(new HttpConnection(socket));
    });
    socket.once('error', reject);
  });
}

async function startMaster(folder: string): Promise<Master> {
  const [api, mqtt] = [await freePort(), await freePort()];
  const program = join(HOME, 'dist/pier-master.mjs');
  const ports = ['--api-port', String(api), '--mqtt-port', String(mqtt), '--listen', '127.0.0.1'];
  const child = spawn(process.execPath, [program, 'run', '--data', folder, ...ports], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PIER_LOG: 'error' },
  });
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.kill('SIGTERM')) await ended;
  };
  const kubeconfig = join(folder, 'admin.kubeconfig');
  const endMs = performance.now() + START_MS;
  while (performance.now() < endMs && child.exitCode === null) {
    if (existsSync(kubeconfig)) {
      const connection = readKubeconfig(kubeconfig);
      const isUp = await openTls(connection).then(
        (client) => {
          client.close();
          return true;
        },
        () => false,
      );
      if (isUp) return { connection, process: child, stop };
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await stop();
  throw new Error('the master did not come up');
}

/** User and system time of the master so far. */
function cpuMsOf(master: Master): number {
  const stat = readFileSync(`/proc/${master.process.pid}/stat`, 'utf8');
  // Behind the name, which may hold anything, utime and stime are fields 11 and 12.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function rssOf(master: Master): number {
  const status = readFileSync(`/proc/${master.process.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
