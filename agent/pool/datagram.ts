/**
 * Hellos as datagrams that only boards of the cluster can make.
 *
 *   byte 0       format, 1
 *   byte 1..2    length of the certificate, big endian
 *   byte 3..     the sender's certificate (DER), signed by the cluster's authority for system:node:NAME
 *   then         the hello (CBOR), with the receiver's name
 *   last 32      HMAC-SHA256 over all before it
 *
 * The key of the HMAC is of two boards alone: HKDF-SHA256 over the ECDH of their certificates' keys (P-256). No secret has to be handed
 * out, no board can speak for another one, and it works with the master off. Certificates' dates are not looked at: clocks
 * of boards stand anywhere. That a datagram is fresh is membership.ts' to say. At most one certificate that is not known yet is
 * checked per datagram, and only so many in a second: a flood costs little.
 */
import {
  createHmac,
  createPrivateKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
  X509Certificate,
} from 'node:crypto';
import { type Static, Type } from 'typebox';
import { decodeMessage, encodeMessage, MessageError } from '../../protocol/codec.ts';
import { type BoardCredentials, MESSAGE_VERSION, Name, Version } from '../../protocol/messages.ts';
import { boardOf } from '../network/board-certificate.ts';
import type { Hello } from './membership.ts';

const FORMAT = 1;
const HEAD_BYTES = 3;
const MAC_BYTES = 32;
const CERTIFICATE_BYTES_MAX = 4096;
const PEERS_MAX = 1024;
const INFO = 'pier/v1/pool';

const MarkMessage = Type.Object({
  session: Type.String({ minLength: 1, maxLength: 64 }),
  atMs: Type.Integer({ minimum: 0 }),
});

const HelloMessage = Type.Object({
  v: Version,
  clusterId: Type.String(),
  to: Name,
  mark: MarkMessage,
  echo: Type.Optional(MarkMessage),
  ready: Type.Boolean(),
  offers: Type.Array(Type.String({ maxLength: 15 }), { maxItems: 256 }),
  leaving: Type.Boolean(),
});
type HelloMessage = Static<typeof HelloMessage>;

interface PeerKey {
  readonly node: string;
  readonly key: Buffer;
}

export class DatagramCodec {
  readonly #credentials: BoardCredentials;
  readonly #authority: KeyObject;
  readonly #privateKey: KeyObject;
  readonly #certificate: Buffer;
  /** By certificate. */
  readonly #peers = new Map<string, PeerKey>();
  /** By board: the key of the last datagram that was proven, or else of the first certificate that came. */
  readonly #keys = new Map<string, Buffer>();
  readonly #strangersMax: number;
  #strangers = { second: 0, count: 0 };

  constructor(credentials: BoardCredentials, strangersMax: number) {
    this.#credentials = credentials;
    this.#authority = new X509Certificate(credentials.caCertificate).publicKey;
    this.#privateKey = createPrivateKey(credentials.privateKey);
    this.#certificate = new X509Certificate(credentials.certificate).raw;
    this.#strangersMax = strangersMax;
  }

  /** Undefined while no datagram of that board has come: then its key is not known; see `introduce`. */
  encode(node: string, hello: Hello): Buffer | undefined {
    const key = this.#keys.get(node);
    return key && this.#seal(key, this.#body(node, hello));
  }

  /** A datagram for a board whose certificate is not known: no more than our own certificate. Proves nothing, asks for an answer. */
  introduce(): Buffer {
    return this.#frame(Buffer.alloc(0));
  }

  /**
   * Who says what. A `hello` of undefined is an introduction. Undefined for everything that is not of a board of this cluster,
   * not meant for this one, or not as it should be.
   */
  decode(datagram: Buffer, nowMs: number): { node: string; hello: Hello | undefined } | undefined {
    const length = datagram.length < HEAD_BYTES ? 0 : datagram.readUInt16BE(1);
    const end = HEAD_BYTES + length;
    if (datagram[0] !== FORMAT || length === 0 || length > CERTIFICATE_BYTES_MAX) return undefined;
    if (datagram.length < end) return undefined;
    const peer = this.#peerOf(datagram.subarray(HEAD_BYTES, end), nowMs);
    if (peer === undefined || peer.node === this.#credentials.node) return undefined;
    if (datagram.length === end) return { node: peer.node, hello: undefined };
    const body = datagram.subarray(end, -MAC_BYTES);
    if (datagram.length < end + MAC_BYTES) return undefined;
    const mac = hmac(peer.key, datagram.subarray(0, -MAC_BYTES));
    if (!timingSafeEqual(mac, datagram.subarray(-MAC_BYTES))) return undefined;
    this.#keys.set(peer.node, peer.key);
    const message = readHello(body);
    const { node, clusterId } = this.#credentials;
    if (message?.to !== node || message.clusterId !== clusterId) return undefined;
    const { mark, echo, ready, offers, leaving } = message;
    return { node: peer.node, hello: { mark, echo, ready, offers, leaving } };
  }

  #body(to: string, { mark, echo, ready, offers, leaving }: Hello): Uint8Array {
    const { clusterId } = this.#credentials;
    const heard = echo === undefined ? {} : { echo };
    const message = { mark, ...heard, ready, offers: [...offers], leaving };
    return encodeMessage(HelloMessage, { v: MESSAGE_VERSION, clusterId, to, ...message });
  }

  #seal(key: Buffer, body: Uint8Array): Buffer {
    const framed = this.#frame(body);
    return Buffer.concat([framed, hmac(key, framed)]);
  }

  #frame(body: Uint8Array): Buffer {
    const head = Buffer.from([FORMAT, 0, 0]);
    head.writeUInt16BE(this.#certificate.length, 1);
    return Buffer.concat([head, this.#certificate, body]);
  }

  #peerOf(der: Buffer, nowMs: number): PeerKey | undefined {
    const id = der.toString('latin1');
    const known = this.#peers.get(id);
    if (known !== undefined) return known;
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#strangers.second) this.#strangers = { second, count: 0 };
    this.#strangers.count += 1;
    if (this.#strangers.count > this.#strangersMax) return undefined;
    const peer = this.#meet(der);
    if (peer === undefined || this.#peers.size >= PEERS_MAX) return undefined;
    this.#peers.set(id, peer);
    // Anybody may send an old certificate of a board again: what is proven stays.
    if (!this.#keys.has(peer.node)) this.#keys.set(peer.node, peer.key);
    return peer;
  }

  #meet(der: Buffer): PeerKey | undefined {
    try {
      const certificate = new X509Certificate(der);
      const node = boardOf(certificate);
      if (node === undefined || !certificate.verify(this.#authority)) return undefined;
      const { publicKey } = certificate;
      const shared = diffieHellman({ privateKey: this.#privateKey, publicKey });
      const salt = this.#credentials.clusterId;
      return { node, key: Buffer.from(hkdfSync('sha256', shared, salt, INFO, 32)) };
    } catch {
      // Not a certificate, or a key of another kind: anybody can send that.
      return undefined;
    }
  }
}

function readHello(body: Uint8Array): HelloMessage | undefined {
  try {
    return decodeMessage(HelloMessage, body);
  } catch (error) {
    // Of a board of another release: as good as silent.
    if (error instanceof MessageError) return undefined;
    throw error;
  }
}

function hmac(key: Buffer, bytes: Buffer): Buffer {
  return createHmac('sha256', key).update(bytes).digest();
}
