/**
 * The mDNS responder of the board (RFC 6762): one socket, while there is a name to answer for, and one timer, while there
 * is something to send.
 *
 * Beside avahi or another responder: the socket is bound to the group, not to all addresses, so that what is sent to this board alone
 * stays theirs. Promises: no input ends the process; a socket that cannot be had is told once and tried again.
 */
import dgram from 'node:dgram';
import type { Logger } from 'pino';
import type { Clock } from '../../../protocol/clock.ts';
import type { Lan } from '../../network/addresses.ts';
import { type Backoff, type BackoffLimits, growBackoff } from '../../plan/backoff.ts';
import { cidrContains } from '../../plan/pod-ip.ts';
import type { ServiceProblem } from '../../proxy/service-table.ts';
import { buildMessage, type Message, parseMessage } from '../message.ts';
import { DnsFormatError } from '../name.ts';
import { Claims } from './claims.ts';
import type { LanName } from './lan-names.ts';
import { MDNS_GROUP, MDNS_PORT, type Outgoing } from './packets.ts';

export interface MdnsOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: { readonly openRetry: BackoffLimits };
  readonly random: () => number;
  /** `problems` are others now. */
  readonly onChange: () => void;
  /** The socket cannot be had. Called once until it can. */
  readonly onTrouble: (reason: string, message: string) => void;
}

/** RFC 6762, section 17. */
const MESSAGE_OCTETS_MAX = 9_000;
/** Of an answer to one asker that came over plain DNS: what everybody takes. */
const LEGACY_OCTETS_MAX = 512;

export class Mdns {
  readonly #options: MdnsOptions;
  readonly #claims: Claims;
  #socket: dgram.Socket | undefined;
  /** The address it was opened for. */
  #lan: Lan | undefined;
  #isOpen = false;
  #timer: NodeJS.Timeout | undefined;
  #retry: { readonly backoff: Backoff; readonly timer: NodeJS.Timeout } | undefined;
  #told = '';

  constructor(options: MdnsOptions) {
    this.#options = options;
    this.#claims = new Claims(options.random);
  }

  /** Names that somebody else has. */
  get problems(): ServiceProblem[] {
    return this.#claims.problems;
  }

  /** `lan`: undefined while the board has no address there. `ours`: addresses of the cluster's boards. */
  update(names: readonly LanName[], lan: Lan | undefined, ours: ReadonlySet<string>): void {
    const nowMs = this.#options.clock.monotonicMs();
    const left = this.#claims.update(names, ours, nowMs);
    // Who calls looks at them now.
    this.#told = this.#words();
    const wanted = names.length === 0 ? undefined : lan;
    const isSame = wanted?.address === this.#lan?.address && wanted?.cidr === this.#lan?.cidr;
    if (isSame) {
      void this.#send(left);
      this.#schedule();
      return;
    }
    void this.#close(left);
    this.#lan = wanted;
    if (wanted !== undefined) this.#open(wanted);
  }

  /** Tells the LAN that this board answers no more. */
  async stop(): Promise<void> {
    await this.#close(this.#claims.goodbyes());
    this.#lan = undefined;
  }

