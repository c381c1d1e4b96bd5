/**
 * OpenAPI v3 for kubectl's `apply`, `create`, `edit`, `diff` and `explain`: one document per group and version, made from
 * the table of kinds when it is first asked for and kept compressed only.
 *
 * A document has what clients look at: per kind a path with the verbs it serves, and on `patch` the kind, the query parameters
 * and the patch types; the schemas with kind, merge keys and list types.
 */
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { KUBERNETES_VERSION } from './discovery.ts';
import type { KindModule } from './kind.ts';
import { documentPaths } from './openapi-paths.ts';
import { collectSchemas } from './openapi-schemas.ts';

export interface OpenApiDocument {
  readonly gzip: Buffer;
  readonly etag: string;
  plain(): Buffer;
}

export class OpenApi {
  readonly #modules = new Map<string, KindModule[]>();
  readonly #documents = new Map<string, OpenApiDocument>();

  constructor(modules: readonly KindModule[]) {
    for (const module of modules) {
      const { group, version } = module;
      const place = group === '' ? `api/${version}` : `apis/${group}/${version}`;
      const known = this.#modules.get(place);
      if (known === undefined) this.#modules.set(place, [module]);
      else known.push(module);
    }
  }

  /** GET /openapi/v3: where the documents are, each with the hash of its content. */
  index(): object {
    const paths: Record<string, object> = {};
    for (const place of this.#modules.keys()) {
      const hash = this.document(place)?.etag.replaceAll('"', '') ?? '';
      paths[place] = { serverRelativeURL: `/openapi/v3/${place}?hash=${hash}` };
    }
    return { paths };
  }

  /** `place` as "api/v1" or "apis/apps/v1"; undefined when there is no such group. */
  document(place: string): OpenApiDocument | undefined {
    const known = this.#documents.get(place);
    if (known !== undefined) return known;
    const modules = this.#modules.get(place);
    if (modules === undefined) return undefined;
    const made = makeDocument(place, modules);
    this.#documents.set(place, made);
    return made;
  }
}

/** What client-go asks /openapi/v2 for: the Document message of gnostic's OpenAPIv2.proto. */
const LEGACY_ASKED = /application\/com\.github\.proto-openapi\.spec\.v2[@.]v1\.0\+protobuf/;
/** With the "@" that clients ask with, Go's own parser refuses the answer's type. */
const LEGACY_PROTOBUF = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

/**
 * GET /openapi/v2: a document that describes no kind. kubectl 1.20 to 1.26 reads it before each `apply`, a current one for a
 * kind that /openapi/v3 lacks; a kind they do not find there they leave to the server to check, which it does. Without
 * the document they stop with words that do not say what is wrong with the manifest.
 */
export function legacyDocument(accept: string): { readonly type: string; readonly body: Buffer } {
  const info = { title: 'Kubernetes', version: KUBERNETES_VERSION.gitVersion };
  if (!LEGACY_ASKED.test(accept)) {
    const body = Buffer.from(JSON.stringify({ swagger: '2.0', info, paths: {} }));
    return { type: 'application/json', body };
  }
  // Fields 1 `swagger` and 2 `info` with 1 `title` and 2 `version`; all shorter than 128 bytes.
  const field = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.byteLength]), bytes]);
  const text = (number: number, value: string) => field(number, Buffer.from(value));
  const about = Buffer.concat([text(1, info.title), text(2, info.version)]);
  return { type: LEGACY_PROTOBUF, body: Buffer.concat([text(1, '2.0'), field(2, about)]) };
}

function makeDocument(place: string, modules: readonly KindModule[]): OpenApiDocument {
  const text = JSON.stringify({
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: KUBERNETES_VERSION.gitVersion },
    paths: documentPaths(place, modules),
    components: { schemas: collectSchemas(modules) },
  });
  const hash = createHash('sha512').update(text).digest('hex').toUpperCase();
  const gzip = gzipSync(text, { level: 9 });
  return { gzip, etag: `"${hash}"`, plain: () => gunzipSync(gzip) };
}
