/**
 * The scheduler's core alone: decisions per second of CPU (the machine may be shared) with each placement assumed, no API and no store; and the time of one
 * decision as boards grow.
 */
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { scheduleBatch } from '../master/scheduler/batch.ts';
import { schedule } from '../master/scheduler/schedule.ts';
import { type Json, printTable, quantile, round, say, spreadOf } from './benchmark.ts';
import { logLogPlot } from './plot.ts';
import { clusterOf, compileAll, generator, type Size } from './scheduler-mixes.ts';

/** As kubernetes/kubernetes test/integration/scheduler_perf: pods of 100m and 500Mi. */
const BASIC: Size = [100, 500];
const BOARD: Size = [32_000, 131_072];
const BATCH = 500;

function podsOf(kind: 'alike' | 'all different', count: number): Size[] {
  const random = generator(7);
  return Array.from(
    { length: count },
    (_, at): Size =>
      kind === 'alike'
        ? BASIC
        : [1 + Math.floor(random() * 2_000), 1 + Math.floor(random() * 4_096) + at / count],
  );
}

interface Case {
  readonly boards: number;
  readonly pods: number;
  readonly kind: 'alike' | 'all different';
  readonly batch: number;
}

function podsPerSecond({ boards, pods, kind, batch }: Case): number {
  const snapshot = clusterOf(Array.from({ length: boards }, () => BOARD));
  const infos = compileAll(snapshot, podsOf(kind, pods));
  const before = process.cpuUsage();
  if (batch > 1) {
    for (let at = 0; at < pods; at += batch) {
      for (const { decision } of scheduleBatch(infos.slice(at, at + batch), snapshot)) {
        if (!('node' in decision)) throw new Error(decision.unschedulable);
      }
    }
  } else {
    for (const pod of infos) {
      const decision = schedule(pod, snapshot);
      if (!('node' in decision)) throw new Error(decision.unschedulable);
      snapshot.assume(pod, decision.node);
    }
  }
  const { user, system } = process.cpuUsage(before);
  return pods / ((user + system) / 1e6);
}

export function throughput(rounds: number): Json {
  const sizes: readonly (readonly [boards: number, pods: number])[] = [
    [500, 10_000],
    [1_000, 10_000],
    [5_000, 20_000],
  ];
  const cases = sizes.flatMap(([boards, pods]) =>
    (['alike', 'all different'] as const).flatMap((kind) =>
      [1, BATCH].map((batch): Case => ({ boards, pods, kind, batch })),
    ),
  );
  const rates = new Map(cases.map((one): [Case, number[]] => [one, []]));
  for (let round = 0; round < rounds; round += 1) {
    say(`core, round ${round + 1} of ${rounds}`);
    for (const [one, list] of rates) list.push(podsPerSecond(one));
  }
  const rows = [...rates].map(([one, list]) => ({ ...one, podsPerSecond: spreadOf(list) }));
  process.stdout.write('decisions in the core\n');
  printTable([
    ['boards', 'pods', 'requests', 'in a batch', 'pods per CPU second', 'min', 'max'],
    ...rows.map(({ boards, pods, kind, batch, podsPerSecond: { median, min, max } }) => [
      boards,
      pods,
      kind,
      batch,
      median,
      min,
      max,
    ]),
  ]);
  return rows;
}

const DECISIONS = 2_000;
const KINDS = ['alike', 'all different'] as const;

/** One decision and its assumption, on boards that are half full. */
/** Also draws it, as SVG. */
export function timePerDecision(plotFile: string): Json {
  const counts = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];
  const rows = counts.flatMap((boards) =>
    KINDS.map((kind) => {
      say(`time per decision: ${boards} boards, ${kind}`);
      const snapshot = clusterOf(Array.from({ length: boards }, () => BOARD));
      const fill = compileAll(snapshot, [[16_000, 65_536]])[0];
      if (fill === undefined) throw new Error('no pod was made');
      for (const [at, { name }] of snapshot.nodes.entries()) {
        snapshot.assume({ ...fill, uid: `fill-${at}` }, name);
      }
      const infos = compileAll(snapshot, podsOf(kind, 2 * DECISIONS));
      const tookUs: number[] = [];
      for (const [at, pod] of infos.entries()) {
        const startMs = performance.now();
        const decision = schedule(pod, snapshot);
        if ('node' in decision) snapshot.assume(pod, decision.node);
        // The first half warms up; each pod goes again, so that boards stay half full.
        if (at >= DECISIONS) tookUs.push((performance.now() - startMs) * 1_000);
        snapshot.removePod(pod.uid);
      }
      return {
        boards,
        kind,
        p50Us: round(quantile(tookUs, 0.5), 1),
        p99Us: round(quantile(tookUs, 0.99), 1),
      };
    }),
  );
  process.stdout.write('\ntime of one decision, in microseconds\n');
  printTable([
    ['boards', 'requests', 'p50', 'p99'],
    ...rows.map(({ boards, kind, p50Us, p99Us }) => [boards, kind, p50Us, p99Us]),
  ]);
  const curves = KINDS.flatMap((kind) => {
    const own = rows.filter((row) => row.kind === kind);
    return [
      { name: `${kind}, p50`, points: own.map(({ boards, p50Us }) => [boards, p50Us] as const) },
      { name: `${kind}, p99`, points: own.map(({ boards, p99Us }) => [boards, p99Us] as const) },
    ];
  });
  const load = loadavg().map((one) => round(one, 1));
  const where = `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${cpus().length} cores, Node ${process.versions.node}`;
  const svg = logLogPlot({
    title: 'Time of one scheduling decision',
    note: `${where}; load ${load.join(', ')}; ${DECISIONS} decisions each, boards half full`,
    x: 'boards',
    y: 'microseconds',
    curves,
  });
  writeFileSync(plotFile, svg);
  say(`drawn: ${plotFile}`);
  return rows;
}
