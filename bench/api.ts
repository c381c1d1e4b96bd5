/**
 * The API of a whole built master over TLS on loopback: create, get, patch, list of 5,000 pods of 1 KB, events to 100 watchers,
 * what `kubectl get pods` asks on a fleet of 50 boards and 500 pods, memory. On tmpfs (`/dev/shm`) and on the disk.
 *   --seconds N (2) of each load   --rounds N (5)   --only tmpfs|disk
 *   --clients N (64) connections   --depth N (1) requests under way on each
 *   --profile FOLDER: also profiles of the master by V8, one a load, for its inspector (slower: no figures to quote)
 * This process is the load generator: prepared requests on kept TLS connections. The pods name a scheduler that nobody is, so that the API
 * is measured and not the scheduler. Memory is read twice: under the loads, and when 100 new watches have listed the 5,000 pods
 * and the loads have rested (V8 collects when it is idle). The loads take turns, so that what others do on the machine meets all of them; figures are
 * medians over the rounds. The CPU time of the master per request (all its threads) says most where it is not alone.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BenchMaster } from './api-master.ts';
import { type Figures, type Json, printTable, quantile, round, say } from './benchmark.ts';
import { buildPier } from './cluster.ts';
import { load } from './store-client.ts';

export const summary =
  'create, get, list, patch and watch of the whole master over TLS; its memory';

const PODS = 5_000;
const WATCHERS = 100;
const EVENTS = 200;
/** Left out: the watches were still being opened. */
const EVENTS_WARM = 20;
const LISTS = 20;
/** V8's memory reducer acts some seconds after the last work. */
const REST_MS = 30_000;
const JSON_TYPE = 'application/json';
const MERGE_PATCH = 'application/merge-patch+json';
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
const BENCH = '/api/v1/namespaces/default/pods';
const FLEET = '/api/v1/namespaces/fleet/pods';
/** What `kubectl get pods` sends when it knows the API already. */
const GET_PODS = requestOf('GET', `${FLEET}?limit=500`, undefined, TABLE);

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly clients: number;
  readonly depth: number;
  readonly profile: string | undefined;
}

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '5' },
      clients: { type: 'string', default: '64' },
      depth: { type: 'string', default: '1' },
      only: { type: 'string' },
      profile: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  buildPier();
  const options = {
    seconds: Number(values.seconds),
    rounds: Number(values.rounds),
    clients: Number(values.clients),
    depth: Number(values.depth),
    profile: values.profile,
  };
  if (options.profile !== undefined) mkdirSync(options.profile, { recursive: true });
  const figures: Record<string, Json> = {};
  for (const [name, parent] of [
    ['tmpfs', '/dev/shm'],
    ['disk', tmpdir()],
  ] as const) {
    if (values.only !== undefined && values.only !== name) continue;
    const folder = mkdtempSync(join(parent, 'pier-bench-api-'));
    try {
      const master = await BenchMaster.start(folder, options.profile !== undefined);
      try {
        figures[name] = await new ApiBench(name, options, master).measure();
      } finally {
        await master.stop();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return { figures, peers: {} };
}

/** One line of the table: what was measured in each of the rounds. */
interface Row {
  readonly rate: number[];
  readonly p50Ms: number[];
  readonly p99Ms: number[];
  /** CPU time of the master per request. */
  readonly cpuUs: number[];
}

class ApiBench {
  readonly #name: string;
  readonly #options: Options;
  readonly #master: BenchMaster;
  readonly #rows = new Map<string, Row>();
  readonly #loadedMiB: number[] = [];
  /** Pods that were ever made; those from PODS on go again after each load. */
  #made = 0;

  constructor(name: string, options: Options, master: BenchMaster) {
    this.#name = name;
    this.#options = options;
    this.#master = master;
  }

  async measure(): Promise<Json> {
    const idleMiB = this.#master.rssMiB;
    say(`${this.#name}: ${PODS} pods, 50 boards, and a round to get warm`);
    await this.#each(0, PODS, createPod);
    this.#made = PODS;
    await this.#makeFleet();
    await this.#round();
    this.#rows.clear();
    this.#loadedMiB.length = 0;
    for (let n = 1; n <= this.#options.rounds; n += 1) {
      say(`${this.#name}: round ${n}, load ${round(loadavg()[0] ?? 0, 1)}`);
      await this.#round();
    }
    return this.#report({ idleMiB, restedMiB: await this.#restedMiB() });
  }

  /** With the pods and the watches of clients that have listed, as informers do, and nothing else to do. */
  async #restedMiB(): Promise<number> {
    const watchers = await Promise.all(
      Array.from({ length: WATCHERS }, async () => {
        const client = await this.#master.open();
        client.onData = () => undefined;
        client.write(requestOf('GET', `${BENCH}?watch=1`));
        return client;
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const { rssMiB } = this.#master;
    for (const client of watchers) client.close();
    return rssMiB;
  }

  async #round(): Promise<void> {
    const first = this.#made;
    await this.#load('create', (n) => createPod(first + n));
    await this.#each(first, this.#made, (n) => requestOf('DELETE', `${BENCH}/p${n}`));
    await this.#load('get', (n) => requestOf('GET', `${BENCH}/p${n % PODS}`));
    await this.#load('patch', (n) => patchPod(n % PODS, { n: String(n) }));
    await this.#lists(`list of ${PODS}`, requestOf('GET', BENCH));
    await this.#lists('kubectl get pods, 500', GET_PODS);
    await this.#lists('the same, new connection', GET_PODS, true);
    await this.#fanOut();
  }

  async #load(what: string, next: (number: number) => Uint8Array): Promise<void> {
    const { clients, depth, seconds } = this.#options;
    const open = () => this.#master.open();
    let sent = 0;
    const counted = (n: number) => {
      sent = Math.max(sent, n + 1);
      return next(n);
    };
    await this.#measured(what, async () => {
      const result = await load(open, { clients, depth, seconds, next: counted });
      return { ...result, count: result.requests };
    });
    if (what === 'create') this.#made += sent;
  }

  async #lists(what: string, request: Buffer, anew = false): Promise<void> {
    let client = await this.#master.open();
    const tookMs: number[] = [];
    await this.#measured(what, async () => {
      for (let i = 0; i < LISTS; i += 1) {
        const startMs = performance.now();
        if (anew) {
          client.close();
          client = await this.#master.open();
        }
        await client.send(request);
        tookMs.push(performance.now() - startMs);
      }
      return ofTimes(tookMs, LISTS);
    });
    client.close();
  }

  /** From the write to the arrival at each of the watchers. */
  async #fanOut(): Promise<void> {
    const tookMs: number[] = [];
    let sentMs = 0;
    let left = 0;
    let arrived: () => void = () => undefined;
    const writer = await this.#master.open();
    const limited = await writer.send(requestOf('GET', `${BENCH}?limit=1`));
    const revision = /"resourceVersion":"(\d+)"/.exec(limited.toString('utf8'))?.[1] ?? '0';
    const watch = requestOf('GET', `${BENCH}?watch=1&resourceVersion=${revision}`);
    const watchers = await Promise.all(
      Array.from({ length: WATCHERS }, async () => {
        const client = await this.#master.open();
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
    const events = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n += 1) {
        const all = new Promise<void>((resolve) => {
          arrived = resolve;
        });
        left = WATCHERS;
        sentMs = performance.now();
        await Promise.all([writer.send(patchPod(0, { event: `${revision}-${n}` })), all]);
      }
    };
    // The heads have come when the first event has reached all.
    await events(EVENTS_WARM);
    tookMs.length = 0;
    await this.#measured(`event to ${WATCHERS} watchers`, async () => {
      await events(EVENTS);
      return ofTimes(tookMs, EVENTS);
    });
    this.#loadedMiB.push(this.#master.rssMiB);
    for (const client of [writer, ...watchers]) client.close();
  }

  async #measured(
    what: string,
    work: () => Promise<{ rate: number; p50Ms: number; p99Ms: number; count: number }>,
  ): Promise<void> {
    const { profile } = this.#options;
    const beforeMs = this.#master.cpuMs;
    const file = join(
      profile ?? '',
      `${this.#name}-${what.replaceAll(/[^a-z0-9]+/g, '-')}.cpuprofile`,
    );
    const done = await (profile === undefined ? work() : this.#master.profiled(file, work));
    const row = this.#rows.get(what) ?? { rate: [], p50Ms: [], p99Ms: [], cpuUs: [] };
    this.#rows.set(what, row);
    row.rate.push(done.rate);
    row.p50Ms.push(done.p50Ms);
    row.p99Ms.push(done.p99Ms);
    row.cpuUs.push(((this.#master.cpuMs - beforeMs) * 1000) / Math.max(1, done.count));
  }

  /** Sends the requests of these numbers, over as many connections as the loads have. */
  async #each(from: number, to: number, request: (number: number) => Uint8Array): Promise<void> {
    let next = from;
    const worker = async (): Promise<void> => {
      const client = await this.#master.open();
      while (next < to) await client.send(request(next++));
      client.close();
    };
    await Promise.all(Array.from({ length: this.#options.clients }, worker));
  }

  /** 50 boards that nobody is, and 500 pods that are bound to them. */
  async #makeFleet(): Promise<void> {
    const client = await this.#master.open();
    await client.send(requestOf('POST', '/api/v1/namespaces', { metadata: { name: 'fleet' } }));
    for (let n = 0; n < 50; n += 1) {
      await client.send(requestOf('POST', '/api/v1/nodes', { metadata: { name: `board-${n}` } }));
    }
    client.close();
    await this.#each(0, 500, (n) => {
      const pod = podOf(`p${n}`);
      return requestOf('POST', FLEET, {
        ...pod,
        spec: { ...pod.spec, nodeName: `board-${n % 50}` },
      });
    });
  }

  #report(memory: { readonly idleMiB: number; readonly restedMiB: number }): Json {
    const head = [this.#name, 'per second', 'p50 ms', 'p99 ms', 'CPU us each'];
    const table: (string | number)[][] = [head];
    const figures: Record<string, Json> = {};
    for (const [what, { rate, p50Ms, p99Ms, cpuUs }] of this.#rows) {
      const median = {
        rate: round(quantile(rate, 0.5), 0),
        p50Ms: round(quantile(p50Ms, 0.5), 2),
        p99Ms: round(quantile(p99Ms, 0.5), 2),
        cpuUs: round(quantile(cpuUs, 0.5), 0),
      };
      table.push([what, ...Object.values(median)]);
      figures[what] = { ...median, ratePerRound: rate.map((one) => round(one, 0)) };
    }
    const idleMiB = round(memory.idleMiB, 0);
    const restedMiB = round(memory.restedMiB, 0);
    const loadedMiB = round(quantile(this.#loadedMiB, 0.5), 0);
    table.push([`RSS with ${PODS} pods and ${WATCHERS} watches, MiB`, restedMiB, '', '', '']);
    table.push(['RSS at the end of the loads, MiB', loadedMiB, '', '', '']);
    table.push(['RSS before, MiB', idleMiB, '', '', '']);
    printTable(table);
    return { ...figures, restedMiB, loadedMiB, idleMiB };
  }
}

function ofTimes(tookMs: readonly number[], count: number) {
  const sumMs = tookMs.reduce((sum, one) => sum + one, 0);
  return {
    rate: (tookMs.length * 1000) / sumMs,
    p50Ms: quantile(tookMs, 0.5),
    p99Ms: quantile(tookMs, 0.99),
    count,
  };
}

function createPod(number: number): Buffer {
  return requestOf('POST', BENCH, podOf(`p${number}`));
}

function patchPod(number: number, annotations: Readonly<Record<string, string>>): Buffer {
  return requestOf('PATCH', `${BENCH}/p${number}`, { metadata: { annotations } }, MERGE_PATCH);
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

function requestOf(method: string, path: string, body?: object, type = JSON_TYPE): Buffer {
  const text = body === undefined ? '' : JSON.stringify(body);
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: pier-master'];
  if (body === undefined) lines.push(`Accept: ${type}`);
  else lines.push(`Content-Type: ${type}`, `Content-Length: ${Buffer.byteLength(text)}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${text}`);
}
