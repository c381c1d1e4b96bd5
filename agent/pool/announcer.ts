/** Tells the LAN which addresses this board has taken, and finds out whether a machine that is none of ours has one too. */
import type { Logger } from 'pino';
import { messageOf } from '../pods/pod-steps.ts';
import { Semaphore } from '../pods/semaphore.ts';
import type { ServiceProblem, ServiceRef } from '../proxy/service-table.ts';
import { type Arping, ArpingMissing } from './arping.ts';

/** Processes at a time. */
const ARPINGS_MAX = 8;
/** By then the board that has just been heard again has let go of what it held. */
const SOON_MS = 500;

export interface AnnouncerOptions {
  readonly arping: Arping;
  readonly log: Logger;
  /** How long after it was taken an address is asked for: the board that had it has let go by then. */
  readonly conflictLookMs: number;
  readonly isHeld: (address: string) => boolean;
  readonly serviceOf: (address: string) => ServiceRef | undefined;
  readonly onProblem: (problem: ServiceProblem) => void;
  readonly onTrouble: (reason: string, message: string) => void;
}

export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #turns = new Semaphore(ARPINGS_MAX);
  readonly #timers = new Set<NodeJS.Timeout>();
  #soon: NodeJS.Timeout | undefined;
  #missing = false;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  announce(addresses: readonly string[], device: string, areNew: boolean): void {
    for (const ip of addresses) {
      this.#run(() => this.#announce(ip, device));
      if (areNew) this.#later(ip, device);
    }
  }

  /** Once for all that come within half a second. */
  announceSoon(addresses: readonly string[], device: string | undefined): void {
    if (addresses.length === 0 || device === undefined || this.#soon !== undefined) return;
    this.#soon = setTimeout(() => {
      this.#soon = undefined;
      this.announce(addresses.filter(this.#options.isHeld), device, false);
    }, SOON_MS);
  }

  stop(): void {
    clearTimeout(this.#soon);
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #later(ip: string, device: string): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#run(() => this.#lookForOther(ip, device));
    }, this.#options.conflictLookMs);
    this.#timers.add(timer);
  }

  /** By the time that it is its turn it may have gone. */
  async #announce(ip: string, device: string): Promise<void> {
    if (this.#options.isHeld(ip)) await this.#options.arping.announce(ip, device);
  }

  async #lookForOther(ip: string, device: string): Promise<void> {
    const { arping, isHeld, serviceOf, onProblem } = this.#options;
    if (!isHeld(ip)) return;
    // The board that had it may have spoken last. It would pass on what still comes to it, so clients would stay with it for ever.
    await this.#announce(ip, device);
    const mac = await arping.otherHolder(ip, device);
    const service = serviceOf(ip);
    // Meanwhile another board may have taken it in good order.
    if (mac === undefined || service === undefined || !isHeld(ip)) return;
    const message =
      `${ip} is also held by ${mac}, a machine on the LAN: give that one another address, ` +
      'or leave the address out of --load-balancer-pool';
    onProblem({ service, reason: 'AddressConflict', message });
  }

  #run(action: () => Promise<void>): void {
    this.#turns.run(action).catch((error: unknown) => {
      const { log, onTrouble } = this.#options;
      log.warn({ reason: messageOf(error) }, 'the LAN was not told of an address');
      if (!(error instanceof ArpingMissing) || this.#missing) return;
      this.#missing = true;
      onTrouble('ArpingMissing', `${error.message}: clients notice late that an address has moved`);
    });
  }
}
