/**
 * Strategic merge patch: a merge patch that knows the lists. Which lists merge, and by which key, comes from the
 * table of kinds (patchStrategy, patchMergeKey), never from names.
 *
 * Directives (sig-api-machinery/strategic-merge-patch.md):
 * - `$patch: replace | delete | merge` in a map or, for lists of maps, in an element;
 * - `$retainKeys: [..]`: of the original map only these keys stay;
 * - `$deleteFromPrimitiveList/FIELD: [..]`: values to drop from a list of scalars;
 * - `$setElementOrder/FIELD: [..]`: the order of a merged list (see element-order.ts).
 *
 * Inputs stay as they are; the result may share parts with them.
 */
import { type MessageSpec, messageSpec } from '../../../protocol/kinds/table.ts';
import { deepEqual } from '../equal.ts';
import { orderElements } from './element-order.ts';
import {
  getOwn,
  isObject,
  type JsonObject,
  type JsonValue,
  PatchError,
  setOwn,
} from './json-value.ts';

const PATCH = '$patch';
const RETAIN_KEYS = '$retainKeys';
const DELETE_FROM = '$deleteFromPrimitiveList/';
const ELEMENT_ORDER = '$setElementOrder/';

/** `message` is the kind's name in the table, as `io.k8s.api.core.v1.Pod`. Throws `PatchError` (400). */
export function strategicMergePatch(
  original: JsonObject,
  patch: JsonObject,
  message: string,
): JsonObject {
  return mergeMap(original, patch, messageSpec(message));
}

/** How the value of one key merges. */
interface Rule {
  readonly spec: MessageSpec | undefined;
  readonly merges: boolean;
  readonly replaces: boolean;
  readonly mergeKey: string | undefined;
}

const NO_RULE: Rule = { spec: undefined, merges: false, replaces: false, mergeKey: undefined };

function ruleFor(spec: MessageSpec | undefined, key: string): Rule {
  const field = spec?.fields.get(key);
  if (field === undefined) return NO_RULE;
  return {
    spec:
      field.type === 'message' && field.message !== undefined && field.shape !== 'map'
        ? messageSpec(field.message)
        : undefined,
    merges: field.patchStrategy.includes('merge'),
    replaces: field.patchStrategy.includes('replace'),
    mergeKey: field.mergeKey,
  };
}

function mergeMap(
  original: JsonObject,
  patch: JsonObject,
  spec: MessageSpec | undefined,
): JsonObject {
  const directive = getOwn(patch, PATCH);
  if (directive === 'replace') return stripDirectives(patch);
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge') throw unknownDirective(directive);

  const result: JsonObject = {};
  const kept = retainedKeys(patch);
  for (const key of Object.keys(original)) {
    if (kept === undefined || kept.has(key)) setOwn(result, key, original[key] ?? null);
  }
  for (const key of Object.keys(patch)) {
    if (isDirective(key)) continue;
    const change = patch[key] ?? null;
    if (change === null) delete result[key];
    else setOwn(result, key, mergeValue(getOwn(result, key), change, ruleFor(spec, key)));
  }
  dropFromPrimitiveLists(result, patch);
  applyElementOrders(result, original, patch, spec);
  return result;
}

function isDirective(key: string): boolean {
  return (
    key === PATCH ||
    key === RETAIN_KEYS ||
    key.startsWith(DELETE_FROM) ||
    key.startsWith(ELEMENT_ORDER)
  );
}

function unknownDirective(directive: JsonValue): PatchError {
  return new PatchError(400, `unknown patch type found: ${JSON.stringify(directive)}`);
}

function mergeValue(original: JsonValue | undefined, change: JsonValue, rule: Rule): JsonValue {
  if (isObject(change)) {
    if (!isObject(original)) return mergeMap({}, change, rule.spec);
    return rule.replaces ? stripDirectives(change) : mergeMap(original, change, rule.spec);
  }
  if (!Array.isArray(change)) return change;
  if (!rule.merges) return strip(change);
  return mergeList(Array.isArray(original) ? original : [], change, rule);
}

function retainedKeys(patch: JsonObject): Set<string> | undefined {
  const directive = getOwn(patch, RETAIN_KEYS);
  if (directive === undefined) return undefined;
  if (!Array.isArray(directive)) throw new PatchError(400, '$retainKeys must be a list of keys');
  const kept = new Set(directive.map(String));
  for (const key of Object.keys(patch)) {
    if (isDirective(key) || patch[key] === null || kept.has(key)) continue;
    throw new PatchError(400, `$retainKeys does not list the field "${key}" of the same patch`);
  }
  return kept;
}

