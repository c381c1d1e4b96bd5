/** Images that are not built for the board: refused with words that help, and told to the master while that is news. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readEmulated } from '../../../agent/host/emulation.ts';
import { runsOn, tellsOfArchitecture } from '../../../agent/plan/image-architecture.ts';
import { ForeignImageError, ImagePuller } from '../../../agent/pods/image-puller.ts';
import { FakeRuntime } from '../../../agent/runtime/fake.ts';
import { board, container, pod, until } from './board.ts';

t.test('a processor runs its own code, and what it is known to run besides', async (t) => {
  for (const [processor, image, runs] of [
    ['arm64', 'arm64', true],
    ['arm64', 'aarch64', true],
    ['arm64', 'arm', true],
    ['arm64', 'amd64', false],
    ['arm', 'arm64', false],
    ['arm', 'armhf', true],
    ['amd64', 'x86_64', true],
    ['amd64', '386', true],
    ['amd64', 'arm64', false],
    ['riscv64', 'riscv64', true],
    ['riscv64', 'constructor', false],
  ] as const) {
    t.equal(runsOn(processor, image), runs, `${image} on ${processor}`);
  }
  t.equal(runsOn('arm64', 'amd64', ['amd64']), true, 'with an emulator');
});

t.test('emulators count when the kernel has them at hand for containers', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pier-binfmt-'));
  t.teardown(() => rm(folder, { recursive: true }));
  t.same(await readEmulated(join(folder, 'not-mounted')), []);
  const register = (name: string, state: string, flags: string) =>
    writeFile(
      join(folder, name),
      `${state}\ninterpreter /usr/bin/${name}\nflags: ${flags}\noffset 0\nmagic 7f454c46\n`,
    );
  await mkdir(folder, { recursive: true });
  await register('qemu-x86_64', 'enabled', 'POCF');
  await register('qemu-s390x', 'disabled', 'F');
  await register('qemu-riscv64', 'enabled', 'OC');
  await register('python3.11', 'enabled', 'F');
  t.same(await readEmulated(folder), ['amd64']);
});

t.test('the words of the engines for an image without the architecture are known', async (t) => {
  for (const words of [
    'choosing an image from manifest list docker://r/x:1: no image found in image index for architecture "arm64", variant "v8", OS "linux"',
    'no matching manifest for linux/arm64/v8 in the manifest list entries',
    'failed to pull and unpack image "r/x:1": no match for platform in manifest: not found',
  ]) {
    t.ok(tellsOfArchitecture(words), words);
  }
  t.notOk(tellsOfArchitecture('manifest unknown'));
});

t.test('an image for another processor is refused before it runs', async (t) => {
  const image = 'localhost/tool:1';
  const pi = await board(t, {
    images: ['app:1', image],
    architectures: { [image]: 'amd64', 'pulled:1': 'amd64' },
    program: ({ name }) => (name === 'init' ? { runMs: 5 } : {}),
  });
  const manager = await pi.startAgent();
  pi.want([
    pod('present', { containers: [container('main', { image })] }),
    pod('pulled', { containers: [container('main', { image: 'pulled:1' })] }),
    pod('never', { containers: [container('main', { image, imagePullPolicy: 'Never' })] }),
    pod('good'),
  ]);
  const waiting = (name: string) => pi.last(name)?.status.containerStatuses?.[0]?.state?.waiting;
  for (const name of ['present', 'pulled', 'never']) {
    await until(name, () => waiting(name)?.reason === 'ImagePullBackOff');
    t.match(waiting(name)?.message, /is built for amd64, and this board is arm64: build it for/);
    const told = pi.events.filter((event) => event.name === name && event.reason === 'Failed');
    t.match(told[0]?.message, /^the image ".*:1" is built for amd64/);
  }
  await until('good', () => pi.isReady('good'));
  t.same(
    (await pi.engine.listContainers()).map(({ image: of }) => of),
    ['app:1'],
    'none was made of them',
  );
  t.same(manager.foreignImages().sort(), ['docker.io/library/pulled:1', image]);
});

t.test('an emulator lets it run', async (t) => {
  const pi = await board(t, { architectures: { 'app:1': 'amd64' } });
  pi.emulated = ['amd64'];
  const manager = await pi.startAgent();
  pi.want([pod('web')]);
  await until('ready', () => pi.isReady('web'));
  t.same(manager.foreignImages(), []);
});

t.test('a refusal ends with a better image, or when it is old', async (t) => {
  let nowMs = 0;
  const architectures: Record<string, string> = { 'app:1': 'amd64', 'old:1': 'amd64' };
  const runtime = new FakeRuntime({ images: ['app:1'], architectures });
  const puller = new ImagePuller({
    runtime,
    pulls: { isSuspect: () => false, pull: (...asked) => runtime.pullImage(...asked) },
    clock: { wallMs: () => 0, monotonicMs: () => nowMs },
    parallelMax: 1,
    architecture: 'arm64',
    emulated: async () => [],
  });
  const ensure = (image: string, copyWillDo = false) =>
    puller.ensure({
      image,
      policy: 'IfNotPresent',
      copyWillDo,
      logins: [],
      signal: new AbortController().signal,
      onPulling: () => {},
    });
  await t.rejects(ensure('app:1'), ForeignImageError);
  await t.rejects(ensure('app:1', true), ForeignImageError, 'also after it has run');
  await t.rejects(ensure('old:1'), ForeignImageError);
  t.equal(puller.foreignImages().length, 2);
  architectures['app:1'] = 'arm64';
  t.match(await ensure('app:1'), { type: 'present' });
  t.same(puller.foreignImages(), ['docker.io/library/old:1']);
  nowMs = 600_001;
  t.same(puller.foreignImages(), []);
  runtime.failNext('pullImage', new Error('no route'));
  await t.rejects(ensure('old:1'), { message: /built for amd64/ }, 'what is there cannot be used');
});
