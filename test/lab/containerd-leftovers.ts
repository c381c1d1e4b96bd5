/**
 * What a board with containerd holds that none of its pods explains. What CRI tells is compared with what containerd has below it, with the
 * shims' folders and with the kernel.
 */
import { GrpcSocket } from '../../agent/runtime/cri/grpc.ts';
import { CRI } from '../../agent/runtime/cri/proto.ts';
import { readContainer, readSandbox } from '../../agent/runtime/cri/read.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import type { Board } from './board.ts';
import { CONTAINERD_ROOT, CONTAINERD_SOCKET } from './board-engine.ts';
import { BoardLook } from './board-look.ts';
import { boardProcesses } from './board-processes.ts';
import type { Leftovers } from './leftovers.ts';

const STATE = '/run/containerd';
const TASKS = 'io.containerd.runtime.v2.task/k8s.io';
const CRI_FOLDER = 'io.containerd.grpc.v1.cri';
/** An entry for each container that runs, by its id. */
const OF_RUNNING = [`${STATE}/${TASKS}`, `${CONTAINERD_ROOT}/${TASKS}`, `${STATE}/runc/k8s.io`];
const kept = (kind: string) => [
  `${STATE}/${CRI_FOLDER}/${kind}`,
  `${CONTAINERD_ROOT}/${CRI_FOLDER}/${kind}`,
];
const NAMESPACES = /^\/run\/netns\/cni-/;
/** Of its own program: an entry in CNI's folder is an address, or a result that is kept for the removal. */
const CNI = '/var/lib/cni/results';
const CTR = `ctr --address ${CONTAINERD_SOCKET} --namespace k8s.io`;
/** What a lease holds, containerd itself removes when the lease ends, after a day: so also what it was making when it was killed. */
const LEASES = {
  list: {
    path: '/containerd.services.leases.v1.Leases/List',
    request: {},
    answer: { leases: [1, [{ id: [1, 'string'] }]] },
  },
  resources: {
    path: '/containerd.services.leases.v1.Leases/ListResources',
    request: { id: [1, 'string'] },
    answer: { resources: [1, [{ id: [1, 'string'] }]] },
  },
} as const;
const HEADERS = { 'containerd-namespace': 'k8s.io' };
const LOOK = `
list ${[...OF_RUNNING, ...kept('sandboxes'), ...kept('containers'), CNI].join(' ')}
${CTR} containers ls -q | sed 's|^|container |'
${CTR} snapshots ls | sed -n 's|^\\([0-9a-f]*\\) .*Active.*|snapshot \\1|p'
find /sys/fs/cgroup -type d -path '*/pier/*' | sed 's|^|cgroup |'
`;

export class ContainerdLeftovers implements Leftovers {
  readonly #board: Board;
  readonly #log: () => Promise<string>;

  /** `log` is the engine's: each container that ever ran is named in it. Control groups of others are not ours to judge. */
  constructor(board: Board, log: () => Promise<string>) {
    this.#board = board;
    this.#log = log;
  }

  async find(pods: readonly Pod[], volumes: readonly string[]): Promise<string[]> {
    const [{ sandboxes, containers, leased }, look, { own, contained }, log] = await Promise.all([
      this.#listed(),
      BoardLook.at(this.#board, LOOK),
      boardProcesses(this.#board),
      this.#log(),
    ]);
    const running = containers.filter(({ state }) => state === 'running');
    const sandboxIds = new Set(sandboxes.map(({ id }) => id));
    const runningIds = new Set([...sandboxIds, ...running.map(({ id }) => id)]);
    const ids = new Set([...sandboxIds, ...containers.map(({ id }) => id)]);

    look.checkPods(pods, volumes);
    look.checkNetworks(pods, NAMESPACES);
    look.checkSandboxes(
      sandboxes.map(({ podUid }) => podUid),
      pods,
    );
    for (const { id, ready } of sandboxes) if (!ready) look.say(`the sandbox ${id} is not ready`);
    look.checkContainers(containers, pods);

    look.only('container', ids);
    look.only('snapshot', new Set([...ids, ...leased]));
    for (const folder of kept('sandboxes')) look.only(folder, sandboxIds);
    for (const folder of kept('containers')) look.only(folder, ids);
    for (const folder of OF_RUNNING) look.only(folder, runningIds);
    for (const name of look.list(CNI)) {
      if (![...sandboxIds].some((id) => name.includes(id))) look.say(`${CNI} holds ${name}`);
    }
    look.counted(
      'root file systems mounted',
      look.mounted(/\/k8s\.io\/[^/]+\/rootfs$/),
      runningIds.size,
    );
    look.checkMounts(/\/([0-9a-f]{64})\/(?:rootfs|shm)$/, runningIds);

    const shims = own.flatMap(({ words }) => / -id ([0-9a-f]{64}) /.exec(words)?.[1] ?? []);
    for (const id of shims) if (!sandboxIds.has(id)) look.say(`the shim of ${id} lives`);
    look.counted('shims', shims.length, sandboxIds.size);
    look.counted('containers that run', contained.length, runningIds.size);
    for (const path of look.list('cgroup')) {
      const id = path.split('/').at(-1) ?? '';
      // An empty one of a container that has ended goes with what is kept of it.
      if (log.includes(id) && !ids.has(id)) look.say(`${path} is of a container that is gone`);
    }
    return look.found;
  }

  async #listed() {
    const grpc = new GrpcSocket(`/proc/${this.#board.pid}/root${CONTAINERD_SOCKET}`);
    try {
      const [{ items }, { containers }] = await Promise.all([
        grpc.call(CRI.listPodSandbox, {}),
        grpc.call(CRI.listContainers, {}),
      ]);
      const { leases } = await grpc.call(LEASES.list, {}, { headers: HEADERS });
      const held = leases.map(({ id }) =>
        grpc.call(LEASES.resources, { id }, { headers: HEADERS }),
      );
      return {
        leased: (await Promise.all(held)).flatMap(({ resources }) => resources.map(({ id }) => id)),
        sandboxes: items.flatMap((item) => readSandbox(item) ?? []),
        containers: containers.flatMap((container) => readContainer(container) ?? []),
      };
    } finally {
      grpc.close();
    }
  }
}
