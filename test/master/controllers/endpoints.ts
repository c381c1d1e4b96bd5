/** Endpoints and EndpointSlices as Kubernetes documents them. */
import t from 'tap';
import { reconcileEndpointSlices } from '../../../master/controllers/endpoint-slices.ts';
import { reconcileEndpoints } from '../../../master/controllers/endpoints.ts';
import type { EndpointSlice, Endpoints, Pod, Service } from '../../../protocol/kinds/types.ts';
import { ofType, pod } from './objects.ts';

t.test('Endpoints list ready and not-ready pods with their ports', async (t) => {
  const service = (spec: Service['spec']): Service => ({
    metadata: { name: 'web', namespace: 'default', uid: 's', labels: { team: 'x' } },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }], ...spec },
  });
  const view = (one: Service | undefined, pods: Pod[], endpoints?: Endpoints) =>
    reconcileEndpoints({ namespace: 'default', name: 'web', service: one, pods, endpoints });
  const subsets = (one: Service, pods: Pod[]) =>
    (ofType(view(one, pods), 'create')[0]?.object as Endpoints | undefined)?.subsets;
  const pods = [pod('aa'), pod('b', { ready: false }), pod('cccc', { phase: 'Succeeded' })];
  t.match(subsets(service({}), pods), [
    {
      addresses: [{ ip: '10.42.0.2', nodeName: 'a', targetRef: { kind: 'Pod', name: 'aa' } }],
      notReadyAddresses: [{ ip: '10.42.0.1' }],
      ports: [{ port: 8080, protocol: 'TCP' }],
    },
  ]);
  const all = subsets(service({ publishNotReadyAddresses: true }), pods);
  t.equal(all?.[0]?.addresses?.length, 2, 'publishNotReadyAddresses');
  t.same(subsets(service({ clusterIP: 'None', ports: [] }), [pod('aa')])?.[0]?.ports, undefined);
  const named = pod('named');
  named.spec = {
    containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 3000 }] }],
  };
  const byName = service({ ports: [{ name: 'x', port: 80, targetPort: 'http' }] });
  t.match(subsets(byName, [named, pod('b')]), [{ ports: [{ name: 'x', port: 3000 }] }]);
  t.same(subsets(byName, [pod('b')]), [], 'a pod without the named port serves nothing');
  t.same(view(service({ selector: {} }), pods), [], 'no selector: people write the Endpoints');
  const made = ofType(view(service({}), pods), 'create')[0]?.object as Endpoints;
  t.same(view(service({}), pods, made), [], 'nothing changed, nothing written');
  t.match(view(undefined, [], made), [{ type: 'delete', name: 'web' }]);
  t.same(view(undefined, [], { metadata: { name: 'web' } }), [], 'not ours to delete');
});

const SERVICE: Service = {
  metadata: { name: 'web', namespace: 'default', uid: 's', labels: { team: 'x' } },
  spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
};

interface SliceWorld {
  readonly service?: Service | undefined;
  readonly pods?: readonly Pod[];
  readonly endpoints?: Endpoints;
  readonly slices?: readonly EndpointSlice[];
}

function sliceActions(world: SliceWorld) {
  const service = 'service' in world ? world.service : SERVICE;
  const { pods = [], endpoints, slices = [] } = world;
  const place = { namespace: 'default', name: 'web' };
  return reconcileEndpointSlices({ ...place, service, pods, endpoints, slices });
}

/** What the API would hold after the actions; names are given in the order of making. */
function afterwards(world: SliceWorld): EndpointSlice[] {
  let slices = [...(world.slices ?? [])];
  for (const action of sliceActions(world)) {
    if (action.type === 'delete') {
      slices = slices.filter(({ metadata }) => metadata?.name !== action.name);
    } else if (action.type === 'create') {
      const made = action.object as EndpointSlice;
      const name = `web-${slices.length}`;
      slices.push({ ...made, metadata: { ...made.metadata, name, uid: name } });
    } else if (action.type === 'update') {
      const changed = action.object as EndpointSlice;
      slices = slices.map((one) => (one.metadata?.name === changed.metadata?.name ? changed : one));
    }
  }
  return slices;
}

const podAt = (at: number, options: Parameters<typeof pod>[1] = {}): Pod => {
  const one = pod(`p${String(at).padStart(4, '0')}`, options);
  return { ...one, status: { ...one.status, podIP: `10.42.${at >> 8}.${at & 255}` } };
};
const podsUpTo = (count: number) => Array.from({ length: count }, (_, at) => podAt(at));

