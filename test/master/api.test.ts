/** The API over real HTTPS: verbs, selectors, lists, watches, errors. */
import t from 'tap';
import { RESOURCES } from '../../master/api/client.ts';
import { KIND_MODULES } from '../../master/api/kinds/all.ts';
import { createLocalClient } from '../../master/api/local-client.ts';
import { createRegistry } from '../../master/api/registry.ts';
import { openMemoryStore } from '../../master/store/memory-store.ts';
import type { Namespace, Pod, Service } from '../../protocol/kinds/types.ts';
import {
  CONFIG_MAPS,
  configMap,
  DEPLOYMENTS,
  deployment,
  type Fixture,
  PODS,
  pod,
  SERVICES,
  startApi,
  TABLE,
} from './api-fixture.ts';

let api: Fixture;
t.before(async () => {
  api = await startApi({
    watchLimits: { bookmarkMs: 50 },
    logs: {
      open: async (_pod, options) =>
        (async function* () {
          yield Buffer.from(`${options.container} ${options.tailLines ?? 'all'}\n`);
        })(),
    },
  });
});
t.teardown(() => api.close());

t.test('objects are created, read, changed and deleted', async (t) => {
  const made = await api.call('POST', CONFIG_MAPS, { body: configMap('crud', { a: '1' }) });
  t.equal(made.code, 201);
  t.match(made.json, {
    kind: 'ConfigMap',
    apiVersion: 'v1',
    metadata: {
      name: 'crud',
      namespace: 'default',
      uid: /^[0-9a-f-]{36}$/,
      resourceVersion: /^\d+$/,
    },
    data: { a: '1' },
  });
  t.match(made.json.metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);

  const got = await api.call('GET', `${CONFIG_MAPS}/crud`);
  t.strictSame(got.json, made.json, 'a read shows what the create answered');

  const body = { ...got.json, data: { a: '2' } };
  const put = await api.call('PUT', `${CONFIG_MAPS}/crud`, { body });
  t.equal(put.code, 200);
  t.strictSame(put.json.data, { a: '2' });
  t.ok(Number(put.json.metadata.resourceVersion) > Number(got.json.metadata.resourceVersion));

  const again = await api.call('PUT', `${CONFIG_MAPS}/crud`, { body: put.json });
  t.equal(
    again.json.metadata.resourceVersion,
    put.json.metadata.resourceVersion,
    'a write that changes nothing takes no revision',
  );

  const stale = await api.call('PUT', `${CONFIG_MAPS}/crud`, { body });
  t.equal(stale.code, 409);
  t.match(stale.json, {
    kind: 'Status',
    reason: 'Conflict',
    message:
      'Operation cannot be fulfilled on configmaps "crud": the object has been modified; please apply your changes to the latest version and try again',
    details: { name: 'crud', kind: 'configmaps' },
  });

  const gone = await api.call('DELETE', `${CONFIG_MAPS}/crud`);
  t.equal(gone.code, 200);
  t.match(gone.json, { kind: 'Status', status: 'Success', details: { name: 'crud' } });
  const missing = await api.call('GET', `${CONFIG_MAPS}/crud`);
  t.equal(missing.code, 404);
  t.strictSame(missing.json, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: 'configmaps "crud" not found',
    reason: 'NotFound',
    details: { name: 'crud', kind: 'configmaps' },
    code: 404,
  });
});

