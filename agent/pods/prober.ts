/**
 * Probes the containers of one pod as plan/probes.ts says, and tells when that changes anything. Between probes there is
 * one timer; a probe whose answer changes no verdict wakes nobody. No disk, and no fork but for exec.
 */
import type { Clock } from '../../protocol/clock.ts';
import type { BoardPod } from '../plan/board-pod.ts';
import {
  type DueProbe,
  dueProbes,
  NO_HEALTH,
  noteAnswer,
  noteAsked,
  noteHooked,
  noteRunning,
  type PodHealth,
  probedContainers,
  toRemember,
} from '../plan/probes.ts';
import { ask } from '../probe/ask.ts';
import type { ProbeResult } from '../probe/probe-result.ts';
import type { Container, Runtime } from '../runtime/runtime.ts';
import type { RunNotes } from '../state/run-notes.ts';
import type { PodEvent } from './pod-steps.ts';

export interface ProberOptions {
  readonly clock: Clock;
  readonly runtime: Pick<Runtime, 'execute'>;
  readonly notes: RunNotes;
  readonly emit: (event: PodEvent) => void;
  /** What `health` says of a container has changed. */
  readonly onChange: () => void;
}

const TITLES = { startup: 'Startup', liveness: 'Liveness', readiness: 'Readiness' } as const;

export class Prober {
  readonly #options: ProberOptions;
  #health: PodHealth = NO_HEALTH;
  #pod: BoardPod | undefined;
  #podIp = '';
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  get health(): PodHealth {
    return this.#health;
  }

  /** Which containers there are now. */
  update(pod: BoardPod, containers: readonly Container[], podIp: string): void {
    const { clock, notes } = this.#options;
    this.#pod = pod;
    this.#podIp = podIp;
    const before = this.#health;
    this.#health = noteRunning(before, pod, containers, {
      nowMs: clock.monotonicMs(),
      remembered: (id) => notes.get(id),
    });
    if (this.#health !== before) this.#remember();
    this.#ask();
  }

  /** The postStart hook of this container has run. */
  hooked(name: string, id: string): void {
    this.#change(noteHooked(this.#health, name, id));
  }

  /** The pod goes, or the agent does: nothing is asked any more, and late answers count no more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #ask(): void {
    const pod = this.#pod;
    if (pod === undefined || this.#stopped) return;
    clearTimeout(this.#timer);
    const nowMs = this.#options.clock.monotonicMs();
    const { due } = dueProbes(this.#health, pod, nowMs);
    for (const probe of due) {
      const askedMs = this.#dueMs(probe) ?? nowMs;
      this.#health = noteAsked(this.#health, probe);
      void this.#askOne(pod, probe, askedMs);
    }
    const { wakeAtMs } = dueProbes(this.#health, pod, nowMs);
    if (wakeAtMs === undefined) return;
    this.#timer = setTimeout(() => this.#ask(), Math.max(1, Math.ceil(wakeAtMs - nowMs)));
  }

  #dueMs({ container, type }: DueProbe): number | undefined {
    return this.#health.get(container.name)?.probes[type]?.dueMs;
  }

  async #askOne(pod: BoardPod, due: DueProbe, askedMs: number): Promise<void> {
    const { runtime, clock } = this.#options;
    const { container, id: containerId } = due;
    const place = { container, containerId, podIp: this.#podIp, runtime };
    const result = await ask(due.probe, place);
    // It may have ended meanwhile: then this was no verdict on a running container.
    if (this.#stopped || this.#health.get(container.name)?.id !== containerId) return;
    this.#tell(pod, due, result);
    const nowMs = clock.monotonicMs();
    this.#change(noteAnswer(this.#health, due, result.answer, { askedMs, nowMs }));
  }

  #change(next: PodHealth): void {
    const before = this.#verdicts();
    this.#health = next;
    this.#ask();
    if (this.#verdicts() === before) return;
    this.#remember();
    this.#options.onChange();
  }

  #verdicts(): string {
    const words = [...this.#health].map(([name, { id, hooked, probes }]) => [
      name,
      id,
      hooked,
      ...Object.values(probes).map((state) => state?.verdict),
    ]);
    return JSON.stringify(words);
  }

  #remember(): void {
    if (this.#pod === undefined) return;
    const { clock, notes } = this.#options;
    for (const container of probedContainers(this.#pod)) {
      const id = this.#health.get(container.name)?.id;
      if (id === undefined) continue;
      notes.note(id, toRemember(this.#health, container, id), clock.wallMs());
    }
  }

  /** In the kubelet's words. */
  #tell({ uid, namespace, name }: BoardPod, due: DueProbe, result: ProbeResult): void {
    const { answer, output, warning } = result;
    if (answer === 'success' && warning !== true) return;
    const title = `${TITLES[due.type]} probe`;
    const words =
      answer === 'success'
        ? `${title} warning: ${output}`
        : answer === 'failure'
          ? `${title} failed: ${output}`
          : `${title} errored and resulted in unknown state: ${output}`;
    this.#options.emit({
      ...{ uid, namespace, name, container: due.container.name, type: 'Warning' },
      reason: answer === 'success' ? 'ProbeWarning' : 'Unhealthy',
      message: words,
    });
  }
}
