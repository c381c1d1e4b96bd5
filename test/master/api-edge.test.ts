/** The edge of the API from the outside: TLS, identities, limits, watches over the wire. */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { RESOURCES } from '../../master/api/client.ts';
import { KIND_MODULES } from '../../master/api/kinds/all.ts';
import { createLocalClient } from '../../master/api/local-client.ts';
import { buildOpenApi } from '../../master/api/openapi/build.ts';
import { openApiFolder } from '../../master/api/openapi/source.ts';
import { createRegistry } from '../../master/api/registry.ts';
import { writeParts } from '../../master/api/send-buffers.ts';
import { openMemoryStore } from '../../master/store/memory-store.ts';
import { NoSpaceError } from '../../master/store/store.ts';
import { encodeProtobuf } from '../../protocol/kinds/protobuf-encode.ts';
import { openWatchedStore } from '../support/watched-store.ts';
import { CONFIG_MAPS, configMap, type Fixture, PODS, pod, startApi, TABLE } from './api-fixture.ts';

// A busy machine may take long; nothing here waits for a time.
t.setTimeout(120_000);

let api: Fixture;
t.before(async () => {
  api = await startApi({
    metrics: {
      nodes: () => [
        { name: 'pi1', timestamp: '1970-01-01T00:00:00Z', window: '15s', usage: { cpu: '1m' } },
      ],
      pods: () => [],
    },
  });
});
t.teardown(() => api.close());

t.test('bodies may be YAML, within limits', async (t) => {
  const yaml = 'metadata:\n  name: from-yaml\ndata:\n  a: "1"\n';
  const made = await api.call('POST', CONFIG_MAPS, { body: yaml, type: 'application/yaml' });
  t.equal(made.code, 201);
  const got = await api.call('GET', `${CONFIG_MAPS}/from-yaml`, { accept: 'application/yaml' });
  t.match(got.text, /kind: ConfigMap\n/);
  t.match(got.text, /data:\n {2}a: "1"\n/);
  const doubled = await api.call('POST', `${CONFIG_MAPS}?fieldValidation=Strict`, {
    body: 'metadata:\n  name: doubled\ndata:\n  a: "1"\n  a: "2"\n',
    type: 'application/yaml',
  });
  t.match(doubled.json, { code: 400, message: /strict decoding error: duplicate field "data.a"/ });
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
  for (const [i, name] of ['b', 'c', 'd', 'e', 'f', 'g'].entries()) {
    const last = `*${'abcdef'[i]}`;
    bomb.push(`${name}: &${name} [${Array(10).fill(last).join(',')}]`);
  }
  const refused = await api.call('POST', CONFIG_MAPS, {
    body: bomb.join('\n'),
    type: 'application/yaml',
  });
  t.match(refused.json, { code: 400, message: /no acceptable YAML/ });
});

t.test('a body over 3 MiB is refused', async (t) => {
  const body = JSON.stringify(configMap('big', { a: 'x'.repeat(3 * 1024 * 1024) }));
  const refused = await api.call('POST', CONFIG_MAPS, { body }).catch((error: Error) => error);
  // The server may close while the client still writes: both are a refusal.
  if (!(refused instanceof Error))
    t.match(refused.json, { code: 413, reason: 'RequestEntityTooLarge' });
  t.equal((await api.call('GET', `${CONFIG_MAPS}/big`)).code, 404);
});

t.test('only certificates of our authority are answered', async (t) => {
  const nobody = await api.call('GET', '/version', { as: 'nobody' });
  t.match(nobody.json, { code: 401, reason: 'Unauthorized', kind: 'Status' });
  const stranger = await startApi();
  t.teardown(() => stranger.close());
  const foreign = await api.call('GET', PODS, { as: stranger.pki.admin });
  t.equal(foreign.code, 401, 'another authority signed it');

  const user = await api.identity('jane', ['people']);
  const denied = await api.call('GET', `${PODS}/x`, { as: user });
  t.match(denied.json, {
    code: 403,
    reason: 'Forbidden',
    message:
      'pods "x" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default"',
  });
  t.match((await api.call('GET', '/api/v1/nodes', { as: user })).json, {
    message:
      'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope',
  });
  t.equal((await api.call('GET', '/apis', { as: user })).code, 200);
  t.match((await api.call('GET', '/pier/x', { as: user })).json, { code: 403 });
});

