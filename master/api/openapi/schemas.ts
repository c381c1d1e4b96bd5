/** OpenAPI schemas of messages, from the table of kinds: types, kinds, merge keys and list types. */
import { type FieldSpec, kindByGvk, messageSpec } from '../../../protocol/kinds/table.ts';
import { type ApiEntry, kindOf, messageOf } from '../entries.ts';

type Schema = Record<string, unknown>;

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
export const GVK = 'x-kubernetes-group-version-kind';
export const STATUS = `${META}.Status`;

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

/** All schemas that the resources need, by name, in the order of their names. */
export function collectSchemas(entries: readonly ApiEntry[]): Record<string, Schema> {
  const schemas = new Map<string, Schema>();
  const kinds = kindsOf(entries);
  const waiting = [...kinds.keys()];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (schemas.has(name)) continue;
    const { schema, uses } = messageSchema(name);
    schemas.set(name, schema);
    // Clients find the schema of a kind by that, not by its name.
    const kind = kinds.get(name);
    if (kind !== undefined) schema[GVK] = [kind];
    for (const [used, special] of uses) {
      if (special === undefined) waiting.push(used);
      else schemas.set(used, special);
    }
  }
  return Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The kinds that are sent and answered, by the names of their messages. */
function kindsOf(entries: readonly ApiEntry[]): Map<string, object> {
  const kinds = new Map<string, object>();
  for (const entry of entries) {
    const message = messageOf(entry);
    if (message === undefined) continue;
    const { group, version, kind } = kindOf(entry);
    kinds.set(message, { group, kind, version });
    const list = kindByGvk(group, version, `${kind}List`);
    if (list !== undefined) kinds.set(list.message, { group, kind: list.kind, version });
  }
  for (const kind of ['DeleteOptions', 'Status']) {
    kinds.set(`${META}.${kind}`, { group: '', kind, version: 'v1' });
  }
  return kinds;
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
