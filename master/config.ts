/** Every setting and limit of the master in one place. Flags come from main.ts; nothing else reads the environment. */
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type AddressPool, parseAddressPool } from './load-balancer/address-pool.ts';

export interface MasterConfig {
  readonly dataDir: string;
  readonly storeDir: string;
  readonly pkiDir: string;
  readonly kubeconfigFile: string;
  readonly clusterFile: string;
  /** Address to listen on; `::` is every address, IPv4 and IPv6. */
  readonly listen: string;
  readonly apiPort: number;
  readonly mqttPort: number;
  /** Names and addresses that go into the server's certificate. */
  readonly hostnames: readonly string[];
  /** Where it can be reached. */
  readonly addresses: readonly string[];
  readonly podCidr: string;
  /** Seconds a pod stays bound to a board that is gone, unless it says otherwise. */
  readonly evictionSeconds: number;
  readonly scheduling: 'binpack' | 'spread';
  readonly rebalance: RebalanceMode;
  /** LAN addresses for LoadBalancer services; undefined: they have the boards' own. */
  readonly addressPool: AddressPool | undefined;
  /** Seconds between two moves, and after a board came or went. */
  readonly rebalancePauseSeconds: number;
}

export type RebalanceMode = 'off' | 'propose' | 'move';

export interface MasterFlags {
  readonly data: string;
  readonly listen: string;
  readonly apiPort: number;
  readonly mqttPort: number;
  readonly address?: string;
  readonly podCidr: string;
  readonly evictionSeconds: number;
  readonly scheduling: 'binpack' | 'spread';
  readonly rebalance: RebalanceMode;
  readonly loadBalancerPool?: string;
  /** Seconds between two moves, and after a board came or went. */
  readonly rebalancePause: number;
}

/** Of services; agents have it as --service-cidr. */
const SERVICE_CIDR = '10.43.0.0/16';
const ANY_ADDRESS: ReadonlySet<string> = new Set(['::', '0.0.0.0']);

/** Throws an Error that names the flag. */
export function configOf(flags: MasterFlags): MasterConfig {
  const addresses = new Set(ANY_ADDRESS.has(flags.listen) ? localAddresses() : [flags.listen]);
  if (flags.address !== undefined) addresses.add(flags.address);
  return Object.freeze({
    dataDir: flags.data,
    storeDir: join(flags.data, 'store'),
    pkiDir: join(flags.data, 'pki'),
    kubeconfigFile: join(flags.data, 'admin.kubeconfig'),
    clusterFile: join(flags.data, 'cluster.json'),
    listen: flags.listen,
    apiPort: flags.apiPort,
    mqttPort: flags.mqttPort,
    hostnames: [hostname().toLowerCase()],
    addresses: [...addresses].sort(),
    podCidr: flags.podCidr,
    evictionSeconds: flags.evictionSeconds,
    scheduling: flags.scheduling,
    rebalance: flags.rebalance,
    addressPool: addressPool(flags, [...addresses]),
    rebalancePauseSeconds: flags.rebalancePause,
  });
}

function addressPool(flags: MasterFlags, addresses: string[]): AddressPool | undefined {
  const { loadBalancerPool: text, podCidr } = flags;
  if (text === undefined) return undefined;
  return parseAddressPool(text, { podCidr, serviceCidr: SERVICE_CIDR, addresses });
}

/** Addresses of this board that others may use to reach the master; pod bridges are none of them. */
function localAddresses(): string[] {
  const entries = Object.entries(networkInterfaces())
    .filter(([name]) => !/^(pier|veth|cni|docker|podman)/.test(name))
    .flatMap(([, list]) => list ?? [])
    .filter((entry) => !entry.internal && !entry.address.startsWith('fe80:'));
  // An agent on this board may hold addresses of the pool, which come and go: a /32 counts only where there is no other.
  const lasting = entries.filter(({ netmask }) => netmask !== '255.255.255.255');
  const hasIpv4 = lasting.some(({ family }) => family === 'IPv4');
  return (hasIpv4 ? lasting : entries).map((entry) => entry.address);
}

/** The address that others on the LAN use, IPv4 first; undefined on a board that has only itself. */
export function lanAddress(addresses: readonly string[]): string | undefined {
  const reachable = addresses.filter((one) => !one.startsWith('127.') && one !== '::1');
  return reachable.find((one) => !one.includes(':')) ?? reachable[0];
}
