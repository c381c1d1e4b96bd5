/** Who may do what, from the outside: roles and bindings, tokens of service accounts, acting as another, reviews. */
import { createPublicKey, verify } from 'node:crypto';
import t from 'tap';
import { bootstrap } from '../../master/api/bootstrap.ts';
import { RESOURCES } from '../../master/api/client.ts';
import {
  effectiveRules,
  ruleAllows,
  ruleAllowsPath,
  uncovered,
} from '../../master/api/rbac/rules.ts';
import { subjectMatches } from '../../master/api/rbac/subjects.ts';
import type { ClusterRole, PolicyRule } from '../../protocol/kinds/types.ts';
import {
  CONFIG_MAPS,
  configMap,
  type Fixture,
  type Identity,
  PODS,
  pod,
  startApi,
} from './api-fixture.ts';

const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const ROLES = `${RBAC}/namespaces/default/roles`;
const BINDINGS = `${RBAC}/namespaces/default/rolebindings`;
const ACCOUNTS = '/api/v1/namespaces/default/serviceaccounts';
const SAR = '/apis/authorization.k8s.io/v1/subjectaccessreviews';

// A busy machine may take long; nothing here waits for a time.
t.setTimeout(120_000);

let api: Fixture;
let jane: Identity;
t.before(async () => {
  api = await startApi();
  jane = await api.identity('jane', ['people']);
});
t.teardown(() => api.close());

const rule = (verbs: string[], resources: string[], group = ''): PolicyRule => ({
  verbs,
  apiGroups: [group],
  resources,
});
const attributes = (verb: string, path: string, name = '') => {
  const [resource = '', subresource = ''] = path.split('/');
  return { verb, group: '', resource, subresource, namespace: 'default', name };
};
const bind = (name: string, role: string, subject: object) => ({
  metadata: { name },
  roleRef: { kind: 'Role', name: role },
  subjects: [subject],
});
const asToken = (token: string) => ({
  as: 'nobody' as const,
  headers: { Authorization: `Bearer ${token}` },
});

t.test('a rule allows what it names and nothing beside it', (t) => {
  const cases: [PolicyRule, ReturnType<typeof attributes>, boolean][] = [
    [rule(['get'], ['pods']), attributes('list', 'pods'), false],
    [rule(['get'], ['pods'], 'apps'), attributes('get', 'pods'), false],
    [rule(['get'], ['pods']), attributes('get', 'pods/log'), false],
    [rule(['get'], ['*/log']), attributes('get', 'pods'), false],
    [{ ...rule(['get'], ['pods']), resourceNames: ['a'] }, attributes('get', 'pods', 'b'), false],
    [{ ...rule(['list'], ['pods']), resourceNames: ['a'] }, attributes('list', 'pods'), false],
    [{ verbs: ['*'], nonResourceURLs: ['*'] }, attributes('get', 'pods'), false],
    [rule(['get'], ['pods']), attributes('get', 'pods', 'b'), true],
    [rule(['*'], ['*'], '*'), attributes('delete', 'pods/exec'), true],
    [rule(['get'], ['*/log']), attributes('get', 'pods/log'), true],
    [{ ...rule(['get'], ['pods']), resourceNames: ['a'] }, attributes('get', 'pods', 'a'), true],
  ];
  for (const [one, what, allowed] of cases) {
    t.equal(ruleAllows(one, what), allowed, JSON.stringify([one, what]));
  }
  const paths = { verbs: ['get'], nonResourceURLs: ['/api/*', '/version'] };
  t.equal(ruleAllowsPath(paths, 'get', '/api/v1'), true);
  t.equal(ruleAllowsPath(paths, 'get', '/version'), true);
  t.equal(ruleAllowsPath(paths, 'get', '/apis'), false);
  t.equal(ruleAllowsPath(paths, 'post', '/version'), false);
  t.end();
});

