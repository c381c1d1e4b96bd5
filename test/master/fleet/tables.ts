/** Tables of objects for the tests of the fleet link. */
import t from 'tap';
import { foreignSlices, servicesOfSlice } from '../../../master/controllers/foreign-slices.ts';
import {
  type BoardTrouble,
  nextTrouble,
  troubleDiffers,
} from '../../../master/fleet/board-trouble.ts';
import { belongsInManifest, configReferences } from '../../../master/fleet/desired-pods.ts';
import { boardRoute, desiredService } from '../../../master/fleet/desired-services.ts';
import { digest } from '../../../master/fleet/desired-sync.ts';
import { labelPatch, newNode, statusPatch } from '../../../master/fleet/node-object.ts';
import { mergePodStatus } from '../../../master/fleet/pod-status.ts';
import { encodeMessage } from '../../../protocol/codec.ts';
import type {
  Endpoint,
  EndpointSlice,
  Endpoints,
  Node,
  Pod,
  PodCondition,
  Service,
} from '../../../protocol/kinds/types.ts';
import { DesiredService } from '../../../protocol/messages.ts';
import { facts, heartbeat, pod } from './fixture.ts';

const NOW = '2026-02-02T00:00:00Z';

t.test('desired state, as tables', async (t) => {
  t.test('which pods a board is told of', (t) => {
    const ended = { name: 'c', image: '', imageID: '', ready: false, restartCount: 0 };
    const terminated = { ...ended, state: { terminated: { exitCode: 0 } } };
    const running = { ...ended, state: { running: {} } };
    t.equal(belongsInManifest(pod('a')), true, 'without a status');
    t.equal(belongsInManifest(pod('a', { status: { phase: 'Running' } })), true);
    const status = { phase: 'Succeeded', containerStatuses: [terminated] };
    t.equal(belongsInManifest(pod('a', { status })), true, 'ended on the board: for its logs');
    const evicted = { phase: 'Failed', reason: 'Evicted', containerStatuses: [running] };
    t.equal(belongsInManifest(pod('a', { status: evicted })), false, 'evicted while it ran');
    t.equal(belongsInManifest(pod('a', { status: { phase: 'Failed' } })), false);
    t.end();
  });

  t.test('every way in which a pod names ConfigMaps and Secrets', (t) => {
    const one = pod('a', {
      spec: {
        initContainers: [{ name: 'i', envFrom: [{ configMapRef: { name: 'cm-envfrom' } }] }],
        containers: [
          {
            name: 'c',
            envFrom: [{ secretRef: { name: 's-envfrom' } }],
            env: [
              { name: 'A', valueFrom: { configMapKeyRef: { name: 'cm-key', key: 'k' } } },
              { name: 'B', valueFrom: { secretKeyRef: { name: 's-key', key: 'k' } } },
              { name: 'C', value: 'plain' },
            ],
          },
        ],
        volumes: [
          { name: 'v1', configMap: { name: 'cm-volume' } },
          { name: 'v2', secret: { secretName: 's-volume' } },
          {
            name: 'v3',
            projected: { sources: [{ configMap: { name: 'cm-p' } }, { secret: { name: 's-p' } }] },
          },
          { name: 'v4', emptyDir: {} },
        ],
        imagePullSecrets: [{ name: 's-pull' }],
      },
    });
    const names = configReferences(one).map(({ kind, name }) => `${kind}/${name}`);
    t.strictSame(names.sort(), [
      'configmap/cm-envfrom',
      'configmap/cm-key',
      'configmap/cm-p',
      'configmap/cm-volume',
      'secret/s-envfrom',
      'secret/s-key',
      'secret/s-p',
      'secret/s-pull',
      'secret/s-volume',
    ]);
    t.end();
  });

  t.test('a service with ready, unready and terminating endpoints', (t) => {
    const service: Service = {
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        selector: { app: 'web' },
        clusterIP: '10.43.0.5',
        type: 'NodePort',
        ports: [{ port: 80, targetPort: 'http', nodePort: 30080 }],
        externalTrafficPolicy: 'Local',
        sessionAffinity: 'ClientIP',
      },
    };
    const address = (ip: string) => ({
      ip,
      nodeName: 'pi4',
      targetRef: { kind: 'Pod', namespace: 'default', name: `p${ip.slice(-1)}` },
    });
    const going = pod('p3', {
      metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' },
      status: { podIP: '10.42.0.3', conditions: [{ type: 'Ready', status: 'True' }] },
    });
    const view = {
      service,
      endpoints: {
        subsets: [
          {
            addresses: [address('10.42.0.1')],
            notReadyAddresses: [address('10.42.0.2')],
            ports: [{ port: 80, protocol: 'TCP' }],
          },
        ],
      },
      pods: [going, pod('p4', { status: { podIP: '10.42.0.4' } })],
      digest,
    };
    const desired = desiredService(view);
    t.doesNotThrow(() => encodeMessage(DesiredService, desired));
    t.match(desired, {
      type: 'NodePort',
      clusterIp: '10.43.0.5',
      ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 30080 }],
      sessionAffinitySeconds: 10_800,
      externalTrafficLocal: true,
      internalTrafficLocal: false,
    });
    t.strictSame(
      desired.endpoints.map((one) => [one.ip, one.ready, one.terminating, one.ports['']]),
      [
        ['10.42.0.1', true, false, 80],
        ['10.42.0.2', false, false, 80],
        ['10.42.0.3', true, true, 80],
      ],
    );
    t.equal(desiredService(view).digest, desired.digest);
    t.equal(desired.loadBalancer, undefined);
    const spec = {
      ...service.spec,
      ports: [{ port: 80 }],
      type: 'LoadBalancer',
      externalIPs: ['192.0.2.1'],
      loadBalancerSourceRanges: ['192.0.2.0/24'],
      trafficDistribution: 'PreferSameNode',
    };
    const outside = (more: object) =>
      desiredService({ ...view, service: { ...service, spec: { ...spec, ...more } } });
    t.match(outside({}), {
      loadBalancer: { sourceRanges: ['192.0.2.0/24'] },
      externalIps: ['192.0.2.1'],
      preferLocal: true,
    });
    t.equal(outside({ loadBalancerClass: 'example.com/x' }).loadBalancer, undefined);
    const annotations = { 'pier.local/proxy-protocol': 'v1' };
    const told = { ...service, metadata: { ...service.metadata, annotations } };
    t.equal(desiredService({ ...view, service: told }).proxyProtocol, 'v1');
    const named = {
      ...service,
      metadata: { ...service.metadata, annotations: { 'pier.local/mdns': 'web.local' } },
      spec: { ...spec, type: 'LoadBalancer' },
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.7' }, { hostname: 'lb.example' }] } },
    };
    t.same(desiredService({ ...view, service: named }).mdns, { name: 'web.local' });
    const others = { ...named, spec: { ...named.spec, loadBalancerClass: 'example.com/x' } };
    const mdns = { name: 'web.local', addresses: ['192.0.2.7'] };
    t.same(desiredService({ ...view, service: others }).mdns, mdns);
    const other = { ...view, pods: [] };
    t.not(desiredService(other).digest, desired.digest);
    t.end();
  });

  t.test('slices of others count, and one address may be several endpoints', (t) => {
    const service: Service = {
      metadata: { name: 'nas', namespace: 'default' },
      spec: { clusterIP: '10.43.0.6', ports: [{ name: 'http', port: 80 }] },
    };
    const slice = (endpoints: Endpoint[], more: Partial<EndpointSlice> = {}): EndpointSlice => ({
      metadata: { labels: { 'kubernetes.io/service-name': 'nas' } },
      addressType: 'IPv4',
      endpoints,
      ports: [{ name: 'http', port: 8080 }, { name: 'every' }],
      ...more,
    });
    const at = (ip: string, conditions?: Endpoint['conditions']): Endpoint => ({
      addresses: [ip, '192.0.2.99'],
      ...(conditions === undefined ? {} : { conditions }),
    });
    const slices = [
      slice([
        { ...at('192.0.2.1'), nodeName: 'pi4', hostname: 'big' },
        at('192.0.2.2', { ready: false }),
        at('192.0.2.3', { ready: false, serving: true, terminating: true }),
        at('192.0.2.4', { ready: false, serving: false, terminating: true }),
        at('192.0.2.5', {}),
      ]),
      slice([at('192.0.2.5')], { ports: [{ name: 'http', port: 8081 }] }),
      slice([at('2001:db8::1')], { addressType: 'IPv6' }),
      slice([at('nas.example')], { addressType: 'FQDN' }),
    ];
    const endpoints: Endpoints = {
      subsets: [
        { addresses: [{ ip: '192.0.2.5' }], ports: [{ name: 'http', port: 8080 }] },
        { addresses: [{ ip: '192.0.2.6' }], ports: [{ name: 'http', port: 1 }] },
        { addresses: [{ ip: '192.0.2.6' }], ports: [{ name: 'http', port: 2 }] },
        { addresses: [{ ip: '192.0.2.6' }], ports: [{ name: 'other', port: 3 }] },
        { notReadyAddresses: [{ ip: '192.0.2.6' }], ports: [{ name: 'http', port: 4 }] },
      ],
    };
    const view = { service, endpoints, slices, pods: [], digest };
    t.doesNotThrow(() => encodeMessage(DesiredService, desiredService(view)));
    const said = desiredService(view).endpoints;
    t.match(said[0], { node: 'pi4', hostname: 'big' });
    t.strictSame(
      said.map((one) => [one.ip.slice(-1), one.ready, one.terminating, one.ports]),
      [
        ['1', true, false, { http: 8080 }],
        ['2', false, false, { http: 8080 }],
        ['3', true, true, { http: 8080 }],
        ['5', true, false, { http: 8080 }],
        ['5', true, false, { http: 8081 }],
        ['6', true, false, { http: 1, other: 3 }],
        ['6', true, false, { http: 2 }],
        ['6', false, false, { http: 4 }],
      ],
    );
    const [first] = slices;
    const kept = slice([at('192.0.2.7')]);
    const ours = {
      'kubernetes.io/service-name': 'nas',
      'endpointslice.kubernetes.io/managed-by': 'endpointslicemirroring-controller.k8s.io',
    };
    const all = [...slices, { ...kept, metadata: { labels: ours } }];
    t.same(foreignSlices(all, 'nas'), slices, 'what our own controllers keep is known already');
    t.same(foreignSlices(all, 'other'), []);
    const { metadata } = slice([]);
    const named = { ...first, metadata: { ...metadata, namespace: 'default' } } as EndpointSlice;
    t.same(servicesOfSlice({ type: 'added', object: named }), ['default/nas']);
    const previous = { ...named, metadata: { namespace: 'default' } };
    t.same(servicesOfSlice({ type: 'modified', object: previous, previous: named }), [
      'default/nas',
    ]);
    t.same(servicesOfSlice({ type: 'deleted', object: previous }), []);
    t.end();
  });

  t.test('a board without an address or a range is no route', (t) => {
    const node: Node = {
      metadata: { name: 'pi4' },
      spec: { podCIDR: '10.42.1.0/24' },
      status: { addresses: [{ type: 'InternalIP', address: '192.0.2.4' }] },
    };
    t.match(boardRoute(node, digest), { address: '192.0.2.4', podCidr: '10.42.1.0/24' });
    t.equal(boardRoute({ ...node, spec: {} }, digest), undefined);
    t.equal(boardRoute({ ...node, status: {} }, digest), undefined);
    t.end();
  });
});

