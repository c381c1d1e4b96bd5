/**
 * Garbage collection as the runner drives it: the graph of owners and dependents over the informers' indexes,
 * and which changes touch which keys. The decisions are in garbage.ts.
 */
import type { KubeObject, OwnerReference } from '../../protocol/kinds/meta.ts';
import type { ResourceId } from '../api/client.ts';
import { type Change, type Informer, keyOf } from '../informer/informer.ts';
import { BY_OWNER_UID, type SharedInformers } from '../informer/shared.ts';
import type { Action } from './actions.ts';
import { type Dependent, type OwnerView, reconcileGarbage } from './garbage.ts';
import { type Controller, type Watch, watchOf } from './runner.ts';

/** A kind whose objects may own others or be owned. */
export interface OwnedKind {
  readonly id: ResourceId;
  readonly kind: string;
}

interface Source {
  readonly id: ResourceId;
  readonly kind: string;
  readonly informer: Pick<Informer<KubeObject>, 'byIndex' | 'get' | 'getByKey'>;
  /** Cluster-wide kinds own others but have no owner index. */
  readonly isOwned: boolean;
  watch(keysOf: (id: ResourceId, change: Change<KubeObject>) => string[]): Watch;
}

function sourceOf<T extends KubeObject>(
  informer: Informer<T>,
  kind: string,
  isOwned = true,
): Source {
  const { id } = informer;
  const watch: Source['watch'] = (keysOf) => watchOf(informer, (change) => keysOf(id, change));
  return { id, kind, informer, isOwned, watch };
}

function garbageKey(id: ResourceId, object: KubeObject): string {
  return `${id.group}/${id.resource}|${keyOf(object)}`;
}

class OwnerGraph {
  readonly #sources: readonly Source[];

  constructor(sources: readonly Source[]) {
    this.#sources = sources;
  }

  find(key: string): Dependent | undefined {
    const [resource = '', objectKey = ''] = key.split('|');
    const source = this.#sources.find(({ id }) => `${id.group}/${id.resource}` === resource);
    const object = source?.informer.getByKey(objectKey);
    return source === undefined || object === undefined ? undefined : { id: source.id, object };
  }

  dependentsOf(object: KubeObject): Dependent[] {
    return this.#sources
      .filter(({ isOwned }) => isOwned)
      .flatMap(({ id, informer }) =>
        informer
          .byIndex(BY_OWNER_UID, object.metadata?.uid ?? '')
          .map((dependent) => ({ id, object: dependent })),
      );
  }

  ownersOf(object: KubeObject): OwnerView[] {
    return (object.metadata?.ownerReferences ?? []).map((reference) => {
      const source = this.#sourceOf(reference);
      const namespace = source?.isOwned === true ? (object.metadata?.namespace ?? '') : '';
      const found = source?.informer.get(namespace, reference.name);
      const owner = found?.metadata?.uid === reference.uid ? found : undefined;
      return { reference, id: source?.id, object: owner };
    });
  }

  /** What must be looked at after a change. */
  keysOf(id: ResourceId, change: Change<KubeObject>): string[] {
    const { object } = change;
    const { ownerReferences, deletionTimestamp, finalizers } = object.metadata ?? {};
    if (change.type === 'deleted') {
      return [...this.#dependentKeys(object), ...this.#endingOwnerKeys(object)];
    }
    const keys = (ownerReferences ?? []).length > 0 ? [garbageKey(id, object)] : [];
    if (change.type === 'modified') keys.push(...this.#endingOwnerKeys(change.previous));
    if (deletionTimestamp === undefined || (finalizers ?? []).length === 0) return keys;
    return [...keys, garbageKey(id, object), ...this.#dependentKeys(object)];
  }

  #dependentKeys(object: KubeObject): string[] {
    return this.dependentsOf(object).map((one) => garbageKey(one.id, one.object));
  }

  /** Owners that are ending may wait for this object to go, or to be let go. */
  #endingOwnerKeys(object: KubeObject): string[] {
    return this.ownersOf(object).flatMap(({ id, object: owner }) =>
      id === undefined || owner?.metadata?.deletionTimestamp === undefined
        ? []
        : [garbageKey(id, owner)],
    );
  }

  /** The version does not matter: an object is the same in all of its versions. */
  #sourceOf({ apiVersion, kind }: OwnerReference): Source | undefined {
    const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
    return this.#sources.find((one) => one.kind === kind && one.id.group === group);
  }
}

export function garbageController(
  informers: SharedInformers,
  extraKinds: readonly OwnedKind[],
): Controller {
  const sources: readonly Source[] = [
    sourceOf(informers.pods, 'Pod'),
    sourceOf(informers.replicaSets, 'ReplicaSet'),
    sourceOf(informers.replicationControllers, 'ReplicationController'),
    sourceOf(informers.deployments, 'Deployment'),
    sourceOf(informers.daemonSets, 'DaemonSet'),
    sourceOf(informers.statefulSets, 'StatefulSet'),
    sourceOf(informers.controllerRevisions, 'ControllerRevision'),
    sourceOf(informers.jobs, 'Job'),
    sourceOf(informers.cronJobs, 'CronJob'),
    sourceOf(informers.services, 'Service'),
    sourceOf(informers.endpoints, 'Endpoints'),
    sourceOf(informers.persistentVolumeClaims, 'PersistentVolumeClaim'),
    sourceOf(informers.endpointSlices, 'EndpointSlice'),
    sourceOf(informers.horizontalPodAutoscalers, 'HorizontalPodAutoscaler'),
    sourceOf(informers.nodes, 'Node', false),
    sourceOf(informers.namespaces, 'Namespace', false),
    ...extraKinds.map(({ id, kind }) => sourceOf(informers.metadataOf(id), kind)),
  ];
  const graph = new OwnerGraph(sources);
  return {
    name: 'garbage-collector',
    workers: 2,
    watches: sources.map((source) => source.watch((id, change) => graph.keysOf(id, change))),
    reconcile(key): Action[] {
      const found = graph.find(key);
      if (found === undefined) return [];
      const { object } = found;
      const owners = graph.ownersOf(object);
      return reconcileGarbage({ ...found, owners, dependents: graph.dependentsOf(object) });
    },
  };
}
