/** All kinds of things that killed services leave, looked for together. */
import { strayConmons } from './podman-conmons.ts';
import { strayFolders } from './podman-folders.ts';
import { strayHalfMade } from './podman-half-made.ts';
import type { Get } from './podman-http.ts';
import { strayNamespaces } from './podman-netns.ts';
import { PodmanStrays } from './podman-strays.ts';

export interface RepairCalls {
  readonly get: Get;
  /** Removes a container by force. */
  readonly remove: (id: string) => Promise<unknown>;
  /** Whether a pod, by podman's id, is or was ours. */
  readonly isOurs: (podId: string) => Promise<boolean>;
}

export function podmanStrays({ get, remove, isOurs }: RepairCalls): PodmanStrays {
  return new PodmanStrays([
    strayNamespaces(get),
    strayHalfMade(get, remove),
    strayConmons(get, isOurs),
    strayFolders(get),
  ]);
}
