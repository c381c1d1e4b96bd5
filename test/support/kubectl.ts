/**
 * Unmodified kubectl for tests: a current one (Debian sid), 1.32 (Debian 13) and Debian 12's 1.20, fetched once into .cache.
 * Where one cannot be had, tests that need it say so and are skipped.
 */
import { execFileSync, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export type KubectlVersion = 'current' | '1.32' | '1.20';

const PACKAGES = {
  current: { name: 'kubectl', suite: 'sid' },
  '1.32': { name: 'kubectl', suite: 'trixie' },
  '1.20': { name: 'kubernetes-client', suite: 'bookworm' },
} as const;

export interface Kubectl {
  readonly path: string;
  /** As it names itself, for example v1.36.4. */
  readonly version: string;
}

/** The binary, or the reason why there is none. */
export function findKubectl(version: KubectlVersion): Kubectl | { readonly missing: string } {
  const { name, suite } = PACKAGES[version];
  const file = 'usr/bin/kubectl';
  const folder = join(HOME, '.cache', `kubectl-${suite}`);
  try {
    const script = join(HOME, 'firmware-scripts/debian-package.sh');
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    execFileSync('sh', [script, name, suite, folder, file], { stdio: [...stdio] });
    const path = join(folder, file);
    const answer: unknown = JSON.parse(
      execFileSync(path, ['version', '--client', '-o', 'json'], { encoding: 'utf8' }),
    );
    return { path, version: versionOf(answer) };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n').at(-2) : String(error);
    return { missing: `kubectl ${version} could not be had: ${reason}` };
  }
}

function versionOf(answer: unknown): string {
  const { clientVersion } = answer as { clientVersion: { gitVersion: string } };
  return clientVersion.gitVersion;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; never throws for an exit code. `timeoutMs` ends it with SIGKILL. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: string; timeoutMs?: number } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: options.env ?? process.env });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 60_000);
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({
        code: code ?? -1,
        stdout: Buffer.concat(out).toString('utf8'),
        stderr: Buffer.concat(err).toString('utf8'),
      });
    });
    // A command may end without having read what it was given.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}