t.test('rules that are not held are found one by one', (t) => {
  const held = [
    rule(['get', 'list'], ['pods']),
    { ...rule(['get'], ['secrets']), resourceNames: ['a'] },
  ];
  t.same(uncovered(held, [rule(['get', 'watch'], ['pods'])]), [rule(['watch'], ['pods'])]);
  t.same(uncovered(held, [rule(['get'], ['secrets'])]).length, 1, 'all of them are more than one');
  t.same(uncovered(held, [{ ...rule(['get'], ['secrets']), resourceNames: ['a'] }]), []);
  t.same(uncovered([rule(['*'], ['*'], '*')], [rule(['get'], ['a', 'b/c'])]), []);
  t.same(
    uncovered([rule(['*'], ['*'], '*')], [{ verbs: ['get'], nonResourceURLs: ['/x'] }]).length,
    1,
  );
  const all: ClusterRole[] = [
    { metadata: { name: 'a', labels: { to: 'b' } }, rules: [rule(['get'], ['a'])] },
    {
      metadata: { name: 'b', labels: { to: 'b' } },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: 'b' } }] },
    },
  ];
  t.same(all[1] && effectiveRules(all[1], all), [rule(['get'], ['a'])], 'and no endless circle');
  const account = { kind: 'ServiceAccount', name: 'sa' };
  const user = { name: 'system:serviceaccount:default:sa', groups: [] };
  t.equal(subjectMatches(account, user, 'default'), true);
  t.equal(subjectMatches(account, user, 'other'), false);
  t.equal(subjectMatches(account, user, ''), false);
  t.end();
});

t.test('roles and bindings are checked in the words of Kubernetes', async (t) => {
  const refused = async (path: string, body: object, words: RegExp) => {
    const answer = await api.call('POST', path, { body });
    t.equal(answer.code, 422, answer.text);
    t.match(answer.json.message, words);
  };
  const role = (rules: object[]) => ({ metadata: { name: 'wrong' }, rules });
  await refused(
    ROLES,
    role([{ apiGroups: [''], resources: ['pods'] }]),
    /rules\[0\].verbs: Required/,
  );
  await refused(
    ROLES,
    role([{ verbs: ['get'], nonResourceURLs: ['/x'] }]),
    /namespaced rules cannot apply to non-resource URLs/,
  );
  await refused(ROLES, role([{ verbs: ['get'], resources: ['pods'] }]), /at least one api group/);
  await refused(
    `${RBAC}/clusterrolebindings`,
    { metadata: { name: 'wrong' }, roleRef: { kind: 'Role', name: 'x' } },
    /roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"/,
  );
  await refused(
    BINDINGS,
    bind('wrong', 'x', { kind: 'Robot', name: 'r' }),
    /subjects\[0\].kind: Unsupported value: "Robot"/,
  );
  await api.call('POST', BINDINGS, { body: bind('fixed', 'x', { kind: 'User', name: 'u' }) });
  const moved = await api.call('PATCH', `${BINDINGS}/fixed`, {
    body: { roleRef: { name: 'y' } },
    type: 'application/merge-patch+json',
  });
  t.match(moved.json, { code: 422, message: /cannot change roleRef/ });
});

t.test('a binding gives exactly the rights of its role, until it goes', async (t) => {
  const read = { as: jane };
  t.equal((await api.call('GET', CONFIG_MAPS, read)).code, 403);
  await api.call('POST', BINDINGS, {
    body: bind('jane', 'reader', { kind: 'User', name: 'jane' }),
  });
  t.match((await api.call('GET', CONFIG_MAPS, read)).json, {
    code: 403,
    message: /RBAC: role.rbac.authorization.k8s.io "reader" not found$/,
  });
  const body = { metadata: { name: 'reader' }, rules: [rule(['get', 'list'], ['configmaps'])] };
  t.equal((await api.call('POST', ROLES, { body })).code, 201);
  t.equal((await api.call('GET', CONFIG_MAPS, read)).code, 200);
  t.equal((await api.call('GET', '/api/v1/configmaps', read)).code, 403, 'only in its namespace');
  t.equal((await api.call('POST', CONFIG_MAPS, { ...read, body: configMap('x') })).code, 403);
  t.equal((await api.call('GET', PODS, read)).code, 403);
  await api.call('DELETE', `${BINDINGS}/jane`);
  t.equal((await api.call('GET', CONFIG_MAPS, read)).code, 403);
});

