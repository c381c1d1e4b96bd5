/** Phases of a pod. Pure. Source: Kubernetes' "Pod Lifecycle". */

/** Has the pod ended for good? Then it runs nothing and takes nothing any more. */
export function hasEnded(status: { readonly phase?: string | undefined } | undefined): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}
