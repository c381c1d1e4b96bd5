/**
 * A simulated board: power, disk, container engine and an agent that speaks the fleet protocol. What to obey is decided by the
 * agent's real ledger (agent/state/ledger.ts) and its messages are read by the agent's real reader; in place of an engine
 * stand the pods of pod.ts. As a real board it starts what it knows from its own disk, with or without a master.
 */
import { decodeIncoming, type Incoming } from '../../../agent/link/incoming.ts';
import { Ledger } from '../../../agent/state/ledger.ts';
import {
  type ClusterPayload,
  clusterManifest,
  keyOf,
  type NodePayload,
  nodeManifest,
} from '../../../agent/state/payloads.ts';
import { rfc3339 } from '../../../protocol/clock.ts';
import { encodeMessage } from '../../../protocol/codec.ts';
import type { Pod } from '../../../protocol/kinds/types.ts';
import {
  type ClusterManifest,
  Heartbeat,
  type Manifest,
  MESSAGE_VERSION,
  NodeFacts,
  Online,
  PodReport,
} from '../../../protocol/messages.ts';
import { nodeTopics } from '../../../protocol/topics.ts';
import type { Chance } from './chance.ts';
import type { Cable, SimBroker, Wire } from './network.ts';
import { type PodHost, SimPod, type Weather } from './pod.ts';
import { ProcessTimers, type SimTime } from './time.ts';

export interface BoardParts {
  readonly time: SimTime;
  readonly chance: Chance;
  readonly weather: Weather;
  readonly name: string;
  readonly clusterId: () => string;
  readonly capacity: Readonly<Record<string, string>>;
  /** The broker that answers now, if any does. */
  readonly broker: () => SimBroker | undefined;
  readonly onPodStarted: (board: SimBoard, pod: SimPod) => void;
  readonly onPodStopping: (board: SimBoard, pod: SimPod) => void;
}

type NodeLedger = Ledger<Manifest, NodePayload>;
type SavedNode = Parameters<NodeLedger['restore']>;

const HEARTBEAT_MS = 5_000;
const WAITING_PAYLOADS_MAX = 1_000;

export class SimBoard {
  readonly name: string;
  /** What its heartbeats complain about. */
  readonly health = { memoryPressure: false, diskPressure: false, runtimeReady: true };
  readonly cable: Cable = { cut: 'none', slowMs: 0, duplicates: 0 };
  readonly #parts: BoardParts;
  /** By uid; what the engine and the disk hold. */
  readonly #pods = new Map<string, SimPod>();
  #saved: SavedNode | undefined;
  #nextAddress = 2;
  #leases = 1;
  /** How wrong the board's clock is: it has no battery. */
  #clockErrorMs = 0;
  #power: ProcessTimers;
  #isOn = false;
  #agent: SimAgent | undefined;

  constructor(parts: BoardParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.#power = new ProcessTimers(parts.time);
  }

  get agent(): SimAgent | undefined {
    return this.#agent;
  }

