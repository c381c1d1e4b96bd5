/**
 * The store beside etcd: the same HTTP requests (etcd's JSON gateway) to both, same disk, same values, both syncing each
 * acknowledged write, in turns. Then what only concerns us: opening, memory, bytes written.
 *   --rounds N (5)   --seconds N (3) of each load   --no-peers   --only compare|size
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import {
  type Figures,
  type Json,
  printTable,
  quantile,
  round,
  say,
  spreadOf,
} from './benchmark.ts';
import { HttpConnection, type LoadResult, load, requestBytes } from './store-client.ts';

export const summary = 'puts, ranges and watches of the store beside etcd; opening, memory, bytes';

const VALUE_BYTES = 512;
const KEYS = 10_000;
const RANGE_KEYS = 1_000;
const WATCHERS = 100;
const WATCH_PUTS = 300;
const START_MS = 30_000;

interface Server {
  readonly name: 'pier' | 'etcd';
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

type Work = 'put, 1 client' | 'put, 64 clients' | 'range of 1,000 keys' | 'watch, 100 watchers';
const WORKS: readonly Work[] = [
  'put, 1 client',
  'put, 64 clients',
  'range of 1,000 keys',
  'watch, 100 watchers',
];

const b64 = (text: string) => Buffer.from(text).toString('base64');
const keyOf = (number: number) => `/bench/k-${String(number).padStart(6, '0')}`;

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      only: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'pier-bench-store-'));
  try {
    await bundle(folder);
    const figures: Record<string, Json> = {};
    const peers: Record<string, Json> = {};
    if (values.only !== 'size') {
      const options = { rounds: Number(values.rounds), seconds: Number(values.seconds) };
      const compared = await compare(folder, { ...options, withEtcd: !values['no-peers'] });
      figures.http = compared.figures;
      peers.etcd = compared.peers;
    }
    if (values.only !== 'compare') figures.size = measureSize(folder);
    return { figures, peers };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function bundle(folder: string): Promise<void> {
  await build({
    entryPoints: ['store-server', 'store-size'].map((name) =>
      join(import.meta.dirname, `${name}.ts`),
    ),
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
  });
}

interface CompareOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly withEtcd: boolean;
}

async function compare(folder: string, options: CompareOptions): Promise<Figures> {
  const servers = [await startPier(folder)];
  try {
    if (options.withEtcd) servers.push(await startEtcd(folder));
    const results = new Map<string, LoadResult[]>();
    for (const server of servers) await prepare(server);
    for (let number = 1; number <= options.rounds; number++) {
      say(`store: round ${number} of ${options.rounds}`);
      for (const work of WORKS) {
        // Who begins changes: the first of a pair finds another disk than the second.
        const order = number % 2 === 0 ? servers.toReversed() : servers;
        for (const server of order) {
          const list = results.get(`${work} ${server.name}`) ?? [];
          list.push(await once(server, work, options.seconds));
          results.set(`${work} ${server.name}`, list);
        }
      }
    }
    return report(results, options.withEtcd);
  } finally {
    for (const server of servers) await server.stop();
  }
}

function report(results: ReadonlyMap<string, LoadResult[]>, withEtcd: boolean): Figures {
  const rows: (string | number)[][] = [
    ['work', 'pier /s', 'p50 ms', 'p99 ms', 'etcd /s', 'p50 ms', 'p99 ms', 'rate x', 'p99 x'],
  ];
  const figures: Record<string, Json> = {};
  const peers: Record<string, Json> = {};
  for (const work of WORKS) {
    const ours = results.get(`${work} pier`) ?? [];
    const theirs = results.get(`${work} etcd`) ?? [];
    const median = (list: readonly LoadResult[], field: keyof LoadResult) =>
      list.length === 0
        ? 0
        : round(
            quantile(
              list.map((each) => each[field]),
              0.5,
            ),
            field === 'rate' ? 0 : 2,
          );
    const ratio = (field: keyof LoadResult) =>
      ours.map((each, at) => each[field] / (theirs[at]?.[field] ?? Number.NaN));
    const cells = (list: readonly LoadResult[]) => [
      median(list, 'rate'),
      median(list, 'p50Ms'),
      median(list, 'p99Ms'),
    ];
    const compared = withEtcd
      ? { rateRatio: spreadOf(ratio('rate'), 2), p99Ratio: spreadOf(ratio('p99Ms'), 2) }
      : {};
    rows.push([
      work,
      ...cells(ours),
      ...(withEtcd ? cells(theirs) : ['', '', '']),
      compared.rateRatio?.median ?? '',
      compared.p99Ratio?.median ?? '',
    ]);
    const facts = (list: readonly LoadResult[]) => ({
      rate: spreadOf(list.map((each) => each.rate)),
      p50Ms: median(list, 'p50Ms'),
      p99Ms: median(list, 'p99Ms'),
    });
    figures[work] = { ...facts(ours), ...compared };
    if (withEtcd) peers[work] = facts(theirs);
  }
  printTable(rows);
  return { figures, peers };
}

/** The keys of the range, and a second of puts, so that both are warm. */
async function prepare(server: Server): Promise<void> {
  const value = b64('r'.repeat(VALUE_BYTES));
  const connection = await HttpConnection.open(server.port);
  for (let number = 0; number < RANGE_KEYS; number++) {
    const body = `{"key":"${b64(`/range/${String(number).padStart(4, '0')}`)}","value":"${value}"}`;
    await connection.send(requestBytes(server.port, '/v3/kv/put', body));
  }
  connection.close();
  await load(server.port, { clients: 16, seconds: 1, next: puts(server) });
}

