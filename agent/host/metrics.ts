/**
 * The board's numbers from /proc and /sys: cheap enough for every few seconds (six small reads, no forks). CPU is an
 * average between two samples. Parsers are pure; clock and reading are passed in.
 */
import { statfs } from 'node:fs/promises';
import { type Clock, systemClock } from '../../protocol/clock.ts';
import type { ContainerStats } from '../runtime/runtime.ts';
import type { ReadText } from './cgroup.ts';
import { readText as realReadText } from './read-text.ts';

/** Linux counts CPU time in hundredths of a second towards user space, whatever its own tick is. */
const NANOS_PER_TICK = 10_000_000;
/** Every thermal zone a board may have; most have one or two. */
const THERMAL_ZONES = 4;
/** Raspberry Pi's firmware: bit 0 under-voltage now, bits 1 to 3 slowed down now. */
const PI_THROTTLED = '/sys/devices/platform/soc/soc:firmware/get_throttled';
const HWMONS = 4;
const VIRTUAL_INTERFACE = /^(lo|pier|veth|docker|podman|cni|br-|virbr)/;

export interface HostSample {
  /** Time between the two samples behind `cpuNanoCores`; 0 in the first one. */
  readonly windowMs: number;
  readonly cpuNanoCores: number;
  /** Of all cores, since boot. */
  readonly cpuSeconds: number;
  readonly memoryTotalBytes: number;
  readonly memoryAvailableBytes: number;
  /** Total minus available: without the page cache, which the kernel gives back. */
  readonly memoryWorkingSetBytes: number;
  readonly diskTotalBytes: number;
  readonly diskAvailableBytes: number;
  /** Since boot, over the board's real interfaces. */
  readonly networkReceiveBytes: number;
  readonly networkTransmitBytes: number;
  readonly processes: number;
  readonly processesMax: number;
  /** Absent where the board has no sensor. */
  readonly temperatureCelsius?: number;
  readonly underVoltage?: boolean;
  readonly throttled?: boolean;
}

export interface MetricsSources {
  readonly dataDir: string;
  readonly clock?: Clock;
  readonly readText?: ReadText;
  readonly diskSpace?: (path: string) => Promise<DiskSpace>;
}

export interface DiskSpace {
  readonly totalBytes: number;
  readonly availableBytes: number;
}

export class HostMetrics {
  readonly #dataDir: string;
  readonly #clock: Clock;
  readonly #readText: ReadText;
  readonly #diskSpace: (path: string) => Promise<DiskSpace>;
  #before: { readonly atMs: number; readonly busyTicks: number } | undefined;
  /** Sensors that were there at the first sample; the others are not asked again. */
  #sensors: Sensors | undefined;

  constructor(sources: MetricsSources) {
    this.#dataDir = sources.dataDir;
    this.#clock = sources.clock ?? systemClock;
    this.#readText = sources.readText ?? realReadText;
    this.#diskSpace = sources.diskSpace ?? readDiskSpace;
  }

