/** The images that an engine keeps on the board's disk. podman and Docker tell alike; CRI has its own in `cri/`. */
import { asArray, asNumber, asObject, asText } from './json-read.ts';
import { EngineHttpError } from './podman-http.ts';
import { RuntimeError } from './runtime.ts';

export interface HeldImage {
  readonly id: string;
  /** `registry/path:tag`; none for what a newer image of the same name has replaced. */
  readonly tags: readonly string[];
  /** `registry/path@sha256:...`, for what a registry gave. */
  readonly digests: readonly string[];
  readonly sizeBytes: number;
  /** The engine was told to keep it. */
  readonly pinned: boolean;
}

export interface ImageStore {
  list(): Promise<HeldImage[]>;
  /** With all its names. No error when it is gone; throws RuntimeError while a container uses it. */
  remove(image: HeldImage): Promise<void>;
  /** Where they lie; undefined where this agent does not see it. */
  folder(): Promise<string | undefined>;
}

type Call = (method: string, path: string) => Promise<unknown>;

export function engineImages(call: Call, folder: ImageStore['folder']): ImageStore {
  const remove = async (name: string): Promise<void> => {
    try {
      await call('DELETE', `/images/${encodeURIComponent(name)}`);
    } catch (error) {
      if (!(error instanceof EngineHttpError && error.status === 404)) throw error;
    }
  };
  return {
    folder,
    list: async () => asArray(await call('GET', '/images/json')).map(readImage),
    remove: async ({ id, tags }) => {
      // By its id an image of several names goes only by force, which would take containers along.
      for (const name of tags.length === 0 ? [id] : tags) await remove(name);
    },
  };
}

function readImage(entry: unknown): HeldImage {
  const { Id, RepoTags, RepoDigests, Size } = asObject(entry);
  const id = asText(Id)?.replace(/^sha256:/, '');
  if (id === undefined) throw new RuntimeError('the engine listed an image without an id');
  return {
    id,
    tags: names(RepoTags),
    digests: names(RepoDigests),
    sizeBytes: asNumber(Size) ?? 0,
    pinned: false,
  };
}

/** Docker writes `<none>` for what has no name. */
function names(list: unknown): string[] {
  return asArray(list).flatMap((name) =>
    typeof name === 'string' && !name.includes('<none>') ? [name] : [],
  );
}
