/**
 * What a board must remember about its pods by itself: their addresses, their devices and when it first knew them.
 * One small file, written when a pod comes or goes and never in between. Losing it costs nothing while
 * the engine still has the pods: their addresses are read back from there.
 */
import { isDeepStrictEqual } from 'node:util';
import { decodeCbor, encodeCbor } from '../../protocol/codec.ts';
import type { HeldUnits } from '../plan/device-plan.ts';
import { allocatePodIp, cidrContains } from '../plan/pod-ip.ts';
import type { PodVerdict } from '../plan/pod-plan.ts';
import type { StateDirectory } from './state-file.ts';

export interface PodRecord {
  readonly ip: string | undefined;
  /** Wall clock, for display (PodStatus.startTime). */
  readonly startTimeMs: number;
  /** The board has ended the pod; it must not run again, whatever happens to this board. */
  readonly verdict?: PodVerdict;
  /** Names of ephemeral containers that were made: none runs a second time, also not after a reboot. */
  readonly made?: readonly string[];
  /** Units of the board's devices that are the pod's. */
  readonly devices?: HeldUnits;
}

const FILE = 'pod-records';
const NO_ORDER = { epoch: 0, revision: 0 } as const;

export class PodRecords {
  readonly #directory: StateDirectory;
  readonly #onWriteError: (error: unknown) => void;
  #records = new Map<string, PodRecord>();
  /** Addresses that the engine refused. Not kept: a reboot frees what it holds by mistake. */
  #refused = new Set<string>();
  #writing: Promise<void> = Promise.resolve();
  #writeAgain = false;
  #busy = false;

  constructor(directory: StateDirectory, onWriteError: (error: unknown) => void) {
    this.#directory = directory;
    this.#onWriteError = onWriteError;
  }

