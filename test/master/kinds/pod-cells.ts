/** Cells and the end of pods. */
import t from 'tap';
import { CREATED, cells, decoded, moduleOf } from './manifest.ts';

t.test('pod cells', async (t) => {
  const running = (name: string, ready = true) =>
    `{name: ${name}, image: x, imageID: x, ready: ${ready}, restartCount: 0, state: {running: {}}}`;
  const stateOf = (state: string) =>
    `{name: a, image: x, imageID: x, ready: false, restartCount: 0, state: ${state}}`;
  const two = '{containers: [{name: a, image: x}, {name: b, image: x}]}';
  const one = '{containers: [{name: a, image: x}]}';
  const init =
    '{initContainers: [{name: a, image: x}, {name: b, image: x}], containers: [{name: c, image: x}]}';
  const gone = "metadata: {name: web, deletionTimestamp: '2026-01-10T00:00:30Z'}";
  /** Spec, status, READY and STATUS. */
  const cases: [string, string, string, string][] = [
    [one, '{phase: Pending}', '0/1', 'Pending'],
    [
      two,
      `{phase: Running, containerStatuses: [${running('a')}, ${running('b', false)}]}`,
      '1/2',
      'Running',
    ],
    [
      one,
      `{phase: Pending, containerStatuses: [${stateOf('{waiting: {reason: ImagePullBackOff}}')}]}`,
      '0/1',
      'ImagePullBackOff',
    ],
    [
      one,
      `{phase: Running, containerStatuses: [${stateOf('{waiting: {reason: CrashLoopBackOff}}')}]}`,
      '0/1',
      'CrashLoopBackOff',
    ],
    [
      one,
      `{phase: Succeeded, containerStatuses: [${stateOf('{terminated: {reason: Completed, exitCode: 0}}')}]}`,
      '0/1',
      'Completed',
    ],
    [
      one,
      `{phase: Failed, containerStatuses: [${stateOf('{terminated: {exitCode: 3}}')}]}`,
      '0/1',
      'ExitCode:3',
    ],
    [
      one,
      `{phase: Failed, containerStatuses: [${stateOf('{terminated: {exitCode: 137, signal: 9}}')}]}`,
      '0/1',
      'Signal:9',
    ],
    [one, '{phase: Failed, reason: Evicted}', '0/1', 'Evicted'],
    [
      one,
      '{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: SchedulingGated}]}',
      '0/1',
      'SchedulingGated',
    ],
    [
      init,
      `{phase: Pending, initContainerStatuses: [${stateOf('{running: {}}')}]}`,
      '0/1',
      'Init:0/2',
    ],
    [
      init,
      `{phase: Pending, initContainerStatuses: [${stateOf('{terminated: {exitCode: 1, reason: Error}}')}]}`,
      '0/1',
      'Init:Error',
    ],
    [
      init,
      `{phase: Pending, initContainerStatuses: [${stateOf('{terminated: {exitCode: 0}}')}, ${stateOf('{waiting: {reason: CrashLoopBackOff}}').replace('name: a', 'name: b')}]}`,
      '0/1',
      'Init:CrashLoopBackOff',
    ],
    [
      two,
      `{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [${stateOf('{terminated: {reason: Completed, exitCode: 0}}')}, ${running('b')}]}`,
      '1/2',
      'Running',
    ],
  ];
  for (const [spec, status, ready, word] of cases) {
    const object = decoded('Pod', `metadata: {name: web}\nspec: ${spec}\nstatus: ${status}`);
    const { Ready, Status } = cells('Pod', object);
    t.strictSame([Ready, Status], [ready, word], `${word} ${ready}`);
  }
  const going = decoded('Pod', `${gone}\nspec: ${one}\nstatus: {phase: Running}`);
  t.equal(cells('Pod', going).Status, 'Terminating');
  const lost = decoded('Pod', `${gone}\nspec: ${one}\nstatus: {phase: Running, reason: NodeLost}`);
  t.equal(cells('Pod', lost).Status, 'Unknown');

  const restarted = decoded(
    'Pod',
    `
metadata: {name: web, creationTimestamp: '${CREATED}'}
spec: {nodeName: pi4, containers: [{name: a, image: x}]}
status:
  phase: Running
  podIP: 10.42.0.7
  podIPs: [{ip: 10.42.0.7}]
  containerStatuses:
  - name: a
    image: x
    imageID: x
    ready: true
    restartCount: 3
    state: {running: {}}
    lastState: {terminated: {exitCode: 1, finishedAt: '2026-01-09T23:55:00Z'}}
`,
  );
  t.strictSame(cells('Pod', restarted), {
    Name: 'web',
    Ready: '1/1',
    Status: 'Running',
    Restarts: '3 (5m ago)',
    Age: '10m',
    IP: '10.42.0.7',
    Node: 'pi4',
    'Nominated Node': '<none>',
    'Readiness Gates': '<none>',
  });
});

t.test('the end of a pod waits only where something runs', async (t) => {
  const grace = (yaml: string, requested?: number) =>
    moduleOf('Pod').gracePeriodSeconds?.(decoded('Pod', yaml), requested);
  const bound = 'spec: {nodeName: pi4, terminationGracePeriodSeconds: 7, containers: []}';
  t.equal(grace('spec: {containers: []}'), 0, 'not bound');
  t.equal(grace('spec: {containers: []}', 60), 0, 'not bound, whatever was asked');
  t.equal(grace(bound), 7);
  t.equal(grace(bound, 0), 0);
  t.equal(grace(bound, 60), 60);
  t.equal(grace(bound, -1), 1);
  t.equal(grace(`${bound}\nstatus: {phase: Succeeded}`, 60), 0);
});
