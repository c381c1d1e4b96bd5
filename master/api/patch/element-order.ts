/**
 * The order of a merged list. Elements that the patch names (in `$setElementOrder`, else in the list itself) stand in
 * the patch's order; elements that only the server has keep their order among themselves, and each goes before the
 * first remaining named one that it preceded on the server. What the server did not have therefore comes first: a
 * container that a patch adds stands before the others, as Kubernetes documents for `kubectl patch`.
 */
import { deepEqual } from '../equal.ts';
import { getOwn, isObject, type JsonValue } from './json-value.ts';

export interface OrderInput {
  /** The merged list. */
  readonly list: readonly JsonValue[];
  /** What the patch names: scalars, or maps with the merge key. */
  readonly order: readonly JsonValue[];
  /** The list as the server had it. */
  readonly before: readonly JsonValue[];
  /** Absent for lists of scalars. */
  readonly mergeKey: string | undefined;
}

export function orderElements(input: OrderInput): JsonValue[] {
  const idOf = (item: JsonValue): JsonValue | undefined =>
    input.mergeKey !== undefined && isObject(item) ? getOwn(item, input.mergeKey) : item;
  const place = (ids: readonly (JsonValue | undefined)[], item: JsonValue): number => {
    const id = idOf(item);
    return ids.findIndex((other) => deepEqual(other, id));
  };
  const orderIds = input.order.map(idOf);
  const beforeIds = input.before.map(idOf);

  const named = input.list
    .filter((item) => place(orderIds, item) >= 0)
    .sort((a, b) => place(orderIds, a) - place(orderIds, b));
  const serverOnly = input.list
    .filter((item) => place(orderIds, item) < 0)
    .sort((a, b) => place(beforeIds, a) - place(beforeIds, b));

  const result: JsonValue[] = [];
  let next = 0;
  for (const item of serverOnly) {
    const here = place(beforeIds, item);
    for (let head = named[next]; head !== undefined; head = named[next]) {
      const there = place(beforeIds, head);
      if (here >= 0 && here < there) break;
      result.push(head);
      next += 1;
    }
    result.push(item);
  }
  return [...result, ...named.slice(next)];
}
