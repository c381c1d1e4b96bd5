/**
 * Addresses of pods out of the board's range. Pure: who holds which address is passed in.
 */

/** The first address of the range is the bridge, the last one is broadcast. */
export function allocatePodIp(podCidr: string, taken: Iterable<string>): string | undefined {
  const range = parseCidr(podCidr);
  if (range === undefined) return undefined;
  const used = new Set(taken);
  for (let offset = 2; offset < range.size - 1; offset++) {
    const ip = formatIpv4(range.base + offset);
    if (!used.has(ip)) return ip;
  }
  return undefined;
}

/** The address `index` places after the first one of the range; undefined when it is not in there. */
export function addressAt(cidr: string, index: number): string | undefined {
  const range = parseCidr(cidr);
  return range === undefined || index >= range.size ? undefined : formatIpv4(range.base + index);
}

export function cidrContains(cidr: string, ip: string): boolean {
  const range = parseCidr(cidr);
  const address = parseIpv4(ip);
  if (range === undefined || address === undefined) return false;
  return address >= range.base && address < range.base + range.size;
}

/** Undefined for anything that is not an IPv4 range. */
export function parseCidr(cidr: string): { base: number; size: number } | undefined {
  const [ip, bits, ...rest] = cidr.split('/');
  const base = parseIpv4(ip ?? '');
  if (base === undefined || rest.length > 0 || !/^\d{1,2}$/.test(bits ?? '')) return undefined;
  const prefix = Number(bits);
  if (prefix > 32) return undefined;
  const size = 2 ** (32 - prefix);
  return { base: base - (base % size), size };
}

function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

function formatIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
