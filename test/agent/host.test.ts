/** The board's facts, numbers and fitness, from sample texts of real boards and on this machine. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { cgroupVersion, type ReadText, readCgroupUsage } from '../../agent/host/cgroup.ts';
import { checkHost, checkMemoryCgroup, checkPodman } from '../../agent/host/checks.ts';
import {
  boardAddress,
  defaultRouteInterface,
  kubernetesArchitecture,
  osPrettyName,
  readHostFacts,
} from '../../agent/host/facts.ts';
import { oomVictim } from '../../agent/host/kernel-log.ts';
import { mountMemory, unmountMemory } from '../../agent/host/memory-mount.ts';
import {
  ContainerRates,
  HostMetrics,
  parseBusyTicks,
  parseCelsius,
  parseMemory,
  parseNetwork,
  parseProcesses,
  parseThrottled,
} from '../../agent/host/metrics.ts';
import { runProgram } from '../../agent/host/mount-table.ts';
import { readText } from '../../agent/host/read-text.ts';
import { diskUsage } from '../../agent/pods/volume-watch.ts';
import { mountPoints } from '../../protocol/mount-info.ts';

/** A file system of these texts only. */
function files(texts: Readonly<Record<string, string>>): ReadText {
  return async (path) => texts[path];
}

const MEMINFO = `MemTotal:        3884360 kB
MemFree:          123456 kB
MemAvailable:    2884360 kB
Buffers:           10000 kB
Cached:          2000000 kB
`;
const ROUTES = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	0101A8C0	0003	0	0	600	00000000	0	0	0
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
`;

function address(address: string, family: 'IPv4' | 'IPv6' = 'IPv4') {
  const rest = { netmask: '', mac: '', internal: false, cidr: null };
  return family === 'IPv4'
    ? { address, family, ...rest }
    : { address, family, scopeid: 0, ...rest };
}

t.test('architectures have the names that Kubernetes uses', async (t) => {
  t.equal(kubernetesArchitecture('x64'), 'amd64');
  t.equal(kubernetesArchitecture('arm64'), 'arm64');
  t.equal(kubernetesArchitecture('arm'), 'arm');
  t.equal(kubernetesArchitecture('riscv64'), 'riscv64');
});

t.test('the name of the system is unquoted, and never empty', async (t) => {
  t.equal(
    osPrettyName('NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'),
    'Debian GNU/Linux 12 (bookworm)',
  );
  t.equal(osPrettyName("PRETTY_NAME='Odd \\$ Linux'\n"), 'Odd $ Linux');
  t.equal(osPrettyName('PRETTY_NAME=Void\n'), 'Void');
  t.equal(osPrettyName(''), 'Linux');
});

t.test("the board's address is that of the default route with the lowest metric", async (t) => {
  t.equal(defaultRouteInterface(ROUTES), 'eth0');
  const interfaces = {
    lo: [{ ...address('127.0.0.1'), internal: true }],
    eth0: [address('fe80::1', 'IPv6'), address('192.168.1.9')],
    wlan0: [address('192.168.1.10')],
    pier0: [address('10.42.1.1')],
  };
  t.equal(boardAddress(ROUTES, interfaces), '192.168.1.9');
  const down = ROUTES.replaceAll('0003', '0002');
  t.equal(defaultRouteInterface(down), undefined);
});

t.test('a board without default route has an address as well', async (t) => {
  const interfaces = { docker0: [address('172.17.0.1')], eth1: [address('10.1.1.1')] };
  t.equal(boardAddress('', interfaces), '10.1.1.1');
  t.equal(boardAddress('', { eth0: [address('fd00::2', 'IPv6')] }), 'fd00::2');
  t.equal(boardAddress('', { eth0: [address('169.254.3.4')] }), '127.0.0.1');
  t.equal(boardAddress('', {}), '127.0.0.1');
});

t.test('the facts of a Raspberry Pi come from its files', async (t) => {
  const facts = await readHostFacts({
    dataDir: '/data',
    readText: files({
      '/etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
      '/proc/sys/kernel/osrelease': '6.12.25+rpt-rpi-v8\n',
      '/etc/machine-id': 'abc\n',
      '/proc/sys/kernel/random/boot_id': 'boot-1\n',
      '/proc/meminfo': MEMINFO,
      '/proc/net/route': ROUTES,
      '/proc/device-tree/model': 'Raspberry Pi 4 Model B Rev 1.4\0',
      '/proc/device-tree/serial-number': '10000000abcdef\0',
    }),
    interfaces: () => ({ eth0: [address('192.168.1.9')] }),
    hostname: 'pi4',
    processArch: 'arm64',
    cpus: 4,
    diskBytes: async () => 32 * 1024 ** 3,
    hardware: async () => {
      throw new Error('must not be asked');
    },
  });
  t.strictSame(facts, {
    architecture: 'arm64',
    operatingSystem: 'linux',
    osImage: 'Debian GNU/Linux 12 (bookworm)',
    kernelVersion: '6.12.25+rpt-rpi-v8',
    machineId: 'abc',
    systemUuid: 'abc',
    bootId: 'boot-1',
    hostname: 'pi4',
    model: 'Raspberry Pi 4 Model B Rev 1.4',
    serial: '10000000abcdef',
    internalIp: '192.168.1.9',
    capacity: {
      cpu: '4',
      memory: '3884360Ki',
      'ephemeral-storage': '33554432Ki',
      pods: '110',
    },
  });
});

t.test('the facts of this machine can be read, whatever it lacks', async (t) => {
  const facts = await readHostFacts({ dataDir: tmpdir(), internalIp: '192.0.2.77' });
  t.equal(facts.internalIp, '192.0.2.77');
  t.match(facts.capacity.memory, /^[1-9]\d+Ki$/);
  t.match(facts.capacity['ephemeral-storage'], /^[1-9]\d+Ki$/);
  t.match(facts.bootId, /^[0-9a-f-]{36}$/);
  t.ok(Number(facts.capacity.cpu) >= 1);
  t.equal(typeof facts.model, 'string');
});

t.test('parsers of /proc give numbers in units that say what they are', async (t) => {
  t.equal(parseBusyTicks('cpu  100 20 30 4000 500 6 7 80 9 10\ncpu0 1 2 3\n'), 163);
  t.equal(parseBusyTicks(''), 0);
  t.strictSame(parseMemory(MEMINFO), {
    totalBytes: 3884360 * 1024,
    availableBytes: 2884360 * 1024,
  });
  t.equal(parseMemory('MemFree: 1 kB\nBuffers:   2 kB\nCached: 3 kB\n').availableBytes, 6 * 1024);
  const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets
    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0
  eth0:1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0
 wlan0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0
 pier0: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0
`;
  t.strictSame(parseNetwork(netDev), { networkReceiveBytes: 1010, networkTransmitBytes: 2020 });
  t.equal(parseProcesses('0.20 0.18 0.12 1/80 11206\n'), 80);
  t.equal(parseCelsius('48312\n'), 48.3);
  t.equal(parseCelsius('-274000'), undefined);
  t.equal(parseCelsius(undefined), undefined);
});