t.test('a board may do only what concerns itself', async (t) => {
  const board = await api.identity('system:node:pi1', ['system:nodes']);
  const other = await api.identity('system:node:pi2', ['system:nodes']);
  await api.call('POST', '/api/v1/nodes', { body: { metadata: { name: 'pi1' } } });
  await api.call('POST', PODS, { body: pod('logged') });
  await api.client.bind('default', 'logged', '', 'pi1');
  t.equal((await api.call('GET', '/api/v1/nodes/pi1', { as: board })).code, 200);
  t.equal((await api.call('GET', '/api/v1/nodes/pi1', { as: other })).code, 403);
  t.equal((await api.call('GET', `${PODS}/logged`, { as: board })).code, 200);
  t.equal((await api.call('GET', `${PODS}/logged`, { as: other })).code, 403);
  const status = { body: { status: { phase: 'Running' } }, type: 'application/merge-patch+json' };
  const patched = await api.call('PATCH', `${PODS}/logged/status`, { ...status, as: board });
  t.equal(patched.json.status.phase, 'Running');
  t.equal((await api.call('PATCH', `${PODS}/logged`, { ...status, as: board })).code, 403);
  t.equal((await api.call('GET', '/api/v1/namespaces/default/secrets', { as: board })).code, 403);
  const own = await api.call('GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dpi1', {
    as: board,
  });
  t.equal(own.json.items.length, 1);
  t.equal((await api.call('GET', '/api/v1/pods', { as: board })).code, 403);
});

t.test('paths and methods that are not there are Status errors', async (t) => {
  t.match((await api.call('GET', '/api/v1/nothings')).json, { code: 404, reason: 'NotFound' });
  t.match((await api.call('GET', '/nothing')).json, { code: 404 });
  t.match((await api.call('POST', `${PODS}/x`, { body: {} })).json, {
    code: 405,
    reason: 'MethodNotAllowed',
  });
  t.match((await api.call('POST', '/api/v1/pods', { body: {} })).json, { code: 405 });
  t.match((await api.call('POST', '/version')).json, { code: 405 });
  t.match((await api.call('OPTIONS', PODS)).json, { code: 405 });
  t.match((await api.call('GET', '/api/v1/namespaces/a/nodes')).json, { code: 404 });
  t.match((await api.call('GET', `${PODS}/%zz`)).json, { code: 400 });
  t.match((await api.call('GET', PODS, { accept: 'text/html' })).json, { code: 406 });
});

t.test('discovery answers in the form that was asked for', async (t) => {
  const agg = (v: string) =>
    `application/json;g=apidiscovery.k8s.io;v=${v};as=APIGroupDiscoveryList`;
  const v2 = await api.call('GET', '/apis', {
    accept: `${agg('v2')},${agg('v2beta1')},application/json`,
  });
  t.equal(v2.headers['content-type'], agg('v2'));
  t.equal(v2.json.apiVersion, 'apidiscovery.k8s.io/v2');
  const beta = await api.call('GET', '/api', { accept: `${agg('v2beta1')},application/json` });
  t.equal(beta.json.apiVersion, 'apidiscovery.k8s.io/v2beta1');
  const pods = beta.json.items[0].versions[0].resources.find(
    (r: { resource: string }) => r.resource === 'pods',
  );
  t.match(pods, { responseKind: { kind: 'Pod' }, scope: 'Namespaced', shortNames: ['po'] });
  const core = await api.call('GET', '/api/v1');
  t.match(
    core.json.resources.find((r: { name: string }) => r.name === 'pods/eviction'),
    { group: 'policy', version: 'v1', kind: 'Eviction' },
  );
  t.equal((await api.call('GET', '/apis')).json.kind, 'APIGroupList');
  t.equal((await api.call('GET', '/apis/apps')).json.kind, 'APIGroup');
  t.equal((await api.call('GET', '/apis/apps/v1')).json.groupVersion, 'apps/v1');
  t.equal((await api.call('GET', '/apis/apps/v9')).code, 404);
  t.equal((await api.call('GET', '/livez')).text, 'ok');
  t.match((await api.call('GET', '/readyz?verbose')).text, /\[\+\]ping ok\nreadyz check passed/);
  t.match((await api.call('GET', '/version')).json, { major: '1', gitVersion: /\+pier$/ });
});

