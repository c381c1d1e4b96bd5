/**
 * The embedded MQTT broker: aedes on TLS with client certificates, hardened (RELIABILITY M1-M8).
 *
 * Promises: nobody without a board's certificate of our authority gets as far as MQTT; a board can say and hear
 * only what permissions.ts allows; frames, connections, handshakes and slow readers are bounded; of two
 * agents with one name the first stays and the second is refused. Everything here is volatile: after a
 * restart the fleet link publishes all again.
 */
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { Aedes, type Client, type PublishPacket } from 'aedes';
import mqttPacket from 'mqtt-packet';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { parseTopic } from '../../protocol/topics.ts';
import type { Bus, BusMessage, PublishOptions } from './bus.ts';
import { BoardConnection } from './connection.ts';
import {
  type ConnectRequest,
  mayReceive,
  nodeOf,
  refuseConnect,
  refusePublish,
  refuseSubscribe,
} from './permissions.ts';
import { RefusalLog } from './refusal-log.ts';

export interface BrokerOptions {
  /** PEM. */
  readonly caCertificate: string;
  readonly certificate: string;
  readonly privateKey: string;
  /** Address to listen on; '::' is all of them. */
  readonly host: string;
  /** 0 takes any free port: see `port` of the result. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly connectionsMax?: number;
}

// It would keep a Buffer for each of the 65,536 numbers of two bytes, 7 MiB, to save their encoding.
mqttPacket.writeToStream.cacheNumbers = false;

const HANDSHAKE_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 5_000;
const DRAIN_TIMEOUT_MS = 5_000;
const CONNECTIONS_MAX = 2_048;
const CONCURRENCY = 1_000;
/** Boards that are silent for longer than keepalive and this are taken for dead. */
const SILENCE_MARGIN_MS = 1_000;
const IDENTIFIER_REJECTED = 2;
const NOT_AUTHORIZED = 5;

/** Starts to listen. Throws when the port is taken, with a sentence that says so. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const broker = new Broker(options);
  await broker.start();
  return broker;
}

export class Broker implements Bus {
  readonly #options: BrokerOptions;
  readonly #log: Logger;
  readonly #refusals: RefusalLog;
  readonly #server: Server;
  readonly #aedes: Aedes;
  readonly #handlers = new Set<(message: BusMessage) => void>();
  /** The accepted connection of each board. */
  readonly #boards = new Map<string, BoardConnection>();
  readonly #sockets = new Set<TLSSocket>();
  #opened: Promise<void> | undefined;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#refusals = new RefusalLog(options.log, options.clock);
    this.#aedes = new Aedes({
      concurrency: CONCURRENCY,
      connectTimeout: CONNECT_TIMEOUT_MS,
      drainTimeout: DRAIN_TIMEOUT_MS,
      // Its own heartbeat serves clusters of brokers and would only wake us up.
      heartbeatInterval: 60 * 60_000,
      maxTopicLevels: 16,
    });
    this.#authorize();
    this.#server = createServer({
      ca: options.caCertificate,
      cert: options.certificate,
      key: options.privateKey,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    this.#server.maxConnections = options.connectionsMax ?? CONNECTIONS_MAX;
    this.#server.on('secureConnection', (socket) => this.#accept(socket));
    this.#server.on('tlsClientError', (error, socket) => {
      this.#refusals.add(socket.remoteAddress ?? 'gone', `TLS: ${error.message}`);
    });
  }

  /** The port it listens on. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Names of the boards that are connected. */
  get connected(): string[] {
    return [...this.#boards.keys()];
  }

  /** Opens the port. What was published before is retained and waits for the boards. */
  async start(): Promise<void> {
    await this.#open();
    try {
      await this.#listen();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#server.on('error', (error) => this.#log.error({ err: error }, 'broker socket failed'));
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => {
        const what = `the broker cannot listen on ${host} port ${port}: ${cause.message}`;
        reject(new Error(`${what}; stop what uses the port or choose another one`, { cause }));
      });
      this.#server.listen({ host, port }, resolve);
    });
  }

  /** Closes every connection and the port. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#aedes.close(resolve));
    await closed;
  }

  async publish(topic: string, payload: Uint8Array, options: PublishOptions): Promise<void> {
    await this.#open();
    const packet: PublishPacket = {
      cmd: 'publish',
      topic,
      payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      qos: 1,
      dup: false,
      retain: options.retain,
    };
    await new Promise<void>((resolve, reject) => {
      this.#aedes.publish(packet, (error) => (error ? reject(error) : resolve()));
    });
  }

  onMessage(handler: (message: BusMessage) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Never called: what this broker has retained lives as long as the master. */
  onReset(_handler: () => void): () => void {
    return () => {};
  }

  disconnect(node: string): void {
    this.#boards.get(node)?.destroy();
  }

  /** aedes' own start: its memory, no port yet. */
  #open(): Promise<void> {
    this.#opened ??= this.#aedes.listen();
    return this.#opened;
  }

  #accept(socket: TLSSocket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setNoDelay(true);
    const node = nodeOf(socket.getPeerCertificate().subject);
    if (node === undefined) {
      this.#refusals.add(socket.remoteAddress ?? 'gone', 'the certificate is no board’s');
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    const { clock } = this.#options;
    const connection = new BoardConnection(socket, node, () => clock.monotonicMs());
    connection.on('error', (error) => this.#refusals.add(node, error.message));
    connection.on('close', () => {
      if (this.#boards.get(node) !== connection) return;
      this.#boards.delete(node);
      this.#log.info({ node }, 'board disconnected');
    });
    this.#aedes.handle(connection);
  }

  #authorize(): void {
    const verdicts = new WeakMap<BoardConnection, string>();
    this.#aedes.preConnect = (client, packet, done) => {
      const connection = connectionOf(client);
      const request: ConnectRequest = {
        clientId: packet.clientId,
        clean: packet.clean ?? false,
        keepaliveSeconds: packet.keepalive ?? 0,
        username: packet.username ?? '',
        will:
          packet.will === undefined
            ? undefined
            : {
                topic: packet.will.topic,
                retain: packet.will.retain ?? false,
                payloadBytes: packet.will.payload.length,
              },
      };
      connection.session = request.username;
      connection.keepaliveMs = request.keepaliveSeconds * 1_000;
      const reason = refuseConnect(connection.node, request);
      // Refused in `authenticate`, where the client is still told so by a CONNACK.
      if (reason !== undefined) verdicts.set(connection, reason);
      done(null, true);
    };
    this.#aedes.authenticate = (client, _username, _password, done) => {
      const connection = connectionOf(client);
      const reason = verdicts.get(connection);
      const code = reason === undefined ? IDENTIFIER_REJECTED : NOT_AUTHORIZED;
      const refusal = reason ?? this.#refuseDouble(connection);
      if (refusal !== undefined) {
        this.#refusals.add(connection.node, refusal);
        done(Object.assign(new Error(refusal), { returnCode: code }), false);
        return;
      }
      connection.guard.accept();
      this.#boards.set(connection.node, connection);
      this.#log.info({ node: connection.node, session: connection.session }, 'board connected');
      done(null, true);
    };
    this.#aedes.authorizePublish = (client, packet, done) => {
      const refusal =
        client === null
          ? undefined
          : refusePublish(connectionOf(client).node, {
              topic: packet.topic,
              retain: packet.retain,
              qos: packet.qos,
            });
      // The error closes the connection: a board that tries this is broken or hostile.
      if (refusal !== undefined) return done(new Error(refusal));
      // Handed on from here and not through a subscription: aedes works on several messages of one
      // client at once, and a QoS 0 or unretained one overtakes the others. Wills come by here too.
      if (client !== null) this.#deliver(packet);
      done(null);
    };
    this.#aedes.authorizeSubscribe = (client, subscription, done) => {
      const { node } = connectionOf(client);
      const refusal = refuseSubscribe(node, subscription.topic);
      if (refusal !== undefined) this.#refusals.add(node, refusal);
      done(null, refusal === undefined ? subscription : null);
    };
    this.#aedes.authorizeForward = (client, packet) =>
      mayReceive(connectionOf(client).node, packet.topic) ? packet : null;
    this.#aedes.on('clientError', (client, error) => this.#failed(client, error));
    this.#aedes.on('connectionError', (client, error) => this.#failed(client, error));
    // Typed as a plain EventEmitter event: a failed persistence, which ours in memory does not know.
    this.#aedes.addListener('error', (error: unknown) => {
      this.#log.error({ err: error }, 'broker failed');
    });
  }

  /** Why a second connection of this name is refused; takes over from one that is dead. */
  #refuseDouble(connection: BoardConnection): string | undefined {
    const current = this.#boards.get(connection.node);
    if (current === undefined || current.destroyed) return undefined;
    const silentMs = this.#options.clock.monotonicMs() - current.lastHeardMs;
    const sameProcess = connection.session !== '' && connection.session === current.session;
    if (sameProcess || silentMs > current.keepaliveMs + SILENCE_MARGIN_MS) {
      this.#log.info({ node: connection.node, silentMs }, 'board took over its dead connection');
      current.destroy();
      return undefined;
    }
    return (
      `another agent is connected as "${connection.node}" and alive: ` +
      'give this board a name and credentials of its own'
    );
  }

  #deliver(packet: { topic: string; payload: string | Buffer }): void {
    const parsed = parseTopic(packet.topic);
    if (parsed !== undefined && 'node' in parsed) {
      const payload =
        typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
      const message = { topic: packet.topic, payload, node: parsed.node };
      for (const handler of this.#handlers) {
        try {
          handler(message);
        } catch (error) {
          this.#log.error({ err: error, topic: packet.topic }, 'handler of a message failed');
        }
      }
    }
  }

  #failed(client: Client, error: Error): void {
    const connection = client.conn;
    const who = connection instanceof BoardConnection ? connection.node : 'unknown';
    this.#refusals.add(who, error.message);
  }
}

function connectionOf(client: Client): BoardConnection {
  if (client.conn instanceof BoardConnection) return client.conn;
  throw new Error('a client of the broker without a connection of ours');
}
