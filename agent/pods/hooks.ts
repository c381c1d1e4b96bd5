/**
 * Carries out lifecycle hooks (Kubernetes: "Container Lifecycle Hooks"). An httpGet hook succeeds when a server answers,
 * whatever it says, as with the kubelet; tcpSocket is kept in the API for old objects only and fails, as there.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LifecycleHandler } from '../../protocol/kinds/types.ts';
import { httpTarget, type ProbePlace } from '../probe/ask.ts';
import { probeHttp } from '../probe/http-probe.ts';

const OUTPUT_BYTES_MAX = 1024;
const HTTP_MS_MAX = 30_000;

export interface HookRun {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Resolves when the hook has run. Throws Error with what went wrong. */
export async function runHook(
  { exec, httpGet, sleep }: LifecycleHandler,
  place: ProbePlace,
  { timeoutMs, signal }: HookRun,
): Promise<void> {
  if (exec !== undefined) {
    const { containerId, runtime } = place;
    const command = exec.command ?? [];
    const limits = { timeoutMs, outputBytesMax: OUTPUT_BYTES_MAX };
    const { exitCode, output } = await runtime.execute(containerId, command, limits);
    if (exitCode === 0) return;
    const how = exitCode === undefined ? 'took too long' : `exited with ${exitCode}`;
    throw new Error(`command '${command.join(' ')}' ${how}: ${output}`);
  }
  if (httpGet !== undefined) {
    const target = httpTarget(httpGet, place.container, place.podIp);
    const { answered, output } = await probeHttp(target, Math.min(timeoutMs, HTTP_MS_MAX));
    if (answered !== true) throw new Error(output);
    return;
  }
  if (sleep !== undefined) {
    await delay(Math.min(sleep.seconds * 1000, timeoutMs), undefined, { signal });
    return;
  }
  throw new Error('invalid handler: give exec, httpGet or sleep');
}
