/**
 * Certificates that others ask for with a PKCS #10 request (RFC 2986): reads the request, checks that who asks holds the key,
 * and signs it. What comes in is not trusted: whatever is wrong with it is a `CertificateRequestError`.
 */
import { webcrypto, X509Certificate } from 'node:crypto';
import type { Pkcs10CertificateRequest } from '@peculiar/x509';
import {
  ALGORITHM,
  type Identity,
  importKeys,
  type RandomBytes,
  serialNumber,
} from './certificates.ts';
import { loadX509 } from './x509-library.ts';

/** The message says what is wrong with the request or the certificate, for who sent it. */
export class CertificateRequestError extends Error {}

/** RFC 5280, 4.2.1.6: subjectAltName. */
const ALTERNATIVE_NAMES = '2.5.29.17';
/** A clock that is behind ours by less takes the certificate for valid, too (Kubernetes: the signer's backdate). */
const BACKDATE_MS = 5 * 60_000;
/** What lives for less long is not shortened by that at its end. */
const SHORT_MS = 8 * 3_600_000;

interface PemBlock {
  readonly type: string;
  readonly content: string;
}

/** RFC 7468. Text before, between and after the blocks is passed over. */
function pemBlocks(text: string): PemBlock[] {
  const found = text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----\r?\n([^-]*)-----END \1-----/g);
  return [...found].map(([, type = '', content = '']) => ({ type, content }));
}

/** The request in `pem`, with a valid signature of the key that it is for. */
export async function parseCertificateRequest(pem: string): Promise<Pkcs10CertificateRequest> {
  const [block] = pemBlocks(pem);
  if (block?.type !== 'CERTIFICATE REQUEST') {
    throw new CertificateRequestError('PEM block type must be CERTIFICATE REQUEST');
  }
  const x509 = await loadX509();
  try {
    const request = new x509.Pkcs10CertificateRequest(Buffer.from(block.content, 'base64'));
    const { hash } = request.signatureAlgorithm;
    if (/^SHA-1$/i.test(hash?.name ?? '')) throw new Error('signatures with SHA-1 are not safe');
    if (!(await request.verify(webcrypto))) throw new Error('its signature is not valid');
    return request;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CertificateRequestError(`no valid PKCS #10 request: ${why}`, { cause });
  }
}

/** Throws `CertificateRequestError` unless `pem` holds certificates, at least one, and nothing else. */
export function checkCertificates(pem: string): void {
  const blocks = pemBlocks(pem);
  if (blocks.length === 0) {
    throw new CertificateRequestError('must contain at least one CERTIFICATE PEM block');
  }
  for (const { type, content } of blocks) {
    if (type !== 'CERTIFICATE') {
      const found = JSON.stringify(type);
      throw new CertificateRequestError(`only CERTIFICATE PEM blocks are allowed, found ${found}`);
    }
    if (content.includes(':')) {
      throw new CertificateRequestError('no PEM block headers are permitted');
    }
    try {
      new X509Certificate(Buffer.from(content, 'base64'));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CertificateRequestError(`the certificate cannot be read: ${why}`, { cause });
    }
  }
}

export interface SigningOrder {
  /** PEM, of a PKCS #10 request. */
  readonly request: string;
  /** As Kubernetes names those of a client certificate. */
  readonly usages: readonly string[];
  readonly validMs: number;
}

/**
 * A client certificate (PEM) for the key, the subject and the alternative names of the request. It ends: unlike those that the
 * master makes itself, it is for people, who ask for a new one.
 */
export async function signClientCertificate(
  authority: Identity,
  { request: pem, usages, validMs }: SigningOrder,
  nowMs: number,
  random: RandomBytes,
): Promise<string> {
  const x509 = await loadX509();
  const request = await parseCertificateRequest(pem);
  const issuer = new x509.X509Certificate(authority.certificate);
  const { privateKey } = await importKeys(authority.privateKey);
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const flags =
    (usages.includes('digital signature') ? digitalSignature : 0) |
    (usages.includes('key encipherment') ? keyEncipherment : 0);
  const names = request.getExtension(ALTERNATIVE_NAMES);
  const endMs = nowMs + validMs - (validMs < SHORT_MS ? 0 : BACKDATE_MS);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(random),
      subject: request.subjectName,
      issuer: issuer.subjectName,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(endMs),
      signingAlgorithm: ALGORITHM,
      publicKey: request.publicKey,
      signingKey: privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        ...(flags === 0 ? [] : [new x509.KeyUsagesExtension(flags, true)]),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
        ...(names === null ? [] : [names]),
        await x509.AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return `${certificate.toString('pem')}\n`;
}