t.test("flags of the Raspberry Pi's firmware: what is so now, not what once was", async (t) => {
  t.strictSame(parseThrottled('0'), { underVoltage: false, throttled: false });
  t.strictSame(parseThrottled('50000'), { underVoltage: false, throttled: false });
  t.strictSame(parseThrottled('0x50005'), { underVoltage: true, throttled: true });
  t.strictSame(parseThrottled('8\n'), { underVoltage: false, throttled: true });
});

t.test('CPU is the average between two samples', async (t) => {
  let nowMs = 1000;
  const texts: Record<string, string> = {
    '/proc/stat': 'cpu 100 0 0 0 0 0 0\n',
    '/proc/meminfo': MEMINFO,
    '/proc/loadavg': '0 0 0 1/50 1',
    '/proc/sys/kernel/pid_max': '32768\n',
    '/sys/class/thermal/thermal_zone0/temp': '50000\n',
    '/sys/class/hwmon/hwmon1/name': 'rpi_volt\n',
    '/sys/class/hwmon/hwmon1/in0_lcrit_alarm': '1\n',
  };
  const metrics = new HostMetrics({
    dataDir: '/data',
    clock: { monotonicMs: () => nowMs, wallMs: () => 0 },
    readText: files(texts),
    diskSpace: async () => ({ totalBytes: 100, availableBytes: 40 }),
  });
  t.match(await metrics.sample(), { windowMs: 0, cpuNanoCores: 0 });
  nowMs += 10_000;
  texts['/proc/stat'] = 'cpu 600 0 0 0 0 0 0\n';
  const sample = await metrics.sample();
  t.match(sample, {
    windowMs: 10_000,
    cpuNanoCores: 500_000_000,
    memoryWorkingSetBytes: 1_000_000 * 1024,
    diskAvailableBytes: 40,
    temperatureCelsius: 50,
    underVoltage: true,
    processes: 50,
  });
  t.notOk('throttled' in sample, 'a flag that the board lacks is absent');
});

