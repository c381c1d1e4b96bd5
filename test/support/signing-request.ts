/** For tests of CertificateSigningRequests: a key with its PKCS #10 request, and the controllers that sign. */
import { webcrypto } from 'node:crypto';
import { pino } from 'pino';
import type { Test } from 'tap';
import type { ApiClient } from '../../master/api/client.ts';
import { startControllers } from '../../master/controllers/controllers.ts';
import { type Pki, requestSigner } from '../../master/pki/pki.ts';
import { loadX509 } from '../../master/pki/x509-library.ts';
import { systemClock } from '../../protocol/clock.ts';

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: 'SHA-256',
};
export const ALGORITHMS = {
  EC,
  RSA,
  P384: { ...EC, namedCurve: 'P-384', hash: 'SHA-384' },
  Ed25519: { name: 'Ed25519' },
  'RSA with SHA-1': { ...RSA, hash: 'SHA-1' },
} as const;

export interface RequestWithKey {
  /** PEM. */
  readonly request: string;
  /** PEM, PKCS #8. */
  readonly privateKey: string;
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

export async function makeRequest(
  commonName: string,
  organizations: readonly string[] = [],
  algorithm: keyof typeof ALGORITHMS = 'EC',
): Promise<RequestWithKey> {
  const x509 = await loadX509();
  const signingAlgorithm = ALGORITHMS[algorithm];
  const keys = await webcrypto.subtle.generateKey(signingAlgorithm, true, ['sign', 'verify']);
  if (!('privateKey' in keys)) throw new Error('no pair of keys');
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: [...organizations.map((name) => ({ O: [name] })), { CN: [commonName] }],
      keys,
      signingAlgorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'asked.example' }]),
      ],
    },
    webcrypto,
  );
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const privateKey = x509.PemConverter.encode(der, 'PRIVATE KEY');
  return { request: `${request.toString('pem')}\n`, privateKey };
}

/** All controllers of a master, with its authority; stopped when the test ends. */
export async function startSigning(t: Pick<Test, 'teardown'>, client: ApiClient, pki: Pki) {
  const controllers = startControllers({
    client,
    clock: systemClock,
    log: pino({ level: process.env.LOG ?? 'silent' }),
    signRequest: requestSigner(pki, systemClock),
  });
  t.teardown(() => controllers.stop());
  await controllers.ready;
}