t.test('what cannot be created is refused in the words of Kubernetes', async (t) => {
  const post = (path: string, body: unknown, type?: string) =>
    api.call('POST', path, { body, ...(type === undefined ? {} : { type }) });
  await post(CONFIG_MAPS, configMap('twice'));
  const twice = await post(CONFIG_MAPS, configMap('twice'));
  t.match(twice.json, {
    code: 409,
    reason: 'AlreadyExists',
    message: 'configmaps "twice" already exists',
  });

  const nowhere = await post('/api/v1/namespaces/nowhere/configmaps', configMap('a'));
  t.match(nowhere.json, { code: 404, message: 'namespaces "nowhere" not found' });

  const other = await post(CONFIG_MAPS, configMap('a', {}, { namespace: 'other' }));
  t.match(other.json, { code: 400, message: /namespace of the provided object does not match/ });

  const nameless = await post(CONFIG_MAPS, { data: {} });
  t.match(nameless.json, {
    code: 422,
    reason: 'Invalid',
    details: { causes: [{ field: 'metadata.name', reason: 'FieldValueRequired' }] },
  });
  t.match((await post(CONFIG_MAPS, configMap('Bad_Name'))).json, {
    code: 422,
    message: /ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value/,
  });
  t.match((await post(PODS, pod('p', { containers: 'x' }))).json, {
    code: 400,
    message: /cannot unmarshal string into Go struct field PodSpec.spec.containers/,
  });
  t.match((await post(PODS, { ...configMap('a'), kind: 'ConfigMap' })).json, { code: 400 });
  t.match((await post(PODS, { ...pod('a'), apiVersion: 'apps/v1' })).json, {
    code: 400,
    message: 'the API version in the data (apps/v1) does not match the expected API version (v1)',
  });
  t.match((await post(PODS, '{"metadata":')).json, { code: 400, reason: 'BadRequest' });
  t.match((await post(PODS, 'x=1', 'application/x-www-form-urlencoded')).json, {
    code: 415,
    reason: 'UnsupportedMediaType',
    message: /the body of the request was in an unknown format - accepted media types include/,
  });
  t.match((await post(PODS, pod('p', { containers: [] }))).json, { code: 422, reason: 'Invalid' });
  t.match((await post(`${CONFIG_MAPS}?dryRun=Maybe`, configMap('a'))).json, { code: 422 });
});

t.test('unknown fields are refused, told or passed over, as asked', async (t) => {
  const body = { ...configMap('fields'), foo: 1 };
  const strict = await api.call('POST', `${CONFIG_MAPS}?fieldValidation=Strict`, { body });
  t.match(strict.json, { code: 400, message: /strict decoding error: unknown field "foo"/ });
  const warned = await api.call('POST', `${CONFIG_MAPS}?dryRun=All`, { body });
  t.equal(warned.code, 201);
  t.equal(warned.headers.warning, '299 - "unknown field \\"foo\\""');
  const ignored = await api.call('POST', `${CONFIG_MAPS}?dryRun=All&fieldValidation=Ignore`, {
    body,
  });
  t.equal(ignored.headers.warning, undefined);
  const text = '{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}';
  const doubled = await api.call('POST', `${CONFIG_MAPS}?fieldValidation=Strict`, { body: text });
  t.match(doubled.json, { code: 400, message: /duplicate field "data.a"/ });
});

t.test('generated names are unique and dry runs store nothing', async (t) => {
  const body = { metadata: { generateName: 'gen-' } };
  const one = await api.call('POST', CONFIG_MAPS, { body });
  const two = await api.call('POST', CONFIG_MAPS, { body });
  t.match(one.json.metadata.name, /^gen-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  t.not(one.json.metadata.name, two.json.metadata.name);
  const before = api.store.revision;
  const dry = await api.call('POST', `${CONFIG_MAPS}?dryRun=All`, { body: configMap('dry') });
  t.equal(dry.code, 201);
  t.equal(dry.json.metadata.resourceVersion, undefined);
  const dryService = {
    metadata: { name: 'dry' },
    spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 32000 }] },
  };
  for (let i = 0; i < 2; i += 1) {
    const answer = await api.call('POST', `${SERVICES}?dryRun=All`, { body: dryService });
    t.equal(answer.code, 201, 'a dry run gives the node port back');
  }
  await api.call('DELETE', `${CONFIG_MAPS}/${one.json.metadata.name}?dryRun=All`);
  t.equal(api.store.revision, before);
});

