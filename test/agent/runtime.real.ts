/**
 * What every real engine does alike, beyond the contract that the fake keeps, too: isolation, mounts, users, names,
 * limits, several pods at once. Run by runtime-podman, runtime-containerd and runtime-docker.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import type { Test } from 'tap';
import { kubernetesArchitecture } from '../../agent/host/facts.ts';
import { ForeignImageError, ImagePuller } from '../../agent/pods/image-puller.ts';
import { SafePulls } from '../../agent/pods/safe-pulls.ts';
import {
  type ContainerSpec,
  ImagePullError,
  type Runtime,
  type SandboxSpec,
} from '../../agent/runtime/runtime.ts';
import { tarArchive } from '../../agent/runtime/tar.ts';
import { PullNotes } from '../../agent/state/pull-notes.ts';
import { StateDirectory } from '../../agent/state/state-file.ts';
import { systemClock } from '../../protocol/clock.ts';
import { fullImageName } from '../../protocol/image-name.ts';
import { busyboxTar } from '../support/podman.ts';
import { REGISTRY, startRegistry } from '../support/registry.ts';
import { containerSpec, eventually, reached, readLog, sandboxSpec } from './runtime.contract.ts';

const run = promisify(execFile);

export interface RealHarness {
  readonly runtime: Runtime;
  readonly image: string;
  /** A /24 that ensureNetwork was called for. */
  readonly podCidr: string;
  /** The engine's network namespace. */
  readonly netns: string;
  /** Temporary; hosts files are in `run/hosts` below it. */
  readonly dir: string;
  /** Docker gives every right there is, which fails where this machine does not have them all. */
  readonly mayBePrivileged: boolean;
  /** Makes an image of busybox with this entrypoint. */
  importImage(reference: string, entrypoint: readonly string[]): Promise<unknown>;
}

export async function realRuntimeTests(t: Test, harness: RealHarness): Promise<void> {
  await specTests(t, harness);
  await namespaceTests(t, harness);
  await limitTests(t, harness);
  await registryTests(t, harness);
  await heldImageTests(t, harness);
  await brokenImageTests(t, harness);
}

export function script(
  { image }: Pick<RealHarness, 'image'>,
  text: string,
  change: Partial<ContainerSpec> = {},
): ContainerSpec {
  return containerSpec(image, { command: ['/bin/sh', '-c'], args: [text], ...change });
}

export async function startPod(
  { runtime }: Pick<RealHarness, 'runtime'>,
  sandbox: SandboxSpec,
  spec: ContainerSpec,
): Promise<{ sandboxId: string; id: string }> {
  const { id: sandboxId } = await runtime.runSandbox(sandbox);
  const id = await runtime.createContainer(sandboxId, spec);
  await runtime.startContainer(id);
  return { sandboxId, id };
}

function address(podCidr: string, host: number): string {
  return podCidr.replace(/\.0\/24$/, `.${host}`);
}