t.test('OpenAPI documents are hashed, cached and compressed', async (t) => {
  const index = await api.call('GET', '/openapi/v3');
  const same = { 'If-None-Match': `W/"x", ${index.headers.etag}` };
  t.equal((await api.call('GET', '/openapi/v3', { headers: same })).code, 304);
  const url = index.json.paths['apis/apps/v1'].serverRelativeURL;
  const apps = await api.call('GET', url);
  t.match(apps.headers, {
    'cache-control': 'public, immutable, max-age=31536000',
    vary: 'Accept, Accept-Encoding',
    etag: /^"[0-9A-F]{128}"$/,
  });
  t.equal(`"${url.split('hash=')[1]}"`, apps.headers.etag);
  const cached = await api.call('GET', url, {
    headers: { 'If-None-Match': String(apps.headers.etag) },
  });
  t.match(cached, { code: 304, text: '', headers: { etag: apps.headers.etag } });
  const gzip = await api.call('GET', url, { headers: { 'Accept-Encoding': 'gzip' } });
  t.equal(gzip.headers['content-encoding'], 'gzip');
  t.ok(Number(gzip.headers['content-length']) * 5 < Buffer.byteLength(apps.text));
  const refused = await api.call('GET', url, { headers: { 'Accept-Encoding': 'gzip;q=0, br' } });
  t.equal(refused.headers['content-encoding'], undefined);
  t.equal(refused.text, apps.text);

  const old = await api.call('GET', '/openapi/v3/apis/apps/v1?hash=OLD');
  t.match(old, { code: 301, headers: { location: url } });
  t.notOk(old.headers['cache-control'], 'what an old address holds is kept by nobody');
  const unhashed = await api.call('GET', '/openapi/v3/apis/apps/v1');
  t.match(unhashed.headers, { 'cache-control': 'no-cache, private', etag: apps.headers.etag });
  t.equal((await api.call('GET', '/openapi/v3/apis/none/v1')).code, 404);
  t.equal((await api.call('GET', url, { accept: 'application/x-other' })).code, 406);
});

t.test('OpenAPI documents say what clients look for', async (t) => {
  const { paths: places } = (await api.call('GET', '/openapi/v3')).json;
  const document = async (place: string) =>
    (await api.call('GET', places[place].serverRelativeURL)).json;
  const apps = await document('apis/apps/v1');
  const kind = 'x-kubernetes-group-version-kind';
  const schema = apps.components.schemas['io.k8s.api.apps.v1.Deployment'];
  t.match(schema[kind], [{ group: 'apps', kind: 'Deployment' }]);
  const path = '/apis/apps/v1/namespaces/{namespace}/deployments/{name}';
  const { patch } = apps.paths[path];
  t.ok(patch.requestBody.content['application/strategic-merge-patch+json']);
  t.ok(patch.parameters.some((p: { name: string }) => p.name === 'fieldValidation'));
  const { containers } = apps.components.schemas['io.k8s.api.core.v1.PodSpec'].properties;
  t.equal(containers['x-kubernetes-patch-merge-key'], 'name');
  t.match(apps.paths[`${path}/scale`].patch[kind], { group: 'autoscaling', kind: 'Scale' });
  const core = await document('api/v1');
  t.notOk(core.paths['/api/v1/namespaces'].delete, 'as discovery says');
  const inPod = '/api/v1/namespaces/{namespace}/pods/{name}';
  t.match(core.paths[`${inPod}/eviction`].post[kind], { group: 'policy', kind: 'Eviction' });
  t.notOk(core.paths[`${inPod}/log`].get.responses[200].content['application/json']);
  const reviews = await document('apis/authorization.k8s.io/v1');
  const review = reviews.paths['/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'];
  t.same(Object.keys(review).sort(), ['parameters', 'post'], 'nothing that it cannot do');
  for (const place of Object.keys(places)) {
    const { components, ...rest } = await document(place);
    const text = JSON.stringify({ components, ...rest });
    for (const [, ref = ''] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (components.schemas[ref] === undefined) t.fail(`${place}: ${ref} is missing`);
    }
  }
});

