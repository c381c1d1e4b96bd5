/**
 * Makes the whole service range local to this board, so that a plain listener on a cluster IP works: no iptables,
 * no ipvs. Linux calls it AnyIP. Done once at the start; nothing is left behind but one route of our own.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { programOutput } from '../host/program-output.ts';

/** Our routes carry this number, so that no other's is ever touched (`ip route show proto 99`). */
export const ROUTE_PROTOCOL = '99';

/** Runs `ip` with these arguments, and `input` on its standard input, and returns what it prints. */
export type RunIp = (args: readonly string[], input?: string) => Promise<string>;

/** The board's network cannot be set up. The message says what to do. */
export class NetworkError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'NetworkError';
  }
}

/** Throws NetworkError with the words of `ip`. */
export const runIp: RunIp = async (args, input = '') => {
  try {
    return await programOutput('ip', args, input);
  } catch (cause) {
    throw new NetworkError(`"ip ${args.join(' ')}" failed: ${wordsOf(cause)}`, { cause });
  }
};

/** Idempotent. */
export async function ensureServiceRoute(serviceCidr: string, ip: RunIp): Promise<void> {
  await ip(['link', 'set', 'lo', 'up']);
  await ip(['route', 'replace', 'local', serviceCidr, 'dev', 'lo', 'proto', ROUTE_PROTOCOL]);
}

const FORWARDING = '/proc/sys/net/ipv4/ip_forward';

/** Pods reach other boards through this one. Idempotent; writes only when it is off. */
export async function ensureForwarding(): Promise<void> {
  try {
    if ((await readFile(FORWARDING, 'utf8')).trim() !== '1') await writeFile(FORWARDING, '1');
  } catch (cause) {
    throw new NetworkError(
      `${FORWARDING} cannot be switched on (${wordsOf(cause)}): run the agent as root`,
      { cause },
    );
  }
}

function wordsOf(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null) return String(cause);
  if ('code' in cause && cause.code === 'ENOENT') {
    return 'it is not installed (Debian: apt-get install iproute2)';
  }
  const stderr = 'stderr' in cause && typeof cause.stderr === 'string' ? cause.stderr.trim() : '';
  if (/not permitted/i.test(stderr)) return `${stderr}: run the agent as root`;
  if (stderr !== '') return stderr;
  return cause instanceof Error ? cause.message : String(cause);
}
