/**
 * From Ingresses, services and their endpoints to what a request's host and path lead to. Pure.
 *
 * Kubernetes' rules: a host is a name or "*." and a name, which stands for one label more; a Prefix is compared element by
 * element; the longest path that fits counts, and of two as long the Exact one. Rules without a host are for all requests. What
 * fits no rule goes to the default backend of an Ingress that has this host, then to any. What Kubernetes leaves
 * open: of two Ingresses that say the same place the first by namespace and name has it, and the other one gets an event.
 */
import type { DesiredIngress, IngressBackend } from '../../protocol/ingress.ts';
import type { DesiredService } from '../../protocol/messages.ts';
import {
  affinityOf,
  backendsOf,
  type ListenerSpec,
  proxyProtocolOf,
  type ServiceProblem,
} from '../proxy/service-table.ts';

export interface RouteTarget extends Pick<ListenerSpec, 'backends' | 'affinity' | 'proxyProtocol'> {
  /** What is said while there is no backend. */
  readonly emptyReason: string;
}

interface Route {
  readonly path: string;
  readonly exact: boolean;
  readonly target: RouteTarget;
  readonly ingress: string;
}

/** Of one host. */
interface HostRoutes {
  /** In the order in which they are tried. */
  readonly routes: Route[];
  fallback: Route | undefined;
}

export interface RoutingTable {
  /** By host; "*.example.com"; "" for all. */
  readonly hosts: ReadonlyMap<string, HostRoutes>;
  readonly problems: readonly ServiceProblem[];
}

/** Services are looked for in `services`; `node` is this board. */
export function routingTable(
  ingresses: readonly DesiredIngress[],
  services: readonly DesiredService[],
  node: string,
): RoutingTable {
  const byName = new Map(services.map((one) => [`${one.namespace}/${one.name}`, one]));
  const hosts = new Map<string, HostRoutes>();
  const problems: ServiceProblem[] = [];
  const of = (host: string): HostRoutes => {
    const known = hosts.get(host) ?? { routes: [], fallback: undefined };
    hosts.set(host, known);
    return known;
  };
  for (const ingress of [...ingresses].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))) {
    const { namespace, name, rules, defaultBackend } = ingress;
    const route = (path: string, exact: boolean, backend: IngressBackend | undefined): Route => {
      const target = targetOf(namespace, backend, byName, node);
      return {
        path: exact ? path : path.replace(/\/+$/, ''),
        exact,
        target,
        ingress: nameOf(ingress),
      };
    };
    const conflict = (what: string, other: Route): void => {
      const message = `${what} is served by Ingress ${other.ingress} already: that one counts`;
      problems.push({
        service: { namespace, name, isIngress: true },
        reason: 'RouteConflict',
        message,
      });
    };
    for (const { host, paths } of rules) {
      for (const { path, type, backend } of paths) {
        const one = route(path, type === 'Exact', backend);
        const { routes } = of(host);
        const other = routes.find(({ path, exact }) => path === one.path && exact === one.exact);
        if (other === undefined) routes.push(one);
        else if (other.ingress !== one.ingress) conflict(`${type} ${host}${path}`, other);
      }
    }
    if (defaultBackend === undefined) continue;
    const fallback = route('', false, defaultBackend);
    for (const { host } of rules) of(host).fallback ??= fallback;
    const any = of('');
    if (any.fallback === undefined) any.fallback = fallback;
    else if (any.fallback !== fallback && rules.length === 0)
      conflict('the default backend', any.fallback);
  }
  for (const { routes } of hosts.values()) {
    routes.sort((a, b) => b.path.length - a.path.length || Number(b.exact) - Number(a.exact));
  }
  return { hosts, problems };
}

/** `host` in lower case, `path` in normal form. Undefined: no rule and no default backend. */
export function findRoute(
  { hosts }: RoutingTable,
  host: string,
  path: string,
): RouteTarget | undefined {
  const wildcard = host.replace(/^[^.]+/, '*');
  const candidates = [host, wildcard, ''].flatMap((name) => hosts.get(name) ?? []);
  for (const { routes } of candidates) {
    const route = routes.find((one) => fits(one, path));
    if (route !== undefined) return route.target;
  }
  return candidates.find(({ fallback }) => fallback !== undefined)?.fallback?.target;
}

function fits(route: Route, path: string): boolean {
  if (path === route.path) return true;
  return !route.exact && path.startsWith(`${route.path}/`);
}

function targetOf(
  namespace: string,
  backend: IngressBackend | undefined,
  services: ReadonlyMap<string, DesiredService>,
  node: string,
): RouteTarget {
  const nothing = { backends: [], affinity: undefined };
  if (backend === undefined) {
    return { ...nothing, emptyReason: 'the backend of this path is no Service' };
  }
  const name = `${namespace}/${backend.service}`;
  const service = services.get(name);
  if (service === undefined) return { ...nothing, emptyReason: `service ${name} is not there` };
  if (service.type === 'ExternalName') {
    return { ...nothing, emptyReason: `service ${name} is an ExternalName, which has no backends` };
  }
  const { port: wanted } = backend;
  const port = service.ports.find(({ name, port }) => name === wanted || port === wanted);
  if (port === undefined) {
    return { ...nothing, emptyReason: `service ${name} has no port ${wanted}` };
  }
  return {
    backends: backendsOf(service, port.name, false, node),
    affinity: affinityOf(service, port),
    ...proxyProtocolOf(service),
    emptyReason: `service ${name} has no pod that is ready`,
  };
}

function nameOf({ namespace, name }: DesiredIngress): string {
  return `${namespace}/${name}`;
}
