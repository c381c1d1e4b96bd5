/**
 * What master and agents measure, in Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
 *
 * Whoever measures keeps plain numbers; families are made of them when somebody asks, and only then is prom-client loaded:
 * a program that nobody scrapes pays nothing for it.
 */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export type MetricFamily = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; readonly samples: readonly Sample[] }
  | {
      readonly type: 'histogram';
      readonly samples: readonly { readonly labels: Labels; readonly value: Distribution }[];
    }
);

/** The numbers behind a histogram: how many values were at most each bound, in the unit of the bounds. */
export class Distribution {
  readonly #bounds: readonly number[];
  /** Not cumulative; the last is for what is above all bounds. */
  readonly #counts: number[];
  #sum = 0;

  /** `bounds` rise. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const at = this.#bounds.findIndex((bound) => value <= bound);
    const place = at < 0 ? this.#bounds.length : at;
    this.#counts[place] = (this.#counts[place] ?? 0) + 1;
    this.#sum += value;
  }

  get sum(): number {
    return this.#sum;
  }

  /** Cumulative, by the text of the upper bound; the last is "+Inf", the number of all values. */
  buckets(): { readonly le: string; readonly count: number }[] {
    let count = 0;
    return this.#counts.map((own, place) => {
      count += own;
      return { le: place < this.#bounds.length ? String(this.#bounds[place]) : '+Inf', count };
    });
  }
}

/** One family without labels, or with a sample for each set of labels. */
export function gauge(name: string, help: string, samples: number | readonly Sample[]) {
  return { name, help, type: 'gauge', samples: samplesOf(samples) } as const;
}

export function counter(name: string, help: string, samples: number | readonly Sample[]) {
  return { name, help, type: 'counter', samples: samplesOf(samples) } as const;
}

function samplesOf(samples: number | readonly Sample[]): readonly Sample[] {
  return typeof samples === 'number' ? [{ labels: {}, value: samples }] : samples;
}

/** The text of all families that have a sample. Throws an Error for a name that Prometheus refuses or that comes twice. */
export async function exposition(families: readonly MetricFamily[]): Promise<string> {
  // As the default: a CommonJS package has no other export once it is bundled.
  const { Counter, Gauge, Histogram, Registry } = (await import('prom-client')).default;
  const registry = new Registry();

  /** prom-client can only observe values one by one; ours are counted already. */
  class CountedHistogram extends Histogram {
    readonly #family: Extract<MetricFamily, { type: 'histogram' }>;

    constructor(family: Extract<MetricFamily, { type: 'histogram' }>) {
      super({ name: family.name, help: family.help, registers: [registry] });
      this.#family = family;
    }

    /** What a registry asks a histogram of prom-client 15. */
    async getForPromString() {
      const { name, help, type, samples } = this.#family;
      const values = samples.flatMap(({ labels, value }) => {
        const buckets = value.buckets();
        const all = buckets.at(-1)?.count ?? 0;
        return [
          ...buckets.map(({ le, count }) => ({
            metricName: `${name}_bucket`,
            labels: { ...labels, le },
            value: count,
          })),
          { metricName: `${name}_sum`, labels, value: value.sum },
          { metricName: `${name}_count`, labels, value: all },
        ];
      });
      return { name, help, type, values };
    }
  }

  for (const family of families) {
    if (family.samples.length === 0) continue;
    if (family.type === 'histogram') {
      new CountedHistogram(family);
      continue;
    }
    const { name, help, samples } = family;
    const labelNames = [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))];
    const settings = { name, help, labelNames, registers: [registry] };
    if (family.type === 'counter') {
      const made = new Counter(settings);
      for (const { labels, value } of samples) made.inc(labels, value);
    } else {
      const made = new Gauge(settings);
      for (const { labels, value } of samples) made.set(labels, value);
    }
  }
  return registry.metrics();
}

/** What is used of Node's `process`. */
export interface MeasuredProcess {
  readonly version: string;
  uptime(): number;
  cpuUsage(): { readonly user: number; readonly system: number };
  memoryUsage(): {
    readonly rss: number;
    readonly heapTotal: number;
    readonly heapUsed: number;
    readonly external: number;
  };
}

/** The process itself, with the names that all Prometheus clients give. `wallMs`: the wall clock, for its start. */
export function processFamilies(process: MeasuredProcess, wallMs: number): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  const startedAt = wallMs / 1000 - process.uptime();
  const seconds = (user + system) / 1e6;
  const version = [{ labels: { version: process.version }, value: 1 }];
  return [
    counter('process_cpu_seconds_total', 'CPU time of the process.', seconds),
    gauge('process_start_time_seconds', 'Start of the process, by its wall clock.', startedAt),
    gauge('process_resident_memory_bytes', 'Resident memory of the process.', rss),
    gauge('nodejs_heap_size_total_bytes', 'Heap that V8 has reserved.', heapTotal),
    gauge('nodejs_heap_size_used_bytes', 'Heap that V8 uses.', heapUsed),
    gauge('nodejs_external_memory_bytes', 'Memory outside the heap that objects hold.', external),
    gauge('nodejs_version_info', 'Version of Node.js.', version),
  ];
}
