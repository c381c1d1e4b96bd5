/**
 * Kubernetes' channels in a WebSocket (k8s.io/apiserver wsstream, KEP 4006): each message is one byte for the channel, or
 * in the base64 forms one digit, and the data. Pure.
 */

export interface ChannelProtocol {
  /** Sec-WebSocket-Protocol; empty when the client named none. */
  readonly name: string;
  /** For browsers: text messages, a digit and base64. */
  readonly base64: boolean;
  /** The error channel holds a Status in JSON at the end; before, words and nothing for success. */
  readonly hasStatus: boolean;
  /** v5: the client can say that a channel has ended. */
  readonly hasClose: boolean;
}

const PLAIN = { base64: false, hasStatus: false, hasClose: false };

/** Best first. */
const EXEC_PROTOCOLS: readonly ChannelProtocol[] = [
  { name: 'v5.channel.k8s.io', base64: false, hasStatus: true, hasClose: true },
  { name: 'v4.channel.k8s.io', base64: false, hasStatus: true, hasClose: false },
  { name: 'v4.base64.channel.k8s.io', base64: true, hasStatus: true, hasClose: false },
  { ...PLAIN, name: 'channel.k8s.io' },
  { ...PLAIN, name: 'base64.channel.k8s.io', base64: true },
];
const NO_NAME: ChannelProtocol = { ...PLAIN, name: '' };

/** What both know; undefined when that is nothing. `offered`: Sec-WebSocket-Protocol, as sent. */
export function chooseExecProtocol(offered: string | undefined): ChannelProtocol | undefined {
  const names = protocolNames(offered);
  if (names.length === 0) return NO_NAME;
  return EXEC_PROTOCOLS.find(({ name }) => names.includes(name));
}

/** The same for port-forward, which has the versions with data and error channels only. */
export function choosePortProtocol(offered: string | undefined): ChannelProtocol | undefined {
  const chosen = chooseExecProtocol(offered);
  if (chosen === undefined || chosen.name === '' || chosen.name.startsWith('v4.')) return chosen;
  const names = protocolNames(offered);
  return EXEC_PROTOCOLS.find(({ name }) => name.startsWith('v4.') && names.includes(name));
}

/** Of a comma-separated header. */
export function protocolNames(offered: string | undefined): string[] {
  return (offered ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

export interface ChannelMessage {
  readonly channel: number;
  readonly data: Uint8Array;
}

/** Undefined for what is no message of this protocol. */
export function decodeChannel(
  protocol: ChannelProtocol,
  message: Uint8Array,
): ChannelMessage | undefined {
  const [first] = message;
  if (first === undefined) return undefined;
  const rest = message.subarray(1);
  if (!protocol.base64) return { channel: first, data: rest };
  const channel = first - DIGIT_ZERO;
  if (channel < 0 || channel > 9) return undefined;
  return { channel, data: Buffer.from(Buffer.from(rest).toString('latin1'), 'base64') };
}

/** A binary message, or a text for the base64 forms. */
export function encodeChannel(
  protocol: ChannelProtocol,
  channel: number,
  data: Uint8Array,
): Uint8Array | string {
  if (protocol.base64) return `${channel}${Buffer.from(data).toString('base64')}`;
  const message = Buffer.allocUnsafe(data.length + 1);
  message[0] = channel;
  message.set(data, 1);
  return message;
}

const DIGIT_ZERO = 0x30;
