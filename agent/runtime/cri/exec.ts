/**
 * A command in a container by CRI's ExecSync, for probes and hooks: no file is written for it, and the engine ends it
 * when its time is over. stdout and stderr come apart, and a command that was ended has told nothing: CRI has
 * no more. Its time is in whole seconds.
 */
import { BoundedOutput } from '../bounded-output.ts';
import { type ExecuteOptions, type ExecuteResult, RuntimeError } from '../runtime.ts';
import { GrpcError, type GrpcSocket, isLate, isNotFound } from './grpc.ts';
import { CRI } from './proto.ts';

/** The engine ends the command; this is for an engine that does not. */
const MORE_MS = 10_000;

/** Throws RuntimeError when the container does not run or the program cannot be started. */
export async function execute(
  grpc: GrpcSocket,
  containerId: string,
  command: readonly string[],
  { timeoutMs, outputBytesMax }: ExecuteOptions,
): Promise<ExecuteResult> {
  const timeout = Math.max(1, Math.ceil(timeoutMs / 1000));
  try {
    const { stdout, stderr, exitCode } = await grpc.call(
      CRI.execSync,
      { containerId, command, timeout },
      { timeoutMs: timeout * 1000 + MORE_MS },
    );
    const output = new BoundedOutput(outputBytesMax);
    output.add(Buffer.from(stdout));
    output.add(Buffer.from(stderr));
    return { exitCode, output: output.text() };
  } catch (error) {
    if (isLate(error)) return { exitCode: undefined, output: '' };
    return notRunning(error, containerId);
  }
}

/** Throws the error, in our words when it says that the container does not run. */
export function notRunning(error: unknown, containerId: string): never {
  const gone = error instanceof GrpcError && error.message.includes('is in CONTAINER_');
  if (!gone && !isNotFound(error)) throw error;
  throw new RuntimeError(`the container ${containerId} does not run`, { cause: error });
}
