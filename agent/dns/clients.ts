/**
 * Who may ask this DNS server: pods of the board and the board itself; others on the LAN only where a person allows it. Pure.
 */
import { cidrContains } from '../plan/pod-ip.ts';

export interface ClientRules {
  /** The board's range of pod addresses; empty while it has none. */
  readonly podCidr: string;
  /** All addresses of the board. A program on it may ask from any. */
  readonly ownAddresses: ReadonlySet<string>;
  /** Others that are allowed to. */
  readonly ranges: readonly string[];
}

/** `ip` as a socket gives it; the kernel lets nobody outside use loopback or an address of ours. */
export function mayAsk({ podCidr, ownAddresses, ranges }: ClientRules, ip: string): boolean {
  const plain = ip.startsWith('::ffff:') ? ip.slice('::ffff:'.length) : ip;
  if (plain.startsWith('127.') || plain === '::1' || ownAddresses.has(plain)) return true;
  if (podCidr !== '' && cidrContains(podCidr, plain)) return true;
  return ranges.some((range) => cidrContains(range, plain));
}
