/**
 * What this server offers: `/api`, `/apis`, `/apis/GROUP`, `/api/v1`, `/apis/GROUP/VERSION`, old and aggregated, and
 * `/version`. Made once from the entries and kept as bytes.
 *
 * Aggregated discovery is answered in exactly the version asked for (v2, or v2beta1 for kubectl 1.27 to 1.29), else in
 * the old form: a client that asked for v2beta1 sees an empty server when it gets v2.
 */
import { contentHash } from './answers.ts';
import { type ApiEntry, kindOf } from './entries.ts';
import { type MediaRange, parseAccept } from './negotiate.ts';

/** What clients compare against (Helm charts, kubectl's skew warning). */
export const KUBERNETES_VERSION = { major: '1', minor: '35', gitVersion: 'v1.35.0+pier' } as const;

export interface DiscoveryAnswer {
  readonly type: string;
  readonly body: Buffer;
  readonly etag?: string;
}

export class Discovery {
  readonly #entries: readonly ApiEntry[];
  readonly #answers = new Map<string, DiscoveryAnswer>();

  constructor(entries: readonly ApiEntry[]) {
    this.#entries = entries;
  }

  /** Undefined when the path is no discovery document of this server. */
  answer(path: string, accept: string | undefined): DiscoveryAnswer | undefined {
    const aggregated = path === '/api' || path === '/apis' ? wantedVersion(accept) : undefined;
    const key = aggregated === undefined ? path : `${path} ${aggregated}`;
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const made =
      aggregated === undefined ? this.#plain(path) : this.#aggregated(path === '/api', aggregated);
    // Only paths that exist are kept: their number is bounded by the groups.
    if (made !== undefined) this.#answers.set(key, made);
    return made;
  }

  #groups(): string[] {
    return [...new Set(this.#entries.map((entry) => entry.group))].filter((g) => g !== '');
  }

  #versions(group: string): string[] {
    const own = this.#entries.filter((entry) => entry.group === group);
    return [...new Set(own.map((entry) => entry.version))];
  }

  #plain(path: string): DiscoveryAnswer | undefined {
    const [root, group = '', version] = path.slice(1).split('/');
    if (path === '/api') {
      return json({
        kind: 'APIVersions',
        versions: ['v1'],
        serverAddressByClientCIDRs: [],
      });
    }
    if (path === '/apis') {
      const groups = this.#groups().map((name) => this.#group(name));
      return json({ kind: 'APIGroupList', apiVersion: 'v1', groups });
    }
    if (root === 'api') return this.#resources('', group, path === `/api/${group}`);
    if (root !== 'apis' || !this.#groups().includes(group)) return undefined;
    if (version === undefined) {
      return json({ kind: 'APIGroup', apiVersion: 'v1', ...this.#group(group) });
    }
    return this.#resources(group, version, path === `/apis/${group}/${version}`);
  }

  #group(name: string): object {
    const versions = this.#versions(name).map((version) => ({
      groupVersion: `${name}/${version}`,
      version,
    }));
    return { name, versions, preferredVersion: versions[0] };
  }

  #resources(group: string, version: string, whole: boolean): DiscoveryAnswer | undefined {
    const own = this.#entries.filter((e) => e.group === group && e.version === version);
    if (own.length === 0 || !whole) return undefined;
    const resources = [...own].sort(byName).map((entry) => ({
      name: entry.name,
      singularName: entry.singular,
      namespaced: entry.namespaced,
      ...(entry.from ?? {}),
      kind: entry.kind,
      verbs: entry.verbs,
      ...(entry.shortNames.length === 0 ? {} : { shortNames: entry.shortNames }),
      ...(entry.categories.length === 0 ? {} : { categories: entry.categories }),
    }));
    const groupVersion = group === '' ? version : `${group}/${version}`;
    return json({ kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources });
  }

  #aggregated(core: boolean, wanted: 'v2' | 'v2beta1'): DiscoveryAnswer {
    const items = (core ? [''] : this.#groups()).map((group) => ({
      metadata: { creationTimestamp: null, ...(core ? {} : { name: group }) },
      versions: this.#versions(group).map((version) => ({
        version,
        resources: aggregatedResources(
          this.#entries.filter((e) => e.group === group && e.version === version),
        ),
        freshness: 'Current',
      })),
    }));
    const apiVersion = `apidiscovery.k8s.io/${wanted}`;
    const answer = json({ kind: 'APIGroupDiscoveryList', apiVersion, metadata: {}, items });
    return {
      type: `application/json;g=apidiscovery.k8s.io;v=${wanted};as=APIGroupDiscoveryList`,
      body: answer.body,
      etag: `"${contentHash(answer.body)}"`,
    };
  }
}

function aggregatedResources(entries: readonly ApiEntry[]): object[] {
  const main = entries.filter((entry) => !entry.name.includes('/'));
  return [...main].sort(byName).map((entry) => {
    const parts = entries.filter((part) => part.name.startsWith(`${entry.name}/`)).sort(byName);
    const subresources = parts.map((part) => ({
      subresource: part.name.slice(entry.name.length + 1),
      responseKind: kindOf(part),
      verbs: part.verbs,
    }));
    return {
      resource: entry.name,
      responseKind: kindOf(entry),
      scope: entry.namespaced ? 'Namespaced' : 'Cluster',
      singularResource: entry.singular,
      verbs: entry.verbs,
      ...(entry.shortNames.length === 0 ? {} : { shortNames: entry.shortNames }),
      ...(entry.categories.length === 0 ? {} : { categories: entry.categories }),
      ...(subresources.length === 0 ? {} : { subresources }),
    };
  });
}

function byName(a: ApiEntry, b: ApiEntry): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** The aggregated version that stands in Accept, the better one if both do. */
function wantedVersion(accept: string | undefined): 'v2' | 'v2beta1' | undefined {
  const asks = (range: MediaRange, version: string): boolean =>
    range.type === 'application/json' &&
    range.parameters.get('g') === 'apidiscovery.k8s.io' &&
    range.parameters.get('as') === 'APIGroupDiscoveryList' &&
    range.parameters.get('v') === version;
  const ranges = parseAccept(accept);
  if (ranges.some((range) => asks(range, 'v2'))) return 'v2';
  return ranges.some((range) => asks(range, 'v2beta1')) ? 'v2beta1' : undefined;
}

function json(value: object): DiscoveryAnswer {
  return { type: 'application/json', body: Buffer.from(`${JSON.stringify(value)}\n`) };
}

/** GET /version. */
export function versionInfo(): object {
  return {
    ...KUBERNETES_VERSION,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: '',
    compiler: `node ${process.version}`,
    platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}
