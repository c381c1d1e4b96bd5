/** CertificateSigningRequests from the outside: who may ask, approve and sign for what, what is issued, and what nobody may change. */
import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { until } from '../support/fake-api.ts';
import { type ALGORITHMS, base64, makeRequest, startSigning } from '../support/signing-request.ts';
import { type Fixture, type Identity, startApi, TABLE } from './api-fixture.ts';

const GROUP = '/apis/certificates.k8s.io';
const REQUESTS = `${GROUP}/v1/certificatesigningrequests`;
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const CLIENT = 'kubernetes.io/kube-apiserver-client';
const MERGE = 'application/merge-patch+json';
const USAGES = ['digital signature', 'key encipherment', 'client auth'];

t.setTimeout(120_000);

let api: Fixture;
let pem: string;
t.before(async () => {
  api = await startApi();
  pem = (await makeRequest('e2e.example.com')).request;
});
t.teardown(() => api.close());

const asked = (metadata: object, spec: object = {}) => ({
  metadata,
  spec: { request: base64(pem), signerName: CLIENT, usages: USAGES, ...spec },
});
const condition = (type: string, more: object = {}) => ({ type, status: 'True', ...more });
const pathOf = (name: string, part = '') => `${REQUESTS}/${name}${part === '' ? '' : `/${part}`}`;
const patch = (name: string, part: string, body: object, as?: Identity) =>
  api.call('PATCH', pathOf(name, part), { body, type: MERGE, ...(as === undefined ? {} : { as }) });
const conditions = (...list: object[]) => ({ status: { conditions: list } });

async function create(name: string, spec: object = {}) {
  const answer = await api.call('POST', REQUESTS, { body: asked({ name }, spec) });
  if (answer.code !== 201) throw new Error(answer.text);
  return answer.json;
}

async function grant(name: string, rules: object[], user: string): Promise<void> {
  const metadata = { name };
  const roleRef = { kind: 'ClusterRole', name };
  const subjects = [{ kind: 'User', name: user }];
  for (const [plural, body] of [
    ['clusterroles', { metadata, rules }],
    ['clusterrolebindings', { metadata, roleRef, subjects }],
  ] as const) {
    const { code, text } = await api.call('POST', `${RBAC}/${plural}`, { body });
    if (code !== 201) throw new Error(text);
  }
}

