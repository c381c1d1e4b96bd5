/**
 * CertificateSigningRequests: those for the API itself are signed when somebody has approved them, and all of them go after a
 * time (Kubernetes: the signing and cleaning controllers of certificates). Who is to sign any other, signs it himself.
 */
import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition as Condition,
} from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import { CLIENT_SIGNER } from '../api/kinds/certificate-signing-request.ts';
import { keyOf } from '../informer/informer.ts';
import type { SharedInformers } from '../informer/shared.ts';
import type { SigningOrder } from '../pki/certificate-requests.ts';
import type { Action } from './actions.ts';
import { FirstSeen } from './observed-times.ts';
import { type Controller, watchOf } from './runner.ts';

const HOUR_MS = 3_600_000;
/** Kubernetes: approvedExpiration, deniedExpiration and pendingExpiration. What waits for another's signature stays. */
const KEPT_MS: Readonly<Record<Phase, number | undefined>> = {
  issued: HOUR_MS,
  denied: HOUR_MS,
  failed: HOUR_MS,
  pending: 24 * HOUR_MS,
  approved: undefined,
};
/** Kubernetes: --cluster-signing-duration. */
const VALID_SECONDS_MAX = 365 * 24 * 3_600;
const NEEDED_USAGE = 'client auth';
const ALLOWED_USAGES: readonly string[] = ['digital signature', 'key encipherment', NEEDED_USAGE];

type Phase = 'pending' | 'approved' | 'denied' | 'failed' | 'issued';

/** Gives the certificate as PEM. */
export type SignRequest = (order: SigningOrder) => Promise<string>;

export function phaseOf({ status }: CertificateSigningRequest): Phase {
  const types = new Set((status?.conditions ?? []).map(({ type }) => type));
  if (types.has('Denied')) return 'denied';
  if (types.has('Failed')) return 'failed';
  if ((status?.certificate ?? '') !== '') return 'issued';
  return types.has('Approved') ? 'approved' : 'pending';
}

/** What to sign now, or why that can never be; undefined when there is nothing to sign for us. */
export function orderOf(
  request: CertificateSigningRequest,
): SigningOrder | { readonly fault: string } | undefined {
  const { signerName, usages = [], expirationSeconds = VALID_SECONDS_MAX } = request.spec;
  if (signerName !== CLIENT_SIGNER || phaseOf(request) !== 'approved') return undefined;
  const other = usages.find((usage) => !ALLOWED_USAGES.includes(usage));
  if (other !== undefined) return { fault: `invalid usage for client certificate: ${other}` };
  if (!usages.includes(NEEDED_USAGE)) {
    return { fault: `missing required usage for client certificate: ${NEEDED_USAGE}` };
  }
  return {
    request: Buffer.from(request.spec.request, 'base64').toString('latin1'),
    usages,
    validMs: Math.min(expirationSeconds, VALID_SECONDS_MAX) * 1000,
  };
}

/** `phaseMs`: how long the request has been in its phase. */
export function reconcileRequest(request: CertificateSigningRequest, phaseMs: number): Action[] {
  const keptMs = KEPT_MS[phaseOf(request)];
  if (keptMs === undefined) return [];
  if (phaseMs < keptMs) return [{ type: 'requeueAfter', delayMs: keptMs - phaseMs }];
  const { name = '', uid = '' } = request.metadata ?? {};
  const id = RESOURCES.certificateSigningRequests;
  return [{ type: 'delete', id, namespace: '', name, uid }];
}

function withStatus(
  request: CertificateSigningRequest,
  more: { readonly certificate: string } | { readonly conditions: Condition[] },
): Action {
  const object = { ...request, status: { ...request.status, ...more } };
  return { type: 'updateStatus', id: RESOURCES.certificateSigningRequests, object };
}

/** Without `sign` (tests, simulations) approved requests wait. */
export function certificateController(
  informers: SharedInformers,
  sign: SignRequest | undefined,
): Controller {
  const { certificateSigningRequests: requests } = informers;
  const phases = new FirstSeen();
  return {
    name: 'certificate-controller',
    workers: 1,
    watches: [
      watchOf(requests, ({ type, object }) => {
        if (type === 'deleted') phases.forget(object.metadata?.uid ?? '');
        return [keyOf(object)];
      }),
    ],
    async reconcile(key, now) {
      const request = requests.getByKey(key);
      if (request === undefined) return [];
      const order = sign === undefined ? undefined : orderOf(request);
      if (order !== undefined && 'fault' in order) {
        const failed = {
          type: 'Failed',
          status: 'True',
          reason: 'SignerValidationFailure',
          message: order.fault,
        };
        const conditions = [...(request.status?.conditions ?? []), failed];
        return [withStatus(request, { conditions })];
      }
      if (order !== undefined && sign !== undefined) {
        const pem = await sign(order);
        return [withStatus(request, { certificate: Buffer.from(pem).toString('base64') })];
      }
      const sinceMs = phases.since(request.metadata?.uid ?? '', phaseOf(request), now.monotonicMs);
      return reconcileRequest(request, now.monotonicMs - sinceMs);
    },
  };
}