  #open(lan: Lan): void {
    const socket = dgram.createSocket({
      type: 'udp4',
      reuseAddr: true,
      // Addresses are numbers already.
      lookup: (host, _options, done) => done(null, host, 4),
    });
    this.#socket = socket;
    socket.on('error', (error) => this.#failed(socket, lan, error));
    socket.on('message', (bytes, from) => this.#receive(bytes, from, lan));
    socket.bind({ address: MDNS_GROUP, port: MDNS_PORT }, () => {
      if (this.#socket !== socket) return;
      try {
        socket.addMembership(MDNS_GROUP, lan.address);
        socket.setMulticastInterface(lan.address);
        // Section 11: who asks may see by it that an answer was not routed.
        socket.setMulticastTTL(255);
        socket.setTTL(255);
        // Avahi and others on this board hear us, too.
        socket.setMulticastLoopback(true);
      } catch (error) {
        this.#failed(socket, lan, error instanceof Error ? error : new Error(String(error)));
        return;
      }
      this.#isOpen = true;
      this.#retry = undefined;
      this.#claims.restart(this.#options.clock.monotonicMs());
      this.#options.log.info({ address: lan.address }, 'names are announced on the LAN');
      this.#schedule();
    });
  }

  /** Sends these last messages and lets go of the socket. */
  async #close(last: readonly Outgoing[]): Promise<void> {
    clearTimeout(this.#timer);
    clearTimeout(this.#retry?.timer);
    this.#retry = undefined;
    const socket = this.#socket;
    const sent = this.#send(last);
    this.#socket = undefined;
    this.#isOpen = false;
    if (socket === undefined) return;
    await sent;
    socket.removeAllListeners('error').on('error', ignore);
    socket.close();
  }

  #failed(socket: dgram.Socket, lan: Lan, error: NodeJS.ErrnoException): void {
    if (this.#socket !== socket) return;
    const { clock, limits, log, onTrouble } = this.#options;
    this.#socket = undefined;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    socket.close();
    const isFirst = this.#retry === undefined;
    const backoff = growBackoff(this.#retry?.backoff, limits.openRetry, clock.monotonicMs());
    this.#retry = { backoff, timer: setTimeout(() => this.#open(lan), backoff.delayMs) };
    if (!isFirst) return;
    const message =
      `names under .local are not announced: UDP port ${MDNS_PORT} of ${lan.address} cannot be had (${error.message})` +
      (error.code === 'EADDRINUSE' ? '; let the program that has it share it (SO_REUSEADDR)' : '');
    log.warn({ err: error, address: lan.address }, 'names are not announced on the LAN');
    onTrouble('MdnsFailed', message);
  }

  #receive(bytes: Buffer, { address: ip, port }: dgram.RemoteInfo, lan: Lan): void {
    // Section 11: from this link only. Pods' bridges are others.
    if (!this.#isOpen || bytes.length > MESSAGE_OCTETS_MAX || !cidrContains(lan.cidr, ip)) return;
    let message: Message;
    try {
      message = parseMessage(bytes);
    } catch (error) {
      if (!(error instanceof DnsFormatError)) throw error;
      this.#options.log.debug({ ip, reason: error.message }, 'malformed mDNS message dropped');
      return;
    }
    this.#claims.receive(message, { ip, port }, this.#options.clock.monotonicMs());
    this.#tellChange();
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const { nextMs } = this.#claims;
    if (!this.#isOpen || nextMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(0, nextMs - this.#options.clock.monotonicMs());
    this.#timer = setTimeout(() => {
      void this.#send(this.#claims.due(this.#options.clock.monotonicMs()));
      this.#tellChange();
      this.#schedule();
    }, delayMs);
  }

  #tellChange(): void {
    const now = this.#words();
    if (now === this.#told) return;
    this.#told = now;
    this.#options.onChange();
  }

  #words(): string {
    return this.problems.map(({ message }) => message).join('\n');
  }

  /** Resolves when all are with the kernel. Errors are of the moment, and mDNS says everything again. */
  async #send(list: readonly Outgoing[]): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || !this.#isOpen) return;
    const one = ({ to, message }: Outgoing) =>
      new Promise<void>((resolve) => {
        const { ip, port } = to ?? { ip: MDNS_GROUP, port: MDNS_PORT };
        const isLegacy = port !== MDNS_PORT;
        const bytes = buildMessage(message, isLegacy ? LEGACY_OCTETS_MAX : MESSAGE_OCTETS_MAX);
        socket.send(bytes, port, ip, (error) => {
          if (error !== null) this.#options.log.debug({ err: error, ip }, 'mDNS message not sent');
          resolve();
        });
      });
    await Promise.all(list.map(one));
  }
}

function ignore(): void {}
