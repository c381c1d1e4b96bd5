/** The Runtime contract on real containerd, and what only real containerd can show. As root. */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { CriRuntime, type CriRuntimeOptions } from '../../agent/runtime/cri.ts';
import type { RuntimeEvent } from '../../agent/runtime/runtime.ts';
import { containerdMissing, makeContainerd } from '../support/containerd.ts';
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
const CIDR = '10.42.9.0/24';
const LOG_BYTES_MAX = 40_000;
const missing = containerdMissing();

if (missing !== undefined) {
  t.test('containerd', { skip: missing }, async () => undefined);
} else {
  // On a busy machine each pod takes seconds.
  t.setTimeout(600_000);
  await containerdTests();
}

async function containerdTests(): Promise<void> {
  const { engine, options } = await makeContainerd('containerd');
  t.teardown(() => engine.remove());
  const runtime = new CriRuntime({ ...options, logBytesMax: LOG_BYTES_MAX, logLookMs: 200 });
  t.teardown(() => runtime.stop());
  await t.test('containerd keeps the contract', async (t) => {
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
    mayBePrivileged: true,
    importImage: async (reference, entrypoint) =>
      runtime.importImage(reference, await busyboxTar(), { entrypoint }),
  };
  await realRuntimeTests(t, harness);
  await logTest(harness, options);
  await crashTests(engine, harness, options);
  await networkTests(engine, harness);
}

async function logTest(harness: RealHarness, { logDir }: CriRuntimeOptions): Promise<void> {
  const { runtime } = harness;

  await t.test('a log is set aside over its limit, and a follower misses nothing', async (t) => {
    const { ip: _, ...spec } = sandboxSpec(CIDR, 60, { hostNetwork: true });
    // It starts when the reader is there, and says its last line when the file was set aside.
    const text = [
      'echo ready; until [ -e /logs/go ]; do sleep 0.1; done',
      'for i in $(seq 1 1500); do echo "line number $i"; done',
      'while ! ls /logs/main/0.log.1; do sleep 0.1; done >/dev/null 2>&1; sleep 0.5; echo last',
    ].join('\n');
    const mounts = [
      { hostPath: join(logDir, spec.podUid), containerPath: '/logs', readOnly: true },
    ];
    const { sandboxId, id } = await startPod(harness, spec, script(harness, text, { mounts }));
    await findContainer(runtime, id);
    let followed = '';
    const follow = { follow: true, timestamps: false };
    for await (const part of runtime.logs(id, follow, new AbortController().signal)) {
      if (followed === '') await writeFile(join(logDir, spec.podUid, 'go'), '');
      followed += Buffer.from(part).toString();
    }
    const lines = [...new Array(1500).keys()].map((index) => `line number ${index + 1}\n`);
    t.equal(followed, `ready\n${lines.join('')}last\n`);
    const path = join(logDir, spec.podUid, 'main/0.log');
    t.ok((await stat(path)).size < LOG_BYTES_MAX);
    t.equal(await readLog(runtime, id), 'last\n');
    await runtime.removeContainer(id);
    t.strictSame(await readdir(join(logDir, spec.podUid, 'main')), []);
    await runtime.removeSandbox(sandboxId);
    t.notOk(existsSync(join(logDir, spec.podUid)));
  });
}

async function crashTests(
  engine: TestEngine,
  harness: RealHarness,
  options: CriRuntimeOptions,
): Promise<void> {
  const { runtime } = harness;

  await t.test('containers survive kill -9 of containerd, and the runtime goes on', async (t) => {
    const spec = script(harness, 'echo up; sleep 1000', { attempt: 2 });
    const { sandboxId, id } = await startPod(harness, sandboxSpec(CIDR, 61), spec);
    const before = await findContainer(runtime, id);
    const events: RuntimeEvent[] = [];
    const stream = (async () => {
      for await (const event of runtime.events(new AbortController().signal)) events.push(event);
    })();
    const broken = t.rejects(stream, { name: 'GrpcError' });
    await eventually('the stream to stand', async () => {
      const other = await runtime.createContainer(
        sandboxId,
        script(harness, 'true', { name: `other-${events.length}-${performance.now() | 0}` }),
      );
      await runtime.startContainer(other);
      await reached(runtime, other, 'exited');
      return events[0];
    });
    await engine.kill('SIGKILL');
    await broken;
    const waiting = findContainer(runtime, id);
    await engine.start();
    t.strictSame(await waiting, before, 'the container did not notice');
    t.equal(await readLog(runtime, id), 'up\n');

    const second = new CriRuntime(options);
    await second.start();
    await second.ensureNetwork(CIDR);
    // containerd lists in any order.
    t.strictSame(byId(await second.listSandboxes()), byId(await runtime.listSandboxes()));
    t.strictSame(byId(await second.listContainers()), byId(await runtime.listContainers()));
    const more = await second.createContainer(sandboxId, script(harness, 'true', { name: 'more' }));
    await second.startContainer(more);
    t.equal((await reached(second, more, 'exited')).exitCode, 0);
    await second.stop();
    await runtime.stopContainer(id, 0);
    t.equal((await reached(runtime, id, 'exited')).exitCode, 137);
    await runtime.removeSandbox(sandboxId);
  });

  await t.test('what died while containerd was down is told, and made anew', async (t) => {
    const { id } = await startPod(harness, sandboxSpec(CIDR, 62), script(harness, 'sleep 1000'));
    await engine.kill('SIGKILL');
    await engine.killContainers();
    await engine.start();
    t.equal((await reached(runtime, id, 'exited')).state, 'exited');
    const [sandbox] = await runtime.listSandboxes();
    t.match(sandbox, { podUid: 'uid-62', ready: false, ip: '10.42.9.62' });
    const again = await startPod(harness, sandboxSpec(CIDR, 62), script(harness, 'sleep 1000'));
    t.equal((await reached(runtime, again.id, 'running')).state, 'running');
    t.equal(await findContainer(runtime, id), undefined);
    await engine.inside('/bin/busybox', 'ping', '-c1', '-W2', '10.42.9.62');
    await runtime.removeSandbox(again.sandboxId);
    t.strictSame(await runtime.listContainers(), []);
    t.strictSame(await runtime.listSandboxes(), []);
  });

  await t.test(
    'what containerd half-made when it was killed goes with its container',
    async (t) => {
      const { sandboxId, id } = await startPod(
        harness,
        sandboxSpec(CIDR, 63),
        script(harness, 'sleep 1000'),
      );
      const make = (name: string) =>
        runtime.createContainer(sandboxId, script(harness, 'sleep 1000', { name }));
      const [started, removed] = [await make('started'), await make('removed')];
      await engine.kill('SIGKILL');
      const tasks = join(engine.dir, 'state/io.containerd.runtime.v2.task/k8s.io');
      for (const half of [started, removed]) {
        // As it is before the shim was told to make the container.
        await mkdir(join(tasks, half));
        for (const file of ['address', 'shim-binary-path', 'config.json']) {
          await copyFile(join(tasks, sandboxId, file), join(tasks, half, file));
        }
      }
      await engine.start();
      await t.rejects(runtime.startContainer(started), { message: /already exists/ });
      t.notOk(existsSync(join(tasks, started)));
      t.equal((await findContainer(runtime, id))?.state, 'running', 'its neighbour runs on');
      t.ok(existsSync(join(tasks, removed)));
      await runtime.removeContainer(removed);
      t.notOk(existsSync(join(tasks, removed)));
      await runtime.removeSandbox(sandboxId);
      t.strictSame(await readdir(tasks), []);
    },
  );

  await t.test('an engine that is not there is named', async (t) => {
    const nowhere = join(engine.dir, 'nowhere.sock');
    const none = new CriRuntime({ ...options, socketPath: nowhere, connectMs: 300 });
    await t.rejects(none.start(), { message: /nobody answers at .*nowhere.sock.*running/ });
    await none.stop();
  });
}

async function networkTests(engine: TestEngine, { runtime }: RealHarness): Promise<void> {
  await t.test('another subnet is refused while pods use the old one', async (t) => {
    const { id } = await runtime.runSandbox(sandboxSpec(CIDR, 70));
    await t.rejects(runtime.ensureNetwork('10.42.19.0/24'), { message: /10\.42\.9\.70.*remove/ });
    await runtime.removeSandbox(id);
    await runtime.ensureNetwork('10.42.19.0/24');
    const moved = await runtime.runSandbox(sandboxSpec('10.42.19.0/24', 5));
    await engine.inside('/bin/busybox', 'ping', '-c1', '-W2', '10.42.19.5');
    const addresses = await engine.inside('ip', 'addr', 'show', 'pier0');
    t.match(addresses, /inet 10\.42\.19\.1\/24/);
    t.notMatch(addresses, /10\.42\.9\.1/, 'the bridge has its new address alone');
    await runtime.removeSandbox(moved.id);
    await runtime.ensureNetwork(CIDR);
  });
}

function byId<T extends { readonly id: string }>(list: readonly T[]): T[] {
  return [...list].sort((a, b) => (a.id < b.id ? -1 : 1));
}
