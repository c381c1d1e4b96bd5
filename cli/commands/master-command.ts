/**
 * Commands of the master under the name that people know: `pier store`, `pier backup`, `pier restore` are those of
 * `pier-master`, which lies beside this program. The master's code is not loaded into this one.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./pier-master.mjs', import.meta.url));

/** Runs it in this terminal. Resolves with its exit code. Throws when it is not installed. */
export function runMasterCommand(args: readonly string[]): Promise<number> {
  if (!existsSync(PROGRAM)) {
    throw new Error(
      `${PROGRAM} is missing: this command needs the master's program beside pier.mjs`,
    );
  }
  return new Promise((resolve, reject) => {
    // By the name it is called it knows what to call itself in its help and errors.
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: 'inherit', argv0: 'pier' });
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}
