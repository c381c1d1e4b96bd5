/**
 * Which pod has to go when the board runs short of memory, disk or process ids. Pure. The order is the kubelet's
 * (https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/): first who uses more than he asked for, then by
 * priority, then by how much more. So pods of the class BestEffort go first, and those within their requests last.
 */
import type { Container, PodSpec } from '../../protocol/kinds/types.ts';
import { value } from '../../protocol/quantity.ts';
import type { HostSample } from '../host/metrics.ts';
import {
  DISK_AVAILABLE_PART_MIN,
  MEMORY_AVAILABLE_BYTES_MIN,
  PROCESSES_PART_MAX,
} from '../host/pressures.ts';
import { type BoardPod, isSidecar } from './board-pod.ts';
import { EVICTED, type PodVerdict } from './pod-plan.ts';

export type Shortage = 'memory' | 'disk' | 'pids';

/** Kubernetes: SystemCriticalPriority. Such pods stay. */
const CRITICAL_PRIORITY = 2_000_000_000;
/** A pod that holds less on disk is not worth ending for it: what fills the disk is not among the pods. */
const DISK_BYTES_MIN = 1024 * 1024;
const MEBIBYTE = 1024 * 1024;

export interface PodUse {
  readonly pod: BoardPod;
  readonly memoryBytes: ReadonlyMap<string, number>;
  /** Its volumes on the board's disk. */
  readonly diskBytes: number;
}

const RESOURCES = { memory: 'memory', disk: 'ephemeral-storage', pids: 'pids' } as const;

/** The pod that goes first; undefined when none may. */
export function firstVictim<P extends PodUse>(
  pods: readonly P[],
  shortage: Shortage,
): P | undefined {
  const [first] = pods
    .filter(({ pod, diskBytes }) => {
      if ((pod.spec.priority ?? 0) >= CRITICAL_PRIORITY) return false;
      return shortage !== 'disk' || diskBytes >= DISK_BYTES_MIN;
    })
    .map((use) => ({ use, over: usedBytes(use, shortage) - requestBytes(use.pod.spec, shortage) }))
    .sort(
      (a, b) =>
        Number(b.over > 0) - Number(a.over > 0) ||
        (a.use.pod.spec.priority ?? 0) - (b.use.pod.spec.priority ?? 0) ||
        b.over - a.over,
    );
  return first?.use;
}

/** Reason and words as the kubelet has them. */
export function evictionVerdict(use: PodUse, shortage: Shortage, sample: HostSample): PodVerdict {
  const { threshold, available } = measured(shortage, sample);
  const words = [
    `The node was low on resource: ${RESOURCES[shortage]}. Threshold quantity: ${threshold}, available: ${available}. `,
  ];
  if (shortage === 'memory') {
    for (const { name, resources } of running(use.pod.spec)) {
      const used = use.memoryBytes.get(name) ?? 0;
      const request = value(resources?.requests?.memory ?? '0');
      if (used <= request) continue;
      words.push(
        `Container ${name} was using ${mebibytes(used)}, request is ${mebibytes(request)}, has larger consumption of memory. `,
      );
    }
  }
  return { reason: EVICTED, message: words.join(''), isDisruption: true };
}

function usedBytes({ memoryBytes, diskBytes }: PodUse, shortage: Shortage): number {
  if (shortage === 'disk') return diskBytes;
  // Nobody counts the processes of a pod: by priority alone, and of the same one the largest.
  return [...memoryBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function requestBytes(spec: PodSpec, shortage: Shortage): number {
  if (shortage === 'pids') return 0;
  const resource = RESOURCES[shortage];
  return running(spec).reduce(
    (sum, { resources }) => sum + value(resources?.requests?.[resource] ?? '0'),
    0,
  );
}

/** The containers that run together, sidecars among them. */
function running({ containers, initContainers = [] }: PodSpec): Container[] {
  return [...containers, ...initContainers.filter(isSidecar)];
}

function measured(shortage: Shortage, sample: HostSample) {
  const { memoryAvailableBytes, diskTotalBytes, diskAvailableBytes } = sample;
  switch (shortage) {
    case 'memory':
      return {
        threshold: mebibytes(MEMORY_AVAILABLE_BYTES_MIN),
        available: mebibytes(memoryAvailableBytes),
      };
    case 'disk':
      return {
        threshold: mebibytes(diskTotalBytes * DISK_AVAILABLE_PART_MIN),
        available: mebibytes(diskAvailableBytes),
      };
    case 'pids': {
      const { processes, processesMax } = sample;
      const least = processesMax - Math.floor(processesMax * PROCESSES_PART_MAX);
      return { threshold: String(least), available: String(processesMax - processes) };
    }
  }
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / MEBIBYTE)}Mi`;
}