t.test('patches of all types change objects', async (t) => {
  await api.call('POST', DEPLOYMENTS, { body: deployment('patched') });
  const patch = (body: unknown, type: string, query = '') =>
    api.call('PATCH', `${DEPLOYMENTS}/patched${query}`, { body, type: `application/${type}` });
  const merged = await patch({ metadata: { labels: { a: 'b' } } }, 'merge-patch+json');
  t.strictSame(merged.json.metadata.labels, { a: 'b' });
  t.equal(merged.json.metadata.generation, 1, 'labels are no desired state');
  const strategic = await patch(
    { spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx' }] } } } },
    'strategic-merge-patch+json',
  );
  t.equal(strategic.json.spec.template.spec.containers[0].image, 'nginx');
  t.equal(strategic.json.spec.template.spec.containers[0].imagePullPolicy, 'Always');
  t.equal(strategic.json.metadata.generation, 2);
  const replaced = await patch(
    [{ op: 'replace', path: '/spec/replicas', value: 7 }],
    'json-patch+json',
  );
  t.equal(replaced.json.spec.replicas, 7);
  const nothing = await patch({ spec: { replicas: 7 } }, 'merge-patch+json');
  t.equal(nothing.json.metadata.resourceVersion, replaced.json.metadata.resourceVersion);
  t.match(
    (await patch([{ op: 'test', path: '/spec/replicas', value: 1 }], 'json-patch+json')).json,
    {
      code: 422,
    },
  );
  t.match((await patch({ spec: { replicas: 'x' } }, 'merge-patch+json')).json, { code: 422 });
  t.match((await patch({ spec: { foo: 1 } }, 'merge-patch+json', '?fieldValidation=Strict')).json, {
    code: 422,
    message: /unknown field "spec.foo"/,
  });
  t.match((await patch({}, 'apply-patch+yaml', '?fieldManager=x')).json, {
    code: 415,
    message: /server-side apply .* is not supported by this server yet/,
  });
  t.match((await patch({}, 'json')).json, { code: 415 });
  t.match(
    (await patch({ metadata: { resourceVersion: '1' }, spec: { replicas: 1 } }, 'merge-patch+json'))
      .json,
    { code: 409 },
  );
});

t.test('spec and status are written apart', async (t) => {
  const made = await api.call('POST', DEPLOYMENTS, { body: deployment('parts') });
  const status = { replicas: 2, observedGeneration: 1 };
  const put = await api.call('PUT', `${DEPLOYMENTS}/parts/status`, {
    body: { ...made.json, spec: { ...made.json.spec, replicas: 99 }, status },
  });
  t.equal(put.code, 200);
  t.match(put.json, { spec: { replicas: 2 }, status, metadata: { generation: 1 } });
  const spec = await api.call('PUT', `${DEPLOYMENTS}/parts`, {
    body: { ...deployment('parts'), status: { replicas: 77 } },
  });
  t.match(spec.json.status, status, 'an update of the object leaves the status alone');
  t.equal((await api.call('PUT', `${CONFIG_MAPS}/x/status`, { body: {} })).code, 404);
});

t.test('scale is a view of its own', async (t) => {
  await api.call('POST', DEPLOYMENTS, { body: deployment('scaled') });
  const path = `${DEPLOYMENTS}/scaled/scale`;
  const scale = await api.call('GET', path);
  t.match(scale.json, {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    spec: { replicas: 2 },
    status: { replicas: 0, selector: 'app=scaled' },
  });
  const patched = await api.call('PATCH', path, {
    body: { spec: { replicas: 5 } },
    type: 'application/merge-patch+json',
  });
  t.equal(patched.json.spec.replicas, 5);
  t.equal((await api.call('PUT', path, { body: scale.json })).code, 409, 'a stale scale conflicts');
  const after = await api.call('GET', `${DEPLOYMENTS}/scaled`);
  t.equal(after.json.spec.replicas, 5);
  t.equal(after.json.metadata.generation, 2);
});

t.test('lists come in consistent pages', async (t) => {
  for (const name of ['page-a', 'page-b', 'page-c', 'page-d']) {
    await api.call('POST', PODS, { body: pod(name, {}, { pages: name }) });
  }
  const first = await api.call('GET', `${PODS}?limit=2`);
  t.equal(first.json.kind, 'PodList');
  t.equal(first.json.items.length, 2);
  t.equal(first.json.items[0].kind, undefined, 'items carry no kind');
  t.equal(first.json.metadata.remainingItemCount, 2);
  const token = first.json.metadata.continue;
  await api.call('DELETE', `${PODS}/page-c`);
  const second = await api.call('GET', `${PODS}?limit=2&continue=${token}`);
  t.same(
    second.json.items.map((item: Pod) => item.metadata?.name),
    ['page-c', 'page-d'],
    'the second page shows the state of the first',
  );
  t.equal(second.json.metadata.resourceVersion, first.json.metadata.resourceVersion);
  t.equal(second.json.metadata.continue, undefined);
  await api.store.compact(api.store.revision);
  const late = await api.call('GET', `${PODS}?limit=2&continue=${token}`);
  t.match(late.json, { code: 410, reason: 'Expired' });
  const rest = await api.call('GET', `${PODS}?continue=${late.json.metadata.continue}`);
  t.same(
    rest.json.items.map((item: Pod) => item.metadata?.name),
    ['page-d'],
  );

  const names = async (query: string) =>
    (await api.call('GET', `${PODS}?${query}`)).json.items.map((item: Pod) => item.metadata?.name);
  t.same(await names('labelSelector=pages+in+(page-a,page-b)'), ['page-a', 'page-b']);
  t.same(await names('fieldSelector=metadata.name%3Dpage-b'), ['page-b']);
  t.same(await names('fieldSelector=metadata.name!%3Dpage-b,spec.nodeName%3D&limit=1'), ['page-a']);
  t.match((await api.call('GET', `${PODS}?fieldSelector=spec.foo%3D1`)).json, {
    code: 400,
    message: 'field label not supported: spec.foo',
  });
  t.match((await api.call('GET', `${PODS}?continue=nonsense`)).json, { code: 400 });
  t.match((await api.call('GET', `${PODS}?resourceVersion=99999999`)).json, {
    code: 504,
    details: { causes: [{ reason: 'ResourceVersionTooLarge' }] },
  });
  const removed = await api.call('DELETE', `${PODS}?labelSelector=pages`);
  t.equal(removed.json.items.length, 3);
  t.same(await names('labelSelector=pages'), []);
});

t.test('tables and metadata are rendered by the server', async (t) => {
  await api.call('POST', PODS, { body: pod('tabled') });
  const list = await api.call('GET', `${PODS}?fieldSelector=metadata.name%3Dtabled`, {
    accept: TABLE,
  });
  t.match(list.json, {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    rows: [{ cells: ['tabled', '0/1', 'Pending'], object: { kind: 'PartialObjectMetadata' } }],
  });
  t.match(list.json.columnDefinitions[0], { name: 'Name', format: 'name', type: 'string' });
  const one = await api.call('GET', `${PODS}/tabled?includeObject=Object`, { accept: TABLE });
  t.equal(one.json.rows[0].object.kind, 'Pod');
  const meta = await api.call('GET', PODS, {
    accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
  });
  t.match(meta.json, {
    kind: 'PartialObjectMetadataList',
    items: [{ kind: 'PartialObjectMetadata' }],
  });
  const scale = await api.call('GET', `${DEPLOYMENTS}/scaled/scale`, {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  });
  t.match(scale.json, {
    code: 406,
    reason: 'NotAcceptable',
    message: /only the following media types/,
  });
  await api.call('DELETE', `${PODS}/tabled`);
});

t.test('a watch sees every change once, in order', async (t) => {
  const { json } = await api.call('GET', CONFIG_MAPS);
  const from = json.metadata.resourceVersion;
  const watch = await api.stream(`${CONFIG_MAPS}?watch=1&resourceVersion=${from}`);
  await api.call('POST', CONFIG_MAPS, {
    body: configMap('watched', {}, { labels: { on: 'yes' } }),
  });
  await api.call('PATCH', `${CONFIG_MAPS}/watched`, {
    body: { data: { a: '1' } },
    type: 'application/merge-patch+json',
  });
  await api.call('DELETE', `${CONFIG_MAPS}/watched`);
  const events = await watch.take(3);
  t.same(
    events.map((event) => event.type),
    ['ADDED', 'MODIFIED', 'DELETED'],
  );
  const revisions = events.map((event) => Number(event.object.metadata.resourceVersion));
  t.ok(
    revisions.every((revision, i) => i === 0 || revision > Number(revisions[i - 1])),
    'a delete has its own revision',
  );
  t.equal(events[0].object.kind, 'ConfigMap');
  watch.close();
});

t.test('a watch with selectors turns leaving into DELETED and entering into ADDED', async (t) => {
  await api.call('POST', CONFIG_MAPS, { body: configMap('mover', {}, { labels: { on: 'yes' } }) });
  const watch = await api.stream(`${CONFIG_MAPS}?watch=true&labelSelector=on%3Dyes`);
  t.match(await watch.next(), { type: 'ADDED', object: { metadata: { name: 'mover' } } });
  const label = (on: string) =>
    api.call('PATCH', `${CONFIG_MAPS}/mover`, {
      body: { metadata: { labels: { on } } },
      type: 'application/merge-patch+json',
    });
  const left = await label('no');
  t.match(await watch.next(), {
    type: 'DELETED',
    object: {
      metadata: { labels: { on: 'yes' }, resourceVersion: left.json.metadata.resourceVersion },
    },
  });
  await label('maybe');
  await label('yes');
  t.match(await watch.next(), { type: 'ADDED', object: { metadata: { labels: { on: 'yes' } } } });
  watch.close();
});

t.test('WatchList sends the state, a bookmark that ends it, and bookmarks later', async (t) => {
  const path = `${CONFIG_MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true`;
  const watch = await api.stream(
    `${path}&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Dmover`,
  );
  const [added, end, later] = await watch.take(3);
  t.match(added, { type: 'ADDED', object: { metadata: { name: 'mover' } } });
  t.match(end, {
    type: 'BOOKMARK',
    object: {
      kind: 'ConfigMap',
      metadata: { annotations: { 'k8s.io/initial-events-end': 'true' } },
    },
  });
  t.match(later, { type: 'BOOKMARK', object: { metadata: { annotations: undefined } } });
  watch.close();
  t.match((await api.call('GET', path)).json, { code: 422, reason: 'Invalid' });
  t.match((await api.call('GET', `${CONFIG_MAPS}?sendInitialEvents=true`)).json, { code: 422 });
});

t.test('a watch ends in time, and one that is too old says so in the stream', async (t) => {
  const watch = await api.stream(
    `${CONFIG_MAPS}?watch=1&timeoutSeconds=1&resourceVersion=${api.store.revision}`,
  );
  t.equal(await watch.next(), undefined);
  await api.store.compact(api.store.revision);
  const old = await api.stream(`${CONFIG_MAPS}?watch=1&resourceVersion=1`);
  t.equal(old.response.statusCode, 200);
  t.match(await old.next(), {
    type: 'ERROR',
    object: { kind: 'Status', code: 410, reason: 'Expired' },
  });
  t.equal(await old.next(), undefined);
  const table = await api.stream(`${CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dmover`, {
    accept: TABLE,
  });
  const event = await table.next();
  t.match(event, { type: 'ADDED', object: { kind: 'Table', rows: [{ cells: ['mover'] }] } });
  t.ok(event.object.columnDefinitions.length > 0);
  table.close();
});

t.test('pods go with grace, and their boards end them', async (t) => {
  await api.call('POST', PODS, { body: pod('unbound') });
  const atOnce = await api.call('DELETE', `${PODS}/unbound`);
  t.equal(atOnce.json.kind, 'Pod');
  t.equal(
    (await api.call('GET', `${PODS}/unbound`)).code,
    404,
    'a pod without a board goes at once',
  );

  const made = await api.call('POST', PODS, { body: pod('bound') });
  const bind = (node: string) =>
    api.call('POST', `${PODS}/bound/binding`, { body: { target: { kind: 'Node', name: node } } });
  t.match((await bind('pi1')).json, { status: 'Success', code: 201 });
  const bound = await api.call('GET', `${PODS}/bound`);
  t.match(bound.json, {
    spec: { nodeName: 'pi1' },
    status: { conditions: [{ type: 'PodScheduled', status: 'True' }] },
  });
  t.match((await bind('pi2')).json, {
    code: 409,
    message: /pod bound is already assigned to node "pi1"/,
  });

  const going = await api.call('DELETE', `${PODS}/bound`, {
    body: { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 5 },
  });
  t.match(going.json.metadata, { deletionGracePeriodSeconds: 5, deletionTimestamp: /Z$/ });
  const again = await api.call('DELETE', `${PODS}/bound`);
  t.equal(again.json.metadata.resourceVersion, going.json.metadata.resourceVersion);
  const wrong = await api.call('DELETE', `${PODS}/bound`, {
    body: { gracePeriodSeconds: 0, preconditions: { uid: 'other' } },
  });
  t.match(wrong.json, { code: 409, message: /Precondition failed: UID in precondition: other/ });
  await api.call('DELETE', `${PODS}/bound`, {
    body: { gracePeriodSeconds: 0, preconditions: { uid: made.json.metadata.uid } },
  });
  t.equal((await api.call('GET', `${PODS}/bound`)).code, 404);
});

t.test('containers are added to a pod that runs, by a subresource of it', async (t) => {
  const DEBUG = `${PODS}/debugged/ephemeralcontainers`;
  await api.call('POST', PODS, { body: pod('debugged') });
  const debug = { name: 'look', image: 'busybox', targetContainerName: 'c' };
  const patch = (body: unknown, type = 'strategic-merge-patch') =>
    api.call('PATCH', DEBUG, { body, type: `application/${type}+json` });
  const added = await patch({ spec: { ephemeralContainers: [debug], nodeName: 'other' } });
  t.equal(added.code, 200, added.text);
  t.match(added.json, {
    kind: 'Pod',
    metadata: { generation: 2 },
    spec: { ephemeralContainers: [{ ...debug, imagePullPolicy: 'Always' }] },
  });
  t.equal(added.json.spec.nodeName, undefined, 'nothing else changes');
  t.equal(added.headers.warning, undefined);
  const again = { name: 'again', image: 'busybox:1' };
  const made = pod('with-debugger');
  const early = { ...made, spec: { ...made.spec, ephemeralContainers: [again] } };
  t.match((await api.call('POST', PODS, { body: early })).json, {
    code: 422,
    message: /spec.ephemeralContainers: Forbidden: cannot be set on create/,
  });
  const second = await patch({ spec: { ephemeralContainers: [again] } });
  t.same(second.json.spec.ephemeralContainers.map(({ name }: { name: string }) => name).sort(), [
    'again',
    'look',
  ]);
  t.same((await api.call('GET', DEBUG)).json, second.json);

  const spec = (...ephemeralContainers: object[]) => ({ spec: { ephemeralContainers } });
  const refusals: ReadonlyArray<readonly [unknown, RegExp]> = [
    [spec({ name: 'look', image: 'other' }), /"look" may not be changed\nchanged: image/],
    [spec({ ...again, name: 'c' }), /ephemeralContainers\[\d\].name: Duplicate value: "c"/],
    [
      spec({ ...again, name: 'x', targetContainerName: 'look' }),
      /targetContainerName: Not found: "look"/,
    ],
    [
      spec({ ...again, name: 'x', ports: [{ containerPort: 80 }] }),
      /ports: Forbidden: cannot be set for an Ephemeral Container/,
    ],
    [
      spec({ ...again, name: 'x', resources: { limits: { cpu: '1' } } }),
      /resources: Forbidden: cannot be set for an Ephemeral Container/,
    ],
  ];
  for (const [body, message] of refusals) t.match((await patch(body)).json, { code: 422, message });
  const removed = [{ op: 'remove', path: '/spec/ephemeralContainers/0' }];
  t.match((await patch(removed, 'json-patch')).json, {
    code: 422,
    message: /existing ephemeral containers "\w+" may not be removed/,
  });
  const merged = spec({ ...again, name: 'third' });
  t.match((await patch(merged, 'merge-patch')).json, { code: 422, message: /may not be removed/ });
  const whole = second.json;
  whole.spec.ephemeralContainers.push({ ...again, name: 'third' });
  t.match((await api.call('PUT', DEBUG, { body: whole })).json.spec.ephemeralContainers[2], {
    name: 'third',
  });
  t.match((await api.call('PUT', DEBUG, { body: whole })).json, { code: 409 });
  delete whole.metadata.resourceVersion;
  const main = await api.call('PUT', `${PODS}/debugged`, { body: second.json });
  t.equal(main.code, 200, main.text);
  whole.spec.ephemeralContainers.push({ ...again, name: 'fourth' });
  t.match((await api.call('PUT', `${PODS}/debugged`, { body: whole })).json, {
    code: 422,
    message: /spec: Forbidden: pod updates may not change.*ephemeralContainers/s,
  });
  const { json } = await api.call('GET', '/api/v1');
  const part = { name: 'pods/ephemeralcontainers', kind: 'Pod', verbs: ['get', 'patch', 'update'] };
  t.match(
    json.resources.find(({ name }: { name: string }) => name === part.name),
    part,
  );
  const document = (await api.call('GET', '/openapi/v3/api/v1')).json;
  const path = '/api/v1/namespaces/{namespace}/pods/{name}/ephemeralcontainers';
  t.hasProps(document.paths[path], ['get', 'patch', 'put']);
});

t.test('finalizers hold an object until the last one is gone', async (t) => {
  const body = configMap('held', {}, { finalizers: ['example.com/a'] });
  await api.call('POST', CONFIG_MAPS, { body });
  const going = await api.call('DELETE', `${CONFIG_MAPS}/held`);
  t.match(going.json.metadata, { deletionTimestamp: /Z$/, finalizers: ['example.com/a'] });
  const merge = (finalizers: string[] | null) =>
    api.call('PATCH', `${CONFIG_MAPS}/held`, {
      body: { metadata: { finalizers } },
      type: 'application/merge-patch+json',
    });
  t.match((await merge(['example.com/a', 'example.com/b'])).json, {
    code: 422,
    message: /no new finalizers can be added if the object is being deleted/,
  });
  t.equal((await merge(null)).code, 200);
  t.equal((await api.call('GET', `${CONFIG_MAPS}/held`)).code, 404);
  const policy = await api.call('DELETE', `${CONFIG_MAPS}/mover?propagationPolicy=Foreground`);
  t.match(policy.json, { code: 422, message: /supported values: "Background"/ });
});

t.test('a namespace goes when it is empty, and takes nothing new meanwhile', async (t) => {
  await api.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'going' } } });
  const deleted = await api.call('DELETE', '/api/v1/namespaces/going');
  t.match(deleted.json, { status: { phase: 'Terminating' }, spec: { finalizers: ['kubernetes'] } });
  t.match((await api.call('DELETE', '/api/v1/namespaces/going')).json, { code: 409 });
  const refused = await api.call('POST', '/api/v1/namespaces/going/configmaps', {
    body: configMap('a'),
  });
  t.match(refused.json, {
    code: 403,
    message: /unable to create new content in namespace going because it is being terminated/,
    details: { causes: [{ reason: 'NamespaceTerminating' }] },
  });
  const namespace = await api.client.get<Namespace>(RESOURCES.namespaces, '', 'going');
  const { finalizers: _finalizers, ...spec } = namespace.spec ?? {};
  await api.client.update<Namespace>(RESOURCES.namespaces, { ...namespace, spec });
  t.equal((await api.call('GET', '/api/v1/namespaces/going')).code, 404);
  t.match((await api.call('DELETE', '/api/v1/namespaces/default')).json, {
    code: 403,
    message: 'namespaces "default" is forbidden: this namespace may not be deleted',
  });
});

