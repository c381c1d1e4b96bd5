/**
 * LimitRange at the creation of a pod or a claim (Kubernetes: LimitRanger admission): fills in defaults, refuses what is out
 * of bounds.
 */
import type {
  Container,
  LimitRange,
  LimitRangeItem,
  PersistentVolumeClaim,
  Pod,
  PodSpec,
} from '../../../protocol/kinds/types.ts';
import { compareQuantities, parseQuantity } from '../../../protocol/quantity.ts';
import { type AdmissionPlugin, type AdmissionRequest, refused } from '../admission.ts';
import type { Kept } from '../kept.ts';
import { metaOf } from '../stored.ts';
import { type Amounts, podAmounts } from './amounts.ts';

const ANNOTATION = 'kubernetes.io/limit-ranger';

export function limitRanger(ranges: Kept<LimitRange>): AdmissionPlugin {
  const itemsFor = async (request: AdmissionRequest, plural: string): Promise<LimitRangeItem[]> => {
    const { module } = request.resource;
    if (module.group !== '' || module.plural !== plural || request.operation !== 'CREATE')
      return [];
    return (await ranges.in(request.namespace)).flatMap((range) => range.spec?.limits ?? []);
  };
  return {
    async mutate(_core, request) {
      const items = await itemsFor(request, 'pods');
      if (items.length > 0) applyDefaults(request.object as Pod, items);
    },
    async review(_core, request) {
      const ofPods = await itemsFor(request, 'pods');
      const ofClaims = await itemsFor(request, 'persistentvolumeclaims');
      const { spec = { containers: [] } } = request.object as Pod;
      const broken = [
        ...ofPods.flatMap((item) => violations(item, spec)),
        ...ofClaims.flatMap((item) => claimViolations(item, request.object)),
      ];
      if (broken.length === 0) return;
      throw refused(request, broken.length === 1 ? (broken[0] ?? '') : `[${broken.join(', ')}]`);
    },
  };
}

/** In place. Says in an annotation what was filled in, as Kubernetes does. */
export function applyDefaults(pod: Pod, items: readonly LimitRangeItem[]): void {
  const limits: Record<string, string> = {};
  const requests: Record<string, string> = {};
  for (const item of items) {
    if (item.type !== 'Container') continue;
    Object.assign(limits, item.default);
    Object.assign(requests, item.defaultRequest);
  }
  const { containers = [], initContainers = [] } = pod.spec ?? {};
  const told = [
    ...containers.flatMap((one) => fill(one, 'container', limits, requests)),
    ...initContainers.flatMap((one) => fill(one, 'init container', limits, requests)),
  ];
  if (told.length === 0) return;
  const meta = metaOf(pod);
  meta.annotations = {
    ...meta.annotations,
    [ANNOTATION]: `LimitRanger plugin set: ${told.join('; ')}`,
  };
}

function fill(container: Container, word: string, limits: Amounts, requests: Amounts): string[] {
  const told: string[] = [];
  for (const [part, defaults] of [
    ['requests', requests],
    ['limits', limits],
  ] as const) {
    const names = Object.keys(defaults).filter(
      (name) => container.resources?.[part]?.[name] === undefined,
    );
    if (names.length === 0) continue;
    container.resources ??= {};
    const filled = { ...container.resources[part] };
    for (const name of names) filled[name] = defaults[name] ?? '';
    container.resources[part] = filled;
    const what = part === 'requests' ? 'request' : 'limit';
    told.push(`${names.sort().join(', ')} ${what} for ${word} ${container.name}`);
  }
  return told;
}

/** One sentence per broken bound. */
export function violations(item: LimitRangeItem, spec: PodSpec): string[] {
  if (item.type === 'Pod') {
    return outOfBounds(item, podAmounts(spec, 'requests'), podAmounts(spec, 'limits'));
  }
  if (item.type !== 'Container') return [];
  return [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ resources }) =>
    outOfBounds(item, resources?.requests ?? {}, resources?.limits ?? {}),
  );
}

/** A claim has requests only. */
function claimViolations(item: LimitRangeItem, { spec }: PersistentVolumeClaim): string[] {
  const { type, min = {}, max = {} } = item;
  if (type !== 'PersistentVolumeClaim') return [];
  const request = spec?.resources?.requests?.storage;
  const bounds = [
    { word: 'minimum', bound: min.storage, sign: 1 },
    { word: 'maximum', bound: max.storage, sign: -1 },
  ];
  return bounds.flatMap(({ word, bound, sign }) => {
    if (bound === undefined) return [];
    const start = `${word} storage usage per ${type} is ${bound}`;
    if (request === undefined) return [`${start}.  No request is specified`];
    const isBroken = compareQuantities(bound, request) * sign > 0;
    return isBroken ? [`${start}, but request is ${request}`] : [];
  });
}

function outOfBounds(item: LimitRangeItem, requests: Amounts, limits: Amounts): string[] {
  const { type, min = {}, max = {}, maxLimitRequestRatio = {} } = item;
  const errors: string[] = [];
  for (const [name, bound] of Object.entries(min)) {
    const start = `minimum ${name} usage per ${type} is ${bound}`;
    const [request, limit] = [requests[name], limits[name]];
    if (request === undefined) errors.push(`${start}.  No request is specified`);
    else if (compareQuantities(request, bound) < 0)
      errors.push(`${start}, but request is ${request}`);
    if (limit !== undefined && compareQuantities(limit, bound) < 0) {
      errors.push(`${start}, but limit is ${limit}`);
    }
  }
  for (const [name, bound] of Object.entries(max)) {
    const start = `maximum ${name} usage per ${type} is ${bound}`;
    const [request, limit] = [requests[name], limits[name]];
    if (limit === undefined) errors.push(`${start}.  No limit is specified`);
    else if (compareQuantities(limit, bound) > 0) errors.push(`${start}, but limit is ${limit}`);
    if (request !== undefined && compareQuantities(request, bound) > 0) {
      errors.push(`${start}, but request is ${request}`);
    }
  }
  for (const [name, bound] of Object.entries(maxLimitRequestRatio)) {
    errors.push(...ratioError(type, name, bound, requests[name], limits[name]));
  }
  return errors;
}

function ratioError(
  type: string,
  name: string,
  bound: string,
  request: string | undefined,
  limit: string | undefined,
): string[] {
  const start = `${name} max limit to request ratio per ${type} is ${bound}, but `;
  const asked = request === undefined ? 0n : parseQuantity(request).nanos;
  const allowed = limit === undefined ? 0n : parseQuantity(limit).nanos;
  if (asked === 0n) return [`${start}no request is specified or request is 0`];
  if (allowed === 0n) return [`${start}no limit is specified or limit is 0`];
  const ratio = Number(allowed) / Number(asked);
  const most = Number(parseQuantity(bound).nanos) / 1e9;
  return ratio > most ? [`${start}provided ratio is ${ratio.toFixed(6)}`] : [];
}