async function specTests(t: Test, harness: RealHarness): Promise<void> {
  const { runtime, podCidr, dir, netns } = harness;
  await t.test('a container gets its environment, mounts, user, names and rights', async (t) => {
    const folder = join(dir, 'volume');
    await mkdir(folder);
    await writeFile(join(folder, 'file'), 'from the board');
    const sandbox = sandboxSpec(podCidr, 20, {
      hostAliases: [{ ip: '1.2.3.4', hostnames: ['foo', 'bar'] }],
    });
    const text = [
      'echo "env $A"; echo "cwd $(/bin/busybox pwd)"',
      // Not plain `id`: podman 4 gives the user a name, podman 5 none.
      'echo "uid=$(id -u) gid=$(id -g)"',
      'cat /data/file; echo; echo x >/data/file || echo "data is read-only"',
      'echo x >/tmp/file || echo "root is read-only"',
      'hostname; cat /etc/resolv.conf /etc/hosts; /bin/busybox grep Cap /proc/self/status',
      '/bin/busybox grep NoNewPrivs /proc/self/status; /bin/busybox grep Groups /proc/self/status; ip addr show eth0',
    ].join('\n');
    const { sandboxId, id } = await startPod(
      harness,
      sandbox,
      script(harness, text, {
        env: [{ name: 'A', value: 'a "quoted" $value' }],
        workingDir: '/bin',
        mounts: [{ hostPath: folder, containerPath: '/data', readOnly: true }],
        security: {
          runAsUser: 1000,
          runAsGroup: 2000,
          supplementalGroups: [3000, 3001],
          readOnlyRootFilesystem: true,
          addCapabilities: ['NET_ADMIN'],
          dropCapabilities: ['ALL'],
          noNewPrivileges: true,
        },
      }),
    );
    t.equal((await reached(runtime, id, 'exited')).exitCode, 0);
    const log = await readLog(runtime, id);
    for (const expected of [
      'env a "quoted" $value\n',
      'cwd /bin\n',
      'uid=1000 gid=2000\n',
      'from the board\n',
      'data is read-only\n',
      'root is read-only\n',
      '\npod-20\n',
      'nameserver 10.43.0.10\n',
      'search default.svc.cluster.local\n',
      'options ndots:5\n',
      '1.2.3.4\tfoo bar\n',
      `${address(podCidr, 20)}\tpod-20\n`,
      'NoNewPrivs:\t1\n',
      // CAP_NET_ADMIN is number 12, and the only one left.
      'CapBnd:\t0000000000001000\n',
      `inet ${address(podCidr, 20)}/24`,
    ]) {
      t.ok(log.includes(expected), expected.trim());
    }
    t.match(log, /^Groups:\t(2000 )?3000 3001 ?$/m);
    t.notOk(log.includes('host.containers.internal'), 'the hosts file is ours alone');
    t.notMatch(log, /nameserver (?!10\.43\.0\.10)/, 'no name server of the board');
    t.equal(log.match(/^nameserver/gm)?.length, 1);
    t.equal(await readFile(join(folder, 'file'), 'utf8'), 'from the board');
    await runtime.removeSandbox(sandboxId);
    t.notOk(existsSync(join(dir, 'run/hosts', sandbox.podUid)), 'its hosts file is gone');
  });

  await t.test('a container gets the devices that are its own, and no others', async (t) => {
    // Harmless, on every Linux, and not among those that every container has.
    const device = '/dev/loop-control';
    if (!existsSync(device)) return t.comment(`${device} is not there`);
    const folder = join(dir, 'dev');
    await mkdir(folder);
    // Under another name, so that nothing but what is asked for can have made it.
    const { stdout } = await run('stat', ['-c', '%Hr %Lr', device]);
    await run('mknod', ['-m', '660', join(folder, 'tool'), 'c', ...stdout.trim().split(' ')]);
    const devices = [
      { hostPath: join(folder, 'tool'), containerPath: '/dev/bus/usb/001/tool' },
      { hostPath: device, containerPath: device },
    ];
    const opens = (path: string) =>
      `[ -c ${path} ] && (exec 3<>${path}) 2>/dev/null && echo "opened ${path}" || echo "refused ${path}"`;
    const text = [
      ...devices.map(({ containerPath }) => opens(containerPath)),
      // A file of the same device, made by the container itself: the cgroup decides, not the file.
      `/bin/busybox mknod /tmp/own c ${stdout.trim()} && echo made`,
      opens('/tmp/own'),
    ].join('\n');
    const printed = async (host: number, change: Partial<ContainerSpec>) => {
      const { ip: _, ...spec } = sandboxSpec(podCidr, host, { hostNetwork: true });
      const security = { addCapabilities: ['MKNOD'] };
      const made = script(harness, `mkdir -p /tmp\n${text}`, { security, ...change });
      const { sandboxId, id } = await startPod(harness, spec, made);
      await reached(runtime, id, 'exited');
      const log = await readLog(runtime, id);
      await runtime.removeSandbox(sandboxId);
      return log;
    };
    const own = await printed(24, { devices });
    t.equal(own, `opened /dev/bus/usb/001/tool\nopened ${device}\nmade\nopened /tmp/own\n`);
    const none = await printed(25, {});
    t.equal(none, `refused /dev/bus/usb/001/tool\nrefused ${device}\nmade\nrefused /tmp/own\n`);
    const user = { runAsUser: 1000, runAsGroup: 1000, dropCapabilities: ['ALL'] };
    t.match(
      await printed(26, { devices, security: user }),
      'refused /dev/bus/usb/001/tool\n',
      'the mode of the file holds inside, too',
    );
  });

  await t.test('a pod on the network of the board has its interfaces', async (t) => {
    const { podUid, podName } = sandboxSpec(podCidr, 21);
    const { ip: _, ...spec } = sandboxSpec(podCidr, 21, { podUid, podName, hostNetwork: true });
    await run('ip', ['-n', netns, 'addr', 'add', '10.99.9.9/32', 'dev', 'lo']);
    const { sandboxId, id } = await startPod(harness, spec, script(harness, 'ip addr'));
    await reached(runtime, id, 'exited');
    t.match(await readLog(runtime, id), /10\.99\.9\.9\/32/);
    const listed = (await runtime.listSandboxes()).find(({ id }) => id === sandboxId);
    t.match(listed, { ip: undefined, ready: true });
    await runtime.removeSandbox(sandboxId);
  });

  await t.test('a container of an image with an entrypoint runs it', async (t) => {
    await harness.importImage('localhost/echo:1', ['/bin/echo', 'from', 'the', 'image']);
    const { ip: _, ...spec } = sandboxSpec(podCidr, 22, { hostNetwork: true });
    const { id: sandboxId } = await runtime.runSandbox(spec);
    const print = async (attempt: number, change: Partial<ContainerSpec>): Promise<string> => {
      const made = { ...containerSpec('localhost/echo:1', change), attempt };
      const id = await runtime.createContainer(sandboxId, made);
      await runtime.startContainer(id);
      await reached(runtime, id, 'exited');
      return readLog(runtime, id);
    };
    t.equal(await print(0, {}), 'from the image\n');
    t.equal(await print(1, { args: ['and', 'us'] }), 'from the image and us\n');
    t.equal(await print(2, { command: ['/bin/echo', 'us'] }), 'us\n');
    await runtime.removeSandbox(sandboxId);
  });

  const skip = harness.mayBePrivileged ? false : 'this machine has not every capability';
  await t.test('a privileged container may do what others may not', { skip }, async (t) => {
    const { ip: _, ...spec } = sandboxSpec(podCidr, 23, { hostNetwork: true });
    const { id: sandboxId } = await runtime.runSandbox(spec);
    const rights = async (attempt: number, privileged: boolean): Promise<string> => {
      const text = '/bin/busybox grep CapEff /proc/self/status';
      const made = { ...script(harness, text, { security: { privileged } }), attempt };
      const id = await runtime.createContainer(sandboxId, made);
      await runtime.startContainer(id);
      await reached(runtime, id, 'exited');
      return eventually('its rights', async () => (await readLog(runtime, id)) || undefined);
    };
    const has = async (text: string) => BigInt(`0x${/[0-9a-f]{16}/.exec(text)?.[0] ?? '0'}`);
    const plain = await has(await rights(0, false));
    const all = await has(await rights(1, true));
    // CAP_SYS_ADMIN is number 21.
    t.equal((plain >> 21n) & 1n, 0n);
    t.equal((all >> 21n) & 1n, 1n);
    await runtime.removeSandbox(sandboxId);
  });
}

