/** The board's own IPv4 addresses: of its LAN, of loopback and of bridges, as they are now. */
import { networkInterfaces } from 'node:os';

export function localIpv4(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const ips = all.filter(({ family }) => family === 'IPv4').map(({ address }) => address);
  // The same address may be on two interfaces.
  return [...new Set(ips)];
}

export interface Lan {
  readonly address: string;
  /** "192.168.1.7/24": the address, and what is reached there without a router. */
  readonly cidr: string;
}

/** The LAN that this address of the board is in; undefined when no interface has it, or only loopback. */
export function lanOf(wanted: string): Lan | undefined {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const found = all.find(
    ({ address, family, internal }) => address === wanted && family === 'IPv4' && !internal,
  );
  return typeof found?.cidr === 'string' ? { address: wanted, cidr: found.cidr } : undefined;
}
