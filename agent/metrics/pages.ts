/**
 * The pages that a kubelet offers to Prometheus, with its names: `/metrics` of the board and this process, `/metrics/resource` for
 * CPU and memory of board, pods and containers, `/metrics/cadvisor` with cAdvisor's names for containers. Loaded with
 * the first scrape; measures when it is asked.
 */
import { cpus } from 'node:os';
import type { Clock } from '../../protocol/clock.ts';
import {
  counter,
  exposition,
  gauge,
  type Labels,
  type MetricFamily,
  processFamilies,
  type Sample,
} from '../../protocol/prometheus.ts';
import type { MetricsPage } from '../../protocol/stream-requests.ts';
import { HostMetrics, type HostSample } from '../host/metrics.ts';
import type { PodWorker } from '../pods/pod-worker.ts';
import type { Container, ContainerStats, Runtime } from '../runtime/runtime.ts';

export interface PageSources {
  readonly node: string;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly runtime: Pick<Runtime, 'stats'>;
  readonly workers: () => Iterable<Pick<PodWorker, 'pod' | 'containers'>>;
  readonly proxy: { readonly connections: number; readonly flows: number };
  readonly streams: { readonly running: number };
}

interface Measured {
  readonly labels: Labels;
  readonly container: Container;
  readonly stats: ContainerStats;
}

/** Throws what the disk throws; an engine that does not answer shows in `resource_scrape_error`. */
export async function metricsPage(page: MetricsPage, sources: PageSources): Promise<string> {
  return exposition(await familiesOf(page, sources));
}

async function familiesOf(page: MetricsPage, sources: PageSources): Promise<MetricFamily[]> {
  const { dataDir, clock } = sources;
  const sample = await new HostMetrics({ dataDir, clock }).sample();
  switch (page) {
    case 'metrics':
      return [
        ...kubeletFamilies(sources),
        ...boardFamilies(sample),
        ...processFamilies(process, clock.wallMs()),
      ];
    case 'metrics/resource': {
      const measured = await measure(sources);
      return measured instanceof Error
        ? [...nodeFamilies(sample), scrapeError(1)]
        : [...nodeFamilies(sample), ...resourceFamilies(measured), scrapeError(0)];
    }
    case 'metrics/cadvisor': {
      const measured = await measure(sources);
      if (measured instanceof Error) throw measured;
      return [
        gauge('machine_cpu_cores', 'Cores of the board.', cpus().length),
        gauge('machine_memory_bytes', 'Memory of the board.', sample.memoryTotalBytes),
        ...containerFamilies(measured, ({ labels, container }) => ({
          ...labels,
          image: container.image,
          name: container.id,
        })),
      ];
    }
  }
}

function kubeletFamilies({ node, workers, proxy, streams }: PageSources): MetricFamily[] {
  const states = { created: 0, running: 0, exited: 0 };
  let runningPods = 0;
  for (const { containers } of workers()) {
    if (containers.some(({ state }) => state === 'running')) runningPods += 1;
    for (const { state } of containers) states[state] += 1;
  }
  const byState = Object.entries(states).map(([state, value]) => ({
    labels: { container_state: state },
    value,
  }));
  const itself = [{ labels: { node }, value: 1 }];
  return [
    gauge('kubelet_node_name', 'Name of the board.', itself),
    gauge('kubelet_running_pods', 'Pods of which a container runs.', runningPods),
    gauge('kubelet_running_containers', 'Containers by state.', byState),
    gauge('pier_proxy_connections', 'TCP connections to Services, open now.', proxy.connections),
    gauge('pier_proxy_udp_flows', 'UDP flows to Services that are not idle.', proxy.flows),
    gauge('pier_streams', 'Streams to the master, open now.', streams.running),
  ];
}

