/** What a test needs of the machine, as the reason why it is skipped. */
import { execFileSync } from 'node:child_process';

function has(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The reason why boards cannot be imitated here, or false. `more`: other programs that the test runs. */
export function labMissing(...more: string[]): string | false {
  if (process.getuid?.() !== 0) return 'boards are namespaces, which need root';
  for (const command of ['podman', 'ip', 'nsenter', 'unshare', 'curl', 'ps', 'busybox', ...more]) {
    if (!has(command)) return `${command} is missing`;
  }
  return false;
}