t.test('OpenAPI documents that a build made ahead are served from their files', async (t) => {
  const folder = join(api.dir, 'openapi');
  t.equal(await openApiFolder(folder), undefined);
  await buildOpenApi(folder);
  const openapi = await openApiFolder(folder);
  if (openapi === undefined) throw new Error('there is no index');
  const ahead = await startApi({ openapi });
  t.teardown(() => ahead.close());
  const index = await ahead.call('GET', '/openapi/v3');
  const now = (await api.call('GET', '/openapi/v3')).json.paths;
  t.ok(Object.keys(now).length > 10);
  for (const [place, { serverRelativeURL }] of Object.entries<{ serverRelativeURL: string }>(now)) {
    t.equal(index.json.paths[place].serverRelativeURL, serverRelativeURL, `${place} is the same`);
  }
  const url = index.json.paths['api/v1'].serverRelativeURL;
  t.equal((await ahead.call('GET', url)).text, (await api.call('GET', url)).text);
  await rm(folder, { recursive: true });
  t.equal((await ahead.call('GET', url)).code, 500, 'nothing of it is kept in memory');
});

t.test('reviews and metrics are answered', async (t) => {
  const review = (kind: string, spec: object, as = api.pki.admin) =>
    api.call('POST', `/apis/authorization.k8s.io/v1/${kind}`, { body: { spec }, as });
  const jane = await api.identity('jane', []);
  const attributes = {
    resourceAttributes: { verb: 'get', resource: 'pods', namespace: 'default' },
  };
  t.match((await review('selfsubjectaccessreviews', attributes)).json.status, { allowed: true });
  t.match((await review('selfsubjectaccessreviews', attributes, jane)).json.status, {
    allowed: false,
  });
  t.equal((await review('subjectaccessreviews', { ...attributes, user: 'x' }, jane)).code, 403);
  t.match((await review('subjectaccessreviews', { ...attributes, user: 'x' })).json.status, {
    allowed: false,
  });
  t.match((await review('selfsubjectaccessreviews', {})).json, { code: 400 });
  const who = await api.call('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
    body: {},
    as: jane,
  });
  t.match(who.json.status.userInfo, { username: 'jane' });
  const metrics = await api.call('GET', '/apis/metrics.k8s.io/v1beta1/nodes');
  t.match(metrics.json, {
    kind: 'NodeMetricsList',
    items: [{ metadata: { name: 'pi1' }, usage: { cpu: '1m' } }],
  });
  t.equal((await api.call('GET', '/apis/metrics.k8s.io/v1beta1/nodes/none')).code, 404);
});

t.test('autoscalers are the same objects in both versions', async (t) => {
  const url = (version: string, name = '') =>
    `/apis/autoscaling/${version}/namespaces/default/horizontalpodautoscalers${name}`;
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' };
  const spec = { scaleTargetRef, maxReplicas: 3, targetCPUUtilizationPercentage: 70 };
  const made = await api.call('POST', url('v1'), { body: { metadata: { name: 'web' }, spec } });
  t.match(made.json, { apiVersion: 'autoscaling/v1', spec });
  const seen = await api.call('GET', url('v2', '/web'));
  t.match(seen.json, {
    metadata: { uid: made.json.metadata.uid, generation: 1 },
    spec: { minReplicas: 1, metrics: [{ resource: { target: { averageUtilization: 70 } } }] },
  });
  const watch = await api.stream(
    `${url('v1')}?watch=1&resourceVersion=${made.json.metadata.resourceVersion}`,
  );
  const conditions = [{ type: 'AbleToScale', status: 'True', reason: 'ReadyForNewScale' }];
  const memory = { type: 'AverageValue', averageValue: '64Mi' };
  const metrics = [
    ...seen.json.spec.metrics,
    { type: 'Resource', resource: { name: 'memory', target: memory } },
  ];
  const type = 'application/merge-patch+json';
  await api.call('PATCH', url('v2', '/web'), { body: { spec: { metrics } }, type });
  const status = { currentReplicas: 1, desiredReplicas: 1, conditions };
  await api.call('PATCH', url('v2', '/web/status'), { body: { status }, type });
  const [, told] = await watch.take(2);
  watch.close();
  t.match(told.object, { apiVersion: 'autoscaling/v1', status: { desiredReplicas: 1 } });
  const sent = { ...told.object, spec: { ...told.object.spec, maxReplicas: 7 } };
  t.equal((await api.call('PUT', url('v1', '/web'), { body: sent })).code, 200);
  const after = await api.call('GET', url('v2', '/web'));
  t.match(after.json, { metadata: { generation: 3 }, spec: { maxReplicas: 7, metrics }, status });
  t.equal(after.json.metadata.annotations, undefined);
  const stripped = { ...sent, metadata: { name: 'web' } };
  t.equal((await api.call('PUT', url('v1', '/web'), { body: stripped })).code, 200);
  const rest = await api.call('GET', url('v2', '/web'));
  t.match(rest.json.status, status, "the status is not the client's to lose");
  t.equal(rest.json.spec.metrics.length, 1, 'what it left out is gone');
  const wrong = await api.call('POST', url('v1'), {
    body: {
      metadata: { name: 'x', annotations: { 'autoscaling.alpha.kubernetes.io/metrics': '[' } },
      spec,
    },
  });
  t.match(wrong.json, { code: 422, message: /must be JSON/ });
  const list = await api.call('GET', url('v1'), { accept: TABLE });
  t.match(list.json.rows[0].cells.slice(0, 3), ['web', 'Deployment/web', 'cpu: <unknown>/70%']);
  t.equal((await api.call('DELETE', url('v1', '/web'))).code, 200);
});