async function once(server: Server, work: Work, seconds: number): Promise<LoadResult> {
  const { port } = server;
  if (work === 'put, 1 client') return load(port, { clients: 1, seconds, next: puts(server) });
  if (work === 'put, 64 clients') return load(port, { clients: 64, seconds, next: puts(server) });
  if (work === 'watch, 100 watchers') return fanOut(server);
  const body = `{"key":"${b64('/range/')}","range_end":"${b64('/range0')}"}`;
  const request = requestBytes(port, '/v3/kv/range', body);
  return load(port, { clients: 4, seconds, next: () => request });
}

let putNumber = 0;
/** Another value each time: the same one would cost us nothing. Prepared in part, the client shall cost little. */
function puts(server: Server): () => Buffer {
  const filler = b64('v'.repeat(VALUE_BYTES - 12));
  return () => {
    putNumber += 1;
    const value = b64(String(putNumber).padStart(12, '0'));
    const key = b64(keyOf((putNumber * 7919) % KEYS));
    return requestBytes(server.port, '/v3/kv/put', `{"key":"${key}","value":"${value}${filler}"}`);
  };
}

/** Puts by 8 clients; done when each of 100 watchers has seen all. Rate: deliveries per second. */
async function fanOut(server: Server): Promise<LoadResult> {
  const { port } = server;
  const body = `{"create_request":{"key":"${b64('/bench/')}","range_end":"${b64('/bench0')}"}}`;
  const request = requestBytes(port, '/v3/watch', body);
  const connections = await Promise.all(
    Array.from({ length: WATCHERS + 8 }, () => HttpConnection.open(port)),
  );
  const writers = connections.slice(WATCHERS);
  const watchers = connections.slice(0, WATCHERS).map((each) => watchEvents(each, request));
  await Promise.all(watchers.map((watcher) => watcher.created));
  const next = puts(server);
  let sent = 0;
  const startMs = performance.now();
  await Promise.all(
    writers.map(async (writer) => {
      while (sent < WATCH_PUTS) {
        sent++;
        await writer.send(next());
      }
    }),
  );
  await Promise.all(watchers.map((watcher) => watcher.seenAll));
  const tookMs = performance.now() - startMs;
  for (const connection of connections) connection.close();
  const requests = WATCH_PUTS * WATCHERS;
  return { requests, rate: (requests * 1000) / tookMs, p50Ms: tookMs, p99Ms: tookMs };
}

interface Watching {
  readonly created: Promise<void>;
  readonly seenAll: Promise<void>;
}

