/**
 * What Kubernetes' conformance suite asks of the API alone, in our own words: the life of an object of every kind, and the tests
 * of discovery, validation, tables and watches. docs/CONFORMANCE.md says which of its tests each stands for.
 */
import t from 'tap';
import { CONFIG_MAPS, PODS, pod, startApi, TABLE } from './api-fixture.ts';

const api = await startApi();
t.teardown(() => api.close());

const STRATEGIC = 'application/strategic-merge-patch+json';
const MERGE = 'application/merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';

interface Subject {
  /** Group and version, without a group for v1. */
  readonly in: string;
  readonly kind: string;
  readonly plural: string;
  readonly isClusterWide?: true;
  /** All but its metadata. */
  readonly body: object;
  /** What is written to its status, where it has one. */
  readonly status?: object;
  /** Something waits for its end (a finalizer): no controller runs here that would let it go. */
  readonly isHeld?: true;
}

const containers = [{ name: 'c', image: 'busybox' }];
const template = { metadata: { labels: { app: 'x' } }, spec: { containers } };
const jobTemplate = { metadata: template.metadata, spec: { containers, restartPolicy: 'Never' } };
const workload = { replicas: 1, selector: { matchLabels: { app: 'x' } }, template };
const conditions = [{ type: 'StatusPatched', status: 'True', reason: 'E2E', message: 'patched' }];
const claim = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
const ingress = { loadBalancer: { ingress: [{ ip: '169.1.1.1' }] } };
const about = { namespace: 'default', kind: 'Pod', name: 'p' };
// Go's zero time and a bit: the suite measures from there.
const times = {
  acquireTime: '0001-01-01T00:00:02.000000Z',
  renewTime: '0001-01-01T00:00:05.000000Z',
};
const newEvent = {
  eventTime: '2020-01-01T00:00:00.000000Z',
  action: 'Do',
  regarding: about,
  type: 'Normal',
};

