/**
 * What a board with podman holds that none of its pods explains: containers, network namespaces, mounts, addresses, folders,
 * processes, also by control group. Empty when all is as it should be. Empty control groups, which podman leaves when it is killed
 * while it removes a container, are not counted: they hold nothing, and a reboot takes them.
 */
import type { Pod } from '../../protocol/kinds/types.ts';
import type { Board } from './board.ts';
import { boardProcesses } from './board-processes.ts';

interface PodmanContainer {
  readonly Id: string;
  readonly State: string;
  /** In the board; what podman knows of it. */
  readonly Pid: number;
  readonly IsInfra: boolean;
  readonly Labels: Readonly<Record<string, string>> | null;
}

const AGENT_DATA = '/var/lib/pier/agent';
const STORAGE = '/var/lib/containers/storage';
/** One name a line, each with its folder. */
const LOOK = `
list() { for d in "$@"; do [ -d "$d" ] && ls -A "$d" | sed "s|^|$d |"; done; true; }
list /run/netns ${AGENT_DATA}/pods ${AGENT_DATA}/volumes /run/pier/agent/pods /run/pier/hosts
list ${STORAGE}/overlay-containers /run/containers/storage/overlay-containers /var/lib/cni/networks/*
list /proc | grep '^/proc [0-9]'
ip -o link show type veth | sed 's|^|veth |'
sed 's|^|mount |' /proc/self/mountinfo
find /sys/fs/cgroup -path '*/libpod-*/cgroup.procs' -exec grep -l . {} + | sed 's|^|cgroup |'
`;

/** Everything that a board shows, by kind. */
export interface BoardView {
  readonly containers: readonly PodmanContainer[];
  /** Uids by the labels of libpod's pods. */
  readonly sandboxes: readonly string[];
  readonly listed: ReadonlyMap<string, readonly string[]>;
  readonly conmons: readonly string[];
  readonly contained: number;
}

export async function viewBoard(board: Board, env: NodeJS.ProcessEnv): Promise<BoardView> {
  const listing = ['ps', '-a', '--external', '--format', 'json'];
  const [containers, pods, words, processes] = await Promise.all([
    board.exec('podman', listing, { env }).then(parse<PodmanContainer[]>),
    board
      .exec('podman', ['pod', 'ps', '--format', 'json'], { env })
      .then(parse<Array<Pick<PodmanContainer, 'Labels'>>>),
    board.exec('sh', ['-c', LOOK]),
    boardProcesses(board),
  ]);
  const listed = new Map<string, string[]>();
  for (const line of words.split('\n').filter(Boolean)) {
    const at = line.indexOf(' ');
    const kind = line.slice(0, at);
    listed.set(kind, [...(listed.get(kind) ?? []), line.slice(at + 1)]);
  }
  const conmons = processes.own.flatMap(
    ({ words }) => / -c ([0-9a-f]{64}) /.exec(words)?.[1] ?? [],
  );
  return {
    containers,
    sandboxes: pods.map(({ Labels }) => Labels?.['pier.local/pod-uid'] ?? 'a pod of somebody else'),
    listed,
    conmons,
    contained: processes.contained.length,
  };
}

