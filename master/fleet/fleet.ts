/**
 * The fleet link: between the API and the boards. A client of the API like any other; to the boards it speaks
 * MQTT through a `Bus`. Puts its parts together and routes what boards say.
 *
 * Promises: nothing is told to a board before all informers have synced; what boards say until then waits, up
 * to 4,096 messages (a board whose message finds no place is cut off: it reports all again when it is
 * back); a message that does not fit is logged and dropped, never guessed.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { decodeMessage, MessageError } from '../../protocol/codec.ts';
import type { ConfigMap, Ingress, Secret, Service } from '../../protocol/kinds/types.ts';
import { type Heartbeat, NodeEvent, type NodeFacts } from '../../protocol/messages.ts';
import { parseTopic } from '../../protocol/topics.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import type { MetricsSource } from '../api/metrics.ts';
import type { LogSource } from '../api/pod-log.ts';
import type { NodeSource, StreamSource } from '../api/streams/source.ts';
import type { Bus, BusMessage } from '../broker/bus.ts';
import { RefusalLog } from '../broker/refusal-log.ts';
import type { EventRecorder } from '../controllers/events.ts';
import { Informer } from '../informer/informer.ts';
import type { SharedInformers } from '../informer/shared.ts';
import { systemTimers, type Timers } from '../informer/timers.ts';
import type { AddressPool } from '../load-balancer/address-pool.ts';
import { Boards } from './boards.ts';
import { DesiredSync } from './desired-sync.ts';
import type { FleetInformers } from './fleet-informers.ts';
import { NodeLeases } from './node-leases.ts';
import { PodStatusWriter } from './pod-status.ts';
import { BoardStreams } from './streams.ts';
import { VolumeRemoval } from './volume-removal.ts';

export interface FleetOptions {
  /** As user system:pier:fleet. */
  readonly client: ApiClient;
  /** The master's own; the fleet starts and stops none of them. */
  readonly informers: SharedInformers;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly clusterId: string;
  readonly epoch: number;
  /** For what boards report; its component is what `kubectl describe` shows, such as "kubelet". */
  readonly events: EventRecorder;
  /** gitVersion of GET /version; shown as the version of each node. */
  readonly kubernetesVersion: string;
  /** For the scheduler: how busy a board is; undefined when it has fallen silent. */
  readonly onUsage?: (node: string, heartbeat: Heartbeat | undefined) => void;
  readonly timers?: Timers;
  /** LAN addresses for LoadBalancer services; without it boards listen on their own. */
  readonly addressPool?: AddressPool;
}

export interface Fleet {
  /** For metrics.k8s.io. */
  readonly metrics: MetricsSource;
  /** For pods/log. */
  readonly logs: LogSource;
  /** For pods/exec, pods/attach and pods/portforward. */
  readonly streams: StreamSource & NodeSource;
  /** For `ApiServer.onUpgrade(STREAM_PATH, ...)`: the streams that boards open. */
  readonly upgrade: BoardStreams['upgrade'];
  /** Resolves when the informers have synced and the desired state goes out. */
  readonly ready: Promise<void>;
  stop(): Promise<void>;
}

const WAITING_MAX = 4_096;

/** Listens to the bus at once. Start the broker after this: then no word of a board is lost. */
export function startFleet(options: FleetOptions): Fleet {
  const link = new FleetLink(options);
  const ready = link.start();
  return {
    metrics: link.boards.metrics,
    logs: link.streams,
    streams: link.streams,
    upgrade: (request, socket, head, user) => link.streams.upgrade(request, socket, head, user),
    ready,
    stop: () => link.stop(ready),
  };
}

