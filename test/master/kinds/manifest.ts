/** From a manifest in YAML to the object, its errors, warnings and cells, as the API's machinery would ask for them. */
import { parse } from 'yaml';
import { ServiceAllocator } from '../../../master/api/allocator.ts';
import type { Cell, KindModule } from '../../../master/api/kind.ts';
import { KIND_MODULES } from '../../../master/api/kinds/all.ts';
import { decodeObject } from '../../../protocol/kinds/decode.ts';
import type { KubeObject } from '../../../protocol/kinds/meta.ts';

export const NOW_MS = Date.parse('2026-01-10T00:00:00Z');
export const CREATED = '2026-01-09T23:50:00Z';
const USER = { name: 'test', groups: ['system:masters'] };

export function moduleOf(kind: string): KindModule {
  const found = KIND_MODULES.find((module) => module.kind === kind);
  if (found === undefined) throw new Error(`no kind ${kind}`);
  return found;
}

export function decoded(kind: string, yaml: string): KubeObject {
  const { object, errors, unknownFields } = decodeObject<KubeObject>(
    moduleOf(kind).message,
    parse(yaml),
  );
  if (errors.length + unknownFields.length > 0) {
    throw new Error(`bad manifest in a test: ${JSON.stringify([errors, unknownFields])}`);
  }
  return object;
}

/** As a POST does it, up to the store. */
export function created(kind: string, yaml: string, pool = newPool()): KubeObject {
  const module = moduleOf(kind);
  const object = decoded(kind, yaml);
  module.setDefaults(object);
  const allocator = pool.reserve(new Set());
  module.prepareForCreate?.(object, { user: USER, nowMs: NOW_MS, allocator });
  return object;
}

/** As a PUT does it. */
export function updated(
  kind: string,
  yaml: string,
  previous: KubeObject,
  pool = newPool(),
): KubeObject {
  const module = moduleOf(kind);
  const object = decoded(kind, yaml);
  module.setDefaults(object);
  const allocator = pool.reserve(ServiceAllocator.holdings(module, previous));
  module.prepareForUpdate?.(object, previous, { user: USER, nowMs: NOW_MS, allocator });
  return object;
}

export function newPool(): ServiceAllocator {
  return new ServiceAllocator({ random: () => 0 });
}

const shown = ({ field, message }: { field: string; message: string }) => `${field}: ${message}`;

export function errorsOf(kind: string, yaml: string): string[] {
  return moduleOf(kind).validate(created(kind, yaml)).map(shown);
}

export function updateErrors(kind: string, before: string, after: string): string[] {
  const module = moduleOf(kind);
  const previous = created(kind, before);
  const next = updated(kind, after, previous);
  return [...module.validate(next), ...(module.validateUpdate?.(next, previous) ?? [])].map(shown);
}

export function warningsOf(kind: string, yaml: string): string[] {
  return moduleOf(kind).warnings?.(created(kind, yaml)) ?? [];
}

/** Cells by column name. */
export function cells(kind: string, object: KubeObject): Record<string, Cell> {
  const module = moduleOf(kind);
  const row = module.row(object, NOW_MS);
  return Object.fromEntries(module.columns.map(({ name }, at) => [name, row[at] ?? 'missing']));
}

export const pod = (spec: string, rest = '') => `
metadata: {name: web, namespace: default, creationTimestamp: '${CREATED}'}
${rest}
spec: ${spec}
`;

export const onePod = (container: string, rest = '') =>
  pod(`
  ${rest}
  containers:
  - name: web
    image: nginx:1.27
    ${container}`);

export const deploymentYaml = (spec: string, more = '') => `
metadata: {name: web, creationTimestamp: '${CREATED}'}
spec:
  ${more}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: ${spec}
`;
export const GOOD = '{containers: [{name: a, image: nginx}]}';