  get pods(): readonly SimPod[] {
    return [...this.#pods.values()];
  }

  powerOn(): void {
    if (this.#isOn) return;
    const { time, chance } = this.#parts;
    this.#isOn = true;
    this.#power = new ProcessTimers(time);
    this.#clockErrorMs = chance.happens(0.3) ? -time.wallMs() : chance.int(-5_000, 5_000);
    this.#power.after(chance.between(500, 5_000), () => this.startAgent());
  }

  /** The plug is pulled. */
  powerOff(): void {
    if (!this.#isOn) return;
    this.#isOn = false;
    this.#power.kill();
    this.#agent?.end(false);
    this.#agent = undefined;
    for (const pod of this.#pods.values()) pod.losePower();
  }

  startAgent(): void {
    if (!this.#isOn || this.#agent !== undefined) return;
    this.#agent = new SimAgent(this, this.#parts, this.#saved);
    this.#agent.start();
  }

  /** kill -9 of the agent: containers run on. */
  killAgent(): void {
    this.#agent?.end(true);
    this.#agent = undefined;
    for (const pod of this.#pods.values()) pod.forgetSteps();
  }

  /** The agent's own files are lost, what the engine holds is not. */
  loseState(): void {
    this.killAgent();
    this.#saved = undefined;
  }

  /** Where DHCP has put the board; it says so when it connects again. */
  get internalIp(): string {
    return `192.0.2.${Number(this.name.replace(/\D/g, '')) + 10 * this.#leases}`;
  }

  move(): void {
    this.#leases = (this.#leases % 20) + 1;
    this.#agent?.reconnect();
  }

  timestamp(): string {
    return rfc3339(Math.max(0, this.#parts.time.wallMs() + this.#clockErrorMs));
  }

  /** Brings the pods nearer to what is saved. */
  reconcile(agent: SimAgent): void {
    if (this.#agent !== agent || this.#saved === undefined) return;
    const [manifest, items] = this.#saved;
    const wanted = new Map<string, Pod>();
    for (const { payload } of items.values()) {
      if (payload.type === 'pod') wanted.set(payload.message.uid, payload.message.pod as Pod);
    }
    const podCidr = manifest?.message.node.podCidr ?? '';
    for (const [uid, spec] of wanted) {
      const isGoing = spec.metadata?.deletionTimestamp !== undefined;
      let pod = this.#pods.get(uid);
      if (pod === undefined) {
        if (podCidr === '') continue;
        pod = new SimPod(spec, this.#address(podCidr), this.#host());
        this.#pods.set(uid, pod);
        agent.report(pod);
      }
      pod.drive(spec, isGoing);
    }
    for (const [uid, pod] of this.#pods) {
      if (wanted.has(uid)) continue;
      if (pod.isGone) this.#pods.delete(uid);
      else pod.drive(pod.spec, true);
    }
  }

  save(...saved: SavedNode): void {
    this.#saved = saved;
  }

  #address(podCidr: string): string {
    this.#nextAddress = this.#nextAddress >= 250 ? 2 : this.#nextAddress + 1;
    return podCidr.replace(/\.\d+\/\d+$/, `.${this.#nextAddress}`);
  }

  #host(): PodHost {
    const { chance, weather } = this.#parts;
    return {
      chance,
      weather,
      engineAfter: (ms, run) => this.#power.after(ms, run),
      agentAfter: (ms, run) => this.#agent?.timers.after(ms, run) ?? (() => {}),
      timestamp: () => this.timestamp(),
      started: (pod) => this.#parts.onPodStarted(this, pod),
      stopping: (pod) => this.#parts.onPodStopping(this, pod),
      changed: (pod) => {
        const agent = this.#agent;
        if (agent === undefined) return;
        agent.report(pod);
        this.reconcile(agent);
      },
    };
  }
}

/** One start of the agent's process. */
class SimAgent {
  readonly timers: ProcessTimers;
  readonly #board: SimBoard;
  readonly #parts: BoardParts;
  readonly #session: string;
  readonly #node: NodeLedger;
  readonly #cluster: Ledger<ClusterManifest, ClusterPayload>;
  #wire: Wire | undefined;
  #sequence = 0;
  #heartbeats = 0;
  #attempt = 0;
  #savedAtMs = 0;

  constructor(board: SimBoard, parts: BoardParts, saved: SavedNode | undefined) {
    this.#board = board;
    this.#parts = parts;
    this.timers = new ProcessTimers(parts.time);
    this.#session = parts.chance.uuid();
    const own = { clusterId: parts.clusterId(), node: parts.name };
    this.#node = new Ledger({ ...own, waitingPayloadsMax: WAITING_PAYLOADS_MAX });
    this.#cluster = new Ledger({ ...own, waitingPayloadsMax: WAITING_PAYLOADS_MAX });
    if (saved !== undefined) this.#node.restore(...saved);
  }

  /** The services that it knows, by "namespace/name". */
  get services(): ReadonlyMap<string, ClusterPayload> {
    return new Map([...this.#cluster.items].map(([key, { payload }]) => [key, payload]));
  }

  start(): void {
    this.#board.reconcile(this);
    this.#connect();
    this.#beat();
  }

  end(withWord: boolean): void {
    this.timers.kill();
    this.#wire?.dropByBoard(withWord);
    this.#wire = undefined;
  }

  /** Its connection is lost with its address. */
  reconnect(): void {
    if (this.#wire === undefined) return;
    this.#wire.dropByBoard(false);
    this.#wire = undefined;
    this.#connect();
  }

  report(pod: SimPod): void {
    if (this.#wire === undefined) return;
    this.#sequence += 1;
    const { uid, namespace, name, isGone } = pod;
    const report = {
      v: MESSAGE_VERSION,
      session: this.#session,
      sequence: this.#sequence,
      uid,
      namespace,
      name,
      status: { ...pod.status() },
      gone: isGone,
    } as const;
    this.#send(nodeTopics(this.#parts.name).podStatus(uid), encodeMessage(PodReport, report));
  }

  #connect(): void {
    const { chance, broker, name } = this.#parts;
    const waitMs = chance.between(0.5, 1) * Math.min(15_000, 500 * 2 ** this.#attempt);
    this.timers.after(waitMs, () => {
      this.#attempt += 1;
      const wire: Wire | undefined =
        this.#board.cable.cut !== 'none'
          ? undefined
          : broker()?.connect({
              node: name,
              session: this.#session,
              cable: this.#board.cable,
              handlers: {
                onMessage: (topic, payload) => this.#receive(topic, payload),
                onClosed: () => {
                  if (this.#wire !== wire) return;
                  this.#wire = undefined;
                  this.#connect();
                },
              },
            });
      this.#wire = wire;
      if (wire === undefined) this.#connect();
      else this.#connected();
    });
  }

  #connected(): void {
    this.#attempt = 0;
    const topics = nodeTopics(this.#parts.name);
    const online = { v: MESSAGE_VERSION, online: true, session: this.#session } as const;
    this.#send(topics.online, encodeMessage(Online, online));
    this.#send(topics.facts, encodeMessage(NodeFacts, this.#facts()));
    for (const pod of this.#board.pods) this.report(pod);
    this.#sendHeartbeat();
  }

  #facts(): NodeFacts {
    const { name, capacity } = this.#parts;
    const held = this.#node.manifest;
    return {
      v: MESSAGE_VERSION,
      session: this.#session,
      agentVersion: 'v0',
      architecture: 'arm64',
      operatingSystem: 'linux',
      osImage: 'sim',
      kernelVersion: '6',
      containerRuntimeVersion: 'sim://1',
      machineId: name,
      systemUuid: name,
      bootId: 'boot',
      hostname: name,
      model: 'Simulated Pi',
      serial: name,
      internalIp: this.#board.internalIp,
      capacity: { ...capacity },
      allocatable: { ...capacity },
      labels: {},
      publicKey: new Uint8Array([1, 2, 3]),
      ...(held === undefined
        ? {}
        : { holds: { clusterId: held.clusterId, epoch: held.epoch, revision: held.revision } }),
    };
  }

  #beat(): void {
    this.timers.after(HEARTBEAT_MS, () => {
      this.#sendHeartbeat();
      this.#beat();
    });
  }

  #sendHeartbeat(): void {
    if (this.#wire === undefined) return;
    this.#heartbeats += 1;
    const { chance } = this.#parts;
    const heartbeat = {
      v: MESSAGE_VERSION,
      session: this.#session,
      sequence: this.#heartbeats,
      windowMs: HEARTBEAT_MS,
      cpuNanoCores: chance.int(0, 2_000_000_000),
      memoryWorkingSetBytes: chance.int(0, 2 ** 30),
      memoryAvailableBytes: 2 ** 31,
      diskTotalBytes: 2 ** 34,
      diskAvailableBytes: 2 ** 33,
      networkReceiveBytes: 0,
      networkTransmitBytes: 0,
      pidPressure: false,
      ...this.#board.health,
      pods: [],
    } as const;
    const message = encodeMessage(Heartbeat, { ...heartbeat, pods: [] });
    this.#send(nodeTopics(this.#parts.name).heartbeat, message);
  }

  #send(topic: string, payload: Uint8Array): void {
    this.#wire?.send(topic, payload);
  }

  #receive(topic: string, payload: Uint8Array): void {
    const incoming = decodeIncoming(this.#parts.name, topic, payload);
    if (incoming === undefined) return;
    const outcome = this.#offer(incoming);
    if (outcome !== 'accept' && outcome !== 'filled') return;
    const { manifest, items } = this.#node;
    if (manifest === undefined || incoming.type === 'clusterManifest') return;
    if (incoming.type === 'service' || incoming.type === 'board') return;
    const saved: SavedNode = [manifest, new Map(items), manifest];
    // On its disk first; a power cut before that leaves the old state, whole.
    const { time, chance } = this.#parts;
    this.#savedAtMs = Math.max(this.#savedAtMs, time.monotonicMs() + chance.between(1, 50));
    this.timers.after(this.#savedAtMs - time.monotonicMs(), () => {
      this.#board.save(...saved);
      this.#board.reconcile(this);
    });
  }

  #offer(incoming: Incoming): string {
    switch (incoming.type) {
      case 'manifest':
        return this.#node.offerManifest(nodeManifest(incoming.message)).type;
      case 'pod':
      case 'config':
      case 'ingress': {
        const payload: NodePayload = incoming;
        const { digest } = payload.message;
        return this.#node.offerPayload(keyOf(payload), digest, payload).type;
      }
      case 'clusterManifest':
        return this.#cluster.offerManifest(clusterManifest(incoming.message)).type;
      case 'service':
      case 'board': {
        const payload: ClusterPayload =
          incoming.type === 'service'
            ? { type: 'service', message: incoming.message }
            : { type: 'board', message: incoming.message };
        return this.#cluster.offerPayload(keyOf(payload), payload.message.digest, payload).type;
      }
      case 'request':
        return 'same';
      default:
        return incoming satisfies never;
    }
  }
}
