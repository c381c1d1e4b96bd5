/** Which steps of a pod's plan may overlap: never two with the same key, and nothing with an exclusive one. Pure. */
import type { PodStep } from '../plan/pod-plan.ts';

export type RunnableStep = Exclude<PodStep, { readonly type: 'gone' }>;

/** What a step touches. */
export function stepKey(step: RunnableStep): string {
  switch (step.type) {
    case 'runSandbox':
      return 'sandbox';
    case 'removeSandbox':
      return `sandbox ${step.id}`;
    case 'stopContainer':
      return `stop ${step.id} ${step.graceSeconds}`;
    case 'removeContainer':
      return `remove ${step.id}`;
    case 'runPostStart':
      return `hook ${step.id}`;
    default:
      return `container ${step.container}`;
  }
}

/** Overlaps with nothing. */
export function isExclusive(step: RunnableStep): boolean {
  return step.type === 'runSandbox' || step.type === 'removeSandbox';
}
