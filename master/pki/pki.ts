/**
 * The cluster's certificates on disk, and what is derived from them: kubeconfig and board credentials.
 *
 *   <dir>/ca.crt, ca.key                  the authority; lost, every board and user has to be given a new one
 *   <dir>/apiserver.crt, apiserver.key    for API and broker; made anew when the addresses have changed
 *   <dir>/admin.crt, admin.key            CN=pier-admin, O=system:masters
 *
 * Promises: all files 0600 in a directory of 0700; the first start is atomic (everything is made in a
 * temporary directory that is renamed into place); a lost or damaged leaf is made anew, and said so in
 * `notes`; a lost authority is never replaced silently.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import type { Clock } from '../../protocol/clock.ts';
import {
  type BoardCredentials,
  MASTER_SERVER_NAME,
  MESSAGE_VERSION,
} from '../../protocol/messages.ts';
import { type SigningOrder, signClientCertificate } from './certificate-requests.ts';
import {
  type Identity,
  issueLeaf,
  type LeafRequest,
  makeAuthority,
  type RandomBytes,
} from './certificates.ts';
import {
  createPrivateFile,
  ensurePrivateDirectory,
  narrowMode,
  syncDirectory,
  writePrivateFile,
} from './private-file.ts';

export interface PkiOptions {
  /** Further names under which the API server is called, such as the board's hostname. */
  readonly hostnames: readonly string[];
  /** The board's IP addresses. */
  readonly addresses: readonly string[];
  readonly random?: RandomBytes;
}

export interface Pki {
  readonly dir: string;
  readonly caCertificate: string;
  /** For API server and broker. */
  readonly server: Identity;
  readonly admin: Identity;
  /** What had to be repaired or made anew, as sentences for the log. */
  readonly notes: readonly string[];
  readonly random: RandomBytes;
}

/** The PKI directory cannot be used; `message` says which file and what to do. */
export class PkiError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PkiError';
  }
}

const AUTHORITY_NAME = 'pier-ca';
const FIXED_NAMES = [
  MASTER_SERVER_NAME,
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
];
const FIXED_ADDRESSES = ['127.0.0.1', '::1', '10.43.0.1'];
const DNS_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const ADMIN: LeafRequest = {
  commonName: 'pier-admin',
  organizations: ['system:masters'],
  usage: 'client',
};

/** Reads the PKI of `dir`, or makes it on the first start. Throws PkiError. */
export async function ensurePki(dir: string, options: PkiOptions): Promise<Pki> {
  const random = options.random ?? randomBytes;
  const serverRequest = serverRequestFor(options);
  const [certificate, privateKey] = await Promise.all([
    readIfPresent(join(dir, 'ca.crt')),
    readIfPresent(join(dir, 'ca.key')),
  ]);
  if (certificate === undefined && privateKey === undefined) {
    await refuseLeavesWithoutAuthority(dir);
    await makePki(dir, serverRequest, random);
    return ensurePki(dir, options);
  }
  const authority = checkAuthority(dir, certificate, privateKey);
  const notes: string[] = [];
  await ensurePrivateDirectory(dir);
  for (const name of ['ca.key', 'ca.crt']) {
    if (await narrowMode(join(dir, name))) {
      notes.push(`${join(dir, name)} could be read by others; its mode is 0600 now`);
    }
  }
  const leaf = (name: string, request: LeafRequest): Promise<Identity> =>
    ensureLeaf({ dir, name, request, authority, random, notes });
  return {
    dir,
    caCertificate: authority.certificate,
    server: await leaf('apiserver', serverRequest),
    admin: await leaf('admin', ADMIN),
    notes,
    random,
  };
}

/** A client certificate for a board: CN=system:node:NAME, O=system:nodes. Kept nowhere by us. */
export async function issueNodeCertificate(pki: Pki, nodeName: string): Promise<Identity> {
  if (!DNS_NAME.test(nodeName) || nodeName.length > 253) {
    throw new PkiError(
      `"${nodeName}" is no node name: lower case letters, digits, "-" and "." are allowed, at most 253`,
    );
  }
  return issueClientCertificate(pki, `system:node:${nodeName}`, ['system:nodes']);
}

/** A client certificate for any user; `organizations` are the groups. */
export async function issueClientCertificate(
  pki: Pki,
  commonName: string,
  organizations: readonly string[],
): Promise<Identity> {
  const request = { commonName, organizations, usage: 'client' } as const;
  return issueLeaf(await readAuthority(pki), request, { random: pki.random });
}

