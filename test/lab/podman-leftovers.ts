/**
 * What a board with podman holds that none of its pods explains: also containers, addresses, processes and control groups. An empty control
 * group of a container is counted when its pod is gone: until then it lies in that of its pod.
 */
import type { Pod } from '../../protocol/kinds/types.ts';
import type { Board } from './board.ts';
import { BoardLook, isNetworked } from './board-look.ts';
import { boardProcesses } from './board-processes.ts';
import type { Leftovers } from './leftovers.ts';

interface PodmanPod {
  readonly Id: string;
  readonly Labels: Readonly<Record<string, string>> | null;
}

interface PodmanContainer extends PodmanPod {
  readonly State: string;
  /** In the board; what podman knows of it. */
  readonly Pid: number;
  readonly IsInfra: boolean;
}

const STORAGE = '/var/lib/containers/storage';
const HOLDERS = [`${STORAGE}/overlay-containers`, '/run/containers/storage/overlay-containers'];
/** podman makes them where `ip netns` has its own, by names of its own. */
const NAMESPACES = /^\/run\/netns\/netns-/;
const EVENTS = '/run/libpod/events/events.log';
/** Of each address that is given away there is a file, without netavark. */
const CNI = '/var/lib/cni/networks/';
const LOOK = `
list ${HOLDERS.join(' ')} ${CNI}*
find /sys/fs/cgroup -type d -path '*/libpod_parent/*' -prune | sed 's|^|cgroup |'
[ ! -f ${EVENTS} ] || sed -n 's/.*"ID":"\\([0-9a-f]*\\)".*/id \\1/p' ${EVENTS}
`;

export class PodmanLeftovers implements Leftovers {
  readonly #board: Board;
  readonly #env: NodeJS.ProcessEnv;
  /** All pods and containers of the board that were ever known: control groups of others are not ours to judge. */
  readonly #seen = new Set<string>();

  constructor(board: Board, env: NodeJS.ProcessEnv) {
    this.#board = board;
    this.#env = env;
  }

  async find(pods: readonly Pod[], volumes: readonly string[]): Promise<string[]> {
    const [containers, sandboxes, look, { own, contained }] = await Promise.all([
      this.#podman<PodmanContainer>('ps', '-a', '--external'),
      this.#podman<PodmanPod>('pod', 'ps'),
      BoardLook.at(this.#board, LOOK),
      boardProcesses(this.#board),
    ]);
    for (const { Id } of [...containers, ...sandboxes]) this.#seen.add(Id);
    for (const id of look.list('id')) this.#seen.add(id);
    const ids = new Set(containers.map(({ Id }) => Id));
    const processes = new Set(look.list('/proc'));
    // Whose conmon was killed with it is dead, and podman believes that it runs, until it is removed: its mounts stay as long.
    const believed = containers.filter(({ State }) => State === 'running');
    const running = believed.filter(({ Pid }) => processes.has(String(Pid)));
    const runningIds = new Set(running.map(({ Id }) => Id));

    look.checkPods(pods, volumes);
    look.checkNetworks(pods, NAMESPACES);
    look.checkSandboxes(sandboxes.map(ownerOf), pods);
    const stateOf = ({ Id, State }: PodmanContainer) =>
      State === 'running' && !runningIds.has(Id) ? 'exited' : State;
    for (const container of containers.filter(({ IsInfra }) => IsInfra)) {
      const state = stateOf(container);
      if (state !== 'running') look.say(`the pause container ${container.Id} is ${state}`);
    }
    const told = containers.filter(({ IsInfra }) => !IsInfra);
    look.checkContainers(
      told.map((container) => ({
        id: container.Id,
        podUid: ownerOf(container),
        name: container.Labels?.['pier.local/container-name'] ?? '',
        state: stateOf(container),
      })),
      pods,
    );

    // Beside them lie lists, and pieces of a list that podman was writing when it was killed.
    const isContainer = (name: string) => /^[0-9a-f]{64}$/.test(name);
    for (const kind of HOLDERS) look.only(kind, ids, isContainer);
    checkAddresses(look, pods);
    look.counted(
      'root file systems mounted',
      look.mounted(/\/overlay\/[^/]+\/merged$/),
      believed.length,
    );
    look.checkMounts(/\/overlay-containers\/([0-9a-f]{64})\//, ids);

    // Not the other way round: a container whose conmon alone was killed runs on, and podman lets it.
    for (const { words } of own) {
      const id = / -c ([0-9a-f]{64}) /.exec(words)?.[1];
      if (id !== undefined && !runningIds.has(id)) look.say(`conmon of ${id} lives`);
    }
    look.counted('containers that run', contained.length, running.length);
    this.#checkGroups(look, new Set(sandboxes.map(({ Id }) => Id)));
    return look.found;
  }

  #checkGroups(look: BoardLook, podIds: ReadonlySet<string>): void {
    for (const path of look.list('cgroup')) {
      const id = path.split('/').at(-1) ?? '';
      if (this.#seen.has(id) && !podIds.has(id)) look.say(`${path} is of a pod that is gone`);
    }
  }

  async #podman<T>(...words: string[]): Promise<T[]> {
    const args = [...words, '--format', 'json'];
    return JSON.parse(await this.#board.exec('podman', args, { env: this.#env }));
  }
}

function checkAddresses(look: BoardLook, pods: readonly Pod[]): void {
  const networked = pods.filter(isNetworked);
  const addresses = networked.map(({ status }) => status?.podIP ?? '');
  for (const folder of look.kinds()) {
    if (!folder.startsWith(CNI)) continue;
    const taken = look.list(folder).filter((name) => /^\d+\.\d+\.\d+\.\d+$/.test(name));
    for (const ip of taken) if (!addresses.includes(ip)) look.say(`${ip} is taken by no pod`);
    look.counted('addresses taken', taken.length, networked.length);
  }
}

function ownerOf({ Labels }: PodmanPod): string {
  return Labels?.['pier.local/pod-uid'] ?? 'nobody';
}
