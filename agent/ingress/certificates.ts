/**
 * Which certificate a client gets, by the name that it asks for (SNI). A changed Secret counts for the next handshake;
 * connections that are open go on. A certificate is parsed once while its Secret stays the same.
 */
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { DesiredIngress } from '../../protocol/ingress.ts';
import type { ConfigLookup } from '../plan/environment.ts';
import { messageOf } from '../pods/pod-steps.ts';
import type { ServiceProblem } from '../proxy/service-table.ts';

type SecretData = NonNullable<ReturnType<ConfigLookup>>;

interface Certificate {
  readonly context: SecureContext;
  readonly options: SecureContextOptions;
}

export class Certificates {
  /** By Secret as it was read: another content is another object. */
  readonly #parsed = new WeakMap<SecretData, Certificate | Error>();
  #byHost = new Map<string, Certificate>();

  /** Follows Ingresses and Secrets; returns what is wrong with them. */
  update(ingresses: readonly DesiredIngress[], configs: ConfigLookup): ServiceProblem[] {
    const byHost = new Map<string, Certificate>();
    const problems: ServiceProblem[] = [];
    for (const { namespace, name, tls } of ingresses) {
      for (const { hosts, secret } of tls) {
        const found = this.#certificate(configs('secret', namespace, secret));
        if (found instanceof Error) {
          const what = hosts.length === 0 ? 'clients that name no host' : hosts.join(', ');
          const message = `TLS Secret ${secret} ${found.message}: no HTTPS for ${what}`;
          const service = { namespace, name, isIngress: true } as const;
          problems.push({ service, reason: 'InvalidCertificate', message });
          continue;
        }
        for (const host of hosts.length === 0 ? [DEFAULT] : hosts) {
          if (!byHost.has(host)) byHost.set(host, found);
        }
      }
    }
    this.#byHost = byHost;
    return problems;
  }

  /** Undefined: the default one, if there is any. */
  contextFor(serverName: string): SecureContext | undefined {
    const host = serverName.toLowerCase();
    const found = this.#byHost.get(host) ?? this.#byHost.get(host.replace(/^[^.]+/, '*'));
    return found?.context;
  }

  /** For clients that name no host, or one that nobody has; without it their handshake fails. */
  get default(): SecureContextOptions {
    return this.#byHost.get(DEFAULT)?.options ?? NO_CERTIFICATE;
  }

  #certificate(data: SecretData | undefined): Certificate | Error {
    if (data === undefined) return new Error('is not there');
    const known = this.#parsed.get(data);
    if (known !== undefined) return known;
    const made = parse(data);
    this.#parsed.set(data, made);
    return made;
  }
}

const DEFAULT = '';
const NO_CERTIFICATE: SecureContextOptions = {};

function parse(data: SecretData): Certificate | Error {
  const [cert, key] = [data['tls.crt'], data['tls.key']];
  if (cert === undefined || key === undefined) return new Error('holds no tls.crt and tls.key');
  const options = {
    cert: Buffer.from(cert),
    key: Buffer.from(key),
    minVersion: 'TLSv1.2',
  } as const;
  try {
    return { context: createSecureContext(options), options };
  } catch (error) {
    return new Error(`holds no usable certificate and key (${messageOf(error)})`);
  }
}