t.test('the default roles are there, and come back with what was taken from them', async (t) => {
  const admin = await api.identity('ann', ['admins']);
  const binding = {
    metadata: { name: 'ann' },
    roleRef: { kind: 'ClusterRole', name: 'edit' },
    subjects: [{ kind: 'Group', name: 'admins' }],
  };
  t.equal((await api.call('POST', BINDINGS, { body: binding })).code, 201);
  t.equal((await api.call('POST', PODS, { as: admin, body: pod('from-ann') })).code, 201);
  t.equal((await api.call('GET', '/api/v1/namespaces/kube-system/pods', { as: admin })).code, 403);
  t.equal(
    (await api.call('POST', ROLES, { as: admin, body: { metadata: { name: 'r' } } })).code,
    403,
  );
  const view = await api.call('GET', `${RBAC}/clusterroles/system:aggregate-to-view`);
  const path = `${RBAC}/clusterroles/system:aggregate-to-view`;
  const extra = rule(['get'], ['mine']);
  const body = { rules: [...view.json.rules.slice(1), extra] };
  await api.call('PATCH', path, { body, type: 'application/merge-patch+json' });
  await bootstrap(api.client, { serviceIp: '10.43.0.1', dnsIp: '10.43.0.10' });
  const back = await api.call('GET', path);
  t.same(uncovered(back.json.rules, [...view.json.rules, extra]), []);
});

t.test('who may write pods may debug them only if a role says so', async (t) => {
  const as = await api.identity('debbie', []);
  const user = { kind: 'User', name: 'debbie' };
  await api.call('POST', PODS, { body: pod('ill') });
  const ephemeralContainers = [{ name: 'look', image: 'busybox' }];
  const type = 'application/strategic-merge-patch+json';
  const debug = () =>
    api.call('PATCH', `${PODS}/ill/ephemeralcontainers`, {
      ...{ as, type, body: { spec: { ephemeralContainers } } },
    });
  const roles = [
    ['writers', ['pods']],
    ['debuggers', ['pods/ephemeralcontainers']],
  ] as const;
  for (const [name, resources] of roles) {
    t.match((await debug()).json, { code: 403, message: /pods\/ephemeralcontainers/ });
    const rules = [rule(['get', 'update', 'patch'], [...resources])];
    await api.call('POST', ROLES, { body: { metadata: { name }, rules } });
    await api.call('POST', BINDINGS, { body: bind(name, name, user) });
  }
  t.equal((await debug()).code, 200);
});

t.test('nobody grants what he does not hold', async (t) => {
  const [granter, binder] = await Promise.all([
    api.identity('granter', []),
    api.identity('binder', []),
  ]);
  const roleRules = [
    {
      ...rule(
        ['create', 'update', 'patch'],
        ['roles', 'rolebindings'],
        'rbac.authorization.k8s.io',
      ),
    },
    rule(['get'], ['pods']),
  ];
  await api.call('POST', ROLES, { body: { metadata: { name: 'granters' }, rules: roleRules } });
  await api.call('POST', BINDINGS, {
    body: bind('granters', 'granters', { kind: 'User', name: 'granter' }),
  });
  const role = (name: string, rules: PolicyRule[]) => ({ metadata: { name }, rules });
  const large = role('large', [rule(['get', 'list'], ['pods'])]);
  const denied = await api.call('POST', ROLES, { as: granter, body: large });
  t.match(denied.json, {
    code: 403,
    message:
      'roles.rbac.authorization.k8s.io "large" is forbidden: user "granter" ' +
      '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n' +
      '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
  });
  const small = role('small', [rule(['get'], ['pods'])]);
  t.equal((await api.call('POST', ROLES, { as: granter, body: small })).code, 201);
  const grow = { body: { rules: large.rules }, type: 'application/merge-patch+json', as: granter };
  t.equal((await api.call('PATCH', `${ROLES}/small`, grow)).code, 403);
  await api.call('POST', ROLES, { body: large });
  const self = bind('self', 'large', { kind: 'User', name: 'granter' });
  t.match((await api.call('POST', BINDINGS, { as: granter, body: self })).json, {
    code: 403,
    message: /attempting to grant/,
  });
  const bindRules = [
    rule(['create'], ['rolebindings'], 'rbac.authorization.k8s.io'),
    { ...rule(['bind'], ['roles'], 'rbac.authorization.k8s.io'), resourceNames: ['large'] },
  ];
  await api.call('POST', ROLES, { body: role('binders', bindRules) });
  await api.call('POST', BINDINGS, {
    body: bind('binders', 'binders', { kind: 'User', name: 'binder' }),
  });
  t.equal((await api.call('POST', BINDINGS, { as: binder, body: self })).code, 201, 'by "bind"');
});

