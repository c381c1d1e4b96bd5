/** Groups of bars with their ranges as an SVG that a README can show, no library. Pure. */
import { at, COLOURS, line, svg, text } from './svg.ts';

interface Bar {
  readonly name: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
}

export interface BarGroup {
  readonly name: string;
  readonly bars: readonly Bar[];
}

export interface BarPlot {
  readonly title: string;
  /** Below the title: machine, load, what the range is. */
  readonly note: string;
  /** Words at the vertical axis. */
  readonly unit: string;
  readonly groups: readonly BarGroup[];
}

const [WIDTH, HEIGHT] = [760, 400];
const AREA = { left: 60, right: 640, top: 80, bottom: 350 };
const TICKS = 5;
/** Of a group's room, for what lies between it and the next. */
const GAP = 0.25;

export function barPlot({ title, note, unit, groups }: BarPlot): string {
  const names = [...new Set(groups.flatMap(({ bars }) => bars.map(({ name }) => name)))];
  const step = niceStep(Math.max(...groups.flatMap(({ bars }) => bars.map(({ max }) => max))));
  const toY = (value: number) => AREA.bottom - (value / (step * TICKS)) * (AREA.bottom - AREA.top);
  const room = (AREA.right - AREA.left) / groups.length;
  const width = (room * (1 - GAP)) / names.length;
  const colourOf = (name: string) => COLOURS[names.indexOf(name) % COLOURS.length] ?? '#000';
  const parts = [
    text(AREA.left, 28, title, 'font-size="18"'),
    text(AREA.left, 50, note, 'fill="#555"'),
    text(8, AREA.top - 12, unit),
  ];
  for (let tick = 0; tick <= TICKS; tick++) {
    const value = Number((tick * step).toPrecision(6));
    parts.push(line(AREA.left, toY(value), AREA.right, toY(value)));
    parts.push(text(AREA.left - 8, toY(value) + 4, String(value), 'text-anchor="end"'));
  }
  groups.forEach(({ name, bars }, group) => {
    const left = AREA.left + room * (group + GAP / 2);
    parts.push(text(left + (room * (1 - GAP)) / 2, AREA.bottom + 18, name, 'text-anchor="middle"'));
    for (const bar of bars) {
      const x = left + width * names.indexOf(bar.name);
      const [y, middle] = [toY(bar.value), x + width / 2];
      const shape = `x="${at(x)}" y="${at(y)}" width="${at(width * 0.9)}" height="${at(AREA.bottom - y)}"`;
      parts.push(`<rect ${shape} fill="${colourOf(bar.name)}"/>`);
      parts.push(line(middle, toY(bar.min), middle, toY(bar.max), '#333'));
    }
  });
  names.forEach((name, index) => {
    parts.push(
      text(
        AREA.right + 12,
        AREA.top + 18 * index,
        name,
        `fill="${colourOf(name)}" font-weight="bold"`,
      ),
    );
  });
  return svg({ width: WIDTH, height: HEIGHT, title }, parts);
}

/** 1, 2 or 5 times a power of ten, so that TICKS of them hold the value. */
function niceStep(max: number): number {
  const power = 10 ** Math.floor(Math.log10(max / TICKS));
  const factor = [1, 2, 5, 10].find((one) => one * power * TICKS >= max) ?? 10;
  return factor * power;
}
