/**
 * JSON patch (RFC 6902) with JSON pointers (RFC 6901). The document is changed in a copy; the first operation that
 * fails fails the whole patch. At most `OPERATIONS_MAX` operations, as in Kubernetes.
 */
import { deepEqual } from '../equal.ts';
import {
  copyJson,
  getOwn,
  isObject,
  type JsonObject,
  type JsonValue,
  PatchError,
  setOwn,
} from './json-value.ts';

const OPERATIONS_MAX = 10_000;

/** Throws `PatchError`: 400 for what is no JSON patch, 422 for one that cannot be applied. */
export function jsonPatch(document: JsonValue, patch: JsonValue): JsonValue {
  if (!Array.isArray(patch)) {
    throw new PatchError(400, 'a JSON patch is a list of operations');
  }
  if (patch.length > OPERATIONS_MAX) {
    throw new PatchError(
      400,
      `the allowed maximum operations in a JSON patch is ${OPERATIONS_MAX}, got ${patch.length}`,
    );
  }
  const root = { value: copyJson(document) };
  patch.forEach((operation, index) => {
    if (!isObject(operation)) throw new PatchError(400, `operation ${index} is no object`);
    apply(root, operation, index);
  });
  return root.value;
}

interface Root {
  value: JsonValue;
}

function apply(root: Root, operation: JsonObject, index: number): void {
  const op = getOwn(operation, 'op');
  const path = pointer(operation, 'path', index);
  switch (op) {
    case 'add':
      add(root, path, copyJson(operandOf(operation, index)));
      return;
    case 'replace':
      resolve(root, path);
      replace(root, path, copyJson(operandOf(operation, index)));
      return;
    case 'remove':
      remove(root, path);
      return;
    case 'test': {
      const wanted = operandOf(operation, index);
      if (!deepEqual(tested(root, path), wanted)) {
        throw new PatchError(422, `testing value ${text(path)} failed`);
      }
      return;
    }
    case 'copy':
      add(root, path, copyJson(resolve(root, pointer(operation, 'from', index))));
      return;
    case 'move': {
      const from = pointer(operation, 'from', index);
      if (path.length > from.length && from.every((step, i) => path[i] === step)) {
        throw new PatchError(422, `cannot move ${text(from)} into itself`);
      }
      const value = resolve(root, from);
      remove(root, from);
      add(root, path, value);
      return;
    }
    default:
      throw new PatchError(400, `Unexpected kind: ${String(op)}`);
  }
}

function operandOf(operation: JsonObject, index: number): JsonValue {
  const value = getOwn(operation, 'value');
  if (value === undefined) throw new PatchError(400, `operation ${index} has no value`);
  return value;
}

function pointer(operation: JsonObject, key: 'path' | 'from', index: number): string[] {
  const value = getOwn(operation, key);
  if (typeof value !== 'string' || (value !== '' && !value.startsWith('/'))) {
    throw new PatchError(400, `operation ${index}: "${key}" is no JSON pointer`);
  }
  const steps = value === '' ? [] : value.slice(1).split('/');
  return steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function text(path: readonly string[]): string {
  return path.map((s) => `/${s.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

function missing(path: readonly string[]): PatchError {
  return new PatchError(422, `the path ${text(path) || '""'} does not exist`);
}

/** Index of an element that exists; RFC 6901 allows no leading zeros and no signs. */
function elementIndex(list: readonly JsonValue[], step: string): number {
  const index = /^(0|[1-9]\d*)$/.test(step) ? Number(step) : -1;
  return index < list.length ? index : -1;
}

function child(value: JsonValue | undefined, step: string): JsonValue | undefined {
  if (Array.isArray(value)) {
    const index = elementIndex(value, step);
    return index < 0 ? undefined : value[index];
  }
  return isObject(value) ? getOwn(value, step) : undefined;
}

function find(root: Root, path: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = root.value;
  for (const step of path) value = child(value, step);
  return value;
}

function resolve(root: Root, path: readonly string[]): JsonValue {
  const value = find(root, path);
  if (value === undefined) throw missing(path);
  return value;
}

/** As in Kubernetes, a key that an object does not have tests as null; elements and parents must be there. */
function tested(root: Root, path: readonly string[]): JsonValue {
  const parent = path.length === 0 ? undefined : find(root, path.slice(0, -1));
  return isObject(parent) ? (child(parent, path.at(-1) ?? '') ?? null) : resolve(root, path);
}

function parentOf(root: Root, path: readonly string[]): { parent: JsonValue; step: string } {
  const parent = find(root, path.slice(0, -1));
  if (parent === undefined || parent === null || typeof parent !== 'object') throw missing(path);
  return { parent, step: path.at(-1) ?? '' };
}

function add(root: Root, path: readonly string[], value: JsonValue): void {
  if (path.length === 0) {
    root.value = value;
    return;
  }
  const { parent, step } = parentOf(root, path);
  if (Array.isArray(parent)) {
    const index =
      step === '-' || step === String(parent.length) ? parent.length : elementIndex(parent, step);
    if (index < 0) throw missing(path);
    parent.splice(index, 0, value);
  } else if (isObject(parent)) {
    setOwn(parent, step, value);
  }
}

function replace(root: Root, path: readonly string[], value: JsonValue): void {
  if (path.length === 0) {
    root.value = value;
    return;
  }
  const { parent, step } = parentOf(root, path);
  if (Array.isArray(parent)) parent[elementIndex(parent, step)] = value;
  else if (isObject(parent)) setOwn(parent, step, value);
}

function remove(root: Root, path: readonly string[]): void {
  resolve(root, path);
  if (path.length === 0) {
    root.value = null;
    return;
  }
  const { parent, step } = parentOf(root, path);
  if (Array.isArray(parent)) parent.splice(elementIndex(parent, step), 1);
  else if (isObject(parent)) delete parent[step];
}
