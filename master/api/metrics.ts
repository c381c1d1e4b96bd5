/**
 * metrics.k8s.io/v1beta1, what `kubectl top` reads: answered from memory, fed by the boards' heartbeats. Never stored.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { matchesRequirements, parseLabelSelector } from '../../protocol/selector.ts';
import { notFound } from '../../protocol/status.ts';
import type { VirtualResource } from './virtual.ts';

/** Quantities by resource: `{ cpu: '120m', memory: '350Mi' }`. */
export type Usage = Readonly<Record<string, string>>;

export interface NodeMetrics {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** RFC 3339: when it was measured. */
  readonly timestamp: string;
  /** Over which time, as "15s". */
  readonly window: string;
  readonly usage: Usage;
}

export interface PodMetrics {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly timestamp: string;
  readonly window: string;
  readonly containers: readonly { readonly name: string; readonly usage: Usage }[];
  /** When it reached this master, monotonic, and over which time it was measured: for decisions. Not shown. */
  readonly measured: { readonly receivedMs: number; readonly windowMs: number };
}

export interface MetricsSource {
  nodes(): NodeMetrics[];
  /** Of one namespace, or of all. */
  pods(namespace?: string): PodMetrics[];
}

const GROUP = 'metrics.k8s.io';
const VERSION = 'v1beta1';
const API_VERSION = `${GROUP}/${VERSION}`;

export function metricsResources(source: MetricsSource): VirtualResource[] {
  return [
    makeResource('nodes', 'NodeMetrics', false, () => source.nodes().map(nodeObject)),
    makeResource('pods', 'PodMetrics', true, (namespace) =>
      source.pods(namespace === '' ? undefined : namespace).map(podObject),
    ),
  ];
}

function makeResource(
  plural: 'nodes' | 'pods',
  kind: string,
  namespaced: boolean,
  read: (namespace: string) => KubeObject[],
): VirtualResource {
  return {
    group: GROUP,
    version: VERSION,
    kind,
    plural,
    singular: '',
    namespaced,
    verbs: ['get', 'list'],
    async handle(call) {
      const objects = read(call.namespace);
      if (call.verb === 'get') {
        const found = objects.find((object) => object.metadata?.name === call.name);
        if (found === undefined) throw notFound({ group: GROUP, resource: plural }, call.name);
        return { code: 200, value: found };
      }
      const items = select(objects, call.request.query.get('labelSelector') ?? '');
      return {
        code: 200,
        value: { kind: `${kind}List`, apiVersion: API_VERSION, metadata: {}, items },
      };
    },
  };
}

function select(objects: KubeObject[], selector: string): KubeObject[] {
  if (selector === '') return objects;
  const requirements = parseLabelSelector(selector);
  return objects.filter((object) => matchesRequirements(requirements, object.metadata?.labels));
}

function nodeObject(node: NodeMetrics): KubeObject {
  const { name, labels, timestamp, window, usage } = node;
  const metadata = { name, creationTimestamp: timestamp, ...(labels ? { labels } : {}) };
  return Object.assign(typed('NodeMetrics', metadata), { timestamp, window, usage });
}

function podObject(pod: PodMetrics): KubeObject {
  const { namespace, name, labels, timestamp, window, containers } = pod;
  const metadata = { name, namespace, creationTimestamp: timestamp, ...(labels ? { labels } : {}) };
  return Object.assign(typed('PodMetrics', metadata), { timestamp, window, containers });
}

function typed(kind: string, metadata: object): KubeObject {
  return { kind, apiVersion: API_VERSION, metadata };
}
