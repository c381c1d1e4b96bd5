/** Counts what became of the pods that the scheduler tried, as kube-scheduler does. Pure state. */
import type { Pod } from '../../protocol/kinds/types.ts';
import { counter, gauge, type MetricFamily } from '../../protocol/prometheus.ts';
import type { SchedulingQueue } from './queue.ts';

type Result = 'scheduled' | 'unschedulable' | 'error';

export class Attempts {
  readonly #counts = new Map<string, { readonly labels: Record<string, string>; value: number }>();

  count(pod: Pod, result: Result): void {
    const profile = pod.spec?.schedulerName ?? 'default-scheduler';
    const key = `${profile} ${result}`;
    const known = this.#counts.get(key);
    if (known === undefined) this.#counts.set(key, { labels: { profile, result }, value: 1 });
    else known.value += 1;
  }

  families(queue: SchedulingQueue, pods: readonly Pod[]): MetricFamily[] {
    const { active, backoff, unschedulable } = queue.pending();
    const gated = pods.filter(
      ({ spec }) => (spec?.nodeName ?? '') === '' && (spec?.schedulingGates ?? []).length > 0,
    ).length;
    const pending = Object.entries({ active, backoff, unschedulable, gated });
    return [
      counter('scheduler_schedule_attempts_total', 'Pods that were tried, by what came of it.', [
        ...this.#counts.values(),
      ]),
      gauge(
        'scheduler_pending_pods',
        'Pods that wait for a board: to be tried now, after back-off, after a change, or for their gates.',
        pending.map(([where, value]) => ({ labels: { queue: where }, value })),
      ),
    ];
  }
}
