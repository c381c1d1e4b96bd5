/** Answers in protobuf, for clients that prefer it: each says what the same answer in JSON says. */
import type { IncomingMessage } from 'node:http';
import t from 'tap';
import { KIND_MODULES } from '../../master/api/kinds/all.ts';
import { decodeProtobuf, isProtobuf } from '../../protocol/kinds/protobuf.ts';
import { WireReader } from '../../protocol/kinds/protobuf-wire.ts';
import {
  type Answer,
  type CallOptions,
  CONFIG_MAPS,
  configMap,
  DEPLOYMENTS,
  deployment,
  type Fixture,
  PODS,
  pod,
  startApi,
} from './api-fixture.ts';

const PROTOBUF = 'application/vnd.kubernetes.protobuf';
/** As client-go asks. */
const ACCEPT = `${PROTOBUF},application/json`;

t.setTimeout(120_000);

let api: Fixture;
t.before(async () => {
  api = await startApi();
});
t.teardown(() => api.close());

async function call(method: string, path: string, options: CallOptions = {}) {
  const answer = await api.call(method, path, { accept: ACCEPT, ...options });
  return { ...answer, object: decoded(answer) };
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape.
function decoded(answer: Answer): any {
  t.equal(answer.headers['content-type']?.split(';')[0], PROTOBUF);
  return withoutEmpty(decodeProtobuf(answer.bytes).object);
}

/** Without `{}`: a struct of Go that is no pointer is the same, empty or absent. */
// biome-ignore lint/suspicious/noExplicitAny: as above.
function withoutEmpty(value: any): any {
  return JSON.parse(JSON.stringify(value), (_key, inner: unknown) => {
    const isEmpty = typeof inner === 'object' && inner !== null && !Array.isArray(inner);
    return isEmpty && Object.keys(inner).length === 0 ? undefined : inner;
  });
}

interface Event {
  readonly type: string;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  readonly object: any;
}

/** The events of a watch, by the frames of Kubernetes: length, then WatchEvent {1 type, 2 RawExtension {1 raw}}. */
async function* frames(response: IncomingMessage): AsyncGenerator<Event, void, undefined> {
  let rest = Buffer.alloc(0);
  for await (const chunk of response) {
    rest = Buffer.concat([rest, Buffer.from(chunk)]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0);
      yield eventOf(rest.subarray(4, end));
      rest = rest.subarray(end);
    }
  }
}

function eventOf(frame: Uint8Array): Event {
  const reader = new WireReader(frame);
  t.same(reader.tag(), { number: 1, wireType: 2 });
  const type = reader.string();
  t.same(reader.tag(), { number: 2, wireType: 2 });
  const extension = new WireReader(reader.bytes());
  t.same(extension.tag(), { number: 1, wireType: 2 });
  const { object } = decodeProtobuf(extension.bytes());
  t.ok(reader.isAtEnd && extension.isAtEnd);
  return { type, object };
}

async function watch(path: string, query: string, accept = ACCEPT) {
  const stream = await api.stream(`${path}?watch=1${query}`, { accept });
  const events = frames(stream.response);
  const next = async (): Promise<Event> => {
    const { value } = await events.next();
    return value ?? { type: 'END', object: undefined };
  };
  return { response: stream.response, next, close: () => stream.close() };
}

t.test('what is written and read is the same as in JSON', async (t) => {
  const path = `${DEPLOYMENTS}/web`;
  const made = await call('POST', DEPLOYMENTS, { body: deployment('web') });
  t.equal(made.code, 201);
  const json = withoutEmpty((await api.call('GET', path)).json);
  t.same(made.object, json);
  t.same((await call('GET', path)).object, json);
  t.same((await call('GET', path)).object, json, 'and again, of the bytes that are kept');

  const changed = await call('PUT', path, {
    body: { ...json, spec: { ...json.spec, replicas: 0 } },
  });
  t.equal(changed.object.spec.replicas, 0);
  t.not(changed.object.metadata.resourceVersion, json.metadata.resourceVersion);
  const patched = await call('PATCH', path, {
    body: { metadata: { labels: { tier: 'front' } } },
    type: 'application/merge-patch+json',
  });
  t.same(patched.object, withoutEmpty((await api.call('GET', path)).json));
  t.match((await call('GET', `${path}/scale`)).object, {
    kind: 'Scale',
    metadata: { name: 'web' },
  });
  t.match((await call('DELETE', path)).object, {
    kind: 'Status',
    status: 'Success',
    details: { name: 'web', group: 'apps', kind: 'deployments' },
  });
});

t.test('lists, their pages, and what deletecollection removed', async (t) => {
  for (const name of ['a', 'b', 'c']) {
    await api.call('POST', CONFIG_MAPS, { body: configMap(name, { text: `${name} – ü` }) });
  }
  const json = (await api.call('GET', CONFIG_MAPS)).json;
  const list = (await call('GET', CONFIG_MAPS)).object;
  t.same(list, json);
  const first = (await call('GET', `${CONFIG_MAPS}?limit=2`)).object;
  t.equal(first.items.length, 2);
  t.equal(first.metadata.remainingItemCount, json.items.length - 2);
  const rest = await call('GET', `${CONFIG_MAPS}?continue=${first.metadata.continue}`);
  t.same([...first.items, ...rest.object.items], json.items);
  const gone = await call('DELETE', `${CONFIG_MAPS}?fieldSelector=metadata.name=a`);
  t.match(gone.object.items, [{ metadata: { name: 'a' } }]);
});