  async sample(): Promise<HostSample> {
    const read = async (path: string): Promise<string> => (await this.#readText(path)) ?? '';
    const [stat, meminfo, netDev, loadavg, pidMax, disk, sensors] = await Promise.all([
      read('/proc/stat'),
      read('/proc/meminfo'),
      read('/proc/net/dev'),
      read('/proc/loadavg'),
      read('/proc/sys/kernel/pid_max'),
      this.#diskSpace(this.#dataDir),
      this.#readSensors(),
    ]);
    const atMs = this.#clock.monotonicMs();
    const busyTicks = parseBusyTicks(stat);
    const before = this.#before;
    this.#before = { atMs, busyTicks };
    const windowMs = before === undefined ? 0 : Math.max(0, Math.round(atMs - before.atMs));
    const ticks = before === undefined ? 0 : Math.max(0, busyTicks - before.busyTicks);
    const memory = parseMemory(meminfo);
    return {
      windowMs,
      cpuNanoCores: windowMs === 0 ? 0 : Math.round((ticks * NANOS_PER_TICK * 1000) / windowMs),
      cpuSeconds: (busyTicks * NANOS_PER_TICK) / 1e9,
      memoryTotalBytes: memory.totalBytes,
      memoryAvailableBytes: memory.availableBytes,
      memoryWorkingSetBytes: memory.totalBytes - memory.availableBytes,
      diskTotalBytes: disk.totalBytes,
      diskAvailableBytes: disk.availableBytes,
      ...parseNetwork(netDev),
      processes: parseProcesses(loadavg),
      processesMax: Number(pidMax.trim()) || 32_768,
      ...sensors,
    };
  }

  async #readSensors(): Promise<SensorReadings> {
    this.#sensors ??= await findSensors(this.#readText);
    const { zones, throttled, underVoltage } = this.#sensors;
    const zoneTexts = await Promise.all(zones.map((path) => this.#readText(path)));
    const celsius = zoneTexts.map(parseCelsius).filter((value) => value !== undefined);
    const flags = throttled === undefined ? undefined : await this.#readText(throttled);
    const alarm = underVoltage === undefined ? undefined : await this.#readText(underVoltage);
    return {
      ...(celsius.length === 0 ? {} : { temperatureCelsius: Math.max(...celsius) }),
      ...(alarm === undefined ? {} : { underVoltage: alarm.trim() === '1' }),
      ...(flags === undefined ? {} : parseThrottled(flags)),
    };
  }
}

type SensorReadings = Pick<HostSample, 'temperatureCelsius' | 'underVoltage' | 'throttled'>;

interface Sensors {
  readonly zones: readonly string[];
  readonly throttled: string | undefined;
  readonly underVoltage: string | undefined;
}

async function findSensors(readText: ReadText): Promise<Sensors> {
  const zones: string[] = [];
  for (let zone = 0; zone < THERMAL_ZONES; zone += 1) {
    const path = `/sys/class/thermal/thermal_zone${zone}/temp`;
    if ((await readText(path)) !== undefined) zones.push(path);
  }
  let underVoltage: string | undefined;
  for (let hwmon = 0; hwmon < HWMONS && underVoltage === undefined; hwmon += 1) {
    const folder = `/sys/class/hwmon/hwmon${hwmon}`;
    const isPi = (await readText(`${folder}/name`))?.trim() === 'rpi_volt';
    if (isPi) underVoltage = `${folder}/in0_lcrit_alarm`;
  }
  const hasFlags = (await readText(PI_THROTTLED)) !== undefined;
  return { zones, throttled: hasFlags ? PI_THROTTLED : undefined, underVoltage };
}

/** CPU time of all cores in which something ran: not idle, not waiting for a disk, not stolen. */
export function parseBusyTicks(procStat: string): number {
  const fields = /^cpu +(.*)$/m.exec(procStat)?.[1]?.trim().split(/\s+/).map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return user + nice + system + irq + softirq;
}

export function parseMemory(meminfo: string): { totalBytes: number; availableBytes: number } {
  const kib = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? '0');
  const available = meminfo.includes('MemAvailable:')
    ? kib('MemAvailable')
    : // Kernels before 3.14.
      kib('MemFree') + kib('Cached') + kib('Buffers');
  return { totalBytes: kib('MemTotal') * 1024, availableBytes: available * 1024 };
}

export function parseNetwork(
  procNetDev: string,
): Pick<HostSample, 'networkReceiveBytes' | 'networkTransmitBytes'> {
  let networkReceiveBytes = 0;
  let networkTransmitBytes = 0;
  for (const line of procNetDev.split('\n')) {
    const match = /^\s*([^:\s]+):\s*(.*)$/.exec(line);
    const name = match?.[1];
    if (name === undefined || VIRTUAL_INTERFACE.test(name)) continue;
    const fields = match?.[2]?.trim().split(/\s+/).map(Number) ?? [];
    networkReceiveBytes += fields[0] ?? 0;
    networkTransmitBytes += fields[8] ?? 0;
  }
  return { networkReceiveBytes, networkTransmitBytes };
}

/** Threads that exist, from the fourth field of /proc/loadavg ("2/345"). */
export function parseProcesses(loadavg: string): number {
  return Number(/ \d+\/(\d+) /.exec(loadavg)?.[1] ?? '0');
}

/** Thousandths of a degree; some drivers answer nonsense while they start. */
export function parseCelsius(text: string | undefined): number | undefined {
  const celsius = Number.parseInt(text ?? '', 10) / 1000;
  return celsius > -60 && celsius < 200 ? Math.round(celsius * 10) / 10 : undefined;
}

/** Hexadecimal, with or without 0x; only what is so now, not what once was (bits 16 and up). */
export function parseThrottled(text: string): { underVoltage: boolean; throttled: boolean } {
  const flags = Number.parseInt(text.trim().replace(/^0x/i, ''), 16) || 0;
  return { underVoltage: (flags & 0b1) !== 0, throttled: (flags & 0b1110) !== 0 };
}

export interface ContainerUse {
  readonly cpuNanoCores: number;
  readonly memoryWorkingSetBytes: number;
}

/** Turns the runtime's running totals into rates. Holds one total per container that still runs. */
export class ContainerRates {
  #before = new Map<string, { readonly atMs: number; readonly cpuNanos: number }>();

  /** By container id; a container seen for the first time has no CPU rate yet and counts 0. */
  update(stats: readonly ContainerStats[], nowMs: number): ReadonlyMap<string, ContainerUse> {
    const uses = new Map<string, ContainerUse>();
    const now = new Map<string, { atMs: number; cpuNanos: number }>();
    for (const { containerId, cpuNanos, memoryBytes } of stats) {
      const before = this.#before.get(containerId);
      const elapsedMs = before === undefined ? 0 : nowMs - before.atMs;
      const nanos = before === undefined ? 0 : Math.max(0, cpuNanos - before.cpuNanos);
      const cpuNanoCores = elapsedMs <= 0 ? 0 : Math.round((nanos * 1000) / elapsedMs);
      uses.set(containerId, { cpuNanoCores, memoryWorkingSetBytes: memoryBytes });
      now.set(containerId, { atMs: nowMs, cpuNanos });
    }
    this.#before = now;
    return uses;
  }
}

/** Throws what statfs(2) throws. */
export async function readDiskSpace(path: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize } = await statfs(path);
  return { totalBytes: blocks * bsize, availableBytes: bavail * bsize };
}
