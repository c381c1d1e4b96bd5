/**
 * Whose objects are whose. Pure. Source: Kubernetes' "Owners and Dependents" and the adoption rules that its
 * documentation of ReplicaSet describes, which hold for every workload.
 */
import type { KubeObject, ObjectMeta, OwnerReference } from '../../protocol/kinds/meta.ts';
import type { LabelSelector, Pod, PodTemplateSpec } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { RESOURCES, type ResourceId } from '../api/client.ts';
import type { Action, Announcement } from './actions.ts';
import type { EventTarget } from './events.ts';
import { controllerOf } from './pods.ts';

/** The reference that makes `owner` the controller, and makes its foreground deletion wait. */
export function ownerReferenceTo({ apiVersion, kind, metadata }: EventTarget): OwnerReference {
  return {
    apiVersion,
    kind,
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

interface Claim<T> {
  readonly owner: EventTarget;
  readonly selector: LabelSelector | undefined;
  /** Of the candidates. */
  readonly id: ResourceId;
  /** All objects of the namespace, or at least those that it owns or that its selector matches. */
  readonly candidates: readonly T[];
  readonly mayAdopt: (candidate: T) => boolean;
  /** Held by what is owned, taken back with the ownership. */
  readonly finalizer?: string;
}

/**
 * The objects that are the owner's, and the updates that make (or unmake) them so: matching orphans are adopted,
 * owned objects that no longer match are let go. What another controller owns is never touched.
 */
export function claim<T extends KubeObject>(options: Claim<T>): { owned: T[]; actions: Action[] } {
  const { owner, selector, id, candidates, finalizer } = options;
  const uid = owner.metadata.uid ?? '';
  const isGoing = owner.metadata.deletionTimestamp !== undefined;
  const owned: T[] = [];
  const actions: Action[] = [];
  const write = (one: T, ownerReferences: OwnerReference[], finalizers: string[]): void => {
    const metadata = {
      ...one.metadata,
      ownerReferences,
      ...(finalizer === undefined ? {} : { finalizers }),
    };
    actions.push({ type: 'update', id, object: { ...one, metadata } });
  };
  for (const one of candidates) {
    const controller = controllerOf(one);
    const {
      labels = {},
      ownerReferences = [],
      finalizers = [],
      deletionTimestamp,
    } = one.metadata ?? {};
    const matches = matchesLabelSelector(selector, labels);
    const others = finalizers.filter((name) => name !== finalizer);
    if (controller?.uid === uid) {
      if (matches) {
        owned.push(one);
      } else if (deletionTimestamp === undefined) {
        const kept = ownerReferences.filter((reference) => reference.uid !== uid);
        write(one, kept, others);
      }
    } else if (controller === undefined && matches && !isGoing && options.mayAdopt(one)) {
      owned.push(one);
      const held = finalizer === undefined ? others : [...others, finalizer];
      write(one, [...ownerReferences, ownerReferenceTo(owner)], held);
    }
  }
  return { owned, actions };
}

/** A pod as the template says, owned by `owner`; `metadata` names it and adds labels and annotations. */
export function podFromTemplate(
  template: PodTemplateSpec | undefined,
  owner: EventTarget,
  metadata: Pick<ObjectMeta, 'name' | 'generateName' | 'labels' | 'annotations' | 'finalizers'>,
): Pod {
  const { labels, annotations, finalizers = [] } = template?.metadata ?? {};
  const allAnnotations = { ...annotations, ...metadata.annotations };
  const allFinalizers = [...finalizers, ...(metadata.finalizers ?? [])];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...metadata,
      namespace: owner.metadata.namespace ?? '',
      labels: { ...labels, ...metadata.labels },
      ...(Object.keys(allAnnotations).length === 0 ? {} : { annotations: allAnnotations }),
      ...(allFinalizers.length === 0 ? {} : { finalizers: allFinalizers }),
      ownerReferences: [ownerReferenceTo(owner)],
    },
    ...(template?.spec === undefined ? {} : { spec: template.spec }),
  };
}

/** How the making or the end of a pod is told, on the workload. */
export function announcePod(owner: EventTarget, what: 'create' | 'delete'): Announcement {
  const [done, doing] = what === 'create' ? ['Created', 'creating'] : ['Deleted', 'deleting'];
  const reason = what === 'create' ? 'Create' : 'Delete';
  return {
    regarding: owner,
    success: { reason: `Successful${reason}`, message: `${done} pod: {name}` },
    failure: { reason: `Failed${reason}`, message: `Error ${doing}: {error}` },
  };
}

/** The end of one pod, this life of it only. */
export function deletePod(pod: Pod, owner: EventTarget): Extract<Action, { type: 'delete' }> {
  return {
    type: 'delete',
    id: RESOURCES.pods,
    namespace: pod.metadata?.namespace ?? '',
    name: pod.metadata?.name ?? '',
    uid: pod.metadata?.uid ?? '',
    announce: announcePod(owner, 'delete'),
  };
}
