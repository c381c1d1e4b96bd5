/**
 * Where the OpenAPI documents come from: files that a build made ahead, which cost no memory while nobody asks; or, in
 * a clone that runs from its sources, made at the first question.
 *
 *     FOLDER/index.json             {"apis/apps/v1": "HASH", ...}
 *     FOLDER/apis.apps.v1.json.gz   the document
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApiEntry } from '../entries.ts';

export interface OpenApiSource {
  /** The hash of each document, by place: "api/v1", "apis/apps/v1". */
  hashes(): Promise<ReadonlyMap<string, string>>;
  /** A document compressed by gzip. Only for places that `hashes` has. */
  read(place: string): Promise<Buffer>;
}

/** Made at the first question, and kept compressed. */
export function openApiOf(entries: readonly ApiEntry[]): OpenApiSource {
  const make = async () => {
    // A built master does not even load the code.
    const { makeDocuments } = await import('./documents.ts');
    return makeDocuments(entries);
  };
  let made: ReturnType<typeof make> | undefined;
  const documents = () => {
    made ??= make();
    return made;
  };
  return {
    hashes: async () => new Map([...(await documents())].map(([place, { hash }]) => [place, hash])),
    async read(place) {
      const document = (await documents()).get(place);
      if (document === undefined) throw new Error(`no OpenAPI document for ${place}`);
      return document.gzip;
    },
  };
}

/** What `writeOpenApi` wrote; undefined when the folder has no index. */
export async function openApiFolder(folder: string): Promise<OpenApiSource | undefined> {
  const text = await readFile(join(folder, INDEX), 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const hashes = new Map<string, string>(Object.entries(JSON.parse(text)));
  return { hashes: async () => hashes, read: (place) => readFile(join(folder, fileOf(place))) };
}

export async function writeOpenApi(folder: string, source: OpenApiSource): Promise<void> {
  await mkdir(folder, { recursive: true });
  const hashes = await source.hashes();
  for (const place of hashes.keys()) {
    await writeFile(join(folder, fileOf(place)), await source.read(place));
  }
  await writeFile(join(folder, INDEX), JSON.stringify(Object.fromEntries(hashes)));
}

const INDEX = 'index.json';

function fileOf(place: string): string {
  return `${place.replaceAll('/', '.')}.json.gz`;
}
