/**
 * The service proxy beside Debian's HAProxy and nginx stream and beside no proxy at all: the same clients and backends, in
 * turn, on loopback, the proxy alone on the first core. What counts is the proxy's CPU time per unit of work: rates of
 * the wall clock are bounded by clients and backends too, as the direct connection shows.
 *
 * Arguments: --seconds N (whole, default 1) and --rounds N (default 3) for each load and side; --latency-rounds N (default
 * 30: what a proxy adds to a tail is the difference of two tails); --loads a,b for some of idle,
 * bulk, requests, connections and latency (which needs requests) only; --also "NAME=ARGS" for one more Pier with these
 * arguments of Node's (flags, or the bundle of another version); --plots FOLDER; --no-peers. Needed: `apt-get install haproxy nginx-light
 * libnginx-mod-stream wrk iperf3`; without peers nginx-light, wrk and iperf3.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Figures,
  type Json,
  printTable,
  quantile,
  round,
  type Spread,
  say,
  spreadOf,
} from './benchmark.ts';
import { bulk, idleMemory, type Load, type Sample, wrk } from './proxy-loads.ts';
import { drawPlots, type Results } from './proxy-plots.ts';
import {
  bundlePier,
  haproxy,
  nginx,
  pier,
  type Side,
  type StartProxy,
  startBackends,
} from './proxy-sides.ts';
import { addedTail } from './proxy-tail.ts';

export const summary =
  'service proxy: bulk, requests, connections, latency, memory; HAProxy, nginx beside it';

const IDLE = 1000;
const PAIRED = 'haproxy';

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '3' },
      'latency-rounds': { type: 'string', default: '30' },
      loads: { type: 'string' },
      also: { type: 'string', multiple: true, default: [] },
      'no-peers': { type: 'boolean', default: false },
      plots: { type: 'string' },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'pier-bench-proxy-'));
  const bundle = await bundlePier(folder);
  const proxies: StartProxy[] = [pier('pier', [bundle])];
  for (const one of values.also) {
    const [name = '', flags = ''] = one.split(/=(.*)/s);
    proxies.push(
      pier(name, flags.endsWith('.mjs') ? flags.split(' ') : [...flags.split(' '), bundle]),
    );
  }
  if (!values['no-peers']) proxies.push(haproxy, nginx);
  const wanted = values.loads?.split(',');
  const isWanted = (load: string) => wanted === undefined || wanted.includes(load);
  const plan = { seconds: Number(values.seconds), rounds: Number(values.rounds) };
  const backends = await startBackends(folder);
  const sides = [backends];
  try {
    const memory = isWanted('idle') ? await measureMemory(proxies, folder, backends, plan) : {};
    for (const one of proxies) sides.push(await one(folder, backends.ports));
    const results = new Map<string, Map<string, Sample[]>>();
    const loads: Record<string, Load> = {
      'bulk 1 down': bulk(1, 'down'),
      'bulk 1 up': bulk(1, 'up'),
      'bulk 64 down': bulk(64, 'down'),
      'bulk 64 up': bulk(64, 'up'),
      requests: wrk({ folder }),
      connections: wrk({ folder, close: true }),
    };
    // What comes first must not pay for what V8 compiles.
    for (const side of sides) {
      for (const load of [wrk({ folder }), wrk({ folder, close: true }), bulk(1, 'up')]) {
        await load(side, plan.seconds);
      }
    }
    const chosen = Object.entries(loads).filter(([name]) => isWanted(name.split(' ')[0] ?? ''));
    await measure(chosen, sides, plan, results);
    const rate = halfLoad(results.get('requests'));
    if (rate !== undefined && isWanted('latency')) {
      const rounds = Number(values['latency-rounds']);
      await measure([['latency', wrk({ folder, rate })]], sides, { ...plan, rounds }, results);
    }
    if (values.plots !== undefined) drawPlots(values.plots, results, memory, rate);
    return report(results, memory, rate);
  } finally {
    for (const side of sides) side.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Plan {
  readonly seconds: number;
  readonly rounds: number;
}

async function measure(
  loads: ReadonlyArray<readonly [string, Load]>,
  sides: readonly Side[],
  { seconds, rounds }: Plan,
  results: Map<string, Map<string, Sample[]>>,
): Promise<void> {
  for (const [name, load] of loads) {
    const bySide = new Map<string, Sample[]>(sides.map((side) => [side.name, []]));
    results.set(name, bySide);
    for (let index = 1; index <= rounds; index++) {
      // Another one is first in each round: what follows a heavier side must not always be the same.
      const start = index % sides.length;
      for (const side of [...sides.slice(start), ...sides.slice(0, start)]) {
        const sample = await load(side, seconds);
        bySide.get(side.name)?.push(sample);
        say(`${name}, round ${index}, ${side.name}: ${Math.round(sample.rate * 10) / 10}/s`);
      }
    }
  }
}

/** Fresh processes: what one gave back after another load would flatter it. */
async function measureMemory(
  proxies: readonly StartProxy[],
  folder: string,
  backends: Side,
  { rounds }: Plan,
): Promise<Record<string, Spread>> {
  const found: Record<string, number[]> = {};
  for (let index = 0; index < rounds; index++) {
    for (const one of proxies) {
      const side = await one(folder, backends.ports);
      try {
        const list = found[side.name] ?? [];
        found[side.name] = [...list, await idleMemory(side, IDLE)];
      } finally {
        side.stop();
      }
    }
  }
  return Object.fromEntries(Object.entries(found).map(([name, all]) => [name, spreadOf(all, 1)]));
}

