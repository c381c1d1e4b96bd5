/** What only real podman can show: isolation, limits, crashes of its service, boards side by side. As root. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { PodmanRuntime } from '../../agent/runtime/podman.ts';
import { executeBySession } from '../../agent/runtime/podman-exec.ts';
import { PodmanHttp } from '../../agent/runtime/podman-http.ts';
import { serviceArguments } from '../../agent/runtime/podman-service.ts';
import { containerName } from '../../agent/runtime/podman-spec.ts';
import type { ContainerSpec, RuntimeEvent, SandboxSpec } from '../../agent/runtime/runtime.ts';
import { busyboxTar, makeTestBoard, podmanMissing, type TestBoard } from '../support/podman.ts';
import { eventually, findContainer, reached, readLog, sandboxSpec } from './runtime.contract.ts';
import {
  realRuntimeTests,
  script as realScript,
  startPod as startRealPod,
} from './runtime.real.ts';

const run = promisify(execFile);
const IMAGE = 'localhost/busybox:1';
const CIDR = '10.42.8.0/24';
const missing = podmanMissing();

if (missing !== undefined) {
  t.test('podman', { skip: missing }, async () => undefined);
} else {
  t.setTimeout(110_000);
  await podmanTests();
}

async function bootBoard(name: string, podCidr: string) {
  const board = await makeTestBoard(name);
  const runtime = new PodmanRuntime({ ...board.options, logBytesMax: 40_000 });
  await runtime.start();
  await runtime.ensureNetwork(podCidr);
  await runtime.importImage(IMAGE, await busyboxTar());
  return { board, runtime };
}

function script(text: string, change: Partial<ContainerSpec> = {}): ContainerSpec {
  return realScript({ image: IMAGE }, text, change);
}

function startPod(runtime: PodmanRuntime, sandbox: SandboxSpec, spec: ContainerSpec) {
  return startRealPod({ runtime }, sandbox, spec);
}

async function podmanTests(): Promise<void> {
  const { board, runtime } = await bootBoard('one', CIDR);
  t.teardown(async () => {
    await runtime.stop();
    await board.remove();
  });
  await realRuntimeTests(t, {
    runtime,
    image: IMAGE,
    podCidr: CIDR,
    netns: board.netns,
    dir: board.dir,
    // conmon 2.1.6 misses the kernel's word under cgroup version 1.
    mayBePrivileged: true,
    importImage: async (reference, entrypoint) => {
      const changes = [`ENTRYPOINT ${JSON.stringify(entrypoint)}`];
      return runtime.importImage(reference, await busyboxTar(), changes);
    },
  });
  await commandTests(board, runtime);
  await rightsTests(runtime);
  await logTests(board, runtime);
  await serviceTests(board, runtime);
  await networkTests(board, runtime);
}

async function commandTests(board: TestBoard, runtime: PodmanRuntime): Promise<void> {
  await t.test(
    'a command has the rights of its container, and leaves nothing behind',
    async (t) => {
      const { ip: _, ...spec } = sandboxSpec(CIDR, 23, { hostNetwork: true });
      const security = { runAsUser: 1000, runAsGroup: 2000, dropCapabilities: ['ALL'] };
      const env = [{ name: 'A', value: 'b' }];
      const { sandboxId, id } = await startPod(
        runtime,
        spec,
        script('sleep 1000', { security, env }),
      );
      const limits = { timeoutMs: 30_000, outputBytesMax: 1000 };
      const words =
        'echo "$A $(id -u) $(id -g)"; /bin/busybox grep CapEff /proc/self/status; exit 7';
      const expected = { exitCode: 7, output: 'b 1000 2000\nCapEff:\t0000000000000000\n' };
      const command = ['/bin/sh', '-c', words];
      t.same(await runtime.execute(id, command, limits), expected);
      const conmons = await run('pgrep', ['-fc', `conmon .*-c ${id}`]).catch(() => ({
        stdout: '',
      }));
      t.equal(conmons.stdout.trim(), '1', 'no conmon but that of the container');

      const http = new PodmanHttp(board.options.socketPath ?? '');
      t.teardown(() => http.close());
      const calls = {
        json: (...args: Parameters<typeof http.json>) => http.json(...args),
        stream: (path: string, options: Parameters<typeof http.stream>[2]) =>
          http.stream('POST', path, options),
      };
      t.same(await executeBySession(calls, id, command, limits), expected, 'by a session too');
      await t.rejects(executeBySession(calls, id, ['/bin/nope'], limits), {
        message: /no such file/i,
      });
      await runtime.removeSandbox(sandboxId);
    },
  );

  await t.test('a command whose terminal is closed gets SIGHUP', async (t) => {
    const { sandboxId, id } = await startPod(runtime, sandboxSpec(CIDR, 24), script('sleep 1000'));
    const options = { stdin: true, stdout: true, stderr: false, tty: true };
    const command = ['sh', '-c', 'echo here; sleep 77777'];
    const session = await runtime.exec(id, { ...options, command });
    for await (const { data } of session.output) {
      if (/here/.test(Buffer.from(data).toString())) break;
    }
    session.close();
    await eventually('the end of the command', async () => {
      const command = ['/bin/busybox', 'ps'];
      const look = await runtime.exec(id, { ...options, stdin: false, command });
      let text = '';
      for await (const { data } of look.output) text += Buffer.from(data).toString();
      return !text.includes('echo here') || undefined;
    });
    t.equal((await findContainer(runtime, id))?.state, 'running');
    await runtime.removeSandbox(sandboxId);
  });
}

async function rightsTests(runtime: PodmanRuntime): Promise<void> {
  await t.test('groups, seccomp and the processes of a pod are as asked for', async (t) => {
    const spec = sandboxSpec(CIDR, 24, { processes: 'pod' });
    const text = 'id -G; /bin/busybox grep Seccomp: /proc/self/status; cat /proc/1/comm';
    const security = { runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [3000, 3001] };
    const { sandboxId, id } = await startPod(
      runtime,
      spec,
      script(text, { security, processes: 'pod' }),
    );
    await reached(runtime, id, 'exited');
    const log = await readLog(runtime, id);
    t.match(log, /^2000 3000 3001\n/);
    t.match(log, /Seccomp:\t2\n/, 'filtered by default');
    t.match(log, /pause/, 'the first process is that of the pod');
    const free = script(text, { name: 'free', security: { seccomp: 'unconfined' } });
    const second = await runtime.createContainer(sandboxId, free);
    await runtime.startContainer(second);
    await reached(runtime, second, 'exited');
    t.match(await readLog(runtime, second), /Seccomp:\t0\n/);
    t.equal((await runtime.imageStatus(IMAGE))?.user, '');
    await runtime.importImage('localhost/user:1', await busyboxTar(), ['USER 1234:5']);
    t.equal((await runtime.imageStatus('localhost/user:1'))?.user, '1234:5');
    await runtime.removeSandbox(sandboxId);
  });
}

async function logTests(board: TestBoard, runtime: PodmanRuntime): Promise<void> {
  await t.test('a log never outgrows its limit, and a follower reads across', async (t) => {
    const { ip: _, ...spec } = sandboxSpec(CIDR, 31, { hostNetwork: true });
    const text = 'for i in $(seq 1 2000); do echo "line number $i"; done; sleep 0.3; echo last';
    const { sandboxId, id } = await startPod(runtime, spec, script(text));
    const followed = await readLog(runtime, id, { follow: true, timestamps: false });
    t.ok(followed.endsWith('last\n'));
    t.notMatch(followed, /line number \d+line/, 'lines are whole');
    await reached(runtime, id, 'exited');
    const path = join(board.dir, 'root/overlay-containers', id, 'userdata/ctr.log');
    t.ok((await stat(path)).size <= 40_000);
    await runtime.removeSandbox(sandboxId);
  });
}

async function serviceTests(board: TestBoard, runtime: PodmanRuntime): Promise<void> {
  const pidPath = `${board.options.socketPath}.pid`;

  await t.test('containers and the runtime survive kill -9 of the podman service', async (t) => {
    const { ip: _, ...spec } = sandboxSpec(CIDR, 60, { hostNetwork: true });
    const { sandboxId, id } = await startPod(runtime, spec, script('echo up; sleep 1000'));
    const before = await findContainer(runtime, id);
    const events: RuntimeEvent[] = [];
    const stream = (async () => {
      for await (const event of runtime.events(new AbortController().signal)) events.push(event);
    })();
    // Events come only once the stream stands, so something has to happen in it first.
    const second = await runtime.createContainer(sandboxId, script('true', { name: 'second' }));
    await runtime.startContainer(second);
    await eventually('an event', () => events[0]);
    const killed = Number(readFileSync(pidPath, 'utf8'));
    process.kill(killed, 'SIGKILL');
    await t.rejects(stream, { message: /broke off/ });
    t.strictSame(await findContainer(runtime, id), before, 'the container did not notice');
    t.not(Number(readFileSync(pidPath, 'utf8')), killed, 'another service answers');
    t.equal(await readLog(runtime, id), 'up\n');
    await runtime.stopContainer(id, 0);
    t.equal((await reached(runtime, id, 'exited')).exitCode, 137);
    await runtime.removeSandbox(sandboxId);
  });

  await t.test('what a killed service left of a container is not in its way', async (t) => {
    const sandbox = sandboxSpec(CIDR, 63);
    const { id: sandboxId } = await runtime.runSandbox(sandbox);
    const spec = script('true', { name: 'again' });
    const name = containerName(sandbox, spec);
    // A podman with the same storage and a list of its own, as the one that was killed has it in storage alone.
    const { root = '', runroot = '', env } = board.options;
    const conf = join(board.dir, 'other.conf');
    await writeFile(conf, `[engine]\nlock_type = "file"\nstatic_dir = "${board.dir}/other"\n`);
    const where = ['--root', root, '--runroot', runroot, '--tmpdir', `${board.dir}/other-tmp`];
    const other = ['create', '--network=none', '--name', name, IMAGE, 'true'];
    await run('podman', [...where, ...other], { env: { ...env, CONTAINERS_CONF: conf } });
    const id = await runtime.createContainer(sandboxId, spec);
    await runtime.startContainer(id);
    t.equal((await reached(runtime, id, 'exited')).exitCode, 0);
    await runtime.removeSandbox(sandboxId);
  });

  await t.test('a container that is half removed hides no others, and goes', async (t) => {
    const { sandboxId, id } = await startPod(runtime, sandboxSpec(CIDR, 65), script('true'));
    await reached(runtime, id, 'exited');
    // As a podman does that is killed while it removes the container: its layer is gone, it is not.
    const { root = '' } = board.options;
    const read = async (path: string) => JSON.parse(await readFile(path, 'utf8'));
    const containers = await read(join(root, 'overlay-containers/containers.json'));
    const { layer } = containers.find((one: { id: string }) => one.id === id);
    process.kill(Number(readFileSync(pidPath, 'utf8')), 'SIGKILL');
    const path = join(root, 'overlay-layers/layers.json');
    const layers = (await read(path)).filter((one: { id: string }) => one.id !== layer);
    await writeFile(path, JSON.stringify(layers));
    // One that has not yet asked how it ended.
    const second = new PodmanRuntime(board.options);
    await second.start();
    t.match(await findContainer(second, id), { state: 'exited', exitCode: 0 });
    await second.removeContainer(id);
    await second.removeSandbox(sandboxId);
    t.strictSame(await second.listContainers(), []);
    await second.stop();
    await runtime.start();
  });

  await t.test('a container whose conmon was killed with it is not believed to run', async (t) => {
    const { sandboxId, id } = await startPod(runtime, sandboxSpec(CIDR, 62), script('sleep 1000'));
    await killConmons(board, true);
    t.match(await reached(runtime, id, 'exited'), { exitCode: 137 });
    const sandbox = (await runtime.listSandboxes()).find((listed) => listed.id === sandboxId);
    t.equal(sandbox?.ready, false);
    const again = await startPod(runtime, sandboxSpec(CIDR, 62), script('sleep 1000'));
    t.equal((await findContainer(runtime, again.id))?.state, 'running');
    t.equal(await findContainer(runtime, id), undefined);
    await board.inside('/bin/busybox', 'ping', '-c1', '-W2', '10.42.8.62');
    await runtime.removeSandbox(again.sandboxId);
  });

  await t.test('nor is one that podman was stopping when all of them were killed', async (t) => {
    const deaf = script("trap '' TERM; echo deaf; while :; do sleep 1; done");
    const { sandboxId, id } = await startPod(runtime, sandboxSpec(CIDR, 64), deaf);
    await eventually('the trap', async () => (await readLog(runtime, id)) || undefined);
    const { root = '', runroot = '', env, socketPath = '', podmanBinary = '' } = board.options;
    // As the service has it: the same list, and its own process to be killed in the middle.
    const where = serviceArguments({ root, runroot }, socketPath).slice(0, -4);
    const podman = (...args: string[]) => run(podmanBinary, [...where, ...args], { env });
    const stop = spawn(podmanBinary, [...where, 'stop', '-t', '60', id], { env, stdio: 'ignore' });
    t.teardown(() => stop.kill('SIGKILL'));
    const inspect = ['inspect', '--type=container', '--format={{.State.Status}}', id];
    await eventually('it is being stopped', async () =>
      (await podman(...inspect)).stdout.trim() === 'stopping' ? true : undefined,
    );
    stop.kill('SIGKILL');
    await killConmons(board, true);
    t.match(await reached(runtime, id, 'exited'), { exitCode: 137 });
    await runtime.removeSandbox(sandboxId);
    t.equal(await findContainer(runtime, id), undefined);
  });

  await t.test(
    'containers without their conmon are stopped and removed all the same',
    async (t) => {
      for (const withThem of [true, false]) {
        const { sandboxId, id } = await startPod(
          runtime,
          sandboxSpec(CIDR, 63),
          script('sleep 1000'),
        );
        const others: string[] = [];
        for (const name of ['second', 'third']) {
          others.push(await runtime.createContainer(sandboxId, script('sleep 1000', { name })));
        }
        for (const other of others) await runtime.startContainer(other);
        await killConmons(board, withThem);
        await runtime.stopContainer(id, 0);
        await runtime.removeContainer(id);
        await runtime.removeContainer(others[0] ?? '');
        t.strictSame(
          (await runtime.listContainers()).map((container) => container.id),
          others.slice(1),
        );
        await runtime.removeSandbox(sandboxId);
        t.strictSame(await runtime.listContainers(), []);
        t.strictSame(await runtime.listSandboxes(), []);
      }
    },
  );

  await t.test('a restarted agent finds its pods and takes over the service', async (t) => {
    const { sandboxId, id } = await startPod(
      runtime,
      sandboxSpec(CIDR, 61),
      script('sleep 1000', { attempt: 2 }),
    );
    const before = [await runtime.listSandboxes(), await runtime.listContainers()];
    const pid = readFileSync(pidPath, 'utf8');
    const second = new PodmanRuntime(board.options);
    await second.start();
    t.equal(readFileSync(pidPath, 'utf8'), pid, 'no second service was started');
    t.strictSame([await second.listSandboxes(), await second.listContainers()], before);
    await second.stop();
    t.notOk(existsSync(`/proc/${pid}`), 'the service it took over is ended');
    await board.inside('/bin/busybox', 'ping', '-c1', '-W2', '10.42.8.61');
    await runtime.start();
    t.strictSame([await runtime.listSandboxes(), await runtime.listContainers()], before);
    t.equal((await findContainer(runtime, id))?.attempt, 2);
    await runtime.removeSandbox(sandboxId);
  });

  await t.test('a podman that cannot start says what to do', async (t) => {
    const broken = new PodmanRuntime({
      ...board.options,
      socketPath: join(board.dir, 'other.sock'),
      podmanBinary: join(board.dir, 'no-such-podman'),
    });
    await t.rejects(broken.start(), { message: /no-such-podman.*ENOENT.*podman info/ });
    await broken.stop();
  });
}

/** SIGKILL to every conmon of the board, and to the containers' first processes when `withThem`. */
async function killConmons(board: TestBoard, withThem: boolean): Promise<void> {
  const pidsOf = async (...args: string[]): Promise<number[]> => {
    const found = await run('pgrep', args).catch(() => ({ stdout: '' }));
    return found.stdout.trim().split('\n').filter(Boolean).map(Number);
  };
  for (const pid of await pidsOf('-f', `conmon .*${board.dir}`)) {
    const children = await pidsOf('-P', String(pid));
    process.kill(pid, 'SIGKILL');
    if (withThem) for (const child of children) process.kill(child, 'SIGKILL');
  }
}

