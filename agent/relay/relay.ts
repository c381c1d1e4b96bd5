/**
 * This board's part in the relay to boards behind another subnet: their agents connect to its pods, and it to theirs. While there is
 * no such board, nothing is listened on.
 */
import type { ClientHttp2Stream } from 'node:http2';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { BoardCredentials, BoardRoute } from '../../protocol/messages.ts';
import type { BackoffLimits } from '../plan/backoff.ts';
import { cidrContains } from '../plan/pod-ip.ts';
import type { DatagramEvents, DatagramPath } from '../proxy/datagram-path.ts';
import type { Backend } from '../proxy/service-table.ts';
import { PeerSession } from './peer-session.ts';
import { RelayListener } from './relay-listener.ts';
import { RelayedDatagrams } from './relayed-datagrams.ts';
import { RelayedSocket } from './relayed-socket.ts';
import { requestFor, type Target } from './target.ts';

export interface RelayLimits {
  /** Connections of other boards, also those that have not shown a certificate yet; more are closed. */
  readonly sessionsMax: number;
  /** Connections and flows to pods of this board, all together, and as many from it; more are refused. */
  readonly streamsMax: number;
  /** What is under way or waits for a slow reader, of one connection and direction. */
  readonly windowBytes: number;
  /** What is under way of all connections between two boards; nothing waits for a reader there. */
  readonly sessionWindowBytes: number;
  /** Datagrams that wait for the other board, of one flow; more are dropped. */
  readonly datagramBytesMax: number;
  readonly handshakeTimeoutMs: number;
  /** A pod of this board has so long to take a connection; less than what a proxy waits for its backend. */
  readonly connectTimeoutMs: number;
  /** A board that does not answer between two pings is gone. */
  readonly pingMs: number;
  /** A connection between boards that nobody uses. */
  readonly idleMs: number;
  /** Waits before a port that was taken is tried again. */
  readonly listenRetry: BackoffLimits;
}

/** A board whose pods are reached through its agent. */
export type RelayedBoard = Pick<BoardRoute, 'node' | 'address' | 'podCidr'>;

export interface RelayOptions {
  readonly credentials: BoardCredentials;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: RelayLimits;
  /** TCP, the same on all boards. */
  readonly port: number;
  /** Of this board; empty while it has none. */
  readonly podCidr: () => string;
  /** Whether a board of this name is in the cluster. */
  readonly isBoard: (node: string) => boolean;
  /** Something is wrong with this board, for an event on it. */
  readonly onTrouble: (reason: string, message: string) => void;
}

export class Relay {
  readonly #options: RelayOptions;
  /** By board: where new connections begin. */
  readonly #current = new Map<string, PeerSession>();
  readonly #sessions = new Set<PeerSession>();
  #streams = 0;
  /** Boards that do not answer, and why not: said once. */
  readonly #silent = new Map<string, string>();
  #boards: readonly RelayedBoard[] = [];
  #listener: RelayListener | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** `host`: where this board is reached by the others. Connections to a board that is none of `boards` any more go on. */
  follow(boards: readonly RelayedBoard[], host: string): void {
    this.#boards = boards;
    for (const [node, session] of this.#current) {
      if (boards.some((one) => one.node === node && one.address === session.address)) continue;
      this.#current.delete(node);
      session.retire();
    }
    if (boards.length === 0) {
      this.#listener?.close();
      return;
    }
    this.#listener ??= new RelayListener(this.#options);
    this.#listener.listen(host);
  }

  /** Undefined for a backend that is reached directly. */
  connect({ ip, port }: Backend): RelayedSocket | undefined {
    const board = this.#boardOf(ip);
    return board && new RelayedSocket(this.#open(board, { protocol: 'TCP', ip, port }));
  }

  /** Undefined for a backend that is reached directly. */
  datagrams({ ip, port }: Backend, events: DatagramEvents): DatagramPath | undefined {
    const board = this.#boardOf(ip);
    if (board === undefined) return undefined;
    const stream = this.#open(board, { protocol: 'UDP', ip, port });
    return new RelayedDatagrams(stream, this.#options.limits.datagramBytesMax, events);
  }

  /** Ends everything. */
  stop(): void {
    this.#listener?.stop();
    for (const session of this.#sessions) session.stop();
    this.#current.clear();
    this.#boards = [];
  }

  #boardOf(ip: string): RelayedBoard | undefined {
    return this.#boards.find(({ podCidr }) => cidrContains(podCidr, ip));
  }

  async #open(board: RelayedBoard, target: Target): Promise<ClientHttp2Stream> {
    const { streamsMax } = this.#options.limits;
    if (this.#streams >= streamsMax) {
      throw new Error(`this board has ${streamsMax} connections to pods of other subnets`);
    }
    this.#streams++;
    try {
      const stream = await this.#sessionTo(board).open(requestFor(target));
      stream.once('close', () => this.#streams--);
      return stream;
    } catch (error) {
      this.#streams--;
      throw error;
    }
  }

  #sessionTo(board: RelayedBoard): PeerSession {
    const known = this.#current.get(board.node);
    if (known?.isUsable) return known;
    const { credentials, limits, port, log } = this.#options;
    const { node, address } = board;
    const session: PeerSession = new PeerSession({
      ...{ board, port, credentials, limits },
      onUp: () => this.#silent.delete(node),
      onFailed: ({ message: reason }) => {
        if (this.#silent.get(node) === reason) return;
        this.#silent.set(node, reason);
        log.warn({ node, address, port, reason }, 'the relay of a board cannot be reached');
      },
      onClosed: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
    this.#current.set(node, session);
    return session;
  }
}
