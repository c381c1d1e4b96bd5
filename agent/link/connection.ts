/**
 * One connection of the agent to the broker, from the TLS handshake to its end; never reused. mqtt.js can latch
 * in "disconnecting" and never reconnect (Koenkk/zigbee2mqtt issue 33150): an object that is thrown away cannot.
 *
 * Promises: `onClosed` is called once, whatever happened; a connection that is silent for three keepalives
 * is closed from here, whatever the client thinks of it.
 */
import { connect as connectTls, type TLSSocket } from 'node:tls';
import mqttClient from 'mqtt/lib/client';
import { encodeMessage } from '../../protocol/codec.ts';
import {
  type BoardCredentials,
  MASTER_SERVER_NAME,
  MESSAGE_VERSION,
  Online,
} from '../../protocol/messages.ts';
import { clusterTopics, nodeTopics } from '../../protocol/topics.ts';

// Not `mqtt` itself: its entry loads transports that nobody here uses, 4 MiB of them.
const MqttClient = mqttClient.default;
type MqttClient = InstanceType<typeof MqttClient>;

const CONNECT_TIMEOUT_MS = 10_000;
const SILENCE_FACTOR = 3;
/** Retained messages come right after the subscription. */
const RETAINED_PHASE_MS = 30_000;
const REASONS: Readonly<Record<number, string>> = {
  2: 'another agent with the name of this board is connected: each board needs its own credentials',
  5: 'the master does not accept this board: its credentials are of another cluster or another name',
};

export interface ConnectionOptions {
  readonly credentials: BoardCredentials;
  readonly session: string;
  readonly keepaliveSeconds?: number;
}

export interface ConnectionHandlers {
  readonly onReady: () => void;
  readonly onMessage: (topic: string, payload: Uint8Array) => void;
  /** Once. */
  readonly onClosed: (reason: string) => void;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  readonly #keepaliveSeconds: number;
  #client: MqttClient | undefined;
  #socket: TLSSocket | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #reason = 'the connection was closed';
  #over = false;
  /** Topics that came live already: a retained copy of them that comes later is older. */
  #live: Set<string> | undefined = new Set();

  constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#keepaliveSeconds = options.keepaliveSeconds ?? 5;
  }

  open(): void {
    const { credentials, session } = this.#options;
    const client = new MqttClient(() => this.#dial(), {
      clientId: credentials.node,
      // The broker tells a reconnect of this process from a second agent of the same name by it.
      username: session,
      clean: true,
      keepalive: this.#keepaliveSeconds,
      reconnectPeriod: 0,
      connectTimeout: CONNECT_TIMEOUT_MS,
      resubscribe: false,
      queueQoSZero: false,
      // Otherwise mqtt-packet keeps a Buffer for each of the 65 536 two-byte numbers: 7 MiB.
      writeCache: false,
      timerVariant: 'native',
      will: {
        topic: nodeTopics(credentials.node).online,
        payload: Buffer.from(this.#online(false)),
        qos: 1,
        retain: true,
      },
    });
    this.#client = client;
    client.on('connect', () => this.#subscribe(client));
    client.on('message', (topic, payload, packet) => {
      if (this.#isStale(topic, packet.retain)) return;
      this.#handlers.onMessage(topic, payload);
    });
    client.on('packetreceive', () => this.#watch());
    client.on('error', (error) => this.#fail(describe(error)));
    client.on('close', () => this.#fail(this.#reason));
    this.#watch();
  }

  publish(
    topic: string,
    payload: Uint8Array,
    options: { readonly qos: 0 | 1; readonly retain?: boolean },
    done?: (error: Error | undefined) => void,
  ): void {
    this.#client?.publish(topic, Buffer.from(payload), options, (error) => done?.(error));
  }

  /** Cuts the TCP connection and forgets the client. */
  async destroy(): Promise<void> {
    this.#over = true;
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#client?.removeAllListeners();
    this.#client?.on('error', () => {});
    const closed =
      socket === undefined || socket.destroyed
        ? undefined
        : new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket?.destroy();
    this.#client?.end(true);
    await closed;
  }

  #dial(): TLSSocket {
    const { credentials } = this.#options;
    const url = new URL(credentials.broker);
    const socket = connectTls({
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port === '' ? 8883 : url.port),
      servername: MASTER_SERVER_NAME,
      ca: credentials.caCertificate,
      cert: credentials.certificate,
      key: credentials.privateKey,
      minVersion: 'TLSv1.2',
    });
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.#reason = describe(error);
    });
    this.#socket = socket;
    return socket;
  }

  #subscribe(client: MqttClient): void {
    const { node } = this.#options.credentials;
    const topics = nodeTopics(node);
    setTimeout(() => {
      this.#live = undefined;
    }, RETAINED_PHASE_MS).unref();
    const filters = [topics.allDesired, topics.request, clusterTopics.all];
    client.subscribe(filters, { qos: 1 }, (error, granted) => {
      const refused = granted?.find((grant) => grant.qos === 128);
      if (error || refused !== undefined) {
        this.#fail(error ? describe(error) : `the subscription to ${refused?.topic} was refused`);
        return;
      }
      this.publish(topics.online, this.#online(true), { qos: 1, retain: true });
      this.#handlers.onReady();
    });
  }

  #online(online: boolean): Uint8Array {
    return encodeMessage(Online, { v: MESSAGE_VERSION, online, session: this.#options.session });
  }

  #isStale(topic: string, retained: boolean): boolean {
    if (this.#live === undefined) return false;
    if (retained) return this.#live.has(topic);
    this.#live.add(topic);
    return false;
  }

  /** Whatever state the client thinks it is in: a connection that says nothing for so long is dead. */
  #watch(): void {
    if (this.#over) return;
    const silenceMs = Math.max(this.#keepaliveSeconds * SILENCE_FACTOR * 1_000, 2_000);
    if (this.#watchdog === undefined) {
      this.#watchdog = setTimeout(
        () => this.#fail(`nothing was heard for ${silenceMs} ms`),
        silenceMs,
      );
    } else {
      this.#watchdog.refresh();
    }
  }

  #fail(reason: string): void {
    if (this.#over) return;
    this.#destroyQuietly();
    this.#handlers.onClosed(reason);
  }

  #destroyQuietly(): void {
    // `destroy` cannot reject: it waits for an event of a socket that it has just destroyed.
    void this.destroy();
  }
}

/** Says what to do, where the broker's answer is only a number. */
function describe(error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  return (typeof code === 'number' ? REASONS[code] : undefined) ?? error.message;
}