/** What the board has no sensor for is left out. */
function boardFamilies(sample: HostSample): MetricFamily[] {
  const { temperatureCelsius, throttled, underVoltage } = sample;
  const some = (value: number | undefined): Sample[] =>
    value === undefined ? [] : [{ labels: {}, value }];
  const flag = (value: boolean | undefined) => some(value === undefined ? value : Number(value));
  return [
    gauge('pier_board_temperature_celsius', 'Hottest sensor.', some(temperatureCelsius)),
    gauge('pier_board_throttled', '1 while the firmware slows the board down.', flag(throttled)),
    gauge('pier_board_under_voltage', '1 while the supply is too weak.', flag(underVoltage)),
    gauge('pier_board_memory_total_bytes', 'Memory.', sample.memoryTotalBytes),
    gauge('pier_board_memory_available_bytes', 'MemAvailable.', sample.memoryAvailableBytes),
    gauge(
      'pier_board_disk_total_bytes',
      "Size of the data directory's disk.",
      sample.diskTotalBytes,
    ),
    gauge('pier_board_disk_available_bytes', 'Free space on it.', sample.diskAvailableBytes),
    counter(
      'pier_board_network_receive_bytes_total',
      'Received by real interfaces.',
      sample.networkReceiveBytes,
    ),
    counter(
      'pier_board_network_transmit_bytes_total',
      'Sent by real interfaces.',
      sample.networkTransmitBytes,
    ),
    gauge('pier_board_processes', 'Threads that exist.', sample.processes),
  ];
}

async function measure({ runtime, workers }: PageSources): Promise<Measured[] | Error> {
  const running = new Map<string, { labels: Labels; container: Container }>();
  for (const { pod, containers } of workers()) {
    for (const container of containers) {
      if (container.state !== 'running') continue;
      const labels = { container: container.name, namespace: pod.namespace, pod: pod.name };
      running.set(container.id, { labels, container });
    }
  }
  try {
    const all = await runtime.stats([...running.keys()]);
    return all.flatMap((stats) => {
      const one = running.get(stats.containerId);
      return one === undefined ? [] : [{ ...one, stats }];
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function nodeFamilies({ cpuSeconds, memoryWorkingSetBytes }: HostSample): MetricFamily[] {
  return [
    counter('node_cpu_usage_seconds_total', 'CPU time of the board since its boot.', cpuSeconds),
    gauge('node_memory_working_set_bytes', 'Memory that is not available.', memoryWorkingSetBytes),
  ];
}

function resourceFamilies(measured: readonly Measured[]): MetricFamily[] {
  const pods = new Map<string, { labels: Labels; cpuNanos: number; memoryBytes: number }>();
  for (const { labels, stats } of measured) {
    const { namespace = '', pod = '' } = labels;
    const key = `${namespace}/${pod}`;
    const sum = pods.get(key) ?? { labels: { namespace, pod }, cpuNanos: 0, memoryBytes: 0 };
    sum.cpuNanos += stats.cpuNanos;
    sum.memoryBytes += stats.memoryBytes;
    pods.set(key, sum);
  }
  const all = [...pods.values()];
  return [
    counter(
      'pod_cpu_usage_seconds_total',
      "CPU time of the pod's running containers.",
      all.map(({ labels, cpuNanos }) => ({ labels, value: cpuNanos / 1e9 })),
    ),
    gauge(
      'pod_memory_working_set_bytes',
      "Working set of the pod's running containers.",
      all.map(({ labels, memoryBytes }) => ({ labels, value: memoryBytes })),
    ),
    ...containerFamilies(measured, ({ labels }) => labels),
  ];
}

function containerFamilies(
  measured: readonly Measured[],
  labelsOf: (one: Measured) => Labels,
): MetricFamily[] {
  const each = (value: (one: Measured) => number | undefined): Sample[] =>
    measured.flatMap((one) => {
      const found = value(one);
      return found === undefined ? [] : [{ labels: labelsOf(one), value: found }];
    });
  return [
    counter(
      'container_cpu_usage_seconds_total',
      'CPU time of the container.',
      each(({ stats }) => stats.cpuNanos / 1e9),
    ),
    gauge(
      'container_memory_working_set_bytes',
      'Working set of the container.',
      each(({ stats }) => stats.memoryBytes),
    ),
    gauge(
      'container_start_time_seconds',
      "Start of the container, by the board's clock.",
      each(({ container }) =>
        container.startedAtMs === undefined ? undefined : container.startedAtMs / 1000,
      ),
    ),
  ];
}

function scrapeError(value: 0 | 1): MetricFamily {
  return gauge('resource_scrape_error', '1 when the container engine did not answer.', value);
}
