/** Every resource and subresource that this server has, as discovery and OpenAPI describe it. Made from the kind modules. */
import { kindByGvk } from '../../protocol/kinds/table.ts';
import { TOKEN_REQUEST } from './authn/token-request.ts';
import type { KindModule } from './kind.ts';
import type { Verb } from './routes.ts';
import { SCALE_KIND } from './scale.ts';
import type { VirtualResource } from './virtual.ts';

export interface ApiEntry {
  readonly group: string;
  readonly version: string;
  /** "deployments" or "deployments/scale". */
  readonly name: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly kind: string;
  /** Where the kind comes from when it is not this group and version. */
  readonly from?: { readonly group: string; readonly version: string };
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  /** Bytes go through it and no objects. */
  readonly isStream?: true;
}

const ALL_VERBS: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];
const PART_VERBS: readonly Verb[] = ['get', 'patch', 'update'];

export function apiEntries(
  modules: readonly KindModule[],
  virtual: readonly VirtualResource[],
): ApiEntry[] {
  return [...modules.flatMap(moduleEntries), ...virtual.map(virtualEntry)];
}

/** The kind of what an entry takes and gives. */
export function kindOf({ group, version, kind, from }: ApiEntry): {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
} {
  return { group: from?.group ?? group, version: from?.version ?? version, kind };
}

/** Its name in the table of kinds; undefined for streams. */
export function messageOf(entry: ApiEntry): string | undefined {
  if (entry.isStream === true) return undefined;
  const { group, version, kind } = kindOf(entry);
  return kindByGvk(group, version, kind)?.message;
}

function moduleEntries(module: KindModule): ApiEntry[] {
  const { group, version, plural, singular, namespaced, kind, subresources } = module;
  const base = { group, version, namespaced, kind, shortNames: [], categories: [] };
  const part = (name: string, verbs: readonly string[], more: object = {}): ApiEntry => ({
    ...base,
    name: `${plural}/${name}`,
    singular: '',
    verbs,
    ...more,
  });
  const stream = { isStream: true };
  const isNamespaces = group === '' && plural === 'namespaces';
  const verbs = isNamespaces ? ALL_VERBS.filter((v) => v !== 'deletecollection') : ALL_VERBS;
  const { shortNames, categories } = module;
  const entries: ApiEntry[] = [{ ...base, name: plural, singular, verbs, shortNames, categories }];
  if (subresources.status === true) entries.push(part('status', PART_VERBS));
  if (subresources.approval === true) entries.push(part('approval', PART_VERBS));
  if (subresources.ephemeralcontainers === true) {
    entries.push(part('ephemeralcontainers', PART_VERBS));
  }
  if (subresources.scale === true) {
    const from = { group: SCALE_KIND.group, version: SCALE_KIND.version };
    entries.push(part('scale', PART_VERBS, { kind: 'Scale', from }));
  }
  if (isNamespaces) entries.push(part('finalize', ['update']));
  if (group === '' && plural === 'serviceaccounts') {
    const { group: from, version: fromVersion, kind: partKind } = TOKEN_REQUEST;
    const more = { kind: partKind, from: { group: from, version: fromVersion } };
    entries.push(part('token', ['create'], more));
  }
  if (group === '' && plural === 'nodes') {
    entries.push(
      part('proxy', ['get'], { kind: 'NodeProxyOptions', ...stream }),
      part('shell', ['create'], { kind: 'NodeShellOptions', ...stream }),
    );
  }
  if (group === '' && plural === 'pods') {
    entries.push(
      part('binding', ['create'], { kind: 'Binding' }),
      part('eviction', ['create'], { kind: 'Eviction', from: { group: 'policy', version: 'v1' } }),
      part('log', ['get'], stream),
      part('exec', ['create', 'get'], { kind: 'PodExecOptions', ...stream }),
      part('attach', ['create', 'get'], { kind: 'PodAttachOptions', ...stream }),
      part('portforward', ['create', 'get'], { kind: 'PodPortForwardOptions', ...stream }),
    );
  }
  return entries;
}

function virtualEntry(resource: VirtualResource): ApiEntry {
  const { group, version, plural, singular, namespaced, kind, verbs } = resource;
  const none = { shortNames: [], categories: [] };
  return { group, version, name: plural, singular, namespaced, kind, verbs, ...none };
}
