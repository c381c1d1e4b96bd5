/** Every setting and limit of the agent in one place. Flags come from main.ts; nothing else reads the environment. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Value } from 'typebox/value';
import { BoardCredentials } from '../protocol/messages.ts';
import { isName } from './dns/name.ts';
import { addressAt, parseCidr } from './plan/pod-ip.ts';
import type { RuntimeName, RuntimeSettings } from './runtime/choose.ts';

export interface AgentFlags {
  readonly data: string;
  readonly credentials?: string;
  readonly runDir: string;
  readonly address?: string;
  readonly serviceCidr: string;
  readonly clusterDomain: string;
  /** Ranges, with commas between them. */
  readonly dnsClients?: string;
  readonly heartbeatSeconds: number;
  readonly relayPort: number;
  /** Names of images, with commas between them. */
  readonly pinImages?: string;
  readonly allowShell?: boolean;
  readonly runtime?: RuntimeName;
  readonly criSocket?: string;
  readonly dockerSocket?: string;
  readonly podmanSocket?: string;
  readonly podmanRoot?: string;
  readonly podmanRunroot?: string;
}

export interface AgentConfig {
  readonly dataDir: string;
  /** On a tmpfs: Secrets of pods, volumes in memory. */
  readonly runDir: string;
  readonly stateDir: string;
  readonly credentialsFile: string;
  /** LAN address to report; undefined: found out, and followed when it changes. */
  readonly address: string | undefined;
  readonly serviceCidr: string;
  /** Where this board answers DNS; the tenth address of the service range. */
  readonly dnsIp: string;
  readonly clusterDomain: string;
  /** Who may ask its DNS server beside the board and its pods: IPv4 ranges. */
  readonly dnsClients: readonly string[];
  readonly heartbeatMs: number;
  /** TCP, where agents of boards in other subnets come for pods of this one; 0: they are left to the network's routers. */
  readonly relayPort: number;
  /** Images that stay on the board whatever its disk says. */
  readonly pinnedImages: readonly string[];
  /** Whether people with the right to may be root on this board. */
  readonly allowShell: boolean;
  readonly runtime: Pick<RuntimeSettings, 'name' | 'criSocket' | 'dockerSocket' | 'podman'>;
  readonly limits: typeof LIMITS;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;

export const LIMITS = {
  pods: {
    /** Kubernetes: CrashLoopBackOff. */
    crash: { firstMs: 10 * SECOND, maxMs: 5 * MINUTE, resetAfterMs: 10 * MINUTE },
    /** Kubernetes: ImagePullBackOff. */
    pull: { firstMs: 10 * SECOND, maxMs: 5 * MINUTE },
    retry: { firstMs: 1 * SECOND, maxMs: 1 * MINUTE },
    /** An SD card is slower with more. */
    parallelPulls: 2,
    parallelEngineCalls: 6,
    relistMs: 1 * MINUTE,
    volumeLookMs: 10 * SECOND,
    /** Kubernetes: imageGCHighThresholdPercent, imageGCLowThresholdPercent, imageMinimumGCAge. */
    images: { highPercent: 85, lowPercent: 80, ageMinMs: 2 * MINUTE, lookMs: 1 * MINUTE },
    engineRetry: { firstMs: 1 * SECOND, maxMs: 30 * SECOND },
  },
  proxy: {
    connectionsMax: 10_000,
    bufferBytesMax: 24 * 1024 * 1024,
    connectTimeoutMs: 3 * SECOND,
    keepAliveMs: 1 * MINUTE,
    listenRetry: { firstMs: 1 * SECOND, maxMs: 30 * SECOND },
    /** Each is a socket of the board. */
    udpFlowsMax: 2048,
    udpUnrepliedMs: 30 * SECOND,
    udpIdleMs: 2 * MINUTE,
    udpWaitingMax: 16,
    udpWaitingMs: 1 * SECOND,
    udpWaitingBytesMax: 4 * 1024 * 1024,
    affinityClientsMax: 10_000,
  },
  web: {
    connectionsMax: 4096,
    requestsMax: 4096,
    headerBytesMax: 16 * 1024,
    headerTimeoutMs: 15 * SECOND,
    handshakeTimeoutMs: 10 * SECOND,
    bodyIdleMs: 1 * MINUTE,
    idleMs: 65 * SECOND,
    connectTimeoutMs: 3 * SECOND,
    answerTimeoutMs: 5 * MINUTE,
    keepAliveMs: 1 * MINUTE,
    backendIdleMs: 30 * SECOND,
    backendIdleMax: 32,
  },
  dns: {
    tcpConnectionsMax: 256,
    tcpIdleMs: 10 * SECOND,
    tcpPendingMax: 32,
    repliesMax: 4096,
    repeatMs: 1 * SECOND,
    listenRetry: { firstMs: 1 * SECOND, maxMs: 30 * SECOND },
    forwarder: {
      pendingMax: 512,
      staleAfterMs: 1800,
      downMs: 5 * SECOND,
      cache: {
        entriesMax: 4096,
        bytesMax: 2 * 1024 * 1024,
        ttlMaxSeconds: 24 * 3600,
        negativeTtlMaxSeconds: 3600,
        staleSeconds: 3 * 24 * 3600,
      },
    },
    upstream: { attemptMs: 1500, totalMs: 4500, rounds: 2 },
  },
  mdns: { openRetry: { firstMs: 1 * SECOND, maxMs: 30 * SECOND } },
  /** Addresses of LoadBalancer services on the LAN. A dead board's are taken within deadMs + intervalMs. */
  pool: {
    /** UDP, between boards. */
    port: 8884,
    intervalMs: 400,
    deadMs: 1600,
    /** The kernel drops an address that is not renewed for so long: an agent that hangs does not keep it. */
    lifetimeSeconds: 30,
    renewMs: 10 * SECOND,
    rebindMs: 5 * SECOND,
    /** When to ask the LAN whether somebody else has an address, after it was taken. */
    conflictLookMs: 3 * SECOND,
    /** Certificates of boards not met yet that are looked at in a second. */
    strangersMax: 20,
  },
  /** Between boards of different subnets. */
  relay: {
    sessionsMax: 256,
    streamsMax: 1024,
    /** HTTP/2's own default: half of a wire of 1 Gbit/s and 1 ms to the other board is full with it. */
    windowBytes: 64 * 1024,
    sessionWindowBytes: 2 * 1024 * 1024,
    datagramBytesMax: 256 * 1024,
    handshakeTimeoutMs: 5 * SECOND,
    connectTimeoutMs: 2 * SECOND,
    pingMs: 10 * SECOND,
    idleMs: 1 * MINUTE,
    listenRetry: { firstMs: 1 * SECOND, maxMs: 30 * SECOND },
  },
  state: {
    waitingPayloadsMax: 4096,
    clusterWriteDelayMs: 2 * SECOND,
  },
  /** Logs, commands, forwarded connections: each of them is a connection to the master. */
  streamsMax: 64,
  /** A volume's directory that should have gone and is still there is looked at again after so long. */
  volumeRetryMs: 10 * SECOND,
  /** For mount(8) and umount(8), and for the file server's answer; the pod's next attempt follows. */
  mounts: { timeoutMs: 30 * SECOND, dialMs: 5 * SECOND },
  /** How often routes and the board's address are looked at. */
  networkCheckMs: 1 * MINUTE,
} as const;

/** Throws an Error that names the flag. */
export function configOf(flags: AgentFlags): AgentConfig {
  const dnsIp = addressAt(flags.serviceCidr, 10);
  if (dnsIp === undefined) {
    throw new Error(`--service-cidr "${flags.serviceCidr}" is no IPv4 range with ten addresses`);
  }
  if (!isName(flags.clusterDomain.split('.'))) {
    throw new Error(`--cluster-domain "${flags.clusterDomain}" is no domain name`);
  }
  const dnsClients = listOf(flags.dnsClients);
  for (const range of dnsClients) {
    if (parseCidr(range) !== undefined) continue;
    throw new Error(`--dns-clients "${range}" is no IPv4 range, such as 192.168.1.0/24`);
  }
  return Object.freeze({
    dataDir: flags.data,
    runDir: flags.runDir,
    stateDir: join(flags.data, 'state'),
    credentialsFile: flags.credentials ?? join(flags.data, 'credentials.json'),
    address: flags.address,
    serviceCidr: flags.serviceCidr,
    dnsIp,
    clusterDomain: flags.clusterDomain.toLowerCase(),
    dnsClients,
    heartbeatMs: flags.heartbeatSeconds * SECOND,
    relayPort: flags.relayPort,
    allowShell: flags.allowShell === true,
    pinnedImages: listOf(flags.pinImages),
    runtime: {
      name: flags.runtime,
      criSocket: flags.criSocket,
      dockerSocket: flags.dockerSocket,
      podman: {
        socketPath: flags.podmanSocket,
        root: flags.podmanRoot,
        runroot: flags.podmanRunroot,
      },
    },
    limits: LIMITS,
  });
}

/** What stands between commas. */
function listOf(text = ''): string[] {
  return text.split(',').flatMap((one) => one.trim() || []);
}

/** Below it lie the persistent volumes that were made on this board: absolute, because PersistentVolumes name it. */
export function volumesDirectory({ dataDir }: AgentConfig): string {
  return resolve(dataDir, 'volumes');
}

/** Throws an Error that says what to do. */
export async function readCredentials(file: string): Promise<BoardCredentials> {
  const advice = `make it on the master with "pier-master board-credentials NAME --output ${file}"`;
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the board's credentials cannot be read (${why}): ${advice}`, { cause });
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${file} is not JSON: ${advice}`, { cause });
  }
  if (Value.Check(BoardCredentials, value)) return value;
  const first = Value.Errors(BoardCredentials, value)[0];
  const place = first === undefined ? '' : `${first.instancePath} ${first.message}`;
  throw new Error(`${file} holds no credentials of a board (${place}): ${advice}`);
}
