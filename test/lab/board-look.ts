/** What a board holds that none of its pods explains: folders, network namespaces, cables, mounts. What its engine holds adds to it. */
import type { Pod } from '../../protocol/kinds/types.ts';
import type { Board } from './board.ts';

const AGENT_DATA = '/var/lib/pier/agent';
/** Each has an entry for each pod, by its uid. */
const OF_PODS = [...[`${AGENT_DATA}/pods`, '/run/pier/agent/pods', '/run/pier/hosts']];
/** One name a line, each with its folder. */
const LOOK = `
list() { for d in "$@"; do [ -d "$d" ] && ls -A "$d" | sed "s|^|$d |"; done; true; }
list /run/netns ${AGENT_DATA}/volumes ${OF_PODS.join(' ')}
list /proc | grep '^/proc [0-9]'
ip -o link show type veth | sed 's|^|veth |'
sed 's|^|mount |' /proc/self/mountinfo | grep -vF -f "$1"
`;
/** A board begins with a copy of this machine's mounts, also of those that other tests leave: each has a number of its own. */
const MOUNTS_BEFORE = '/run/mounts-before';

/** A container of a pod, as the engine tells it. */
export interface ContainerLook {
  readonly id: string;
  readonly podUid: string;
  readonly name: string;
  readonly state: string;
}

export class BoardLook {
  readonly found: string[] = [];
  readonly #listed = new Map<string, string[]>();

  private constructor(lines: readonly string[]) {
    for (const line of lines) {
      const at = line.indexOf(' ');
      const kind = line.slice(0, at);
      const names = this.#listed.get(kind) ?? [];
      names.push(line.slice(at + 1));
      this.#listed.set(kind, names);
    }
  }

  /** To be called before anything runs on the board. */
  static async prepare(board: Board): Promise<void> {
    const numbers = `cut -d' ' -f1-2 /proc/self/mountinfo | sed 's/.*/mount & /'`;
    await board.exec('sh', ['-c', `${numbers} >${MOUNTS_BEFORE}`]);
  }

  /** `more` is a script that prints more lines, of a kind and a name each; it may call `list FOLDER...`. */
  static async at(board: Board, more: string): Promise<BoardLook> {
    const words = await board.exec('sh', ['-c', `${LOOK}${more}`, 'look', MOUNTS_BEFORE]);
    return new BoardLook(words.split('\n').filter(Boolean));
  }

  list(kind: string): readonly string[] {
    return this.#listed.get(kind) ?? [];
  }

  kinds(): Iterable<string> {
    return this.#listed.keys();
  }

  say(text: string): void {
    this.found.push(text);
  }

  only(kind: string, known: ReadonlySet<string>, counts = (_: string) => true): void {
    for (const name of this.list(kind).filter(counts)) {
      if (!known.has(name)) this.say(`${kind} holds ${name}`);
    }
  }

  counted(what: string, count: number, expected: number): void {
    if (count !== expected) this.say(`${count} ${what}, not ${expected}`);
  }

  mounted(pattern: RegExp): number {
    return this.#points().filter((point) => pattern.test(point)).length;
  }

  /** Folders of pods; `volumes` are those of claims. */
  checkPods(pods: readonly Pod[], volumes: readonly string[]): void {
    const uids = new Set(pods.map(uidOf));
    for (const folder of OF_PODS) this.only(folder, uids);
    this.only(`${AGENT_DATA}/volumes`, new Set(volumes));
    for (const point of this.#points()) {
      const uid = /^\/run\/pier\/agent\/pods\/([^/]+)/.exec(point)?.[1];
      if (uid !== undefined && !uids.has(uid)) this.say(`${point} is mounted`);
    }
  }

  /** Addresses, network namespaces and cables; `mounted` matches the mount points of namespaces. */
  checkNetworks(pods: readonly Pod[], mounted: RegExp): void {
    const networked = pods.filter(isNetworked);
    const addresses = new Set(networked.map(({ status }) => status?.podIP ?? ''));
    this.counted('addresses of pods, each once', addresses.size, networked.length);
    this.counted('network namespaces', this.list('/run/netns').length, networked.length);
    // Its own cable is one, too.
    this.counted('cables of pods', this.list('veth').length - 1, networked.length);
    this.counted('namespaces mounted', this.mounted(mounted), networked.length);
  }

  /** Each of a pod's containers runs once, and at most one before it is kept for its log. */
  checkContainers(containers: readonly ContainerLook[], pods: readonly Pod[]): void {
    const uids = new Set(pods.map(uidOf));
    const states = new Map<string, string[]>();
    for (const { id, podUid, name, state } of containers) {
      if (!uids.has(podUid)) this.say(`container ${id} (${state}) belongs to ${podUid}`);
      const key = `${podUid}/${name}`;
      states.set(key, [...(states.get(key) ?? []), state]);
    }
    for (const pod of pods) {
      for (const { name } of pod.spec?.containers ?? []) {
        // Sorted: exited comes before running.
        const found = (states.get(`${uidOf(pod)}/${name}`) ?? []).sort().join();
        if (found === 'running' || found === 'exited,running') continue;
        this.say(`containers of ${pod.metadata?.name}/${name}: ${found || 'none'}`);
      }
    }
  }

  /** The engine's pods are just these, each once. */
  checkSandboxes(owners: readonly string[], pods: readonly Pod[]): void {
    const uids = pods.map(uidOf).sort().join(' ');
    const found = [...owners].sort().join(' ');
    if (found !== uids) this.say(`sandboxes of ${found}, pods ${uids}`);
  }

  /** Mounts below `/FOLDER/ID/`, as the pattern's first group names it, of containers that are gone. */
  checkMounts(pattern: RegExp, ids: ReadonlySet<string>): void {
    for (const point of this.#points()) {
      const id = pattern.exec(point)?.[1];
      if (id !== undefined && !ids.has(id)) this.say(`${point} is mounted`);
    }
  }

  #points(): string[] {
    return this.list('mount').map((line) => line.split(' ')[4] ?? '');
  }
}

export function isNetworked({ spec }: Pod): boolean {
  return spec?.hostNetwork !== true;
}

function uidOf({ metadata }: Pod): string {
  return metadata?.uid ?? '';
}
