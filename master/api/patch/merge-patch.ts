/** JSON merge patch (RFC 7386): null removes, objects merge, all else replaces. Inputs stay as they are. */
import {
  copyJson,
  getOwn,
  isObject,
  type JsonObject,
  type JsonValue,
  setOwn,
} from './json-value.ts';

export function mergePatch(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (!isObject(patch)) return copyJson(patch);
  const result: JsonObject = {};
  const base = isObject(target) ? target : {};
  for (const key of Object.keys(base)) {
    if (Object.hasOwn(patch, key)) continue;
    setOwn(result, key, base[key] ?? null);
  }
  for (const key of Object.keys(patch)) {
    const change = patch[key] ?? null;
    if (change !== null) setOwn(result, key, mergePatch(getOwn(base, key), change));
  }
  return result;
}
