/** What containers use, on CRI: by the process that the engine names, else as the engine counts. */
import { ProcessStats } from '../process-stats.ts';
import { isNotFound } from './grpc.ts';
import { CRI, type Method } from './proto.ts';
import { readPid } from './read.ts';
import type { Decoded, Encodable, MessageTable } from './wire.ts';

/** A read of the engine. */
export type CriRead = <Q extends MessageTable, A extends MessageTable>(
  method: Method<Q, A>,
  request: Encodable<Q>,
) => Promise<Decoded<A>>;

export function criStats(read: CriRead): ProcessStats {
  return new ProcessStats({
    pidOf: async (containerId) => {
      const request = { containerId, verbose: true };
      const answer = await read(CRI.containerStatus, request).catch(allowNotFound);
      return answer === undefined ? undefined : readPid(answer.info);
    },
    ask: async (containerId) => {
      const answer = await read(CRI.containerStats, { containerId }).catch(allowNotFound);
      const { cpu, memory } = answer?.stats ?? {};
      if (cpu === undefined) return undefined;
      return {
        containerId,
        cpuNanos: cpu.usageCoreNanoSeconds?.value ?? 0,
        memoryBytes: memory?.workingSetBytes?.value ?? 0,
      };
    },
  });
}

/** For a `catch`: undefined for what is not there. */
export function allowNotFound(error: unknown): undefined {
  if (isNotFound(error)) return undefined;
  throw error;
}
