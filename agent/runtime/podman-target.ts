/** The process on the board of the container whose processes another one is to see. */
import { asNumber, asObject } from './json-read.ts';
import { type ContainerSpec, RuntimeError } from './runtime.ts';

/** Throws RuntimeError when that container does not run. */
export async function targetOf(
  { processes }: Pick<ContainerSpec, 'processes'>,
  inspect: (id: string) => Promise<unknown>,
): Promise<{ readonly targetPid?: number }> {
  if (processes === undefined || typeof processes === 'string') return {};
  const targetPid = asNumber(asObject(asObject(await inspect(processes.of)).State).Pid) ?? 0;
  if (targetPid > 0) return { targetPid };
  throw new RuntimeError(`the target container ${processes.of} does not run`);
}
