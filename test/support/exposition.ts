/**
 * A strict reader of Prometheus' text format 0.0.4, written from its description and independent of what writes it. Throws for
 * whatever Prometheus or promtool would complain about: an unknown escape, a family without HELP or TYPE or in two places, a
 * series twice, a histogram whose buckets do not add up.
 */
export interface Family {
  readonly help: string;
  readonly type: string;
  readonly samples: ReadonlyArray<{
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
  }>;
}

type Sample = Family['samples'][number];

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*/;
const NUMBER = /^[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|Inf)$|^NaN$/;
const HISTOGRAM_PARTS = ['_bucket', '_sum', '_count'];

export class Exposition {
  readonly families = new Map<string, Family>();

  constructor(text: string) {
    if (!text.endsWith('\n')) throw new Error('the last line has no end');
    let name = '';
    let help: string | undefined;
    let samples: Sample[] = [];
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const about = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
      if (about?.[1] === 'HELP') {
        name = about[2] ?? '';
        help = plainOf(about[3] ?? '', 'n\\');
        if (this.families.has(name)) throw new Error(`${name} is there twice`);
      } else if (about?.[1] === 'TYPE') {
        if (about[2] !== name || help === undefined) throw new Error(`TYPE without HELP: ${line}`);
        const type = about[3] ?? '';
        if (!['counter', 'gauge', 'histogram'].includes(type)) throw new Error(line);
        samples = [];
        this.families.set(name, { help, type, samples });
        help = undefined;
      } else if (line.startsWith('#')) throw new Error(`a comment that is none: ${line}`);
      else {
        const sample = sampleOf(line);
        const type = this.families.get(name)?.type;
        const names = type === 'histogram' ? HISTOGRAM_PARTS.map((part) => name + part) : [name];
        if (!names.includes(sample.name)) throw new Error(`${line} is not part of ${name}`);
        samples.push(sample);
      }
    }
    for (const [name, family] of this.families) check(name, family);
  }

  /** The values of all series of a metric with these labels. */
  values(name: string, labels: Readonly<Record<string, string>> = {}): number[] {
    const family = this.families.get(name) ?? this.families.get(name.replace(/_[a-z]+$/, ''));
    return (family?.samples ?? [])
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([key, v]) => sample.labels[key] === v))
      .map(({ value }) => value);
  }

  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.values(name, labels).reduce((sum, value) => sum + value, 0);
  }
}

function sampleOf(line: string): Sample {
  const name = NAME.exec(line)?.[0];
  if (name === undefined) throw new Error(`no name: ${line}`);
  let rest = line.slice(name.length);
  const labels: Record<string, string> = {};
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    while (!rest.startsWith('}')) {
      const key = LABEL.exec(rest)?.[0];
      const value = /^="((?:[^"\\\n]|\\.)*)"(,|(?=\}))/.exec(rest.slice(key?.length ?? 0));
      if (key === undefined || value === null) throw new Error(`labels that are none: ${line}`);
      if (key in labels) throw new Error(`the label ${key} twice: ${line}`);
      labels[key] = plainOf(value[1] ?? '', 'n\\"');
      rest = rest.slice(key.length + value[0].length);
    }
    rest = rest.slice(1);
  }
  const number = rest.slice(1);
  if (rest[0] !== ' ' || !NUMBER.test(number)) throw new Error(`no value: ${line}`);
  return { name, labels, value: Number(number.replace('Inf', 'Infinity')) };
}

function plainOf(text: string, known: string): string {
  return text.replace(/\\(.?)/g, (_, letter: string) => {
    if (letter === '' || !known.includes(letter)) throw new Error(`unknown escape: ${text}`);
    return letter === 'n' ? '\n' : letter;
  });
}

function check(name: string, { type, samples }: Family): void {
  if (samples.length === 0) throw new Error(`${name} has no series`);
  if (type === 'counter' && !/_total$/.test(name)) throw new Error(`the counter ${name}`);
  const series = new Set<string>();
  for (const sample of samples) {
    const key = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (series.has(key)) throw new Error(`twice: ${key}`);
    series.add(key);
    if (type !== 'gauge' && !(sample.value >= 0)) throw new Error(`${key} is ${sample.value}`);
  }
  if (type === 'histogram') checkHistogram(name, samples);
}

function checkHistogram(name: string, samples: readonly Sample[]): void {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const { le: _, ...others } = sample.labels;
    const key = JSON.stringify(Object.entries(others).sort());
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  for (const [key, group] of groups) {
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`);
    const counts = group.filter((sample) => sample.name === `${name}_count`);
    const sums = group.filter((sample) => sample.name === `${name}_sum`);
    const bounds = buckets.map(({ labels }) => Number(labels.le?.replace('Inf', 'Infinity')));
    const rises = (list: readonly number[], strictly: boolean) =>
      list.every(
        (v, at) => at === 0 || v > (list[at - 1] ?? 0) || (!strictly && v === list[at - 1]),
      );
    if (!rises(bounds, true) || bounds.at(-1) !== Number.POSITIVE_INFINITY) {
      throw new Error(`bounds of ${name} ${key}: ${bounds}`);
    }
    const values = buckets.map(({ value }) => value);
    if (!rises(values, false)) throw new Error(`${name} ${key} is not cumulative: ${values}`);
    if (counts.length !== 1 || sums.length !== 1 || counts[0]?.value !== values.at(-1)) {
      throw new Error(`count and sum of ${name} ${key}`);
    }
  }
}
