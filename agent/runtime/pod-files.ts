/** Files of each pod that replace the engine's own, in a folder that a reboot empties: sandboxes are made anew then. */
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostsFile } from './podman-spec.ts';
import type { SandboxSpec } from './runtime.ts';

export class PodFiles {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Readable by every user of the container. */
  async write(podUid: string, text: string): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o755 });
    await writeFile(this.#path(podUid), text);
    // Whatever the agent's umask is: a container's user must be able to read it.
    await chmod(this.#path(podUid), 0o644);
  }

  /** To be mounted into the pod's containers; undefined when there is none. */
  find(podUid: string): string | undefined {
    const path = this.#path(podUid);
    return existsSync(path) ? path : undefined;
  }

  async remove(podUid: string): Promise<void> {
    await rm(this.#path(podUid), { force: true });
  }

  #path(podUid: string): string {
    return `${this.#dir}/${podUid}`;
  }
}

/** The pod's /etc/hosts; one with the board's network has the board's first. */
export async function podHosts(spec: SandboxSpec): Promise<string> {
  return hostsFile(spec, spec.hostNetwork ? await readFile('/etc/hosts', 'utf8') : '');
}
