/**
 * Settings that podman needs on machines which are not quite a board: inside virtual machines and containers cgroup v1 and v2
 * may be mixed (crun refuses that, runc does not), and CAP_SYS_RESOURCE may be missing (then raising limits fails).
 * On an ordinary board nothing is needed and nothing is written. Never touches the user's /etc.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mixesCgroups } from '../host/cgroup.ts';

export interface EngineSurroundings {
  /** Text of /proc/self/mountinfo. */
  readonly mountInfo: string;
  /** Text of /proc/self/status. */
  readonly processStatus: string;
}

/** capability number of CAP_SYS_RESOURCE (linux/capability.h). */
const CAP_SYS_RESOURCE = 24n;

/** The text of a containers.conf, and why it is needed; undefined on an ordinary board. */
export function engineConfigFor(
  surroundings: EngineSurroundings,
): { readonly text: string; readonly reasons: readonly string[] } | undefined {
  const hybrid = mixesCgroups(surroundings.mountInfo);
  const limited = !hasCapability(surroundings.processStatus, CAP_SYS_RESOURCE);
  if (!hybrid && !limited) return undefined;
  const reasons = [
    ...(hybrid ? ['cgroup v1 and v2 are mixed: using runc and cgroupfs'] : []),
    ...(limited ? ['CAP_SYS_RESOURCE is missing: containers get fixed limits'] : []),
  ];
  const lines = [
    '# Written by the Pier agent for its own podman service; /etc/containers is not touched.',
    '[containers]',
    ...(limited ? ['default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]'] : []),
    '[engine]',
    ...(hybrid ? ['runtime = "runc"', 'cgroup_manager = "cgroupfs"'] : []),
    'events_logger = "file"',
  ];
  return { text: `${lines.join('\n')}\n`, reasons };
}

function hasCapability(processStatus: string, capability: bigint): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(processStatus)?.[1];
  return effective === undefined || ((BigInt(`0x${effective}`) >> capability) & 1n) === 1n;
}

/**
 * The environment for podman's service, and why it differs from ours (empty on an ordinary board).
 * A CONTAINERS_CONF that is set already is the user's word and stays. `pid`: of a process that sees what podman will see.
 */
export async function engineEnvironment(
  dataDir: string,
  env: NodeJS.ProcessEnv,
  pid: number | 'self' = 'self',
): Promise<{ readonly env: NodeJS.ProcessEnv; readonly reasons: readonly string[] }> {
  if (env.CONTAINERS_CONF !== undefined) return { env, reasons: [] };
  const [mountInfo, processStatus] = await Promise.all([
    readFile(`/proc/${pid}/mountinfo`, 'utf8'),
    readFile(`/proc/${pid}/status`, 'utf8'),
  ]);
  const config = engineConfigFor({ mountInfo, processStatus });
  if (config === undefined) return { env, reasons: [] };
  const file = join(dataDir, 'containers.conf');
  const present = await readFile(file, 'utf8').catch(() => undefined);
  if (present !== config.text) {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await writeFile(file, config.text, { mode: 0o600 });
  }
  return { env: { ...env, CONTAINERS_CONF: file }, reasons: config.reasons };
}
