/** Network namespaces that podman has forgotten: with its mount and its cable. */
import { readdir, readlink, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { unmountMemory } from '../host/memory-mount.ts';
import { asArray, asObject, asText } from './json-read.ts';
import type { Get } from './podman-http.ts';
import type { StrayKind } from './podman-strays.ts';

/** podman's own; containerd's and people's are named otherwise. */
const NAME = /^netns-[0-9a-f-]{36}$/;
const FOLDER = '/run/netns';

/** One with a process in it is left alone. */
export function strayNamespaces(get: Get, folder = FOLDER): StrayKind {
  return {
    async find() {
      const names = (await readdir(folder).catch(() => [])).filter((name) => NAME.test(name));
      if (names.length === 0) return [];
      const used = new Set<string>();
      for (const entry of asArray(await get('/containers/json', { all: true }))) {
        const id = asText(asObject(entry).Id);
        const { NetworkSettings } = asObject(await get(`/containers/${id}/json`, {}));
        used.add(asText(asObject(NetworkSettings).SandboxKey)?.split('/').at(-1) ?? '');
      }
      return names.filter((name) => !used.has(name));
    },
    remove: (name) => removeNamespace(join(folder, name)),
  };
}

async function removeNamespace(path: string): Promise<void> {
  const link = `net:[${(await stat(path)).ino}]`;
  for (const entry of await readdir('/proc')) {
    const place = /^\d/.test(entry) ? readlink(`/proc/${entry}/ns/net`) : undefined;
    if ((await place?.catch(() => undefined)) === link) return;
  }
  await unmountMemory(path);
  await rm(path, { force: true });
}
