/**
 * Containers that podman has forgotten while they are being started: a service that is killed between runc's "create" and its own note of
 * it believes that the container was never made. It can then neither start it, for runc has it already, nor remove it whole, for it does
 * that without runc: conmon stays, with a process that waits to be started.
 */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ReadText } from '../host/cgroup.ts';
import { readText as readFile } from '../host/read-text.ts';
import { asArray, asObject } from './json-read.ts';
import type { Get } from './podman-http.ts';
import type { StrayKind } from './podman-strays.ts';
import { RuntimeError } from './runtime.ts';

const run = promisify(execFile);
const DELETE_MS_MAX = 30_000;
const IN_THE_WAY = /container with given ID already exists/i;

export interface ConmonPlace {
  readonly readText: ReadText;
  /** All process ids of the board. */
  readonly pids: () => Promise<readonly string[]>;
  /** SIGKILL to a process whose command line holds these words. */
  readonly kill: (pid: number, words: string) => Promise<unknown>;
  /** Runs the OCI runtime to its end; throws what it said. */
  readonly runtime: (program: string, args: readonly string[]) => Promise<unknown>;
}

const THIS_BOARD: ConmonPlace = {
  readText: readFile,
  pids: async () => (await readdir('/proc')).filter((name) => /^\d+$/.test(name)),
  async kill(pid, words) {
    const isStill = (await readFile(`/proc/${pid}/cmdline`))?.includes(words) === true;
    if (isStill) process.kill(pid, 'SIGKILL');
  },
  runtime: (program, args) => run(program, [...args], { timeout: DELETE_MS_MAX }),
};

interface Conmon {
  readonly pid: number;
  /** Of the container. */
  readonly id: string;
  /** The OCI runtime's program. */
  readonly runtime: string;
}

/** Starts a container, and once more when a start that was cut off is in its way. Throws what the last attempt threw. */
export async function startDespiteRemains(
  start: () => Promise<unknown>,
  id: string,
  place = THIS_BOARD,
): Promise<void> {
  try {
    await start();
  } catch (error) {
    if (!(error instanceof RuntimeError && IN_THE_WAY.test(error.message))) throw error;
    const inTheWay = (await conmonsOf(place)).filter((conmon) => conmon.id === id);
    for (const conmon of inTheWay) await end(conmon, place);
    await start();
  }
}

/** Only in pods of ours: `isOurs` takes a pod's id. Names are ids of containers. */
export function strayConmons(
  get: Get,
  isOurs: (podId: string) => Promise<boolean>,
  place = THIS_BOARD,
): StrayKind {
  /** The strays that were found last, by their containers. */
  let strays = new Map<string, Conmon>();
  return {
    async find() {
      // Before the list: what podman makes after it is not looked at.
      const conmons = new Map<string, Conmon>();
      for (const conmon of await conmonsOf(place)) {
        const podId = await podOf(conmon, place);
        if (podId !== undefined && (await isOurs(podId))) conmons.set(conmon.id, conmon);
      }
      for (const entry of asArray(await get('/containers/json', { all: true }))) {
        conmons.delete(String(asObject(entry).Id));
      }
      strays = conmons;
      return [...conmons.keys()];
    },
    async remove(id) {
      const stray = strays.get(id);
      if (stray !== undefined) await end(stray, place);
    },
  };
}

async function end({ pid, id, runtime }: Conmon, place: ConmonPlace): Promise<void> {
  // First: it would tell podman of the container's end, which the next one of this id would be taken for.
  await place.kill(pid, id);
  await place.runtime(runtime, ['delete', '--force', id]);
}

async function conmonsOf({ readText, pids }: ConmonPlace): Promise<Conmon[]> {
  const found: Conmon[] = [];
  for (const pid of await pids()) {
    const conmon = readConmon(Number(pid), (await readText(`/proc/${pid}/cmdline`)) ?? '');
    if (conmon !== undefined) found.push(conmon);
  }
  return found;
}

/** By its command line, as in /proc; undefined when it is not conmon's. */
function readConmon(pid: number, commandLine: string): Conmon | undefined {
  const words = commandLine.split('\0');
  const after = (flag: string): string => words[words.indexOf(flag, 1) + 1] ?? '';
  const id = after('-c');
  const isConmon = words[0]?.split('/').at(-1) === 'conmon' && /^[0-9a-f]{64}$/.test(id);
  return isConmon && words.includes('-r') ? { pid, id, runtime: after('-r') } : undefined;
}

/** By podman's names for the control groups of pods, its own and those of systemd. */
async function podOf({ pid }: Conmon, { readText }: ConmonPlace): Promise<string | undefined> {
  // podman moves conmon into the pod's group after its start; what conmon starts is made in there.
  const children = (await readText(`/proc/${pid}/task/${pid}/children`)) ?? '';
  for (const process of [pid, ...children.split(' ').filter(Boolean)]) {
    const cgroups = (await readText(`/proc/${process}/cgroup`)) ?? '';
    const podId = /\/(?:libpod_parent\/|machine-libpod_pod_)([0-9a-f]{64})/.exec(cgroups)?.[1];
    if (podId !== undefined) return podId;
  }
  return undefined;
}
