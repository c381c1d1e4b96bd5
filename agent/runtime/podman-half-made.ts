/**
 * What a podman service leaves that is killed while it makes a container: it may have it in its storage and not in its own
 * list. Nobody lists it, it does not run, and its name is taken for good.
 */
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
