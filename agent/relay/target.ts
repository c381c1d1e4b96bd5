/**
 * What a board may ask of another one: TCP or UDP to a pod of that board. The words are HTTP's: CONNECT (RFC 9113, 8.5) with
 * `IP:PORT` as authority, and extended CONNECT with the protocol connect-udp and the path of RFC 9298. What goes wrong is told in
 * the field Proxy-Status (RFC 9209), with the status that this RFC has for it. Pure.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { isIPv4 } from 'node:net';
import { cidrContains } from '../plan/pod-ip.ts';

export interface Target {
  readonly protocol: 'TCP' | 'UDP';
  readonly ip: string;
  readonly port: number;
}

export interface Refusal {
  readonly status: number;
  /** One of RFC 9209's error types. */
  readonly error: string;
  /** A sentence for a log. */
  readonly details: string;
}

const UDP_PATH = /^\/\.well-known\/masque\/udp\/([\d.]+)\/(\d{1,5})\/$/;
const AUTHORITY = /^([\d.]+):(\d{1,5})$/;
const NAME = 'pier';

export function requestFor({ protocol, ip, port }: Target): Readonly<Record<string, string>> {
  const authority = `${ip}:${port}`;
  if (protocol === 'TCP') return { ':method': 'CONNECT', ':authority': authority };
  return {
    ':method': 'CONNECT',
    ':protocol': 'connect-udp',
    ':scheme': 'https',
    ':authority': authority,
    ':path': `/.well-known/masque/udp/${ip}/${port}/`,
    'capsule-protocol': '?1',
  };
}

/** `podCidr`: the range of this board's own pods; all else is refused. */
export function targetOf(headers: IncomingHttpHeaders, podCidr: string): Target | Refusal {
  const { ':method': method, ':protocol': protocol, ':authority': authority } = headers;
  const isUdp = protocol === 'connect-udp';
  if (method !== 'CONNECT' || (protocol !== undefined && !isUdp)) {
    return refusal(400, 'http_request_error', 'only CONNECT, to TCP or UDP, is understood');
  }
  const [, ip = '', digits] = isUdp
    ? (UDP_PATH.exec(headers[':path'] ?? '') ?? [])
    : (AUTHORITY.exec(authority ?? '') ?? []);
  const port = Number(digits);
  if (!isIPv4(ip) || !(port >= 1 && port <= 65_535)) {
    return refusal(400, 'http_request_error', 'the target is no IPv4 address with a port');
  }
  if (!cidrContains(podCidr, ip)) {
    const what = `${ip} is no address of a pod of this board`;
    return refusal(403, 'destination_ip_prohibited', what);
  }
  return { protocol: isUdp ? 'UDP' : 'TCP', ip, port };
}

/** A pod that did not take the connection. */
export function refusalOf(error: NodeJS.ErrnoException): Refusal {
  const { code, message } = error;
  if (code === 'ECONNREFUSED') return refusal(502, 'connection_refused', message);
  if (code === 'ETIMEDOUT') return refusal(504, 'connection_timeout', message);
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH') {
    return refusal(502, 'destination_ip_unroutable', message);
  }
  return refusal(502, 'connection_terminated', message);
}

export function refusal(status: number, error: string, details: string): Refusal {
  return { status, error, details };
}

export function refusalHeaders({ status, error, details }: Refusal): OutgoingHttpHeaders {
  // A string of RFC 8941 is ASCII, with a backslash before quotation marks and backslashes.
  const text = details.replace(/[^ -~]/g, '?').replace(/["\\]/g, '\\$&');
  return { ':status': status, 'proxy-status': `${NAME}; error=${error}; details="${text}"` };
}

/** Why the other board refused; undefined when it did not. */
export function refusalReason(headers: IncomingHttpHeaders): string | undefined {
  const status = Number(headers[':status']);
  if (status >= 200 && status < 300) return undefined;
  return `the board of the pod answers ${status}: ${String(headers['proxy-status']).slice(0, 200)}`;
}
