/**
 * HorizontalPodAutoscaler of autoscaling/v1: the objects of v2, seen by clients that know one number only, the wanted share of
 * the requested CPU. All else stands in annotations, as Kubernetes has it (in the form of v2), so that nothing is lost when
 * such a client writes the object back.
 */
import { decodeObject } from '../../../protocol/kinds/decode.ts';
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type {
  AutoscalingV1HorizontalPodAutoscaler as AutoscalerV1,
  HorizontalPodAutoscaler,
  MetricSpec,
} from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { HORIZONTAL_POD_AUTOSCALER } from './horizontal-pod-autoscaler.ts';
import { invalidValue } from './validate/errors.ts';

const PREFIX = 'autoscaling.alpha.kubernetes.io/';
/** Annotation, and where its JSON belongs in the object of v2. */
const SPEC_PARTS = { metrics: `${PREFIX}metrics`, behavior: `${PREFIX}behavior` } as const;
const STATUS_PARTS = {
  currentMetrics: `${PREFIX}current-metrics`,
  conditions: `${PREFIX}conditions`,
} as const;

const { kind, plural, singular, shortNames, categories, namespaced } = HORIZONTAL_POD_AUTOSCALER;
const { storage, subresources, hasGeneration, columns } = HORIZONTAL_POD_AUTOSCALER;

export const HORIZONTAL_POD_AUTOSCALER_V1: KindModule<AutoscalerV1> = {
  ...{ kind, plural, singular, shortNames, categories, namespaced },
  ...{ storage, subresources, hasGeneration, columns },
  group: 'autoscaling',
  version: 'v1',
  message: 'io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler',
  view: {
    of: { group: 'autoscaling', plural },
    fromStored: (object: KubeObject) => toV1(object as HorizontalPodAutoscaler),
    toStored: toV2,
  },
  setDefaults(autoscaler) {
    autoscaler.spec ??= { ...EMPTY };
    autoscaler.spec.minReplicas ??= 1;
  },
  prepareForCreate(autoscaler) {
    autoscaler.status = { currentReplicas: 0, desiredReplicas: 0 };
    keepStatusParts(autoscaler, {});
  },
  prepareForUpdate(next, previous) {
    if (previous.status === undefined) delete next.status;
    else next.status = previous.status;
    keepStatusParts(next, previous.metadata?.annotations ?? {});
  },
  validate: (autoscaler) => [
    ...annotationErrors(autoscaler),
    ...HORIZONTAL_POD_AUTOSCALER.validate(toV2(autoscaler)),
  ],
  warnings: (autoscaler) => HORIZONTAL_POD_AUTOSCALER.warnings?.(toV2(autoscaler)) ?? [],
  row: (autoscaler, nowMs) => HORIZONTAL_POD_AUTOSCALER.row(toV2(autoscaler), nowMs),
};

const EMPTY: AutoscalerV1['spec'] = { scaleTargetRef: { kind: '', name: '' }, maxReplicas: 0 };

/** The one metric that v1 has a field for. */
function isCpuShare({ resource }: MetricSpec): boolean {
  return resource?.name === 'cpu' && resource.target.averageUtilization !== undefined;
}

function toV1({ metadata, spec, status }: HorizontalPodAutoscaler): AutoscalerV1 {
  const { metrics = [], behavior, ...same } = spec;
  const cpu = metrics.find(isCpuShare);
  const percent = cpu?.resource?.target.averageUtilization;
  const { currentMetrics = [], conditions = [], ...counts } = status ?? {};
  const seen = currentMetrics.find(({ resource }) => resource?.name === 'cpu');
  const share = seen?.resource?.current.averageUtilization;
  const others = {
    [SPEC_PARTS.metrics]: orNothing(metrics.filter((one) => one !== cpu)),
    [SPEC_PARTS.behavior]: behavior,
    [STATUS_PARTS.currentMetrics]: orNothing(currentMetrics),
    [STATUS_PARTS.conditions]: orNothing(conditions),
  };
  const annotations = { ...metadata?.annotations };
  for (const [name, value] of Object.entries(others)) {
    if (value !== undefined) annotations[name] = JSON.stringify(value);
  }
  return {
    metadata: {
      ...metadata,
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    spec: {
      ...same,
      ...(percent === undefined ? {} : { targetCPUUtilizationPercentage: percent }),
    },
    ...(status === undefined
      ? {}
      : {
          status: {
            currentReplicas: 0,
            desiredReplicas: 0,
            ...counts,
            ...(share === undefined ? {} : { currentCPUUtilizationPercentage: share }),
          },
        }),
  };
}

function orNothing<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}

