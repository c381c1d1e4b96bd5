/**
 * Starts one of Pier's processes as a child of `pier up` and stops it in order. The child stands in a process group of
 * its own, so that Ctrl-C reaches only `up`, which then decides the order; an IPC channel tells the child when
 * `up` itself dies, so nothing is left behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';

export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  /** Resolves with a sentence when the process has ended. */
  readonly ended: Promise<string>;
  /** SIGTERM, and SIGKILL after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

const TAIL_LINES = 5;

export function startChild(
  name: string,
  script: string,
  args: readonly string[],
  logFile: string,
  env: NodeJS.ProcessEnv,
): Child {
  const child = spawn(process.execPath, [script, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // As in the systemd units: one arena of malloc for all threads instead of one for each saves a MiB or two.
    env: { MALLOC_ARENA_MAX: '1', ...env },
  });
  const log = createWriteStream(logFile, { flags: 'a', mode: 0o600 });
  const tail: string[] = [];
  child.stdout?.pipe(log, { end: false });
  child.stderr?.on('data', (chunk: Buffer) => {
    log.write(chunk);
    tail.push(...chunk.toString('utf8').split('\n').filter(Boolean));
    tail.splice(0, Math.max(0, tail.length - TAIL_LINES));
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`${name} could not be started: ${error.message}`));
    child.once('close', (code, signal) => {
      log.end();
      resolve(
        `${name} ended (${signal ?? `exit code ${code}`}): ${tail.join('\n') || `see ${logFile}`}`,
      );
    });
  });
  return { name, process: child, ended, stop: (graceMs) => stop(child, ended, graceMs) };
}

async function stop(child: ChildProcess, ended: Promise<string>, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await ended;
  clearTimeout(timer);
}