t.test('EndpointSlices tell who serves, who is ready and who is going', async (t) => {
  const pods = [
    podAt(2, { meta: { deletionTimestamp: '2026-01-01T00:00:00Z' } }),
    podAt(1, { ready: false }),
    podAt(0),
    podAt(3, { phase: 'Failed' }),
    podAt(4, { labels: { app: 'other' } }),
  ];
  const slices = afterwards({ pods });
  t.match(slices, [
    {
      metadata: {
        namespace: 'default',
        labels: {
          team: 'x',
          'kubernetes.io/service-name': 'web',
          'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        },
        ownerReferences: [{ kind: 'Service', uid: 's', controller: true }],
      },
      addressType: 'IPv4',
      ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    },
  ]);
  t.same(
    slices[0]?.endpoints?.map(({ addresses, conditions, nodeName, targetRef }) => [
      ...[addresses[0], conditions?.ready, conditions?.serving, conditions?.terminating],
      ...[nodeName, targetRef?.name],
    ]),
    [
      ['10.42.0.0', true, true, false, 'a', 'p0000'],
      ['10.42.0.1', false, false, false, 'a', 'p0001'],
      ['10.42.0.2', false, true, true, 'a', 'p0002'],
    ],
  );
  t.same(sliceActions({ pods, slices }), [], 'nothing changed, nothing written');
  t.same(sliceActions({ pods: [...pods].reverse(), slices }), [], 'in whatever order pods come');
  const all = { ...SERVICE, spec: { ...SERVICE.spec, publishNotReadyAddresses: true } };
  t.ok(
    afterwards({ service: all, pods })[0]?.endpoints?.every(({ conditions }) => conditions?.ready),
    'publishNotReadyAddresses',
  );
  t.match(sliceActions({ service: undefined, slices }), [{ type: 'delete', name: 'web-0' }]);
  const theirs = slices.map((one) => ({
    ...one,
    metadata: { ...one.metadata, labels: { 'kubernetes.io/service-name': 'web' } },
  }));
  t.same(sliceActions({ service: undefined, slices: theirs }), [], 'not ours to delete');
});

t.test('EndpointSlices hold a hundred, and change one at a time', async (t) => {
  const pods = podsUpTo(250);
  const slices = afterwards({ pods });
  const sizes = (list: readonly EndpointSlice[]) => list.map(({ endpoints }) => endpoints?.length);
  t.same(sizes(slices), [100, 100, 50]);
  const fewer = pods.filter((_, at) => at !== 20);
  t.equal(sliceActions({ pods: fewer, slices }).length, 1, 'one went: one write');
  const gap = afterwards({ pods: fewer, slices });
  t.same(sizes(gap), [99, 100, 50]);
  const again = sliceActions({ pods, slices: gap });
  t.match(
    again,
    [{ type: 'update', object: { metadata: { name: 'web-0' } } }],
    'the gap is filled',
  );
  t.same(sizes(afterwards({ pods: podsUpTo(150), slices })), [100, 50], 'an empty slice goes');

  const none = afterwards({ pods: [] });
  t.same(sizes(none), [0], 'nothing behind the Service is said, too');
  t.same(sliceActions({ pods: [], slices: none }), []);
  t.match(sliceActions({ pods: [podAt(1)], slices: none }), [{ type: 'update' }]);
  const named = podAt(1);
  const ports = [{ name: 'http', containerPort: 3000 }];
  named.spec = { containers: [{ name: 'c', image: 'i', ports }] };
  const other = podAt(2);
  other.spec = {
    containers: [{ name: 'c', image: 'i', ports: [{ ...ports[0], containerPort: 4000 }] }],
  };
  const byName = {
    ...SERVICE,
    spec: { ...SERVICE.spec, ports: [{ port: 80, targetPort: 'http' }] },
  };
  const two = afterwards({ service: byName, pods: [named, other, podAt(3)] });
  t.same(
    two.map((one) => one.ports?.[0]?.port),
    [3000, 4000],
    'a slice for each set of ports',
  );
});

t.test('Endpoints that people wrote are mirrored', async (t) => {
  const service = { ...SERVICE, spec: { ports: [{ port: 80 }] } };
  const endpoints: Endpoints = {
    metadata: { name: 'web', namespace: 'default', uid: 'e', labels: { own: 'y' } },
    subsets: [
      {
        addresses: [{ ip: '192.0.2.7' }],
        notReadyAddresses: [{ ip: '192.0.2.8', hostname: 'b' }],
        ports: [{ port: 8080, protocol: 'TCP' }],
      },
    ],
  };
  const slices = afterwards({ service, endpoints });
  t.match(slices, [
    {
      metadata: {
        labels: {
          own: 'y',
          'endpointslice.kubernetes.io/managed-by': 'endpointslicemirroring-controller.k8s.io',
        },
        ownerReferences: [{ kind: 'Endpoints', uid: 'e' }],
      },
      endpoints: [
        { addresses: ['192.0.2.7'], conditions: { ready: true } },
        { addresses: ['192.0.2.8'], conditions: { ready: false }, hostname: 'b' },
      ],
      ports: [{ port: 8080 }],
    },
  ]);
  t.same(sliceActions({ service, endpoints, slices }), []);
  t.match(sliceActions({ service, slices }), [{ type: 'delete' }], 'and go with them');
  const skip = { 'endpointslice.kubernetes.io/skip-mirror': 'true' };
  const skipped = { ...endpoints, metadata: { ...endpoints.metadata, labels: skip } };
  t.same(sliceActions({ service, endpoints: skipped }), []);
  t.match(
    afterwards({ pods: [podAt(1)], slices }),
    [{ metadata: { labels: { 'endpointslice.kubernetes.io/managed-by': /^endpointslice-c/ } } }],
    'a Service that selects has slices of its pods',
  );
});