/** `seen` holds the ids of all containers that were ever looked at: control groups of others are not ours to judge. */
export function leftovers(
  view: BoardView,
  pods: readonly Pod[],
  volumes: readonly string[],
  seen: ReadonlySet<string>,
): string[] {
  const found: string[] = [];
  const uids = new Set(pods.map(({ metadata }) => metadata?.uid ?? ''));
  const ids = new Set(view.containers.map(({ Id }) => Id));
  // Whose conmon was killed with it is dead, and podman believes that it runs, until it is removed: its mounts stay as long.
  const believed = view.containers.filter(({ State }) => State === 'running');
  const running = believed.filter((container) => stateOf(view, container) === 'running');
  const list = (kind: string): readonly string[] => view.listed.get(kind) ?? [];
  const only = (kind: string, known: ReadonlySet<string>): void => {
    for (const name of list(kind)) if (!known.has(name)) found.push(`${kind} holds ${name}`);
  };
  const counted = (what: string, count: number, expected: number): void => {
    if (count !== expected) found.push(`${count} ${what}, not ${expected}`);
  };

  found.push(...containerFaults(view, pods));
  only(`${AGENT_DATA}/pods`, uids);
  only('/run/pier/agent/pods', uids);
  only('/run/pier/hosts', uids);
  only(`${AGENT_DATA}/volumes`, new Set(volumes));
  const holders = (kind: string): void =>
    only(kind, new Set([...ids, 'containers.json', 'containers.lock', 'volatile-containers.json']));
  holders(`${STORAGE}/overlay-containers`);
  holders('/run/containers/storage/overlay-containers');

  const networked = pods.filter(({ spec }) => spec?.hostNetwork !== true);
  const addresses = networked.map(({ status }) => status?.podIP ?? '');
  counted('addresses of pods, each once', new Set(addresses).size, networked.length);
  counted('network namespaces', list('/run/netns').length, networked.length);
  // Its own cable is one, too.
  counted('cables of pods', list('veth').length - 1, networked.length);
  for (const [folder, names] of view.listed) {
    if (!folder.startsWith('/var/lib/cni/networks/')) continue;
    const taken = names.filter((name) => /^\d+\.\d+\.\d+\.\d+$/.test(name));
    for (const ip of taken) if (!addresses.includes(ip)) found.push(`${ip} is taken by no pod`);
    counted('addresses taken', taken.length, networked.length);
  }

  const points = list('mount').map((line) => line.split(' ')[4] ?? '');
  const mounted = (pattern: RegExp): number => points.filter((point) => pattern.test(point)).length;
  counted('root file systems mounted', mounted(/\/overlay\/[^/]+\/merged$/), believed.length);
  counted('network namespaces mounted', mounted(/^\/run\/netns\/netns-/), networked.length);
  for (const point of points) {
    const uid = /^\/run\/pier\/agent\/pods\/([^/]+)/.exec(point)?.[1];
    const id = /\/overlay-containers\/([0-9a-f]{64})\//.exec(point)?.[1];
    if (uid !== undefined && !uids.has(uid)) found.push(`${point} is mounted`);
    if (id !== undefined && !ids.has(id)) found.push(`${point} is mounted`);
  }

  // Not the other way round: a container whose conmon alone was killed runs on, and podman lets it.
  const runningIds = new Set(running.map(({ Id }) => Id));
  for (const id of view.conmons) if (!runningIds.has(id)) found.push(`conmon of ${id} lives`);
  counted('containers that run', view.contained, running.length);
  for (const path of list('cgroup')) {
    const id = /libpod-(?:conmon-)?([0-9a-f]{64})/.exec(path)?.[1] ?? '';
    if (seen.has(id) && !ids.has(id)) found.push(`${path} has processes`);
  }
  return found;
}

/** Each pod has its sandbox, each of its containers runs once, and at most one before it is kept for its log. */
function containerFaults(view: BoardView, pods: readonly Pod[]): string[] {
  const found: string[] = [];
  const uids = pods.map(({ metadata }) => metadata?.uid ?? '').sort();
  if (uids.join() !== [...view.sandboxes].sort().join()) {
    found.push(`sandboxes of ${view.sandboxes.join(' ')}, pods ${uids.join(' ')}`);
  }
  const groups = new Map<string, PodmanContainer[]>();
  for (const container of view.containers) {
    const { Id, IsInfra, Labels } = container;
    const State = stateOf(view, container);
    if (IsInfra) {
      if (State !== 'running') found.push(`the pause container ${Id} is ${State}`);
      continue;
    }
    const uid = Labels?.['pier.local/pod-uid'] ?? 'nobody';
    if (!uids.includes(uid)) found.push(`container ${Id} (${State}) belongs to ${uid}`);
    const key = `${uid}/${Labels?.['pier.local/container-name']}`;
    groups.set(key, [...(groups.get(key) ?? []), container]);
  }
  for (const { metadata, spec } of pods) {
    for (const { name } of spec?.containers ?? []) {
      const states = (groups.get(`${metadata?.uid}/${name}`) ?? [])
        .map((one) => stateOf(view, one))
        .sort();
      // Sorted: exited comes before running.
      if (!['running', 'exited,running'].includes(states.join())) {
        found.push(`containers of ${metadata?.name}/${name}: ${states.join(' ') || 'none'}`);
      }
    }
  }
  return found;
}

/** As podman tells it, but for what has no process any more. */
function stateOf(view: BoardView, { State, Pid }: PodmanContainer): string {
  const isAlive = view.listed.get('/proc')?.includes(String(Pid)) === true;
  return State === 'running' && !isAlive ? 'exited' : State;
}

function parse<T>(text: string): T {
  return JSON.parse(text);
}
