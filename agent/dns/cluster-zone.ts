/**
 * What the cluster's own names lead to: a question and the service table in, records out. Pure.
 *
 * Kubernetes' DNS specification 1.1.0 (github.com/kubernetes/dns): A, AAAA (the cluster is IPv4: no records), SRV, PTR and
 * TXT `dns-version`; services with a cluster IP, headless ones with their ready endpoints and host names, ExternalName
 * as an alias; pods by their dashed address. Names of the zone and addresses of the cluster are answered here for
 * good: they are never asked of anybody else.
 */
import type { BoardRoute, DesiredService, ServiceEndpoint } from '../../protocol/messages.ts';
import { cidrContains } from '../plan/pod-ip.ts';
import { CLASS_IN, type ResourceRecord, TYPE } from './message.ts';
import { isName, type Name, nameKey, nameOf } from './name.ts';

export type ZoneAnswer =
  /** The name exists; without records it has none of this type. */
  | {
      readonly type: 'records';
      readonly answers: readonly ResourceRecord[];
      readonly additionals: readonly ResourceRecord[];
    }
  /** Go on with the target. */
  | { readonly type: 'alias'; readonly record: ResourceRecord; readonly target: Name }
  | { readonly type: 'missing' };

export interface ClusterZoneOptions {
  /** "cluster.local" */
  readonly domain: string;
  /** The address of this DNS server. */
  readonly dnsIp: string;
  readonly serviceCidr: string;
  readonly services: readonly DesiredService[];
  readonly boards: readonly BoardRoute[];
}

/** Seconds that clients may keep an answer. Short, because endpoints come and go; CoreDNS' choice as well. */
export const ZONE_TTL = 5;
const SCHEMA_VERSION = '1.1.0';
/** SRV: all targets are as good as each other. */
const SRV_PRIORITY = 0;
const SRV_WEIGHT = 100;

const NOTHING: ZoneAnswer = { type: 'records', answers: [], additionals: [] };
const MISSING: ZoneAnswer = { type: 'missing' };

export class ClusterZone {
  readonly #options: ClusterZoneOptions;
  readonly #domain: Name;
  readonly #byName = new Map<string, DesiredService>();
  readonly #namespaces = new Set<string>();
  /** Names by address; made when the first one asks. */
  #pointers: ReadonlyMap<string, readonly Name[]> | undefined;

  constructor(options: ClusterZoneOptions) {
    this.#options = options;
    this.#domain = nameOf(options.domain);
    for (const service of options.services) {
      this.#byName.set(`${service.namespace}/${service.name}`, service);
      this.#namespaces.add(service.namespace);
    }
  }