/** Counts the marks of events in what comes, without parsing it. */
function watchEvents(connection: HttpConnection, request: Uint8Array): Watching {
  const mark = '"mod_revision"';
  let isCreated = () => {};
  let hasSeenAll = () => {};
  const created = new Promise<void>((resolve) => {
    isCreated = resolve;
  });
  const seenAll = new Promise<void>((resolve) => {
    hasSeenAll = resolve;
  });
  let seen = 0;
  let rest = '';
  connection.onData = (data) => {
    const text = rest + data.toString('latin1');
    // A mark may be cut in two by the end of a chunk; what is kept is too short for a whole one.
    rest = text.slice(1 - mark.length);
    if (text.includes('"created":true')) isCreated();
    seen += count(text, mark);
    if (seen >= WATCH_PUTS) hasSeenAll();
  };
  connection.write(request);
  return { created, seenAll };
}

function count(text: string, part: string): number {
  let found = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) found++;
  return found;
}

async function startPier(folder: string): Promise<Server> {
  const data = join(folder, 'pier');
  mkdirSync(data);
  const child = spawn(process.execPath, [join(folder, 'store-server.mjs'), data], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => resolve(Number(data.toString())));
    child.once('close', () => reject(new Error('the server of the store did not start')));
  });
  return { name: 'pier', port, pid: child.pid ?? 0, stop: () => stop(child) };
}

async function startEtcd(folder: string): Promise<Server> {
  const [client, peer] = [await freePort(), await freePort()];
  const urls = (port: number) => `http://127.0.0.1:${port}`;
  const args = ['--data-dir', join(folder, 'etcd'), '--logger=zap', '--log-level=error'];
  args.push('--listen-client-urls', urls(client), '--advertise-client-urls', urls(client));
  args.push('--listen-peer-urls', urls(peer), '--initial-advertise-peer-urls', urls(peer));
  args.push('--initial-cluster', `default=${urls(peer)}`);
  const child = spawn('etcd', args, { stdio: 'ignore' });
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (error) =>
      reject(new Error(`etcd is missing (apt-get install etcd-server): ${error.message}`)),
    );
    child.once('close', () => reject(new Error('etcd did not start')));
  });
  failed.catch(() => undefined);
  const deadline = performance.now() + START_MS;
  for (;;) {
    const healthy = await Promise.race([failed, isHealthy(urls(client))]);
    if (healthy) break;
    if (performance.now() > deadline) throw new Error(`no etcd after ${START_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  say(`store: ${execFileSync('etcd', ['--version'], { encoding: 'utf8' }).split('\n')[0]}`);
  return { name: 'etcd', port: client, pid: child.pid ?? 0, stop: () => stop(child) };
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`)).ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function stop(child: ChildProcess): Promise<void> {
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  await closed;
}

function measureSize(folder: string): Json {
  const size = (...args: string[]): Record<string, Json> => {
    const program = join(folder, 'store-size.mjs');
    const text = execFileSync(process.execPath, [program, ...args], { encoding: 'utf8' });
    return JSON.parse(text) as Record<string, Json>;
  };
  say('store: 100,000 keys, 1,000,000 writes');
  const large = join(folder, 'large');
  size('fill', large, '100000', '1000000', String(VALUE_BYTES));
  const opens = [1, 2, 3].map(() => size('open', large));
  say('store: 10,000 pods of 2 KB');
  const podsDirectory = join(folder, 'pods');
  size('fill', podsDirectory, '10000', '10000', '2048');
  const pods = size('pods', podsDirectory);
  const written = pods.bytesPerWrite as Record<string, number>;
  const openMs = spreadOf(opens.map((each) => Number(each.openMs)));
  printTable([
    ['what', 'figure'],
    ['open 100,000 keys after 1,000,000 writes, ms', openMs.median],
    ['10,000 pods of 2 KB: process after opening, MiB', Number(pods.openedMiB)],
    ['the same with a full history, MiB', Number(pods.usedMiB)],
    ["a bare process with the store's code, MiB", Number(pods.bareMiB)],
    ['bytes handed to the disk per byte of a 2 KB write', round(written.handedToDisk ?? 0, 2)],
    ['the same in pages of the disk, a lone writer', round(written.pages ?? 0, 2)],
  ]);
  return { openMs, openLargeMiB: Number(opens[0]?.openedMiB), pods };
}
