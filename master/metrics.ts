/** What `/metrics` of the master tells beside the requests of its API: store, controllers, scheduler, boards and pods. */
import { counter, type Distribution, gauge, type MetricFamily } from '../protocol/prometheus.ts';
import type { QueueFigures } from './controllers/runner.ts';
import type { SharedInformers } from './informer/shared.ts';
import type { WalStore } from './store/wal-store.ts';

/** Seconds: from an SSD to an SD card that is busy with itself. */
export const COMMIT_BOUNDS = [
  0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
];

export interface MasterFigures {
  readonly store: Pick<WalStore, 'revision' | 'compactedRevision' | 'stats'>;
  /** Seconds that each commit of the store took. */
  readonly commits: Distribution;
  readonly queues: readonly QueueFigures[];
  readonly scheduler: readonly MetricFamily[];
  readonly informers: Pick<SharedInformers, 'nodes' | 'pods'>;
}

export function masterFamilies(figures: MasterFigures): MetricFamily[] {
  const { store, commits, queues, scheduler, informers } = figures;
  return [
    ...storeFamilies(store, commits),
    ...queueFamilies(queues),
    ...scheduler,
    ...objectFamilies(informers),
  ];
}

function storeFamilies(store: MasterFigures['store'], commits: Distribution): MetricFamily[] {
  const { liveKeys, liveBytes, logBytes, snapshotBytes, snapshots, syncs, ...history } =
    store.stats();
  const compacted = store.compactedRevision;
  return [
    gauge('pier_store_revision', 'Revision of the newest write.', store.revision),
    gauge('pier_store_compacted_revision', 'Revisions up to this one are forgotten.', compacted),
    gauge('pier_store_objects', 'Objects that there are.', liveKeys),
    gauge('pier_store_object_bytes', 'Bytes of the objects that there are.', liveBytes),
    gauge('pier_store_history_events', 'Changes that a watch can begin at.', history.historyEvents),
    gauge('pier_store_history_bytes', 'Bytes of these changes.', history.historyBytes),
    counter('pier_store_log_bytes_total', 'Bytes written to the log.', logBytes),
    counter('pier_store_snapshot_bytes_total', 'Bytes written as snapshots.', snapshotBytes),
    counter('pier_store_snapshots_total', 'Snapshots that were written.', snapshots),
    counter('pier_store_syncs_total', 'Times that the disk was waited for.', syncs),
    {
      name: 'pier_store_commit_duration_seconds',
      help: 'Time until a group of writes was durable: the fsync of the disk.',
      type: 'histogram',
      samples: [{ labels: {}, value: commits }],
    },
  ];
}

/** Names and meanings of client-go's workqueue. */
function queueFamilies(queues: readonly QueueFigures[]): MetricFamily[] {
  const each = (value: (queue: QueueFigures) => number) =>
    queues.map((queue) => ({ labels: { name: queue.name }, value: value(queue) }));
  return [
    gauge(
      'workqueue_depth',
      'Keys that could be worked on now.',
      each((queue) => queue.depth),
    ),
    counter(
      'workqueue_adds_total',
      'Keys that were queued.',
      each((queue) => queue.adds),
    ),
    counter(
      'workqueue_retries_total',
      'Keys queued again after a failure.',
      each((queue) => queue.retries),
    ),
    {
      name: 'workqueue_work_duration_seconds',
      help: 'Time that the work on a key took.',
      type: 'histogram',
      samples: queues.map(({ name, seconds }) => ({ labels: { name }, value: seconds })),
    },
  ];
}

/** As kube-state-metrics has them, where the caches know them anyway. */
function objectFamilies({ nodes, pods }: MasterFigures['informers']): MetricFamily[] {
  const conditions = nodes.list().flatMap(({ metadata, status }) =>
    (status?.conditions ?? []).flatMap((condition) =>
      ['true', 'false', 'unknown'].map((one) => ({
        labels: { node: metadata?.name ?? '', condition: condition.type ?? '', status: one },
        value: condition.status?.toLowerCase() === one ? 1 : 0,
      })),
    ),
  );
  const phases = new Map<string, number>();
  for (const { status } of pods.list()) {
    const phase = status?.phase ?? 'Pending';
    phases.set(phase, (phases.get(phase) ?? 0) + 1);
  }
  return [
    gauge('kube_node_status_condition', 'Conditions of the boards.', conditions),
    gauge(
      'pier_pods',
      'Pods by phase.',
      [...phases].map(([phase, value]) => ({ labels: { phase }, value })),
    ),
  ];
}
