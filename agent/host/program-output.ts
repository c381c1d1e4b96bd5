/** What a program of the board prints, as `ip` or `iptables`. (Those that may hang in the kernel, as mount, are run by mount-table.ts.) */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const RUN_MS_MAX = 10_000;
const execute = promisify(execFile);

/** Runs it with these arguments and `input` on its standard input; resolves with what it prints. Rejects when it fails or takes 10 s. */
export type ProgramOutput = (
  program: string,
  args: readonly string[],
  input?: string,
) => Promise<string>;

export const programOutput: ProgramOutput = async (program, args, input = '') => {
  const running = execute(program, [...args], { timeout: RUN_MS_MAX });
  // One that has ended already reads nothing; its exit code tells.
  running.child.stdin?.on('error', () => undefined).end(input);
  return (await running).stdout;
};
