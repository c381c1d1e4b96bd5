/** HorizontalPodAutoscaler: what each metric must say, and the bounds of its behavior. */
import type {
  CrossVersionObjectReference,
  HorizontalPodAutoscalerSpec,
  HPAScalingRules,
  MetricSpec,
  MetricTarget,
} from '../../../../protocol/kinds/types.ts';
import { parseQuantity, QuantityError } from '../../../../protocol/quantity.ts';
import { validateLabelSelector } from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { forbidden, invalidValue, notSupported, required } from './errors.ts';
import { validateQuantity } from './resources.ts';

const TARGET_TYPES: readonly string[] = ['AverageValue', 'Utilization', 'Value'];
const POLICY_TYPES: readonly string[] = ['Percent', 'Pods'];
const SELECT_POLICIES: readonly string[] = ['Disabled', 'Max', 'Min'];
const WINDOW_SECONDS_MAX = 3_600;
const PERIOD_SECONDS_MAX = 1_800;

/** `type` of a metric, and the field that holds the rest of it. */
const SOURCES = {
  ContainerResource: 'containerResource',
  External: 'external',
  Object: 'object',
  Pods: 'pods',
  Resource: 'resource',
} as const;

export function validateAutoscalerSpec(
  path: string,
  spec: HorizontalPodAutoscalerSpec,
): FieldError[] {
  const { minReplicas, maxReplicas = 0, metrics = [], behavior, scaleTargetRef } = spec;
  const errors: FieldError[] = [];
  if (minReplicas !== undefined && minReplicas < 1) {
    const why = 'must be greater than or equal to 1';
    errors.push(invalidValue(`${path}.minReplicas`, minReplicas, why));
  }
  if (maxReplicas < 1) {
    errors.push(invalidValue(`${path}.maxReplicas`, maxReplicas, 'must be greater than 0'));
  }
  if (minReplicas !== undefined && maxReplicas < minReplicas) {
    const why = 'must be greater than or equal to `minReplicas`';
    errors.push(invalidValue(`${path}.maxReplicas`, maxReplicas, why));
  }
  return [
    ...errors,
    ...validateReference(`${path}.scaleTargetRef`, scaleTargetRef),
    ...metrics.flatMap((metric, index) => validateMetric(`${path}.metrics[${index}]`, metric)),
    ...validateRules(`${path}.behavior.scaleUp`, behavior?.scaleUp),
    ...validateRules(`${path}.behavior.scaleDown`, behavior?.scaleDown),
  ];
}

function validateReference(
  path: string,
  reference: CrossVersionObjectReference | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['kind', 'name'] as const) {
    const value = reference?.[field] ?? '';
    if (value === '') errors.push(required(`${path}.${field}`));
    else if (/[/%]/.test(value) || value === '.' || value === '..') {
      errors.push(invalidValue(`${path}.${field}`, value, 'may not contain "/" or "%"'));
    }
  }
  return errors;
}

function validateMetric(path: string, metric: MetricSpec): FieldError[] {
  const { type = '' } = metric;
  if (type === '') return [required(`${path}.type`, 'must specify a metric source type')];
  const field = Object.entries(SOURCES).find(([name]) => name === type)?.[1];
  if (field === undefined) return [notSupported(`${path}.type`, type, Object.keys(SOURCES))];
  if (metric[field] === undefined) {
    const why = 'must populate information for the given metric source';
    return [required(`${path}.${field}`, why)];
  }
  const errors: FieldError[] = [];
  for (const other of Object.values(SOURCES)) {
    if (other === field || metric[other] === undefined) continue;
    errors.push(forbidden(`${path}.${other}`, 'must populate the given metric source only'));
  }
  return [...errors, ...validateSource(`${path}.${field}`, metric)];
}

