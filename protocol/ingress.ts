/**
 * Ingress as boards are told of it (networking.k8s.io/v1, boiled down to what routing needs), and the names by which people
 * say who serves it. Only boards that serve Ingresses get them, and with them the TLS Secrets that they name.
 */
import { type Static, Type } from 'typebox';
import { Digest, Name, Port, Version } from './messages.ts';

/** Name of the IngressClass that every cluster begins with, and of the controller that we are. */
export const INGRESS_CLASS = 'pier';
export const INGRESS_CONTROLLER = 'pier.local/ingress';
/** On a Node: "true" or "false". While no board says "true", all serve that do not say "false". */
export const INGRESS_LABEL = 'pier.local/ingress';

const IngressBackend = Type.Object({
  /** In the namespace of the Ingress. */
  service: Name,
  /** Number or name of the service's port. */
  port: Type.Union([Port, Type.String()]),
});
export type IngressBackend = Static<typeof IngressBackend>;

const IngressPath = Type.Object({
  path: Type.String(),
  type: Type.Union([Type.Literal('Exact'), Type.Literal('Prefix')]),
  /** Absent for one that is no service. */
  backend: Type.Optional(IngressBackend),
});

export const DesiredIngress = Type.Object({
  v: Version,
  namespace: Name,
  name: Name,
  digest: Digest,
  defaultBackend: Type.Optional(IngressBackend),
  rules: Type.Array(
    Type.Object({
      /** Empty: any. "*.example.com": one label more. */
      host: Type.String(),
      paths: Type.Array(IngressPath),
    }),
  ),
  /** Without hosts: for clients that name none, or an unknown one. */
  tls: Type.Array(Type.Object({ hosts: Type.Array(Type.String()), secret: Name })),
});
export type DesiredIngress = Static<typeof DesiredIngress>;
