/**
 * Who may ask this DNS server: pods of the board and the board itself, nobody else on the LAN. Pure.
 */
import { cidrContains } from '../plan/pod-ip.ts';

export interface ClientRules {
  /** The board's range of pod addresses; empty while it has none. */
  readonly podCidr: string;
  /** All addresses of the board. A program on it may ask from any. */
  readonly ownAddresses: ReadonlySet<string>;
}

/** `ip` as a socket gives it; the kernel lets nobody outside use loopback or an address of ours. */
export function mayAsk({ podCidr, ownAddresses }: ClientRules, ip: string): boolean {
  const plain = ip.startsWith('::ffff:') ? ip.slice('::ffff:'.length) : ip;
  if (plain.startsWith('127.') || plain === '::1' || ownAddresses.has(plain)) return true;
  return podCidr !== '' && cidrContains(podCidr, plain);
}