t.test('too many requests of one user are put off', async (t) => {
  const small = await startApi({ inFlight: { readsMax: 2, writesMax: 1, userShare: 1 } });
  t.teardown(() => small.close());
  const { admin, caCertificate } = small.pki;
  const slow = request({
    host: '127.0.0.1',
    servername: 'localhost',
    port: small.port,
    method: 'POST',
    path: CONFIG_MAPS,
    ca: caCertificate,
    cert: admin.certificate,
    key: admin.privateKey,
    headers: { 'Content-Length': 100, 'Content-Type': 'application/json', Expect: '100-continue' },
  });
  slow.on('error', () => undefined);
  slow.flushHeaders();
  await once(slow, 'continue');
  const refused = await small.call('POST', CONFIG_MAPS, { body: configMap('rush') });
  t.match(refused.json, { code: 429, reason: 'TooManyRequests' });
  t.equal(refused.headers['retry-after'], '1');
  t.equal((await small.call('GET', CONFIG_MAPS)).code, 200, 'reads have room of their own');
  slow.destroy();
});

t.test('a body may be Kubernetes protobuf', async (t) => {
  const object = { metadata: { name: 'from-protobuf' }, data: { a: '1' } };
  const made = await api.call('POST', CONFIG_MAPS, {
    body: encodeProtobuf('v1', 'ConfigMap', object),
    type: 'application/vnd.kubernetes.protobuf',
  });
  t.equal(made.code, 201);
  t.match(made.json, { kind: 'ConfigMap', data: { a: '1' } });
  const damaged = await api.call('POST', CONFIG_MAPS, {
    body: encodeProtobuf('v1', 'ConfigMap', object).subarray(0, 30),
    type: 'application/vnd.kubernetes.protobuf',
  });
  t.equal(damaged.code, 400);
});

t.test('a client that does not read its watch is cut', async (t) => {
  const { store, closed } = openWatchedStore();
  const small = await startApi({ store, watchLimits: { slowMs: 100 } });
  t.teardown(() => small.close());
  const slow = await small.stream(`${CONFIG_MAPS}?watch=1&resourceVersion=${store.revision}`);
  slow.response.on('error', () => undefined);
  slow.response.pause();
  await small.call('POST', CONFIG_MAPS, { body: configMap('large', { a: 'x'.repeat(500_000) }) });
  for (let i = 0; i < 40; i += 1) {
    await small.client.patch(RESOURCES.configMaps, 'default', 'large', { data: { b: String(i) } });
  }
  await closed;
  t.equal((await small.call('GET', `${CONFIG_MAPS}/large`)).code, 200);
  slow.close();
});