/** Its process and IPC namespaces, and what it sees run of the pod and of this test. */
const LOOK = [
  'cd /proc/$$/ns; /bin/busybox readlink pid; /bin/busybox readlink ipc',
  "/bin/busybox ps | /bin/busybox grep -E '[5]4321|/[p]ause'",
  `[ -d /proc/${process.pid} ] && echo the test; echo end`,
].join('\n');

async function namespaceTests(t: Test, harness: RealHarness): Promise<void> {
  const { runtime, podCidr } = harness;
  const look = async (sandboxId: string, change: Partial<ContainerSpec>): Promise<string> => {
    const spec = script(harness, LOOK, {
      name: `look-${JSON.stringify(change).length}`,
      ...change,
    });
    const id = await runtime.createContainer(sandboxId, spec);
    await runtime.startContainer(id);
    // The engine may write the log a moment after the end.
    return eventually('what it saw', async () => {
      const log = await readLog(runtime, id);
      return log.endsWith('end\n') ? log : undefined;
    });
  };
  const work = script(harness, "trap 'exit 0' TERM; sleep 54321 & wait");

  await t.test('a container sees its own processes only, or those of one other', async (t) => {
    const { sandboxId, id } = await startPod(harness, sandboxSpec(podCidr, 22), work);
    await reached(runtime, id, 'running');
    const alone = await look(sandboxId, {});
    t.notMatch(alone, /54321|pause|the test/);
    const target = await look(sandboxId, { name: 'debugger', processes: { of: id } });
    t.match(target, /54321/);
    t.notMatch(target, /pause/);
    const [pid, ipc] = target.split('\n');
    t.notMatch(alone, pid);
    t.match(alone, ipc, "IPC is the pod's in any case");
    await runtime.stopContainer(id, 5);
    await runtime.removeContainer(id);
    const left = (await runtime.listContainers()).map(({ name }) => name);
    t.notOk(left.includes('main'), 'who was looked into may go first');
    await runtime.removeSandbox(sandboxId);
  });

  await t.test('who debugs has a terminal, and the files and network of its target', async (t) => {
    const marked = script(harness, "echo a mark >/mark; trap 'exit 0' TERM; sleep 54321 & wait");
    const { sandboxId, id } = await startPod(harness, sandboxSpec(podCidr, 25), marked);
    await reached(runtime, id, 'running');
    // As kubectl debug asks for it (profile general).
    const shell = containerSpec(harness.image, {
      name: 'debugger',
      command: ['/bin/sh'],
      stdin: true,
      tty: true,
      processes: { of: id },
      security: { addCapabilities: ['SYS_PTRACE'] },
    });
    const added = await runtime.createContainer(sandboxId, shell);
    await runtime.startContainer(added);
    const tty = { stdin: true, stdout: true, stderr: false, tty: true };
    const session = await runtime.attach(added, tty);
    const lines = [
      '/bin/busybox cat /proc/1/root/mark',
      'cd /proc; /bin/busybox readlink 1/ns/net; /bin/busybox readlink $$/ns/net',
      '/bin/busybox grep CapEff /proc/$$/status',
      'exit 3',
    ];
    const written = session.write(Buffer.from(`${lines.join('\n')}\n`));
    let screen = '';
    for await (const { data } of session.output) screen += Buffer.from(data).toString();
    await written;
    t.match(screen, /^a mark\r?$/m);
    t.match(screen, /(net:\[\d+\])\r?\n\1\r?$/m);
    const rights = BigInt(`0x${/CapEff:\s+([0-9a-f]+)/.exec(screen)?.[1] ?? '0'}`);
    t.equal((rights >> 19n) & 1n, 1n, 'CAP_SYS_PTRACE is number 19');
    t.match(await reached(runtime, added, 'exited'), { exitCode: 3 });

    await runtime.stopContainer(id, 5);
    await reached(runtime, id, 'exited');
    const late = async () => {
      const made = { ...shell, name: 'late', stdin: false, tty: false };
      await runtime.startContainer(await runtime.createContainer(sandboxId, made));
    };
    await t.rejects(late(), { message: /run/ }, 'a target that has ended is refused');
    await runtime.removeSandbox(sandboxId);
  });

  await t.test("containers of a pod see each other's processes", async (t) => {
    const sandbox = sandboxSpec(podCidr, 23, { processes: 'pod' });
    const shared = { ...work, processes: 'pod' } as const;
    const { sandboxId, id } = await startPod(harness, sandbox, shared);
    await reached(runtime, id, 'running');
    const seen = await look(sandboxId, { processes: 'pod' });
    t.match(seen, /54321/);
    t.match(seen, /pause/, 'the first process is that of the pod');
    await runtime.removeSandbox(sandboxId);
  });

  await t.test("a pod sees the board's processes and IPC where it asks for them", async (t) => {
    const boards = { processes: 'board', boardIpc: true } as const;
    const sandbox = sandboxSpec(podCidr, 24, { ...boards, hostNetwork: true });
    const { ip: _, ...onBoard } = sandbox;
    const { id: sandboxId } = await runtime.runSandbox(onBoard);
    const seen = await look(sandboxId, boards);
    t.match(seen, await readlink('/proc/self/ns/pid'));
    t.match(seen, await readlink('/proc/self/ns/ipc'));
    t.match(seen, 'the test');
    await runtime.removeSandbox(sandboxId);
  });
}

