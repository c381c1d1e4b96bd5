/** What podman's containers use: from their cgroups' files; from libpod where there are none to be read. */
import { type CgroupVersion, cgroupVersion, readCgroupUsage } from '../host/cgroup.ts';
import { readText } from '../host/read-text.ts';
import { asArray, asNumber, asObject, asText } from './json-read.ts';
import type { Get } from './podman-http.ts';
import type { ContainerStats } from './runtime.ts';

export class PodmanStats {
  readonly #get: Get;
  #cgroupPaths = new Map<string, string>();
  #version: CgroupVersion | undefined;

  constructor(get: Get) {
    this.#get = get;
  }

  /** Of these running containers; one that ended meanwhile is left out. */
  async read(ids: readonly string[]): Promise<ContainerStats[]> {
    this.#version ??= await cgroupVersion(readText);
    const version = this.#version;
    const paths = new Map<string, string>();
    const missing: string[] = [];
    const stats: ContainerStats[] = [];
    const readOne = async (id: string): Promise<void> => {
      const path = await this.#cgroupPath(id);
      if (path !== undefined) paths.set(id, path);
      const usage = path === undefined ? undefined : await readCgroupUsage(readText, version, path);
      if (usage === undefined) missing.push(id);
      else stats.push({ containerId: id, ...usage });
    };
    await Promise.all(ids.map(readOne));
    this.#cgroupPaths = paths;
    return missing.length === 0 ? stats : [...stats, ...(await this.#ask(missing))];
  }

  async #cgroupPath(id: string): Promise<string | undefined> {
    const known = this.#cgroupPaths.get(id);
    if (known !== undefined) return known;
    const inspected = asObject(await this.#get(`/containers/${id}/json`, {}));
    const path = asText(asObject(inspected.State).CgroupPath);
    return path === '' ? undefined : path;
  }

  async #ask(ids: readonly string[]): Promise<ContainerStats[]> {
    const query = { stream: false, containers: ids.join(',') };
    const answer = await this.#get('/containers/stats', query);
    return asArray(asObject(answer).Stats)
      .map(asObject)
      .flatMap((entry) => {
        const containerId = asText(entry.ContainerID);
        if (containerId === undefined) return [];
        const cpuNanos = asNumber(entry.CPUNano) ?? 0;
        return [{ containerId, cpuNanos, memoryBytes: asNumber(entry.MemUsage) ?? 0 }];
      });
  }
}
