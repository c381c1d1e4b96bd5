/** Which CertificateSigningRequests are signed, for how long, and when they go. */
import t from 'tap';
import { orderOf, phaseOf, reconcileRequest } from '../../../master/controllers/certificates.ts';
import type {
  CertificateSigningRequest,
  CertificateSigningRequestStatus,
} from '../../../protocol/kinds/types.ts';

const HOUR_MS = 3_600_000;

function request(
  types: readonly string[],
  more: Partial<CertificateSigningRequest['spec']> = {},
  rest: CertificateSigningRequestStatus = {},
): CertificateSigningRequest {
  const conditions = types.map((type) => ({ type, status: 'True' }));
  const signerName = 'kubernetes.io/kube-apiserver-client';
  return {
    metadata: { name: 'a', uid: 'u' },
    spec: { request: 'cGVt', signerName, usages: ['client auth'], ...more },
    status: { conditions, ...rest },
  };
}

t.test('only approved requests for the API are signed, once', async (t) => {
  const day = 24 * HOUR_MS;
  const order = { request: 'pem', usages: ['client auth'], validMs: 365 * day };
  t.strictSame(orderOf(request(['Approved'])), order);
  t.match(orderOf(request(['Other', 'Approved'], { expirationSeconds: 600 })), {
    validMs: 600_000,
  });
  t.match(orderOf(request(['Approved'], { expirationSeconds: 2 ** 31 - 1 })), order, 'a year');
  t.match(orderOf(request(['Approved'], { usages: ['any', 'client auth'] })), { fault: /: any$/ });
  t.match(orderOf(request(['Approved'], { usages: [] })), { fault: /missing required usage/ });
  for (const types of [[], ['Denied'], ['Approved', 'Failed'], ['Approved', 'Denied']]) {
    t.equal(orderOf(request(types)), undefined, types.join());
  }
  t.equal(orderOf(request(['Approved'], {}, { certificate: 'cGVt' })), undefined);
  t.equal(
    orderOf(request(['Approved'], { signerName: 'kubernetes.io/kubelet-serving' })),
    undefined,
  );
});

t.test('requests go after a time, by what became of them', async (t) => {
  const cases: [CertificateSigningRequest, string, number | undefined][] = [
    [request([]), 'pending', 24],
    [request(['Denied']), 'denied', 1],
    [request(['Approved', 'Failed']), 'failed', 1],
    [request(['Approved'], {}, { certificate: 'cGVt' }), 'issued', 1],
    [request(['Approved']), 'approved', undefined],
  ];
  for (const [one, phase, hours] of cases) {
    t.equal(phaseOf(one), phase);
    if (hours === undefined) {
      t.strictSame(reconcileRequest(one, 1000 * HOUR_MS), [], 'another may still sign it');
      continue;
    }
    const keptMs = hours * HOUR_MS;
    t.strictSame(reconcileRequest(one, keptMs - 5), [{ type: 'requeueAfter', delayMs: 5 }]);
    t.match(reconcileRequest(one, keptMs), [{ type: 'delete', name: 'a', uid: 'u' }]);
  }
});
