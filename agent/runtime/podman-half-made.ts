/**
 * What a podman service leaves that is killed while it makes a container: it may have it in its storage and not in its own
 * list. Nobody lists it, it does not run, and its name is taken for good. The next try under this name takes it away; when there is none,
 * as for a pod's infra container, which is named by the pod's id, or for a pod that was deleted meanwhile, it is a stray.
 */
import { asArray, asObject, asText } from './json-read.ts';
import { PAUSE_IMAGE } from './pause-image.ts';
import type { Get } from './podman-http.ts';
import { EngineHttpError } from './podman-http.ts';
import type { StrayKind } from './podman-strays.ts';
import { RuntimeError } from './runtime.ts';

/** The id of such a container, in whose way the new one is not made; undefined for any other error. */
function halfMadeId(error: unknown): string | undefined {
  if (!(error instanceof RuntimeError)) return undefined;
  return /container name "[^"]+" is already in use by "?([0-9a-f]{12,64})/.exec(error.message)?.[1];
}

/** Makes a container, and once more when the remains of an earlier try had its name; `remove` takes their id. */
export async function createDespiteRemains(
  create: () => Promise<unknown>,
  remove: (id: string) => Promise<unknown>,
): Promise<unknown> {
  try {
    return await create();
  } catch (error) {
    const id = halfMadeId(error);
    if (id === undefined) throw error;
    await remove(id);
    return create();
  }
}

/**
 * For a look at one container: undefined when podman was killed while it removed it, so that storage has nothing of it any more. One
 * that is broken in this way must not hide all others from a listing. Any other error is thrown.
 */
export function allowHalfGone(error: unknown): undefined {
  const isHalfGone = /\b(?:layer|container) not known\b/.test(String(error));
  if (error instanceof EngineHttpError && isHalfGone) return undefined;
  throw error;
}

/** Of those in storage only ours: others may keep such containers there on purpose, as buildah does. */
export function strayHalfMade(get: Get, remove: (id: string) => Promise<unknown>): StrayKind {
  return {
    async find() {
      const all = asArray(await get('/containers/json', { all: true, external: true }));
      return all.map(asObject).flatMap(({ Id, Names, Image, State, Command }) => {
        const isForgotten = State === 'storage' && asText(asArray(Command)[0]) === 'storage';
        const name = asText(asArray(Names)[0]) ?? '';
        const isOurs =
          name.startsWith('k8s_') || (name.endsWith('-infra') && Image === PAUSE_IMAGE);
        return isForgotten && isOurs ? (asText(Id) ?? []) : [];
      });
    },
    remove,
  };
}
