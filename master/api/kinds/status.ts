/**
 * `status` belongs to the server's parts: users set it neither when they create an object nor when they
 * update it through the main resource. Deep copies are not needed: objects handed out are frozen by agreement.
 */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';

interface WithStatus {
  status?: unknown;
}

/** On create: whatever the client sent as status is dropped. */
export function dropStatus<T extends WithStatus>(object: T, initial: NonNullable<T['status']>) {
  object.status = initial;
}

/** On an update of the main resource: the stored status stays. */
export function keepStatus<T extends WithStatus>(next: T, previous: T): void {
  if (previous.status === undefined) delete next.status;
  else next.status = previous.status;
}

/** On create: the object stays, whoever deletes it, until the finalizer is taken away (Kubernetes: storage in use protection). */
export function protect(object: KubeObject, finalizer: string): void {
  const metadata = object.metadata ?? {};
  const finalizers = metadata.finalizers ?? [];
  if (!finalizers.includes(finalizer)) metadata.finalizers = [...finalizers, finalizer];
  object.metadata = metadata;
}
