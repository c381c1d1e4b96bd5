/** CertificateSigningRequest: what may be asked for, and how its conditions and its certificate may change. */
import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition as Condition,
} from '../../../../protocol/kinds/types.ts';
import { dnsLabelErrors, dnsSubdomainErrors } from '../../../../protocol/names.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import type { StatusPart } from '../../kind.ts';
import { duplicate, forbidden, invalidValue, notSupported, required, tooLong } from './errors.ts';
import { validateObjectMeta } from './meta.ts';

/** Set through /approval only. */
export const APPROVAL_TYPES: readonly string[] = ['Approved', 'Denied'];
/** What was once true of a request stays true. */
const LASTING_TYPES: readonly string[] = [...APPROVAL_TYPES, 'Failed'];
const STATUSES: readonly string[] = ['False', 'True', 'Unknown'];
const EXPIRATION_SECONDS_MIN = 600;
/** A request with a key of 16,384 bits and a hundred names is a tenth of that. */
const REQUEST_BYTES_MAX = 64 * 1024;
const DOMAIN_LENGTH_MAX = 253;
const SIGNER_LENGTH_MAX = 571;
const LEGACY_SIGNER = 'kubernetes.io/legacy-unknown';

const USAGES: readonly string[] = [
  ...['any', 'cert sign', 'client auth', 'code signing', 'content commitment', 'crl sign'],
  ...['data encipherment', 'decipher only', 'digital signature', 'email protection'],
  ...['encipher only', 'ipsec end system', 'ipsec tunnel', 'ipsec user', 'key agreement'],
  ...['key encipherment', 'microsoft sgc', 'netscape sgc', 'ocsp signing', 's/mime'],
  ...['server auth', 'signing', 'timestamping'],
];

/** All but what the request itself holds: that needs cryptography. */
export function validateSigningRequest(request: CertificateSigningRequest): FieldError[] {
  const { signerName, usages = [], expirationSeconds, request: pem } = request.spec;
  const errors = validateObjectMeta(request.metadata);
  if (pem.length > (REQUEST_BYTES_MAX / 3) * 4) {
    errors.push(tooLong('spec.request', REQUEST_BYTES_MAX));
  }
  if (usages.length === 0) errors.push(required('spec.usages'));
  for (const [at, usage] of usages.entries()) {
    const field = `spec.usages[${at}]`;
    if (!USAGES.includes(usage)) errors.push(notSupported(field, usage, USAGES));
    if (usages.indexOf(usage) < at) errors.push(duplicate(field, usage));
  }
  errors.push(...validateSignerName('spec.signerName', signerName));
  if (expirationSeconds !== undefined && expirationSeconds < EXPIRATION_SECONDS_MIN) {
    const why = 'may not specify a duration less than 600 seconds (10 minutes)';
    errors.push(invalidValue('spec.expirationSeconds', expirationSeconds, why));
  }
  return [...errors, ...validateConditions(request.status?.conditions ?? [])];
}

/** DOMAIN/NAME, the domain with a dot in it. */
function validateSignerName(field: string, name: string): FieldError[] {
  if (name === '') return [required(field)];
  if (name === LEGACY_SIGNER) {
    const why = 'the legacy signerName is not allowed via this API version';
    return [invalidValue(field, name, why)];
  }
  const [domain = '', path, ...more] = name.split('/');
  if (path === undefined || more.length > 0) {
    const form = "a fully qualified domain and path of the form 'example.com/signer-name'";
    return [invalidValue(field, name, `must be ${form}`)];
  }
  const errors: FieldError[] = [];
  if (domain.length > DOMAIN_LENGTH_MAX) errors.push(tooLong(field, DOMAIN_LENGTH_MAX));
  errors.push(...firstBadLabel(field, domain, dnsLabelErrors));
  if (!domain.includes('.')) {
    const why = 'should be a domain with at least two segments separated by dots';
    errors.push(invalidValue(field, domain, why));
  }
  errors.push(...firstBadLabel(field, path, dnsSubdomainErrors));
  if (name.length > SIGNER_LENGTH_MAX) errors.push(tooLong(field, SIGNER_LENGTH_MAX));
  return errors;
}

function firstBadLabel(
  field: string,
  text: string,
  reasonsOf: (label: string) => string[],
): FieldError[] {
  const bad = text.split('.').find((label) => reasonsOf(label).length > 0);
  if (bad === undefined) return [];
  return reasonsOf(bad).map((reason) =>
    invalidValue(field, text, `validating label ${JSON.stringify(bad)}: ${reason}`),
  );
}

function validateConditions(conditions: readonly Condition[]): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [at, { type, status }] of conditions.entries()) {
    const field = `status.conditions[${at}]`;
    if (type === '') errors.push(required(`${field}.type`));
    const allowed = LASTING_TYPES.includes(type) ? ['True'] : STATUSES;
    if (status === '') errors.push(required(`${field}.status`));
    else if (!allowed.includes(status)) {
      errors.push(notSupported(`${field}.status`, status, allowed));
    }
    const opposite = APPROVAL_TYPES.find((other) => other !== type);
    if (APPROVAL_TYPES.includes(type) && seen.has(opposite ?? '')) {
      const why = 'Approved and Denied conditions are mutually exclusive';
      errors.push(invalidValue(`${field}.type`, type, why));
    }
    if (seen.has(type)) errors.push(duplicate(`${field}.type`, type));
    seen.add(type);
  }
  return errors;
}

/** What a write of /status or /approval may change. */
export function validateConditionChange(
  next: CertificateSigningRequest,
  previous: CertificateSigningRequest,
  part: StatusPart,
): FieldError[] {
  const errors: FieldError[] = [];
  const field = 'status.conditions';
  for (const type of LASTING_TYPES) {
    const [has, had] = [hasCondition(next, type), hasCondition(previous, type)];
    if (had && !has) {
      errors.push(forbidden(field, `updates may not remove a condition of type "${type}"`));
    }
    if (has && !had && part !== 'approval' && APPROVAL_TYPES.includes(type)) {
      errors.push(forbidden(field, `updates may not add a condition of type "${type}"`));
    }
  }
  const [certificate = '', before = ''] = [next.status?.certificate, previous.status?.certificate];
  if (before !== '' && certificate !== before) {
    const why = 'updates may not modify existing certificate content';
    errors.push(forbidden('status.certificate', why));
  }
  return errors;
}

function hasCondition({ status }: CertificateSigningRequest, type: string): boolean {
  return (status?.conditions ?? []).some((condition) => condition.type === type);
}
