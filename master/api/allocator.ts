/**
 * Who holds which service address and node port. The truth is in the Services themselves: this set is rebuilt
 * from them at start (`claim`), and everything in it was either claimed or reserved by a write under way.
 *
 * A write reserves through its own `Reservation`: what the object held before the write counts as free for it, and
 * `rollback` gives back what it took when the write fails or was a dry run. All of it is synchronous, so two
 * writes can never get the same address.
 */

import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Allocator, KindModule } from './kind.ts';

/** `field` and `value` say what could not be had, for the 422 answer. */
export class AllocationError extends Error {
  readonly field: string;
  readonly value: string | number;
  constructor(field: string, value: string | number, message: string) {
    super(message);
    this.name = 'AllocationError';
    this.field = field;
    this.value = value;
  }
}

/** Addresses and ports of one object, as "ip:10.43.0.9" and "port:TCP:30080". */
export type Holdings = ReadonlySet<string>;

export interface AllocatorOptions {
  /** First two bytes of the /16 of services, "10.43." */
  readonly servicePrefix?: string;
  readonly nodePortMin?: number;
  readonly nodePortMax?: number;
  /** Between 0 and 1: where the search for a free one starts. */
  readonly random: () => number;
}

/** Never given out: network, `kubernetes` service, cluster DNS, and the last address. */
const RESERVED_HOSTS: ReadonlySet<number> = new Set([0, 65_535]);
/** Only on request by name: .0.1 for `kubernetes`, .0.10 for DNS; the lower band is for static choice. */
const STATIC_BAND = 256;

export class ServiceAllocator {
  readonly #taken = new Set<string>();
  readonly #prefix: string;
  readonly #portMin: number;
  readonly #portMax: number;
  readonly #random: () => number;

  constructor(options: AllocatorOptions) {
    this.#prefix = options.servicePrefix ?? '10.43.';
    this.#portMin = options.nodePortMin ?? 30_000;
    this.#portMax = options.nodePortMax ?? 32_767;
    this.#random = options.random;
  }

  /** What the object holds, asked of its own `release`. */
  static holdings(module: KindModule, object: KubeObject): Holdings {
    const held = new Set<string>();
    if (module.release === undefined) return held;
    const refuse = (): never => {
      throw new Error(`release of ${module.kind} must not allocate`);
    };
    module.release(object, {
      clusterIp: refuse,
      nodePort: refuse,
      freeClusterIp: (ip) => held.add(`ip:${ip}`),
      freeNodePort: (port, protocol) => held.add(`port:${protocol}:${port}`),
    });
    return held;
  }

  /** At start: these are taken. */
  claim(holdings: Holdings): void {
    for (const item of holdings) this.#taken.add(item);
  }

  free(holdings: Holdings): void {
    for (const item of holdings) this.#taken.delete(item);
  }

  reserve(own: Holdings): Reservation {
    return new Reservation(this, own);
  }

  /** Takes the address; throws `AllocationError` when it is another's. Returns true when it was free before. */
  takeIp(ip: string, own: Holdings): boolean {
    if (own.has(`ip:${ip}`)) return false;
    if (!this.#inRange(ip)) {
      throw ipError(ip, `the provided IP is not in the valid range ${this.#prefix}0.0/16`);
    }
    if (this.#taken.has(`ip:${ip}`)) throw ipError(ip, 'provided IP is already allocated');
    this.#taken.add(`ip:${ip}`);
    return true;
  }

  takeAnyIp(): string {
    const span = 65_536 - STATIC_BAND;
    const first = Math.floor(this.#random() * span);
    for (let i = 0; i < span; i += 1) {
      const host = STATIC_BAND + ((first + i) % span);
      const ip = `${this.#prefix}${host >> 8}.${host & 255}`;
      if (RESERVED_HOSTS.has(host) || this.#taken.has(`ip:${ip}`)) continue;
      this.#taken.add(`ip:${ip}`);
      return ip;
    }
    throw ipError('', 'range is full');
  }

  takePort(port: number, protocol: string, own: Holdings): boolean {
    const item = `port:${protocol}:${port}`;
    if (own.has(item)) return false;
    if (!Number.isInteger(port) || port < this.#portMin || port > this.#portMax) {
      throw portError(
        port,
        `provided port is not in the valid range. The range of valid ports is ${this.#portMin}-${this.#portMax}`,
      );
    }
    if (this.#taken.has(item)) throw portError(port, 'provided port is already allocated');
    this.#taken.add(item);
    return true;
  }

  takeAnyPort(protocol: string): number {
    const span = this.#portMax - this.#portMin + 1;
    const first = Math.floor(this.#random() * span);
    for (let i = 0; i < span; i += 1) {
      const port = this.#portMin + ((first + i) % span);
      const item = `port:${protocol}:${port}`;
      if (this.#taken.has(item)) continue;
      this.#taken.add(item);
      return port;
    }
    throw portError(0, 'range is full');
  }

  #inRange(ip: string): boolean {
    if (!ip.startsWith(this.#prefix)) return false;
    const parts = ip.slice(this.#prefix.length).split('.');
    if (parts.length !== 2) return false;
    const [high = -1, low = -1] = parts.map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : -1));
    if (high < 0 || high > 255 || low < 0 || low > 255) return false;
    return !RESERVED_HOSTS.has(high * 256 + low);
  }
}

/** The allocations of one write. */
export class Reservation implements Allocator {
  readonly #pool: ServiceAllocator;
  readonly #own: Holdings;
  readonly #taken = new Set<string>();

  constructor(pool: ServiceAllocator, own: Holdings) {
    this.#pool = pool;
    this.#own = own;
  }

  clusterIp(wanted: string): string {
    // Asking twice for the same in one write is one reservation.
    if (wanted !== '' && this.#taken.has(`ip:${wanted}`)) return wanted;
    if (wanted === '') {
      const ip = this.#pool.takeAnyIp();
      this.#taken.add(`ip:${ip}`);
      return ip;
    }
    if (this.#pool.takeIp(wanted, this.#own)) this.#taken.add(`ip:${wanted}`);
    return wanted;
  }

  nodePort(wanted: number, protocol: string): number {
    if (wanted === 0) {
      const port = this.#pool.takeAnyPort(protocol);
      this.#taken.add(`port:${protocol}:${port}`);
      return port;
    }
    if (this.#taken.has(`port:${protocol}:${wanted}`)) return wanted;
    if (this.#pool.takePort(wanted, protocol, this.#own)) {
      this.#taken.add(`port:${protocol}:${wanted}`);
    }
    return wanted;
  }

  /** The write failed or was a dry run: as if it had never asked. */
  rollback(): void {
    this.#pool.free(this.#taken);
    this.#taken.clear();
  }

  /** The write is durable and the object now holds `held`: the rest of what it had or took is free again. */
  commit(held: Holdings): void {
    const dropped = [...this.#own, ...this.#taken].filter((item) => !held.has(item));
    this.#pool.free(new Set(dropped));
    this.#pool.claim(held);
    this.#taken.clear();
  }
}

function ipError(ip: string, why: string): AllocationError {
  return new AllocationError('spec.clusterIPs', ip, `failed to allocate IP ${ip}: ${why}`);
}

function portError(port: number, why: string): AllocationError {
  return new AllocationError('spec.ports[].nodePort', port, why);
}
