/**
 * HorizontalPodAutoscaler (autoscaling/v2): how many pods a workload should have, by what its pods use. Stored in this form;
 * horizontal-pod-autoscaler-v1.ts shows the same objects as autoscaling/v1.
 */
import type {
  HorizontalPodAutoscaler,
  HPAScalingRules,
  MetricSpec,
  MetricStatus,
  MetricTarget,
  MetricValueStatus,
} from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, count, NAME, NONE, nameCell, text, UNKNOWN } from './columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { warning } from './unsupported.ts';
import { validateAutoscalerSpec } from './validate/horizontal.ts';
import { validateObjectMeta } from './validate/meta.ts';

/** Kubernetes: without any metric, 80 % of the requested CPU. */
const CPU_PERCENT = 80;
/** How many metrics the table shows before it counts. */
const SHOWN_MAX = 2;

/** What is allowed where nothing is said (Kubernetes: "Default Behavior"); in seconds and pods or percent. */
export const DEFAULT_SCALING = {
  scaleUp: {
    stabilizationWindowSeconds: 0,
    selectPolicy: 'Max',
    policies: [
      { type: 'Pods', value: 4, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ],
  },
  scaleDown: {
    stabilizationWindowSeconds: 300,
    selectPolicy: 'Max',
    policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
  },
} as const;

export const HORIZONTAL_POD_AUTOSCALER: KindModule<HorizontalPodAutoscaler> = {
  group: 'autoscaling',
  version: 'v2',
  kind: 'HorizontalPodAutoscaler',
  plural: 'horizontalpodautoscalers',
  singular: 'horizontalpodautoscaler',
  shortNames: ['hpa'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: true,
  setDefaults(autoscaler) {
    autoscaler.spec ??= { scaleTargetRef: { kind: '', name: '' }, maxReplicas: 0 };
    const { spec } = autoscaler;
    spec.minReplicas ??= 1;
    if ((spec.metrics ?? []).length === 0) {
      const target = { type: 'Utilization', averageUtilization: CPU_PERCENT };
      spec.metrics = [{ type: 'Resource', resource: { name: 'cpu', target } }];
    }
    if (spec.behavior === undefined) return;
    for (const direction of ['scaleUp', 'scaleDown'] as const) {
      spec.behavior[direction] = withDefaults(spec.behavior[direction], direction);
    }
  },
  prepareForCreate: (autoscaler) => dropStatus(autoscaler, { desiredReplicas: 0 }),
  prepareForUpdate: keepStatus,
  validate: (autoscaler) => [
    ...validateObjectMeta(autoscaler.metadata),
    ...validateAutoscalerSpec('spec', autoscaler.spec),
  ],
  warnings: ({ spec }) => (spec.metrics ?? []).flatMap(metricWarnings),
  columns: [
    NAME,
    text('Reference', 'What is scaled.'),
    text('Targets', 'Measured and wanted, for each metric.'),
    text('MinPods', 'Never fewer pods than this.'),
    text('MaxPods', 'Never more pods than this.'),
    count('Replicas', 'How many pods there are.'),
    AGE,
  ],
  row(autoscaler, nowMs) {
    const { spec, status } = autoscaler;
    const { kind = '', name = '' } = spec?.scaleTargetRef ?? {};
    return [
      nameCell(autoscaler),
      `${kind}/${name}`,
      targetsCell(spec?.metrics ?? [], status?.currentMetrics ?? []),
      spec?.minReplicas === undefined ? '<unset>' : String(spec.minReplicas),
      String(spec?.maxReplicas ?? 0),
      status?.currentReplicas ?? 0,
      ageCell(autoscaler, nowMs),
    ];
  },
};

/** The window of scaling down stays open: it is a setting of the master, not of the object (as in Kubernetes). */
function withDefaults(
  rules: HPAScalingRules | undefined,
  direction: 'scaleUp' | 'scaleDown',
): HPAScalingRules {
  const { selectPolicy, policies, stabilizationWindowSeconds } = DEFAULT_SCALING[direction];
  return {
    selectPolicy,
    policies: policies.map((policy) => ({ ...policy })),
    ...(direction === 'scaleUp' ? { stabilizationWindowSeconds } : {}),
    ...rules,
  };
}

function metricWarnings(metric: MetricSpec, index: number): string[] {
  const path = `spec.metrics[${index}]`;
  const { type, resource, containerResource } = metric;
  if (['Pods', 'Object', 'External'].includes(type)) {
    return [warning(path, `measure metrics of type ${type}`)];
  }
  const name = (resource ?? containerResource)?.name ?? '';
  return ['cpu', 'memory', ''].includes(name) ? [] : [warning(path, `measure ${name}`)];
}

/** `cpu: 42%/80%, memory: 90Mi/100Mi + 1 more...` */
function targetsCell(metrics: readonly MetricSpec[], current: readonly MetricStatus[]): string {
  if (metrics.length === 0) return NONE;
  const shown = metrics
    .slice(0, SHOWN_MAX)
    .map((metric, index) => targetText(metric, current[index]))
    .join(', ');
  return metrics.length > SHOWN_MAX ? `${shown} + ${metrics.length - SHOWN_MAX} more...` : shown;
}

function targetText(metric: MetricSpec, status: MetricStatus | undefined): string {
  const own = metric.resource ?? metric.containerResource;
  if (own !== undefined) {
    const seen = (status?.resource ?? status?.containerResource)?.current;
    return `${own.name}: ${ratioText(own.target, seen)}`;
  }
  const custom = metric.pods ?? metric.object ?? metric.external;
  const seen = (status?.pods ?? status?.object ?? status?.external)?.current;
  const suffix = metric.pods === undefined && custom?.target.averageValue ? ' (avg)' : '';
  return `${ratioText(custom?.target, seen)}${suffix}`;
}

function ratioText(target: MetricTarget | undefined, seen: MetricValueStatus | undefined): string {
  const { averageUtilization: percent, averageValue, value } = target ?? {};
  if (percent !== undefined) return `${percentText(seen?.averageUtilization)}/${percent}%`;
  if (averageValue !== undefined) return `${seen?.averageValue ?? UNKNOWN}/${averageValue}`;
  return `${seen?.value ?? UNKNOWN}/${value ?? UNKNOWN}`;
}

function percentText(percent: number | undefined): string {
  return percent === undefined ? UNKNOWN : `${percent}%`;
}
