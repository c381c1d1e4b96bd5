/**
 * The board's pod network in podman: one bridge with one subnet, no DNS of podman's own (the agent answers), IPv4
 * only. Works with netavark and CNI alike.
 */
import { asArray, asObject, asText } from './json-read.ts';
import { type CallOptions, EngineHttpError } from './podman-http.ts';
import { BRIDGE, NETWORK } from './podman-spec.ts';
import { AddressTakenError, RuntimeError } from './runtime.ts';

type Call = (method: string, path: string, options?: CallOptions) => Promise<unknown>;

/** The subnet's first address, which the bridge gets: `10.42.3.0/24` gives `10.42.3.1`. */
export function gatewayOf(podCidr: string): string {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(podCidr);
  const parts = match?.slice(1).map(Number) ?? [];
  const [a, b, c, d, prefix] = parts;
  const bad =
    a === undefined ||
    b === undefined ||
    c === undefined ||
    d === undefined ||
    prefix === undefined;
  if (bad || Math.max(a, b, c, d) > 255 || prefix > 30) {
    throw new RuntimeError(`the pod CIDR "${podCidr}" is no IPv4 subnet such as 10.42.3.0/24`);
  }
  return `${a}.${b}.${c}.${d + 1}`;
}

/** Idempotent. Another subnet is replaced when no pod uses it, and refused otherwise. */
export async function ensurePodmanNetwork(call: Call, podCidr: string): Promise<void> {
  const gateway = gatewayOf(podCidr);
  const have = await subnetOf(call);
  if (have === podCidr) return;
  if (have !== undefined) {
    try {
      await call('DELETE', `/networks/${NETWORK}`);
    } catch (cause) {
      throw new RuntimeError(
        `the pod network is ${have}, but ${podCidr} is wanted, and pods still use it: remove them first`,
        { cause },
      );
    }
  }
  await call('POST', '/networks/create', {
    body: {
      name: NETWORK,
      driver: 'bridge',
      network_interface: BRIDGE,
      subnets: [{ subnet: podCidr, gateway }],
      dns_enabled: false,
      ipv6_enabled: false,
      internal: false,
    },
  });
}

async function subnetOf(call: Call): Promise<string | undefined> {
  try {
    const network = asObject(await call('GET', `/networks/${NETWORK}/json`));
    return asText(asObject(asArray(network.subnets)[0]).subnet);
  } catch (error) {
    if (error instanceof EngineHttpError && error.status === 404) return undefined;
    throw error;
  }
}

/**
 * A service that is killed while it starts a pod has reserved the pod's address in podman's own list, and knows of it no more: until
 * a reboot nobody can have it. In the words of netavark and of CNI's host-local; any other error is returned as it is.
 */
export function asTaken(error: unknown): unknown {
  const isTaken =
    error instanceof RuntimeError &&
    /requested ip address \S+ is (already allocated|not available)/i.test(error.message);
  return isTaken ? new AddressTakenError(error.message, { cause: error }) : error;
}
