/**
 * `npm run gen:kinds`: makes the generated table of kinds from Debian's packages of the Kubernetes API.
 *
 * Input, per API group: `generated.proto` (messages, field numbers, types, and the markers such as
 * +listType) and `types.go` (JSON names, what is a pointer, what is embedded). Output:
 *   protocol/kinds/generated/table.ts   one compact line per message, read by protocol/kinds/table.ts,
 *                                       which documents the format
 *   protocol/kinds/generated/types.ts   one TypeScript interface per message
 * Only facts are taken over, never the descriptions. The same packages give the same bytes.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const META = 'k8s.io.apimachinery.pkg.apis.meta.v1';
const SOURCE_DIR = 'usr/share/gocode/src';

/** In the order in which they may claim a plain name in types.ts: the first one has it. */
const GROUPS = [
  ...['core/v1', 'apps/v1', 'batch/v1', 'autoscaling/v2', 'policy/v1', 'networking/v1'],
  ...['coordination/v1', 'discovery/v1', 'authentication/v1', 'authorization/v1', 'rbac/v1'],
  ...['storage/v1', 'scheduling/v1', 'node/v1', 'events/v1', 'autoscaling/v1', 'certificates/v1'],
];

/** Kinds of meta/v1 that are sent as bodies in any group. */
const META_ROOTS = [
  ...['Status', 'DeleteOptions', 'CreateOptions', 'UpdateOptions', 'PatchOptions', 'Condition'],
  ...['List', 'PartialObjectMetadata', 'PartialObjectMetadataList'],
];

/** Kubernetes' metrics API has no package in Debian; its few fields are written down beside this. */
const METRICS_PACKAGE = 'k8s.io.metrics.pkg.apis.metrics.v1beta1';
const METRICS_FILE = join(ROOT, 'firmware-scripts/metrics-v1beta1.proto');

/** Messages whose JSON is not an object of their fields: code in the table, type in TypeScript. */
const SPECIAL: Record<string, readonly [code: string, ts: string]> = {
  'k8s.io.apimachinery.pkg.api.resource.Quantity': ['q', 'Quantity'],
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': ['x', 'IntOrString'],
  'k8s.io.apimachinery.pkg.runtime.RawExtension': ['r', 'RawExtension'],
  [`${META}.Time`]: ['t', 'Time'],
  [`${META}.MicroTime`]: ['u', 'MicroTime'],
  [`${META}.Duration`]: ['n', 'Duration'],
  [`${META}.FieldsV1`]: ['f', 'FieldsV1'],
};

const SCALARS: Record<string, readonly [code: string, ts: string]> = {
  string: ['s', 'string'],
  bool: ['b', 'boolean'],
  int32: ['i', 'number'],
  int64: ['l', 'number'],
  double: ['d', 'number'],
  bytes: ['y', 'string'],
};

interface Field {
  name: string;
  number: number;
  shape: 'single' | 'list' | 'map';
  /** A scalar's name, or a message's full name. */
  type: string;
  markers: Map<string, string[]>;
  pointer: boolean;
  omitEmpty: boolean;
  inline: boolean;
}

interface Message {
  name: string;
  package: string;
  fields: Field[];
  structType: string | undefined;
  hasTypeMeta: boolean;
  /** The Go type is a plain list of strings (ExtraValue), and so is its JSON. */
  isStringList: boolean;
}

interface Section {
  package: string;
  group: string;
  version: string;
}

const messages = new Map<string, Message>();

