/**
 * From Ingresses and services to the names that this board answers for on the LAN, and with which addresses. Pure.
 *
 * Hosts of Ingresses under ".local" lead to the boards that serve them, so each of those answers with its own address; so it is for
 * a LoadBalancer service that boards listen for on their own addresses. One that has an address of the pool, or of another
 * load balancer, is answered by every board with what its status says.
 */
import type { DesiredIngress } from '../../../protocol/ingress.ts';
import { type DesiredService, MDNS_ANNOTATION } from '../../../protocol/messages.ts';
import {
  backendsOf,
  kindOf,
  type ServiceProblem,
  type ServiceRef,
} from '../../proxy/service-table.ts';
import { isName, type Name } from '../name.ts';

export interface LanName {
  /** In lower case, without a final dot: "app.local". */
  readonly text: string;
  readonly name: Name;
  /** IPv4; never empty. */
  readonly addresses: readonly string[];
  /** The address is this board's own: it goes with the board. */
  readonly isOwn: boolean;
  /** Who is told of a conflict. */
  readonly owners: readonly ServiceRef[];
}

export interface LanNamesFacts {
  readonly services: readonly DesiredService[];
  readonly ingresses: readonly DesiredIngress[];
  readonly node: string;
  /** Of this board on the LAN. */
  readonly address: string;
  readonly clusterDomain: string;
}

const LOCAL = '.local';
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const QUOTED_CHARS_MAX = 80;

export function lanNames(facts: LanNamesFacts): {
  readonly names: readonly LanName[];
  readonly problems: readonly ServiceProblem[];
} {
  const names = new Map<string, LanName>();
  const problems: ServiceProblem[] = [];
  const add = (text: string, owner: ServiceRef, addresses: readonly string[] | undefined): void => {
    const of = addresses ?? [facts.address];
    const known = names.get(text);
    const isOwn = addresses === undefined;
    if (known === undefined) {
      names.set(text, { text, name: text.split('.'), addresses: of, isOwn, owners: [owner] });
    } else if (known.addresses.join() === of.join()) {
      names.set(text, { ...known, owners: [...known.owners, owner] });
    } else {
      problems.push(taken(text, owner, known));
    }
  };
  for (const ingress of sorted(facts.ingresses)) {
    const owner = { namespace: ingress.namespace, name: ingress.name, isIngress: true as const };
    for (const host of new Set(ingress.rules.map((rule) => rule.host.toLowerCase()))) {
      if (!host.endsWith(LOCAL)) continue;
      const wrong = whyNot(host, facts.clusterDomain);
      if (wrong === undefined) add(host, owner, undefined);
      else problems.push({ service: owner, reason: 'InvalidName', message: wrong });
    }
  }
  for (const service of sorted(facts.services)) {
    const named = nameOfService(service, facts.clusterDomain);
    const owner = { namespace: service.namespace, name: service.name };
    if ('wrong' in named) {
      problems.push({ service: owner, reason: 'InvalidAnnotation', message: named.wrong });
    } else if (named.text !== undefined) {
      const addresses = addressesOf(service, facts.node);
      if (addresses?.length !== 0) add(named.text, owner, addresses);
    }
  }
  return { names: [...names.values()], problems };
}

/** Undefined: this board's own address. Empty: not to be announced by this board. */
function addressesOf(service: DesiredService, node: string): readonly string[] | undefined {
  const { mdns, loadBalancer } = service;
  if (loadBalancer === undefined) return mdns?.addresses ?? [];
  if (loadBalancer.address !== undefined) return [loadBalancer.address];
  // The others would refuse: the status does not show them either.
  const serves =
    !service.externalTrafficLocal ||
    service.ports.some((port) => backendsOf(service, port.name, true, node).length > 0);
  return serves ? undefined : [];
}

function nameOfService(
  { namespace, name, type, mdns }: DesiredService,
  clusterDomain: string,
): { readonly text: string | undefined } | { readonly wrong: string } {
  const value = mdns?.name.trim().toLowerCase().replace(/\.$/, '');
  if (value === undefined || value === 'false') return { text: undefined };
  const text =
    value !== 'true' ? value : `${namespace === 'default' ? name : `${name}-${namespace}`}${LOCAL}`;
  const what = `annotation ${MDNS_ANNOTATION}: `;
  if (type !== 'LoadBalancer') {
    return { wrong: `${what}only services of type LoadBalancer are announced, this is ${type}` };
  }
  const wrong = whyNot(text, clusterDomain);
  return wrong === undefined ? { text } : { wrong: what + wrong };
}

/** Why nobody could ask for the name by mDNS (RFC 6762, section 3; labels of RFC 1123, which browsers take). */
function whyNot(text: string, clusterDomain: string): string | undefined {
  const quoted = JSON.stringify(text.slice(0, QUOTED_CHARS_MAX));
  const labels = text.split('.');
  if (text.startsWith('*.')) {
    return `${quoted} is not announced, because mDNS has no wildcards: name each host in a rule of its own`;
  }
  if (text === clusterDomain || text.endsWith(`.${clusterDomain}`)) {
    return `${quoted} is not announced, because ${clusterDomain} is the cluster's own domain: choose another name`;
  }
  const fits = labels.length > 1 && text.endsWith(LOCAL) && isName(labels);
  if (fits && labels.every((label) => LABEL.test(label))) return undefined;
  return (
    `${quoted} is not announced, because it is no name for mDNS: it may be "true" (on a service) or NAME.local, ` +
    'of at most 63 letters, digits and "-" between two dots'
  );
}

function taken(text: string, owner: ServiceRef, { owners }: LanName): ServiceProblem {
  const [holder = owner] = owners;
  const who = `${kindOf(holder).toLowerCase()} ${holder.namespace}/${holder.name}`;
  const message = `${text} is announced for ${who} already, with another address: choose another name`;
  return { service: owner, reason: 'NameConflict', message };
}

function sorted<T extends ServiceRef>(list: readonly T[]): T[] {
  const key = ({ namespace, name }: ServiceRef) => `${namespace}/${name}`;
  return [...list].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
