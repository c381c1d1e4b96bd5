/**
 * What a backend is told of its client before the client's first byte, where the service asks for it: the PROXY
 * protocol, versions 1 (a line of text) and 2 (binary), as HAProxy's proxy-protocol.txt has them. Pure.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { plainIp } from './source-ranges.ts';

export type ProxyProtocol = 'v1' | 'v2';

/** The ends of the client's connection, as Node's sockets name them; undefined once it is closed. */
export interface Ends {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Version 2, command PROXY; then the family with TCP. */
const PROXY = 0x21;
const UNKNOWN = 0x00;
const TCP4 = 0x11;
const TCP6 = 0x21;

export function proxyHeader(version: ProxyProtocol, ends: Ends): Buffer {
  const source = plainIp(ends.remoteAddress);
  const destination = plainIp(ends.localAddress);
  const family = familyOf(source, destination);
  const ports = [ends.remotePort ?? 0, ends.localPort ?? 0];
  if (version === 'v1') {
    if (family === UNKNOWN) return Buffer.from('PROXY UNKNOWN\r\n');
    const name = family === TCP4 ? 'TCP4' : 'TCP6';
    return Buffer.from(`PROXY ${name} ${source} ${destination} ${ports.join(' ')}\r\n`);
  }
  if (family === UNKNOWN) return Buffer.from([...SIGNATURE, PROXY, UNKNOWN, 0, 0]);
  const words = ports.flatMap((port) => [port >> 8, port & 0xff]);
  const body = [...octetsOf(source), ...octetsOf(destination), ...words];
  return Buffer.from([...SIGNATURE, PROXY, family, 0, body.length, ...body]);
}

function familyOf(source: string, destination: string): number {
  if (isIPv4(source) && isIPv4(destination)) return TCP4;
  return isIPv6(source) && isIPv6(destination) ? TCP6 : UNKNOWN;
}

function octetsOf(ip: string): number[] {
  if (isIPv4(ip)) return ip.split('.').map(Number);
  // A URL writes a dotted end as groups, too. "::" stands for as many groups of zeros as are missing.
  const { hostname } = new URL(`http://[${ip}]`);
  const [head = [], tail = []] = hostname.slice(1, -1).split('::').map(groupsOf);
  return [...head, ...new Array<number>(16 - head.length - tail.length).fill(0), ...tail];
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    const word = Number.parseInt(group, 16);
    return [word >> 8, word & 0xff];
  });
}
