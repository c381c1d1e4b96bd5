/**
 * Takes addresses to the board's LAN interface and lets go of them. One change at a time, each one fork of `ip`.
 *
 * Each is a /32 with a lifetime that is renewed while it is held: if this process hangs or is killed, the kernel drops it by
 * itself. They carry a label (`eth0:pier`), by which those that a killed agent left are found; where the interface's
 * name is too long for one (Linux: 15 characters together) they go when their lifetime is over.
 */
import { networkInterfaces } from 'node:os';
import type { Logger } from 'pino';
import type { RunIp } from '../network/anyip.ts';
import { messageOf } from '../pods/pod-steps.ts';

const LABEL = ':pier';
const LABEL_CHARS_MAX = 15;

export interface HeldAddressesOptions {
  readonly ip: RunIp;
  readonly log: Logger;
  readonly lifetimeSeconds: number;
  readonly renewMs: number;
  /** After addresses came (`taken`) or went. */
  readonly onChange: (taken: readonly string[], device: string) => void;
}

export class HeldAddresses {
  readonly #options: HeldAddressesOptions;
  /** Interface by address; at first what a killed agent left. */
  readonly #held: Map<string, string>;
  #wanted: ReadonlySet<string> = new Set();
  #device = '';
  #work: Promise<void> | undefined;
  #again = false;
  #renew: NodeJS.Timeout | undefined;

  constructor(options: HeldAddressesOptions) {
    this.#options = options;
    this.#held = leftOvers(networkInterfaces());
  }

  get held(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** Takes and drops addresses until `wanted` are there, all on `device`. */
  follow(wanted: readonly string[], device: string): void {
    this.#wanted = new Set(wanted);
    this.#device = device;
    if (wanted.length > 0) {
      this.#renew ??= setInterval(() => this.#renewAll(), this.#options.renewMs);
    }
    if (this.#work !== undefined) this.#again = true;
    else if (!this.#isSettled()) {
      this.#work = this.#apply().finally(() => {
        this.#work = undefined;
      });
    }
  }

  /** Lets go of all. */
  async stop(): Promise<void> {
    clearInterval(this.#renew);
    this.follow([], this.#device);
    await this.#work;
  }

  #isSettled(): boolean {
    return (
      this.#held.size === this.#wanted.size &&
      [...this.#held].every(([ip, device]) => this.#wanted.has(ip) && device === this.#device)
    );
  }

  async #apply(): Promise<void> {
    do {
      this.#again = false;
      const device = this.#device;
      const drop = [...this.#held].filter(([ip, on]) => on !== device || !this.#wanted.has(ip));
      const take = [...this.#wanted].filter((ip) => this.#held.get(ip) !== device);
      await this.#change([
        ...drop.map(([ip, on]) => `address del ${ip}/32 dev ${on}`),
        ...take.map((ip) => this.#replace(ip, device)),
      ]);
      const present = presentAddresses();
      for (const [ip] of drop) this.#held.delete(ip);
      const taken = take.filter((ip) => present.has(ip));
      for (const ip of taken) this.#held.set(ip, device);
      const dropped = drop.map(([ip]) => ip);
      if (dropped.length + taken.length > 0) {
        this.#options.log.info({ taken, dropped }, 'addresses of the pool changed');
        this.#options.onChange(taken, device);
      }
    } while (this.#again);
  }

  /** Also tries again what could not be taken. */
  #renewAll(): void {
    if (this.#work !== undefined) return;
    void this.#change([...this.#held].map(([ip, device]) => this.#replace(ip, device)));
    this.follow([...this.#wanted], this.#device);
  }

  #replace(ip: string, device: string): string {
    const label = `${device}${LABEL}`;
    const named = label.length > LABEL_CHARS_MAX ? '' : ` label ${label}`;
    // Never preferred: the board speaks to others with its own address.
    const lifetime = `valid_lft ${this.#options.lifetimeSeconds} preferred_lft 0`;
    return `address replace ${ip}/32 dev ${device}${named} ${lifetime}`;
  }

  /** Each line for itself: one that fails, as for an address that is gone already, stops no other. */
  async #change(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    try {
      await this.#options.ip(['-force', '-batch', '-'], `${lines.join('\n')}\n`);
    } catch (error) {
      this.#options.log.warn({ reason: messageOf(error), lines }, 'an address was not changed');
    }
  }
}

/** Addresses with our label, and their interfaces. Pure. The name that Node gives is the label. */
export function leftOvers(
  interfaces: NodeJS.Dict<readonly { readonly address: string }[]>,
): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, list] of Object.entries(interfaces)) {
    if (!name.endsWith(LABEL)) continue;
    for (const { address } of list ?? []) found.set(address, name.slice(0, -LABEL.length));
  }
  return found;
}

function presentAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(all.map(({ address }) => address));
}
