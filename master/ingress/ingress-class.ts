/**
 * Who serves an Ingress: which are Pier's by their class, and which boards serve those. Pure.
 *
 * Kubernetes: an Ingress names an IngressClass, and the class its controller; the annotation is what came before the field. One
 * that names no class (made while there was no default class) is ours as long as ours is the default.
 */
import { INGRESS_CLASS, INGRESS_CONTROLLER, INGRESS_LABEL } from '../../protocol/ingress.ts';
import type { Ingress, IngressClass, Node } from '../../protocol/kinds/types.ts';

export const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';
export const DEFAULT_INGRESS_CLASS = 'ingressclass.kubernetes.io/is-default-class';

/** The class that a new cluster has. */
export const PIER_CLASS: IngressClass = {
  metadata: { name: INGRESS_CLASS, annotations: { [DEFAULT_INGRESS_CLASS]: 'true' } },
  spec: { controller: INGRESS_CONTROLLER },
};

/** Names of the classes that are ours; an empty name is among them when Ingresses without a class are. */
export function ownClasses(classes: readonly IngressClass[]): ReadonlySet<string> {
  const own = classes.filter(({ spec }) => spec?.controller === INGRESS_CONTROLLER);
  const names = new Set(own.map(({ metadata }) => metadata?.name ?? ''));
  if (own.some(({ metadata }) => metadata?.annotations?.[DEFAULT_INGRESS_CLASS] === 'true')) {
    names.add('');
  }
  return names;
}

export function isServed({ metadata, spec }: Ingress, own: ReadonlySet<string>): boolean {
  if (metadata?.deletionTimestamp !== undefined) return false;
  return own.has(spec?.ingressClassName ?? metadata?.annotations?.[CLASS_ANNOTATION] ?? '');
}

/** Those labelled "true"; while there is none, all that are not labelled "false". */
export function servingBoards(nodes: readonly Node[]): Node[] {
  const said = ({ metadata }: Node): string | undefined => metadata?.labels?.[INGRESS_LABEL];
  const chosen = nodes.filter((node) => said(node) === 'true');
  return chosen.length > 0 ? chosen : nodes.filter((node) => said(node) !== 'false');
}
