/** Equality of JSON values: what decides that a write changes nothing. Key order does not count. */
export function deepEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i += 1) if (!deepEqual(a[i], b[i])) return false;
    return true;
  }
  if (Array.isArray(b)) return false;
  return recordsEqual(a as Record<string, unknown>, b as Record<string, unknown>);
}

function recordsEqual(
  a: Readonly<Record<string, unknown>>,
  b: Readonly<Record<string, unknown>>,
): boolean {
  // A key with the value undefined is an absent key: JSON cannot tell them apart.
  for (const key of Object.keys(a)) {
    const left = a[key];
    if (left !== undefined && !(Object.hasOwn(b, key) && deepEqual(left, b[key]))) return false;
  }
  for (const key of Object.keys(b)) {
    if (b[key] !== undefined && !(Object.hasOwn(a, key) && a[key] !== undefined)) return false;
  }
  return true;
}
