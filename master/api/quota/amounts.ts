/** Sums of quantities by name, and what a pod asks for in them. Exact, as quotas and limit ranges compare them. Pure. */
import type { Container, PodSpec } from '../../../protocol/kinds/types.ts';
import { addQuantities, compareQuantities, subQuantities } from '../../../protocol/quantity.ts';

/** Quantities by resource name: `{ cpu: '500m', pods: '3' }`. */
export type Amounts = Readonly<Record<string, string>>;

export function sum(a: Amounts, b: Amounts): Amounts {
  return combine(a, b, (x, y) => addQuantities(x, y));
}

/** What `a` has beyond `b`; may be negative. */
export function difference(a: Amounts, b: Amounts): Amounts {
  const negated: Record<string, string> = {};
  for (const [name, quantity] of Object.entries(b)) negated[name] = subQuantities('0', quantity);
  return sum(a, negated);
}

/** The larger of both, name by name. */
export function maximum(a: Amounts, b: Amounts): Amounts {
  return combine(a, b, (x, y) => (compareQuantities(x, y) >= 0 ? x : y));
}

/** Only these names. */
export function only(amounts: Amounts, names: Iterable<string>): Amounts {
  const result: Record<string, string> = {};
  for (const name of names) {
    const quantity = amounts[name];
    if (quantity !== undefined) result[name] = quantity;
  }
  return result;
}

function combine(a: Amounts, b: Amounts, join: (x: string, y: string) => string): Amounts {
  const result: Record<string, string> = { ...a };
  for (const [name, quantity] of Object.entries(b)) {
    const known = result[name];
    result[name] = known === undefined ? quantity : join(known, quantity);
  }
  return result;
}

/**
 * What a pod asks for at its most demanding moment (Kubernetes: effective requests): all containers and sidecars at once, or one
 * init container beside the sidecars before it.
 */
export function podAmounts(spec: PodSpec, part: 'requests' | 'limits'): Amounts {
  const of = (container: Container): Amounts => container.resources?.[part] ?? {};
  let sidecars: Amounts = {};
  let starting: Amounts = {};
  for (const container of spec.initContainers ?? []) {
    if (container.restartPolicy === 'Always') {
      sidecars = sum(sidecars, of(container));
      starting = maximum(starting, sidecars);
    } else {
      starting = maximum(starting, sum(sidecars, of(container)));
    }
  }
  const running = spec.containers.reduce((all, one) => sum(all, of(one)), sidecars);
  const most = maximum(starting, running);
  const whole = { ...most, ...(spec.resources?.[part] ?? {}) };
  if (spec.overhead === undefined) return whole;
  // A limit that is not there is no limit, whatever the overhead.
  return part === 'requests'
    ? sum(whole, spec.overhead)
    : sum(whole, only(spec.overhead, Object.keys(whole)));
}
