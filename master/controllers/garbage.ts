/**
 * Garbage collection by ownerReferences, and of pods that ended. Pure.
 *
 * Promises:
 * - An object whose owners are all gone is deleted (background); one that lost only some of its
 *   owners stays. "Gone" is asked again, live, right before the delete: a cache may be behind.
 * - An owner of a kind that nobody here knows counts as existing: nothing is deleted on a guess.
 * - An owner that waits for its dependents to go takes along those that nobody else owns, and lets go of the others. Owners
 *   in a circle do not wait for each other.
 * - `foregroundDeletion` and `orphan` finalizers are honoured for owners of the watched kinds.
 * - Of the pods that ended, only the newest `terminatedPodsMax` stay.
 */

import type { KubeObject, OwnerReference } from '../../protocol/kinds/meta.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { RESOURCES, type ResourceId } from '../api/client.ts';
import type { Action, OwnerCheck } from './actions.ts';

const FINALIZER_FOREGROUND = 'foregroundDeletion';
const FINALIZER_ORPHAN = 'orphan';

export interface OwnerView {
  readonly reference: OwnerReference;
  /** Absent for kinds that are not watched here. */
  readonly id: ResourceId | undefined;
  /** What the cache holds under that name with that uid. */
  readonly object: KubeObject | undefined;
}

export interface Dependent {
  readonly id: ResourceId;
  readonly object: KubeObject;
}

interface GarbageView {
  readonly id: ResourceId;
  readonly object: KubeObject;
  readonly owners: readonly OwnerView[];
  /** Objects that name this one as an owner. */
  readonly dependents: readonly Dependent[];
}

export function reconcileGarbage(view: GarbageView): Action[] {
  const { object } = view;
  if (object.metadata?.deletionTimestamp !== undefined) return finalize(view);
  if (view.owners.length === 0) return [];
  const gone = view.owners.filter((owner) => owner.id !== undefined && owner.object === undefined);
  const namespace = object.metadata?.namespace ?? '';
  if (gone.length === view.owners.length) {
    const checks = gone.flatMap((owner): OwnerCheck[] =>
      owner.id === undefined
        ? []
        : [
            {
              id: owner.id,
              // An owner is in the same namespace, or has none.
              namespace: isClusterWide(owner.id) ? '' : namespace,
              name: owner.reference.name,
              uid: owner.reference.uid,
            },
          ],
    );
    return [
      {
        type: 'delete',
        id: view.id,
        namespace,
        name: object.metadata?.name ?? '',
        uid: object.metadata?.uid ?? '',
        options: { propagationPolicy: 'Background' },
        unlessExists: checks,
      },
    ];
  }
  return waitedForByOwner(view);
}

function isClusterWide({ group, resource }: ResourceId): boolean {
  return group === '' && (resource === 'nodes' || resource === 'namespaces');
}

/** An owner that is deleted in the foreground waits for its dependents to go first. */
function waitedForByOwner(view: GarbageView): Action[] {
  const { object, owners, dependents } = view;
  const references = owners.map(({ reference }) => reference);
  const waiting = new Set(
    owners.flatMap(({ object: owner }) => (isWaiting(owner) ? [owner?.metadata?.uid] : [])),
  );
  if (waiting.size === 0) return [];
  const isKept = owners.some(
    ({ id, object: owner }) => id === undefined || (owner !== undefined && !isWaiting(owner)),
  );
  if (isKept) {
    const ownerReferences = references.filter(({ uid }) => !waiting.has(uid));
    return [patchMetadata(view.id, object, { ownerReferences })];
  }
  // A circle: what this object is to wait for waits, in the end, for this object.
  const isCircle = dependents.some((dependent) => isWaiting(dependent.object));
  if (isCircle && references.some(({ blockOwnerDeletion }) => blockOwnerDeletion === true)) {
    const ownerReferences = references.map((one) => ({ ...one, blockOwnerDeletion: false }));
    return [patchMetadata(view.id, object, { ownerReferences })];
  }
  return [
    {
      type: 'delete',
      id: view.id,
      namespace: object.metadata?.namespace ?? '',
      name: object.metadata?.name ?? '',
      uid: object.metadata?.uid ?? '',
      options: { propagationPolicy: 'Foreground' },
    },
  ];
}

function isWaiting(owner: KubeObject | undefined): boolean {
  const { deletionTimestamp, finalizers = [] } = owner?.metadata ?? {};
  return deletionTimestamp !== undefined && finalizers.includes(FINALIZER_FOREGROUND);
}

/** What its own deletion waits for. */
function finalize(view: GarbageView): Action[] {
  const { object, dependents } = view;
  const finalizers = object.metadata?.finalizers ?? [];
  const uid = object.metadata?.uid ?? '';
  if (finalizers.includes(FINALIZER_ORPHAN)) {
    if (dependents.length === 0) return [withoutFinalizer(view, FINALIZER_ORPHAN)];
    return dependents.map((dependent) => {
      const ownerReferences = (dependent.object.metadata?.ownerReferences ?? []).filter(
        (reference) => reference.uid !== uid,
      );
      return patchMetadata(dependent.id, dependent.object, { ownerReferences });
    });
  }
  if (!finalizers.includes(FINALIZER_FOREGROUND)) return [];
  const blocking = dependents.filter((dependent) =>
    dependent.object.metadata?.ownerReferences?.some(
      (reference) => reference.uid === uid && reference.blockOwnerDeletion === true,
    ),
  );
  if (blocking.length === 0) return [withoutFinalizer(view, FINALIZER_FOREGROUND)];
  return [];
}

function withoutFinalizer(view: GarbageView, finalizer: string): Action {
  const finalizers = (view.object.metadata?.finalizers ?? []).filter((one) => one !== finalizer);
  return patchMetadata(view.id, view.object, { finalizers });
}

/** With the resourceVersion, so that a change by others is a Conflict and looked at again. */
function patchMetadata(
  id: ResourceId,
  object: KubeObject,
  fields: { finalizers?: string[]; ownerReferences?: OwnerReference[] },
): Action {
  const resourceVersion = object.metadata?.resourceVersion;
  return {
    type: 'patch',
    id,
    namespace: object.metadata?.namespace ?? '',
    name: object.metadata?.name ?? '',
    mergePatch: { metadata: { ...fields, resourceVersion } },
  };
}

/** Deletes pods that ended, beyond the bound: those seen first go first, ties by name. */
export function reconcileEndedPods(
  pods: readonly Pod[],
  terminatedPodsMax: number,
  firstSeenMs: (uid: string) => number,
): Action[] {
  const ended = pods
    .filter(({ status }) => hasEnded(status))
    .filter((pod) => pod.metadata?.deletionTimestamp === undefined)
    .sort(
      (a, b) =>
        firstSeenMs(a.metadata?.uid ?? '') - firstSeenMs(b.metadata?.uid ?? '') ||
        ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1),
    );
  return ended.slice(0, Math.max(0, ended.length - terminatedPodsMax)).map((pod) => ({
    type: 'delete',
    id: RESOURCES.pods,
    namespace: pod.metadata?.namespace ?? '',
    name: pod.metadata?.name ?? '',
    uid: pod.metadata?.uid ?? '',
    options: { gracePeriodSeconds: 0 },
  }));
}
