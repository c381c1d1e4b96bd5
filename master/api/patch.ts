/** Applying a patch of any type to the current state of an object, with Kubernetes' errors. */

import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { ApiError, invalid } from '../../protocol/status.ts';
import { type BodyKind, decodeInput, type InputOptions } from './input.ts';
import { jsonPatch } from './patch/json-patch.ts';
import { isObject, type JsonObject, type JsonValue, PatchError } from './patch/json-value.ts';
import { mergePatch } from './patch/merge-patch.ts';
import { strategicMergePatch } from './patch/strategic-merge.ts';

export type PatchType = 'json' | 'merge' | 'strategic';

export interface PatchBody {
  readonly type: PatchType;
  /** The parsed body. */
  readonly value: JsonValue;
}

/**
 * The patched object, decoded as strictly as asked; `current` stays as it is. Throws 400 for a patch that is none, 422
 * for one that does not fit.
 */
export function applyPatch(
  current: KubeObject,
  patch: PatchBody,
  kind: BodyKind,
  options: InputOptions,
): KubeObject {
  const result = patched(current, patch, kind);
  if (!isObject(result)) throw new ApiError(422, 'Invalid', 'the patch leaves no object', {});
  try {
    return decodeInput(result, kind, options);
  } catch (error) {
    // Kubernetes: what a patch makes wrong is 422 on the field "patch".
    if (!(error instanceof ApiError) || error.code !== 400) throw error;
    throw invalid('', kind.kind, current.metadata?.name ?? '', [
      {
        field: 'patch',
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(JSON.stringify(patch.value))}: ${error.message}`,
      },
    ]);
  }
}

function patched(current: KubeObject, patch: PatchBody, kind: BodyKind): JsonValue {
  const document = asJson(current);
  try {
    switch (patch.type) {
      case 'json':
        return jsonPatch(document, patch.value);
      case 'merge':
        if (!isObject(patch.value)) throw new PatchError(400, 'a merge patch must be an object');
        return mergePatch(document, patch.value);
      case 'strategic':
        if (!isObject(patch.value)) throw new PatchError(400, 'the patch must be an object');
        return strategicMergePatch(document, patch.value, kind.message);
      default: {
        const never: never = patch.type;
        return never;
      }
    }
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    const reason = error.code === 422 ? 'Invalid' : 'BadRequest';
    throw new ApiError(error.code, reason, error.message, undefined, { cause: error });
  }
}

/** A stored object is JSON already: only the type says so less exactly. */
function asJson(object: KubeObject): JsonObject {
  return object as unknown as JsonObject;
}
