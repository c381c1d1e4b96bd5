/** Ingress: which HTTP host and path leads to which Service. Boards route by it (agent/ingress/). */
import type {
  HTTPIngressPath,
  Ingress,
  IngressBackend,
  IngressRule,
} from '../../../protocol/kinds/types.ts';
import { dns1035LabelErrors, dnsSubdomainErrors } from '../../../protocol/names.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, NONE, nameCell, text } from './columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { eachReason, invalidValue, notSupported, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { portNameReasons, portNumberReasons } from './validate/names.ts';

const PATH_TYPES = ['Exact', 'ImplementationSpecific', 'Prefix'];
const HOSTS_SHOWN_MAX = 3;

export const INGRESS: KindModule<Ingress> = {
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'Ingress',
  plural: 'ingresses',
  singular: 'ingress',
  shortNames: ['ing'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.networking.v1.Ingress',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: true,
  setDefaults() {
    // None: what is not said is an error (pathType) or the controller's to choose.
  },
  prepareForCreate: (ingress) => dropStatus(ingress, { loadBalancer: {} }),
  prepareForUpdate: keepStatus,
  validate(ingress) {
    const { rules = [], tls = [], defaultBackend, ingressClassName } = ingress.spec ?? {};
    const errors = validateObjectMeta(ingress.metadata);
    if (rules.length === 0 && defaultBackend === undefined) {
      const why = 'either `defaultBackend` or `rules` must be specified';
      errors.push(invalidValue('spec', [], why));
    }
    if (ingressClassName !== undefined) {
      const reasons = dnsSubdomainErrors(ingressClassName);
      errors.push(...eachReason('spec.ingressClassName', ingressClassName, reasons));
    }
    if (defaultBackend !== undefined) {
      errors.push(...validateBackend('spec.defaultBackend', defaultBackend));
    }
    for (const [index, { hosts = [] }] of tls.entries()) {
      for (const [at, host] of hosts.entries()) {
        errors.push(...validateHost(`spec.tls[${index}].hosts[${at}]`, host));
      }
    }
    return [...errors, ...rules.flatMap((rule, i) => validateRule(`spec.rules[${i}]`, rule))];
  },
  warnings: ({ spec }) => [
    ...resourceWarnings('spec.defaultBackend', spec?.defaultBackend),
    ...(spec?.rules ?? []).flatMap(({ http }, rule) =>
      (http?.paths ?? []).flatMap(({ backend }, path) =>
        resourceWarnings(`spec.rules[${rule}].http.paths[${path}].backend`, backend),
      ),
    ),
    ...(spec?.tls ?? []).flatMap(({ secretName = '' }, index) =>
      secretName === ''
        ? [`spec.tls[${index}].secretName: without it there is no certificate, so no HTTPS`]
        : [],
    ),
  ],
  columns: [
    NAME,
    text('Class', 'Class of the controller that is to serve it.'),
    text('Hosts', 'Hosts that it has rules for.'),
    text('Address', 'Where it is served.'),
    text('Ports', 'Ports on which it is served.'),
    AGE,
  ],
  row(ingress, nowMs) {
    const { spec, status } = ingress;
    const addresses = (status?.loadBalancer?.ingress ?? []).map((one) => one.ip || one.hostname);
    return [
      nameCell(ingress),
      spec?.ingressClassName ?? NONE,
      hostsCell(spec?.rules ?? []),
      addresses.join(','),
      (spec?.tls ?? []).length > 0 ? '80, 443' : '80',
      ageCell(ingress, nowMs),
    ];
  },
};

function resourceWarnings(path: string, backend: IngressBackend | undefined): string[] {
  if (backend?.resource === undefined) return [];
  return [`${path}.resource: stored, but Pier leads to Services only: such requests get a 503`];
}

function hostsCell(rules: readonly IngressRule[]): string {
  const hosts = rules.map((rule) => rule.host ?? '').filter((host) => host !== '');
  if (hosts.length === 0) return '*';
  const shown = hosts.slice(0, HOSTS_SHOWN_MAX).join(',');
  const more = hosts.length - HOSTS_SHOWN_MAX;
  return more > 0 ? `${shown} + ${more} more...` : shown;
}

function validateHost(path: string, host: string): FieldError[] {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(host)) {
    return [invalidValue(path, host, 'must be a DNS name, not an IP address')];
  }
  const plain = host.startsWith('*.') ? host.slice(2) : host;
  return eachReason(path, host, dnsSubdomainErrors(plain));
}

function validateRule(path: string, { host = '', http }: IngressRule): FieldError[] {
  const errors = host === '' ? [] : validateHost(`${path}.host`, host);
  if (http === undefined) return errors;
  if (http.paths.length === 0) errors.push(required(`${path}.http.paths`));
  return [
    ...errors,
    ...http.paths.flatMap((one, i) => validatePath(`${path}.http.paths[${i}]`, one)),
  ];
}

function validatePath(path: string, one: HTTPIngressPath): FieldError[] {
  const { path: route = '', pathType = '' } = one;
  const errors: FieldError[] = [];
  if (pathType === '') {
    errors.push(required(`${path}.pathType`, 'pathType must be specified'));
  } else if (!PATH_TYPES.includes(pathType)) {
    errors.push(notSupported(`${path}.pathType`, pathType, PATH_TYPES));
  } else if (
    pathType === 'ImplementationSpecific' ? route !== '' && route[0] !== '/' : route[0] !== '/'
  ) {
    errors.push(invalidValue(`${path}.path`, route, 'must be an absolute path'));
  } else if (pathType !== 'ImplementationSpecific') {
    for (const part of ['//', '/./', '/../', '%2f', '%2F']) {
      if (route.includes(part)) {
        errors.push(invalidValue(`${path}.path`, route, `must not contain '${part}'`));
      }
    }
    for (const end of ['/..', '/.']) {
      if (route.endsWith(end)) {
        errors.push(invalidValue(`${path}.path`, route, `cannot end with '${end}'`));
      }
    }
  }
  return [...errors, ...validateBackend(`${path}.backend`, one.backend)];
}

function validateBackend(path: string, { service, resource }: IngressBackend): FieldError[] {
  if (service !== undefined && resource !== undefined) {
    return [invalidValue(path, '', 'cannot set both resource and service backends')];
  }
  if (resource !== undefined) return [];
  if (service === undefined) {
    return [required(path, 'resource or service backend is required')];
  }
  if (service.name === '') return [required(`${path}.service.name`)];
  const errors = eachReason(`${path}.service.name`, service.name, dns1035LabelErrors(service.name));
  const { name = '', number = 0 } = service.port ?? {};
  const at = `${path}.service.port`;
  if (name !== '' && number !== 0) {
    errors.push(invalidValue(path, '', 'cannot set both port name & port number'));
  } else if (name !== '') {
    errors.push(...eachReason(`${at}.name`, name, portNameReasons(name)));
  } else if (number !== 0) {
    errors.push(...eachReason(`${at}.number`, number, portNumberReasons(number)));
  } else {
    errors.push(required(path, 'port name or number is required'));
  }
  return errors;
}
