/** Heartbeats as metrics.k8s.io knows usage: nanocores ("n") and KiB, as the real metrics server. Pure. */
import { rfc3339 } from '../../protocol/clock.ts';
import type { Heartbeat } from '../../protocol/messages.ts';
import type { NodeMetrics, PodMetrics, Usage } from '../api/metrics.ts';

export interface Measured {
  readonly heartbeat: Heartbeat;
  /** Wall clock of the master at its arrival, for display. */
  readonly receivedWallMs: number;
  /** The same on the monotonic clock, for decisions. */
  readonly receivedMs: number;
}

export function nodeMetrics(
  name: string,
  measured: Measured,
  labels: Readonly<Record<string, string>>,
): NodeMetrics {
  return { name, labels, ...when(measured), usage: usageOf(measured.heartbeat) };
}

export function podMetrics(
  measured: Measured,
  labelsOf: (
    namespace: string,
    name: string,
    uid: string,
  ) => Readonly<Record<string, string>> | undefined,
): PodMetrics[] {
  const found: PodMetrics[] = [];
  for (const { uid, namespace, name, containers } of measured.heartbeat.pods) {
    const labels = labelsOf(namespace, name, uid);
    // Gone, or another board's: a board speaks only of pods that are bound to it.
    if (labels === undefined) continue;
    found.push({
      namespace,
      name,
      labels,
      ...when(measured),
      measured: { receivedMs: measured.receivedMs, windowMs: measured.heartbeat.windowMs },
      containers: containers.map((one) => ({ name: one.name, usage: usageOf(one) })),
    });
  }
  return found;
}

function when({ heartbeat, receivedWallMs }: Measured): { timestamp: string; window: string } {
  return {
    timestamp: rfc3339(receivedWallMs),
    window: `${Math.max(1, Math.round(heartbeat.windowMs / 1_000))}s`,
  };
}

function usageOf(usage: {
  readonly cpuNanoCores: number;
  readonly memoryWorkingSetBytes: number;
}): Usage {
  return {
    cpu: `${usage.cpuNanoCores}n`,
    memory: `${Math.floor(usage.memoryWorkingSetBytes / 1024)}Ki`,
  };
}
