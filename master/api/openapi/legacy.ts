/** GET /openapi/v2, for clients that ask nothing newer. */
import { KUBERNETES_VERSION } from '../discovery.ts';

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