t.test('service addresses and node ports are unique and come back', async (t) => {
  const service = (name: string, more: object = {}) => ({
    metadata: { name },
    spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 31234, protocol: 'TCP' }], ...more },
  });
  const one = await api.call('POST', SERVICES, { body: service('one') });
  t.match(one.json.spec, { clusterIP: /^10\.43\./, clusterIPs: [/^10\.43\./] });
  const two = await api.call('POST', SERVICES, { body: service('two') });
  t.match(two.json, {
    code: 422,
    message: /Invalid value: \d+: provided port is already allocated/,
  });
  const same = await api.call('POST', SERVICES, {
    body: service('two', {
      type: 'ClusterIP',
      ports: [{ port: 1 }],
      clusterIP: one.json.spec.clusterIP,
    }),
  });
  t.match(same.json, { code: 422, message: /already allocated/ });
  await api.call('PUT', `${SERVICES}/one`, {
    body: { ...one.json, metadata: { name: 'one', labels: { a: 'b' } } },
  });
  await api.call('DELETE', `${SERVICES}/one`);
  t.equal((await api.call('POST', SERVICES, { body: service('two') })).code, 201);

  const registry = await createRegistry({
    store: api.store,
    memoryStore: openMemoryStore(),
    modules: KIND_MODULES,
  });
  const after = createLocalClient(registry, { name: 'x', groups: ['system:masters'] });
  const again = after.create<Service>(RESOURCES.services, {
    metadata: { name: 'three', namespace: 'default' },
    spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 31234 }] },
  });
  await t.rejects(again, { code: 422 }, 'what Services hold is taken after a restart, too');
});

