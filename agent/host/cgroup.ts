/**
 * What a cgroup has used, straight from the kernel's files, for version 2, version 1 and the hybrid of both. No
 * forks; two or three small reads per cgroup. Parsers are pure; reading is passed in.
 */

/** The text of a file; undefined when it does not exist. */
export type ReadText = (path: string) => Promise<string | undefined>;

/** Which version has the cpu and memory controllers; in a hybrid that is version 1. */
export type CgroupVersion = 1 | 2;

export interface CgroupUsage {
  /** CPU time since the cgroup was made. */
  readonly cpuNanos: number;
  /** Memory that the kernel could not drop at once: usage without the inactive page cache. */
  readonly memoryBytes: number;
}

const ROOT = '/sys/fs/cgroup';

/** The file at the root of a unified hierarchy exists only there. */
export async function cgroupVersion(readText: ReadText): Promise<CgroupVersion> {
  return (await readText(`${ROOT}/cgroup.controllers`)) === undefined ? 1 : 2;
}

/** `key value` lines, as in memory.stat and cpu.stat. */
export function parseKeyed(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ');
    if (space > 0) values.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return values;
}

/** As the kubelet computes it: usage minus the inactive file cache, never below zero. */
export function workingSetBytes(usage: number, inactiveFile: number | undefined): number {
  return Math.max(0, usage - (inactiveFile ?? 0));
}

/** Undefined when the cgroup is gone, or has neither controller. `path` is as in `/proc/PID/cgroup`. */
export async function readCgroupUsage(
  readText: ReadText,
  version: CgroupVersion,
  path: string,
): Promise<CgroupUsage | undefined> {
  return version === 2 ? readVersion2(readText, path) : readVersion1(readText, path);
}

async function readVersion2(readText: ReadText, path: string): Promise<CgroupUsage | undefined> {
  const base = `${ROOT}${path}`;
  const [cpu, current, stat] = await Promise.all([
    readText(`${base}/cpu.stat`),
    readText(`${base}/memory.current`),
    readText(`${base}/memory.stat`),
  ]);
  if (cpu === undefined) return undefined;
  return {
    cpuNanos: (parseKeyed(cpu).get('usage_usec') ?? 0) * 1000,
    memoryBytes: workingSetBytes(
      Number(current ?? '0'),
      parseKeyed(stat ?? '').get('inactive_file'),
    ),
  };
}

async function readVersion1(readText: ReadText, path: string): Promise<CgroupUsage | undefined> {
  const [cpu, usage, stat] = await Promise.all([
    readText(`${ROOT}/cpuacct${path}/cpuacct.usage`),
    readText(`${ROOT}/memory${path}/memory.usage_in_bytes`),
    readText(`${ROOT}/memory${path}/memory.stat`),
  ]);
  if (cpu === undefined && usage === undefined) return undefined;
  return {
    cpuNanos: Number(cpu ?? '0'),
    memoryBytes: workingSetBytes(
      Number(usage ?? '0'),
      parseKeyed(stat ?? '').get('total_inactive_file'),
    ),
  };
}

/** By /proc/self/mountinfo: version 1 and 2 are both below /sys/fs/cgroup (systemd's "hybrid" layout). crun refuses such a machine. */
export function mixesCgroups(mountInfo: string): boolean {
  const types = mountInfo
    .split('\n')
    .filter((line) => line.includes(' /sys/fs/cgroup'))
    .map((line) => line.split(' - ')[1]?.split(' ')[0]);
  return types.includes('cgroup') && types.includes('cgroup2');
}
