/**
 * This board's part in the pool of LAN addresses: hears and tells the other boards (datagram.ts), holds the addresses that are
 * its own (membership.ts decides, held-addresses.ts does) and tells the LAN of each that it took. Works without a master. While no
 * service has an address there is no socket, no timer and no datagram.
 */
import dgram from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { BoardCredentials, BoardRoute, DesiredService } from '../../protocol/messages.ts';
import type { RunIp } from '../network/anyip.ts';
import { messageOf } from '../pods/pod-steps.ts';
import type { ServiceProblem, ServiceRef } from '../proxy/service-table.ts';
import { Announcer } from './announcer.ts';
import type { Arping } from './arping.ts';
import { DatagramCodec } from './datagram.ts';
import { HeldAddresses } from './held-addresses.ts';
import { Membership, type OwnState } from './membership.ts';
import { type LanPlace, offersOf } from './offers.ts';

const ANSWER_MS_MIN = 50;

export interface PoolLimits {
  readonly port: number;
  readonly intervalMs: number;
  readonly deadMs: number;
  readonly lifetimeSeconds: number;
  readonly renewMs: number;
  readonly rebindMs: number;
  readonly conflictLookMs: number;
  readonly strangersMax: number;
}

export interface PoolMemberOptions {
  readonly credentials: BoardCredentials;
  readonly session: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: PoolLimits;
  readonly ip: RunIp;
  readonly arping: Arping;
  /** The board's LAN address as it is now. */
  readonly address: () => string;
  /** Whether its container engine works. */
  readonly isReady: () => boolean;
  /** Addresses came or went: what is listened for changes. */
  readonly onChange: () => void;
  readonly onProblem: (problem: ServiceProblem) => void;
  /** Something is wrong with this board, for an event on it. */
  readonly onTrouble: (reason: string, message: string) => void;
}

export class PoolMember {
  readonly #options: PoolMemberOptions;
  readonly #codec: DatagramCodec;
  readonly #held: HeldAddresses;
  readonly #announcer: Announcer;
  #membership: Membership | undefined;
  #socket: dgram.Socket | undefined;
  #bound = false;
  #tick: NodeJS.Timeout | undefined;
  #lastTickMs = 0;
  #rebind: NodeJS.Timeout | undefined;
  #services: readonly DesiredService[] = [];
  #inUse: ReadonlyMap<string, ServiceRef> = new Map();
  /** LAN addresses of the other boards, by name. */
  #others: ReadonlyMap<string, string> = new Map();
  #isMember = false;
  #problems: readonly ServiceProblem[] = [];
  #said: OwnState | undefined;
  /** By board: the last time it was answered out of turn. */
  readonly #answeredMs = new Map<string, number>();
  #troubled = false;