async function limitTests(t: Test, harness: RealHarness): Promise<void> {
  const { runtime, podCidr, netns } = harness;
  await t.test('a container over its memory limit is killed, and that is told', async (t) => {
    const { ip: _, ...spec } = sandboxSpec(podCidr, 30, { hostNetwork: true });
    const greedy = script(harness, '/bin/busybox dd if=/dev/zero of=/dev/null bs=200M count=1', {
      resources: { memoryLimitBytes: 32 * 1024 * 1024, cpuLimitMillis: 500 },
    });
    const { sandboxId, id } = await startPod(harness, spec, greedy);
    const exited = await reached(runtime, id, 'exited');
    t.equal(exited.exitCode, 137);
    t.equal(exited.oomKilled, true);
    t.notOk(existsSync('oom'), 'nothing is left where the agent was started');
    await runtime.removeSandbox(sandboxId);
  });

  await t.test('five pods at once come up with their addresses', async (t) => {
    const startedAt = performance.now();
    const hosts = [...new Array(5).keys()].map((index) => 40 + index);
    await Promise.all(
      hosts.map((host) =>
        startPod(harness, sandboxSpec(podCidr, host), script(harness, 'sleep 1000')),
      ),
    );
    t.comment(`5 pods in ${Math.round(performance.now() - startedAt)} ms`);
    const sandboxes = await runtime.listSandboxes();
    t.equal(new Set(sandboxes.map(({ ip }) => ip)).size, 5);
    t.equal((await runtime.listContainers()).filter(({ state }) => state === 'running').length, 5);
    const reach = ['/bin/busybox', 'ping', '-c1', '-W2', address(podCidr, 44)];
    await run('nsenter', [`--net=/run/netns/${netns}`, ...reach]);
    await Promise.all(sandboxes.map(({ id }) => runtime.removeSandbox(id)));
    t.strictSame(await runtime.listContainers(), []);
  });
}

