/** Whether a client may use a LoadBalancer service by its loadBalancerSourceRanges. Pure. */
import { cidrContains } from '../plan/pod-ip.ts';

/** `ip` as a socket gives it. Without ranges everybody is let in; by ranges only IPv4 can be. */
export function isLetIn(ranges: readonly string[] | undefined, ip: string): boolean {
  if (ranges === undefined) return true;
  const plain = ip.startsWith('::ffff:') ? ip.slice('::ffff:'.length) : ip;
  return ranges.some((range) => cidrContains(range, plain));
}
