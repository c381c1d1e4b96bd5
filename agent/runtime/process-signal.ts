/** Signals to processes whose ids an engine has told. */
import { readText } from '../host/read-text.ts';

/**
 * Signals a process of a container. Its cgroup must name the container: a process id that an engine has stored may belong to
 * somebody else by now. Does nothing then, nor when the process has ended.
 */
export async function signalProcess(
  pid: number,
  containerId: string,
  signal: NodeJS.Signals,
): Promise<void> {
  if (!(pid > 0)) return;
  if ((await readText(`/proc/${pid}/cgroup`))?.includes(containerId) !== true) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    // Ended by itself in the same moment.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