function validateSource(path: string, metric: MetricSpec): FieldError[] {
  const { resource, containerResource, pods, object, external } = metric;
  const errors: FieldError[] = [];
  const own = resource ?? containerResource;
  if (own !== undefined) {
    if (!own.name) errors.push(required(`${path}.name`, 'must specify a resource name'));
    if (containerResource?.container === '') {
      errors.push(required(`${path}.container`, 'must specify a container'));
    }
    return [...errors, ...validateTarget(`${path}.target`, own.target, 'resource')];
  }
  const custom = pods ?? object ?? external;
  const identifier = custom?.metric;
  if (!identifier?.name) errors.push(required(`${path}.metric.name`, 'must specify a metric name'));
  errors.push(...validateLabelSelector(identifier?.selector ?? {}, `${path}.metric.selector`));
  if (object !== undefined) {
    errors.push(...validateReference(`${path}.describedObject`, object.describedObject));
  }
  const sort = pods === undefined ? 'value' : 'average';
  return [...errors, ...validateTarget(`${path}.target`, custom?.target, sort)];
}

/** Which of the three numbers of a target a metric may ask for. */
function validateTarget(
  path: string,
  target: MetricTarget | undefined,
  sort: 'resource' | 'average' | 'value',
): FieldError[] {
  const { type = '', value, averageValue, averageUtilization: utilization } = target ?? {};
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(`${path}.type`, 'must specify a metric target type'));
  else if (!TARGET_TYPES.includes(type)) {
    errors.push(notSupported(`${path}.type`, type, TARGET_TYPES));
  }
  if (utilization !== undefined && utilization < 1) {
    errors.push(invalidValue(`${path}.averageUtilization`, utilization, 'must be greater than 0'));
  }
  for (const [field, amount] of Object.entries({ value, averageValue })) {
    if (amount !== undefined) errors.push(...mustBePositive(`${path}.${field}`, amount));
  }
  if (sort === 'resource') {
    if (utilization === undefined && averageValue === undefined) {
      const why = 'must set either a target raw value or a target utilization';
      errors.push(required(`${path}.averageUtilization`, why));
    } else if (utilization !== undefined && averageValue !== undefined) {
      const why = 'may not set both a target raw value and a target utilization';
      errors.push(forbidden(`${path}.averageValue`, why));
    }
  } else if (sort === 'average' && averageValue === undefined) {
    errors.push(required(`${path}.averageValue`, 'must specify a positive target averageValue'));
  } else if (sort === 'value' && value === undefined && averageValue === undefined) {
    const why = 'must set either a target value for metric or a per-pod target';
    errors.push(required(`${path}.averageValue`, why));
  }
  return errors;
}

function mustBePositive(field: string, amount: string): FieldError[] {
  try {
    return parseQuantity(amount).nanos > 0n
      ? []
      : [invalidValue(field, amount, 'must be positive')];
  } catch (error) {
    if (!(error instanceof QuantityError)) throw error;
    return [invalidValue(field, amount, error.message)];
  }
}

function validateRules(path: string, rules: HPAScalingRules | undefined): FieldError[] {
  if (rules === undefined) return [];
  const { stabilizationWindowSeconds: seconds, selectPolicy, policies = [], tolerance } = rules;
  const errors: FieldError[] = [];
  if (seconds !== undefined && (seconds < 0 || seconds > WINDOW_SECONDS_MAX)) {
    const bound = seconds < 0 ? 'greater than or equal to zero' : 'less than or equal to 3600';
    errors.push(invalidValue(`${path}.stabilizationWindowSeconds`, seconds, `must be ${bound}`));
  }
  if (selectPolicy !== undefined && !SELECT_POLICIES.includes(selectPolicy)) {
    errors.push(notSupported(`${path}.selectPolicy`, selectPolicy, SELECT_POLICIES));
  }
  if (tolerance !== undefined) errors.push(...validateQuantity(`${path}.tolerance`, tolerance));
  if (policies.length === 0) {
    errors.push(required(`${path}.policies`, 'must specify at least one Policy'));
  }
  for (const [index, { type, value, periodSeconds }] of policies.entries()) {
    const at = `${path}.policies[${index}]`;
    if (!POLICY_TYPES.includes(type)) errors.push(notSupported(`${at}.type`, type, POLICY_TYPES));
    if (value < 1) errors.push(invalidValue(`${at}.value`, value, 'must be greater than zero'));
    if (periodSeconds < 1 || periodSeconds > PERIOD_SECONDS_MAX) {
      const bound = periodSeconds < 1 ? 'greater than zero' : 'less than or equal to 1800';
      errors.push(invalidValue(`${at}.periodSeconds`, periodSeconds, `must be ${bound}`));
    }
  }
  return errors;
}
