/**
 * What is looked at before the agent starts, so that a missing package or a kernel option is one sentence that says
 * what to do, not a pod that fails in an hour. Pure but for the readers passed in.
 */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { mixesCgroups, type ReadText } from './cgroup.ts';
import { readText as realReadText } from './read-text.ts';

export interface CheckResult {
  /** Stable, for tests and scripts. */
  readonly code: 'root' | 'oci-runtime' | 'pod-network' | 'memory-cgroup';
  /** `error`: no pod can run. `warning`: something that pods may ask for will not work. */
  readonly level: 'error' | 'warning';
  readonly message: string;
}

export interface CheckSources {
  readonly readText?: ReadText;
  readonly exists?: (path: string) => Promise<boolean>;
  /** Folders with programs; default: PATH and the usual ones of root. */
  readonly programDirs?: readonly string[];
  readonly uid?: number;
}

const MOUNTS = '/proc/self/mountinfo';
const NETWORK_BACKENDS = [
  '/usr/lib/podman/netavark',
  '/usr/libexec/podman/netavark',
  '/usr/local/libexec/podman/netavark',
  '/usr/lib/cni/bridge',
  '/opt/cni/bin/bridge',
];

/** What is wrong whatever engine runs the pods; empty when the board is fit. */
export async function checkHost(sources: CheckSources = {}): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  if ((sources.uid ?? process.getuid?.()) !== 0) {
    results.push({
      code: 'root',
      level: 'error',
      message: 'the agent needs root for pods and their network: start it with sudo',
    });
  }
  const memory = await checkMemoryCgroup(sources.readText ?? realReadText);
  return memory === undefined ? results : [...results, memory];
}

/** What an installed podman lacks to run pods: Debian only recommends these packages. */
export async function checkPodman(sources: CheckSources = {}): Promise<CheckResult[]> {
  const exists = sources.exists ?? isThere;
  const dirs = sources.programDirs ?? programDirs();
  const hasAny = async (paths: readonly string[]): Promise<boolean> =>
    (await Promise.all(paths.map(exists))).includes(true);
  const results: CheckResult[] = [];
  const isMixed = mixesCgroups((await (sources.readText ?? realReadText)(MOUNTS)) ?? '');
  const hasRuntime = await hasAny(
    (isMixed ? ['runc'] : ['crun', 'runc']).flatMap((name) => dirs.map((dir) => join(dir, name))),
  );
  if (!hasRuntime) {
    const message = isMixed
      ? 'this machine mixes cgroup v1 and v2, where podman needs runc: run "apt-get install runc"'
      : 'neither crun nor runc is installed: run "apt-get install crun"';
    results.push({ code: 'oci-runtime', level: 'error', message });
  }
  if (!(await hasAny(NETWORK_BACKENDS))) {
    results.push({
      code: 'pod-network',
      level: 'error',
      message: 'podman has no network backend: run "apt-get install netavark iptables"',
    });
  }
  return results;
}

/**
 * Raspberry Pi OS switches the memory controller off. Version 2 is asked first: since kernel 6.12 without version 1,
 * /proc/cgroups has no memory line although version 2 has the controller (raspberrypi/linux#6980).
 */
export async function checkMemoryCgroup(readText: ReadText): Promise<CheckResult | undefined> {
  const [unified, hybrid, version1, commandLine, model] = await Promise.all([
    readText('/sys/fs/cgroup/cgroup.controllers'),
    readText('/sys/fs/cgroup/unified/cgroup.controllers'),
    readText('/proc/cgroups'),
    readText('/proc/cmdline'),
    readText('/proc/device-tree/model'),
  ]);
  const has = (controllers: string | undefined): boolean =>
    (controllers ?? '').trim().split(/\s+/).includes('memory');
  if (has(unified) || has(hybrid)) return undefined;
  // Columns: name, hierarchy, cgroups, enabled. Under version 2 alone this file says nothing.
  const isEnabled = /^memory\t\d+\t\d+\t1$/m.test(version1 ?? '');
  if (unified === undefined && isEnabled) return undefined;
  const isPi = (model ?? '').includes('Raspberry Pi');
  const isOff = (commandLine ?? '').split(/\s+/).includes('cgroup_disable=memory');
  const why = isOff ? ' (the kernel was started with cgroup_disable=memory)' : '';
  const remedy = isPi
    ? 'add "cgroup_enable=memory cgroup_memory=1" to the end of the one line in ' +
      '/boot/firmware/cmdline.txt (/boot/cmdline.txt on older systems), then reboot'
    : 'start the kernel with cgroup_enable=memory';
  return {
    code: 'memory-cgroup',
    level: 'warning',
    message: `the kernel's memory cgroup is off${why}, so memory limits and memory use of pods are not possible: ${remedy}`,
  };
}

function programDirs(): string[] {
  const fromPath = (process.env.PATH ?? '').split(delimiter).filter((dir) => dir !== '');
  return [...new Set([...fromPath, '/usr/local/sbin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'])];
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch {
    // Absent, or not to be seen by us: both mean that it cannot be used.
    return false;
  }
}