/** As `[sig-auth] Certificates API should support CSR API operations` of Kubernetes' conformance tests. */
t.test('the operations of the conformance test', async (t) => {
  const groups = await api.call('GET', '/apis');
  t.match(
    groups.json.groups.find((one: { name: string }) => one.name === 'certificates.k8s.io'),
    { versions: [{ version: 'v1' }] },
  );
  t.match((await api.call('GET', GROUP)).json.versions, [{ version: 'v1' }]);
  const { resources } = (await api.call('GET', `${GROUP}/v1`)).json;
  t.match(resources, [
    { name: 'certificatesigningrequests', shortNames: ['csr'], namespaced: false },
    { name: 'certificatesigningrequests/approval', verbs: ['get', 'patch', 'update'] },
    { name: 'certificatesigningrequests/status', verbs: ['get', 'patch', 'update'] },
  ]);

  const signerName = 'example.com/e2e';
  const more = { signerName, expirationSeconds: 3600, usages: ['server auth'] };
  const body = asked({ generateName: 'e2e-example-csr-' }, more);
  const made = [];
  for (let i = 0; i < 3; i += 1) made.push((await api.call('POST', REQUESTS, { body })).json);
  const [{ metadata }] = made;
  const { name, uid } = metadata;
  const got = await api.call('GET', pathOf(name));
  t.match(got.json, { metadata: { uid }, spec: { expirationSeconds: 3600, signerName } });
  const bySigner = `${REQUESTS}?fieldSelector=spec.signerName%3D${encodeURIComponent(signerName)}`;
  const listed = (await api.call('GET', bySigner)).json;
  t.equal(listed.items.length, 3);

  const since = `resourceVersion=${listed.metadata.resourceVersion}`;
  const watch = await api.stream(
    `${REQUESTS}?watch=1&${since}&fieldSelector=metadata.name%3D${name}`,
  );
  const patched = await patch(name, '', { metadata: { annotations: { patched: 'true' } } });
  t.equal(patched.json.metadata.annotations.patched, 'true');
  patched.json.metadata.annotations.updated = 'true';
  const updated = await api.call('PUT', pathOf(name), { body: patched.json });
  t.equal(updated.json.metadata.annotations.updated, 'true');
  t.match(await watch.take(2), [
    { type: 'MODIFIED', object: { metadata: { annotations: { patched: 'true' } } } },
    { type: 'MODIFIED', object: { metadata: { annotations: { updated: 'true' } } } },
  ]);
  watch.close();

  const kind = 'CertificateSigningRequest';
  t.match((await api.call('GET', pathOf(name, 'approval'))).json, { kind, metadata: { uid } });
  const approval = await patch(name, 'approval', {
    metadata: { annotations: { patchedapproval: 'true' } },
    ...conditions(condition('ApprovalPatch', { reason: 'e2e' })),
  });
  t.match(approval.json, {
    metadata: { annotations: { patchedapproval: 'true' } },
    status: { conditions: [{ type: 'ApprovalPatch' }] },
  });
  approval.json.status.conditions.push(condition('Approved', { reason: 'E2E', message: 'test' }));
  const approved = await api.call('PUT', pathOf(name, 'approval'), { body: approval.json });
  t.match(approved.json.status.conditions, [
    { type: 'ApprovalPatch' },
    { type: 'Approved', lastUpdateTime: /Z$/, lastTransitionTime: /Z$/ },
  ]);

  t.match((await api.call('GET', pathOf(name, 'status'))).json, { kind, metadata: { uid } });
  const certificate = base64(api.pki.caCertificate);
  const issued = await patch(name, 'status', {
    metadata: { annotations: { patchedstatus: 'true' } },
    status: { certificate },
  });
  t.match(issued.json, {
    metadata: { annotations: { patchedstatus: 'true' } },
    status: { certificate },
  });
  issued.json.status.conditions.push(condition('StatusUpdate', { reason: 'E2E' }));
  const status = await api.call('PUT', pathOf(name, 'status'), { body: issued.json });
  t.equal(status.json.status.conditions.at(-1).type, 'StatusUpdate');
  t.equal(status.json.status.conditions.length, 3);

  t.equal((await api.call('DELETE', pathOf(name))).code, 200);
  t.equal((await api.call('GET', pathOf(name))).code, 404);
  t.equal((await api.call('GET', bySigner)).json.items.length, 2);
  t.equal((await api.call('DELETE', bySigner)).code, 200);
  t.equal((await api.call('GET', bySigner)).json.items.length, 0);
});

t.test('who asks is filled in, and nothing of what was asked for changes', async (t) => {
  const lies = { username: 'root', uid: '0', groups: ['system:masters'], extra: { a: ['b'] } };
  const jane = await api.identity('jane', ['people']);
  await grant('ask', [{ verbs: ['create'], apiGroups: ['*'], resources: ['*'] }], 'jane');
  const body = { ...asked({ name: 'hers' }, lies), ...conditions(condition('Approved')) };
  const { code, json } = await api.call('POST', REQUESTS, { body, as: jane });
  t.equal(code, 201);
  t.strictSame(json.spec, {
    ...asked({}).spec,
    username: 'jane',
    groups: ['people', 'system:authenticated'],
  });
  t.strictSame(json.status, {});
  const headers = {
    'Impersonate-User': 'joe',
    'Impersonate-Uid': '7',
    'Impersonate-Extra-team': 'blue',
  };
  const his = await api.call('POST', REQUESTS, { body: asked({ name: 'his' }), headers });
  t.equal(his.code, 403, 'joe may ask for nothing');
  await grant('joe', [{ verbs: ['create'], apiGroups: ['*'], resources: ['*'] }], 'joe');
  const now = await api.call('POST', REQUESTS, { body: asked({ name: 'his' }), headers });
  t.match(now.json.spec, { username: 'joe', uid: '7', extra: { team: ['blue'] } });

  const change = { spec: { expirationSeconds: 900, username: 'x' }, ...conditions(condition('A')) };
  const patched = await patch('hers', '', { metadata: { labels: { a: 'b' } }, ...change });
  t.equal(patched.json.metadata.labels.a, 'b');
  t.strictSame(patched.json.spec, json.spec);
  t.strictSame(patched.json.status, {});
  const wide = await patch('hers', 'approval', {
    spec: change.spec,
    ...conditions(condition('A')),
  });
  t.strictSame(wide.json.spec, json.spec);
});

