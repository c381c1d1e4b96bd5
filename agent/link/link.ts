/**
 * The agent's session with the master's broker: MQTT 3.1.1 over TLS, both sides by certificate.
 *
 * Promises: starts with the broker absent and never gives up; after each connect the retained desired state
 * comes again and `onConnected` asks the agent to report all it knows; what waits to be sent is bounded
 * (outbox.ts); a message that does not fit is logged and dropped. It decides nothing: what to do with
 * a manifest is the agent's matter.
 */
import type { Logger } from 'pino';
import { encodeMessage, MessageError } from '../../protocol/codec.ts';
import type { DesiredIngress } from '../../protocol/ingress.ts';
import {
  type BoardCredentials,
  type BoardRoute,
  type ClusterManifest,
  type DesiredConfig,
  type DesiredPod,
  type DesiredService,
  Heartbeat,
  type Manifest,
  NodeEvent,
  NodeFacts,
  PodReport,
  VolumeReport,
} from '../../protocol/messages.ts';
import type { StreamRequest } from '../../protocol/stream-requests.ts';
import { nodeTopics } from '../../protocol/topics.ts';
import { backoffMs } from './backoff.ts';
import { Connection } from './connection.ts';
import { decodeIncoming, type Incoming } from './incoming.ts';
import { Outbox } from './outbox.ts';

export interface LinkHandlers {
  readonly onManifest: (message: Manifest) => void;
  readonly onPod: (message: DesiredPod) => void;
  readonly onConfig: (message: DesiredConfig) => void;
  readonly onIngress: (message: DesiredIngress) => void;
  readonly onClusterManifest: (message: ClusterManifest) => void;
  readonly onService: (message: DesiredService) => void;
  readonly onBoard: (message: BoardRoute) => void;
  readonly onRequest: (message: StreamRequest) => void;
  /** Connected and subscribed: report facts and the status of every pod again. */
  readonly onConnected: () => void;
  readonly onDisconnected?: () => void;
}

export interface LinkOptions {
  readonly credentials: BoardCredentials;
  /** New for every start of the agent process; the same as in its messages. */
  readonly session: string;
  readonly log: Logger;
  readonly handlers: LinkHandlers;
  /** [0, 1): spreads reconnects. */
  readonly random: () => number;
  /** Default 5: a dead connection is noticed within 3 times this. */
  readonly keepaliveSeconds?: number;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #log: Logger;
  readonly #node: string;
  readonly #outbox = new Outbox();
  #connection: Connection | undefined;
  #retry: NodeJS.Timeout | undefined;
  #attempt = 0;
  #ready = false;
  #stopped = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#node = options.credentials.node;
  }

  /** True between `onConnected` and `onDisconnected`. */
  get connected(): boolean {
    return this.#ready;
  }

  /** Returns at once; connects when the broker is there. */
  start(): void {
    this.#open();
  }

  /** Drops the connection without a goodbye, so that the master learns it from the last will. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    const connection = this.#connection;
    this.#connection = undefined;
    this.#ready = false;
    await connection?.destroy();
  }

  publishFacts(message: NodeFacts): void {
    this.#put('state', nodeTopics(this.#node).facts, encodeMessage(NodeFacts, message));
  }

  publishPod(message: PodReport): void {
    const topic = nodeTopics(this.#node).podStatus(message.uid);
    this.#put('state', topic, encodeMessage(PodReport, message));
  }

  publishVolume(message: VolumeReport): void {
    const topic = nodeTopics(this.#node).volumeStatus(message.name);
    this.#put('state', topic, encodeMessage(VolumeReport, message));
  }

  publishEvent(message: NodeEvent): void {
    this.#put('happening', nodeTopics(this.#node).events, encodeMessage(NodeEvent, message));
  }

  /** A heartbeat that cannot be sent now is worth nothing later: it is dropped. */
  publishHeartbeat(message: Heartbeat): void {
    if (!this.#ready) return;
    const payload = encodeMessage(Heartbeat, message);
    this.#connection?.publish(nodeTopics(this.#node).heartbeat, payload, { qos: 0 });
  }

  #put(kind: 'state' | 'happening', topic: string, payload: Uint8Array): void {
    this.#outbox.put({ kind, topic, payload });
    this.#flush();
  }

  #flush(): void {
    const connection = this.#connection;
    if (!this.#ready || connection === undefined) return;
    for (let message = this.#outbox.next(); message; message = this.#outbox.next()) {
      const sent = message;
      connection.publish(sent.topic, sent.payload, { qos: 1 }, (error) => {
        // Without its connection the message is in the outbox again already.
        if (error || this.#connection !== connection) return;
        this.#outbox.acknowledge(sent);
        this.#flush();
      });
    }
  }

  #open(): void {
    if (this.#stopped) return;
    const connection = new Connection(this.#options, {
      onReady: () => this.#connected(connection),
      onMessage: (topic, payload) => this.#receive(topic, payload),
      onClosed: (reason) => this.#closed(connection, reason),
    });
    this.#connection = connection;
    connection.open();
  }

  #connected(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#attempt = 0;
    this.#ready = true;
    this.#log.info({ broker: this.#options.credentials.broker }, 'connected to the master');
    this.#options.handlers.onConnected();
    this.#flush();
  }

  #closed(connection: Connection, reason: string): void {
    if (this.#connection !== connection || this.#stopped) return;
    this.#connection = undefined;
    this.#outbox.reset();
    const dropped = this.#outbox.takeDropped();
    const delayMs = backoffMs(this.#attempt, this.#options.random);
    // Once when it breaks and once when it stays so; then quietly, or a week without master fills the disk.
    const level = this.#ready || this.#attempt === 3 ? 'warn' : 'debug';
    this.#log[level]({ reason, dropped, delayMs }, 'no connection to the master');
    this.#attempt += 1;
    if (this.#ready) {
      this.#ready = false;
      this.#options.handlers.onDisconnected?.();
    }
    this.#retry = setTimeout(() => this.#open(), delayMs);
  }

  #receive(topic: string, payload: Uint8Array): void {
    try {
      const incoming = decodeIncoming(this.#node, topic, payload);
      if (incoming !== undefined) this.#dispatch(incoming);
    } catch (error) {
      if (error instanceof MessageError) {
        this.#log.warn({ topic, reason: error.message }, 'message of the master dropped');
      } else {
        this.#log.error({ err: error, topic }, 'handler of a message failed');
      }
    }
  }

  #dispatch(incoming: Incoming): void {
    const { handlers } = this.#options;
    switch (incoming.type) {
      case 'manifest':
        handlers.onManifest(incoming.message);
        break;
      case 'pod':
        handlers.onPod(incoming.message);
        break;
      case 'config':
        handlers.onConfig(incoming.message);
        break;
      case 'ingress':
        handlers.onIngress(incoming.message);
        break;
      case 'clusterManifest':
        handlers.onClusterManifest(incoming.message);
        break;
      case 'service':
        handlers.onService(incoming.message);
        break;
      case 'board':
        handlers.onBoard(incoming.message);
        break;
      case 'request':
        handlers.onRequest(incoming.message);
        break;
      default:
        incoming satisfies never;
    }
  }
}