t.test('secrets take stringData and never show it', async (t) => {
  const path = '/api/v1/namespaces/default/secrets';
  const made = await api.call('POST', path, {
    body: { metadata: { name: 's' }, stringData: { a: 'hello' }, data: { b: 'eA==' } },
  });
  t.strictSame(made.json.data, { a: 'aGVsbG8=', b: 'eA==' });
  t.equal(made.json.stringData, undefined);
  t.equal(made.json.type, 'Opaque');
});

t.test('events live in memory and are found by what they are about', async (t) => {
  const before = api.store.revision;
  const path = '/api/v1/namespaces/default/events';
  const made = await api.call('POST', path, {
    body: {
      metadata: { name: 'e1' },
      involvedObject: { kind: 'Pod', name: 'web', namespace: 'default' },
      reason: 'Started',
      type: 'Normal',
    },
  });
  t.equal(made.code, 201, made.text);
  t.equal(api.store.revision, before, 'no write to the card');
  const found = await api.call(
    'GET',
    `${path}?fieldSelector=involvedObject.name%3Dweb,type%3DNormal`,
  );
  t.equal(found.json.items.length, 1);
});

t.test('logs come from the log source', async (t) => {
  await api.call('POST', PODS, { body: pod('logged') });
  t.equal((await api.call('GET', `${PODS}/logged/log`)).text, '', 'no board, no log');
  await api.client.bind('default', 'logged', '', 'pi1');
  t.equal((await api.call('GET', `${PODS}/logged/log?tailLines=3`)).text, 'c 3\n');
  t.match((await api.call('GET', `${PODS}/logged/log?container=x`)).json, {
    code: 400,
    message: 'container x is not valid for pod logged',
  });
  t.match((await api.call('GET', `${PODS}/logged/log?tailLines=-1`)).json, { code: 422 });
  t.equal((await api.call('GET', `${PODS}/none/log`)).code, 404);
});