async function registryTests(t: Test, { runtime, netns, dir }: RealHarness): Promise<void> {
  await t.test('a registry that wants a name is shown it, and its refusal is told', async (t) => {
    const login = { username: 'someone', password: 'p+/ss:w\u00f6rd?' };
    const registry = await startRegistry({ netns, dir }, await busyboxTar(), login);
    t.teardown(() => registry.kill('SIGKILL'));
    const { signal } = new AbortController();
    const image = `${REGISTRY}/private/tool:1`;
    const refusal = async (shown?: typeof login): Promise<string> => {
      const error = await runtime.pullImage(image, signal, shown).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      t.ok(error instanceof ImagePullError, 'it is an ImagePullError');
      return String(error);
    };
    // Each engine has its own words for it; the registry's own are in podman's.
    const words = /unauthorized|authentication required|no basic auth|401/i;
    t.match(await refusal(), words);
    const wrong = { username: 'someone', password: 'not-the-word' };
    const told = await refusal(wrong);
    t.match(told, words);
    t.comment(told);
    t.notMatch(told, wrong.password);
    t.equal(await runtime.imageStatus(image), undefined);
    t.match((await runtime.pullImage(image, signal, login)).id, /^[0-9a-f]{64}$/);
    t.ok(await runtime.imageStatus(image));
  });

  await t.test('an image that is not built for the board is refused', async (t) => {
    const login = { username: 'someone', password: 'secret' };
    const registry = await startRegistry({ netns, dir }, await busyboxTar(), login);
    t.teardown(() => registry.kill('SIGKILL'));
    const architecture = kubernetesArchitecture(process.arch);
    const puller = new ImagePuller({
      runtime,
      pulls: { isSuspect: () => false, pull: (...asked) => runtime.pullImage(...asked) },
      clock: systemClock,
      parallelMax: 1,
      architecture,
      emulated: async () => [],
    });
    const ensure = (name: string) =>
      puller.ensure({
        image: `${REGISTRY}/${name}`,
        policy: 'IfNotPresent',
        copyWillDo: false,
        logins: [login],
        signal: new AbortController().signal,
        onPulling: () => {},
      });
    t.match(await ensure('own/tool:1'), { type: 'pulled' });
    t.match(await runtime.imageStatus(`${REGISTRY}/own/tool:1`), { architecture });
    for (const name of ['foreign/tool:1', 'foreign-list/tool:1']) {
      const error = await ensure(name).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      t.ok(error instanceof ForeignImageError, name);
      t.match(String(error), new RegExp(`this board is ${architecture}: build it for`));
      t.comment(String(error));
    }
    t.equal(puller.foreignImages().length, 2);
  });
}

