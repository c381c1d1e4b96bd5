/**
 * Two boards on each engine, from kubectl to the container: pods see each other's addresses; on containerd and Docker, as podman is
 * what all the other tests run on, an app answers, a restarted agent adopts it, and after a power cut it runs again without a
 * master. Needs root.
 */
import t, { type Test } from 'tap';
import { RUNTIME_NAMES } from '../../agent/runtime/choose.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import { boardEngineMissing } from '../lab/board-engine.ts';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl } from '../support/board-kubectl.ts';
import { demoContainer, demoPod, nodePortService } from '../support/demo-manifests.ts';
import { findKubectl } from '../support/kubectl.ts';
import { labMissing } from '../support/needs.ts';

const PORT = 30_095;
/** A board that was switched on has its pods again by then (the promise of DESIGN.md). */
const BOOT_MS_MAX = 30_000;

const newest = findKubectl('current');
const missing = labMissing() || ('missing' in newest ? newest.missing : false);

t.setTimeout(300_000);

for (const engine of RUNTIME_NAMES) {
  const skip = missing || (boardEngineMissing(engine) ?? false);
  t.test(`boards on ${engine}`, { skip, timeout: 300_000 }, async (t) => {
    if ('missing' in newest) return;
    const lab = await Lab.create({ boards: 2, engine });
    t.teardown(() => lab.close());
    await lab.startMaster();
    await Promise.all([lab.startAgent(1), lab.startAgent(2)]);
    const place = { lab, kubectl: new BoardKubectl(lab.board(1), newest) };
    await t.test("a pod sees another board's pod by its own address", (t) => addresses(t, place));
    if (engine === 'podman') return;
    await t.test('an app answers and can be looked into', (t) => app(t, place));
    await t.test('a restarted agent adopts its pods', (t) => adopted(t, place));
    await t.test('pods are back after a power cut, without a master', (t) => powerCut(t, place));
    await t.test('a deleted pod leaves nothing', (t) => gone(t, place));
  });
}

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
}

/** On its board. What talks to port 8081 is told which address it comes from. */
function onBoard(name: string, nodeName: string): Pod {
  const cgi = 'mkdir -p /tmp/www/cgi-bin; cd /tmp/www/cgi-bin';
  const page = 'printf \'#!/bin/sh\\necho; echo "you are $REMOTE_ADDR"\\n\' >who; chmod +x who';
  const script = `${cgi}; ${page}; exec httpd -f -p 8081 -h /tmp/www`;
  return demoPod(name, { nodeName, containers: [demoContainer('main', script)] });
}

async function addresses(t: Test, { lab, kubectl }: Place): Promise<void> {
  await lab.until('two boards are Ready', async () => {
    const table = await kubectl.ok('get', 'nodes');
    return table.match(/ Ready /g)?.length === 2 || table;
  });
  await kubectl.apply(onBoard('first', 'board1'), onBoard('second', 'board2'));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/first', 'pod/second', '--timeout=60s');
  const ipOf = async (name: string): Promise<string> =>
    (await kubectl.get<Pod>('pod', name)).status?.podIP ?? '';
  for (const [from, to] of [
    ['first', 'second'],
    ['second', 'first'],
  ] as const) {
    const url = `http://${await ipOf(to)}:8081/cgi-bin/who`;
    const words = await kubectl.ok('exec', from, '--', 'wget', '-qO-', url);
    // Busybox listens on IPv6 as well, and tells an IPv4 address as one mapped into it.
    t.match(words, new RegExp(`^you are (\\[::ffff:)?${await ipOf(from)}\\]?\n$`));
  }
  await kubectl.ok('delete', 'pod', 'first', 'second');
}

async function app(t: Test, { lab, kubectl }: Place): Promise<void> {
  const beside = demoContainer('beside', 'echo started; trap "exit 0" TERM; sleep 1000 & wait');
  const containers = [demoContainer('main'), beside];
  const pod = demoPod('web', { nodeName: 'board1', containers });
  t.notMatch(await kubectl.apply(pod, nodePortService('web', 'web', PORT)), /Warning/);
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
  await answers(lab);
  t.equal(await kubectl.ok('logs', 'web', '-c', 'beside'), 'started\n');
  t.match(
    await kubectl.ok('exec', 'web', '-c', 'beside', '--', 'wget', '-qO-', '127.0.0.1:8080'),
    /^Hello from web/,
    'its containers share a network',
  );
  await lab.until('it is measured', async () =>
    /^web +main +\d+m/m.test(await kubectl.ok('top', 'pod', 'web', '--containers')),
  );
}

async function adopted(t: Test, { lab, kubectl }: Place): Promise<void> {
  const before = await kubectl.get<Pod>('pod', 'web');
  await lab.end(1, 'agent', 'SIGKILL');
  await lab.startAgent(1);
  await kubectl.ok('wait', '--for=condition=Ready', 'node/board1', '--timeout=60s');
  await answers(lab);
  const after = await kubectl.get<Pod>('pod', 'web');
  t.same(idsOf(after), idsOf(before), 'the same containers');
  t.same(restartsOf(after), [0, 0]);
}

async function powerCut(t: Test, { lab, kubectl }: Place): Promise<void> {
  const before = await kubectl.get<Pod>('pod', 'web');
  await lab.powerOff(1);
  await lab.board(1).powerOn();
  await lab.startAgent(1);
  await lab.until('the pod answers again', () => page(lab), BOOT_MS_MAX);
  await lab.startMaster();
  await lab.until('the master knows its new containers', async () => {
    const pod = await kubectl.get<Pod>('pod', 'web');
    return idsOf(pod).every((id) => !idsOf(before).includes(id)) || idsOf(pod).join();
  });
  const after = await kubectl.get<Pod>('pod', 'web');
  t.equal(after.metadata?.uid, before.metadata?.uid, 'the same pod');
  t.equal(after.status?.podIP, before.status?.podIP, 'with the same address');
}

async function gone(t: Test, { lab, kubectl }: Place): Promise<void> {
  await kubectl.ok('delete', 'pod', 'web', '--timeout=60s');
  t.notMatch(await lab.board(1).exec('ps', ['-A', '-o', 'args']), /httpd/);
}

async function answers(lab: Lab): Promise<void> {
  await lab.until('the pod answers', () => page(lab));
}

async function page(lab: Lab): Promise<boolean | string> {
  const board = lab.board(1);
  const words = await board.exec('curl', ['-sS', '--max-time', '2', `${board.address}:${PORT}`]);
  return words.startsWith('Hello from web') || words;
}

function idsOf({ status }: Pod): string[] {
  return (status?.containerStatuses ?? []).map(({ containerID = '' }) => containerID).sort();
}

function restartsOf({ status }: Pod): number[] {
  return (status?.containerStatuses ?? []).map(({ restartCount }) => restartCount);
}
