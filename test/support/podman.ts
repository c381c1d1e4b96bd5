/**
 * podman for tests: storage, sockets, settings and a network namespace of its own, under a temporary folder, so that
 * neither the machine's podman nor its bridges and firewall are touched. What this machine needs beyond an ordinary
 * board is set as the agent does it, in a CONTAINERS_CONF of the test's own.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { engineEnvironment } from '../../agent/runtime/engine-config.ts';
import type { PodmanRuntimeOptions } from '../../agent/runtime/podman.ts';
import { PodmanRuntime } from '../../agent/runtime/podman.ts';
import { tarArchive } from '../../agent/runtime/tar.ts';
import { REGISTRY } from './registry.ts';

const run = promisify(execFile);

/** Why podman cannot be tested here; undefined when it can. */
export function podmanMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'podman is tested as root only';
  for (const program of ['podman', 'nsenter', 'ip']) {
    try {
      execFileSync('which', [program], { stdio: 'ignore' });
    } catch {
      return `${program} is not installed`;
    }
  }
  return existsSync('/bin/busybox') ? undefined : 'busybox-static is not installed';
}

export interface TestBoard {
  readonly options: PodmanRuntimeOptions;
  /** The network namespace, under /run/netns. */
  readonly netns: string;
  readonly dir: string;
  /** Runs a program inside the board's network namespace; returns stdout. */
  inside(program: string, ...args: string[]): Promise<string>;
  /** Removes its pods, ends its podman service, removes namespace and folder. */
  remove(): Promise<void>;
}

/** A board's podman in a network namespace of its own. `name` is part of the namespace's name. */
export async function makeTestBoard(name: string): Promise<TestBoard> {
  const dir = await mkdtemp(join(tmpdir(), 'pier-podman-'));
  const netns = `pier-${process.pid}-${name}`;
  await run('ip', ['netns', 'add', netns]);
  await run('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
  const env = await boardEnvironment(dir);
  // The whole service lives in the namespace: nsenter becomes podman, so the process id stays.
  const podmanBinary = join(dir, 'podman-in-netns');
  await writeFile(podmanBinary, `#!/bin/sh\nexec nsenter --net=/run/netns/${netns} podman "$@"\n`);
  await chmod(podmanBinary, 0o755);
  await mkdir(join(dir, 'run'));
  const options: PodmanRuntimeOptions = {
    socketPath: join(dir, 'podman.sock'),
    root: join(dir, 'root'),
    runroot: join(dir, 'run'),
    env,
    podmanBinary,
  };
  const inside = async (program: string, ...args: string[]): Promise<string> => {
    const nsenter = [`--net=/run/netns/${netns}`, program, ...args];
    return (await run('nsenter', nsenter)).stdout;
  };
  const remove = async (): Promise<void> => {
    const runtime = new PodmanRuntime(options);
    await runtime.start();
    const sandboxes = await runtime.listSandboxes();
    await Promise.all(sandboxes.map((sandbox) => runtime.removeSandbox(sandbox.id)));
    await runtime.stop();
    await run('ip', ['netns', 'delete', netns]);
    await unmountBelow(dir);
    // podman's cleanup of the last containers may still be writing there.
    await rm(dir, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  };
  return { options, netns, dir, inside, remove };
}

/**
 * What the agent itself would set here, and locks of the board's own: podman's default ones lie in /dev/shm,
 * common to all podmans of the machine, and a new storage sets them all back.
 */
async function boardEnvironment(dir: string): Promise<NodeJS.ProcessEnv> {
  const { CONTAINERS_CONF: _, ...inherited } = process.env;
  await engineEnvironment(dir, inherited);
  const conf = join(dir, 'containers.conf');
  const text = existsSync(conf) ? await readFile(conf, 'utf8') : '[engine]\n';
  await writeFile(conf, text.replace('[engine]\n', '[engine]\nlock_type = "file"\n'));
  // Podman alone does not take the loopback for safe enough to go without TLS.
  const registries = join(dir, 'registries.conf');
  await writeFile(registries, `[[registry]]\nlocation = "${REGISTRY}"\ninsecure = true\n`);
  return { ...inherited, CONTAINERS_CONF: conf, CONTAINERS_REGISTRIES_CONF: registries };
}

/** podman leaves its storage bind-mounted on itself. */
async function unmountBelow(dir: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${dir}/`));
  for (const path of mounts.reverse()) await run('umount', ['-l', path]);
}

/** Debian's static busybox as the file system of an image, with its usual names. */
export async function busyboxTar(): Promise<Uint8Array> {
  const names =
    'sh sleep echo cat id ls ip ping seq head hostname touch kill true httpd wget nslookup';
  return tarArchive([
    { path: 'bin/', mode: 0o755 },
    { path: 'tmp/', mode: 0o777 },
    { path: 'bin/busybox', mode: 0o755, content: await readFile('/bin/busybox') },
    ...names.split(' ').map((name) => ({
      path: `bin/${name}`,
      mode: 0o777,
      linkTo: 'busybox',
    })),
  ]);
}
