/**
 * CertificateSigningRequest: somebody asks for a certificate, somebody else approves, and the signer that is named issues it.
 * What was asked for never changes; who asked is filled in by the server. What needs cryptography or the rights of who
 * writes is checked in master/api/certificate-admission.ts; controllers/certificates.ts signs and clears away.
 */
import { rfc3339 } from '../../../protocol/clock.ts';
import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition as Condition,
} from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, NONE, nameCell, text } from './columns.ts';
import { humanDuration } from './human-duration.ts';
import { dropStatus, keepStatus } from './status.ts';
import {
  APPROVAL_TYPES,
  validateConditionChange,
  validateSigningRequest,
} from './validate/signing-request.ts';

/** Whose certificates are for the API itself; the master signs them. */
export const CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client';

export const CERTIFICATE_SIGNING_REQUEST: KindModule<CertificateSigningRequest> = {
  group: 'certificates.k8s.io',
  version: 'v1',
  kind: 'CertificateSigningRequest',
  plural: 'certificatesigningrequests',
  singular: 'certificatesigningrequest',
  shortNames: ['csr'],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.certificates.v1.CertificateSigningRequest',
  storage: 'durable',
  subresources: { status: true, approval: true },
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  prepareForCreate(request, { user }) {
    const { username: _name, uid: _uid, groups: _groups, extra: _extra, ...asked } = request.spec;
    const extra = Object.entries(user.extra ?? {}).map(([key, values]) => [key, [...values]]);
    request.spec = {
      ...asked,
      username: user.name,
      ...(user.uid === undefined ? {} : { uid: user.uid }),
      groups: [...user.groups],
      ...(extra.length === 0 ? {} : { extra: Object.fromEntries(extra) }),
    };
    dropStatus(request, {});
  },
  prepareForUpdate(next, previous) {
    next.spec = previous.spec;
    keepStatus(next, previous);
  },
  preparePart(next, previous, part, nowMs) {
    const before = previous.status?.conditions ?? [];
    const sent = next.status?.conditions ?? [];
    const kept = part === 'approval' ? sent : withApproval(sent, before);
    const rest = part === 'approval' ? previous.status : next.status;
    next.status = { ...rest };
    if (kept.length > 0) next.status.conditions = stamped(kept, before, rfc3339(nowMs));
    else delete next.status.conditions;
  },
  // Names are steps of a path and nothing more.
  validateName: () => undefined,
  validate: validateSigningRequest,
  validatePart: validateConditionChange,
  columns: [
    NAME,
    AGE,
    text('SignerName', 'Who is to sign.'),
    text('Requestor', 'Who asked.'),
    text('RequestedDuration', 'How long the certificate shall be valid.'),
    text('Condition', 'What became of it.'),
  ],
  row(request, nowMs) {
    const { signerName = '', username = '', expirationSeconds: seconds } = request.spec ?? {};
    return [
      nameCell(request),
      ageCell(request, nowMs),
      signerName === '' ? NONE : signerName,
      username,
      seconds === undefined ? NONE : humanDuration(seconds * 1000),
      conditionCell(request),
    ];
  },
  selectableFields: ({ spec }) => ({ 'spec.signerName': spec?.signerName ?? '' }),
};

/** A signer cannot word the approval anew. */
function withApproval(sent: readonly Condition[], before: readonly Condition[]): Condition[] {
  return sent.map((condition) => {
    const old = before.find(({ type }) => type === condition.type);
    return old !== undefined && APPROVAL_TYPES.includes(old.type) ? old : condition;
  });
}

/** The times that were left open: of the last transition, that of the same condition before. */
function stamped(
  conditions: readonly Condition[],
  before: readonly Condition[],
  now: string,
): Condition[] {
  return conditions.map((condition) => {
    const same = before.find(
      ({ type, status }) => type === condition.type && status === condition.status,
    );
    return {
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? now,
      lastTransitionTime: condition.lastTransitionTime ?? same?.lastTransitionTime ?? now,
    };
  });
}

/** `Approved,Issued`. */
function conditionCell({ status }: CertificateSigningRequest): string {
  const types = new Set((status?.conditions ?? []).map((condition) => condition.type));
  const decision = types.has('Denied') ? 'Denied' : types.has('Approved') ? 'Approved' : 'Pending';
  const failed = types.has('Failed') ? ',Failed' : '';
  return `${decision}${failed}${(status?.certificate ?? '') === '' ? '' : ',Issued'}`;
}
