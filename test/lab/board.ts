/**
 * A board on this machine: a network namespace with its own address, and in it a tree of processes with its own /run,
 * /proc, hostname, container storage and /var/lib/pier. Killing its first process is pulling the plug: everything in it is gone
 * at once and /run is empty, while the "card" (its folder) stays.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface BoardOptions {
  readonly name: string;
  /** Name of the network namespace (made by the LAN). */
  readonly netns: string;
  /** The board's card: survives the plug being pulled. */
  readonly dir: string;
  /** This machine's clone, visible in the board as it is here. */
  readonly address: string;
}

/** What the board's first process does: private mounts, then reap whatever is left to it, for ever. */
const FIRST_PROCESS = `
set -e
cd /
hostname "$BOARD"
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns /var/lib/containers /var/lib/pier
mount --bind "$CARD/containers" /var/lib/containers
mount --bind "$CARD/pier" /var/lib/pier
# podman keeps its locks here and its networks there: each board has its own.
mount -t tmpfs tmpfs /dev/shm
# A board has one layout of cgroups, where this machine may mix two: crun, which is podman's choice, refuses a mix.
if mountpoint -q /sys/fs/cgroup/unified && command -v crun >/dev/null; then
  mkdir /run/cgroup
  mount -t tmpfs -o mode=755 cgroup /run/cgroup
  for each in /sys/fs/cgroup/*; do
    name=$(basename "$each")
    if [ -L "$each" ]; then cp -P "$each" /run/cgroup/
    elif [ "$name" != unified ]; then mkdir "/run/cgroup/$name"; mount --move "$each" "/run/cgroup/$name"; fi
  done
  umount --recursive /sys/fs/cgroup
  mount --move /run/cgroup /sys/fs/cgroup
  rmdir /run/cgroup
fi
[ -d "$CARD/etc" ] || { mkdir "$CARD/etc"; cp -a /etc/containers/. "$CARD/etc/"; rm -rf "$CARD/etc/networks"; }
mount --bind "$CARD/etc" /etc/containers
# Without netavark podman keeps networks and addresses here.
for dir in /etc/cni /var/lib/cni; do
  [ -d "$dir" ] || continue
  mkdir -p "$CARD/cni$dir"
  mount --bind "$CARD/cni$dir" "$dir"
done
# As systemd-tmpfiles does at a boot (podman.conf): the addresses of before a power cut are free again.
rm -rf /var/lib/cni/networks
echo up
exec 0<&-
while :; do sleep 2 & wait; done
`;

export class Board {
  readonly name: string;
  readonly address: string;
  readonly dir: string;
  readonly #netns: string;
  #first: ChildProcess | undefined;
  #pid = 0;
  readonly #children = new Set<ChildProcess>();

  constructor(options: BoardOptions) {
    this.name = options.name;
    this.address = options.address;
    this.dir = options.dir;
    this.#netns = options.netns;
  }

  get running(): boolean {
    return this.#first !== undefined;
  }

  /** Of its first process; 0 before it was switched on. */
  get pid(): number {
    return this.#pid;
  }

  /** Switches the board on: nothing runs in it yet. */
  async powerOn(): Promise<void> {
    if (this.#first !== undefined) throw new Error(`board ${this.name} is on already`);
    await mkdir(join(this.dir, 'containers'), { recursive: true });
    await mkdir(join(this.dir, 'pier'), { recursive: true });
    const first = spawn(
      'nsenter',
      [
        `--net=/run/netns/${this.#netns}`,
        'unshare',
        ...[
          '--mount',
          '--uts',
          '--ipc',
          '--pid',
          '--fork',
          '--kill-child',
          '--propagation',
          'private',
        ],
        ...['sh', '-c', FIRST_PROCESS],
      ],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, BOARD: this.name, CARD: this.dir },
      },
    );
    await new Promise<void>((resolve, reject) => {
      let words = '';
      first.stderr.on('data', (chunk: Buffer) => {
        words += chunk.toString('utf8');
      });
      first.stdout.once('data', () => resolve());
      first.once('error', reject);
      first.once('close', (code) =>
        reject(new Error(`board ${this.name} did not start (exit code ${code}): ${words}`)),
      );
    });
    this.#first = first;
    this.#pid = await onlyChildOf(first.pid ?? 0);
  }

  /** Pulls the plug: SIGKILL to everything at once; /run is gone, the card stays. */
  async powerOff(): Promise<void> {
    const first = this.#first;
    if (first === undefined) return;
    const gone = new Promise((resolve) => first.once('close', resolve));
    process.kill(this.#pid, 'SIGKILL');
    await gone;
    this.#first = undefined;
    await Promise.all([...this.#children].map(closed));
  }

  /** A process of the board; it ends with the board at the latest. */
  spawn(
    command: string,
    args: readonly string[],
    options: { env?: NodeJS.ProcessEnv; input?: boolean } = {},
  ): ChildProcess {
    const child = spawn('nsenter', [...this.enter(), command, ...args], {
      env: options.env ?? process.env,
      stdio: [options.input === true ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /** A command of the board, to its end. Throws when it fails; the error holds its words. */
  async exec(
    command: string,
    args: readonly string[],
    options: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
  ): Promise<string> {
    const { stdout } = await run('nsenter', [...this.enter(), command, ...args], {
      env: options.env ?? process.env,
      timeout: options.timeoutMs ?? 60_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }

  /** Arguments of `nsenter` that lead into this board. */
  enter(): string[] {
    if (this.#first === undefined) throw new Error(`board ${this.name} is off`);
    const namespaces = ['--net', '--mount', '--uts', '--ipc', '--pid'];
    // Entering a mount namespace leaves a chroot: the first process' root and folder are asked for as well.
    return ['-t', String(this.#pid), ...namespaces, '--root', '--wd', '--'];
  }
}

async function onlyChildOf(pid: number): Promise<number> {
  const { stdout } = await run('ps', ['-o', 'pid=', '--ppid', String(pid)]);
  const child = Number(stdout.trim().split(/\s+/)[0]);
  if (!Number.isInteger(child) || child <= 0) throw new Error(`process ${pid} has no child`);
  return child;
}

function closed(child: ChildProcess): Promise<void> {
  return child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once('close', () => resolve()));
}
