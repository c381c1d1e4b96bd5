/** NetworkPolicy: who may talk to whom. Stored; nothing enforces it yet, and it says so every time. */
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import type {
  IPBlock,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from '../../../protocol/kinds/types.ts';
import { validateLabelSelector } from '../../../protocol/selector.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, selectorCell, text } from './columns.ts';
import { forbidden, invalidValue, notSupported, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { PROTOCOLS, validatePortOrName } from './validate/ports.ts';

export const NETWORK_POLICY: KindModule<NetworkPolicy> = {
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'NetworkPolicy',
  plural: 'networkpolicies',
  singular: 'networkpolicy',
  shortNames: ['netpol'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.networking.v1.NetworkPolicy',
  storage: 'durable',
  subresources: {},
  hasGeneration: true,
  setDefaults(policy) {
    policy.spec ??= {};
    const { spec } = policy;
    spec.podSelector ??= {};
    if ((spec.policyTypes ?? []).length === 0) {
      spec.policyTypes = (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
    }
    for (const { ports = [] } of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
      for (const port of ports) port.protocol ||= 'TCP';
    }
  },
  validate(policy) {
    const { podSelector = {}, ingress = [], egress = [], policyTypes = [] } = policy.spec ?? {};
    const errors = [
      ...validateObjectMeta(policy.metadata),
      ...validateLabelSelector(podSelector, 'spec.podSelector'),
    ];
    for (const [index, { ports = [], from = [] }] of ingress.entries()) {
      errors.push(...validateRule(`spec.ingress[${index}]`, ports, { from }));
    }
    for (const [index, { ports = [], to = [] }] of egress.entries()) {
      errors.push(...validateRule(`spec.egress[${index}]`, ports, { to }));
    }
    for (const [index, type] of policyTypes.entries()) {
      if (type === 'Ingress' || type === 'Egress') continue;
      errors.push(notSupported(`spec.policyTypes[${index}]`, type, ['Egress', 'Ingress']));
    }
    return errors;
  },
  warnings: () => ['spec: stored, but this version of Pier does not enforce network policies yet'],
  columns: [NAME, text('Pod-Selector', 'Which pods it is about.'), AGE],
  row: (policy, nowMs) => [
    nameCell(policy),
    selectorCell(policy.spec?.podSelector),
    ageCell(policy, nowMs),
  ],
};

function validateRule(
  path: string,
  ports: readonly NetworkPolicyPort[],
  peers: Readonly<Record<string, readonly NetworkPolicyPeer[]>>,
): FieldError[] {
  const errors = ports.flatMap((port, i) => validatePort(`${path}.ports[${i}]`, port));
  for (const [side, list] of Object.entries(peers)) {
    errors.push(...list.flatMap((peer, i) => validatePeer(`${path}.${side}[${i}]`, peer)));
  }
  return errors;
}

function validatePort(path: string, { protocol, port, endPort }: NetworkPolicyPort): FieldError[] {
  const errors: FieldError[] = [];
  if (!PROTOCOLS.includes(protocol ?? '')) {
    errors.push(notSupported(`${path}.protocol`, protocol, PROTOCOLS));
  }
  if (port !== undefined) errors.push(...validatePortOrName(`${path}.port`, port));
  if (endPort === undefined) return errors;
  if (port === undefined) {
    const why = 'may not be specified when `port` is not specified';
    errors.push(invalidValue(`${path}.endPort`, endPort, why));
  } else if (typeof port === 'string') {
    const why = 'may not be specified when `port` is non-numeric';
    errors.push(invalidValue(`${path}.endPort`, endPort, why));
  } else if (endPort < port) {
    const why = 'must be greater than or equal to `port`';
    errors.push(invalidValue(`${path}.endPort`, endPort, why));
  }
  return errors;
}

function validatePeer(path: string, peer: NetworkPolicyPeer): FieldError[] {
  const { podSelector, namespaceSelector, ipBlock } = peer;
  if (podSelector === undefined && namespaceSelector === undefined && ipBlock === undefined) {
    return [required(path, 'must specify a peer')];
  }
  const errors: FieldError[] = [];
  if (podSelector !== undefined) {
    errors.push(...validateLabelSelector(podSelector, `${path}.podSelector`));
  }
  if (namespaceSelector !== undefined) {
    errors.push(...validateLabelSelector(namespaceSelector, `${path}.namespaceSelector`));
  }
  if (ipBlock === undefined) return errors;
  if (podSelector !== undefined || namespaceSelector !== undefined) {
    errors.push(forbidden(path, 'may not specify both ipBlock and another peer'));
  }
  return [...errors, ...validateIpBlock(`${path}.ipBlock`, ipBlock)];
}

function validateIpBlock(path: string, { cidr, except = [] }: IPBlock): FieldError[] {
  if (cidr === '') return [required(`${path}.cidr`)];
  const whole = parseCidr(cidr);
  const wrong = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';
  if (whole === undefined) return [invalidValue(`${path}.cidr`, cidr, wrong)];
  return except.flatMap((one, index) => {
    const at = `${path}.except[${index}]`;
    const part = parseCidr(one);
    if (part === undefined) return [invalidValue(at, one, wrong)];
    const list = new BlockList();
    list.addSubnet(whole.address, whole.prefix, whole.family);
    const inside = part.family === whole.family && list.check(part.address, part.family);
    if (inside && part.prefix > whole.prefix) return [];
    return [invalidValue(at, one, `must be a strict subset of \`cidr\``)];
  });
}

function parseCidr(text: string) {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const prefix = Number(bits);
  if (isIPv4(address) && prefix <= 32) return { address, prefix, family: 'ipv4' } as const;
  if (isIPv6(address) && prefix <= 128) return { address, prefix, family: 'ipv6' } as const;
  return undefined;
}
