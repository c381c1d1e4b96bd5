/**
 * Seals secret data to a board's key, so that no broker on the way ever holds it readable.
 *
 * Ephemeral-static ECDH on P-256, HKDF-SHA256, AES-256-GCM (the construction of ECIES; NIST SP 800-56A, RFC 5869).
 * The context (which secret, for which board) is bound into key and tag: a sealed value moved to another
 * place does not open.
 *
 *   byte 0        format, 1
 *   byte 1..65    ephemeral public key, uncompressed point
 *   byte 66..     AES-GCM ciphertext with its tag of 16 bytes
 *
 * The AES key is used for one message only, so the nonce is constant.
 */
const FORMAT = 1;
const POINT_BYTES = 65;
const TAG_BYTES = 16;
const NONCE = new Uint8Array(12);
const CURVE = { name: 'ECDH', namedCurve: 'P-256' } as const;
const INFO = 'pier/v1/seal';

/** What `open` refuses: changed, cut, or sealed for another board or another secret. */
export class SealError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SealError';
  }
}

/** The context of a secret of a board: what binds a sealed value to its place. */
export function secretContext(node: string, namespace: string, name: string): string {
  return `secret/${node}/${namespace}/${name}`;
}

/** The context of the service account tokens of a pod. */
export function tokenContext(node: string, podUid: string): string {
  return `tokens/${node}/${podUid}`;
}

/** What a pod's token is called among its tokens: the volume and the file in it. */
export function tokenKey(volume: string, path: string): string {
  return `${volume}/${path}`;
}

/** Seals `data` to `publicKey` (SPKI DER of a P-256 key). Throws when that is no such key. */
export async function seal(
  publicKey: Uint8Array,
  data: Uint8Array,
  context: string,
): Promise<Uint8Array> {
  const { subtle } = globalThis.crypto;
  const recipient = await importPublicKey(publicKey);
  const ephemeral = await subtle.generateKey(CURVE, true, ['deriveBits']);
  const point = new Uint8Array(await subtle.exportKey('raw', ephemeral.publicKey));
  const key = await deriveKey(ephemeral.privateKey, recipient, point, context);
  const sealed = await subtle.encrypt(parameters(context), key, copy(data));
  const result = new Uint8Array(1 + POINT_BYTES + sealed.byteLength);
  result[0] = FORMAT;
  result.set(point, 1);
  result.set(new Uint8Array(sealed), 1 + POINT_BYTES);
  return result;
}

/** Opens what was sealed to `privateKey` (PKCS #8 DER of a P-256 key) in this context. Throws SealError. */
export async function open(
  privateKey: Uint8Array,
  sealed: Uint8Array,
  context: string,
): Promise<Uint8Array> {
  const { subtle } = globalThis.crypto;
  if (sealed.length < 1 + POINT_BYTES + TAG_BYTES || sealed[0] !== FORMAT) {
    throw new SealError('the sealed data is too short or of an unknown format');
  }
  const point = copy(sealed.subarray(1, 1 + POINT_BYTES));
  try {
    const own = await subtle.importKey('pkcs8', copy(privateKey), CURVE, false, ['deriveBits']);
    const sender = await subtle.importKey('raw', point, CURVE, false, []);
    const key = await deriveKey(own, sender, point, context);
    const data = copy(sealed.subarray(1 + POINT_BYTES));
    return new Uint8Array(await subtle.decrypt(parameters(context), key, data));
  } catch (cause) {
    throw new SealError(
      'the sealed data does not open: it was changed, or sealed for another board or secret',
      { cause },
    );
  }
}

type Key = Awaited<ReturnType<typeof importPublicKey>>;

async function importPublicKey(publicKey: Uint8Array) {
  return globalThis.crypto.subtle.importKey('spki', copy(publicKey), CURVE, false, []);
}

async function deriveKey(own: Key, other: Key, point: Uint8Array, context: string): Promise<Key> {
  const { subtle } = globalThis.crypto;
  const shared = await subtle.deriveBits({ name: 'ECDH', public: other }, own, 256);
  const material = await subtle.importKey('raw', shared, 'HKDF', false, ['deriveKey']);
  const info = new TextEncoder().encode(`${INFO}\n${context}`);
  return subtle.deriveKey(
    { name: 'HKDF', hash: 'SHA-256', salt: copy(point), info },
    material,
    { name: 'AES-GCM', length: 256 },
    false,
    ['encrypt', 'decrypt'],
  );
}

function parameters(context: string) {
  return { name: 'AES-GCM', iv: NONCE, additionalData: new TextEncoder().encode(context) };
}

/** WebCrypto takes no view on memory that may be shared. */
function copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
