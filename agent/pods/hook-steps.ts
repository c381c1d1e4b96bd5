/**
 * The steps of a pod's plan that run lifecycle hooks: after the start of a container, and before its end.
 * (Kubernetes: "Container Lifecycle Hooks".)
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PodStep } from '../plan/pod-plan.ts';
import type { ProbePlace } from '../probe/ask.ts';
import { runHook } from './hooks.ts';
import { findContainer, messageOf, type StepContext, type StepOutcome, tell } from './pod-steps.ts';

/** Kubernetes: what is left between the end of a preStop hook and SIGKILL. */
const GRACE_SECONDS_MIN = 2;
/** A postStart hook has no limit in Kubernetes; this is the longest that a timer takes. */
const HOOK_MS_MAX = 2 ** 31 - 1;

/** The hook's time counts into the grace period. A hook that fails stops nothing. */
export async function stopWithHook(
  { id, container: name, graceSeconds }: Extract<PodStep, { type: 'stopContainer' }>,
  context: StepContext,
): Promise<void> {
  const { pod, clock, runtime } = context;
  const preStop = findContainer(pod, name)?.lifecycle?.preStop;
  if (preStop === undefined || graceSeconds <= 0) return runtime.stopContainer(id, graceSeconds);
  const startMs = clock.monotonicMs();
  const timeoutMs = graceSeconds * 1000;
  const over = new AbortController();
  const tooLong = delay(timeoutMs, undefined, { signal: over.signal }).catch(() => undefined);
  await Promise.race([preStopOnce(id, name, timeoutMs, context), tooLong]);
  over.abort();
  const tookSeconds = (clock.monotonicMs() - startMs) / 1000;
  return runtime.stopContainer(id, Math.max(GRACE_SECONDS_MIN, graceSeconds - tookSeconds));
}

export async function runPostStart(
  { id, container: name }: Extract<PodStep, { type: 'runPostStart' }>,
  context: StepContext,
): Promise<StepOutcome> {
  const postStart = findContainer(context.pod, name)?.lifecycle?.postStart;
  const { signal } = context;
  try {
    const run = { timeoutMs: HOOK_MS_MAX, signal };
    if (postStart !== undefined) await runHook(postStart, placeOf(context, name, id), run);
    return { type: 'hooked', container: name, id, succeeded: true };
  } catch (error) {
    if (!signal.aborted) {
      const message = `PostStartHook failed: ${messageOf(error)}`;
      tell(context, name, 'Warning', 'FailedPostStartHook', { message });
    }
    return { type: 'hooked', container: name, id, succeeded: false };
  }
}

/** Never rejects. A second stop with a shorter grace period joins the hook of the first one. */
function preStopOnce(
  id: string,
  name: string,
  timeoutMs: number,
  context: StepContext,
): Promise<void> {
  const { pod, preStops } = context;
  const known = preStops.get(id);
  const preStop = findContainer(pod, name)?.lifecycle?.preStop;
  if (known !== undefined || preStop === undefined) return known ?? Promise.resolve();
  // Not with the pod's signal: that says that the pod goes, which is when this hook runs.
  const { signal } = new AbortController();
  const running = runHook(preStop, placeOf(context, name, id), { timeoutMs, signal })
    .catch((error: unknown) => {
      const message = `PreStopHook failed: ${messageOf(error)}`;
      tell(context, name, 'Warning', 'FailedPreStopHook', { message });
    })
    .finally(() => preStops.delete(id));
  preStops.set(id, running);
  return running;
}

function placeOf(context: StepContext, name: string, containerId: string): ProbePlace {
  const { pod, podIp, facts, runtime } = context;
  const container = findContainer(pod, name) ?? { name };
  return { container, containerId, podIp: podIp ?? facts.hostIp, runtime };
}