async function heldImageTests(
  t: Test,
  { runtime, image, importImage }: RealHarness,
): Promise<void> {
  await t.test('what the board holds is listed, and goes with its names', async (t) => {
    const { images } = runtime;
    const name = 'registry.invalid/spare:1';
    const held = async () =>
      (await images.list()).find(({ tags }) => tags.map(fullImageName).includes(name));
    t.equal(await held(), undefined);
    await importImage(name, ['/bin/spare']);
    const spare = await eventually('the image is listed', held);
    t.equal(spare.id, (await runtime.imageStatus(name))?.id);
    t.ok(spare.sizeBytes > 0, `${spare.sizeBytes} bytes`);
    t.ok(existsSync((await images.folder()) ?? ''), 'they lie on this machine');
    await images.remove(spare);
    t.equal(await held(), undefined);
    t.equal(await runtime.imageStatus(name), undefined);
    await images.remove(spare);
    t.ok(await runtime.imageStatus(image), 'the others stay');
  });
}

/** The power cut itself is imitated: files are empty that the engine takes for whole (test/long/store-power has real ones). */
async function brokenImageTests(t: Test, harness: RealHarness): Promise<void> {
  const { runtime, netns, dir, podCidr } = harness;
  await t.test('an image whose pull the power cut off is whole again after the boot', async (t) => {
    const login = { username: 'someone', password: 'secret' };
    const marker = tarArchive([{ path: 'marker', mode: 0o644, content: Buffer.from('whole\n') }]);
    // Without the two blocks that end an archive.
    const tar = Buffer.concat([marker.subarray(0, -1024), await busyboxTar()]);
    const registry = await startRegistry({ netns, dir }, tar, login);
    t.teardown(() => registry.kill('SIGKILL'));
    const image = `${REGISTRY}/broken/tool:1`;
    const { signal } = new AbortController();
    const boot = async (bootId: string): Promise<SafePulls> => {
      const refuse = (): unknown => t.fail('the notes are sound');
      const notes = new PullNotes(new StateDirectory(join(dir, 'pulls'), refuse), refuse);
      await notes.load(bootId);
      return new SafePulls({ runtime, pullNotes: notes, log: pino({ level: 'silent' }) });
    };
    // It ends when the notes are written: as far as the power lets it come.
    const cutOff = new AbortController();
    cutOff.abort();
    await t.rejects((await boot('one')).pull(`${REGISTRY}/broken/tool:1`, cutOff.signal, login));
    await runtime.pullImage(image, signal, login);
    const folder = (await runtime.images.folder()) ?? '';
    const found = await run('find', [folder, '-name', 'marker', '-size', '-2']);
    const files = found.stdout.trim().split('\n');
    t.ok(files[0], 'the file is found on the disk');
    for (const file of files) await truncate(file, 0);

    const marked = async (host: number): Promise<string> => {
      const spec = script({ image }, '/bin/busybox cat /marker');
      const { sandboxId, id } = await startPod(harness, sandboxSpec(podCidr, host), spec);
      await reached(runtime, id, 'exited');
      const log = await readLog(runtime, id);
      await runtime.removeSandbox(sandboxId);
      return log;
    };
    await runtime.pullImage(image, signal, login);
    t.equal(await marked(71), '', 'the engine takes it for whole');
    const pulls = await boot('two');
    t.ok(pulls.isSuspect(image));
    await pulls.pull(image, signal, login);
    t.equal(await marked(72), 'whole\n');
    t.notOk((await boot('two')).isSuspect(image), 'it is trusted from now on');
  });
}
