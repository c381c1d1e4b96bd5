/**
 * `status` of ResourceQuotas: what is used of what is allowed, for people. Whether a write fits is decided at the write itself
 * (api/quota/quota-guard.ts), by the same sums.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Pod, ResourceQuota } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { type ApiClient, RESOURCES, type ResourceId } from '../api/client.ts';
import { deepEqual } from '../api/equal.ts';
import { type Counted, countedBy, totalUsage } from '../api/quota/usage.ts';
import type { Change, Informer } from '../informer/informer.ts';
import { BY_NAMESPACE, type SharedInformers } from '../informer/shared.ts';
import type { Action } from './actions.ts';
import { type Controller, type Watch, watchOf } from './runner.ts';

export interface CountedObjects {
  readonly resource: Counted;
  readonly objects: readonly KubeObject[];
}

export function reconcileQuota(quota: ResourceQuota, content: readonly CountedObjects[]): Action[] {
  const status = { hard: quota.spec?.hard ?? {}, used: totalUsage(quota, content) };
  if (deepEqual(status, quota.status ?? {})) return [];
  const object: ResourceQuota = { ...quota, status };
  return [{ type: 'updateStatus', id: RESOURCES.resourceQuotas, object }];
}

/**
 * Of an object with a spec that is what it was, only a pod that ends counts otherwise than before. Else each status of each
 * pod would have the whole namespace counted again.
 */
function countsTheSame(change: Change<KubeObject>): boolean {
  if (change.type !== 'modified') return false;
  const [now, before]: Pod[] = [change.object, change.previous];
  if (now?.spec === undefined || now.metadata?.uid !== before?.metadata?.uid) return false;
  return hasEnded(now.status) === hasEnded(before?.status) && deepEqual(now.spec, before?.spec);
}

/** Kinds in memory change too often to be worth counting at each change; nobody limits them. */
const UNWATCHED: readonly ResourceId[] = [RESOURCES.events, RESOURCES.leases];

export function quotaController(
  informers: SharedInformers,
  client: ApiClient,
  resources: readonly ResourceId[],
): Controller {
  const quotas = informers.metadataOf(RESOURCES.resourceQuotas);
  const keysOf = (change: Change<KubeObject>): readonly string[] => {
    if (countsTheSame(change)) return [];
    const { object } = change;
    const namespace = object.metadata?.namespace ?? '';
    return quotas.byIndex(BY_NAMESPACE, namespace).length > 0 ? [namespace] : [];
  };
  const shared: readonly Informer<KubeObject>[] = [
    ...[informers.pods, informers.services, informers.endpoints],
    ...[informers.deployments, informers.replicaSets],
  ];
  const watches: Watch[] = resources
    .filter((id) => !UNWATCHED.includes(id))
    .map((id) => watchOf(shared.find((one) => one.id === id) ?? informers.metadataOf(id), keysOf));
  return {
    name: 'resourcequota-controller',
    workers: 1,
    watches,
    async reconcile(namespace) {
      const { items } = await client.list<ResourceQuota>(RESOURCES.resourceQuotas, { namespace });
      const actions: Action[] = [];
      for (const quota of items) {
        const content: CountedObjects[] = [];
        for (const resource of countedBy(quota)) {
          const id = resources.find(
            (one) => one.group === resource.group && one.resource === resource.plural,
          );
          if (id === undefined) continue;
          content.push({ resource, objects: (await client.list(id, { namespace })).items });
        }
        actions.push(...reconcileQuota(quota, content));
      }
      return actions;
    },
  };
}
