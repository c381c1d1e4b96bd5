/**
 * Makes certificates: ECDSA P-256, valid from 1970-01-01 on, because a board without a real-time clock may
 * stand there when it first speaks to us.
 *
 * The X.509 library is loaded only when a certificate has to be made: an ordinary start reads files and
 * pays nothing for it.
 */
import { webcrypto } from 'node:crypto';
import { loadX509 } from './x509-library.ts';

export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const NOT_BEFORE = new Date(0);
/** RFC 5280, 4.1.2.5: 99991231235959Z says "no well-defined expiration date". */
const NOT_AFTER = new Date('9999-12-31T23:59:59Z');
const SERIAL_BYTES = 16;

/** A certificate and its key, both PEM (the key as PKCS #8). */
export interface Identity {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface LeafRequest {
  readonly commonName: string;
  /** Each becomes one O: a group of the user (Kubernetes: X509 client certificates). */
  readonly organizations: readonly string[];
  readonly usage: 'server' | 'client';
  readonly dnsNames?: readonly string[];
  readonly addresses?: readonly string[];
}

/** `length` unpredictable bytes. */
export type RandomBytes = (length: number) => Uint8Array;

/** A new certificate authority. It signs leaves only (path length 0). */
export async function makeAuthority(commonName: string, random: RandomBytes): Promise<Identity> {
  const x509 = await loadX509();
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(random),
      name: [{ CN: [commonName] }],
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign |
            x509.KeyUsageFlags.cRLSign |
            x509.KeyUsageFlags.digitalSignature,
          true,
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return {
    certificate: `${certificate.toString('pem')}\n`,
    privateKey: await exportPrivateKey(keys.privateKey),
  };
}

/** A leaf signed by `authority`, for a new key or, with `privateKey` (PEM), for one that exists. */
export async function issueLeaf(
  authority: Identity,
  request: LeafRequest,
  options: { readonly random: RandomBytes; readonly privateKey?: string },
): Promise<Identity> {
  const x509 = await loadX509();
  const keys =
    options.privateKey === undefined ? await makeKeys() : await importKeys(options.privateKey);
  const issuer = new x509.X509Certificate(authority.certificate);
  const signer = await importKeys(authority.privateKey);
  const names = [
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns', value }) as const),
    ...(request.addresses ?? []).map((value) => ({ type: 'ip', value }) as const),
  ];
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(options.random),
      subject: [
        ...request.organizations.map((name) => ({ O: [name] })),
        { CN: [request.commonName] },
      ],
      issuer: issuer.subjectName,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: signer.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage[request.usage === 'server' ? 'serverAuth' : 'clientAuth'],
        ]),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
        await x509.AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return {
    certificate: `${certificate.toString('pem')}\n`,
    privateKey: options.privateKey ?? (await exportPrivateKey(keys.privateKey)),
  };
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function exportPrivateKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}

/** Of a P-256 key in PEM. */
export async function importKeys(pem: string): Promise<webcrypto.CryptoKeyPair> {
  const { createPrivateKey, createPublicKey } = await import('node:crypto');
  const key = createPrivateKey(pem);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
  };
}

export function serialNumber(random: RandomBytes): string {
  const bytes = Uint8Array.from(random(SERIAL_BYTES));
  // RFC 5280, 4.1.2.2: positive, at most 20 octets; the first octet also must not be zero.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}
