/**
 * What a containerd leaves that is killed while it starts or removes something. It finds the folder of a half-made task when it comes back,
 * and believes in the task. CRI then says that the container was never started, cannot start it ("already exists"), and removes it
 * without its task: shim, folder, mounts and control groups would stay until the next boot. A start that was cut off within runc leaves
 * control groups of which nothing else is known.
 */
import { EngineCgroups } from '../engine-cgroups.ts';
import { CONTAINERD } from './containerd-proto.ts';
import { type GrpcSocket, isAlreadyThere } from './grpc.ts';

const HEADERS = { 'containerd-namespace': 'k8s.io' };
const DELETE_MS_MAX = 15_000;
/** The group for what runs in our pods, unless systemd makes the groups. */
export const CGROUP_PARENT = 'pier';

export class CriRemains {
  readonly #grpc: GrpcSocket;
  readonly #cgroups: EngineCgroups;

  /** `runDir` is on a tmpfs. */
  constructor(grpc: GrpcSocket, runDir: string) {
    this.#grpc = grpc;
    this.#cgroups = new EngineCgroups(`${runDir}/cri-cgroups`, CGROUP_PARENT);
  }

  /** Starts a container. The task that was in its way goes, but CRI takes the container for ended: the next one is another. */
  async start(id: string, start: () => Promise<unknown>): Promise<void> {
    try {
      await start();
    } catch (error) {
      if (isAlreadyThere(error)) await this.#dropTask(id);
      throw error;
    }
  }

  /** Removes containers, or a sandbox with them, and what they have beside. Throws what the removal throws. */
  async removed(ids: readonly string[], remove: () => Promise<unknown>): Promise<void> {
    // Before: afterwards they cannot be named any more. An agent that has just been started has listed no containers yet.
    await this.#cgroups.note(ids).catch(() => undefined);
    for (const id of ids) await this.#dropTask(id);
    await remove();
    for (const id of ids) await this.#cgroups.remove(id);
  }

  /** Of all containers and sandboxes of ours. Never throws. */
  listed(ids: readonly string[]): Promise<void> {
    return this.#cgroups.look(ids);
  }

  /** Never throws: most often there is none, one that runs is refused, and other engines do not know the call. */
  async #dropTask(id: string): Promise<void> {
    const options = { headers: HEADERS, timeoutMs: DELETE_MS_MAX };
    await this.#grpc
      .call(CONTAINERD.deleteTask, { containerId: id }, options)
      .catch(() => undefined);
  }
}