/** Signs what others ask for, for the API's clients, with the master's own authority. */
export function requestSigner(pki: Pki, clock: Clock): (order: SigningOrder) => Promise<string> {
  return async (order) =>
    signClientCertificate(await readAuthority(pki), order, clock.wallMs(), pki.random);
}

/** The authority with its key, read each time: no key stays in memory for longer than it is needed. */
async function readAuthority({ dir, caCertificate }: Pki): Promise<Identity> {
  return checkAuthority(dir, caCertificate, await readIfPresent(join(dir, 'ca.key')));
}

/** Writes a kubeconfig (0600) for `identity`. `server`: https://host:port of the API. */
export async function writeKubeconfig(
  path: string,
  options: { readonly pki: Pki; readonly server: string; readonly identity?: Identity },
): Promise<void> {
  const identity = options.identity ?? options.pki.admin;
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const user = nameOf(identity.certificate);
  // YAML by hand: seven values, each either base64 or quoted as JSON, which YAML reads alike.
  const text = `apiVersion: v1
kind: Config
current-context: pier
clusters:
- name: pier
  cluster:
    server: ${JSON.stringify(options.server)}
    tls-server-name: ${MASTER_SERVER_NAME}
    certificate-authority-data: ${base64(options.pki.caCertificate)}
users:
- name: ${JSON.stringify(user)}
  user:
    client-certificate-data: ${base64(identity.certificate)}
    client-key-data: ${base64(identity.privateKey)}
contexts:
- name: pier
  context:
    cluster: pier
    user: ${JSON.stringify(user)}
`;
  await ensureParent(path);
  await writePrivateFile(path, text);
}

/** Issues a certificate for the board and writes all it needs to join, as JSON (0600). */
export async function writeBoardCredentials(
  path: string,
  options: {
    readonly pki: Pki;
    readonly clusterId: string;
    readonly node: string;
    /** https://host:port */
    readonly apiServer: string;
    /** mqtts://host:port */
    readonly broker: string;
  },
): Promise<BoardCredentials> {
  const { pki, clusterId, node, apiServer, broker } = options;
  const identity = await issueNodeCertificate(pki, node);
  const credentials: BoardCredentials = {
    v: MESSAGE_VERSION,
    clusterId,
    node,
    apiServer,
    broker,
    caCertificate: pki.caCertificate,
    certificate: identity.certificate,
    privateKey: identity.privateKey,
  };
  await ensureParent(path);
  await writePrivateFile(path, `${JSON.stringify(credentials, undefined, 2)}\n`);
  return credentials;
}

function serverRequestFor(options: PkiOptions): LeafRequest {
  const hostnames = options.hostnames.map((name) => name.toLowerCase());
  return {
    commonName: MASTER_SERVER_NAME,
    organizations: [],
    usage: 'server',
    // A hostname with an underscore is no DNS name: nobody can ask for it over TLS anyway.
    dnsNames: [...new Set([...FIXED_NAMES, ...hostnames.filter((name) => DNS_NAME.test(name))])],
    // A zone ("fe80::1%eth0") has no place in a certificate.
    addresses: [...new Set([...FIXED_ADDRESSES, ...options.addresses])].filter(
      (address) => isIP(address) !== 0 && !address.includes('%'),
    ),
  };
}

async function makePki(dir: string, server: LeafRequest, random: RandomBytes): Promise<void> {
  const temporary = `${dir}.new`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(dirname(dir), { recursive: true });
  await ensurePrivateDirectory(temporary);
  const authority = await makeAuthority(AUTHORITY_NAME, random);
  const identities: [string, Identity][] = [
    ['ca', authority],
    ['apiserver', await issueLeaf(authority, server, { random })],
    ['admin', await issueLeaf(authority, ADMIN, { random })],
  ];
  for (const [name, identity] of identities) {
    await createPrivateFile(join(temporary, `${name}.key`), identity.privateKey);
    await createPrivateFile(join(temporary, `${name}.crt`), identity.certificate);
  }
  await syncDirectory(temporary);
  await rename(temporary, dir);
  await syncDirectory(dirname(dir));
}