t.test('what is no proper request is refused', async (t) => {
  const other = (await makeRequest('other')).request;
  const der = (text: string) => Buffer.from(text.split('\n').slice(1, -2).join(''), 'base64');
  const [mine, theirs] = [der(pem), der(other)];
  const signed = (bytes: Buffer) =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  // The last bytes are the signature: of another request, and cut off.
  const forged = Buffer.concat([mine.subarray(0, -20), theirs.subarray(-20)]);
  const sha1 = (await makeRequest('old', [], 'RSA with SHA-1')).request;
  const cases: [string, object, RegExp][] = [
    ['no PEM', { request: base64('hello') }, /spec\.request: Invalid value: .*PEM block type must/],
    ['a certificate', { request: base64(api.pki.caCertificate) }, /PEM block type must be CERT/],
    ['empty', { request: '' }, /PEM block type must be CERTIFICATE REQUEST/],
    ['forged', { request: base64(signed(forged)) }, /spec\.request: Invalid value: .*signature/],
    ['cut', { request: base64(signed(mine.subarray(0, 60))) }, /no valid PKCS #10 request/],
    ['SHA-1', { request: base64(sha1) }, /signatures with SHA-1 are not safe/],
    ['endless', { request: base64('x'.repeat(65_537)) }, /spec\.request: Too long: .* 65536 bytes/],
    ['no usage', { usages: [] }, /spec\.usages: Required value/],
    ['no such usage', { usages: ['signing', 'x'] }, /spec\.usages\[1\]: Unsupported value: "x"/],
    ['usage twice', { usages: ['signing', 'signing'] }, /spec\.usages\[1\]: Duplicate value/],
    ['short', { expirationSeconds: 599 }, /spec\.expirationSeconds: Invalid value: 599: may not/],
    ['no signer', { signerName: '' }, /spec\.signerName: Required value/],
    ['no path', { signerName: 'example.com' }, /must be a fully qualified domain and path/],
    ['paths', { signerName: 'example.com/a/b' }, /must be a fully qualified domain and path/],
    ['no domain', { signerName: 'example/a' }, /at least two segments separated by dots/],
    ['bad domain', { signerName: 'Example.com/a' }, /validating label "Example": a lowercase/],
    ['bad path', { signerName: 'example.com/A' }, /validating label "A": a lowercase/],
    ['old', { signerName: 'kubernetes.io/legacy-unknown' }, /legacy signerName is not allowed/],
  ];
  for (const [what, spec, why] of cases) {
    const { code, json } = await api.call('POST', REQUESTS, { body: asked({ name: 'x' }, spec) });
    t.equal(code, 422, what);
    t.match(json.message, why, what);
  }
  t.equal((await api.call('GET', pathOf('x'))).code, 404);
  const masters = (await makeRequest('me', ['people', 'system:masters'])).request;
  const request = base64(masters);
  const refused = await api.call('POST', REQUESTS, { body: asked({ name: 'x' }, { request }) });
  t.match(refused, { code: 403, json: { message: /with system:masters group is not allowed/ } });
  const elsewhere = { request, signerName: 'example.com/any' };
  await create('masters-elsewhere', elsewhere);
  for (const algorithm of ['RSA', 'P384', 'Ed25519'] satisfies (keyof typeof ALGORITHMS)[]) {
    const { request: good } = await makeRequest(algorithm, [], algorithm);
    await create(`key:${algorithm}`, { request: base64(good) });
  }
});

t.test('conditions and certificate change only as they may', async (t) => {
  await create('rules');
  const certificate = base64(api.pki.caCertificate);
  const both = conditions(condition('Approved'), condition('Denied'));
  const refusals = async (part: string, cases: [object, RegExp][]) => {
    for (const [body, why] of cases) {
      const { code, json } = await patch('rules', part, body);
      t.equal(code, 422, String(why));
      t.match(json.message, why);
    }
  };
  await refusals('approval', [
    [both, /conditions\[1\]\.type: Invalid value: "Denied": Approved and Denied .* exclusive/],
    [
      conditions(condition('Approved', { status: 'False' })),
      /conditions\[0\]\.status: Unsupported value: "False": supported values: "True"/,
    ],
    [conditions(condition('Own', { status: 'so' })), /"False", "True", "Unknown"/],
    [conditions(condition('Own', { status: '' })), /conditions\[0\]\.status: Required value/],
    [conditions(condition('')), /conditions\[0\]\.type: Required value/],
    [conditions(condition('A'), condition('A')), /conditions\[1\]\.type: Duplicate value: "A"/],
  ]);
  const add = 'status.conditions: Forbidden: updates may not add a condition of type';
  await refusals('status', [[conditions(condition('Approved')), new RegExp(`${add} "Approved"`)]]);
  const approved = await patch('rules', 'approval', {
    status: { conditions: [condition('Approved', { reason: 'Mine' })], certificate },
  });
  t.equal(approved.code, 200);
  t.notHas(approved.json.status, 'certificate', '/approval sets no certificate');
  const remove = /status\.conditions: Forbidden: updates may not remove a condition of type "Appr/;
  await refusals('approval', [
    [conditions(), remove],
    [conditions(condition('Denied')), remove],
  ]);
  const block = (type: string, content: string) =>
    base64(`-----BEGIN ${type}-----\n${content}\n-----END ${type}-----\n`);
  const issue = (text: string) => ({ status: { certificate: text } });
  await refusals('status', [
    [conditions(), remove],
    [issue(base64('none')), /status\.certificate: Invalid value: .*at least one CERTIFICATE PEM/],
    [issue(block('PRIVATE KEY', 'AAAA')), /only CERTIFICATE PEM blocks are allowed, found "PRIV/],
    [issue(block('CERTIFICATE', 'A: b\n\nAAAA')), /no PEM block headers are permitted/],
    [issue(block('CERTIFICATE', 'AAAA')), /the certificate cannot be read/],
  ]);
  const reworded = conditions(condition('Approved', { reason: 'Theirs' }), condition('Own'));
  const kept = await patch('rules', 'status', reworded);
  t.match(kept.json.status.conditions, [{ type: 'Approved', reason: 'Mine' }, { type: 'Own' }]);
  t.equal((await patch('rules', 'status', issue(certificate))).code, 200);
  const anew = issue(base64(api.pki.server.certificate));
  await refusals('status', [[anew, /updates may not modify existing certificate content/]]);
  t.equal((await api.call('GET', '/api/v1/nodes/x/approval')).code, 404);
});

t.test('approving and signing need a right on the signer', async (t) => {
  const verbs = ['get', 'update', 'patch'];
  const resources = ['certificatesigningrequests/approval', 'certificatesigningrequests/status'];
  const writes = { verbs, apiGroups: ['certificates.k8s.io'], resources };
  const signers = (verb: string, name: string) => ({
    verbs: [verb],
    apiGroups: ['certificates.k8s.io'],
    resources: ['signers'],
    resourceNames: [name],
  });
  const anna = await api.identity('anna', []);
  const sven = await api.identity('sven', []);
  await grant('anna', [writes, signers('approve', 'example.com/*')], 'anna');
  await grant('sven', [writes, signers('sign', 'example.com/one')], 'sven');
  for (const one of ['one', 'two']) await create(one, { signerName: `example.com/${one}` });
  await create('api');
  const yes = conditions(condition('Approved'));
  const certificate = { status: { certificate: base64(api.pki.caCertificate) } };
  const no = (verb: string, signer: string) => ({
    code: 403,
    json: {
      message: new RegExp(`is forbidden: user not permitted to ${verb} requests.*"${signer}"`),
    },
  });
  t.match(await patch('api', 'approval', yes, anna), no('approve', CLIENT));
  t.match(await patch('one', 'approval', yes, sven), no('approve', 'example.com/one'));
  t.equal((await patch('one', 'approval', yes, anna)).code, 200);
  t.equal((await patch('two', 'approval', yes, anna)).code, 200);
  t.match(await patch('one', 'status', certificate, anna), no('sign', 'example.com/one'));
  t.match(await patch('two', 'status', certificate, sven), no('sign', 'example.com/two'));
  t.equal((await patch('one', 'status', certificate, sven)).code, 200);
  // The default role for it names one signer and gives nothing else.
  const role = 'system:certificates.k8s.io:kube-apiserver-client-approver';
  t.match((await api.call('GET', `${RBAC}/clusterroles/${role}`)).json.rules, [
    { verbs: ['approve'], resources: ['signers'], resourceNames: [CLIENT] },
  ]);
});

t.test('the table shows who asks whom, for how long, and what became of it', async (t) => {
  await create('new', { expirationSeconds: 7200, signerName: 'example.com/table' });
  const row = async () => {
    const path = `${REQUESTS}?fieldSelector=metadata.name%3Dnew`;
    const { json } = await api.call('GET', path, { accept: TABLE });
    const names = json.columnDefinitions.map((column: { name: string }) => column.name);
    const cells: unknown[] = json.rows[0].cells;
    return Object.fromEntries(cells.map((cell, at) => [names[at], cell]));
  };
  t.match(await row(), {
    Name: 'new',
    Age: /^\d+s$/,
    SignerName: 'example.com/table',
    Requestor: 'pier-admin',
    RequestedDuration: '120m',
    Condition: 'Pending',
  });
  await patch('new', 'approval', conditions(condition('Approved')));
  t.match(await row(), { Condition: 'Approved' });
  await patch('new', 'status', conditions(condition('Approved'), condition('Failed')));
  t.match(await row(), { Condition: 'Approved,Failed' });
});

t.test('an approved request for the API is signed, and the certificate opens it', async (t) => {
  await startSigning(t, api.client, api.pki);
  const read = async (name: string) => (await api.call('GET', pathOf(name))).json;
  const keys = await makeRequest('tester-csr', ['people', 'more'], 'RSA');
  const request = base64(keys.request);
  await create('client', { request, expirationSeconds: 3600 });
  await create('denied');
  await create('foreign', { request, signerName: 'kubernetes.io/kubelet-serving' });
  await create('wrong', { usages: ['client auth', 'server auth'] });
  await create('useless', { usages: ['digital signature'] });
  await patch('denied', 'approval', conditions(condition('Denied')));
  for (const name of ['foreign', 'wrong', 'useless', 'client']) {
    t.equal((await patch(name, 'approval', conditions(condition('Approved')))).code, 200);
  }
  await until('signed', async () => (await read('client')).status.certificate !== undefined);
  const { certificate } = (await read('client')).status;
  const text = Buffer.from(certificate, 'base64').toString();
  t.equal(text.match(/BEGIN CERTIFICATE/g)?.length, 1);
  const leaf = new X509Certificate(text);
  t.ok(leaf.verify(new X509Certificate(api.pki.caCertificate).publicKey));
  const [from, to] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
  t.ok(to - from <= 65 * 60_000, 'an hour, and the five minutes by which it is set back');
  t.ok(to > Date.now() && from < Date.now());
  t.equal(leaf.ca, false);
  t.match(leaf.subjectAltName, /DNS:asked\.example/);
  t.strictSame(leaf.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'for clients only');

  const tester: Identity = { certificate: text, privateKey: keys.privateKey };
  const review = { kind: 'SelfSubjectReview', apiVersion: 'authentication.k8s.io/v1' };
  const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
  const whoami = await api.call('POST', path, { body: review, as: tester });
  t.match(whoami.json.status.userInfo, {
    username: 'tester-csr',
    groups: ['people', 'more', 'system:authenticated'],
  });
  await grant('tester', [{ verbs: ['create'], apiGroups: ['*'], resources: ['*'] }], 'tester-csr');
  const again = await api.call('POST', REQUESTS, { body: asked({ name: 'again' }), as: tester });
  t.equal(again.json.spec.username, 'tester-csr');

  await until('failed', async () => (await read('useless')).status.conditions.length === 2);
  const failed = (message: string) => [
    { type: 'Approved' },
    { type: 'Failed', status: 'True', reason: 'SignerValidationFailure', message },
  ];
  t.match(
    (await read('wrong')).status.conditions,
    failed('invalid usage for client certificate: server auth'),
  );
  t.match(
    (await read('useless')).status.conditions,
    failed('missing required usage for client certificate: client auth'),
  );
  for (const name of ['denied', 'foreign']) t.notHas((await read(name)).status, 'certificate');
});