t.test('paths of our own and upgrades go to their handlers, with the user', async (t) => {
  const own = await startApi();
  t.teardown(() => own.close());
  own.server.onRequest('/pier/v1/who', async (_message, response, user) => {
    response.end(user.name);
  });
  own.server.onUpgrade('/pier/v1/streams', (_message, socket, _head, user) => {
    socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n${user.name}`,
    );
  });
  t.equal((await own.call('GET', '/pier/v1/who')).text, 'pier-admin');
  t.equal((await own.call('GET', '/pier/v1/who', { as: 'nobody' })).code, 401);
  const upgrade = (path: string) => {
    const { admin, caCertificate } = own.pki;
    const outgoing = request({
      host: '127.0.0.1',
      servername: 'localhost',
      port: own.port,
      path,
      ca: caCertificate,
      cert: admin.certificate,
      key: admin.privateKey,
      headers: { Connection: 'Upgrade', Upgrade: 'x' },
    });
    outgoing.end();
    return outgoing;
  };
  const [, socket, head] = await once(upgrade('/pier/v1/streams'), 'upgrade');
  t.equal(String(head) || String((await once(socket, 'data'))[0]), 'pier-admin');
  socket.destroy();
  const [refused] = await once(upgrade('/elsewhere'), 'response');
  t.equal(refused.statusCode, 400, 'what cannot be upgraded is refused');
});

t.test('a connection that resumes a TLS session keeps its user', async (t) => {
  const { admin, caCertificate } = api.pki;
  const agent = new Agent({ ca: caCertificate, cert: admin.certificate, key: admin.privateKey });
  const options = { host: '127.0.0.1', servername: 'localhost', port: api.port, agent };
  const resumed: boolean[] = [];
  for (let i = 0; i < 3; i += 1) {
    const outgoing = request({ ...options, path: '/version' });
    outgoing.end();
    const [response] = await once(outgoing, 'response');
    resumed.push(response.socket.isSessionReused());
    t.equal(response.statusCode, 200);
    response.resume();
    await once(response, 'end');
  }
  t.ok(resumed.includes(true), 'a session was resumed');
});

t.test('a server that stops ends its watches, and a busy client does not keep it', async (t) => {
  const own = await startApi();
  t.teardown(() => own.close());
  const watch = await own.stream('/api/v1/namespaces?watch=1&resourceVersion=0');
  let answers = 0;
  // Each call on the connection of the one before, until the server is gone.
  const calls = async (): Promise<never> => {
    for (; ; answers++) t.equal((await own.call('GET', '/api/v1/namespaces')).code, 200);
  };
  const busy = Promise.allSettled([calls(), calls(), calls()]);
  while (answers < 20) await new Promise((resolve) => setImmediate(resolve));
  // The grace time is far longer than this test may take.
  await own.server.close(3_600_000);
  for (const end of await busy) {
    t.match(end, { status: 'rejected', reason: { code: /ECONNREFUSED|ECONNRESET/ } });
  }
  t.ok((await watch.take(20)).includes(undefined), 'the watch has ended');
});

t.test('a full or closed store is told as such', async (t) => {
  const store = openMemoryStore();
  Object.assign(store, { txn: () => Promise.reject(new NoSpaceError('no room on /var')) });
  const registry = await createRegistry({
    store,
    memoryStore: openMemoryStore(),
    modules: KIND_MODULES,
  });
  const client = createLocalClient(registry, { name: 'x', groups: ['system:masters'] });
  await t.rejects(client.create(RESOURCES.namespaces, { metadata: { name: 'a' } }), {
    code: 503,
    message: /the disk of the master is full: no room on/,
  });
  await store.close();
  const closed = { code: 503, message: /shutting down/ };
  await t.rejects(client.get(RESOURCES.namespaces, '', 'a'), closed);
  await t.rejects(client.list(RESOURCES.namespaces), closed);
});

t.test('a chunk that a client has not taken yet is not written over by the next one', async (t) => {
  const waiting: Array<{ readonly chunk: Buffer; readonly taken: (error?: Error) => void }> = [];
  const slow = () =>
    new Writable({
      write: (chunk: Buffer, _, taken) => void waiting.push({ chunk, taken }),
    }).on('error', () => undefined);
  const parts = (letter: string) => [Buffer.from(letter.repeat(40)), Buffer.from(letter)];
  const send = (letter: string) => writeParts(slow(), parts(letter));
  for (const letter of ['a', 'b', 'c']) send(letter);
  const texts = () => waiting.map(({ chunk }) => chunk.toString());
  const expected = ['a', 'b', 'c'].map((letter) => letter.repeat(41));
  t.same(texts(), expected);
  waiting[0]?.taken();
  waiting[1]?.taken(new Error('the client is gone'));
  await new Promise(setImmediate);
  send('d');
  send('e');
  t.equal(waiting[3]?.chunk.buffer, waiting[0]?.chunk.buffer, 'what was taken is used again');
  t.same(texts().slice(1), [...expected.slice(1), 'd'.repeat(41), 'e'.repeat(41)]);
  const large = Buffer.alloc(100_000, 'x');
  writeParts(slow(), [large, Buffer.from('y')]);
  t.equal(waiting.at(-1)?.chunk.toString(), `${'x'.repeat(100_000)}y`, 'larger than any buffer');
});