/** Requests per second that all proxies can do with half of their core, as far as clients and backends let it show. */
function halfLoad(
  requests: ReadonlyMap<string, readonly Sample[]> | undefined,
): number | undefined {
  if (requests === undefined) return undefined;
  const rates = [...requests]
    .filter(([name]) => name !== 'direct')
    .map(([, all]) => median(all, 'rate'));
  return rates.length === 0 ? undefined : Math.round(Math.min(...rates) / 2);
}

function median(samples: readonly Sample[], key: keyof Sample): number {
  return quantile(
    samples.map((sample) => sample[key]),
    0.5,
  );
}

function report(
  results: Results,
  memory: Record<string, Spread>,
  rate: number | undefined,
): Figures {
  const out: Record<string, Record<string, Json>> = {};
  const rows: Array<Array<string | number>> = [
    ['load', 'side', 'per s', 'CPU s', 'per CPU s / haproxy', 'p50 us', 'p99 us', 'errors'],
  ];
  const tails: Array<Array<string | number>> = [];
  for (const [load, bySide] of results) {
    // GB for bulk, 100,000 for the others: what PERFORMANCE.md counts in.
    const unit = load.startsWith('bulk') ? 1 : 100_000;
    const peer = bySide.get(PAIRED);
    for (const [name, samples] of bySide) {
      const rates = samples.map((one) => one.rate);
      const figures: Record<string, Json> = { perSecond: spreadOf(rates, unit === 1 ? 2 : 0) };
      let ratio = '';
      if (name !== 'direct') {
        figures.cpuSeconds = spreadOf(
          samples.map(({ cpu }) => cpu * unit),
          3,
        );
      }
      if (name !== 'direct' && peer !== undefined) {
        const ratios = spreadOf(
          samples.map(({ cpu }, index) => (peer[index]?.cpu ?? 0) / cpu),
          2,
        );
        figures.perCpuToHaproxy = ratios;
        ratio = `${ratios.median} (${ratios.min}-${ratios.max})`;
      }
      if (unit > 1) {
        figures.p50Us = median(samples, 'p50Us');
        figures.p99Us = median(samples, 'p99Us');
      }
      const direct = bySide.get('direct');
      if (load === 'latency' && name !== PAIRED && name !== 'direct' && peer && direct) {
        const tail = addedTail(samples, peer, direct);
        figures.addedP99 = tail;
        tails.push([name, ...Object.values(tail)]);
      }
      const errors = samples.reduce((sum, one) => sum + one.errors, 0);
      figures.errors = errors;
      out[name] = { ...out[name], [load]: figures };
      rows.push([
        load,
        name,
        round(median(samples, 'rate'), unit === 1 ? 2 : 0),
        round(median(samples, 'cpu') * unit, 3),
        ratio,
        median(samples, 'p50Us'),
        median(samples, 'p99Us'),
        errors,
      ]);
    }
  }
  process.stdout.write('CPU seconds of the proxy per GB (bulk) or per 100,000\n');
  printTable(rows);
  if (rate !== undefined) process.stdout.write(`latency at ${rate} requests per second\n`);
  if (tails.length > 0) {
    printTable([['added p99', 'us', `${PAIRED} us`, 'ratio', '5 %', '95 %'], ...tails]);
  }
  for (const [name, spread] of Object.entries(memory)) {
    out[name] = { ...out[name], idleMiB: spread };
  }
  printTable([
    [`MiB for ${IDLE} idle connections`, 'median', 'min', 'max'],
    ...Object.entries(memory).map(([name, { median, min, max }]) => [name, median, min, max]),
  ]);
  const { pier: figures = {}, ...peers } = out;
  return { figures: { ...figures, latencyRate: rate ?? null }, peers };
}