t.test('a real sample of this machine makes sense', async (t) => {
  const metrics = new HostMetrics({ dataDir: tmpdir() });
  await metrics.sample();
  const endAt = performance.now() + 150;
  while (performance.now() < endAt) Math.sqrt(endAt);
  const sample = await metrics.sample();
  t.ok(sample.cpuNanoCores > 1e8, `cpu ${sample.cpuNanoCores}`);
  t.ok(sample.memoryAvailableBytes > 0);
  t.ok(sample.memoryTotalBytes > sample.memoryWorkingSetBytes);
  t.ok(sample.diskTotalBytes > sample.diskAvailableBytes);
  t.ok(sample.processes > 1 && sample.processesMax >= 32_768);
});

t.test('totals of containers become rates; a container made anew starts at zero', async (t) => {
  const rates = new ContainerRates();
  const stat = (cpuNanos: number) => [{ containerId: 'a', cpuNanos, memoryBytes: 7 }];
  t.strictSame(rates.update(stat(5e9), 0).get('a'), { cpuNanoCores: 0, memoryWorkingSetBytes: 7 });
  t.equal(rates.update(stat(6e9), 2000).get('a')?.cpuNanoCores, 5e8);
  t.equal(rates.update(stat(1e9), 3000).get('a')?.cpuNanoCores, 0, 'never negative');
  t.equal(rates.update([], 4000).size, 0);
  t.equal(rates.update(stat(9e9), 5000).get('a')?.cpuNanoCores, 0);
});

t.test('what a cgroup uses is read under version 2, version 1 and the hybrid', async (t) => {
  const two = files({
    '/sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n',
    '/sys/fs/cgroup/pod/cpu.stat': 'usage_usec 1500\nuser_usec 1000\n',
    '/sys/fs/cgroup/pod/memory.current': '5000\n',
    '/sys/fs/cgroup/pod/memory.stat': 'anon 3000\ninactive_file 1000\n',
  });
  t.equal(await cgroupVersion(two), 2);
  t.strictSame(await readCgroupUsage(two, 2, '/pod'), { cpuNanos: 1_500_000, memoryBytes: 4000 });
  t.equal(await readCgroupUsage(two, 2, '/gone'), undefined);
  const hybrid = files({
    '/sys/fs/cgroup/unified/cgroup.controllers': '\n',
    '/sys/fs/cgroup/cpuacct/pod/cpuacct.usage': '777\n',
    '/sys/fs/cgroup/memory/pod/memory.usage_in_bytes': '100\n',
    '/sys/fs/cgroup/memory/pod/memory.stat': 'cache 5\ntotal_inactive_file 500\n',
  });
  t.equal(await cgroupVersion(hybrid), 1);
  t.strictSame(await readCgroupUsage(hybrid, 1, '/pod'), { cpuNanos: 777, memoryBytes: 0 });
  t.equal(await readCgroupUsage(hybrid, 1, '/gone'), undefined);
});

