/**
 * What containers use, from the files of the cgroup that their first process is in; from the engine where those
 * cannot be read. The place of a container's cgroup is looked up once.
 */
import { type CgroupVersion, cgroupVersion, readCgroupUsage } from '../host/cgroup.ts';
import { readText } from '../host/read-text.ts';
import type { ContainerStats } from './runtime.ts';

export interface EngineStats {
  /** The container's first process; undefined when it does not run. */
  pidOf(id: string): Promise<number | undefined>;
  /** What the engine itself counts; undefined for one that does not run. */
  ask(id: string): Promise<ContainerStats | undefined>;
}

export class ProcessStats {
  readonly #engine: EngineStats;
  #paths = new Map<string, string>();
  #version: CgroupVersion | undefined;

  constructor(engine: EngineStats) {
    this.#engine = engine;
  }

  /** Of these containers; one that ended meanwhile is left out. */
  async read(ids: readonly string[]): Promise<ContainerStats[]> {
    this.#version ??= await cgroupVersion(readText);
    const version = this.#version;
    const paths = new Map<string, string>();
    const readOne = async (id: string): Promise<ContainerStats | undefined> => {
      const path = this.#paths.get(id) ?? (await this.#find(id, version));
      if (path !== undefined) {
        const usage = await readCgroupUsage(readText, version, path);
        if (usage !== undefined) {
          paths.set(id, path);
          return { containerId: id, ...usage };
        }
      }
      return this.#engine.ask(id);
    };
    const stats = await Promise.all(ids.map(readOne));
    this.#paths = paths;
    return stats.filter((one) => one !== undefined);
  }

  async #find(id: string, version: CgroupVersion): Promise<string | undefined> {
    const pid = await this.#engine.pidOf(id);
    const text = pid === undefined ? undefined : await readText(`/proc/${pid}/cgroup`);
    // A process id that was given away, or one of another process namespace, is seen by the name.
    return text?.includes(id) === true ? cgroupPath(text, version) : undefined;
  }
}

/** From `/proc/PID/cgroup`, lines of `number:controllers:path`. Exported for tests. */
export function cgroupPath(text: string, version: CgroupVersion): string | undefined {
  for (const line of text.split('\n')) {
    const [number, controllers = '', ...path] = line.split(':');
    const isIt =
      version === 2
        ? number === '0' && controllers === ''
        : controllers.split(',').includes('memory');
    if (isIt) return path.join(':');
  }
  return undefined;
}
