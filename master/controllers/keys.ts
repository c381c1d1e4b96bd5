/** From a change to the keys that it touches: what the wiring of several controllers has in common. */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { LabelSelector } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { type Change, type Informer, joinKey, keyOf } from '../informer/informer.ts';
import { BY_NAMESPACE } from '../informer/shared.ts';
import { controllerOf } from './pods.ts';

/** The object before and after: an update may touch the keys of both. */
export function versionsOf<T>(change: Change<T>): T[] {
  return change.type === 'modified' ? [change.object, change.previous] : [change.object];
}

export interface Selecting extends KubeObject {
  spec?: { selector?: LabelSelector };
}

/** The keys of those in the object's namespace that select its labels. */
export function keysSelecting<T extends Selecting>(
  candidates: Pick<Informer<T>, 'byIndex'>,
  object: KubeObject,
): string[] {
  const { labels = {}, namespace = '' } = object.metadata ?? {};
  return candidates
    .byIndex(BY_NAMESPACE, namespace)
    .filter((one) => matchesLabelSelector(one.spec?.selector, labels))
    .map((one) => keyOf(one));
}

/** The key of its controller when that is of `kind`. */
export function ownerKey(object: KubeObject, kind: string): string | undefined {
  const owner = controllerOf(object);
  if (owner?.kind !== kind) return undefined;
  return joinKey(object.metadata?.namespace ?? '', owner.name);
}

/** The owner of `kind` that an object has, or those that would adopt it. */
export function ownerKeys<T extends Selecting>(
  owners: Pick<Informer<T>, 'byIndex'>,
  kind: string,
  object: KubeObject,
): string[] {
  const key = ownerKey(object, kind);
  if (key !== undefined) return [key];
  if (controllerOf(object) !== undefined) return [];
  return keysSelecting(owners, object);
}
