/**
 * The table of kinds: for every message of the API its fields, with number, type, and how lists merge.
 * The one source for decoding, patches, server-side apply, OpenAPI and protobuf.
 *
 * The data (generated/table.ts, 50 KB) is one string that is cut into lines at load and decoded per message
 * on first use, so that a board holds in memory only what it works with. Its lines are:
 *
 *     #PACKAGE [GROUP VERSION]        a section; messages below belong to it ("core" is the empty group)
 *     NAME[ FLAGS];FIELD;FIELD;...    a message. FLAGS: k = has apiVersion and kind, a = +structType=atomic
 *
 * where FIELD is `JSONNAME NUMBER TYPE MARK...`, with an empty JSONNAME for an embedded struct whose
 * fields stand in its parent in JSON, and
 *
 *     TYPE = [*][ "[" | "{" ] CODE    * = a pointer in Go; [ = list; { = map from string
 *     CODE = s string, b bool, i int32, l int64, d double, y bytes, q Quantity, x IntOrString, t Time,
 *            u MicroTime, n Duration, r RawExtension, f FieldsV1, eREF list of strings, mREF message;
 *            REF is a name in the same section or `SECTION.NAME` with the section's place in the file
 *     MARK = ! required, Z optional but in JSON also when zero, T +structType or +mapType, L +listType, K +listMapKey (comma separated),
 *            S patchStrategy (comma separated), M patchMergeKey, D default (JSON)
 */
import { TABLE } from './generated/table.ts';

export type FieldType =
  | 'string'
  | 'bool'
  | 'int32'
  | 'int64'
  | 'double'
  | 'bytes'
  | 'quantity'
  | 'intOrString'
  | 'time'
  | 'microTime'
  | 'duration'
  | 'rawExtension'
  | 'fieldsV1'
  | 'stringList'
  | 'message';

export interface FieldSpec {
  /** Name in JSON. Empty when `inline`. */
  readonly name: string;
  /** Field number in protobuf. */
  readonly number: number;
  /** Of the value; of each element when `shape` is list or map (keys are strings). */
  readonly type: FieldType;
  /** Full name, as `io.k8s.api.core.v1.Pod`: for messages and the types with a JSON form of their own. */
  readonly message: string | undefined;
  readonly shape: 'single' | 'list' | 'map';
  /** A pointer in Go: a zero value differs from an absent one. */
  readonly pointer: boolean;
  /** Required as in OpenAPI. */
  readonly required: boolean;
  /** Optional, but written to JSON also when it is zero. */
  readonly alwaysWritten: boolean;
  /** An embedded struct; only in `MessageSpec.wireFields`. */
  readonly inline: boolean;
  /** For server-side apply. A list without it is atomic. */
  readonly listType: 'atomic' | 'set' | 'map' | undefined;
  readonly listMapKeys: readonly string[];
  /** Whether a map or message is owned as a whole. */
  readonly structType: 'atomic' | 'granular' | undefined;
  /** For strategic merge patches. */
  readonly mergeKey: string | undefined;
  readonly patchStrategy: readonly string[];
  readonly default: unknown;
}

export interface MessageSpec {
  /** As `io.k8s.api.core.v1.Pod`. */
  readonly name: string;
  /** As Go prints it in errors, "v1.Pod". */
  readonly goName: string;
  /** Has `TYPE_META_FIELDS` in JSON (they are no fields of the message). */
  readonly hasTypeMeta: boolean;
  /** Owned as a whole in server-side apply. */
  readonly atomic: boolean;
  /** As in JSON: the fields of embedded structs stand beside the others. Keyed by JSON name. */
  readonly fields: ReadonlyMap<string, FieldSpec>;
  /** As in protobuf: an embedded struct is one field. Keyed by number, in ascending order. */
  readonly wireFields: ReadonlyMap<number, FieldSpec>;
}