async function networkTests(board: TestBoard, runtime: PodmanRuntime): Promise<void> {
  await t.test(
    'another subnet is refused while pods use the old one, and made after',
    async (t) => {
      const { id } = await runtime.runSandbox(sandboxSpec(CIDR, 70));
      await t.rejects(runtime.ensureNetwork('10.42.9.0/24'), { message: /still use it/ });
      await runtime.removeSandbox(id);
      await runtime.ensureNetwork('10.42.9.0/24');
      await runtime.ensureNetwork(CIDR);
    },
  );

  await t.test(
    'two boards on one machine: same names, own networks, pods reach pods',
    async (t) => {
      const other = await bootBoard('two', '10.42.18.0/24');
      t.teardown(async () => {
        await other.runtime.stop();
        await other.board.remove();
      });
      const cable = ['peer', 'name', 'eth0', 'netns', other.board.netns];
      await run('ip', ['-n', board.netns, 'link', 'add', 'eth0', 'type', 'veth', ...cable]);
      const connect = async (netns: string, address: string, remote: string, via: string) => {
        await run('ip', ['-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0']);
        await run('ip', ['-n', netns, 'link', 'set', 'eth0', 'up']);
        await eventually('the cable', async () =>
          run('ip', ['-n', netns, 'route', 'replace', remote, 'via', via]).catch(() => undefined),
        );
        await run('nsenter', [
          `--net=/run/netns/${netns}`,
          'sysctl',
          '-qw',
          'net.ipv4.ip_forward=1',
        ]);
      };
      await Promise.all([
        connect(board.netns, '192.168.77.1', '10.42.18.0/24', '192.168.77.2'),
        connect(other.board.netns, '192.168.77.2', CIDR, '192.168.77.1'),
      ]);
      const far = await other.runtime.runSandbox(sandboxSpec('10.42.18.0/24', 5));
      const near = await startPod(
        runtime,
        sandboxSpec(CIDR, 5),
        script('ping -c1 -W5 10.42.18.5 && ping -c1 -W5 10.42.8.1', {
          // Not among podman 5's default capabilities, and busybox' ping needs it.
          security: { addCapabilities: ['NET_RAW'] },
        }),
      );
      t.equal((await reached(runtime, near.id, 'exited')).exitCode, 0);
      t.strictSame(
        (await runtime.listSandboxes()).map(({ id }) => id),
        [near.sandboxId],
      );
      t.strictSame(
        (await other.runtime.listSandboxes()).map(({ id }) => id),
        [far.id],
      );
      for (const [netns, address] of [
        [board.netns, '10.42.8.1/24'],
        [other.board.netns, '10.42.18.1/24'],
      ] as const) {
        const { stdout } = await run('ip', ['-n', netns, 'addr', 'show', 'pier0']);
        t.ok(stdout.includes(`inet ${address}`));
      }
      await runtime.removeSandbox(near.sandboxId);
      await other.runtime.removeSandbox(far.id);
    },
  );
}
