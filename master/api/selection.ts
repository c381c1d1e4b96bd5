/**
 * Which objects of a kind a list or watch is about: namespace, label selector and field selector compiled once.
 * A field path that the kind does not offer is refused with Kubernetes' 400, never taken as "no match".
 */
import { decodeObject } from '../../protocol/kinds/decode.ts';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import {
  type FieldTerm,
  type LabelRequirement,
  matchesRequirements,
  parseFieldSelector,
  parseLabelSelector,
} from '../../protocol/selector.ts';
import { badRequest } from '../../protocol/status.ts';
import type { ListOptions } from './client.ts';
import { keyFor, type Resource, rangeFor } from './resources.ts';

export interface Selection {
  readonly resource: Resource;
  readonly namespace: string;
  /** The range of keys that holds every match. */
  readonly range: { readonly start: string; readonly end?: string };
  /** True when the range is the answer: no object need be parsed. */
  readonly all: boolean;
  matches(object: KubeObject): boolean;
}

/** Throws `ApiError` 400 for selectors that cannot be understood. */
export function compileSelection(resource: Resource, options: ListOptions): Selection {
  const { module } = resource;
  const labels =
    options.labelSelector === undefined || options.labelSelector === ''
      ? []
      : parseLabelSelector(options.labelSelector);
  const terms =
    options.fieldSelector === undefined || options.fieldSelector === ''
      ? []
      : parseFieldSelector(options.fieldSelector);
  const namespace = module.namespaced
    ? options.namespace || equalTo(terms, 'metadata.namespace') || ''
    : '';
  const name = equalTo(terms, 'metadata.name');
  checkPaths(resource, terms);

  const exact = name !== undefined && name !== '' && (namespace !== '' || !module.namespaced);
  // Two names at once match nothing: only the one that the range asks for is answered by it.
  const rest = terms.filter((term) => !(exact && isExactName(term) && term.value === name));
  return {
    resource,
    namespace,
    range: exact ? { start: keyFor(resource, namespace, name) } : rangeFor(resource, namespace),
    all: labels.length === 0 && rest.length === 0,
    matches: (object) => matchesLabels(labels, object) && matchesFields(rest, resource, object),
  };
}

function isExactName(term: FieldTerm): boolean {
  return term.path === 'metadata.name' && term.operator === '=';
}

function equalTo(terms: readonly FieldTerm[], path: string): string | undefined {
  return terms.find((term) => term.path === path && term.operator === '=')?.value;
}

function matchesLabels(labels: readonly LabelRequirement[], object: KubeObject): boolean {
  return labels.length === 0 || matchesRequirements(labels, object.metadata?.labels);
}

function matchesFields(
  terms: readonly FieldTerm[],
  resource: Resource,
  object: KubeObject,
): boolean {
  if (terms.length === 0) return true;
  const fields = fieldsOf(resource, object);
  return terms.every(({ path, operator, value }) => {
    const have = Object.hasOwn(fields, path) ? fields[path] : '';
    return (have === value) === (operator === '=');
  });
}

function fieldsOf(resource: Resource, object: KubeObject): Record<string, string> {
  return {
    'metadata.name': object.metadata?.name ?? '',
    'metadata.namespace': object.metadata?.namespace ?? '',
    ...resource.module.selectableFields?.(object),
  };
}

/** Kubernetes: "field label not supported". Every supported path is present in any object's answer. */
function checkPaths(resource: Resource, terms: readonly FieldTerm[]): void {
  if (terms.length === 0) return;
  const known = knownFields(resource);
  for (const { path } of terms) {
    if (known.has(path)) continue;
    throw badRequest(`field label not supported: ${path}`);
  }
}

const fieldNames = new WeakMap<Resource, ReadonlySet<string>>();

function knownFields(resource: Resource): ReadonlySet<string> {
  const known = fieldNames.get(resource);
  if (known !== undefined) return known;
  const { module } = resource;
  const empty = decodeObject<KubeObject>(module.message, { metadata: { name: '' } }).object;
  module.setDefaults(empty);
  const names = new Set(Object.keys(fieldsOf(resource, empty)));
  if (!module.namespaced) names.delete('metadata.namespace');
  fieldNames.set(resource, names);
  return names;
}
