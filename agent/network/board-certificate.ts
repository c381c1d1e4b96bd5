/** Whom a certificate of the cluster's authority speaks for. Pure. */
import type { X509Certificate } from 'node:crypto';

/** The board's name (`O=system:nodes, CN=system:node:NAME`); undefined for the certificate of anybody else. */
export function boardOf({ subject }: Pick<X509Certificate, 'subject'>): string | undefined {
  const lines = subject.split('\n');
  if (!lines.includes('O=system:nodes')) return undefined;
  const names = lines.filter((line) => line.startsWith('CN='));
  return names.length === 1 ? /^CN=system:node:(.+)$/.exec(names[0] ?? '')?.[1] : undefined;
}
