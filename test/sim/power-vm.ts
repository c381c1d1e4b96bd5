/**
 * A virtual machine with a stock Debian kernel that runs the writer (power-writer.ts) on an ext4 disk, and whose power can be
 * cut: `kill -9` of QEMU, so its page cache is gone with it. Kernel and modules come from Debian's package, unpacked into
 * .cache and installed nowhere.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Acknowledged } from './power-cut.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const KERNEL_PACKAGE = 'linux-image-cloud-amd64';
const TOOLS_BYTES = 192 * 1024 * 1024;
const MODULES = [
  'virtio/virtio_ring',
  'virtio/virtio',
  'virtio/virtio_pci_modern_dev',
  'virtio/virtio_pci_legacy_dev',
  'virtio/virtio_pci',
  'block/virtio_blk',
];

/** What runs in the machine before anything else: the modules, the two disks, the writer. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in ${MODULES.map((path) => basename(path)).join(' ')}; do
  /bin/busybox insmod /modules/$module.ko
done
/bin/busybox mount -t ext4 -o ro /dev/vda /tools
/bin/busybox mount -t ext4 /dev/vdb /data
read seed < /data/seed
/tools/ld.so --library-path /tools /tools/node /tools/writer.mjs /data/store $seed
/bin/busybox echo the writer has ended
/bin/busybox poweroff -f
`;

export interface VmParts {
  readonly kernel: string;
  readonly initrd: string;
  readonly tools: string;
}

/** Makes what every start needs, in `folder`. A string with the reason when it cannot be had. */
export function prepareVm(folder: string, writer: string): VmParts | string {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  if (process.arch !== 'x64') return `the machine is made for x64, this is ${process.arch}`;
  for (const command of ['qemu-system-x86_64', 'busybox', 'mke2fs', 'dpkg-deb']) {
    if (spawnSync(command, ['--help'], { stdio: 'ignore' }).error === undefined) continue;
    return `${command} is missing (apt-get install qemu-system-x86 busybox-static e2fsprogs)`;
  }
  const kernel = fetchKernel();
  if (kernel === undefined) return `apt-get could not download ${KERNEL_PACKAGE}`;
  const boot = join(kernel, 'boot');
  const image = readdirSync(boot).find((name) => name.startsWith('vmlinuz-')) ?? '';
  return {
    kernel: join(boot, image),
    initrd: makeInitrd(join(folder, 'initrd'), kernel),
    tools: makeTools(join(folder, 'tools'), writer),
  };
}

function fetchKernel(): string | undefined {
  const folder = join(HOME, '.cache', 'vm-kernel');
  const unpacked = join(folder, 'unpacked');
  if (existsSync(join(unpacked, 'boot'))) return unpacked;
  mkdirSync(folder, { recursive: true });
  const depends = spawnSync('apt-cache', ['depends', KERNEL_PACKAGE], { encoding: 'utf8' });
  const name = /Depends: (linux-image-\S+)/.exec(depends.stdout ?? '')?.[1];
  if (name === undefined) return undefined;
  spawnSync('apt-get', ['download', name], { cwd: folder, stdio: 'ignore' });
  const deb = readdirSync(folder).find((file) => file.endsWith('.deb'));
  if (deb === undefined) return undefined;
  execFileSync('dpkg-deb', ['-x', join(folder, deb), unpacked]);
  return unpacked;
}

function makeInitrd(folder: string, kernel: string): string {
  for (const name of ['bin', 'proc', 'sys', 'dev', 'tools', 'data', 'modules']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  copyFileSync(realpathSync(busybox), join(folder, 'bin/busybox'));
  const modules = join(kernel, 'lib/modules');
  const drivers = join(modules, readdirSync(modules)[0] ?? '', 'kernel/drivers');
  for (const path of MODULES) {
    copyFileSync(join(drivers, `${path}.ko`), join(folder, 'modules', `${basename(path)}.ko`));
  }
  writeFileSync(join(folder, 'init'), INIT);
  chmodSync(join(folder, 'init'), 0o755);
  const archive = `${folder}.cpio`;
  execFileSync('sh', ['-c', `find . | busybox cpio -o -H newc > ${archive}`], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  return archive;
}

/** A read-only disk with this Node and the libraries it is linked with. */
function makeTools(folder: string, writer: string): string {
  mkdirSync(folder, { recursive: true });
  copyFileSync(realpathSync(process.execPath), join(folder, 'node'));
  copyFileSync(writer, join(folder, 'writer.mjs'));
  const linked = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
  for (const [, path = ''] of linked.matchAll(/=> (\/\S+)/g)) {
    copyFileSync(realpathSync(path), join(folder, basename(path)));
  }
  const loader = /^\s*(\/\S*\/ld-linux\S+)/m.exec(linked)?.[1] ?? '';
  copyFileSync(realpathSync(loader), join(folder, 'ld.so'));
  const image = `${folder}.img`;
  rmSync(image, { force: true });
  execFileSync('truncate', ['-s', String(TOOLS_BYTES), image]);
  execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', folder, image]);
  return image;
}

export interface Vm {
  readonly acknowledged: Acknowledged;
  /** Cuts the power; returns when it is off. */
  cut(): Promise<void>;
}

/** Starts the machine on a data disk that holds a file `seed`. */
export function startVm({ kernel, initrd, tools }: VmParts, data: string): Vm {
  const disk = (file: string, more = '') => ['-drive', `file=${file},format=raw,if=virtio${more}`];
  const args = ['-M', 'q35', '-cpu', 'max', '-m', '512', '-smp', '1', '-nographic', '-no-reboot'];
  args.push('-accel', 'tcg', '-net', 'none', '-kernel', kernel, '-initrd', initrd);
  args.push('-append', 'console=ttyS0 quiet panic=-1 random.trust_cpu=on');
  args.push(...disk(tools, ',readonly=on'), ...disk(data));
  const child: ChildProcess = spawn('qemu-system-x86_64', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const acknowledged = new Acknowledged(child);
  return {
    acknowledged,
    cut: async () => {
      child.kill('SIGKILL');
      await acknowledged.closed;
    },
  };
}
