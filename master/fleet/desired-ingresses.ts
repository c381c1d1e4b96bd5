/**
 * Which Ingresses a board serves, as it is told of them. Follows Ingresses, their classes and the boards' labels, and says when
 * what boards are told may have changed; the conversion itself is pure.
 */
import type { DesiredIngress, IngressBackend } from '../../protocol/ingress.ts';
import type {
  Ingress,
  IngressClass,
  IngressBackend as KubeBackend,
  Node,
  Secret,
} from '../../protocol/kinds/types.ts';
import { MESSAGE_VERSION } from '../../protocol/messages.ts';
import type { Informer } from '../informer/informer.ts';
import { isServed, ownClasses, servingBoards } from '../ingress/ingress-class.ts';
import type { Digest } from './desired-pods.ts';

interface IngressSources {
  readonly ingresses: Informer<Ingress>;
  readonly ingressClasses: Informer<IngressClass>;
  readonly nodes: Informer<Node>;
  readonly secrets: Informer<Secret>;
}

export class DesiredIngresses {
  readonly #sources: IngressSources;
  readonly #digest: Digest;
  #ingresses: readonly DesiredIngress[] | undefined;
  #boards: ReadonlySet<string> = new Set();

  constructor(sources: IngressSources, digest: Digest) {
    this.#sources = sources;
    this.#digest = digest;
  }

  /** Undefined when the board serves none. */
  of(node: string): readonly DesiredIngress[] | undefined {
    return this.#boards.has(node) ? this.#served() : undefined;
  }

  /** Calls back with the boards whose part may have changed. Returns what ends it. */
  watch(changed: (node: string) => void): (() => void)[] {
    const { ingresses, ingressClasses, nodes, secrets } = this.#sources;
    const serving = () =>
      new Set(servingBoards(nodes.list()).map(({ metadata }) => metadata?.name ?? ''));
    this.#boards = serving();
    const all = () => {
      this.#ingresses = undefined;
      for (const node of this.#boards) changed(node);
    };
    return [
      ingresses.onChange(all),
      ingressClasses.onChange(all),
      nodes.onChange(() => {
        const before = this.#boards;
        this.#boards = serving();
        for (const node of this.#boards) if (!before.has(node)) changed(node);
        for (const node of before) if (!this.#boards.has(node)) changed(node);
      }),
      secrets.onChange(({ object: { metadata } }) => {
        const isNamed = ({ namespace, tls }: DesiredIngress): boolean =>
          namespace === metadata?.namespace && tls.some((one) => one.secret === metadata.name);
        if (this.#served().some(isNamed)) for (const node of this.#boards) changed(node);
      }),
    ];
  }

  #served(): readonly DesiredIngress[] {
    const { ingresses, ingressClasses } = this.#sources;
    if (this.#ingresses === undefined) {
      const own = ownClasses(ingressClasses.list());
      const served = ingresses.list().filter((ingress) => isServed(ingress, own));
      this.#ingresses = served
        .map((ingress) => desiredIngress(ingress, this.#digest))
        .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    }
    return this.#ingresses;
  }
}

/** Kubernetes leaves ImplementationSpecific to us: it is matched as Prefix is. */
export function desiredIngress({ metadata, spec = {} }: Ingress, digest: Digest): DesiredIngress {
  const { defaultBackend, rules = [], tls = [] } = spec;
  const content = {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    ...backendOf('defaultBackend', defaultBackend),
    rules: rules.map(({ host = '', http }) => ({
      host: host.toLowerCase(),
      paths: (http?.paths ?? []).map(({ path = '', pathType, backend }) => ({
        path: path === '' ? '/' : path,
        type: pathType === 'Exact' ? ('Exact' as const) : ('Prefix' as const),
        ...backendOf('backend', backend),
      })),
    })),
    tls: tls.flatMap(({ hosts = [], secretName = '' }) =>
      secretName === ''
        ? []
        : [{ hosts: hosts.map((host) => host.toLowerCase()), secret: secretName }],
    ),
  };
  return { v: MESSAGE_VERSION, ...content, digest: digest(content) };
}

function backendOf<K extends string>(
  key: K,
  backend: KubeBackend | undefined,
): Partial<Record<K, IngressBackend>> {
  const service = backend?.service;
  if (service === undefined) return {};
  const { name = '', number = 0 } = service.port ?? {};
  const told: IngressBackend = { service: service.name, port: name === '' ? number : name };
  return { [key]: told } as Partial<Record<K, IngressBackend>>;
}

function nameOf({ namespace, name }: DesiredIngress): string {
  return `${namespace}/${name}`;
}