t.test('the Node object', (t) => {
  const said = facts('s', { labels: { 'pier.local/gpio': 'yes', 'kubernetes.io/arch': 'evil' } });
  const node = newNode('pi4', said);
  t.strictSame(node.metadata?.labels, {
    'pier.local/gpio': 'yes',
    'kubernetes.io/hostname': 'pi4',
    'kubernetes.io/arch': 'arm64',
    'kubernetes.io/os': 'linux',
    'node.kubernetes.io/instance-type': 'Raspberry-Pi-4-Model-B-Rev-1.4',
  });
  t.equal(labelPatch(node, said), undefined, 'nothing to do');
  const changed = structuredClone(node);
  if (changed.metadata?.labels) {
    changed.metadata.labels['pier.local/gpio'] = 'no';
    changed.metadata.labels.mine = 'stays';
  }
  t.equal(labelPatch(changed, said), undefined, 'what a person set stands');
  t.match(labelPatch(node, facts('s', { labels: {} })), {
    metadata: { labels: { 'pier.local/gpio': null } },
  });
  const context = { now: '2026-01-01T00:00:00Z', versions: { kubernetes: 'v1.34.0+pier' } };
  const online = { state: 'online', heartbeat: heartbeat('s', 0) } as const;
  const patch = statusPatch(node, said, online, context);
  t.match(patch, {
    status: { nodeInfo: { kubeletVersion: 'v1.34.0+pier' }, capacity: { cpu: '4' } },
  });
  const after: Node = { ...node, status: (patch?.status ?? {}) as NonNullable<Node['status']> };
  t.equal(statusPatch(after, said, online, { ...context, now: '2027-01-01T00:00:00Z' }), undefined);
  t.equal(statusPatch(after, said, { state: 'unseen' }, context), undefined, 'no news, no change');
  const engineDown = heartbeat('s', 1, { runtimeReady: false, runtimeMessage: 'podman: gone' });
  const broken = statusPatch(after, said, { state: 'online', heartbeat: engineDown }, context);
  t.match(JSON.stringify(broken), /"status":"False","reason":"KubeletNotReady".*podman: gone/);
  const extended = structuredClone(after);
  if (extended.status?.capacity) extended.status.capacity['example.com/dongle'] = '2';
  t.match(
    statusPatch(extended, said, online, context),
    { status: { allocatable: { 'example.com/dongle': '2' } } },
    'what a person advertises is given to pods',
  );
  const plugged = facts('s', { capacity: { ...said.capacity, 'pier.local/i2c-1': '1' } });
  const withDevice = statusPatch(after, plugged, online, context);
  t.match(withDevice, { status: { capacity: { 'pier.local/i2c-1': '1' } } });
  const holds = structuredClone(after);
  if (holds.status?.capacity) holds.status.capacity['pier.local/i2c-1'] = '1';
  t.match(
    statusPatch(holds, said, online, context),
    { status: { capacity: { 'pier.local/i2c-1': null } } },
    'a device that was pulled is taken out',
  );
  const hot = statusPatch(
    after,
    said,
    { ...online, trouble: { overheating: true, underVoltage: false } },
    context,
  );
  t.match(JSON.stringify(hot), /"Overheating","status":"True".*"UnderVoltage","status":"False"/);
  t.notMatch(JSON.stringify(patch), /Overheating/, 'no sensor, no condition');
  t.end();
});