const SUBJECTS: readonly Subject[] = [
  { in: 'v1', kind: 'ConfigMap', plural: 'configmaps', body: { data: { a: '1' } } },
  { in: 'v1', kind: 'Secret', plural: 'secrets', body: { data: { a: 'MQ==' } } },
  { in: 'v1', kind: 'PodTemplate', plural: 'podtemplates', body: { template } },
  { in: 'v1', kind: 'Pod', plural: 'pods', body: { spec: { containers } }, status: { conditions } },
  {
    in: 'v1',
    kind: 'ServiceAccount',
    plural: 'serviceaccounts',
    body: { automountServiceAccountToken: false },
  },
  {
    in: 'v1',
    kind: 'Endpoints',
    plural: 'endpoints',
    body: { subsets: [{ addresses: [{ ip: '10.0.0.24' }], ports: [{ port: 80 }] }] },
  },
  {
    in: 'v1',
    kind: 'Service',
    plural: 'services',
    body: { spec: { type: 'LoadBalancer', ports: [{ port: 80 }] } },
    status: ingress,
  },
  {
    in: 'v1',
    kind: 'ReplicationController',
    plural: 'replicationcontrollers',
    body: { spec: { template } },
    status: { replicas: 1, readyReplicas: 1 },
  },
  {
    in: 'v1',
    kind: 'LimitRange',
    plural: 'limitranges',
    body: { spec: { limits: [{ type: 'Container', max: { cpu: '1' } }] } },
  },
  {
    in: 'v1',
    kind: 'ResourceQuota',
    plural: 'resourcequotas',
    body: { spec: { hard: { pods: '5' } } },
    status: { hard: { pods: '5' } },
  },
  {
    in: 'v1',
    kind: 'Event',
    plural: 'events',
    body: { involvedObject: about, reason: 'r', message: 'm', type: 'Normal' },
  },
  {
    in: 'v1',
    kind: 'PersistentVolumeClaim',
    plural: 'persistentvolumeclaims',
    body: { spec: claim },
    status: { conditions },
    isHeld: true,
  },
  {
    in: 'v1',
    kind: 'PersistentVolume',
    plural: 'persistentvolumes',
    isClusterWide: true,
    body: {
      spec: {
        accessModes: ['ReadWriteOnce'],
        capacity: { storage: '1Gi' },
        hostPath: { path: '/tmp' },
      },
    },
    status: { message: 'StatusPatched' },
    isHeld: true,
  },
  {
    in: 'v1',
    kind: 'Namespace',
    plural: 'namespaces',
    isClusterWide: true,
    body: {},
    status: { conditions },
    isHeld: true,
  },
  {
    in: 'events.k8s.io/v1',
    kind: 'Event',
    plural: 'events',
    body: {
      ...newEvent,
      reportingController: 'c',
      reportingInstance: 'i',
      reason: 'r',
      note: 'n',
      series: { count: 2, lastObservedTime: '2020-01-01T00:00:00.000000Z' },
    },
  },
  {
    in: 'apps/v1',
    kind: 'Deployment',
    plural: 'deployments',
    body: { spec: workload },
    status: { conditions },
  },
  {
    in: 'apps/v1',
    kind: 'ReplicaSet',
    plural: 'replicasets',
    body: { spec: workload },
    status: { conditions },
  },
  {
    in: 'apps/v1',
    kind: 'StatefulSet',
    plural: 'statefulsets',
    body: { spec: { ...workload, serviceName: 's' } },
    status: { conditions },
  },
  {
    in: 'apps/v1',
    kind: 'DaemonSet',
    plural: 'daemonsets',
    body: { spec: { selector: workload.selector, template } },
    status: { conditions },
  },
  {
    in: 'apps/v1',
    kind: 'ControllerRevision',
    plural: 'controllerrevisions',
    body: { revision: 1, data: { a: 1 } },
  },
  {
    in: 'batch/v1',
    kind: 'Job',
    plural: 'jobs',
    body: { spec: { template: jobTemplate } },
    status: { conditions },
  },
  {
    in: 'batch/v1',
    kind: 'CronJob',
    plural: 'cronjobs',
    body: { spec: { schedule: '*/1 * * * *', jobTemplate: { spec: { template: jobTemplate } } } },
    status: { lastScheduleTime: '2020-01-01T00:00:00Z' },
  },
  {
    in: 'policy/v1',
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
    body: { spec: { minAvailable: 1, selector: workload.selector } },
    status: { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 1, expectedPods: 0 },
  },
  {
    in: 'networking.k8s.io/v1',
    kind: 'Ingress',
    plural: 'ingresses',
    body: { spec: { defaultBackend: { service: { name: 'd', port: { number: 80 } } } } },
    status: ingress,
  },
  {
    in: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    plural: 'ingressclasses',
    isClusterWide: true,
    body: { spec: { controller: 'example.com/controller' } },
  },
  {
    in: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    body: { addressType: 'IPv4', endpoints: [{ addresses: ['1.2.3.4'] }] },
  },
  {
    in: 'coordination.k8s.io/v1',
    kind: 'Lease',
    plural: 'leases',
    body: {
      spec: { holderIdentity: 'h', leaseDurationSeconds: 30, leaseTransitions: 0, ...times },
    },
  },
  {
    in: 'node.k8s.io/v1',
    kind: 'RuntimeClass',
    plural: 'runtimeclasses',
    isClusterWide: true,
    body: { handler: 'h' },
  },
  {
    in: 'scheduling.k8s.io/v1',
    kind: 'PriorityClass',
    plural: 'priorityclasses',
    isClusterWide: true,
    body: { value: 7 },
  },
  {
    in: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    plural: 'storageclasses',
    isClusterWide: true,
    body: { provisioner: 'e2e-fake-provisioner' },
  },
  {
    in: 'storage.k8s.io/v1',
    kind: 'CSIDriver',
    plural: 'csidrivers',
    isClusterWide: true,
    body: { spec: { attachRequired: false } },
  },
  {
    in: 'storage.k8s.io/v1',
    kind: 'CSINode',
    plural: 'csinodes',
    isClusterWide: true,
    body: { spec: { drivers: [{ name: 'a.io', nodeID: 'x', topologyKeys: ['zone'] }] } },
  },
  {
    in: 'storage.k8s.io/v1',
    kind: 'CSIStorageCapacity',
    plural: 'csistoragecapacities',
    body: { storageClassName: 'fast', capacity: '1Gi', nodeTopology: workload.selector },
  },
  {
    in: 'storage.k8s.io/v1',
    kind: 'VolumeAttachment',
    plural: 'volumeattachments',
    isClusterWide: true,
    body: {
      spec: { attacher: 'a.io', nodeName: 'b', source: { persistentVolumeName: 'v' } },
    },
    status: { attached: true },
  },
  {
    in: 'storage.k8s.io/v1',
    kind: 'VolumeAttributesClass',
    plural: 'volumeattributesclasses',
    isClusterWide: true,
    body: { driverName: 'a.io', parameters: { iops: '1000' } },
  },
  {
    in: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    plural: 'horizontalpodautoscalers',
    body: {
      spec: {
        maxReplicas: 3,
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'w' },
      },
    },
    status: { currentReplicas: 1, desiredReplicas: 2 },
  },
];