  async load(): Promise<void> {
    const content = (await this.#directory.readAll()).get(FILE);
    if (content === undefined) return;
    try {
      this.#records = readRecords(decodeCbor(content.body));
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      await this.#directory.setAside(FILE, reason);
    }
  }

  get(uid: string): PodRecord | undefined {
    return this.#records.get(uid);
  }

  /** Notes a pod the first time it is seen. `ip` is what the engine shows, if it has the pod. */
  note(uid: string, ip: string | undefined, wallMs: number): PodRecord {
    const known = this.#records.get(uid);
    if (known !== undefined && (ip === undefined || known.ip === ip)) return known;
    const record = {
      ...known,
      ip: ip ?? known?.ip,
      startTimeMs: known?.startTimeMs ?? wallMs,
    };
    this.#records.set(uid, record);
    this.#save();
    return record;
  }

  /**
   * The address of a pod: the one it had, if that is still of the board's range, or the lowest free one.
   * Undefined when the range is used up. Durable when it returns.
   */
  async assignIp(uid: string, podCidr: string, wallMs: number): Promise<string | undefined> {
    const known = this.#records.get(uid);
    if (known?.ip !== undefined && cidrContains(podCidr, known.ip)) return known.ip;
    const taken = [...this.#records.values()].flatMap(({ ip }) => ip ?? []);
    let ip = allocatePodIp(podCidr, [...taken, ...this.#refused]);
    if (ip === undefined) {
      // The engine may give them by now.
      this.#refused = new Set();
      ip = allocatePodIp(podCidr, taken);
    }
    if (ip === undefined) return undefined;
    this.#records.set(uid, { ...known, ip, startTimeMs: known?.startTimeMs ?? wallMs });
    this.#save();
    await this.#writing;
    return ip;
  }

  /** What the pods that `holds` names have of the board's devices. */
  heldDevices(holds: (uid: string) => boolean): HeldUnits[] {
    return this.devicesByPod().flatMap(([uid, devices]) => (holds(uid) ? [devices] : []));
  }

  devicesByPod(): [uid: string, devices: HeldUnits][] {
    return [...this.#records].flatMap(([uid, { devices }]) =>
      devices === undefined ? [] : [[uid, devices]],
    );
  }

  /** From now on these units are the pod's; taken at once, durable when it returns. */
  async keepDevices(uid: string, devices: HeldUnits, wallMs: number): Promise<void> {
    const known = this.#records.get(uid) ?? { ip: undefined, startTimeMs: wallMs };
    if (isDeepStrictEqual(known.devices, devices)) return this.#writing;
    this.#records.set(uid, { ...known, devices });
    this.#save();
    await this.#writing;
  }

  /** The engine does not let the pod have its address: the next one it is assigned is another. */
  refuseIp(uid: string): void {
    const known = this.#records.get(uid);
    if (known?.ip === undefined) return;
    this.#refused.add(known.ip);
    this.#records.set(uid, { ...known, ip: undefined });
    this.#save();
  }

  /** The pod was ended for good. */
  end(uid: string, verdict: PodVerdict, startTimeMs: number): void {
    const known = this.#records.get(uid) ?? { ip: undefined, startTimeMs };
    this.#records.set(uid, { ...known, verdict });
    this.#save();
  }

  /** These ephemeral containers of the pod were made. Writes only what is new. */
  noteMade(uid: string, names: readonly string[], startTimeMs: number): void {
    const known = this.#records.get(uid) ?? { ip: undefined, startTimeMs };
    const made = [...new Set([...(known.made ?? []), ...names])];
    if (made.length === (known.made ?? []).length) return;
    this.#records.set(uid, { ...known, made });
    this.#save();
  }

  forget(uid: string): void {
    if (this.#records.delete(uid)) this.#save();
  }

  /** Forgets the pods that are not to be kept. */
  prune(keep: (uid: string) => boolean): void {
    const gone = [...this.#records.keys()].filter((uid) => !keep(uid));
    for (const uid of gone) this.#records.delete(uid);
    if (gone.length > 0) this.#save();
  }

  /** Waits for what is being written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  #save(): void {
    this.#writeAgain = true;
    if (this.#busy) return;
    this.#busy = true;
    this.#writing = this.#write();
  }

  async #write(): Promise<void> {
    // Changes of one turn of the event loop go out in one write.
    await Promise.resolve();
    while (this.#writeAgain) {
      this.#writeAgain = false;
      const pods = Object.fromEntries(this.#records);
      try {
        const body = encodeCbor({ pods });
        await this.#directory.write(new Map([[FILE, { order: NO_ORDER, body }]]));
      } catch (error) {
        // A full or read-only card must not stop pods: the addresses are also with the engine.
        this.#onWriteError(error);
      }
    }
    this.#busy = false;
  }
}

function readRecords(value: unknown): Map<string, PodRecord> {
  const records = new Map<string, PodRecord>();
  const pods = isObject(value) ? value.pods : undefined;
  if (!isObject(pods)) throw new Error('it holds no pod records');
  for (const [uid, record] of Object.entries(pods)) {
    if (!isObject(record) || typeof record.startTimeMs !== 'number') {
      throw new Error(`the record of pod ${uid} is not readable`);
    }
    const ip = typeof record.ip === 'string' ? record.ip : undefined;
    const { reason, message, isDisruption } = isObject(record.verdict) ? record.verdict : {};
    const ended = typeof reason === 'string' && typeof message === 'string';
    const disruption = isDisruption === true ? { isDisruption: true as const } : {};
    const verdict = ended ? { verdict: { reason, message, ...disruption } } : {};
    const names = Array.isArray(record.made) ? record.made : [];
    const made = names.filter((name) => typeof name === 'string');
    const ephemeral = made.length === 0 ? {} : { made };
    const devices = isObject(record.devices) ? { devices: readUnits(record.devices) } : {};
    records.set(uid, { ip, startTimeMs: record.startTimeMs, ...verdict, ...ephemeral, ...devices });
  }
  return records;
}

function readUnits(value: Record<string, unknown>): HeldUnits {
  const entries = Object.entries(value).map(([resource, ids]) => [
    resource,
    Array.isArray(ids) ? ids.filter((id) => typeof id === 'string') : [],
  ]);
  return Object.fromEntries(entries);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