function packageDir(name: string): string {
  const script = join(ROOT, 'firmware-scripts/debian-package.sh');
  const out = execFileSync('sh', [script, name, 'sid', join(ROOT, '.cache', name)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return join(out.trim(), SOURCE_DIR);
}

function markersOf(comments: string[]): Map<string, string[]> {
  const markers = new Map<string, string[]>();
  for (const line of comments) {
    const match = /^\+(\w+)(?:=(.*))?$/.exec(line);
    if (match?.[1] === undefined) continue;
    markers.set(match[1], [...(markers.get(match[1]) ?? []), match[2] ?? '']);
  }
  return markers;
}

function parseProto(text: string, packageName: string): void {
  let message: Message | undefined;
  let comments: string[] = [];
  const resolve = (type: string): string => {
    if (SCALARS[type] !== undefined) return type;
    return type.startsWith('.') ? type.slice(1) : `${packageName}.${type}`;
  };
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    const comment = /^\/\/\s?(.*)$/.exec(line);
    if (comment !== null) {
      comments.push((comment[1] ?? '').trim());
      continue;
    }
    const start = /^message (\w+) \{$/.exec(line);
    const field =
      /^(?:(optional|required|repeated) ([\w.]+)|map<string, ([\w.]+)>) (\w+) = (\d+);$/.exec(line);
    if (start?.[1] !== undefined) {
      const structType = markersOf(comments).get('structType')?.[0];
      message = {
        name: start[1],
        package: packageName,
        fields: [],
        structType,
        hasTypeMeta: false,
        isStringList: false,
      };
      messages.set(`${packageName}.${message.name}`, message);
    } else if (field !== null && message !== undefined) {
      message.fields.push({
        name: field[4] ?? '',
        number: Number(field[5]),
        shape: field[3] !== undefined ? 'map' : field[1] === 'repeated' ? 'list' : 'single',
        type: resolve(field[3] ?? field[2] ?? ''),
        markers: markersOf(comments),
        pointer: false,
        omitEmpty: true,
        inline: false,
      });
    } else if (line === '}') {
      message = undefined;
    } else if (line !== '' && message !== undefined) {
      throw new Error(`${packageName}: cannot read the line "${line}"`);
    }
    comments = line === '' && message === undefined ? comments : [];
  }
}

/** Adds what only the Go structs say: JSON names, pointers, embedded structs. */
function parseGo(text: string, packageName: string): void {
  for (const [, name] of text.matchAll(/^type (\w+) \[\]string$/gm)) {
    const message = messages.get(`${packageName}.${name}`);
    if (message !== undefined) message.isStringList = true;
  }
  for (const [, name, body] of text.matchAll(/^type (\w+) struct \{\n(.*?)^\}/gms)) {
    const message = messages.get(`${packageName}.${name}`);
    if (message === undefined || body === undefined) continue;
    for (const match of body.matchAll(/^\t(?:(\w+)\s+)?(\S+)\s+`json:"([^"]*)"(.*)`/gm)) {
      const [, , goType = '', json = '', rest = ''] = match;
      if (/^(metav1\.)?TypeMeta$/.test(goType)) message.hasTypeMeta = true;
      const number = Number(/protobuf:"\w+,(\d+)/.exec(rest)?.[1] ?? 0);
      const field = message.fields.find((f) => f.number === number);
      if (field === undefined) continue;
      const [jsonName = '', ...options] = json.split(',');
      field.inline = options.includes('inline');
      if (!field.inline) field.name = jsonName;
      field.pointer = goType.startsWith('*');
      field.omitEmpty = options.includes('omitempty') || options.includes('omitzero');
    }
  }
}

/** As OpenAPI has it: the markers decide, and where they are silent, a missing omitempty. */
function isRequired(field: Field): boolean {
  if (field.markers.has('required')) return true;
  return !field.markers.has('optional') && !field.omitEmpty && !field.inline;
}

/** Optional, but Go writes it to JSON also when it is zero. */
function isAlwaysWritten(field: Field): boolean {
  const isScalar = field.shape === 'single' && !field.pointer && SCALARS[field.type] !== undefined;
  return isScalar && !field.omitEmpty;
}

function isStringList(field: Field): boolean {
  return messages.get(field.type)?.isStringList === true;
}

function typeCode(field: Field, sections: Section[], own: string): string {
  const code = SCALARS[field.type]?.[0] ?? SPECIAL[field.type]?.[0];
  if (code !== undefined) return code;
  const target = messages.get(field.type);
  if (target === undefined) throw new Error(`${own}.${field.name}: no message ${field.type}`);
  const section = sections.findIndex((s) => s.package === target.package);
  const ref = target.package === own ? target.name : `${section}.${target.name}`;
  return `${target.isStringList ? 'e' : 'm'}${ref}`;
}

function encodeField(field: Field, sections: Section[], own: string): string {
  const value = (marker: string): string | undefined => field.markers.get(marker)?.[0];
  const shape = { single: '', list: '[', map: '{' }[field.shape];
  const parts = [
    field.inline ? '' : field.name,
    String(field.number),
    `${field.pointer ? '*' : ''}${shape}${typeCode(field, sections, own)}`,
  ];
  if (isRequired(field)) parts.push('!');
  else if (isAlwaysWritten(field)) parts.push('Z');
  const structType = value('structType') ?? value('mapType');
  if (structType !== undefined) parts.push(`T${structType}`);
  if (value('listType') !== undefined) parts.push(`L${value('listType')}`);
  const keys = field.markers.get('listMapKey');
  if (keys !== undefined) parts.push(`K${keys.join(',')}`);
  if (value('patchStrategy') !== undefined) parts.push(`S${value('patchStrategy')}`);
  if (value('patchMergeKey') !== undefined) parts.push(`M${value('patchMergeKey')}`);
  const byDefault = value('default');
  // ref(...) names a Go constant; it occurs twice, both for the retired AzureDisk volumes.
  if (byDefault !== undefined && !byDefault.startsWith('ref(')) parts.push(`D${byDefault}`);
  const text = parts.join(' ');
  if (/[;\n`\\$]/.test(text)) throw new Error(`${own}: the format has no place for "${text}"`);
  return text;
}

function reachable(roots: string[]): Set<string> {
  const seen = new Set<string>();
  const queue = [...roots];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (seen.has(name) || SPECIAL[name] !== undefined) continue;
    const message = messages.get(name);
    if (message === undefined) throw new Error(`no message ${name}`);
    seen.add(name);
    for (const field of message.fields)
      if (SCALARS[field.type] === undefined) queue.push(field.type);
  }
  return seen;
}

function emitTable(sections: Section[], wanted: Set<string>): string {
  const lines: string[] = [];
  for (const section of sections) {
    const fullName = section.package.replace(/^k8s\.io\./, 'io.k8s.');
    lines.push(`#${fullName} ${section.group} ${section.version}`.trimEnd());
    const own = [...messages.values()]
      .filter((m) => m.package === section.package && wanted.has(`${m.package}.${m.name}`))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const message of own) {
      if (message.isStringList) continue;
      const flags = `${message.hasTypeMeta ? 'k' : ''}${message.structType === 'atomic' ? 'a' : ''}`;
      const fields = message.fields.map((f) => encodeField(f, sections, section.package));
      lines.push([`${message.name} ${flags}`.trimEnd(), ...fields].join(';'));
    }
  }
  return lines.join('\n');
}

/** The interface name of each message: plain for the first group that has it, else with the group before it. */
function interfaceNames(sections: Section[], wanted: Set<string>): Map<string, string> {
  const names = new Map<string, string>();
  const taken = new Set<string>();
  for (const section of sections) {
    const prefix = section.package
      .split('.')
      .slice(-2)
      .map((part) => `${part[0]?.toUpperCase()}${part.slice(1)}`)
      .join('');
    for (const full of [...wanted].sort()) {
      const message = messages.get(full);
      if (message?.package !== section.package) continue;
      const name = taken.has(message.name) ? `${prefix}${message.name}` : message.name;
      taken.add(name);
      names.set(full, name);
    }
  }
  return names;
}

/** Without a value of its own (an absent pointer, an absent time), even a required field may be missing. */
function hasZero(field: Field): boolean {
  const isTime = ['t', 'u'].includes(SPECIAL[field.type]?.[0] ?? '');
  return field.shape !== 'single' || (!field.pointer && !isTime);
}

function emitInterface(message: Message, names: Map<string, string>): string {
  const name = names.get(`${message.package}.${message.name}`) ?? '';
  const isObject =
    message.hasTypeMeta && message.fields.some((f) => f.type === `${META}.ObjectMeta`);
  const lines: string[] = [];
  const visit = (fields: Field[]): void => {
    for (const field of fields) {
      if (field.inline) {
        visit(messages.get(field.type)?.fields ?? []);
        continue;
      }
      const base = isStringList(field)
        ? 'string[]'
        : (SCALARS[field.type]?.[1] ?? SPECIAL[field.type]?.[1] ?? names.get(field.type) ?? '');
      const type = { single: base, list: `${base}[]`, map: `Record<string, ${base}>` }[field.shape];
      const required = isRequired(field) && hasZero(field) && field.name !== 'metadata';
      lines.push(`  ${field.name}${required ? '' : '?'}: ${type};`);
    }
  };
  if (message.hasTypeMeta && !isObject) lines.push('  apiVersion?: string;', '  kind?: string;');
  visit(message.fields);
  return `export interface ${name}${isObject ? ' extends KubeObject' : ''} {\n${lines.join('\n')}\n}`;
}

function emitTypes(sections: Section[], wanted: Set<string>): string {
  const names = interfaceNames(sections, wanted);
  const byHand = new Set([`${META}.ObjectMeta`, `${META}.OwnerReference`]);
  const parts: string[] = [];
  for (const section of sections) {
    for (const full of [...wanted].sort()) {
      const message = messages.get(full);
      if (message?.package !== section.package || message.isStringList || byHand.has(full))
        continue;
      parts.push(emitInterface(message, names));
    }
  }
  return parts.join('\n\n');
}

function main(): void {
  const api = join(packageDir('golang-k8s-api-dev'), 'k8s.io/api');
  const machinery = join(packageDir('golang-k8s-apimachinery-dev'), 'k8s.io/apimachinery');
  const sections: Section[] = [{ package: META, group: '', version: '' }];
  const load = (dir: string, packageName: string): void => {
    parseProto(readFileSync(join(dir, 'generated.proto'), 'utf8'), packageName);
    parseGo(readFileSync(join(dir, 'types.go'), 'utf8'), packageName);
  };
  load(join(machinery, 'pkg/apis/meta/v1'), META);
  for (const group of GROUPS) {
    const packageName = `k8s.io.api.${group.replace('/', '.')}`;
    load(join(api, group), packageName);
    const register = readFileSync(join(api, group, 'register.go'), 'utf8');
    const groupName = /GroupName = "([^"]*)"/.exec(register)?.[1];
    if (groupName === undefined) throw new Error(`${group}: register.go names no group`);
    sections.push({
      package: packageName,
      group: groupName || 'core',
      version: group.split('/')[1] ?? '',
    });
  }
  parseProto(readFileSync(METRICS_FILE, 'utf8'), METRICS_PACKAGE);
  for (const message of messages.values()) {
    if (message.package === METRICS_PACKAGE)
      message.hasTypeMeta = message.name !== 'ContainerMetrics';
  }
  sections.push({ package: METRICS_PACKAGE, group: 'metrics.k8s.io', version: 'v1beta1' });

  const inGroups = new Set(sections.slice(1).map((s) => s.package));
  const roots = [...messages].filter(([, m]) => m.hasTypeMeta && inGroups.has(m.package));
  const wanted = reachable([...META_ROOTS.map((n) => `${META}.${n}`), ...roots.map(([n]) => n)]);

  const head = [
    '// Made by `npm run gen:kinds`; do not edit.',
    '// The field tables come from Kubernetes (k8s.io/api, k8s.io/apimachinery; Apache-2.0).',
  ].join('\n');
  const out = join(ROOT, 'protocol/kinds/generated');
  const table = emitTable(sections, wanted);
  writeFileSync(join(out, 'table.ts'), `${head}\n\nexport const TABLE = \`${table}\`;\n`);
  const imports = [
    "import type { KubeObject, ObjectMeta, OwnerReference } from '../meta.ts';",
    '',
    '/** Exact decimal with a suffix, as "500m" or "1Gi"; see protocol/quantity.ts. */',
    'export type Quantity = string;',
    'export type IntOrString = number | string;',
    '/** RFC 3339 in UTC, whole seconds. */',
    'export type Time = string;',
    '/** RFC 3339 in UTC with six fractional digits. */',
    'export type MicroTime = string;',
    '/** As "1m30s". */',
    'export type Duration = string;',
    '/** Any JSON value. */',
    'export type RawExtension = unknown;',
    'export type FieldsV1 = Record<string, unknown>;',
  ].join('\n');
  writeFileSync(join(out, 'types.ts'), `${head}\n${imports}\n\n${emitTypes(sections, wanted)}\n`);
  console.log(`${wanted.size} messages, table of ${table.length} bytes`);
}

main();
