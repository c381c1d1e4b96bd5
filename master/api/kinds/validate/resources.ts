/** Resource names and amounts of a container. */
import type { ResourceRequirements } from '../../../../protocol/kinds/types.ts';
import { labelKeyErrors } from '../../../../protocol/names.ts';
import { compareQuantities, parseQuantity, QuantityError } from '../../../../protocol/quantity.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { eachReason, invalidValue, NOT_NEGATIVE, required } from './errors.ts';

const STANDARD: ReadonlySet<string> = new Set(['cpu', 'memory', 'ephemeral-storage']);

function isHugePage(name: string): boolean {
  return name.startsWith('hugepages-');
}

export function validateQuantity(field: string, quantity: string): FieldError[] {
  try {
    return parseQuantity(quantity).nanos < 0n ? [invalidValue(field, quantity, NOT_NEGATIVE)] : [];
  } catch (error) {
    if (!(error instanceof QuantityError)) throw error;
    return [invalidValue(field, quantity, error.message)];
  }
}

export function validateResources(
  path: string,
  resources: ResourceRequirements | undefined,
): FieldError[] {
  const { limits = {}, requests = {} } = resources ?? {};
  const errors = [
    ...validateAmounts(`${path}.limits`, limits),
    ...validateAmounts(`${path}.requests`, requests),
  ];
  if (errors.length > 0) return errors;
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name];
    if (limit === undefined) {
      if (isOvercommitAllowed(name)) continue;
      errors.push(required(`${path}.limits`, 'Limit must be set for non overcommitable resources'));
      continue;
    }
    const order = compareQuantities(request, limit);
    if (order > 0 && isOvercommitAllowed(name)) {
      const why = `must be less than or equal to ${name} limit of ${limit}`;
      errors.push(invalidValue(`${path}.requests`, request, why));
    } else if (order !== 0 && !isOvercommitAllowed(name)) {
      errors.push(
        invalidValue(`${path}.requests`, request, `must be equal to ${name} limit of ${limit}`),
      );
    }
  }
  return errors;
}

/** Devices and huge pages cannot be shared out twice. */
function isOvercommitAllowed(name: string): boolean {
  return !name.includes('/') && !isHugePage(name);
}

function validateAmounts(path: string, amounts: Record<string, string>): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, amount] of Object.entries(amounts)) {
    const at = `${path}[${name}]`;
    errors.push(...eachReason(at, name, labelKeyErrors(name)));
    if (!name.includes('/') && !STANDARD.has(name) && !isHugePage(name)) {
      errors.push(invalidValue(at, name, 'must be a standard resource type or fully qualified'));
      errors.push(invalidValue(at, name, 'must be a standard resource for containers'));
    }
    const malformed = validateQuantity(at, amount);
    errors.push(...malformed);
    if (malformed.length === 0 && name.includes('/') && parseQuantity(amount).nanos % ONE !== 0n) {
      errors.push(invalidValue(at, amount, 'must be an integer'));
    }
  }
  return errors;
}

const ONE = 1_000_000_000n;
