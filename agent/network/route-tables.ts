/** What `ip` and the kernel print about routes. Pure. */
import type { Route } from './reach.ts';

/** From `ip -json route show proto 99`. The local route of the service range is not among them. */
export function parseRoutes(json: string): Route[] {
  return entriesOf(json).flatMap(({ dst, gateway }) =>
    typeof dst === 'string' && typeof gateway === 'string' ? [{ cidr: dst, via: gateway }] : [],
  );
}

/** The ranges in `ip -json route show table local proto 99`. */
export function parseLocalRanges(json: string): string[] {
  return entriesOf(json).flatMap(({ dst }) => (typeof dst === 'string' ? [dst] : []));
}

/** The routes with a gateway in the text of /proc/net/route. */
export function kernelRoutes(text: string): Route[] {
  return text.split('\n').flatMap((line) => {
    const [, destination, gateway, , , , , mask] = line.trim().split(/\s+/);
    const cidr = destination === undefined ? undefined : hexAddress(destination);
    const via = gateway === undefined ? undefined : hexAddress(gateway);
    const bits = mask === undefined ? undefined : hexBits(mask);
    if (cidr === undefined || via === undefined || bits === undefined) return [];
    return [{ cidr: `${cidr}/${bits}`, via }];
  });
}

/** The ranges that are local to the board in the text of /proc/net/fib_trie. */
export function kernelLocalRanges(text: string): Set<string> {
  const found = text.matchAll(/\|-- ([\d.]+)\n\s+\/(\d+) host LOCAL/g);
  return new Set([...found].map(([, base, bits]) => `${base}/${bits}`));
}

function entriesOf(json: string): Array<Readonly<Record<string, unknown>>> {
  const list: unknown = json.trim() === '' ? [] : JSON.parse(json);
  return Array.isArray(list) ? list.filter((one) => typeof one === 'object' && one !== null) : [];
}

/** "0101A8C0" is 192.168.1.1: the kernel prints the address in the board's byte order (little endian). */
function hexAddress(hex: string): string | undefined {
  if (!/^[0-9A-F]{8}$/.test(hex)) return undefined;
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join('.');
}

function hexBits(mask: string): number | undefined {
  const address = hexAddress(mask);
  if (address === undefined) return undefined;
  const bits = address
    .split('.')
    .map((part) => Number(part).toString(2).replaceAll('0', '').length);
  return bits.reduce((sum, count) => sum + count, 0);
}