t.test('acting as another needs the right to, and then means it', async (t) => {
  const as = (headers: Record<string, string>, identity?: Identity) => ({
    headers,
    body: {},
    ...(identity === undefined ? {} : { as: identity }),
  });
  const who = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
  t.match((await api.call('POST', who, as({ 'Impersonate-User': 'bob' }, jane))).json, {
    code: 403,
    message: /User "jane" cannot impersonate resource "users" in API group "" at the cluster scope/,
  });
  t.equal((await api.call('POST', who, as({ 'Impersonate-Group': 'g' }))).code, 400);
  const bob = await api.call(
    'POST',
    who,
    as({ 'Impersonate-User': 'bob', 'Impersonate-Group': 'g', 'Impersonate-Extra-a%2fb': 'c' }),
  );
  t.same(bob.json.status.userInfo, {
    username: 'bob',
    groups: ['g', 'system:authenticated'],
    extra: { 'a/b': ['c'] },
  });
  const list = await api.call('GET', PODS, { headers: { 'Impersonate-User': 'bob' } });
  t.match(list.json, { code: 403, message: /User "bob" cannot list/ });
  const name = 'system:serviceaccount:default:sa';
  const account = await api.call('POST', who, as({ 'Impersonate-User': name }));
  t.match(account.json.status.userInfo.groups, ['system:serviceaccounts', /:default$/, /.*/]);
});

t.test('a pod gets the pull secrets of its service account, unless it names its own', async (t) => {
  const imagePullSecrets = [{ name: 'registry' }];
  await api.call('POST', ACCOUNTS, { body: { metadata: { name: 'puller' }, imagePullSecrets } });
  const made = async (name: string, more: object) => {
    const spec = { containers: [{ name: 'c', image: 'i' }], ...more };
    const answer = await api.call('POST', PODS, { body: { metadata: { name }, spec } });
    return answer.json.spec.imagePullSecrets;
  };
  t.same(await made('pulls', { serviceAccountName: 'puller' }), imagePullSecrets);
  const own = [{ name: 'own' }];
  const asked = { serviceAccountName: 'puller', imagePullSecrets: own };
  t.same(await made('pulls-its-own', asked), own);
  t.equal(await made('pulls-as-default', {}), undefined);
});

t.test('a token is refused for what is not there or makes no sense', async (t) => {
  const token = (name: string, spec: object) =>
    api.call('POST', `${ACCOUNTS}/${name}/token`, { body: { spec } });
  t.equal((await token('nobody', {})).code, 404);
  await api.call('POST', ACCOUNTS, { body: { metadata: { name: 'strict' } } });
  t.match((await token('strict', { expirationSeconds: 60 })).json, {
    code: 422,
    message:
      /expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes/,
  });
  t.match((await token('strict', { boundObjectRef: { kind: 'Robot' } })).json, { code: 422 });
  const ref = { kind: 'Pod', apiVersion: 'v1', name: 'none' };
  t.equal((await token('strict', { boundObjectRef: ref })).code, 404);
  await api.call('POST', PODS, { body: pod('of-another') });
  const other = await token('strict', { boundObjectRef: { ...ref, name: 'of-another' } });
  t.match(other.json, { code: 400, message: /different serviceaccount name/ });
  const stale = { boundObjectRef: { ...ref, name: 'of-another', uid: 'x' } };
  t.equal((await token('strict', stale)).code, 409);
  t.equal((await api.call('GET', `${ACCOUNTS}/strict/token`)).code, 405);
});

