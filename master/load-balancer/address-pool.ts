/**
 * The LAN addresses that LoadBalancer services may have, as a person wrote them: ranges and CIDRs, IPv4, with commas between
 * them ("192.168.1.240-192.168.1.250,192.168.1.224/29"). Pure.
 */

/** All numbers; both ends belong to it. */
interface Range {
  readonly first: number;
  readonly last: number;
}

/** Addresses of a pool: beyond a /24 a heartbeat between boards (agent/pool/) would become large. */
export const POOL_ADDRESSES_MAX = 256;

export interface PoolPlace {
  /** As in "10.42.0.0/16". */
  readonly podCidr: string;
  readonly serviceCidr: string;
  /** The master's own. */
  readonly addresses: readonly string[];
}

export class AddressPool {
  readonly #numbers: readonly number[];

  constructor(numbers: readonly number[]) {
    this.#numbers = [...new Set(numbers)].sort((a, b) => a - b);
  }

  contains(ip: string): boolean {
    const number = parseIpv4(ip);
    return number !== undefined && this.#numbers.includes(number);
  }

  /** From the lowest on. */
  get addresses(): string[] {
    return this.#numbers.map(formatIpv4);
  }
}

/** Throws an Error that says which part is wrong and what to write instead. */
export function parseAddressPool(text: string, place: PoolPlace): AddressPool {
  const parts = text.split(',').map((part) => part.trim());
  const ranges = parts.map((part) => ({ part, range: parseRange(part) }));
  let size = 0;
  for (const { part, range } of ranges) {
    size += range.last - range.first + 1;
    if (size > POOL_ADDRESSES_MAX) {
      throw poolError(part, `with it the pool has more than ${POOL_ADDRESSES_MAX} addresses`);
    }
    refuseForeign(part, range, place);
  }
  return new AddressPool(ranges.flatMap(({ range }) => numbersOf(range)));
}

function refuseForeign(part: string, range: Range, place: PoolPlace): void {
  const { podCidr, serviceCidr, addresses } = place;
  for (const [what, cidr] of [
    ['pods', podCidr],
    ['services', serviceCidr],
  ] as const) {
    const other = parseCidr(cidr);
    if (other === undefined || range.last < other.first || other.last < range.first) continue;
    throw poolError(part, `it overlaps the range of ${what} ${cidr}`);
  }
  for (const ip of addresses) {
    const number = parseIpv4(ip);
    if (number === undefined || number < range.first || range.last < number) continue;
    throw poolError(part, `it holds ${ip}, an address of this board`);
  }
  // 0.0.0.0/8, 127.0.0.0/8, multicast and above: nobody on a LAN can have those.
  const [net = 0] = formatIpv4(range.first).split('.').map(Number);
  if (net === 0 || net === 127 || range.last >= 224 * 2 ** 24) {
    throw poolError(part, 'no board can have such an address');
  }
}

function parseRange(part: string): Range {
  const cidr = parseCidr(part);
  if (cidr !== undefined) return cidr;
  const [from = '', to = from, ...rest] = part.split('-').map((one) => one.trim());
  const [first, last] = [parseIpv4(from), parseIpv4(to)];
  if (first === undefined || last === undefined || rest.length > 0) {
    throw poolError(part, 'give ranges as in 192.168.1.240-192.168.1.250 or 192.168.1.240/29');
  }
  if (last < first) throw poolError(part, 'its last address is lower than its first');
  return { first, last };
}

function parseCidr(text: string): Range | undefined {
  const [ip = '', bits = '', ...rest] = text.split('/');
  const number = parseIpv4(ip);
  if (number === undefined || rest.length > 0 || !/^\d{1,2}$/.test(bits)) return undefined;
  if (Number(bits) > 32) return undefined;
  const size = 2 ** (32 - Number(bits));
  const first = number - (number % size);
  return { first, last: first + size - 1 };
}

function numbersOf({ first, last }: Range): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function parseIpv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const bytes = (match ?? []).slice(1).map(Number);
  if (match === null || bytes.some((byte) => byte > 255)) return undefined;
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

function formatIpv4(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

function poolError(part: string, why: string): Error {
  return new Error(`--load-balancer-pool: "${part}": ${why}`);
}
