/** LimitRange: bounds and defaults for the resources of pods and containers in a namespace (admission: quota/limits.ts). */
import type { LimitRange, LimitRangeItem } from '../../../protocol/kinds/types.ts';
import { labelKeyErrors } from '../../../protocol/names.ts';
import { compareQuantities } from '../../../protocol/quantity.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { CREATED_AT, createdCell, NAME, nameCell } from './columns.ts';
import { duplicate, eachReason, forbidden, invalidValue, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateQuantity } from './validate/resources.ts';

const PARTS = ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'] as const;

export const LIMIT_RANGE: KindModule<LimitRange> = {
  group: '',
  version: 'v1',
  kind: 'LimitRange',
  plural: 'limitranges',
  singular: 'limitrange',
  shortNames: ['limits'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.LimitRange',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults(range) {
    for (const item of range.spec?.limits ?? []) if (item.type === 'Container') fill(item);
  },
  validate: (range) => [
    ...validateObjectMeta(range.metadata),
    ...validateItems('spec.limits', range.spec?.limits ?? []),
  ],
  columns: [NAME, CREATED_AT],
  row: (range) => [nameCell(range), createdCell(range)],
};

/** Kubernetes: a bound is a default too, where none is given. */
function fill(item: LimitRangeItem): void {
  const limits = { ...item.max, ...item.default };
  if (Object.keys(limits).length > 0) item.default = limits;
  const requests = { ...item.min, ...limits, ...item.defaultRequest };
  if (Object.keys(requests).length > 0) item.defaultRequest = requests;
}

function validateItems(path: string, items: readonly LimitRangeItem[]): FieldError[] {
  const seen = new Set<string>();
  return items.flatMap((item, index) => {
    const at = `${path}[${index}]`;
    const errors = validateItem(at, item);
    if (seen.has(item.type)) errors.push(duplicate(`${at}.type`, item.type));
    seen.add(item.type);
    return errors;
  });
}

function validateItem(path: string, item: LimitRangeItem): FieldError[] {
  if (item.type === '') return [required(`${path}.type`)];
  const errors: FieldError[] = [];
  for (const part of PARTS) {
    for (const [name, quantity] of Object.entries(item[part] ?? {})) {
      const at = `${path}.${part}[${name}]`;
      errors.push(...eachReason(at, name, labelKeyErrors(name)), ...validateQuantity(at, quantity));
    }
  }
  if (item.type === 'Pod') {
    for (const part of ['default', 'defaultRequest'] as const) {
      if (Object.keys(item[part] ?? {}).length > 0) {
        const why = 'may not be specified when `type` is "Pod"';
        errors.push(forbidden(`${path}.${part}`, why));
      }
    }
  }
  return errors.length > 0 ? errors : validateOrder(path, item);
}

/** min <= defaultRequest <= default <= max, for each resource that has them. */
function validateOrder(path: string, item: LimitRangeItem): FieldError[] {
  const order = ['min', 'defaultRequest', 'default', 'max'] as const;
  const words = { min: 'min', defaultRequest: 'default request', default: 'default', max: 'max' };
  const errors: FieldError[] = [];
  const names = new Set(order.flatMap((part) => Object.keys(item[part] ?? {})));
  for (const name of names) {
    for (const [index, low] of order.entries()) {
      for (const high of order.slice(index + 1)) {
        const [small, large] = [item[low]?.[name], item[high]?.[name]];
        if (small === undefined || large === undefined) continue;
        if (compareQuantities(small, large) <= 0) continue;
        const why = `${words[low]} value ${small} is greater than ${words[high]} value ${large}`;
        errors.push(invalidValue(`${path}.${low}[${name}]`, small, why));
      }
    }
    const ratio = item.maxLimitRequestRatio?.[name];
    if (ratio !== undefined && compareQuantities(ratio, '1') < 0) {
      const why = `ratio ${ratio} is less than 1`;
      errors.push(invalidValue(`${path}.maxLimitRequestRatio[${name}]`, ratio, why));
    }
  }
  return errors;
}
