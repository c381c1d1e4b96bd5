/** The board's own IPv4 addresses: of its LAN, of loopback and of bridges, as they are now. */
import { networkInterfaces } from 'node:os';

export function localIpv4(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const ips = all.filter(({ family }) => family === 'IPv4').map(({ address }) => address);
  // The same address may be on two interfaces.
  return [...new Set(ips)];
}