class FleetLink {
  readonly boards: Boards;
  readonly streams: BoardStreams;
  readonly #options: FleetOptions;
  readonly #informers: FleetInformers;
  readonly #desired: DesiredSync;
  readonly #leases: NodeLeases;
  readonly #podStatus: PodStatusWriter;
  readonly #volumes: VolumeRemoval;
  readonly #refusals: RefusalLog;
  #waiting: BusMessage[] | undefined = [];
  #unsubscribe: (() => void) | undefined;
  #stopped = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { client, bus, clock, log, informers, clusterId, epoch } = options;
    const timers = options.timers ?? systemTimers;
    this.#refusals = new RefusalLog(log, clock);
    const own = { client, log, timers };
    this.#informers = {
      pods: informers.pods,
      nodes: informers.nodes,
      services: informers.services,
      endpoints: informers.endpoints,
      endpointSlices: informers.endpointSlices,
      ingresses: informers.ingresses,
      ingressClasses: informers.ingressClasses,
      configMaps: new Informer<ConfigMap>({ ...own, id: RESOURCES.configMaps }),
      secrets: new Informer<Secret>({ ...own, id: RESOURCES.secrets }),
      persistentVolumes: informers.persistentVolumes,
      persistentVolumeClaims: informers.persistentVolumeClaims,
    };
    this.boards = new Boards({
      ...own,
      nodes: informers.nodes,
      pods: informers.pods,
      clock,
      versions: { kubernetes: options.kubernetesVersion },
      onFacts: (node, facts) => this.#factsCame(node, facts),
      onUsage: (node, heartbeat) => {
        if (heartbeat !== undefined) this.#leases.renew(node);
        options.onUsage?.(node, heartbeat);
      },
    });
    this.#leases = new NodeLeases({ ...own, nodes: informers.nodes, clock });
    this.streams = new BoardStreams({
      bus,
      timers,
      log,
      isConnected: (node) => this.boards.isConnected(node),
    });
    this.#podStatus = new PodStatusWriter({
      clock,
      ...own,
      pods: informers.pods,
      nodes: informers.nodes,
      isCurrent: (node, session) => this.boards.isCurrent(node, session),
    });
    this.#volumes = new VolumeRemoval({
      ...own,
      nodes: informers.nodes,
      volumes: informers.persistentVolumes,
      events: options.events,
      isCurrent: (node, session) => this.boards.isCurrent(node, session),
    });
    this.#desired = new DesiredSync({
      ...own,
      informers: this.#informers,
      bus,
      clock,
      clusterId,
      epoch,
      addressPool: options.addressPool,
      publicKeyOf: (node) => this.boards.publicKeyOf(node),
    });
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#options.bus.onMessage((message) => this.#receive(message));
    this.#informers.configMaps.start();
    this.#informers.secrets.start();
    await Promise.all(Object.values(this.#informers).map((informer) => informer.whenSynced()));
    if (this.#stopped) return;
    this.boards.start();
    this.#leases.start();
    this.#podStatus.start();
    this.#desired.start();
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const message of waiting) this.#route(message);
  }

  async stop(ready: Promise<void>): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe?.();
    this.boards.stop();
    this.#leases.stop();
    this.#podStatus.stop();
    this.streams.stop();
    await Promise.all([
      this.#desired.stop(),
      this.#informers.configMaps.stop(),
      this.#informers.secrets.stop(),
    ]);
    // Waits for shared informers that never synced only if nobody stops them: they let go of it then.
    if (Object.values(this.#informers).every((informer) => informer.hasSynced)) await ready;
  }

  #receive(message: BusMessage): void {
    if (this.#waiting === undefined) {
      this.#route(message);
    } else if (this.#waiting.length < WAITING_MAX) {
      this.#waiting.push(message);
    } else {
      this.#options.bus.disconnect(message.node);
    }
  }

  #route({ topic, payload, node }: BusMessage): void {
    try {
      this.#handle(topic, payload, node);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      this.#refusals.add(node, `message dropped: ${error.message}`);
    }
  }

  #handle(topic: string, payload: Uint8Array, node: string): void {
    // An empty payload clears what was retained: nothing is said by it.
    if (payload.length === 0) return;
    switch (parseTopic(topic)?.type) {
      case 'online':
        this.boards.receiveOnline(node, payload);
        return;
      case 'facts':
        this.boards.receiveFacts(node, payload);
        return;
      case 'heartbeat':
        this.boards.receiveHeartbeat(node, payload);
        return;
      case 'podStatus':
        this.#podStatus.receive(node, payload);
        return;
      case 'volumeStatus':
        this.#volumes.receive(node, payload);
        return;
      case 'events':
        this.#receiveEvent(node, payload);
        return;
      default:
        this.#refusals.add(node, `message on a topic that boards do not use: ${topic}`);
    }
  }

  /** A board may speak of its own Node, of pods that are bound to it, and of what boards serve: services and Ingresses. */
  #receiveEvent(node: string, payload: Uint8Array): void {
    const { session, involved, type, reason, message } = decodeMessage(NodeEvent, payload);
    if (!this.boards.isCurrent(node, session)) return;
    const { kind, namespace, name, uid } = involved;
    const pod = kind === 'Pod' ? this.#informers.pods.get(namespace, name) : undefined;
    const isOwnPod = pod?.spec?.nodeName === node && pod.metadata?.uid === uid;
    const isOwnNode = kind === 'Node' && name === node;
    const served = this.#served(kind, namespace, name);
    if (!isOwnPod && !isOwnNode && served === undefined) {
      this.#refusals.add(node, `event about ${kind} ${namespace}/${name}, which is not its own`);
      return;
    }
    const own = isOwnNode ? this.#informers.nodes.get('', node) : isOwnPod ? pod : served;
    const metadata = own?.metadata ?? { name, uid };
    this.#options.events.record({ apiVersion: 'v1', kind, metadata }, type, reason, message);
  }

  #served(kind: string, namespace: string, name: string): Service | Ingress | undefined {
    const { services, ingresses } = this.#informers;
    if (kind === 'Service') return services.get(namespace, name);
    return kind === 'Ingress' ? ingresses.get(namespace, name) : undefined;
  }

  #factsCame(node: string, facts: NodeFacts): void {
    const { clusterId, epoch, log } = this.#options;
    const { holds } = facts;
    const revision = Math.max(...Object.values(this.#informers).map((one) => one.revision));
    if (holds !== undefined && holds.clusterId !== clusterId) {
      log.error({ node, holds }, 'the board obeys another cluster: join it to this one');
    } else if (
      holds !== undefined &&
      (holds.epoch > epoch || (holds.epoch === epoch && holds.revision > revision))
    ) {
      log.error(
        { node, holds, epoch, revision },
        'the board holds a newer desired state than this master: it goes on with that. Was this master ' +
          'restored from a backup, or does another one run?',
      );
    }
    this.#desired.markBoard(node);
  }
}