for (const subject of SUBJECTS) {
  t.test(`the life of a ${subject.kind} of ${subject.in}`, async (t) => {
    const { kind, plural, body, status, isHeld } = subject;
    const root = subject.in === 'v1' ? '/api/v1' : `/apis/${subject.in}`;
    const path = `${root}${subject.isClusterWide ? '' : '/namespaces/default'}/${plural}`;
    const expect = async (method: string, where: string, call = {}, code = 200) => {
      const answer = await api.call(method, where, call);
      t.equal(answer.code, code, `${method} ${where}: ${answer.code === code ? '' : answer.text}`);
      return answer.json;
    };
    const set = `?labelSelector=set%3D${kind.toLowerCase()}`;
    const resources = (await expect('GET', root)).resources;
    t.match(
      resources.find(({ name }: { name: string }) => name === plural),
      { kind },
    );
    t.equal((await expect('GET', `${path}${set}`)).items.length, 0);
    const watch = await api.stream(`${path}${set}&watch=1`);
    const next = async (type: string, name: string) => {
      const event = await watch.next();
      t.match(event, { type, object: { metadata: { name } } });
      return event.object;
    };

    const names = ['one', 'two', 'three'].map((name) => `${kind.toLowerCase()}-${name}`);
    const [one = '', two = ''] = names;
    const labels = { set: kind.toLowerCase() };
    for (const name of names) {
      const made = { apiVersion: subject.in, kind, metadata: { name, labels }, ...body };
      t.match(await expect('POST', path, { body: made }, 201), body);
      await next('ADDED', name);
    }
    const everywhere = await expect('GET', `${root}/${plural}${set}`);
    t.equal(everywhere.items.length, 3, 'in all namespaces');

    const annotations = (name: string) => ({ metadata: { annotations: { [name]: 'yes' } } });
    const json = [{ op: 'add', path: '/metadata/annotations/json', value: 'yes' }];
    await expect('PATCH', `${path}/${one}`, { body: annotations('strategic'), type: STRATEGIC });
    await expect('PATCH', `${path}/${one}`, { body: annotations('merge'), type: MERGE });
    await expect('PATCH', `${path}/${one}`, { body: json, type: JSON_PATCH });
    for (let patches = 0; patches < 3; patches++) await next('MODIFIED', one);
    const read = await expect('GET', `${path}/${one}`);
    const patched = { strategic: 'yes', merge: 'yes', json: 'yes' };
    t.match(read, { ...body, metadata: { annotations: patched } });
    read.metadata.annotations.updated = 'yes';
    t.match(await expect('PUT', `${path}/${one}`, { body: read }), annotations('updated'));
    t.match(await next('MODIFIED', one), annotations('updated'));

    if (status !== undefined) {
      const patch = { body: { ...annotations('patchedstatus'), status }, type: MERGE };
      await expect('PATCH', `${path}/${one}/status`, patch);
      t.match(await next('MODIFIED', one), { ...annotations('patchedstatus'), status, ...body });
      const seen = await expect('GET', `${path}/${one}/status`);
      t.match(seen, { status });
      seen.metadata.annotations.put = 'yes';
      t.match(await expect('PUT', `${path}/${one}/status`, { body: seen }), annotations('put'));
      await next('MODIFIED', one);
    }

    // A namespace has no collection to delete.
    if (kind === 'Namespace') return;
    await expect('DELETE', `${path}/${two}`);
    await next(isHeld ? 'MODIFIED' : 'DELETED', two);
    await expect('DELETE', `${path}${set}`);
    const left = (await expect('GET', `${path}${set}`)).items;
    t.equal(left.length, isHeld ? 3 : 0);
    if (isHeld) {
      for (const item of left) t.match(item.metadata, { deletionTimestamp: String });
    } else {
      const gone = [await watch.next(), await watch.next()];
      t.same(gone.map(({ type, object }) => `${type} ${object.metadata.name}`).sort(), [
        `DELETED ${one}`,
        `DELETED ${names[2]}`,
      ]);
    }
    watch.close();
  });
}