t.test('many writers of one object lose nothing', async (t) => {
  await api.call('POST', CONFIG_MAPS, { body: configMap('busy') });
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      api.client.patch(RESOURCES.configMaps, 'default', 'busy', { data: { [`k${i}`]: String(i) } }),
    ),
  );
  const { json } = await api.call('GET', `${CONFIG_MAPS}/busy`);
  t.equal(Object.keys(json.data).length, 20);
});

t.test('the in-process client lists, watches and is told the same errors', async (t) => {
  const abort = new AbortController();
  const list = await api.client.list<Pod>(RESOURCES.pods, { namespace: 'kube-public' });
  const watch = api.client.watch<Pod>(RESOURCES.pods, {
    namespace: 'kube-public',
    resourceVersion: list.resourceVersion,
    signal: abort.signal,
  });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const event of watch) {
      seen.push(event.type);
      if (event.type === 'DELETED') abort.abort();
    }
  })();
  const metadata = { name: 'local', namespace: 'kube-public' };
  const made = await api.client.create<Pod>(RESOURCES.pods, { ...pod('local'), metadata });
  t.equal(made.kind, 'Pod');
  await t.rejects(api.client.create<Pod>(RESOURCES.pods, { ...pod('local'), metadata }), {
    code: 409,
  });
  await api.client.patch(
    RESOURCES.pods,
    'kube-public',
    'local',
    { status: { phase: 'Running' } },
    'status',
  );
  await api.client.delete(RESOURCES.pods, 'kube-public', 'local');
  await reading;
  t.same(seen, ['ADDED', 'MODIFIED', 'DELETED']);
  await t.rejects(api.client.get(RESOURCES.pods, 'default', 'none'), { code: 404 });
});
