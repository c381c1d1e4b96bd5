/**
 * `pier down`: removes from this board what `pier up` made, and nothing else: its processes, the pods and network that carry
 * Pier's label or name, what they had mounted, its routes, the demo image and the data directory.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DEMO_IMAGE } from './demo-image.ts';
import { removeRunDirectory } from './run-directory.ts';

const run = promisify(execFile);
const say = (text: string) => process.stderr.write(`pier: ${text}\n`);
const STOP_WAIT_MS = 20_000;
/** Routes of ours carry this protocol number (agent/network/routes.ts). */
const ROUTE_PROTOCOL = '99';
/** In the table nat (agent/network/pod-addresses.ts). */
const POD_CHAIN = 'PIER-PODS';
const OWN_FILES = /^(master|agent|up\.pid|(master|agent)\.log|kubeconfig-\d+)$/;

export interface DownOptions {
  readonly data: string;
  /** The agent's directory on a tmpfs. */
  readonly runDir: string;
  readonly serviceCidr: string;
}

/** Resolves with the exit code; what could not be removed is named. */
export async function down(options: DownOptions): Promise<number> {
  await stopUp(join(options.data, 'up.pid'));
  const problems: string[] = [];
  const attempt = async (what: string, work: () => Promise<unknown>) => {
    try {
      await work();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  await attempt('pods', removePods);
  await attempt('mounts of pods', () => removeRunDirectory(options.runDir));
  await attempt('network', () => removeIfThere('network', 'pier'));
  await attempt('image', () => removeIfThere('image', DEMO_IMAGE));
  await attempt('routes', () => removeRoutes(options.serviceCidr));
  await attempt('iptables chain', removePodChain);
  await attempt('data', () => removeData(options.data));
  for (const problem of problems) say(`could not remove the ${problem}`);
  if (problems.length === 0) say(`removed. Debian packages and node_modules stay`);
  return problems.length === 0 ? 0 : 1;
}

async function stopUp(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 0) return;
  const alive = async () =>
    (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes('pier');
  if (!(await alive())) return;
  say(`stopping process ${pid}`);
  process.kill(pid, 'SIGTERM');
  const deadline = performance.now() + STOP_WAIT_MS;
  while (await alive()) {
    if (performance.now() > deadline)
      throw new Error(`process ${pid} does not stop: sudo kill -9 ${pid}`);
    await sleep(50);
  }
}

const podman = async (...args: string[]) => (await run('podman', args)).stdout;

async function removePods(): Promise<void> {
  const ids = (
    await podman('pod', 'ls', '-q', '--no-trunc', '--filter', 'label=pier.local/managed')
  ).split('\n');
  const ours = ids.filter(Boolean);
  if (ours.length === 0) return;
  say(`removing ${ours.length} pods`);
  await podman('pod', 'rm', '-f', '-t', '2', ...ours);
}

async function removeIfThere(type: 'network' | 'image', name: string): Promise<void> {
  const there = await podman(type, 'exists', name).then(
    () => true,
    () => false,
  );
  if (there) await podman(type, 'rm', name);
}

/** Only what Pier puts there: a wrong --data must not cost anybody their files. */
async function removeData(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  for (const name of names.filter((name) => OWN_FILES.test(name))) {
    await rm(join(directory, name), { recursive: true, force: true });
  }
  // Stays when others have files in it, or when it is a mount of its own.
  await rmdir(directory).catch(() => undefined);
}

async function removePodChain(): Promise<void> {
  const nat = (...args: string[]) => run('iptables', ['-w', '-t', 'nat', ...args]);
  const isThere = await nat('-S', POD_CHAIN).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  await nat('-D', 'POSTROUTING', '-j', POD_CHAIN);
  await nat('-F', POD_CHAIN);
  await nat('-X', POD_CHAIN);
}

async function removeRoutes(serviceCidr: string): Promise<void> {
  for (const table of ['main', 'local']) {
    const flush = ['route', 'flush', 'table', table, 'proto', ROUTE_PROTOCOL];
    await run('ip', flush).catch(() => undefined);
  }
  const local = (await run('ip', ['route', 'show', 'table', 'local', 'type', 'local', serviceCidr]))
    .stdout;
  if (local.trim() !== '') await run('ip', ['route', 'del', 'local', serviceCidr, 'dev', 'lo']);
}
