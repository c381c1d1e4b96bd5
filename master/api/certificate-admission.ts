/**
 * CertificateSigningRequests: that a new one holds a request that its key has signed, that a certificate is one, and who may
 * approve and sign (Kubernetes' admission plugins CertificateApproval, CertificateSigning and CertificateSubjectRestriction).
 * The right is a verb on `signers` with the name of the signer, or with its domain and `/*`.
 */
import type { CertificateSigningRequest } from '../../protocol/kinds/types.ts';
import { invalid } from '../../protocol/status.ts';
import {
  CertificateRequestError,
  checkCertificates,
  parseCertificateRequest,
} from '../pki/certificate-requests.ts';
import { type AdmissionPlugin, type AdmissionRequest, refused } from './admission.ts';
import type { Authorizer } from './authorizer.ts';
import { RESOURCES, type User } from './client.ts';
import { deepEqual } from './equal.ts';
import { CLIENT_SIGNER } from './kinds/certificate-signing-request.ts';
import { invalidValue } from './kinds/validate/errors.ts';
import type { Resource } from './resources.ts';

const MASTERS = 'system:masters';
const { group: GROUP, resource: PLURAL } = RESOURCES.certificateSigningRequests;

export function certificateRules(authorizer: Authorizer): AdmissionPlugin {
  const mustHave = async (
    request: AdmissionRequest,
    verb: 'approve' | 'sign',
    { spec }: CertificateSigningRequest,
  ): Promise<void> => {
    const { signerName } = spec;
    for (const name of [signerName, `${signerName.split('/')[0]}/*`]) {
      if (await isAllowed(authorizer, request.user, verb, name)) return;
    }
    const signer = JSON.stringify(signerName);
    throw refused(request, `user not permitted to ${verb} requests with signerName ${signer}`);
  };
  return {
    async review(_core, request) {
      if (!isOurs(request.resource) || request.operation !== 'CREATE') return;
      await checkNew(request, request.object as CertificateSigningRequest);
    },
    async reviewPart(_core, request, part) {
      if (!isOurs(request.resource)) return;
      const next = request.object as CertificateSigningRequest;
      const previous = request.previous as CertificateSigningRequest;
      if (part === 'approval') return mustHave(request, 'approve', previous);
      if (deepEqual(next.status ?? {}, previous.status ?? {})) return;
      checkIssued(request, next, previous);
      await mustHave(request, 'sign', previous);
    },
  };
}

function isOurs({ module }: Resource): boolean {
  return module.group === GROUP && module.plural === PLURAL;
}

async function isAllowed(
  authorizer: Authorizer,
  user: User,
  verb: string,
  name: string,
): Promise<boolean> {
  const what = { verb, group: GROUP, resource: 'signers', subresource: '', namespace: '', name };
  return (await authorizer.authorize(user, what)).allowed;
}

async function checkNew(
  request: AdmissionRequest,
  { spec }: CertificateSigningRequest,
): Promise<void> {
  const parsed = await parseCertificateRequest(textOf(spec.request)).catch((error: unknown) => {
    throw fieldError(request, 'spec.request', spec.request, error);
  });
  if (spec.signerName !== CLIENT_SIGNER) return;
  if (parsed.subjectName.getField('O').includes(MASTERS)) {
    throw refused(request, `use of ${CLIENT_SIGNER} signer with ${MASTERS} group is not allowed`);
  }
}

function checkIssued(
  request: AdmissionRequest,
  { status }: CertificateSigningRequest,
  previous: CertificateSigningRequest,
): void {
  const certificate = status?.certificate ?? '';
  if (certificate === '' || certificate === previous.status?.certificate) return;
  try {
    checkCertificates(textOf(certificate));
  } catch (error) {
    throw fieldError(request, 'status.certificate', '<certificate data>', error);
  }
}

function textOf(base64: string): string {
  return Buffer.from(base64, 'base64').toString('latin1');
}

function fieldError(
  { resource, name }: AdmissionRequest,
  field: string,
  value: string,
  error: unknown,
): unknown {
  if (!(error instanceof CertificateRequestError)) return error;
  const { group, kind } = resource.module;
  return invalid(group, kind, name, [invalidValue(field, value, error.message)]);
}
