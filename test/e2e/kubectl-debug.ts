/** `kubectl debug` with unmodified kubectl: into a running pod, into a copy of it, and onto a board. Run by streams.test.ts. */
import type { Test } from 'tap';
import { DEMO_IMAGE } from '../../cli/commands/demo-image.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import type { Lab } from '../lab/lab.ts';
import { type BoardKubectl, KUBECONFIG } from '../support/board-kubectl.ts';
import { demoContainer, demoPod } from '../support/demo-manifests.ts';
import { type Kubectl, runCommand } from '../support/kubectl.ts';

const IMAGE = `--image=${DEMO_IMAGE}`;

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
  readonly binary: Kubectl;
}

/** kubectl 1.20 adds containers to a pod by an API that is gone; the rest it can do. */
export async function debug(t: Test, place: Place, isOld = false): Promise<void> {
  const { kubectl, binary } = place;
  t.comment(`kubectl ${binary.version}`);
  const pod = demoPod('ill', {
    nodeName: 'board2',
    containers: [demoContainer('main'), demoContainer('second', 'sleep 100000')],
  });
  await kubectl.apply(pod);
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/ill', '--timeout=60s');
  const claims = [
    ['a shell beside a container of a running pod', target],
    ['an ephemeral container has logs, exec and a state of its own', added],
    ['a copy of a pod, whose containers see each other', copy],
    ['a pod that sees the whole board', board],
  ] as const;
  for (const [what, prove] of claims.slice(isOld ? 2 : 0)) {
    await t.test(what, (t) => prove(t, place));
  }
  await kubectl.ok('delete', 'pod', 'ill');
}

/** Runs kubectl in a terminal and types; resolves with all that was on the screen. */
async function typed({ lab, binary }: Place, command: string, keys: string): Promise<string> {
  const line = `KUBECONFIG=${KUBECONFIG} ${binary.path} ${command}; echo code $?`;
  const script = ['script', '-q', '-c', line, '/dev/null'];
  const options = { input: keys, timeoutMs: 120_000 };
  return (await runCommand('nsenter', [...lab.board(1).enter(), ...script], options)).stdout;
}

async function target(t: Test, place: Place): Promise<void> {
  const { kubectl } = place;
  const before = await kubectl.get<Pod>('pod', 'ill');
  const keys = 'ps; grep Cap /proc/self/status; wget -qO- http://127.0.0.1:8080/; exit 3\n';
  const command = `debug -it ill ${IMAGE} --target=second -c look --profile=general -- sh`;
  const screen = await typed(place, command, keys);
  t.match(screen, /1 \S+ .*sleep 100000/, 'the first process is that of the target');
  t.match(screen, /CapEff:\s+\w*[89a-f]\w{4}\r?$/m, 'SYS_PTRACE');
  t.match(screen, /Hello from ill/, 'on the network of the pod');
  const after = await kubectl.get<Pod>('pod', 'ill');
  const ids = (pod: Pod) => pod.status?.containerStatuses?.map(({ containerID }) => containerID);
  t.same(ids(after), ids(before), 'the others run on');
  await kubectl.ok(
    ...['wait', 'pod/ill', '--timeout=30s'],
    '--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=3',
  );
  t.match(await kubectl.ok('describe', 'pod', 'ill'), /Ephemeral Containers:\n +look:/);
}

async function added(t: Test, { lab, kubectl }: Place): Promise<void> {
  const script = 'echo one; trap "exit 0" TERM; sleep 100000 & wait';
  await kubectl.ok('debug', 'ill', IMAGE, '-c', 'aside', '--', 'sh', '-c', script);
  await lab.until('it has said its word', async () => {
    const { stdout, stderr } = await kubectl.run(['logs', 'ill', '-c', 'aside']);
    return stdout === 'one\n' || stderr;
  });
  t.match(await kubectl.ok('exec', 'ill', '-c', 'aside', '--', 'ps'), /sleep 100000/);
  const changed = `{"spec":{"ephemeralContainers":[{"name":"aside","image":"other"}]}}`;
  const patch = ['patch', 'pod', 'ill', '--subresource=ephemeralcontainers', '-p', changed];
  t.match(await kubectl.refused(patch), /may not be changed|invalid subresource/);
  const { status } = await kubectl.get<Pod>('pod', 'ill');
  t.match(status?.ephemeralContainerStatuses, [
    { name: 'look', state: { terminated: { exitCode: 3 } } },
    { name: 'aside', state: { running: {} }, restartCount: 0 },
  ]);
}

async function copy(t: Test, place: Place): Promise<void> {
  const command = `debug -it ill --copy-to=well --share-processes ${IMAGE} -c look -- sh`;
  // The shell may be there before the others.
  const keys = "until ps | grep 'slee[p] 100000'; do sleep 0.1; done; ps; exit\n";
  const screen = await typed(place, command, keys);
  t.match(screen, /sleep 100000/);
  t.match(screen, /pause/);
  await place.kubectl.ok('delete', 'pod', 'well');
}

async function board(t: Test, place: Place): Promise<void> {
  const { kubectl } = place;
  const keys = 'ps; ls /host/var/lib/; exit\n';
  const screen = await typed(place, `debug -it node/board2 ${IMAGE} -- sh`, keys);
  t.match(screen, /pier-agent\.mjs/, 'its processes');
  t.match(screen, /containers/, 'its files');
  const [name = ''] = (await kubectl.ok('get', 'pods', '-o', 'name'))
    .split('\n')
    .filter((one) => one.startsWith('pod/node-debugger-board2-'));
  const { spec } = await kubectl.get<Pod>(name);
  t.match(spec, { hostPID: true, hostIPC: true, hostNetwork: true, nodeName: 'board2' });
  await kubectl.ok('delete', name);
}