function toV2(autoscaler: AutoscalerV1): HorizontalPodAutoscaler {
  const { targetCPUUtilizationPercentage: percent, ...same } = autoscaler.spec ?? EMPTY;
  const { currentCPUUtilizationPercentage: _shown, ...counts } = autoscaler.status ?? {};
  const { spec, status } = partsOf(autoscaler).object;
  const { metrics: others = [], behavior } = spec ?? {};
  const { currentMetrics, conditions } = status ?? {};
  const target = { type: 'Utilization', averageUtilization: percent ?? 0 };
  const cpu: MetricSpec = { type: 'Resource', resource: { name: 'cpu', target } };
  const metrics = percent === undefined ? others : [cpu, ...others];
  const stored: HorizontalPodAutoscaler = {
    ...(autoscaler.metadata === undefined ? {} : { metadata: withoutParts(autoscaler.metadata) }),
    spec: {
      ...same,
      ...(metrics.length === 0 ? {} : { metrics }),
      ...(behavior === undefined ? {} : { behavior }),
    },
    ...(autoscaler.status === undefined
      ? {}
      : {
          status: {
            desiredReplicas: 0,
            ...counts,
            ...(currentMetrics === undefined ? {} : { currentMetrics }),
            ...(conditions === undefined ? {} : { conditions }),
          },
        }),
  };
  HORIZONTAL_POD_AUTOSCALER.setDefaults(stored);
  return stored;
}

/** What the annotations hold, decoded as strictly as a body; what is not JSON is left out and told by `annotationErrors`. */
function partsOf({ metadata }: AutoscalerV1) {
  const read = (parts: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(parts).flatMap(([field, annotation]) => {
        const value = jsonOf(metadata?.annotations?.[annotation]);
        return value === undefined ? [] : [[field, value]];
      }),
    );
  const json = { spec: read(SPEC_PARTS), status: read(STATUS_PARTS) };
  return decodeObject<HorizontalPodAutoscaler>(HORIZONTAL_POD_AUTOSCALER.message, json);
}

function jsonOf(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function annotationErrors(autoscaler: AutoscalerV1): FieldError[] {
  const annotations = autoscaler.metadata?.annotations ?? {};
  const errors: FieldError[] = [];
  for (const name of [...Object.values(SPEC_PARTS), ...Object.values(STATUS_PARTS)]) {
    const text = annotations[name];
    if (text === undefined || jsonOf(text) !== undefined) continue;
    errors.push(invalidValue(`metadata.annotations[${name}]`, text, 'must be JSON'));
  }
  const decoded = partsOf(autoscaler);
  const unknown = decoded.unknownFields.map((field) =>
    invalidValue('metadata.annotations', '', `unknown field "${field}"`),
  );
  return [...errors, ...decoded.errors, ...unknown];
}

function withoutParts(metadata: NonNullable<AutoscalerV1['metadata']>) {
  const { annotations, ...rest } = metadata;
  const own: readonly string[] = [...Object.values(SPEC_PARTS), ...Object.values(STATUS_PARTS)];
  const kept = Object.entries(annotations ?? {}).filter(([name]) => !own.includes(name));
  return { ...rest, ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }) };
}

/** The annotations that belong to the status are the server's alone. In place. */
function keepStatusParts(autoscaler: AutoscalerV1, previous: Record<string, string>): void {
  const annotations = { ...autoscaler.metadata?.annotations };
  for (const name of Object.values(STATUS_PARTS)) {
    const value = previous[name];
    if (value === undefined) delete annotations[name];
    else annotations[name] = value;
  }
  if (Object.keys(annotations).length === 0) delete autoscaler.metadata?.annotations;
  else autoscaler.metadata = { ...autoscaler.metadata, annotations };
}
