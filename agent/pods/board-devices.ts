/**
 * Gives the board's devices to its pods, each unit to one pod until that pod has ended. Which pod holds what lies with
 * the addresses of the pods (state/pod-records.ts), so that it survives the agent and the board.
 */
import type { Logger } from 'pino';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { type DeviceRoots, deviceSignature, readDevices } from '../host/devices.ts';
import type { BoardPod } from '../plan/board-pod.ts';
import {
  allocateDevices,
  type DeviceUnit,
  deviceCapacity,
  heldUnits,
  podDeviceCounts,
} from '../plan/device-plan.ts';
import type { PodRecords } from '../state/pod-records.ts';
import type { PodEvent } from './pod-steps.ts';
import type { PodWorker } from './pod-worker.ts';

/** A pod of the board as far as its devices are concerned. */
type HoldingPod = Pick<PodWorker, 'pod' | 'containers' | 'status' | 'gone'>;

export interface BoardDevicesOptions {
  readonly roots: DeviceRoots;
  readonly log: Logger;
  readonly records: PodRecords;
  readonly pod: (uid: string) => HoldingPod | undefined;
  readonly emit: (event: PodEvent) => void;
  /** Wall clock in ms, for display. */
  readonly wallMs: () => number;
}

export class BoardDevices {
  readonly #options: BoardDevicesOptions;
  #units: readonly DeviceUnit[] = [];
  #signature: string | undefined;
  /** One look after the other. */
  #looking: Promise<void> = Promise.resolve();

  constructor(options: BoardDevicesOptions) {
    this.#options = options;
  }

  /** Units of each resource, as quantities. */
  capacity(): Record<string, string> {
    return deviceCapacity(this.#units);
  }

  /** Sees what came or went since the last look. Pods that held what is gone are told by an event. */
  look(): Promise<void> {
    const before = this.#looking.catch(() => undefined);
    this.#looking = before.then(() => this.#look());
    return this.#looking;
  }

  /**
   * The units of a pod, all of them: those it had, or free ones. Durable when it returns. Throws an Error when the
   * board has not enough.
   */
  async unitsOf(pod: BoardPod): Promise<DeviceUnit[]> {
    if (podDeviceCounts(pod.spec).size === 0) return [];
    await this.look();
    const { records, wallMs } = this.#options;
    const had = records.get(pod.uid)?.devices ?? {};
    const taken = records.heldDevices((uid) => uid !== pod.uid && this.#holds(uid));
    const units = allocateDevices(pod.spec, had, this.#units, taken);
    await records.keepDevices(pod.uid, heldUnits(units), wallMs());
    return units;
  }

  /** A pod that ended for good holds nothing, as soon as none of its containers runs. */
  #holds(uid: string): boolean {
    const pod = this.#options.pod(uid);
    if (pod === undefined) return true;
    if (pod.gone) return false;
    return !hasEnded(pod.status) || pod.containers.some(({ state }) => state === 'running');
  }

  async #look(): Promise<void> {
    const { roots, log } = this.#options;
    const signature = await deviceSignature(roots);
    if (signature === this.#signature) return;
    const before = this.#units;
    this.#units = await readDevices(roots);
    const isFirst = this.#signature === undefined;
    this.#signature = signature;
    const capacity = this.capacity();
    if (isFirst) {
      log.info({ devices: Object.keys(capacity) }, 'devices found');
      return;
    }
    const gone = before.filter((unit) => !this.#units.some((one) => isSame(one, unit)));
    log.info({ devices: Object.keys(capacity), gone: gone.map(({ id }) => id) }, 'devices changed');
    for (const unit of gone) this.#tellHolders(unit);
  }

  #tellHolders({ resource, id }: DeviceUnit): void {
    const { records, emit, pod: podOf } = this.#options;
    for (const [uid, held] of records.devicesByPod()) {
      const found = podOf(uid)?.pod;
      if (found === undefined || held[resource]?.includes(id) !== true || !this.#holds(uid))
        continue;
      emit({
        uid,
        namespace: found.namespace,
        name: found.name,
        container: undefined,
        type: 'Warning',
        reason: 'DeviceGone',
        message: `device ${resource} (${id}) is not on this board any more`,
      });
    }
  }
}

function isSame(a: DeviceUnit, b: DeviceUnit): boolean {
  return a.resource === b.resource && a.id === b.id;
}
