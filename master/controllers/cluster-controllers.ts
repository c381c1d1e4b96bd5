/**
 * Node lifecycle, address ranges, ended pods and namespaces as the runner drives them:
 * which changes touch which keys, and how a view is gathered. The decisions are in the pure files.
 */

import type { Node } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import type { ApiClient, ResourceId } from '../api/client.ts';
import { keyOf } from '../informer/informer.ts';
import { BY_NODE, type SharedInformers } from '../informer/shared.ts';
import { readinessOf } from '../scheduler/taints.ts';
import type { Action, Now } from './actions.ts';
import { reconcileEndedPods } from './garbage.ts';
import { reconcileIngressStatus } from './ingress-status.ts';
import { isTerminating, type NamespaceContent, reconcileNamespace } from './namespace.ts';
import { reconcileIpam } from './node-ipam.ts';
import {
  initialLifecycleState,
  type LifecycleOptions,
  type LifecycleState,
  type LifecycleView,
  reconcileLifecycle,
} from './node-lifecycle.ts';
import { FirstSeen } from './observed-times.ts';
import type { PodTimes } from './pods.ts';
import { type Controller, watchOf } from './runner.ts';

/** The one key of controllers that always look at the whole cluster. */
const CLUSTER = 'cluster';

/** Never ready, or not ready now; a node without any report is not counted as lost. */
function isLost(node: Node): boolean {
  const hasReported = node.status?.conditions?.some(({ type }) => type === 'Ready') === true;
  return hasReported && readinessOf(node) !== 'True';
}

export function nodeLifecycleController(
  informers: SharedInformers,
  options: LifecycleOptions,
): Controller {
  const { nodes, pods } = informers;
  const seen = new FirstSeen();
  let state: LifecycleState | undefined;
  const isTroubled = (node: Node): boolean =>
    isLost(node) || node.spec?.taints?.some(({ effect }) => effect === 'NoExecute') === true;

  const gather = (nowMs: number): LifecycleView => {
    const live = new Set<string>();
    const since = (key: string, value: string): number => {
      live.add(key);
      return seen.since(key, value, nowMs);
    };
    const boards = nodes.list().map((node) => {
      const uid = node.metadata?.uid ?? '';
      const lost = isLost(node);
      const sinceMs = since(uid, lost ? 'lost' : 'ready');
      for (const { effect, key } of node.spec?.taints ?? []) {
        if (effect === 'NoExecute') since(`${uid} ${key}`, 'tainted');
      }
      return {
        node,
        pods: isTroubled(node) ? pods.byIndex(BY_NODE, node.metadata?.name ?? '') : [],
        notReadySinceMs: lost ? sinceMs : undefined,
        taintedSinceMs: ({ key }: { key: string }) => seen.since(`${uid} ${key}`, 'tainted', nowMs),
      };
    });
    const orphans = pods
      .list()
      .filter(({ spec }) => {
        const name = spec?.nodeName ?? '';
        return name !== '' && nodes.get('', name) === undefined;
      })
      .map((pod) => ({ pod, sinceMs: since(`pod ${pod.metadata?.uid}`, 'orphan') }));
    seen.keepOnly(live);
    boards.sort((a, b) => (keyOf(a.node) < keyOf(b.node) ? -1 : 1));
    return { boards, orphans };
  };

  return {
    name: 'node-controller',
    workers: 1,
    watches: [
      watchOf(nodes, () => [CLUSTER]),
      watchOf(pods, ({ type, object }) => {
        const name = object.spec?.nodeName ?? '';
        if (name === '' || type === 'deleted') return [];
        const node = nodes.get('', name);
        return node === undefined || isTroubled(node) ? [CLUSTER] : [];
      }),
    ],
    reconcile(_key: string, now: Now): readonly Action[] {
      const before = state ?? initialLifecycleState(options, now.monotonicMs);
      const result = reconcileLifecycle(gather(now.monotonicMs), before, options, now);
      state = result.state;
      return result.actions;
    },
  };
}

export function nodeIpamController(informers: SharedInformers, clusterCidr: string): Controller {
  const { nodes } = informers;
  return {
    name: 'node-ipam-controller',
    workers: 1,
    watches: [
      watchOf(nodes, ({ type, object }) =>
        type === 'deleted' || (object.spec?.podCIDR ?? '') === '' ? [CLUSTER] : [],
      ),
    ],
    reconcile: () => reconcileIpam(nodes.list(), { clusterCidr }),
  };
}

export function podGarbageController(
  informers: SharedInformers,
  times: PodTimes,
  terminatedPodsMax: number,
): Controller {
  const { pods } = informers;
  return {
    name: 'pod-garbage-collector',
    workers: 1,
    watches: [
      watchOf(pods, ({ type, object }) =>
        type !== 'deleted' && hasEnded(object.status) ? [CLUSTER] : [],
      ),
    ],
    reconcile: () =>
      reconcileEndedPods(pods.list(), terminatedPodsMax, (uid) => times.firstSeenMs(uid) ?? 0),
  };
}

export function ingressStatusController(informers: SharedInformers): Controller {
  const { ingresses, ingressClasses, nodes } = informers;
  const all = (): string[] => ingresses.list().map(keyOf);
  return {
    name: 'ingress-controller',
    workers: 1,
    watches: [
      watchOf(ingresses, ({ object }) => [keyOf(object)]),
      watchOf(ingressClasses, all),
      watchOf(nodes, all),
    ],
    reconcile(key): readonly Action[] {
      const ingress = ingresses.getByKey(key);
      if (ingress === undefined) return [];
      const classes = ingressClasses.list();
      return reconcileIngressStatus({ ingress, classes, nodes: nodes.list() });
    },
  };
}

export function namespaceController(
  informers: SharedInformers,
  client: ApiClient,
  resources: readonly ResourceId[],
): Controller {
  const { namespaces, pods } = informers;
  return {
    name: 'namespace-controller',
    workers: 2,
    watches: [
      watchOf(namespaces, ({ type, object }) =>
        type !== 'deleted' && isTerminating(object) ? [keyOf(object)] : [],
      ),
      watchOf(pods, ({ type, object }) => {
        const namespace = namespaces.get('', object.metadata?.namespace ?? '');
        const isLast = type === 'deleted' && namespace !== undefined && isTerminating(namespace);
        return isLast ? [keyOf(namespace)] : [];
      }),
    ],
    async reconcile(key, now): Promise<Action[]> {
      const namespace = namespaces.getByKey(key);
      if (namespace === undefined || !isTerminating(namespace)) return [];
      const content: NamespaceContent[] = [];
      for (const id of resources) {
        const { items } = await client.list(id, { namespace: key });
        content.push({ id, objects: items });
      }
      return reconcileNamespace({ namespace, content }, now);
    },
  };
}
