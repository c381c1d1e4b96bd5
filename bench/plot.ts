/** Curves as an SVG that a README can show: both axes logarithmic, no library. Pure. */
import { at, COLOURS, line, svg, text } from './svg.ts';

export interface Curve {
  readonly name: string;
  /** Both above 0. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Plot {
  readonly title: string;
  /** Below the title: machine and load. */
  readonly note: string;
  readonly x: string;
  readonly y: string;
  readonly curves: readonly Curve[];
}

const [WIDTH, HEIGHT] = [760, 440];
const AREA = { left: 70, right: 590, top: 70, bottom: 390 };

export function logLogPlot({ title, note, x, y, curves }: Plot): string {
  const all = curves.flatMap(({ points }) => points);
  const toX = scale(
    all.map(([value]) => value),
    [AREA.left, AREA.right],
  );
  const toY = scale(
    all.map(([, value]) => value),
    [AREA.bottom, AREA.top],
  );
  const parts = [
    text(AREA.left, 28, title, 'font-size="18"'),
    text(AREA.left, 50, note, 'fill="#555"'),
    ...toX.ticks.flatMap((tick) => [
      line(toX.at(tick), AREA.top, toX.at(tick), AREA.bottom),
      text(toX.at(tick), AREA.bottom + 18, String(tick), 'text-anchor="middle"'),
    ]),
    ...toY.ticks.flatMap((tick) => [
      line(AREA.left, toY.at(tick), AREA.right, toY.at(tick)),
      text(AREA.left - 8, toY.at(tick) + 4, String(tick), 'text-anchor="end"'),
    ]),
    text((AREA.left + AREA.right) / 2, HEIGHT - 12, x, 'text-anchor="middle"'),
    text(16, AREA.top - 8, y),
    ...curves.flatMap(({ name, points }, index) => {
      const colour = COLOURS[index % COLOURS.length] ?? '#000';
      const path = points.map(([px, py]) => `${at(toX.at(px))},${at(toY.at(py))}`).join(' ');
      const last = points.at(-1);
      return [
        `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        last === undefined
          ? ''
          : text(AREA.right + 8, toY.at(last[1]) + 4, name, `fill="${colour}"`),
      ];
    }),
  ];
  return svg({ width: WIDTH, height: HEIGHT, title }, parts);
}

interface Scale {
  at(value: number): number;
  /** Powers of ten, from below all values to above them. */
  readonly ticks: readonly number[];
}

function scale(values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))));
  return {
    at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from),
    ticks: Array.from({ length: high - low + 1 }, (_, k) => Number(`1e${low + k}`)),
  };
}