t.test('the kernel says in its log whose process it took', async (t) => {
  const id = 'a'.repeat(64);
  const record = (cgroup: string) =>
    `4,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=${cgroup},task_memcg=${cgroup},task=dd,pid=3,uid=0`;
  for (const cgroup of [
    `/libpod_parent/${'b'.repeat(64)}/libpod-${id}`,
    `/machine.slice/machine-libpod_pod_${'b'.repeat(64)}.slice/libpod-${id}.scope/container`,
    `/docker/${id}`,
  ]) {
    t.equal(oomVictim(record(cgroup)), id);
  }
  t.equal(oomVictim(record('/system.slice/ssh.service')), undefined);
  t.equal(oomVictim(`6,1,2,-;docker0: port 1(${id}) entered disabled state`), undefined);
});

t.test('a Raspberry Pi with its memory cgroup off is told which file to change', async (t) => {
  const off = {
    '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io pids\n',
    '/proc/cgroups': '#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t80\t0\n',
    '/proc/cmdline': 'coherent_pool=1M cgroup_disable=memory root=PARTUUID=1 rootwait\n',
    '/proc/device-tree/model': 'Raspberry Pi 4 Model B Rev 1.4\0',
  };
  const result = await checkMemoryCgroup(files(off));
  t.match(result, { code: 'memory-cgroup', level: 'warning' });
  t.match(result?.message, /cgroup_disable=memory.*cgroup_enable=memory.*cmdline\.txt.*reboot/);
  t.equal(
    await checkMemoryCgroup(
      files({
        // Linux 6.12 without version 1: no memory line, and yet it is there.
        '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
        '/proc/cgroups': '#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t80\t1\n',
      }),
    ),
    undefined,
  );
  t.equal(
    await checkMemoryCgroup(files({ '/proc/cgroups': 'memory\t4\t80\t1\n' })),
    undefined,
    'version 1',
  );
});

t.test('each thing that is missing is one sentence with the remedy', async (t) => {
  const bare = {
    readText: files({}),
    exists: async () => false,
    programDirs: ['/bin'],
    uid: 1000,
  };
  const results = [...(await checkHost(bare)), ...(await checkPodman(bare))];
  t.strictSame(
    results.map(({ code, level }) => `${level} ${code}`),
    ['error root', 'warning memory-cgroup', 'error oci-runtime', 'error pod-network'],
  );
  for (const { message } of results) t.match(message, /sudo|apt-get install|kernel/);
  const fit = {
    readText: files({ '/sys/fs/cgroup/cgroup.controllers': 'memory' }),
    exists: async (path: string) => /crun$|netavark$/.test(path),
    programDirs: ['/usr/bin'],
    uid: 0,
  };
  t.strictSame([...(await checkHost(fit)), ...(await checkPodman(fit))], []);
  const mounts = [
    'x /sys/fs/cgroup/cpu rw - cgroup c rw',
    'x /sys/fs/cgroup/unified rw - cgroup2 c rw',
  ];
  const mixed = { ...fit, readText: files({ '/proc/self/mountinfo': mounts.join('\n') }) };
  t.match(await checkPodman(mixed), [{ code: 'oci-runtime', message: /needs runc/ }]);
});

t.test(
  'reading gives nothing for what is not there, and throws for what is forbidden',
  async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'pier-host-'));
    t.teardown(() => rm(dir, { recursive: true }));
    t.equal(await readText(join(dir, 'none')), undefined);
    t.match(await readText('/proc/self/stat'), /^\d+ /);
    await t.rejects(readText(dir), { code: 'EISDIR' });
  },
);