function checkAuthority(
  dir: string,
  certificate: string | undefined,
  privateKey: string | undefined,
): Identity {
  if (certificate === undefined || privateKey === undefined) {
    const missing = certificate === undefined ? 'ca.crt' : 'ca.key';
    const present = certificate === undefined ? 'ca.key' : 'ca.crt';
    throw new PkiError(
      `${join(dir, missing)} is missing, but ${present} is there: restore ${missing} from a backup, or ` +
        `move ${dir} away to start with a new authority (every board and user must then join again)`,
    );
  }
  try {
    return checkPair({ certificate, privateKey });
  } catch (cause) {
    throw new PkiError(
      `${join(dir, 'ca.crt')} and ca.key do not belong together or are damaged ` +
        `(${cause instanceof Error ? cause.message : String(cause)}): restore both from a backup`,
      { cause },
    );
  }
}

/** Certificates without their authority are worthless, but they say that there was one. */
async function refuseLeavesWithoutAuthority(dir: string): Promise<void> {
  for (const name of ['apiserver.crt', 'apiserver.key', 'admin.crt', 'admin.key']) {
    if ((await readIfPresent(join(dir, name))) !== undefined) {
      throw new PkiError(
        `${dir} holds ${name}, but ca.crt and ca.key are missing: restore them from a backup, or ` +
          `move ${dir} away to start with a new authority (every board and user must then join again)`,
      );
    }
  }
}

async function ensureLeaf(options: {
  readonly dir: string;
  readonly name: string;
  readonly request: LeafRequest;
  readonly authority: Identity;
  readonly random: RandomBytes;
  readonly notes: string[];
}): Promise<Identity> {
  const { dir, name, request, authority, random, notes } = options;
  const paths = { certificate: join(dir, `${name}.crt`), privateKey: join(dir, `${name}.key`) };
  const [certificate, privateKey] = await Promise.all([
    readIfPresent(paths.certificate),
    readIfPresent(paths.privateKey),
  ]);
  if (privateKey !== undefined && (await narrowMode(paths.privateKey))) {
    notes.push(`${paths.privateKey} could be read by others; its mode is 0600 now`);
  }
  const fault = leafFault(certificate, privateKey, authority, request);
  if (fault === undefined && certificate !== undefined && privateKey !== undefined) {
    return { certificate, privateKey };
  }
  notes.push(`${paths.certificate} was made anew: ${fault}`);
  // The key is kept where it is usable, and written first: whatever moment the power goes, the next
  // start finds a pair or repairs it.
  const usableKey = privateKey !== undefined && isKey(privateKey) ? privateKey : undefined;
  const identity = await issueLeaf(authority, request, {
    random,
    ...(usableKey === undefined ? {} : { privateKey: usableKey }),
  });
  if (usableKey === undefined) await writePrivateFile(paths.privateKey, identity.privateKey);
  await writePrivateFile(paths.certificate, identity.certificate);
  return identity;
}

/** Why the leaf cannot be used, or undefined when it can. */
function leafFault(
  certificate: string | undefined,
  privateKey: string | undefined,
  authority: Identity,
  request: LeafRequest,
): string | undefined {
  if (certificate === undefined) return 'it was missing';
  if (privateKey === undefined) return 'its key was missing';
  try {
    checkPair({ certificate, privateKey });
    const leaf = new X509Certificate(certificate);
    if (!leaf.verify(new X509Certificate(authority.certificate).publicKey)) {
      return 'it was signed by another authority';
    }
    const names = request.dnsNames?.filter((name) => leaf.checkHost(name) === undefined) ?? [];
    const addresses = request.addresses?.filter((ip) => leaf.checkIP(ip) === undefined) ?? [];
    const absent = [...names, ...addresses];
    return absent.length === 0 ? undefined : `it did not cover ${absent.join(', ')}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function checkPair(identity: Identity): Identity {
  const certificate = new X509Certificate(identity.certificate);
  if (!certificate.checkPrivateKey(createPrivateKey(identity.privateKey)))
    throw new Error('the key is not the one it was made for');
  return identity;
}

function isKey(pem: string): boolean {
  try {
    return createPrivateKey(pem).asymmetricKeyType === 'ec';
  } catch {
    // Damaged: the caller makes a new one and says so.
    return false;
  }
}

function nameOf(certificate: string): string {
  const subject = new X509Certificate(certificate).subject;
  return /^CN=(.*)$/m.exec(subject)?.[1] ?? 'user';
}

async function ensureParent(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