t.test('a service account is known by its token, until account or pod are gone', async (t) => {
  await api.call('POST', ACCOUNTS, { body: { metadata: { name: 'robot' } } });
  const made = await api.call('POST', `${ACCOUNTS}/robot/token`, { body: {} });
  t.equal(made.code, 201);
  const { token, expirationTimestamp } = made.json.status;
  t.ok(Date.parse(expirationTimestamp) > Date.now());
  const denied = await api.call('GET', PODS, asToken(token));
  t.match(denied.json, {
    code: 403,
    message: /User "system:serviceaccount:default:robot" cannot list/,
  });
  const reader = { metadata: { name: 'robots' }, rules: [rule(['list'], ['pods'])] };
  await api.call('POST', ROLES, { body: reader });
  const subject = { kind: 'ServiceAccount', name: 'robot', namespace: 'default' };
  await api.call('POST', BINDINGS, { body: bind('robots', 'robots', subject) });
  t.equal((await api.call('GET', PODS, asToken(token))).code, 200);

  const review = async (spec: object) =>
    (await api.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body: { spec } }))
      .json;
  t.match((await review({ token })).status, {
    authenticated: true,
    user: { username: 'system:serviceaccount:default:robot', groups: ['system:serviceaccounts'] },
  });
  t.match((await review({ token, audiences: ['vault'] })).status, {
    authenticated: undefined,
    error: /audiences/,
  });
  t.match((await review({ token: `${token}x` })).status, { error: 'invalid bearer token' });

  await api.call('POST', PODS, { body: pod('robot-pod', { serviceAccountName: 'robot' }) });
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'robot-pod' };
  const bound = await api.call('POST', `${ACCOUNTS}/robot/token`, {
    body: { spec: { boundObjectRef } },
  });
  const own = bound.json.status.token;
  t.match((await review({ token: own })).status.user.extra, {
    'authentication.kubernetes.io/pod-name': ['robot-pod'],
  });
  await api.call('DELETE', `${PODS}/robot-pod?gracePeriodSeconds=0`);
  t.equal((await api.call('GET', PODS, asToken(own))).code, 401, 'the pod is gone');
  t.equal((await api.call('GET', PODS, asToken(token))).code, 200);
  await api.call('DELETE', `${ACCOUNTS}/robot`);
  await api.call('POST', ACCOUNTS, { body: { metadata: { name: 'robot' } } });
  t.equal((await api.call('GET', PODS, asToken(token))).code, 401, 'another account of that name');
});

t.test('tokens end in time, and anybody can check them with the published key', async (t) => {
  let wallMs = 0;
  const late = await startApi({ clock: { monotonicMs: () => 0, wallMs: () => wallMs } });
  t.teardown(() => late.close());
  await late.call('POST', ACCOUNTS, { body: { metadata: { name: 'old' } } });
  const spec = { expirationSeconds: 600 };
  const made = await late.call('POST', `${ACCOUNTS}/old/token`, { body: { spec } });
  const { token } = made.json.status;
  t.equal((await late.call('GET', '/api', asToken(token))).code, 200, 'in 1970');
  wallMs = 601_000;
  t.equal((await late.call('GET', '/api', asToken(token))).code, 401);
  wallMs = -1000;
  t.equal((await late.call('GET', '/api', asToken(token))).code, 200, 'the clock was set back');
  const keys = await late.call('GET', '/openid/v1/jwks');
  const key = createPublicKey({ key: keys.json.keys[0], format: 'jwk' });
  const [head, body, signature = ''] = token.split('.');
  const text = Buffer.from(`${head}.${body}`);
  const options = { key, dsaEncoding: 'ieee-p1363' as const };
  t.equal(verify('sha256', text, options, Buffer.from(signature, 'base64url')), true);
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  t.equal((await late.call('GET', '/api', asToken(`${none}.${body}.`))).code, 401);
});

t.test('reviews answer from the same rules', async (t) => {
  const spec = (verb: string, name = '') => ({
    user: 'jane',
    groups: ['people'],
    resourceAttributes: { namespace: 'kube-system', verb, resource: 'secrets', name },
  });
  const ask = async (verb: string, name?: string) =>
    (await api.call('POST', SAR, { body: { spec: spec(verb, name) } })).json.status.allowed;
  t.equal(await ask('get', 'a'), false);
  await api.client.create(RESOURCES.roles, {
    metadata: { name: 'one-secret', namespace: 'kube-system' },
    rules: [{ ...rule(['get'], ['secrets']), resourceNames: ['a'] }],
  } as object);
  await api.client.create(RESOURCES.roleBindings, {
    metadata: { name: 'people', namespace: 'kube-system' },
    roleRef: { kind: 'Role', name: 'one-secret' },
    subjects: [{ kind: 'Group', name: 'people' }],
  } as object);
  t.equal(await ask('get', 'a'), true);
  t.equal(await ask('get', 'b'), false);
  t.equal(await ask('list'), false);
  const rules = await api.call('POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {
    body: { spec: { namespace: 'kube-system' } },
    as: jane,
  });
  t.match(
    rules.json.status.resourceRules.find((r: PolicyRule) => r.resourceNames?.includes('a')),
    { verbs: ['get'], resources: ['secrets'] },
  );
  t.equal(rules.json.status.incomplete, false);
});