  /** Undefined: not a name of the cluster, ask the board's resolvers. */
  answer(name: Name, type: number): ZoneAnswer | undefined {
    const lower = name.map((label) => label.toLowerCase());
    const inside = stripped(lower, this.#domain);
    if (inside !== undefined) return this.#inZone(name, inside, type);
    const ip = reverseIp(lower);
    return ip === undefined ? undefined : this.#reverse(name, ip, type);
  }

  /** Tells that a name or a type is not there, and for how long that may be kept (RFC 2308). */
  authority(): ResourceRecord {
    const numbers = Buffer.alloc(20);
    for (const [index, value] of [1, 7200, 1800, 86_400, ZONE_TTL].entries()) {
      numbers.writeUInt32BE(value, index * 4);
    }
    const data = [this.#server(), ['hostmaster', ...this.#domain], numbers];
    return { name: this.#domain, type: TYPE.SOA, class: CLASS_IN, ttl: ZONE_TTL, data };
  }

  #inZone(name: Name, labels: Name, type: number): ZoneAnswer {
    const [last] = labels.slice(-1);
    if (last === undefined) return this.#apex(name, type);
    if (last === 'svc') return this.#svc(name, labels.slice(0, -1), type);
    if (last === 'pod') return this.#pod(name, labels.slice(0, -1), type);
    if (labels.length === 1 && last === 'dns-version') {
      if (!wants(type, TYPE.TXT)) return NOTHING;
      const text = Buffer.from(`\0${SCHEMA_VERSION}`, 'latin1');
      text[0] = SCHEMA_VERSION.length;
      return records([record(name, TYPE.TXT, [text])]);
    }
    if (labels.join('.') === 'ns.dns') return addresses(name, [this.#options.dnsIp], type);
    return labels.length === 1 && last === 'dns' ? NOTHING : MISSING;
  }

  #apex(name: Name, type: number): ZoneAnswer {
    if (type === TYPE.SOA) return records([{ ...this.authority(), name }]);
    if (type !== TYPE.NS) return NOTHING;
    const glue = record(this.#server(), TYPE.A, [ipData(this.#options.dnsIp)]);
    return records([record(name, TYPE.NS, [this.#server()])], [glue]);
  }

  /** `labels` come before ".svc": [_port, _protocol | host name], service, namespace. */
  #svc(name: Name, labels: Name, type: number): ZoneAnswer {
    if (labels.length === 0) return NOTHING;
    const [namespace = '', serviceName] = [...labels].reverse();
    if (serviceName === undefined) return this.#namespaces.has(namespace) ? NOTHING : MISSING;
    const service = this.#byName.get(`${namespace}/${serviceName}`);
    if (service === undefined) return MISSING;
    const front = labels.slice(0, -2);
    if (service.type === 'ExternalName') return front.length > 0 ? MISSING : alias(name, service);
    if (front.length === 0) return this.#service(name, service, type);
    const [first = '', second] = front;
    if (front.length === 2 && first.startsWith('_') && second?.startsWith('_') === true) {
      return this.#port(service, { name, port: first.slice(1), protocol: second.slice(1), type });
    }
    // An empty name in between, so that "_tcp.web.default.svc" is no dead end (RFC 8020).
    const protocols = service.ports.map(({ protocol }) => `_${protocol.toLowerCase()}`);
    if (front.length === 1 && protocols.includes(first)) return NOTHING;
    if (front.length !== 1 || !isHeadless(service)) return MISSING;
    const found = readyEndpoints(service).filter((one) => hostLabel(one) === first);
    return found.length === 0 ? MISSING : addresses(name, found.map(ipOf), type);
  }

  #service(name: Name, service: DesiredService, type: number): ZoneAnswer {
    const headless = isHeadless(service);
    const ready = headless ? readyEndpoints(service) : [];
    // The specification's words: a headless service without ready endpoints is a name that is not there.
    if (headless && ready.length === 0) return MISSING;
    if (type === TYPE.SRV) {
      const named = service.ports.filter((port) => port.name !== '');
      return this.#srv(name, service, named);
    }
    return addresses(name, headless ? ready.map(ipOf) : [service.clusterIp], type);
  }

  #port(
    service: DesiredService,
    asked: { name: Name; port: string; protocol: string; type: number },
  ): ZoneAnswer {
    const ports = service.ports.filter(
      ({ name, protocol }) => name === asked.port && protocol.toLowerCase() === asked.protocol,
    );
    if (ports.length === 0) return MISSING;
    if (isHeadless(service) && readyEndpoints(service).length === 0) return MISSING;
    return wants(asked.type, TYPE.SRV) ? this.#srv(asked.name, service, ports) : NOTHING;
  }

  #srv(name: Name, service: DesiredService, ports: DesiredService['ports']): ZoneAnswer {
    const own = [service.name, service.namespace, 'svc', ...this.#domain];
    const answers: ResourceRecord[] = [];
    const glue = new Map<string, ResourceRecord>();
    const add = (port: number, target: Name, ip: string) => {
      answers.push(record(name, TYPE.SRV, [srvData(port), target]));
      glue.set(`${nameKey(target)} ${ip}`, record(target, TYPE.A, [ipData(ip)]));
    };
    for (const port of ports) {
      if (!isHeadless(service)) {
        add(port.port, own, service.clusterIp);
        continue;
      }
      for (const endpoint of readyEndpoints(service)) {
        const number = endpoint.ports[port.name];
        if (number !== undefined) add(number, [hostLabel(endpoint), ...own], endpoint.ip);
      }
    }
    return records(answers, [...glue.values()]);
  }

  /** "10-42-0-7.NAMESPACE.pod": the address itself, as long as it may be a pod's. */
  #pod(name: Name, labels: Name, type: number): ZoneAnswer {
    if (labels.length < 2) return NOTHING;
    const ip = labels.length === 2 ? (labels[0] ?? '').replaceAll('-', '.') : '';
    return this.#isPodIp(ip) ? addresses(name, [ip], type) : MISSING;
  }

  #reverse(name: Name, ip: string, type: number): ZoneAnswer | undefined {
    this.#pointers ??= this.#makePointers();
    const found = this.#pointers.get(ip) ?? [];
    if (found.length === 0) {
      // Others' addresses may be behind a headless service, too; but what is said of the rest is theirs to say.
      const isOurs = cidrContains(this.#options.serviceCidr, ip) || this.#isPodIp(ip);
      return isOurs ? MISSING : undefined;
    }
    if (!wants(type, TYPE.PTR)) return NOTHING;
    return records(found.map((target) => record(name, TYPE.PTR, [target])));
  }

  #makePointers(): Map<string, Name[]> {
    const pointers = new Map<string, Name[]>();
    const add = (ip: string, name: Name) => {
      const known = pointers.get(ip) ?? [];
      // An endpoint with two numbers of one port is there twice.
      if (!isName(name) || known.some((one) => nameKey(one) === nameKey(name))) return;
      pointers.set(ip, [...known, name]);
    };
    for (const service of this.#byName.values()) {
      const own = [service.name, service.namespace, 'svc', ...this.#domain];
      if (!isHeadless(service)) {
        if (service.clusterIp !== '') add(service.clusterIp, own);
        continue;
      }
      for (const endpoint of readyEndpoints(service)) {
        add(endpoint.ip, [hostLabel(endpoint), ...own]);
      }
    }
    return pointers;
  }

  #isPodIp(ip: string): boolean {
    return this.#options.boards.some(({ podCidr }) => cidrContains(podCidr, ip));
  }

  #server(): Name {
    return ['ns', 'dns', ...this.#domain];
  }
}

function isHeadless({ clusterIp }: DesiredService): boolean {
  return clusterIp === 'None';
}

function readyEndpoints({ endpoints }: DesiredService): ServiceEndpoint[] {
  return endpoints.filter(({ ready, terminating }) => ready && !terminating);
}

/** An endpoint without a host name is told from others by its address. */
function hostLabel({ hostname, ip }: ServiceEndpoint): string {
  return hostname?.toLowerCase() ?? ip.replaceAll('.', '-');
}

function ipOf({ ip }: ServiceEndpoint): string {
  return ip;
}

function alias(name: Name, { externalName = '' }: DesiredService): ZoneAnswer {
  const target = externalName.replace(/\.$/, '').split('.');
  if (!isName(target)) return MISSING;
  return { type: 'alias', record: record(name, TYPE.CNAME, [target]), target };
}

function addresses(name: Name, ips: readonly string[], type: number): ZoneAnswer {
  if (!wants(type, TYPE.A)) return NOTHING;
  return records([...new Set(ips)].map((ip) => record(name, TYPE.A, [ipData(ip)])));
}

/** ANY is answered with what there is. */
function wants(type: number, have: number): boolean {
  return type === have || type === TYPE.ANY;
}

function records(
  answers: readonly ResourceRecord[],
  additionals: readonly ResourceRecord[] = [],
): ZoneAnswer {
  return { type: 'records', answers, additionals };
}

function record(name: Name, type: number, data: ResourceRecord['data']): ResourceRecord {
  return { name, type, class: CLASS_IN, ttl: ZONE_TTL, data };
}

function ipData(ip: string): Uint8Array {
  return Uint8Array.from(ip.split('.').map(Number));
}

function srvData(port: number): Uint8Array {
  const data = Buffer.alloc(6);
  data.writeUInt16BE(SRV_PRIORITY, 0);
  data.writeUInt16BE(SRV_WEIGHT, 2);
  data.writeUInt16BE(port, 4);
  return data;
}

/** The labels before `domain`; undefined for a name outside of it. */
function stripped(name: Name, domain: Name): Name | undefined {
  const at = name.length - domain.length;
  if (at < 0 || domain.some((label, index) => name[at + index] !== label.toLowerCase())) {
    return undefined;
  }
  return name.slice(0, at);
}

/** The address of a name below in-addr.arpa. */
function reverseIp(name: Name): string | undefined {
  if (name.length !== 6 || name[5] !== 'arpa' || name[4] !== 'in-addr') return undefined;
  const parts = name.slice(0, 4).reverse();
  return parts.every((part) => /^\d{1,3}$/.test(part)) ? parts.join('.') : undefined;
}
