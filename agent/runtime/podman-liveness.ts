/**
 * Containers that podman believes to run although they do not: when a container's conmon was killed with it, nobody
 * tells libpod of the end, and its database says "running" for ever. One small read per running container,
 * no forks; only a suspect costs calls. A container that has just ended by itself is no such case: its
 * conmon, or the cleanup that conmon turns into, still lives, and podman will tell of the end.
 */
import type { ReadText } from '../host/cgroup.ts';
import { asArray, asNumber, asObject, asText, type JsonObject } from './json-read.ts';
import { EngineHttpError } from './podman-http.ts';
import { KILLED } from './podman-read.ts';
import type { Container } from './runtime.ts';

/** "stopping" is for ever, too, when podman was killed while it waited for the end. */
const SAID_TO_LIVE: ReadonlySet<string | undefined> = new Set(['running', 'stopping']);
/** A pod's containers can be refused once, its infra container once after them, then it goes. */
const ATTEMPTS = 3;

/** `State` of `GET /libpod/containers/ID/json`; empty when there is no such container. */
type InspectState = (id: string) => Promise<JsonObject>;

/** Ids of the dead among the answer of `GET /libpod/containers/json`. */
export async function findDead(
  readText: ReadText,
  containers: unknown,
  inspectState: InspectState,
): Promise<ReadonlySet<string>> {
  const dead = new Set<string>();
  const look = async (value: unknown): Promise<void> => {
    const entry = asObject(value);
    const id = asText(entry.Id);
    if (id === undefined || !SAID_TO_LIVE.has(asText(entry.State))) return;
    // The cgroup's name holds the container's id, so a process id that was given away is seen as well.
    if (await mentions(readText, entry.Pid, 'cgroup', id)) return;
    const state = await inspectState(id);
    if (await mentions(readText, state.ConmonPid, 'cmdline', id)) return;
    // Asked again, because conmon may have told of the end between the list and its own death.
    const again = await inspectState(id);
    if (SAID_TO_LIVE.has(asText(again.Status)) && again.Pid === entry.Pid) dead.add(id);
  };
  await Promise.all(asArray(containers).map(look));
  return dead;
}

async function mentions(
  readText: ReadText,
  pid: unknown,
  file: 'cgroup' | 'cmdline',
  id: string,
): Promise<boolean> {
  const number = asNumber(pid) ?? 0;
  return number > 0 && (await readText(`/proc/${number}/${file}`))?.includes(id) === true;
}

/** How such a container is told: ended, time unknown. */
export function asKilled(container: Container): Container {
  return { ...container, state: 'exited', exitCode: KILLED, oomKilled: false };
}

/**
 * A call that stops or removes. podman 5 answers 500 ("conmon exited prematurely") the first time it finds a
 * container's conmon dead, and thereby learns that the container has ended: the same call again gets further. Found
 * with podman 5.4; podman 4.3 needs one attempt. Throws what the last attempt threw.
 */
export async function insistently<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      const refused = error instanceof EngineHttpError && (error.status ?? 0) >= 500;
      if (!refused || attempt >= ATTEMPTS) throw error;
    }
  }
}