t.test('a list that is longer than one chunk', async (t) => {
  const body = (i: number) =>
    configMap(`large-${i}`, { text: 'x'.repeat(60_000) }, { labels: { l: '1' } });
  for (let i = 0; i < 4; i++) await api.call('POST', CONFIG_MAPS, { body: body(i) });
  const path = `${CONFIG_MAPS}?labelSelector=l=1`;
  t.same((await call('GET', path)).object, (await api.call('GET', path)).json);
});

t.test('a watch is a stream of frames', async (t) => {
  const path = '/api/v1/namespaces/watched/configmaps';
  await api.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'watched' } } });
  const old = await api.call('POST', path, { body: configMap('old') });
  const stream = await watch(
    path,
    '&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true',
  );
  t.equal(stream.response.headers['content-type'], `${PROTOBUF};stream=watch`);
  t.same(await stream.next(), { type: 'ADDED', object: old.json });
  t.match(await stream.next(), {
    type: 'BOOKMARK',
    object: {
      kind: 'ConfigMap',
      metadata: { annotations: { 'k8s.io/initial-events-end': 'true' }, resourceVersion: /^\d+$/ },
    },
  });
  const made = (await api.call('POST', path, { body: configMap('new') })).json;
  t.same(await stream.next(), { type: 'ADDED', object: made });
  const changed = await api.call('PUT', `${path}/new`, { body: configMap('new', { a: '1' }) });
  t.same(await stream.next(), { type: 'MODIFIED', object: changed.json });
  await api.call('DELETE', `${path}/new`);
  const deleted = await stream.next();
  t.match(deleted, { type: 'DELETED', object: { data: { a: '1' } } });
  t.ok(
    Number(deleted.object.metadata.resourceVersion) > Number(changed.json.metadata.resourceVersion),
    'with the revision of the change',
  );
  stream.close();

  const future = await watch(path, '&resourceVersion=999999999');
  t.match(await future.next(), {
    type: 'ERROR',
    object: { kind: 'Status', code: 410, reason: 'Expired' },
  });
  future.close();
});

t.test('metadata only, which has a protobuf, and tables, which have none', async (t) => {
  const made = await api.call('POST', PODS, { body: pod('one') });
  const as = 'as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
  const expected = {
    apiVersion: 'meta.k8s.io/v1',
    kind: 'PartialObjectMetadata',
    metadata: made.json.metadata,
  };
  const one = await call('GET', `${PODS}/one`, { accept: `${PROTOBUF};${as}` });
  t.same(one.object, expected);
  const accept = `${PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;
  const list = (await call('GET', PODS, { accept })).object;
  t.equal(list.kind, 'PartialObjectMetadataList');
  t.same(list.items, [{ metadata: made.json.metadata }]);
  const stream = await watch(PODS, '', `${PROTOBUF};${as}`);
  t.same(await stream.next(), { type: 'ADDED', object: expected });
  stream.close();

  const table = 'as=Table;g=meta.k8s.io;v=v1';
  const rows = await api.call('GET', PODS, {
    accept: `${PROTOBUF};${table},application/json;${table}`,
  });
  t.equal(rows.json.kind, 'Table');
  t.equal((await api.call('GET', PODS, { accept: `${PROTOBUF};${table}` })).code, 406);
});

t.test('errors are Status messages', async (t) => {
  const missing = await call('GET', `${PODS}/nobody`);
  t.equal(missing.code, 404);
  t.same(missing.object, withoutEmpty((await api.call('GET', `${PODS}/nobody`)).json));
  const wrong = await call('POST', PODS, { body: { metadata: { name: 'A' } } });
  t.match(wrong.object, { code: 422, details: { causes: [{ field: 'metadata.name' }] } });
  t.notOk(isProtobuf((await api.call('GET', `${PODS}/nobody`, { accept: '*/*' })).bytes));
});

t.test('what has no schema is JSON, or cannot be had', async (t) => {
  const version = await api.call('GET', '/version', { accept: ACCEPT });
  t.equal(version.headers['content-type'], 'application/json');
  t.match(version.json, { major: '1' });
  t.equal((await api.call('GET', '/version', { accept: PROTOBUF })).code, 406);
});

t.test('every kind that is served can be listed in protobuf', async (t) => {
  for (const { group, version, plural, kind } of KIND_MODULES) {
    const path = `/${group === '' ? 'api' : `apis/${group}`}/${version}/${plural}`;
    const [json, list] = [(await api.call('GET', path)).json, (await call('GET', path)).object];
    t.same(list, withoutEmpty(json), `${kind} of ${group}/${version}`);
  }
  const review = await call('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
    body: { kind: 'SelfSubjectReview', apiVersion: 'authentication.k8s.io/v1' },
  });
  t.match(review.object, { kind: 'SelfSubjectReview', status: { userInfo: { username: /./ } } });
});

t.test('times before 1970 go round', async (t) => {
  // The conformance suite counts from Go's zero time.
  const spec = {
    holderIdentity: 'h',
    acquireTime: '0001-01-01T00:00:02.000000Z',
    renewTime: '0001-01-01T00:00:05.500000Z',
  };
  const path = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
  const body = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'l' },
    spec,
  };
  t.match((await call('POST', path, { body })).object.spec, spec);
  t.match((await api.call('GET', `${path}/l`)).json.spec, spec);
});
