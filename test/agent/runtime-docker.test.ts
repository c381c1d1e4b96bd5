/** The Runtime contract on real Docker, and what only real Docker can show. As root. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { DockerRuntime, type DockerRuntimeOptions } from '../../agent/runtime/docker.ts';
import { dockerMissing, makeDocker, untilItAnswers } from '../support/docker.ts';
import type { TestEngine } from '../support/engine.ts';
import { busyboxTar } from '../support/podman.ts';
import {
  commandScript,
  eventually,
  findContainer,
  reached,
  readLog,
  runtimeContract,
  sandboxSpec,
  shellScript,
} from './runtime.contract.ts';
import { type RealHarness, realRuntimeTests, script, startPod } from './runtime.real.ts';

const IMAGE = 'localhost/busybox:1';
const CIDR = '10.42.11.0/24';
const missing = dockerMissing();

if (missing !== undefined) {
  t.test('docker', { skip: missing }, async () => undefined);
} else {
  // On a busy machine each pod takes seconds.
  t.setTimeout(600_000);
  await dockerTests();
}

async function dockerTests(): Promise<void> {
  const { engine, options } = await makeDocker('docker');
  t.teardown(() => engine.remove());
  const runtime = new DockerRuntime({ ...options, logBytesMax: 40_000 });
  t.teardown(() => runtime.stop());
  await t.test('docker keeps the contract', async (t) => {
    await runtimeContract(t, async () => {
      await runtime.start();
      await runtime.importImage(IMAGE, await busyboxTar());
      const scripts = { command: shellScript, execCommand: commandScript };
      return { runtime, image: IMAGE, podCidr: CIDR, ...scripts };
    });
  });
  const harness: RealHarness = {
    runtime,
    image: IMAGE,
    podCidr: CIDR,
    netns: engine.netns,
    dir: engine.dir,
    mayBePrivileged: hasEveryRight(),
    importImage: async (reference, entrypoint) =>
      runtime.importImage(reference, await busyboxTar(), entrypoint),
  };
  await realRuntimeTests(t, harness);
  await dockerOnly(engine, harness, options);
}

async function dockerOnly(
  engine: TestEngine,
  harness: RealHarness,
  options: DockerRuntimeOptions,
): Promise<void> {
  const { runtime } = harness;

  await t.test('a restarted agent finds its pods', async (t) => {
    const spec = script(harness, 'sleep 1000', { attempt: 2 });
    const { sandboxId, id } = await startPod(harness, sandboxSpec(CIDR, 61), spec);
    const second = new DockerRuntime(options);
    await second.start();
    await second.ensureNetwork(CIDR);
    t.strictSame(await second.listSandboxes(), await runtime.listSandboxes());
    t.strictSame(await second.listContainers(), await runtime.listContainers());
    t.match(await findContainer(second, id), { attempt: 2, state: 'running' });
    await second.removeSandbox(sandboxId);
    t.equal(await findContainer(runtime, id), undefined);
    await second.stop();
  });

  await t.test('a dockerd that was killed leaves ended pods, and they are made anew', async (t) => {
    const spec = script(harness, 'echo up; sleep 1000');
    const { id } = await startPod(harness, sandboxSpec(CIDR, 62), spec);
    await eventually('its words', async () => (await readLog(runtime, id)) || undefined);
    await engine.kill('SIGKILL');
    await t.rejects(runtime.listContainers(), { message: /docker at .*failed/ });
    await engine.killContainers();
    await engine.start();
    await untilItAnswers(engine, options);
    t.equal((await reached(runtime, id, 'exited')).state, 'exited');
    t.equal(await readLog(runtime, id), 'up\n');
    t.match(await runtime.listSandboxes(), [{ podUid: 'uid-62', ready: false }]);
    const again = await startPod(harness, sandboxSpec(CIDR, 62), spec);
    t.equal((await reached(runtime, again.id, 'running')).state, 'running');
    t.equal(await findContainer(runtime, id), undefined);
    await engine.inside('/bin/busybox', 'ping', '-c1', '-W2', '10.42.11.62');
    await runtime.removeSandbox(again.sandboxId);
    t.strictSame(await runtime.listContainers(), []);
    t.strictSame(await runtime.listSandboxes(), []);
  });

  await t.test('what comes from other boards reaches pods, whatever Docker forbids', async (t) => {
    const rules = await engine.inside('iptables', '-S', 'DOCKER-USER');
    t.match(rules, /-A DOCKER-USER -d 10\.42\.11\.0\/24 -j ACCEPT/);
    t.match(rules, /-A DOCKER-USER -s 10\.42\.11\.0\/24 -j ACCEPT/);
    t.equal(rules.match(/10\.42\.11/g)?.length, 2, 'asked for twice, set once');
  });

  await t.test(
    'another subnet is refused while pods use the old one, and made after',
    async (t) => {
      const { id } = await runtime.runSandbox(sandboxSpec(CIDR, 70));
      await t.rejects(runtime.ensureNetwork('10.42.12.0/24'), { message: /still use it/ });
      await runtime.removeSandbox(id);
      await runtime.ensureNetwork('10.42.12.0/24');
      await runtime.ensureNetwork(CIDR);
    },
  );
}

/** CapEff of this process against what the kernel knows. */
function hasEveryRight(): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const last = BigInt(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8').trim());
  return effective === (1n << (last + 1n)) - 1n;
}
