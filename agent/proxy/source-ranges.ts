/** Whether a client may use a LoadBalancer service by its loadBalancerSourceRanges. Pure. */
import { cidrContains } from '../plan/pod-ip.ts';

/** `ip` as a socket gives it. Without ranges everybody is let in; by ranges only IPv4 can be. */
export function isLetIn(ranges: readonly string[] | undefined, ip: string): boolean {
  return ranges === undefined || ranges.some((range) => cidrContains(range, plainIp(ip)));
}

/** An address as a socket gives it: an IPv4 client of an IPv6 socket is written as IPv4, and a zone is left out. */
export function plainIp(ip: string | undefined): string {
  return (ip ?? '').replace(/^::ffff:(?=[\d.]+$)|%.*$/g, '');
}
