/** When a board is short of something: the kubelet's default eviction signals, and how long its conditions say so. Pure. */
import type { HostSample } from './metrics.ts';

export const MEMORY_AVAILABLE_BYTES_MIN = 100 * 1024 * 1024;
export const DISK_AVAILABLE_PART_MIN = 0.1;
export const PROCESSES_PART_MAX = 0.95;
/** Kubernetes: evictionPressureTransitionPeriod. Without it a pod that was moved away would be sent back at once. */
const HOLD_MS = 5 * 60_000;

export interface Pressures {
  readonly memoryPressure: boolean;
  readonly diskPressure: boolean;
  readonly pidPressure: boolean;
}

export function pressuresOf(sample: HostSample): Pressures {
  return {
    memoryPressure: sample.memoryAvailableBytes < MEMORY_AVAILABLE_BYTES_MIN,
    diskPressure: sample.diskAvailableBytes < sample.diskTotalBytes * DISK_AVAILABLE_PART_MIN,
    pidPressure: sample.processes > sample.processesMax * PROCESSES_PART_MAX,
  };
}

/** What the conditions of the node say: each stays for five minutes after it was last true. */
export class HeldPressures {
  readonly #untilMs = new Map<keyof Pressures, number>();

  update(now: Pressures, nowMs: number): Pressures {
    const held = (name: keyof Pressures): boolean => {
      if (now[name]) this.#untilMs.set(name, nowMs + HOLD_MS);
      return nowMs < (this.#untilMs.get(name) ?? nowMs);
    };
    return {
      memoryPressure: held('memoryPressure'),
      diskPressure: held('diskPressure'),
      pidPressure: held('pidPressure'),
    };
  }
}
