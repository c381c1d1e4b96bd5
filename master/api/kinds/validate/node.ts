/** A Node's spec: taints and addresses. */
import type { Node, NodeSpec } from '../../../../protocol/kinds/types.ts';
import { labelKeyErrors, labelValueErrors } from '../../../../protocol/names.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { duplicate, eachReason, forbidden, notSupported, required } from './errors.ts';

export const TAINT_EFFECTS: readonly string[] = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

export function validateNodeSpec(spec: NodeSpec | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, taint] of (spec?.taints ?? []).entries()) {
    const path = `spec.taints[${index}]`;
    errors.push(...eachReason(`${path}.key`, taint.key, labelKeyErrors(taint.key)));
    const value = taint.value ?? '';
    errors.push(...eachReason(`${path}.value`, value, labelValueErrors(value)));
    if (taint.effect === '') errors.push(required(`${path}.effect`));
    else if (!TAINT_EFFECTS.includes(taint.effect)) {
      errors.push(notSupported(`${path}.effect`, taint.effect, TAINT_EFFECTS));
    }
    const pair = `${taint.effect} ${taint.key}`;
    if (seen.has(pair)) {
      const error = duplicate(path, taint);
      const message = `${error.message}: taints must be unique by key and effect pair`;
      errors.push({ ...error, message });
    }
    seen.add(pair);
  }
  return errors;
}

/** A board keeps its pod network: pods hold addresses of it. */
export function validateNodeUpdate(next: Node, previous: Node): FieldError[] {
  const before = previous.spec?.podCIDR;
  if (before === undefined || before === '' || next.spec?.podCIDR === before) return [];
  const why = 'node updates may not change podCIDR except from "" to valid';
  return [forbidden('spec.podCIDRs', why)];
}