export interface KindInfo {
  /** Empty for core/v1. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly message: string;
  readonly isList: boolean;
}

interface Section {
  readonly package: string;
  readonly group: string | undefined;
  readonly version: string;
}

const META_PACKAGE = 'io.k8s.apimachinery.pkg.apis.meta.v1';

const SCALAR_CODES: Readonly<Record<string, FieldType>> = {
  s: 'string',
  b: 'bool',
  i: 'int32',
  l: 'int64',
  d: 'double',
  y: 'bytes',
};

/** Messages with a JSON form of their own: type and full name. */
const SPECIAL_CODES: Readonly<Record<string, readonly [FieldType, string]>> = {
  q: ['quantity', 'io.k8s.apimachinery.pkg.api.resource.Quantity'],
  x: ['intOrString', 'io.k8s.apimachinery.pkg.util.intstr.IntOrString'],
  t: ['time', `${META_PACKAGE}.Time`],
  u: ['microTime', `${META_PACKAGE}.MicroTime`],
  n: ['duration', `${META_PACKAGE}.Duration`],
  r: ['rawExtension', 'io.k8s.apimachinery.pkg.runtime.RawExtension'],
  f: ['fieldsV1', `${META_PACKAGE}.FieldsV1`],
};

/** The two fields that kinds have in JSON and not in protobuf, where the envelope has them. */
export const TYPE_META_FIELDS: ReadonlyMap<string, FieldSpec> = new Map(
  ['apiVersion 1 s', 'kind 2 s'].map((text) => {
    const field = decodeField(text, { package: META_PACKAGE, group: undefined, version: '' });
    return [field.name, field];
  }),
);

const sections: Section[] = [];
const lines = new Map<string, { readonly text: string; readonly section: Section }>();
const decoded = new Map<string, MessageSpec>();

/** Every kind of the groups in the table, lists and bodies of subresources (`Binding`, `Scale`) included. */
export const KINDS: readonly KindInfo[] = readTable();
const kindsByGvk = new Map(KINDS.map((k) => [`${k.group}/${k.version}/${k.kind}`, k]));

/**
 * The kind with this group, version and name. The kinds of meta/v1 (`Status`, `DeleteOptions`, ...) are
 * found in every group, because clients send them in the group of the resource they talk about.
 */
export function kindByGvk(group: string, version: string, kind: string): KindInfo | undefined {
  const info = kindsByGvk.get(`${group}/${version}/${kind}`);
  if (info !== undefined) return info;
  const message = `${META_PACKAGE}.${kind}`;
  if (!lines.has(message) || !messageSpec(message).hasTypeMeta) return undefined;
  return { group, version, kind, message, isList: kind.endsWith('List') };
}

/** The same for an `apiVersion` such as `v1` or `apps/v1`. */
export function kindByApiVersion(apiVersion: string, kind: string): KindInfo | undefined {
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  return kindByGvk(group, apiVersion.slice(slash + 1), kind);
}

/** The fields of a message. Throws when the table has none of that name. */
export function messageSpec(name: string): MessageSpec {
  const known = decoded.get(name);
  if (known !== undefined) return known;
  const line = lines.get(name);
  if (line === undefined) throw new Error(`no message "${name}" in the table of kinds`);
  const spec = decodeMessage(name, line.text, line.section);
  decoded.set(name, spec);
  return spec;
}

/** Names of all messages in the table. */
export function messageNames(): string[] {
  return [...lines.keys()];
}

function readTable(): KindInfo[] {
  const kinds: KindInfo[] = [];
  let section: Section | undefined;
  for (const text of TABLE.split('\n')) {
    if (text.startsWith('#')) {
      const [name = '', group, version = ''] = text.slice(1).split(' ');
      section = { package: name, group: group === 'core' ? '' : group, version };
      sections.push(section);
      continue;
    }
    if (section === undefined) throw new Error('the table of kinds does not begin with a section');
    const head = text.slice(0, (text.indexOf(';') + 1 || text.length + 1) - 1);
    const [kind = '', flags = ''] = head.split(' ');
    const message = `${section.package}.${kind}`;
    lines.set(message, { text, section });
    if (flags.includes('k') && section.group !== undefined) {
      const { group, version } = section;
      const isList = kind.endsWith('List') && text.includes(';items ');
      kinds.push({ group, version, kind, message, isList });
    }
  }
  return kinds;
}

function decodeMessage(name: string, text: string, section: Section): MessageSpec {
  const [head = '', ...parts] = text.split(';');
  const [shortName = '', flags = ''] = head.split(' ');
  const fields = new Map<string, FieldSpec>();
  const wireFields = new Map<number, FieldSpec>();
  for (const part of parts) {
    const field = decodeField(part, section);
    wireFields.set(field.number, field);
    if (!field.inline) {
      fields.set(field.name, field);
    } else if (field.message !== undefined) {
      for (const inner of messageSpec(field.message).fields.values()) fields.set(inner.name, inner);
    }
  }
  return {
    name,
    goName: `${section.package.slice(section.package.lastIndexOf('.') + 1)}.${shortName}`,
    hasTypeMeta: flags.includes('k'),
    atomic: flags.includes('a'),
    fields,
    wireFields: new Map([...wireFields].sort(([a], [b]) => a - b)),
  };
}

function decodeField(text: string, section: Section): FieldSpec {
  const [name = '', number = '', typeText = '', ...marks] = text.split(' ');
  const [, star = '', shape = '', code = '', ref = ''] =
    /^(\*?)([[{]?)(.)(.*)$/.exec(typeText) ?? [];
  const mark = (letter: string): string | undefined =>
    marks.find((m) => m.startsWith(letter))?.slice(1);
  const special = SPECIAL_CODES[code];
  const byDefault = mark('D');
  return {
    name,
    number: Number(number),
    type: SCALAR_CODES[code] ?? special?.[0] ?? (code === 'e' ? 'stringList' : 'message'),
    message: special?.[1] ?? (ref === '' ? undefined : resolveRef(ref, section)),
    shape: shape === '[' ? 'list' : shape === '{' ? 'map' : 'single',
    pointer: star !== '',
    required: marks.includes('!'),
    alwaysWritten: marks.includes('Z'),
    inline: name === '',
    listType: oneOf(mark('L'), ['atomic', 'set', 'map']),
    listMapKeys: mark('K')?.split(',') ?? [],
    structType: oneOf(mark('T'), ['atomic', 'granular']),
    mergeKey: mark('M'),
    patchStrategy: mark('S')?.split(',') ?? [],
    default: byDefault === undefined ? undefined : JSON.parse(byDefault),
  };
}

function resolveRef(ref: string, section: Section): string {
  const [place = '', name] = ref.split('.');
  if (name === undefined) return `${section.package}.${ref}`;
  return `${sections[Number(place)]?.package}.${name}`;
}

function oneOf<T extends string>(text: string | undefined, allowed: readonly T[]): T | undefined {
  return allowed.find((a) => a === text);
}
