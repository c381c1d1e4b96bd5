/**
 * Deletion of a namespace: its pods first (Kubernetes: KEP-5080), then all other content, then itself. Pure.
 * Promises: nothing is finalized while an object is left; what lingers (a pod in its grace period,
 * an object with finalizers) is waited for and told in the conditions. The API layer sets deletionTimestamp and phase
 * Terminating, refuses new objects there, and removes the namespace when it is updated without
 * `spec.finalizers`.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Namespace, NamespaceCondition } from '../../protocol/kinds/types.ts';
import { RESOURCES, type ResourceId } from '../api/client.ts';
import type { Action, Now } from './actions.ts';

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
  /** Listed live. */
  readonly content: readonly NamespaceContent[];
}

export function isTerminating(namespace: Namespace): boolean {
  return namespace.metadata?.deletionTimestamp !== undefined;
}

export function reconcileNamespace({ namespace, content }: NamespaceView, now: Now): Action[] {
  if (!isTerminating(namespace)) return [];
  const name = namespace.metadata?.name ?? '';
  const actions: Action[] = [];
  const isPods = ({ id }: NamespaceContent): boolean => id === RESOURCES.pods;
  const pods = content.filter((part) => isPods(part) && part.objects.length > 0);
  let left = 0;
  for (const { id, objects } of pods.length > 0 ? pods : content) {
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
  const conditions = conditionsOf(namespace, content, now);
  if (conditions !== undefined) {
    actions.push({
      type: 'patch',
      id: RESOURCES.namespaces,
      namespace: '',
      name,
      mergePatch: { status: { conditions } },
      subresource: 'status',
    });
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

/** What lingers, in the words of Kubernetes; undefined when nothing does or it is told already. */
function conditionsOf(
  { status }: Namespace,
  content: readonly NamespaceContent[],
  { timestamp }: Now,
): NamespaceCondition[] | undefined {
  const remaining: string[] = [];
  const finalizers = new Map<string, number>();
  for (const { id, objects } of content) {
    const going = objects.filter(({ metadata }) => metadata?.deletionTimestamp !== undefined);
    if (going.length === 0) continue;
    remaining.push(`${id.resource}.${id.group} has ${going.length} resource instances`);
    for (const one of going.flatMap(({ metadata }) => metadata?.finalizers ?? [])) {
      finalizers.set(one, (finalizers.get(one) ?? 0) + 1);
    }
  }
  if (remaining.length === 0) return undefined;
  const held = [...finalizers].map(([one, count]) => `${one} in ${count} resource instances`);
  const wanted = [
    condition('NamespaceDeletionContentFailure', false, 'ContentDeleted', CONTENT_DELETED),
    condition(
      'NamespaceContentRemaining',
      true,
      'SomeResourcesRemain',
      `Some resources are remaining: ${remaining.join(', ')}`,
    ),
    held.length === 0
      ? condition(
          'NamespaceFinalizersRemaining',
          false,
          'ContentHasNoFinalizers',
          'All content-preserving finalizers finished',
        )
      : condition(
          'NamespaceFinalizersRemaining',
          true,
          'SomeFinalizersRemain',
          `Some content in the namespace has finalizers remaining: ${held.join(', ')}`,
        ),
  ];
  const known = new Map((status?.conditions ?? []).map((one) => [one.type, one]));
  const isTold = (next: NamespaceCondition) =>
    known.get(next.type)?.status === next.status && known.get(next.type)?.message === next.message;
  if (wanted.every(isTold)) return undefined;
  for (const next of wanted) {
    const before = known.get(next.type);
    const since = before?.status === next.status ? before.lastTransitionTime : undefined;
    known.set(next.type, { ...next, lastTransitionTime: since ?? timestamp });
  }
  return [...known.values()];
}

const CONTENT_DELETED = 'All content successfully deleted, may be waiting on finalization';

function condition(type: string, isTrue: boolean, reason: string, message: string) {
  return { type, status: isTrue ? 'True' : 'False', reason, message };
}
