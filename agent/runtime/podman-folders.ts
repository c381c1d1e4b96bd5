/**
 * Folders of containers that podman has forgotten: its storage first strikes a container off its list and then removes what it had on the
 * disk, logs included. With what is mounted in them.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unmountMemory } from '../host/memory-mount.ts';
import { asArray, asObject, asText } from './json-read.ts';
import type { Get } from './podman-http.ts';
import type { StrayKind } from './podman-strays.ts';

const ID = /^[0-9a-f]{64}$/;

export function strayFolders(get: Get): StrayKind {
  return {
    async find() {
      const { graphRoot, runRoot, graphDriverName } = asObject(
        asObject(await get('/info', {})).store,
      );
      const folders: string[] = [];
      for (const root of [asText(graphRoot), asText(runRoot)]) {
        if (root === undefined) continue;
        const parent = join(root, `${asText(graphDriverName)}-containers`);
        const names = await readdir(parent).catch(() => []);
        folders.push(...names.filter((name) => ID.test(name)).map((name) => join(parent, name)));
      }
      // After the folders: what podman makes meanwhile is in this list. With containers of others, as buildah's.
      const all = asArray(await get('/containers/json', { all: true, external: true }));
      const known = new Set(all.map((entry) => asText(asObject(entry).Id)));
      return folders.filter((folder) => !known.has(folder.slice(folder.lastIndexOf('/') + 1)));
    },
    async remove(folder) {
      await unmountMemory(folder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