t.test('heat and weak power do not swing the conditions', (t) => {
  const after = (steps: [celsius: number, low: boolean, atMs: number][]): BoardTrouble =>
    steps.reduce<BoardTrouble>(
      (before, [temperatureCelsius, underVoltage, nowMs]) =>
        nextTrouble(before, { temperatureCelsius, underVoltage }, nowMs),
      {},
    );
  t.same(nextTrouble({}, {}, 0), {}, 'no sensors');
  t.match(after([[79.9, false, 0]]), { overheating: false, underVoltage: false });
  t.match(after([[80, false, 0]]), { overheating: true });
  t.match(
    after([
      [80, false, 0],
      [76, false, 5],
    ]),
    { overheating: true },
    'not cool yet',
  );
  t.match(
    after([
      [80, false, 0],
      [74, false, 5],
    ]),
    { overheating: false },
  );
  t.match(
    after([
      [50, true, 0],
      [50, false, 59_999],
    ]),
    { underVoltage: true },
    'a dip lasts',
  );
  t.match(
    after([
      [50, true, 0],
      [50, false, 60_000],
    ]),
    { underVoltage: false },
  );
  t.match(
    after([
      [50, true, 0],
      [50, true, 50_000],
      [50, false, 100_000],
    ]),
    { underVoltage: true },
  );
  t.equal(troubleDiffers({ overheating: true }, { overheating: true }), false);
  t.equal(troubleDiffers({ overheating: true }, {}), true);
  t.end();
});