t.test('what lies in a directory is counted once, and only as far as it matters', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'pier-usage-'));
  t.teardown(() => rm(directory, { recursive: true }));
  t.equal(await diskUsage(join(directory, 'none'), 1000), 0);
  await mkdir(join(directory, 'a/b'), { recursive: true });
  const before = await diskUsage(directory, 2 ** 40);
  await writeFile(join(directory, 'a/b/file'), randomBytes(256 * 1024));
  await link(join(directory, 'a/b/file'), join(directory, 'a/again'));
  await symlink('/proc', join(directory, 'elsewhere'));
  const used = (await diskUsage(directory, 2 ** 40)) - before;
  t.ok(used >= 256 * 1024 && used < 400 * 1024, `${used} bytes`);
  t.ok((await diskUsage(directory, 1000)) > 1000);
});

const mayMount = process.getuid?.() === 0 ? false : 'mounts are made as root only';

t.test('a directory in memory holds so much and no more', { skip: mayMount }, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'pier memory-'));
  t.teardown(async () => {
    await unmountMemory(directory);
    await rm(directory, { recursive: true });
  });
  const volume = join(directory, 'volumes/cache');
  const made = await mountMemory(volume, 64 * 1024).catch(String);
  if (/permission denied|not permitted/.test(`${made}`)) {
    t.comment(`mounts are not allowed here: ${made}`);
    return;
  }
  t.equal(made, true);
  await writeFile(join(volume, 'fits'), randomBytes(32 * 1024));
  t.equal(await mountMemory(volume, 64 * 1024), false, 'it is there already');
  await t.rejects(writeFile(join(volume, 'too-much'), randomBytes(64 * 1024)), { code: 'ENOSPC' });
  await unmountMemory(directory);
  t.same(await readdir(volume), [], 'and nothing of it is left');
  await unmountMemory(directory);
});

t.test('a program that mounts can be ended with what it began', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'pier-mount-'));
  const { PATH } = process.env;
  t.teardown(() => {
    process.env.PATH = PATH;
    return rm(directory, { recursive: true });
  });
  const standIn = (text: string) =>
    writeFile(join(directory, 'mount'), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  process.env.PATH = `${directory}:${PATH}`;
  await standIn('echo "mount.nfs: access denied" >&2; exit 32');
  await t.rejects(runProgram('mount', []), { message: 'mount.nfs: access denied' });
  await standIn('exit 1');
  await t.rejects(runProgram('mount', []), { message: 'mount failed: exit code 1' });

  const pidFile = join(directory, 'pid');
  const helper = `sleep 1000 & echo $! >'${pidFile}.new'; mv '${pidFile}.new' '${pidFile}'`;
  await standIn(`${helper}; wait`);
  const killer = new AbortController();
  const stuck = runProgram('mount', [], killer.signal);
  stuck.catch(() => {});
  while (!existsSync(pidFile)) await new Promise((resolve) => setTimeout(resolve, 5));
  killer.abort();
  await t.rejects(stuck, { message: 'mount failed: SIGKILL' }, 'its helper had its output, too');

  await standIn(helper);
  await runProgram('mount', []);
  const pid = Number(await readFile(pidFile, 'utf8'));
  t.ok(process.kill(pid, 0), 'what a mount that worked leaves running is waited for by nobody');
  process.kill(pid, 'SIGKILL');
});

t.test('mount points are read as the kernel writes them', async (t) => {
  const text = `22 1 8:1 / / rw - ext4 /dev/root rw
99 22 0:44 / /run/pier\\040pods/a rw - tmpfs tmpfs rw,size=64k
`;
  t.same(mountPoints(text), ['/', '/run/pier pods/a']);
  t.same(mountPoints(text, '/run/pier pods'), ['/run/pier pods/a']);
  t.same(mountPoints(text, '/run/pier pods/a'), ['/run/pier pods/a'], 'itself, too');
  t.same(mountPoints(text, '/run/pier'), [], 'a name that only begins alike is another directory');
});