function mergeList(original: JsonValue[], change: JsonValue[], rule: Rule): JsonValue[] {
  const key = rule.mergeKey;
  if (!change.every(isObject) || key === undefined) {
    const list = [...original, ...newScalars(original, change)];
    return orderElements({ list, order: change, before: original, mergeKey: undefined });
  }
  const marked = new Map<string, JsonObject[]>();
  const items: JsonObject[] = [];
  for (const item of change) {
    const directive = getOwn(item, PATCH);
    if (directive === undefined) items.push(item);
    else if (directive !== 'replace' && directive !== 'delete') throw unknownDirective(directive);
    else marked.set(directive, [...(marked.get(directive) ?? []), item]);
  }
  // An element that is only the directive replaces the whole list by the other elements.
  if (marked.has('replace')) return items.map(strip);
  const sameAs = (item: JsonObject) => {
    const id = getOwn(item, key);
    if (id === undefined || id === null) {
      throw new PatchError(
        400,
        `map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`,
      );
    }
    return (other: JsonValue) => isObject(other) && deepEqual(getOwn(other, key), id);
  };
  const deleted = (marked.get('delete') ?? []).map(sameAs);
  const result = original.filter((other) => !deleted.some((same) => same(other)));
  for (const item of items) {
    const at = result.findIndex(sameAs(item));
    const found = result[at];
    if (at < 0) result.push(mergeMap({}, item, rule.spec));
    else if (isObject(found)) result[at] = mergeMap(found, item, rule.spec);
  }
  return orderElements({ list: result, order: change, before: original, mergeKey: key });
}

function newScalars(original: readonly JsonValue[], change: readonly JsonValue[]): JsonValue[] {
  const fresh: JsonValue[] = [];
  for (const value of change) {
    const known = (other: JsonValue): boolean => deepEqual(other, value);
    if (!original.some(known) && !fresh.some(known)) fresh.push(value);
  }
  return fresh;
}

function dropFromPrimitiveLists(result: JsonObject, patch: JsonObject): void {
  for (const directive of Object.keys(patch)) {
    if (!directive.startsWith(DELETE_FROM)) continue;
    const values = patch[directive];
    if (!Array.isArray(values)) throw new PatchError(400, `${directive} must be a list`);
    const key = directive.slice(DELETE_FROM.length);
    const list = getOwn(result, key);
    if (!Array.isArray(list)) continue;
    setOwn(
      result,
      key,
      list.filter((item) => !values.some((value) => deepEqual(item, value))),
    );
  }
}

function applyElementOrders(
  result: JsonObject,
  original: JsonObject,
  patch: JsonObject,
  spec: MessageSpec | undefined,
): void {
  for (const directive of Object.keys(patch)) {
    if (!directive.startsWith(ELEMENT_ORDER)) continue;
    const order = patch[directive];
    if (!Array.isArray(order)) throw new PatchError(400, `${directive} must be a list`);
    const key = directive.slice(ELEMENT_ORDER.length);
    const { mergeKey } = ruleFor(spec, key);
    checkOrder(directive, order, getOwn(patch, key), mergeKey);
    const list = getOwn(result, key);
    if (!Array.isArray(list)) continue;
    const before = getOwn(original, key);
    const ordered = orderElements({
      list,
      order,
      before: Array.isArray(before) ? before : [],
      mergeKey,
    });
    setOwn(result, key, ordered);
  }
}

/** What the patch changes must stand in its own order, as Kubernetes demands; deletions need no place. */
function checkOrder(
  directive: string,
  order: readonly JsonValue[],
  change: JsonValue | undefined,
  mergeKey: string | undefined,
): void {
  if (order.length === 0 || !Array.isArray(change)) return;
  const idOf = (item: JsonValue): JsonValue | undefined =>
    mergeKey !== undefined && isObject(item) ? getOwn(item, mergeKey) : item;
  const kept = change.filter((item) => !isObject(item) || getOwn(item, PATCH) === undefined);
  let next = 0;
  for (const item of order) {
    const wanted = kept[next];
    if (wanted !== undefined && deepEqual(idOf(wanted), idOf(item))) next += 1;
  }
  if (next < kept.length) {
    const list = directive.slice(ELEMENT_ORDER.length);
    throw new PatchError(400, `the order in the patch list "${list}" doesn't match ${directive}`);
  }
}

function strip(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(strip);
  return isObject(value) ? stripDirectives(value) : value;
}

/** A patch that stands for itself: nulls and directives mean nothing where there is nothing to merge with. */
function stripDirectives(value: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const key of Object.keys(value)) {
    const inner = value[key] ?? null;
    if (!isDirective(key) && inner !== null) setOwn(result, key, strip(inner));
  }
  return result;
}
