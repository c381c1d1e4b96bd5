/**
 * The board's pod network by CNI: one bridge, each pod with the address that we name (see `cniUid` in spec.ts), so
 * that CNI keeps no list of addresses that a power cut could leave wrong. Written to the folder that the engine
 * says it reads; nothing else in there is touched.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { RuntimeError } from '../runtime.ts';
import type { GrpcSocket } from './grpc.ts';
import { CRI } from './proto.ts';

const BRIDGE = 'pier0';
const FILE = '10-pier.conflist';
/** Debian's containernetworking-plugins. The firewall lets pods through where Docker has shut forwarding off. */
const PLUGINS = ['loopback', 'bridge', 'static', 'firewall'];

/** The engine looks into its folder when something changes there. */
const READY_MS_MAX = 20_000;

/** The network's configuration (CNI specification 0.4.0). */
function conflist(): string {
  const config = {
    cniVersion: '0.4.0',
    name: 'pier',
    plugins: [
      {
        type: 'bridge',
        bridge: BRIDGE,
        // The bridge gets the subnet's first address and is the way out.
        isDefaultGateway: true,
        forceAddress: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: { type: 'static' },
      },
      { type: 'firewall' },
    ],
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** What is missing for pods to have a network; undefined when nothing is. */
export function missingPlugins(binDir: string): string | undefined {
  const missing = PLUGINS.filter((name) => !existsSync(`${binDir}/${name}`));
  if (missing.length === 0) return undefined;
  return (
    `CNI's plugins ${missing.join(', ')} are missing in ${binDir} ` +
    '(Debian: apt-get install containernetworking-plugins)'
  );
}

/** Another network that the engine would give to our pods, as a sentence; undefined when there is none. */
export async function otherNetwork(confDir: string): Promise<string | undefined> {
  const names = await readdir(confDir).catch(() => []);
  const first = names.filter((name) => /\.(conf|conflist|json)$/.test(name)).sort()[0];
  if (first === undefined || first >= FILE) return undefined;
  return (
    `${confDir}/${first} is another network's, and the engine would give it to our pods: ` +
    'move it away, or use --runtime podman'
  );
}

/** Idempotent; writes only what is not there. Throws RuntimeError when another network comes first. */
export async function writeNetwork(confDir: string): Promise<void> {
  const other = await otherNetwork(confDir);
  if (other !== undefined) throw new RuntimeError(other);
  const path = `${confDir}/${FILE}`;
  const present = await readFile(path, 'utf8').catch(() => undefined);
  if (present === conflist()) return;
  await mkdir(confDir, { recursive: true, mode: 0o755 });
  // The engine watches the folder: it must never read half a file.
  await writeFile(`${path}.new`, conflist(), { mode: 0o644 });
  await rename(`${path}.new`, path);
}

/** Waits until the engine has read the configuration. Throws RuntimeError with its words. */
export async function networkReady(grpc: GrpcSocket): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX;
  for (;;) {
    const { status } = await grpc.call(CRI.status, {}, { isRead: true });
    const network = status?.conditions.find(({ type }) => type === 'NetworkReady');
    if (network?.status !== false) return;
    if (performance.now() > deadline) {
      throw new RuntimeError(`the engine does not take the pod network: ${network.message}`);
    }
    await delay(50);
  }
}

/** 24 of `10.42.3.0/24`. */
export function prefixOf(cidr: string): number {
  return Number(cidr.split('/')[1] ?? '32');
}

/** Whether an IPv4 address is in a subnet such as 10.42.3.0/24. */
export function isWithin(ip: string, cidr: string): boolean {
  const size = 2 ** (32 - prefixOf(cidr));
  return Math.floor(asNumber(ip) / size) === Math.floor(asNumber(cidr) / size);
}

function asNumber(address: string): number {
  const [ip = ''] = address.split('/');
  return ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}