t.test('a finalizer of a namespace comes and goes through its subresource', async (t) => {
  const made = await api.call('POST', '/api/v1/namespaces', {
    body: { metadata: { name: 'fin' } },
  });
  const finalize = (finalizers: readonly string[]) =>
    api.call('PUT', '/api/v1/namespaces/fin/finalize', {
      body: { ...made.json, metadata: { name: 'fin' }, spec: { finalizers } },
    });
  const both = ['kubernetes', 'e2e.example.com/fakeFinalizer'];
  t.same((await finalize(both)).json.spec.finalizers, both);
  t.same((await finalize(['kubernetes'])).json.spec.finalizers, ['kubernetes']);
});

t.test('every group has a preferred version that it serves', async (t) => {
  const { json: list } = await api.call('GET', '/apis/');
  t.ok(list.groups.length > 10);
  for (const { name } of list.groups) {
    const { json: group } = await api.call('GET', `/apis/${name}/`);
    const versions = group.versions.map((one: { groupVersion: string }) => one.groupVersion);
    t.ok(versions.includes(group.preferredVersion.groupVersion), name);
    for (const groupVersion of versions) {
      const { json: resources } = await api.call('GET', `/apis/${groupVersion}`);
      t.match(resources, { groupVersion, resources: [{ name: String }] });
    }
  }
});

t.test('unknown and doubled fields of a typed object are refused together', async (t) => {
  const path = '/apis/apps/v1/namespaces/default/deployments?fieldManager=m&fieldValidation=Strict';
  const spec = JSON.stringify(workload).slice(1);
  const send = (text: string) => api.call('POST', path, { body: text, type: 'application/json' });
  const twice = await send(
    `{"metadata":{"name":"d"},"spec":{"unknownField":"foo","replicas":2,${spec}}`,
  );
  t.equal(twice.code, 400);
  t.match(
    twice.json.message,
    'strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"',
  );
  const meta = await send(`{"metadata":{"name":"d","unknownMeta":"foo"},"spec":{${spec}}`);
  t.match(meta.json.message, 'strict decoding error: unknown field "metadata.unknownMeta"');
});

t.test('config maps and secrets that are immutable change no more', async (t) => {
  for (const plural of ['configmaps', 'secrets']) {
    const path = `/api/v1/namespaces/default/${plural}`;
    const metadata = { name: 'fixed', labels: { a: '1' } };
    const put = async (body: object) =>
      (await api.call('PUT', `${path}/fixed`, { body: { metadata, ...body } })).code;
    await api.call('POST', path, { body: { metadata, data: { a: 'MQ==' } } });
    t.equal(await put({ data: { a: 'Mg==' } }), 200);
    t.equal(await put({ data: { a: 'Mg==' }, immutable: true }), 200);
    t.equal(await put({ data: { a: 'Mw==' }, immutable: true }), 422);
    t.equal(await put({ data: { a: 'Mg==' } }), 422, 'and stays so');
    const labelled = { metadata: { name: 'fixed', labels: { a: '2' } }, data: { a: 'Mg==' } };
    t.equal(await put({ ...labelled, immutable: true }), 200, 'but for its metadata');
    t.equal((await api.call('DELETE', `${path}/fixed`)).code, 200);
    const empty = await api.call('POST', path, { body: { metadata, data: { '': 'MQ==' } } });
    t.equal(empty.code, 422);
  }
});

