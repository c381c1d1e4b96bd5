/**
 * A reader of PROXY headers by the words of HAProxy's proxy-protocol.txt, for tests of what the agent writes: with its own way of
 * reading addresses, and strict where the document says that receivers must be.
 */
import fc from 'fast-check';
import { type Ends, type ProxyProtocol, proxyHeader } from '../../../agent/proxy/proxy-header.ts';

interface ReadHeader {
  /** Undefined for UNKNOWN (version 1) and UNSPEC (version 2). */
  readonly ends?: {
    readonly family: 4 | 6;
    readonly source: bigint;
    readonly sourcePort: number;
    readonly destination: bigint;
    readonly destinationPort: number;
  };
  readonly octets: number;
}

/** Section 2.1: the longest line. */
const V1_OCTETS_MAX = 107;
const V2_SIGNATURE = '0d0a0d0a000d0a515549540a';

/** Throws an Error for anything that the document does not allow. */
export function readHeader(bytes: Buffer): ReadHeader {
  return bytes.subarray(0, 12).toString('hex') === V2_SIGNATURE ? readV2(bytes) : readV1(bytes);
}

function readV1(bytes: Buffer): ReadHeader {
  const end = bytes.indexOf('\r\n');
  if (end === -1 || end + 2 > V1_OCTETS_MAX) throw new Error('the line has no end');
  const line = bytes.toString('latin1', 0, end);
  if (line === 'PROXY UNKNOWN') return { octets: end + 2 };
  const match = /^PROXY TCP([46]) (\S+) (\S+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/.exec(line);
  if (match === null) throw new Error(`no line of version 1: ${line}`);
  const [, family, source = '', destination = '', sourcePort, destinationPort] = match;
  const number = family === '4' ? ipv4 : ipv6;
  const ports = [Number(sourcePort), Number(destinationPort)] as const;
  if (Math.max(...ports) > 65_535) throw new Error(`no port: ${line}`);
  return {
    ends: {
      family: family === '4' ? 4 : 6,
      source: number(source),
      sourcePort: ports[0],
      destination: number(destination),
      destinationPort: ports[1],
    },
    octets: end + 2,
  };
}

function readV2(bytes: Buffer): ReadHeader {
  if (bytes[12] !== 0x21) throw new Error('neither version 2 nor the command PROXY');
  const length = bytes.readUInt16BE(14);
  const octets = 16 + length;
  if (bytes.length < octets) throw new Error('the header is cut off');
  if (bytes[13] === 0) return { octets };
  const size = { 17: 4, 33: 16 }[bytes[13] ?? 0];
  if (size === undefined || length !== size * 2 + 4) throw new Error('no addresses of TCP');
  const at = (offset: number) =>
    BigInt(`0x${bytes.toString('hex', 16 + offset, 16 + offset + size)}`);
  return {
    ends: {
      family: size === 4 ? 4 : 6,
      source: at(0),
      sourcePort: bytes.readUInt16BE(16 + size * 2),
      destination: at(size),
      destinationPort: bytes.readUInt16BE(18 + size * 2),
    },
    octets,
  };
}

function ipv4(text: string): bigint {
  const match = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(
    text,
  );
  const octets = match?.slice(1).map(Number) ?? [256];
  if (octets.some((octet) => octet > 255)) throw new Error(`no IPv4 address: ${text}`);
  return octets.reduce((sum, octet) => sum * 256n + BigInt(octet), 0n);
}

function ipv6(text: string): bigint {
  const groups = (part: string): bigint[] => {
    if (part === '') return [];
    return part.split(':').flatMap((group, index, all) => {
      if (group.includes('.') && index === all.length - 1) {
        const value = ipv4(group);
        return [value >> 16n, value & 0xffffn];
      }
      if (!/^[0-9a-f]{1,4}$/i.test(group)) throw new Error(`no IPv6 address: ${text}`);
      return [BigInt(`0x${group}`)];
    });
  };
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) throw new Error(`no IPv6 address: ${text}`);
  const [first, last] = [groups(head), groups(tail ?? '')];
  const zeros = 8 - first.length - last.length;
  if (tail === undefined ? zeros !== 0 : zeros < 1) throw new Error(`no IPv6 address: ${text}`);
  const all = [...first, ...new Array<bigint>(zeros).fill(0n), ...last];
  return all.reduce((sum, group) => (sum << 16n) | group, 0n);
}

/** An address in one of the ways that it may be written, and what it is; undefined: none at all. */
interface Address {
  readonly text: string | undefined;
  readonly value: bigint;
  readonly family: 4 | 6 | 0;
}

const v4: fc.Arbitrary<Address> = fc.ipV4().map((text) => ({ text, value: ipv4(text), family: 4 }));
/** As sockets of both families name a client of IPv4. */
const mapped = v4.map((one) => ({ ...one, text: `::ffff:${one.text}` }));
const v6: fc.Arbitrary<Address> = fc
  .ipV6()
  .map((text) => ({ text, value: ipv6(text), family: 6 as const }))
  // That is an IPv4 address; written by a socket as `mapped` above.
  .filter(({ value }) => value >> 32n !== 0xffffn);
const none: fc.Arbitrary<Address> = fc
  .constantFrom(undefined, '', 'localhost', '1.2.3', '256.1.1.1', ':::', '1.2.3.4\r\nPROXY')
  .map((text) => ({ text, value: 0n, family: 0 as const }));
/** Its zone means something on this board only. */
const linkLocal = fc.constant<Address>({ text: 'fe80::1%eth0', value: ipv6('fe80::1'), family: 6 });
const address = fc.oneof(
  { weight: 4, arbitrary: v4 },
  { weight: 2, arbitrary: mapped },
  { weight: 4, arbitrary: v6 },
  { weight: 1, arbitrary: linkLocal },
  { weight: 1, arbitrary: none },
);
const port = fc.option(fc.integer({ min: 0, max: 65_535 }), { nil: undefined });

export const connectionEnds = fc.record({
  version: fc.constantFrom<ProxyProtocol>('v1', 'v2'),
  source: address,
  destination: address,
  sourcePort: port,
  destinationPort: port,
});
type ConnectionEnds = typeof connectionEnds extends fc.Arbitrary<infer T> ? T : never;

/** Throws where what was written is not what is read, or not all of it. */
export function isReadBack(given: ConnectionEnds): void {
  const { version, source, destination, sourcePort, destinationPort } = given;
  const ends: Ends = {
    remoteAddress: source.text,
    remotePort: sourcePort,
    localAddress: destination.text,
    localPort: destinationPort,
  };
  const header = proxyHeader(version, ends);
  // The client's first bytes follow.
  const read = readHeader(Buffer.concat([header, Buffer.from('GET / HTTP/1.1\r\n')]));
  if (read.octets !== header.length) throw new Error('it ends elsewhere');
  const isPair = source.family === destination.family && source.family !== 0;
  if (!isPair) {
    if (read.ends !== undefined) throw new Error('ends were made up');
    return;
  }
  const isSame =
    read.ends?.family === source.family &&
    read.ends.source === source.value &&
    read.ends.destination === destination.value &&
    read.ends.sourcePort === (sourcePort ?? 0) &&
    read.ends.destinationPort === (destinationPort ?? 0);
  if (!isSame) throw new Error(`read as other ends: ${header.toString('latin1')}`);
}
