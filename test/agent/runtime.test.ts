/** The Runtime contract on the fake (always) and on real podman (as root), and what only podman can show. */
import t from 'tap';
import { FakeRuntime } from '../../agent/runtime/fake.ts';
import type { FakeProcess } from '../../agent/runtime/fake-exec.ts';
import { Limiter } from '../../agent/runtime/limiter.ts';
import { pauseProgram } from '../../agent/runtime/pause-image.ts';
import { PodmanRuntime } from '../../agent/runtime/podman.ts';
import { gatewayOf } from '../../agent/runtime/podman-network.ts';
import { readContainer, readExit } from '../../agent/runtime/podman-read.ts';
import { type ContainerSpec, LABELS, RuntimeError } from '../../agent/runtime/runtime.ts';
import { fullImageName } from '../../protocol/image-name.ts';
import { busyboxTar, makeTestBoard, podmanMissing } from '../support/podman.ts';
import {
  type Behaviour,
  type Command,
  commandScript,
  END_OF_INPUT,
  runtimeContract,
  shellScript,
} from './runtime.contract.ts';
import './runtime-engines.ts';

const IMAGE = 'localhost/busybox:1';

t.test('the fake runtime keeps the contract', async (t) => {
  await runtimeContract(t, async () => ({
    runtime: new FakeRuntime({
      images: [IMAGE],
      program: fakeProgram,
      execute: (command) => fakeProgram({ args: command.slice(1) }),
      exec: fakeCommand,
      pull: (image) => ({ error: `dial ${image}: connection refused` }),
    }),
    image: IMAGE,
    podCidr: '10.42.7.0/24',
    command: (behaviour) => ({ command: ['fake'], args: [JSON.stringify(behaviour)] }),
    execCommand: (command) => ['fake', JSON.stringify(command)],
  }));
});

t.test('what podman forgot in a power cut is told as killed', async (t) => {
  const Labels = { [LABELS.podUid]: 'u', [LABELS.containerName]: 'main' };
  const never = -62_135_596_800;
  const told = (State: string, StartedAt: number, ExitedAt: number, ExitCode = 0) => {
    const { state, exitCode } =
      readContainer({ Id: 'c', Labels, State, StartedAt, ExitedAt, ExitCode }) ?? {};
    return `${state} ${exitCode}`;
  };
  const table: [string, string, string][] = [
    ['made, not started', told('created', never, never), 'created undefined'],
    ['runs', told('running', 5, never), 'running undefined'],
    ['ended by itself', told('exited', 5, 9, 3), 'exited 3'],
    ['ended well', told('exited', 5, 9), 'exited 0'],
    ['ran when the power went (podman 4)', told('created', 5, never), 'exited 137'],
    ['ran when the power went (podman 5)', told('exited', 5, never), 'exited 137'],
  ];
  for (const [name, found, expected] of table) t.equal(found, expected, name);
  const zero = '0001-01-01T00:00:00Z';
  const exit = (StartedAt: string, FinishedAt: string): number =>
    readExit({ State: { StartedAt, FinishedAt, ExitCode: 0 } }).exitCode;
  t.equal(exit('2026-01-01T00:00:00Z', zero), 137);
  t.equal(exit('2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z'), 0);
});

// Real containers on a busy machine take their time.
t.setTimeout(110_000);
const PODMAN = { skip: podmanMissing() ?? false, timeout: 110_000 };

t.test('podman keeps the contract', PODMAN, async (t) => {
  const board = await makeTestBoard('contract');
  t.teardown(() => board.remove());
  const runtime = new PodmanRuntime(board.options);
  await runtimeContract(t, async () => {
    await runtime.start();
    await runtime.importImage(IMAGE, await busyboxTar());
    const scripts = { command: shellScript, execCommand: commandScript };
    return { runtime, image: IMAGE, podCidr: '10.42.7.0/24', ...scripts };
  });
});

function fakeProgram(spec: Pick<ContainerSpec, 'args'>) {
  const { print, isMissing, ...rest }: Behaviour = JSON.parse(spec.args[0] ?? '{}');
  return {
    ...rest,
    output: (print ?? []).map((line) =>
      line.startsWith('!')
        ? { stream: 'stderr' as const, line: line.slice(1) }
        : { stream: 'stdout' as const, line },
    ),
    ...(isMissing === true ? { startError: 'exec: no such file or directory' } : {}),
  };
}

async function fakeCommand({ command, stdin, print, size }: FakeProcess): Promise<number> {
  const { print: lines = [], does, exitCode = 0 }: Command = JSON.parse(command[1] ?? '{}');
  for (const line of lines) {
    const isError = line.startsWith('!');
    await print(isError ? 'stderr' : 'stdout', `${isError ? line.slice(1) : line}\n`);
  }
  if (does === undefined) return exitCode;
  for await (const data of stdin) {
    if (does === 'copy') await print('stdout', data);
    else if (data[0] === END_OF_INPUT) return exitCode;
    else await print('stdout', `${size()?.rows} ${size()?.columns}\n`);
  }
  return exitCode;
}

t.test('names of images are completed as Docker does', async (t) => {
  t.equal(fullImageName('nginx'), 'docker.io/library/nginx:latest');
  t.equal(fullImageName('grafana/grafana:11'), 'docker.io/grafana/grafana:11');
  t.equal(fullImageName('localhost/a'), 'localhost/a:latest');
  t.equal(fullImageName('pi:5000/a/b@sha256:00'), 'pi:5000/a/b@sha256:00');
});

t.test("the bridge gets the subnet's first address", async (t) => {
  t.equal(gatewayOf('10.42.3.0/24'), '10.42.3.1');
  for (const bad of ['10.42.3.0', '10.42.3.0/31', 'fd00::/64', '10.42.300.0/24']) {
    t.throws(() => gatewayOf(bad), { message: /no IPv4 subnet/ });
  }
});

t.test('the pause program is a small ELF file of the right machine', async (t) => {
  for (const [arch, machine] of [
    ['x64', 0x3e],
    ['arm64', 0xb7],
    ['arm', 0x28],
  ] as const) {
    const program = Buffer.from(pauseProgram(arch));
    t.equal(program.toString('latin1', 0, 4), '\x7fELF');
    t.equal(program.readUInt16LE(18), machine);
    t.ok(program.length < 512);
  }
});

t.test(
  'calls to an engine are bounded: so many at once, so many waiting, then refused',
  async (t) => {
    const limiter = new Limiter({ parallel: 2, queueMax: 1 });
    const release: Array<() => void> = [];
    const task = () => new Promise<void>((resolve) => release.push(resolve));
    const running = [limiter.run(task), limiter.run(task), limiter.run(task)];
    await t.rejects(limiter.run(task), RuntimeError);
    t.equal(release.length, 2);
    release[0]?.();
    await running[0];
    t.equal(release.length, 3);
    for (const done of release) done();
    await Promise.all(running);
  },
);
