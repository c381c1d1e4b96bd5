/**
 * Counts the requests of the API under Kubernetes' names. In the way of a request: one look into a map and a few
 * additions. Series are bounded: what is asked for and does not exist counts without a name.
 */
import { counter, Distribution, gauge, type MetricFamily } from '../../protocol/prometheus.ts';
import type { InFlight } from './in-flight.ts';
import type { PathRoute, ResourceRoute } from './routes.ts';

/** Seconds; Kubernetes' own (apiserver/pkg/endpoints/metrics), thinned out. */
const BOUNDS = [0.005, 0.025, 0.1, 0.2, 0.4, 0.8, 1.25, 2, 4, 6, 10, 20, 30, 60];
const NOTHING = { group: '', version: '', resource: '', subresource: '' };

interface Answered {
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly scope: string;
}

interface Series {
  readonly labels: Answered & Readonly<Record<string, string>>;
  readonly codes: Map<number, number>;
  readonly seconds: Distribution;
}

export class RequestMetrics {
  readonly #known: ReadonlySet<string>;
  readonly #series = new Map<string, Series>();

  /** `entries`: what there is, as discovery has it: `pods`, `pods/log`. */
  constructor(
    entries: readonly { readonly group: string; readonly version: string; readonly name: string }[],
  ) {
    this.#known = new Set(entries.map(({ group, version, name }) => `${group}/${version}/${name}`));
  }

  /** One request that has its answer; a watch, when it has ended. */
  count(route: ResourceRoute | PathRoute, method: string, code: number, seconds: number): void {
    const answered = this.#answered(route, method);
    const { verb, group, version, resource, subresource, scope } = answered;
    const key = `${verb} ${group}/${version}/${resource}/${subresource} ${scope}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { labels: { ...answered }, codes: new Map(), seconds: new Distribution(BOUNDS) };
      this.#series.set(key, series);
    }
    series.codes.set(code, (series.codes.get(code) ?? 0) + 1);
    series.seconds.observe(seconds);
  }

  families(inFlight: InFlight): MetricFamily[] {
    const all = [...this.#series.values()];
    const { reads, writes } = inFlight.now;
    return [
      counter(
        'apiserver_request_total',
        'Requests that were answered, by code.',
        all.flatMap(({ labels, codes }) =>
          [...codes].map(([code, value]) => ({ labels: { ...labels, code: `${code}` }, value })),
        ),
      ),
      {
        name: 'apiserver_request_duration_seconds',
        help: 'Time until the answer was complete; for a watch, until its end.',
        type: 'histogram',
        samples: all.map(({ labels, seconds }) => ({ labels, value: seconds })),
      },
      gauge('apiserver_current_inflight_requests', 'Requests that are worked on now.', [
        { labels: { request_kind: 'readOnly' }, value: reads },
        { labels: { request_kind: 'mutating' }, value: writes },
      ]),
    ];
  }

  #answered(route: ResourceRoute | PathRoute, method: string): Answered {
    if (route.type === 'path') return { verb: method, ...NOTHING, scope: '' };
    const { group, version, resource } = route;
    // Of a proxied path only the subresource itself.
    const [subresource = ''] = route.subresource.split('/');
    const name = subresource === '' ? resource : `${resource}/${subresource}`;
    const isKnown = this.#known.has(`${group}/${version}/${name}`);
    const what = isKnown ? { group, version, resource, subresource } : NOTHING;
    return { verb: verbOf(route, method), ...what, scope: scopeOf(route) };
  }
}

/** The method, but for reads of many and deletes of many. */
function verbOf({ verb }: ResourceRoute, method: string): string {
  return ['list', 'watch', 'deletecollection'].includes(verb) ? verb.toUpperCase() : method;
}

function scopeOf({ name, namespace, verb }: ResourceRoute): string {
  if (name !== '' || verb === 'create') return 'resource';
  return namespace === '' ? 'cluster' : 'namespace';
}
