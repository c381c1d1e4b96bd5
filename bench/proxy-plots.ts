/** What `npm run bench -- proxy --plots FOLDER` draws. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BarGroup, barPlot } from './bar-plot.ts';
import { type Spread, say, spreadOf } from './benchmark.ts';
import type { Sample } from './proxy-loads.ts';

type BySide = ReadonlyMap<string, readonly Sample[]>;

/** By load, then by side; a sample for each round. */
export type Results = ReadonlyMap<string, BySide>;

const PEER = 'haproxy';
const RANGE = 'medians; the thin lines are the ranges of the rounds';

export function drawPlots(
  folder: string,
  results: Results,
  memory: Record<string, Spread>,
  rate: number | undefined,
): void {
  const draw = (name: string, plot: Parameters<typeof barPlot>[0]) => {
    if (plot.groups.length === 0) return;
    const file = join(folder, name);
    writeFileSync(file, barPlot(plot));
    say(`drawn: ${file}`);
  };
  draw('proxy-cpu.svg', {
    title: 'Work per CPU second of the proxy, HAProxy = 1',
    note: RANGE,
    unit: 'times HAProxy (more is better)',
    groups: [...results].flatMap(([load, bySide]) => {
      const peers = bySide.get(PEER) ?? [];
      return load === 'latency' || peers.length === 0
        ? []
        : [{ name: load, bars: bars(bySide, ({ cpu }, round) => (peers[round]?.cpu ?? 0) / cpu) }];
    }),
  });
  const latency = results.get('latency');
  draw('proxy-latency.svg', {
    title: `Latency at ${rate} requests per second, which is half load`,
    note: `${RANGE}; direct: no proxy in between`,
    unit: 'microseconds (less is better)',
    groups:
      latency === undefined
        ? []
        : [
            { name: 'p50', bars: bars(latency, ({ p50Us }) => p50Us, true) },
            { name: 'p99', bars: bars(latency, ({ p99Us }) => p99Us, true) },
          ],
  });
  const sides = Object.entries(memory);
  draw('proxy-memory.svg', {
    title: 'Memory of 1,000 idle connections',
    note: RANGE,
    unit: 'MiB (less is better)',
    groups:
      sides.length === 0
        ? []
        : [
            {
              name: 'in fresh processes',
              bars: sides.map(([name, { median, min, max }]) => ({
                name,
                value: median,
                min,
                max,
              })),
            },
          ],
  });
}

function bars(
  bySide: BySide,
  figure: (sample: Sample, round: number) => number,
  withDirect = false,
): BarGroup['bars'] {
  return [...bySide]
    .filter(([name]) => withDirect || name !== 'direct')
    .map(([name, samples]) => {
      const { median, min, max } = spreadOf(samples.map(figure), 2);
      return { name, value: median, min, max };
    });
}
