/**
 * OpenAPI v3 for kubectl's `apply`, `create`, `edit`, `diff` and `explain`: one document per group and version, made from the
 * table of kinds. Work of half a second on a small board, so a build does it ahead (write.ts).
 *
 * A document has what clients look at: per resource a path with the verbs it serves, and on `patch` the kind, the query
 * parameters and the patch types; the schemas with kind, merge keys and list types.
 */
import { gzipSync } from 'node:zlib';
import { contentHash } from '../answers.ts';
import { KUBERNETES_VERSION } from '../discovery.ts';
import type { ApiEntry } from '../entries.ts';
import { documentPaths } from './paths.ts';
import { collectSchemas } from './schemas.ts';

export interface OpenApiDocument {
  /** Of the text, not of its compressed form: the same for everyone who makes it. */
  readonly hash: string;
  readonly gzip: Buffer;
}

/** By place: "api/v1", "apis/apps/v1". */
export function makeDocuments(entries: readonly ApiEntry[]): Map<string, OpenApiDocument> {
  const places = new Map<string, ApiEntry[]>();
  for (const entry of entries) {
    const { group, version } = entry;
    const place = group === '' ? `api/${version}` : `apis/${group}/${version}`;
    const known = places.get(place);
    if (known === undefined) places.set(place, [entry]);
    else known.push(entry);
  }
  return new Map([...places].map(([place, own]) => [place, makeDocument(place, own)]));
}

function makeDocument(place: string, entries: readonly ApiEntry[]): OpenApiDocument {
  const text = JSON.stringify({
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: KUBERNETES_VERSION.gitVersion },
    paths: documentPaths(place, entries),
    components: { schemas: collectSchemas(entries) },
  });
  return { hash: contentHash(text), gzip: gzipSync(text, { level: 9 }) };
}
