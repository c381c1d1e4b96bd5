/**
 * Termination messages (Kubernetes: "Determine the Reason for Pod Failure"): each attempt of a container gets an empty file of
 * its own at terminationMessagePath; what is in it at the end, or the end of the log when the policy says so, is
 * the message of its end.
 */
import { chmod, mkdir, open, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Container as KubeContainer } from '../../protocol/kinds/types.ts';
import { terminationFile } from '../plan/container-spec.ts';
import type { PodDirectories } from '../plan/volume-plan.ts';
import type { Container, Runtime } from '../runtime/runtime.ts';

/** Kubernetes' limits: of one message, of all of a pod, and of what is taken from a log. */
const MESSAGE_BYTES_MAX = 4096;
const POD_BYTES_MAX = 12 * 1024;
const LOG_BYTES_MAX = 2048;
const LOG_LINES_MAX = 80;
const LOG_MS_MAX = 10_000;

/** Makes the file for an attempt, and forgets the one before the last. */
export async function makeTerminationFile(
  directories: PodDirectories,
  name: string,
  attempt: number,
): Promise<void> {
  const file = terminationFile(directories, name, attempt);
  await mkdir(path.dirname(file), { recursive: true, mode: 0o755 });
  await writeFile(file, '');
  // Whoever the container runs as may write it.
  await chmod(file, 0o666);
  if (attempt >= 2) await rm(terminationFile(directories, name, attempt - 2), { force: true });
}

export interface EndedContainer {
  readonly spec: KubeContainer;
  readonly ended: Container;
  readonly directories: PodDirectories;
  /** How many containers the pod has: they share POD_BYTES_MAX. */
  readonly containers: number;
}

/** Empty when there is none. Never rejects: a message that cannot be read is none. */
export async function readTermination(
  { spec, ended, directories, containers }: EndedContainer,
  runtime: Pick<Runtime, 'logs'>,
): Promise<string> {
  const bytesMax = Math.min(MESSAGE_BYTES_MAX, Math.floor(POD_BYTES_MAX / containers));
  const file = terminationFile(directories, spec.name, ended.attempt);
  const message = await readStart(file, bytesMax).catch(() => '');
  const fallsBack = spec.terminationMessagePolicy === 'FallbackToLogsOnError';
  if (message !== '' || !fallsBack || (ended.exitCode ?? 0) === 0) return message;
  return readLogEnd(ended.id, Math.min(LOG_BYTES_MAX, bytesMax), runtime).catch(() => '');
}

async function readStart(file: string, bytesMax: number): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytesMax), 0, bytesMax, 0);
    return buffer.subarray(0, bytesRead).toString('utf8');
  } finally {
    await handle.close();
  }
}

async function readLogEnd(
  id: string,
  bytesMax: number,
  runtime: Pick<Runtime, 'logs'>,
): Promise<string> {
  const options = { follow: false, timestamps: false, tailLines: LOG_LINES_MAX };
  let end = Buffer.alloc(0);
  for await (const part of runtime.logs(id, options, AbortSignal.timeout(LOG_MS_MAX))) {
    const all = Buffer.concat([end, part]);
    end = all.subarray(Math.max(0, all.length - bytesMax));
  }
  return end.toString('utf8');
}
