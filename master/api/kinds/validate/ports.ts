/** Ports and IP addresses, as Services, Endpoints and containers have them. */
import { isIP } from 'node:net';
import type { IntOrString } from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { eachReason, invalidValue } from './errors.ts';
import { portNameReasons, portNumberReasons } from './names.ts';

export const PROTOCOLS: readonly string[] = ['SCTP', 'TCP', 'UDP'];

/** By number, or by the name that a container gave it. */
export function validatePortOrName(field: string, port: IntOrString): FieldError[] {
  return typeof port === 'number'
    ? eachReason(field, port, portNumberReasons(port))
    : eachReason(field, port, portNameReasons(port));
}

export function validateIp(field: string, value: string): FieldError[] {
  if (isIP(value) !== 0) return [];
  return [
    invalidValue(field, value, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
  ];
}

/** An address that traffic may be sent to: no loopback, no link-local, no multicast. */
export function validateEndpointIp(field: string, value: string): FieldError[] {
  const errors = validateIp(field, value);
  if (errors.length > 0) return errors;
  const reason = (range: string) => invalidValue(field, value, `may not be ${range}`);
  if (value === '0.0.0.0' || value === '::') return [reason(`unspecified (${value})`)];
  if (value.startsWith('127.') || value === '::1') {
    return [reason('in the loopback range (127.0.0.0/8, ::1/128)')];
  }
  if (value.startsWith('169.254.') || /^fe[89ab]/i.test(value)) {
    return [reason('in the link-local range (169.254.0.0/16, fe80::/10)')];
  }
  if (value.startsWith('224.0.0.') || /^ff02:/i.test(value)) {
    return [reason('in the link-local multicast range (224.0.0.0/24, ff02::/10)')];
  }
  return [];
}
