/** Rebalancing on real boards: the last claim of fleet.test.ts. */
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { Deployment, Node, Pod } from '../../protocol/kinds/types.ts';
import type { Lab } from '../lab/lab.ts';
import { type BoardKubectl, KUBECONFIG } from '../support/board-kubectl.ts';
import { demoContainer, demoPod, nodePortService } from '../support/demo-manifests.ts';
import { runCommand } from '../support/kubectl.ts';

const CLI = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'dist/pier.mjs');
const NODE_PORT = 30_081;

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
}

/** Three pods on board2 and two on board3, which may go to board2. board1 is cordoned: there is one plan, however busy this machine is. */
export async function rebalanced(t: Test, { lab, kubectl }: Place): Promise<void> {
  await kubectl.ok('delete', 'service/web', 'deployment/web');
  await kubectl.ok('wait', '--for=delete', 'pods', '-l', 'app=web', '--timeout=60s');
  await kubectl.ok('cordon', 'board1', 'board3');
  await kubectl.apply(movable(3), nodePortService('movable', 'movable', NODE_PORT), budget(5));
  await untilReady(lab, kubectl, 3);
  await kubectl.ok('cordon', 'board2');
  await kubectl.ok('uncordon', 'board3');
  await kubectl.ok('scale', 'deployment/movable', '--replicas=5');
  await untilReady(lab, kubectl, 5);
  await kubectl.ok('uncordon', 'board2');
  const before = await readyPods(kubectl);
  const [stay, go] = ['board2', 'board3'].map((board) => before.filter((pod) => isOn(pod, board)));
  t.same([stay?.length, go?.length], [3, 2]);

  const words = () =>
    lab.board(1).exec(process.execPath, [CLI, 'rebalance', '--kubeconfig', KUBECONFIG]);
  await lab.until('the budget keeps both boards in use', async () => {
    const shown = await words();
    return /^No board can be freed/.test(shown) || shown;
  });
  t.match(
    await words(),
    /^board3 +default\/movable-\S+ stays: its disruption budget allows none$/m,
  );
  await kubectl.apply(budget(4));
  await lab.until('a board can be freed', async () => {
    const shown = await words();
    return /^Board board3 would be free after these moves:/.test(shown) || shown;
  });
  const shown = await words();
  for (const { metadata } of go ?? []) {
    t.match(shown, new RegExp(`^default/${metadata?.name} +board2$`, 'm'), 'where it would go');
  }
  t.match(shown, /^The master moves nothing/m);
  t.same((await readyPods(kubectl)).map(uidOf), before.map(uidOf), 'and nothing has moved');

  const client = new AbortController();
  const watching = missed(lab, client.signal);
  await lab.end(1, 'master', 'SIGTERM');
  await lab.startMaster(['--rebalance', 'move', '--rebalance-pause', '1']);
  let fewest = before.length;
  await lab.until('board3 is free', async () => {
    const pods = await readyPods(kubectl);
    fewest = Math.min(fewest, pods.length);
    const places = pods.map(({ spec }) => spec?.nodeName);
    return (places.length === 5 && places.every((one) => one === 'board2')) || places.join(' ');
  });
  t.ok(fewest >= 4, `${fewest} pods were ready at least: the budget holds`);
  await lab.until('its taint is gone', async () => {
    const { spec } = await kubectl.get<Node>('node', 'board3');
    return (spec?.taints ?? []).length === 0 || JSON.stringify(spec?.taints);
  });
  client.abort();
  t.same(await watching, [], 'every request was answered meanwhile');
  const after = (await readyPods(kubectl)).map(uidOf);
  t.ok(
    stay?.every((pod) => after.includes(uidOf(pod))),
    'who was there already stayed',
  );
  const events = await kubectl.ok('get', 'events');
  for (const { metadata } of go ?? []) {
    const line = `Normal +Rebalanced +pod/${metadata?.name} +Evicted so that board board3 becomes free`;
    t.match(events, new RegExp(line));
  }
}

/** A pod that is told to end serves for a second more: by then every proxy knows. */
function movable(replicas: number): Deployment {
  const labels = { app: 'movable' };
  const lifecycle = { preStop: { exec: { command: ['sleep', '1'] } } };
  const main = {
    ...demoContainer('main'),
    lifecycle,
    readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
  };
  const { spec } = demoPod('movable', { terminationGracePeriodSeconds: 5, containers: [main] });
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'movable' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, ...(spec === undefined ? {} : { spec }) },
    },
  };
}

function budget(minAvailable: number): object {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: 'movable' },
    spec: { minAvailable, selector: { matchLabels: { app: 'movable' } } },
  };
}

/** Asks the node port of board 1 over and over until the signal; resolves with what went wrong. */
async function missed(lab: Lab, signal: AbortSignal): Promise<string[]> {
  const board = lab.board(1);
  const url = `http://${board.address}:${NODE_PORT}/`;
  const wrong: string[] = [];
  while (!signal.aborted) {
    const command = ['curl', '-sS', '--max-time', '5', url];
    const { stdout, stderr } = await runCommand('nsenter', [...board.enter(), ...command]);
    if (!stdout.startsWith('Hello from movable-')) wrong.push(`${stdout}${stderr}`);
    await sleep(50);
  }
  return wrong;
}

async function readyPods(kubectl: BoardKubectl): Promise<Pod[]> {
  const pods = await kubectl.list<Pod>('pods', '-l', 'app=movable');
  return pods.filter(({ metadata, status }) => {
    const ready = status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');
    return ready === true && metadata?.deletionTimestamp === undefined;
  });
}

async function untilReady(lab: Lab, kubectl: BoardKubectl, wanted: number): Promise<void> {
  await lab.until(`${wanted} pods are ready`, async () => {
    const { length } = await readyPods(kubectl);
    return length === wanted || `${length} are`;
  });
}

function isOn({ spec }: Pod, board: string): boolean {
  return spec?.nodeName === board;
}

function uidOf({ metadata }: Pod): string {
  return metadata?.uid ?? '';
}
