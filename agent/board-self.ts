/**
 * What this board says about itself: to the master (NodeFacts) and to its pods.
 */
import { X509Certificate } from 'node:crypto';
import {
  type BoardCredentials,
  type DesiredService,
  MESSAGE_VERSION,
  type NodeFacts,
} from '../protocol/messages.ts';
import { milliValue, value } from '../protocol/quantity.ts';
import { type AgentConfig, volumesDirectory } from './config.ts';
import { readEmulated } from './host/emulation.ts';
import { type HostFacts, readHostFacts } from './host/facts.ts';
import { readResolver } from './network/resolver.ts';
import type { Resolver } from './plan/container-spec.ts';
import { apiServerAddress } from './plan/environment.ts';
import type { BoardFacts } from './pods/pod-worker.ts';
import type { DesiredState } from './state/desired-state.ts';

const AGENT_VERSION = '0.1.0';
/** Kubernetes' default hard eviction threshold is not given to pods: 100 Mi of memory, a tenth of the disk. */
const RESERVED_MEMORY_BYTES = 100 * 1024 * 1024;
const ALLOCATABLE_DISK_PART = 0.9;

export class BoardSelf {
  readonly #config: AgentConfig;
  readonly #credentials: BoardCredentials;
  readonly #publicKey: Uint8Array;
  #facts: HostFacts | undefined;
  /** As a label: boards with the same ones run the same images. */
  #emulated = '';
  #resolver: Resolver = { servers: [], searches: [], options: [] };

  constructor(config: AgentConfig, credentials: BoardCredentials) {
    this.#config = config;
    this.#credentials = credentials;
    const { publicKey } = new X509Certificate(credentials.certificate);
    this.#publicKey = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  }

  get address(): string {
    return this.#known().internalIp;
  }

  get architecture(): string {
    return this.#known().architecture;
  }

  get bootId(): string {
    return this.#known().bootId;
  }

  /** Looks at the board again. */
  async read(): Promise<void> {
    const { dataDir, address } = this.#config;
    const known = this.#facts;
    this.#facts = await readHostFacts({
      dataDir,
      ...(address === undefined ? {} : { internalIp: address }),
      // Hardware does not change; asking for it may fork.
      ...(known === undefined
        ? {}
        : {
            hardware: async () => ({
              model: known.model,
              serial: known.serial,
              uuid: known.systemUuid,
            }),
          }),
    });
    if (known === undefined)
      this.#emulated = (await readEmulated()).sort().join('.').slice(0, 63).replace(/\.$/, '');
    this.#resolver = await readResolver();
  }

  podFacts(services: readonly DesiredService[]): BoardFacts {
    const { internalIp, capacity } = this.#known();
    return {
      nodeName: this.#credentials.node,
      hostIp: internalIp,
      apiServer: apiServerAddress(services),
      allocatable: {
        cpuMillis: milliValue(capacity.cpu),
        memoryBytes: value(this.#allocatable().memory),
      },
      resolver: {
        ...this.#resolver,
        cluster: { server: this.#config.dnsIp, domain: this.#config.clusterDomain },
      },
    };
  }

  /** `devices`: what the board has of them, as quantities. */
  facts(
    session: string,
    runtimeVersion: string,
    desired: DesiredState,
    devices: Readonly<Record<string, string>>,
  ): NodeFacts {
    const facts = this.#known();
    const holds = desired.holds();
    return {
      v: MESSAGE_VERSION,
      session,
      agentVersion: `v${AGENT_VERSION}`,
      volumesDirectory: volumesDirectory(this.#config),
      architecture: facts.architecture,
      operatingSystem: facts.operatingSystem,
      osImage: facts.osImage,
      kernelVersion: facts.kernelVersion,
      containerRuntimeVersion: runtimeVersion,
      machineId: facts.machineId,
      systemUuid: facts.systemUuid,
      bootId: facts.bootId,
      hostname: facts.hostname,
      model: facts.model,
      serial: facts.serial,
      internalIp: facts.internalIp,
      capacity: { ...facts.capacity, ...devices },
      allocatable: { ...this.#allocatable(), ...devices },
      labels: {
        'kubernetes.io/arch': facts.architecture,
        'kubernetes.io/os': facts.operatingSystem,
        'kubernetes.io/hostname': this.#credentials.node,
        ...(this.#emulated === '' ? {} : { 'pier.local/emulates': this.#emulated }),
      },
      publicKey: this.#publicKey,
      ...(holds === undefined ? {} : { holds }),
    };
  }

  #allocatable() {
    const { capacity } = this.#known();
    const memory = Math.max(0, value(capacity.memory) - RESERVED_MEMORY_BYTES);
    const disk = value(capacity['ephemeral-storage']) * ALLOCATABLE_DISK_PART;
    return {
      ...capacity,
      memory: `${Math.floor(memory / 1024)}Ki`,
      'ephemeral-storage': `${Math.floor(disk / 1024)}Ki`,
    };
  }

  #known(): HostFacts {
    if (this.#facts === undefined) throw new Error('the board was not looked at yet');
    return this.#facts;
  }
}