t.test('a reported pod status', (t) => {
  const scheduled = { type: 'PodScheduled', status: 'True' };
  const current = pod('a', {
    status: { phase: 'Pending', conditions: [scheduled], qosClass: 'BestEffort' },
  });
  const ready = { type: 'Ready', status: 'True' };
  const merged = mergePodStatus(current, { phase: 'Running', conditions: [ready] }, NOW);
  t.strictSame(merged, {
    phase: 'Running',
    conditions: [scheduled, ready],
    qosClass: 'BestEffort',
  });
  const same = { ...current, status: merged ?? {} };
  t.equal(mergePodStatus(same, { phase: 'Running', conditions: [ready] }, NOW), undefined);
  const failed = pod('a', { status: { phase: 'Failed' } });
  t.equal(mergePodStatus(failed, { phase: 'Running' }, NOW), undefined, 'the dead stay dead');
  t.end();
});

t.test('a pod with readiness gates is Ready when its board and the gates say so', async (t) => {
  const since = '2026-01-01T00:00:00Z';
  const condition = (type: string, status: string) => ({ type, status, lastTransitionTime: since });
  const board = [condition('Ready', 'True'), condition('ContainersReady', 'True')];
  const gated = (conditions: PodCondition[]): Pod => ({
    spec: { containers: [], readinessGates: [{ conditionType: 'shop/open' }] },
    status: { phase: 'Running', conditions },
  });
  const ready = (pod: Pod, reported = board) =>
    mergePodStatus(pod, { phase: 'Running', conditions: reported }, NOW)?.conditions?.find(
      ({ type }) => type === 'Ready',
    );
  const closed = { status: 'False', reason: 'ReadinessGatesNotReady', lastTransitionTime: NOW };
  t.match(ready(gated([])), {
    ...closed,
    message: 'corresponding condition of pod readiness gate "shop/open" does not exist.',
  });
  t.match(ready(gated([condition('shop/open', 'False')])), {
    ...closed,
    message: 'the status of pod readiness gate "shop/open" is not "True", but False',
  });
  const before = { ...condition('Ready', 'False'), reason: 'ReadinessGatesNotReady' };
  t.match(ready(gated([condition('shop/open', 'True'), before])), {
    status: 'True',
    lastTransitionTime: NOW,
  });
  t.match(
    ready(gated([condition('shop/open', 'False'), before])),
    { status: 'False', lastTransitionTime: since },
    'it was not Ready before either',
  );
  const unready = { ...condition('Ready', 'False'), reason: 'ContainersNotReady' };
  t.match(ready(gated([]), [unready]), unready, 'the board has the first word');
  const open = gated([condition('shop/open', 'True'), ...board]);
  const same = { phase: 'Running', conditions: board };
  t.equal(mergePodStatus(open, same, NOW), undefined, 'nothing changes');
});
