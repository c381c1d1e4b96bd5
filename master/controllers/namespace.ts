/**
 * Deletion of a namespace: its content first, then itself. Pure.
 * Promises: nothing is finalized while an object is left; what lingers (a pod in its grace period,
 * an object with finalizers) is waited for. The API layer sets deletionTimestamp and phase
 * Terminating, refuses new objects there, and removes the namespace when it is updated without
 * `spec.finalizers`.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Namespace } from '../../protocol/kinds/types.ts';
import { RESOURCES, type ResourceId } from '../api/client.ts';
import type { Action } from './actions.ts';

/**
 * While content lingers: pods that go wake the controller at once, the rest is looked at this
 * often.
 */
const RECHECK_MS = 1_000;

export interface NamespaceContent {
  readonly id: ResourceId;
  readonly objects: readonly KubeObject[];
}

interface NamespaceView {
  readonly namespace: Namespace;
  /** Listed live. Owners should come before what they own, so that nothing is made anew. */
  readonly content: readonly NamespaceContent[];
}

export function isTerminating(namespace: Namespace): boolean {
  return namespace.metadata?.deletionTimestamp !== undefined;
}

export function reconcileNamespace({ namespace, content }: NamespaceView): Action[] {
  if (!isTerminating(namespace)) return [];
  const name = namespace.metadata?.name ?? '';
  const actions: Action[] = [];
  let left = 0;
  for (const { id, objects } of content) {
    for (const object of objects) {
      left += 1;
      if (object.metadata?.deletionTimestamp !== undefined) continue;
      actions.push({
        type: 'delete',
        id,
        namespace: name,
        name: object.metadata?.name ?? '',
        uid: object.metadata?.uid ?? '',
        options: { propagationPolicy: 'Background' },
      });
    }
  }
  if (left > 0) return [...actions, { type: 'requeueAfter', delayMs: RECHECK_MS }];
  const { finalizers, ...spec } = namespace.spec ?? {};
  const others = (finalizers ?? []).filter((one) => one !== 'kubernetes');
  if (finalizers !== undefined && others.length === finalizers.length && others.length > 0) {
    return [];
  }
  const object: Namespace = {
    ...namespace,
    spec: others.length === 0 ? spec : { ...spec, finalizers: others },
  };
  return [{ type: 'update', id: RESOURCES.namespaces, object }];
}