t.test('pods get an account and a token of it, as with Kubernetes', async (t) => {
  const own = await startApi({ serviceAccounts: true });
  t.teardown(() => own.close());
  const account = (name: string, more: object) =>
    own.call('POST', ACCOUNTS, { body: { metadata: { name }, ...more } });
  let made = 0;
  const create = async (spec: object = {}) => {
    made += 1;
    const body = pod(`one-${made}`);
    return own.call('POST', PODS, { body: { ...body, spec: { ...body.spec, ...spec } } });
  };
  const nobody = await create({ serviceAccountName: 'ghost' });
  t.equal(nobody.code, 403);
  t.equal(
    nobody.json.message,
    'pods "one-1" is forbidden: error looking up service account default/ghost: serviceaccount "ghost" not found',
  );
  const early = create();
  await account('default', {});
  await account('quiet', { automountServiceAccountToken: false });
  t.equal((await early).code, 201, 'the default account may come a moment later');

  const { spec } = (await create()).json;
  const [{ name }] = spec.volumes;
  t.match(name, /^kube-api-access-[a-z0-9]{5}$/);
  t.match(spec, { serviceAccountName: 'default', serviceAccount: 'default' });
  const fieldRef = { apiVersion: 'v1', fieldPath: 'metadata.namespace' };
  t.same(spec.volumes[0].projected, {
    defaultMode: 0o644,
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef }] } },
    ],
  });
  const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';
  const mount = { name, readOnly: true, mountPath };
  t.same(spec.containers[0].volumeMounts, [mount]);

  const image = 'app:1';
  const emptyDir = {};
  const taken = { name: 'own', mountPath };
  const cases: [string, object, string[]][] = [
    ['the account declines', { serviceAccountName: 'quiet' }, []],
    [
      'the pod asks all the same',
      { serviceAccountName: 'quiet', automountServiceAccountToken: true },
      ['c'],
    ],
    ['the pod declines', { automountServiceAccountToken: false }, []],
    [
      'init containers, too',
      { initContainers: [{ name: 'first', image }], containers: [{ name: 'c', image }] },
      ['first', 'c'],
    ],
    [
      'what a container has at the path stays',
      {
        containers: [
          { name: 'c', image, volumeMounts: [taken] },
          { name: 'side', image },
        ],
        volumes: [{ name: 'own', emptyDir }],
      },
      ['side'],
    ],
    [
      'and when all have, there is no volume',
      {
        containers: [{ name: 'c', image, volumeMounts: [taken] }],
        volumes: [{ name: 'own', emptyDir }],
      },
      [],
    ],
  ];
  for (const [what, wish, mounted] of cases) {
    const answer = await create(wish);
    t.equal(answer.code, 201, what);
    t.equal(answer.headers.warning, undefined, what);
    const { volumes = [], initContainers = [], containers } = answer.json.spec;
    const given = volumes.find((one: { name: string }) => one.name.startsWith('kube-api-access-'));
    t.equal(given !== undefined, mounted.length > 0, what);
    const all: { name: string; volumeMounts?: { name: string }[] }[] = [
      ...initContainers,
      ...containers,
    ];
    const found = all.filter(({ volumeMounts = [] }) =>
      volumeMounts.some((one) => one.name === given?.name),
    );
    t.same(
      found.map((one) => one.name),
      mounted,
      what,
    );
  }
  const wrong = await create({
    volumes: [
      {
        name: 'a',
        projected: {
          sources: [
            { serviceAccountToken: { path: '../x', expirationSeconds: 599 } },
            { serviceAccountToken: { path: '', expirationSeconds: 2 ** 33 } },
          ],
        },
      },
    ],
  });
  t.equal(wrong.code, 422);
  for (const [index, words] of [
    [0, 'expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes'],
    [0, 'path: Invalid value: "../x": must not contain \'..\''],
    [1, 'expirationSeconds: Invalid value: 8589934592: may not specify a duration larger than'],
    [1, 'path: Required value'],
  ] as const) {
    const field = `spec.volumes[0].projected.sources[${index}].serviceAccountToken.`;
    t.ok(wrong.json.message.includes(field + words), wrong.json.message);
  }
});
