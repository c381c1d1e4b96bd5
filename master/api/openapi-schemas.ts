/** OpenAPI schemas of messages, from the table of kinds: types, kinds, merge keys and list types. */
import { type FieldSpec, kindByGvk, messageSpec } from '../../protocol/kinds/table.ts';
import type { KindModule } from './kind.ts';
import { SCALE_KIND } from './scale.ts';

type Schema = Record<string, unknown>;

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';

/** JSON forms of messages that are no objects in JSON. */
const SPECIAL: Readonly<Record<string, Schema>> = {
  quantity: { oneOf: [{ type: 'string' }, { type: 'number' }] },
  intOrString: { oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' },
  time: { type: 'string', format: 'date-time' },
  microTime: { type: 'string', format: 'date-time' },
  duration: { type: 'string' },
  rawExtension: { type: 'object' },
  fieldsV1: { type: 'object' },
};

const SCALARS: Readonly<Record<string, Schema>> = {
  string: { type: 'string' },
  bool: { type: 'boolean' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  double: { type: 'number', format: 'double' },
  bytes: { type: 'string', format: 'byte' },
  stringList: { type: 'array', items: { type: 'string' } },
};

/** All schemas that the kinds need, by name, in the order of their names. */
export function collectSchemas(modules: readonly KindModule[]): Record<string, Schema> {
  const schemas = new Map<string, Schema>();
  const waiting: string[] = [];
  for (const module of modules) {
    waiting.push(module.message);
    if (kindByGvk(module.group, module.version, `${module.kind}List`) !== undefined) {
      waiting.push(`${module.message}List`);
    }
    if (module.subresources.scale === true) waiting.push(SCALE_KIND.message);
  }
  waiting.push(`${META}.DeleteOptions`, `${META}.Status`);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (schemas.has(name)) continue;
    const { schema, uses } = messageSchema(name);
    schemas.set(name, schema);
    for (const [used, special] of uses) {
      if (special === undefined) waiting.push(used);
      else schemas.set(used, special);
    }
  }
  for (const name of schemas.keys()) addKind(name, schemas, modules);
  return Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function messageSchema(name: string): { schema: Schema; uses: Map<string, Schema | undefined> } {
  const spec = messageSpec(name);
  const uses = new Map<string, Schema | undefined>();
  const properties: Record<string, Schema> = {};
  if (spec.hasTypeMeta) {
    properties.apiVersion = { type: 'string' };
    properties.kind = { type: 'string' };
  }
  const required: string[] = [];
  for (const field of spec.fields.values()) {
    properties[field.name] = fieldSchema(field, uses);
    if (field.required) required.push(field.name);
  }
  const schema: Schema = { type: 'object', properties };
  if (required.length > 0) schema.required = required;
  if (spec.atomic) schema['x-kubernetes-map-type'] = 'atomic';
  return { schema, uses };
}

function fieldSchema(field: FieldSpec, uses: Map<string, Schema | undefined>): Schema {
  const value = valueSchema(field, uses);
  const schema: Schema =
    field.shape === 'list'
      ? { type: 'array', items: value }
      : field.shape === 'map'
        ? { type: 'object', additionalProperties: value }
        : value;
  if (field.default !== undefined) schema.default = field.default;
  if (field.structType !== undefined) schema['x-kubernetes-map-type'] = field.structType;
  if (field.listType !== undefined) schema['x-kubernetes-list-type'] = field.listType;
  if (field.listMapKeys.length > 0) schema['x-kubernetes-list-map-keys'] = field.listMapKeys;
  if (field.mergeKey !== undefined) schema['x-kubernetes-patch-merge-key'] = field.mergeKey;
  if (field.patchStrategy.length > 0) {
    schema['x-kubernetes-patch-strategy'] = field.patchStrategy.join(',');
  }
  return schema;
}

function valueSchema(field: FieldSpec, uses: Map<string, Schema | undefined>): Schema {
  const scalar = SCALARS[field.type];
  if (scalar !== undefined) return { ...scalar };
  const name = field.message ?? '';
  uses.set(name, SPECIAL[field.type]);
  // OpenAPI 3.0 ignores what stands beside a $ref, so references hide in allOf.
  return { allOf: [{ $ref: `#/components/schemas/${name}` }] };
}

/** Says of which kind a schema is; clients find schemas by that, not by their names. */
function addKind(
  name: string,
  schemas: ReadonlyMap<string, Schema>,
  modules: readonly KindModule[],
): void {
  const schema = schemas.get(name);
  if (schema === undefined) return;
  const own = modules.find((one) => one.message === name || `${one.message}List` === name);
  if (own !== undefined) {
    const kind = own.message === name ? own.kind : `${own.kind}List`;
    schema[GVK] = [{ group: own.group, kind, version: own.version }];
  } else if (name === SCALE_KIND.message) {
    schema[GVK] = [{ group: 'autoscaling', kind: 'Scale', version: 'v1' }];
  } else if (name === `${META}.DeleteOptions` || name === `${META}.Status`) {
    schema[GVK] = [{ group: '', kind: name.slice(META.length + 1), version: 'v1' }];
  }
}

export const GVK = 'x-kubernetes-group-version-kind';