  constructor(options: PoolMemberOptions) {
    const { credentials, limits, ip, log } = options;
    this.#options = options;
    this.#codec = new DatagramCodec(credentials, limits.strangersMax);
    this.#announcer = new Announcer({
      ...options,
      conflictLookMs: limits.conflictLookMs,
      isHeld: (address) => this.#held.held.includes(address),
      serviceOf: (address) => this.#inUse.get(address),
    });
    this.#held = new HeldAddresses({
      ...limits,
      ip,
      log,
      onChange: (taken, device) => {
        options.onChange();
        // Only now somebody listens there.
        this.#announcer.announce(taken, device, true);
      },
    });
  }

  /** Follows the desired state. The first call also removes addresses that a killed agent left. */
  update(services: readonly DesiredService[], boards: readonly BoardRoute[]): void {
    const { node } = this.#options.credentials;
    this.#services = services;
    this.#others = new Map(
      boards.flatMap((board) => (board.node === node ? [] : [[board.node, board.address]])),
    );
    this.#isMember = boards.some((board) => board.node === node);
    this.#inUse = offersOf(services, node, undefined).inUse;
    if (this.#inUse.size > 0 && this.#isMember) this.#begin();
    else this.#end();
    this.#decide();
  }

  /** Addresses that no service of this board can have, for events. */
  get problems(): readonly ServiceProblem[] {
    return this.#problems;
  }

  /** Says good-bye, so that others take over at once, and lets go of every address. */
  async stop(): Promise<void> {
    this.#end();
    this.#announcer.stop();
    await this.#held.stop();
  }

  #begin(): void {
    if (this.#tick !== undefined) return;
    const { credentials, session, clock, limits } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#membership = new Membership(credentials.node, session, limits, nowMs);
    this.#lastTickMs = nowMs;
    this.#tick = setInterval(() => this.#beat(), limits.intervalMs);
    this.#bind();
  }

  #end(): void {
    if (this.#tick === undefined) return;
    clearInterval(this.#tick);
    clearTimeout(this.#rebind);
    this.#tick = undefined;
    this.#tell([...this.#others.keys()], true);
    this.#socket?.close();
    this.#socket = undefined;
    this.#bound = false;
    this.#membership = undefined;
  }

  #bind(): void {
    const { limits, log, onTrouble } = this.#options;
    const socket = dgram.createSocket({
      type: 'udp4',
      // Addresses are numbers already: what is sent is on its way at once, also when the socket is closed next.
      lookup: (host, _options, done) => done(null, host, 4),
    });
    this.#socket = socket;
    socket.on('message', (bytes, { address }) => this.#receive(bytes, address));
    socket.on('error', (error) => {
      log.warn({ err: error, port: limits.port }, 'boards cannot be heard');
      if (this.#bound || this.#socket !== socket) return;
      socket.close();
      this.#socket = undefined;
      if (!this.#troubled) {
        onTrouble(
          'PoolPortTaken',
          `UDP port ${limits.port} of this board cannot be listened on (${error.message}), so it holds no address of the pool: ` +
            'stop the program that has it',
        );
      }
      this.#troubled = true;
      this.#rebind = setTimeout(() => this.#bind(), limits.rebindMs);
    });
    socket.bind({ address: '0.0.0.0', port: limits.port }, () => {
      this.#bound = true;
      this.#troubled = false;
      this.#beat();
    });
  }

  #beat(): void {
    const { clock, limits } = this.#options;
    const nowMs = clock.monotonicMs();
    const lateMs = nowMs - this.#lastTickMs - limits.intervalMs;
    if (lateMs > limits.intervalMs) this.#membership?.stoodStill(lateMs);
    this.#lastTickMs = nowMs;
    this.#decide();
    this.#tell([...this.#others.keys()]);
  }

  #receive(bytes: Buffer, from: string): void {
    const membership = this.#membership;
    // A cheap look first: strangers' datagrams cost no cryptography.
    if (membership === undefined || ![...this.#others.values()].includes(from)) return;
    const nowMs = this.#options.clock.monotonicMs();
    const heard = this.#codec.decode(bytes, nowMs);
    if (heard === undefined) return;
    if (heard.hello === undefined) {
      this.#answer(heard.node, nowMs);
      return;
    }
    const outcome = membership.receive(heard.node, heard.hello, nowMs);
    if (outcome === 'stranger') this.#answer(heard.node, nowMs);
    if (outcome !== 'news') return;
    this.#decide();
    // It may have held what we hold, and some of the LAN may have believed it.
    this.#announcer.announceSoon(this.#held.held, this.#lan()?.interface);
  }

  /** A certificate, and an old datagram, may be sent again by anybody: answers are counted out. */
  #answer(node: string, nowMs: number): void {
    if (nowMs - (this.#answeredMs.get(node) ?? Number.NEGATIVE_INFINITY) < ANSWER_MS_MIN) return;
    this.#answeredMs.set(node, nowMs);
    this.#tell([node]);
  }

  #decide(): void {
    const { credentials, clock, isReady } = this.#options;
    const lan = this.#lan();
    const { offers, problems } = offersOf(this.#services, credentials.node, lan);
    // A board that nobody can hear is no candidate: it would never learn that another one holds the address.
    const mine = this.#bound && this.#isMember ? offers : [];
    this.#membership?.follow([...this.#others.keys()], { ready: isReady(), offers: mine });
    const nowMs = clock.monotonicMs();
    const holds = this.#membership?.holds(nowMs) ?? [];
    this.#held.follow(holds, lan?.interface ?? '');
    const says = this.#membership?.says(nowMs);
    if (!isDeepStrictEqual(says, this.#said)) {
      this.#said = says;
      this.#tell([...this.#others.keys()]);
    }
    if (isDeepStrictEqual(problems, this.#problems)) return;
    this.#problems = problems;
    this.#options.onChange();
  }

  #tell(nodes: readonly string[], leaving = false): void {
    const { clock, limits, log } = this.#options;
    if (!this.#bound) return;
    for (const node of nodes) {
      const address = this.#others.get(node) ?? '';
      const hello = this.#membership?.helloTo(node, clock.monotonicMs(), leaving);
      if (hello === undefined || address === '') continue;
      try {
        const bytes = this.#codec.encode(node, hello) ?? this.#codec.introduce();
        this.#socket?.send(bytes, limits.port, address, ignore);
      } catch (error) {
        log.warn({ node, reason: messageOf(error) }, 'board not told of addresses');
      }
    }
  }

  #lan(): LanPlace | undefined {
    const address = this.#options.address();
    for (const [name, list] of Object.entries(networkInterfaces())) {
      const own = list?.find((one) => one.family === 'IPv4' && one.address === address);
      if (own?.cidr != null) return { interface: name, cidr: own.cidr };
    }
    return undefined;
  }
}

/** A board that cannot be reached is dead to us: its silence says so. */
function ignore(): void {}