t.test('what a priority class is worth stays', async (t) => {
  const path = '/apis/scheduling.k8s.io/v1/priorityclasses';
  await api.call('POST', path, { body: { metadata: { name: 'worth' }, value: 100 } });
  const patch = (body: object) => api.call('PATCH', `${path}/worth`, { body, type: MERGE });
  t.match((await patch({ description: 'x' })).json, { description: 'x', value: 100 });
  t.match((await patch({ value: 200 })).json, { code: 422, reason: 'Invalid' });
});

t.test('reviews tell of anybody, in one namespace or in all', async (t) => {
  const user = 'system:serviceaccount:default:nobody';
  const resourceAttributes = { verb: 'list', resource: 'configmaps', namespace: 'default' };
  const body = { metadata: { namespace: 'default' }, spec: { user, resourceAttributes } };
  const root = '/apis/authorization.k8s.io/v1';
  const ask = async () => [
    (await api.call('POST', `${root}/subjectaccessreviews`, { body: { spec: body.spec } })).json
      .status,
    (await api.call('POST', `${root}/namespaces/default/localsubjectaccessreviews`, { body })).json
      .status,
  ];
  t.match(await ask(), [{ allowed: false }, { allowed: false }]);
  const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings';
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' };
  const subjects = [{ kind: 'ServiceAccount', name: 'nobody', namespace: 'default' }];
  await api.call('POST', rbac, { body: { metadata: { name: 'v' }, roleRef, subjects } });
  t.match(await ask(), [{ allowed: true }, { allowed: true }]);
});

t.test('a review cannot be had as a table', async (t) => {
  const spec = { nonResourceAttributes: { path: '/', verb: 'get' } };
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  t.equal((await api.call('POST', path, { body: { spec }, accept })).code, 406);
  await api.call('POST', PODS, { body: pod('tabled') });
  const { json: table } = await api.call('GET', `${PODS}/tabled`, { accept: TABLE });
  t.equal(table.rows[0].cells.length, table.columnDefinitions.length);
  t.match(table, {
    kind: 'Table',
    columnDefinitions: [{ name: 'Name' }],
    rows: [{ cells: ['tabled'] }],
  });
});

t.test('watches that start anywhere see the same changes in the same order', async (t) => {
  const start = (await api.call('GET', CONFIG_MAPS)).json.metadata.resourceVersion;
  const changes: string[] = [];
  for (let at = 0; at < 60; at++) {
    const name = `ordered-${at % 5}`;
    const path = `${CONFIG_MAPS}/${name}`;
    const { json, code } = await api.call('PUT', path, {
      body: { metadata: { name }, data: { at: String(at) } },
    });
    if (code === 404) {
      const made = await api.call('POST', CONFIG_MAPS, { body: { metadata: { name } } });
      changes.push(made.json.metadata.resourceVersion);
    } else if (at % 7 === 0) await api.call('DELETE', path);
    else changes.push(json.metadata.resourceVersion);
  }
  const all = await api.stream(`${CONFIG_MAPS}?watch=1&resourceVersion=${start}&timeoutSeconds=60`);
  const order: string[] = [];
  const last = changes.at(-1) ?? '';
  while (order.at(-1) !== last) order.push((await all.next()).object.metadata.resourceVersion);
  all.close();
  t.ok(
    changes.every((revision) => order.includes(revision)),
    'nothing is missing',
  );
  t.same(
    order,
    [...order].sort((a, b) => Number(a) - Number(b)),
  );
  await Promise.all(
    order.slice(0, -1).map(async (revision, at) => {
      const query = `watch=1&resourceVersion=${revision}&timeoutSeconds=60`;
      const watch = await api.stream(`${CONFIG_MAPS}?${query}`);
      const events = await watch.take(order.length - at - 1);
      watch.close();
      const seen = events.map(({ object }) => object.metadata.resourceVersion);
      t.same(seen, order.slice(at + 1), `from ${revision}`);
    }),
  );
});
