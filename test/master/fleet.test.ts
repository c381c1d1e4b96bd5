/** The fleet link: desired state as tables, health with time in the hand, and the whole over real TLS. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import t, { type Test } from 'tap';
import { RESOURCES } from '../../master/api/client.ts';
import type { EventRecorder } from '../../master/controllers/events.ts';
import { type Fleet, startFleet } from '../../master/fleet/fleet.ts';
import { SharedInformers } from '../../master/informer/shared.ts';
import { decodeCbor, decodeMessage, encodeMessage } from '../../protocol/codec.ts';
import type { Lease, Node, Pod, Service } from '../../protocol/kinds/types.ts';
import {
  ClusterManifest,
  DesiredConfig,
  DesiredPod,
  Heartbeat,
  Manifest,
  NodeEvent,
  NodeFacts,
  Online,
  PodReport,
} from '../../protocol/messages.ts';
import { open, tokenContext } from '../../protocol/seal.ts';
import { ApiError } from '../../protocol/status.ts';
import { clusterTopics, nodeTopics } from '../../protocol/topics.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  FakeBus,
  facts,
  HandTime,
  heartbeat,
  log,
  pod,
  startBrokerFixture,
  until,
} from './fleet/fixture.ts';

import './fleet/tables.ts';
import './fleet/ingresses.ts';
import './fleet/volumes.ts';
import './fleet/whole.ts';

const topics = nodeTopics('pi4');

interface World {
  readonly api: FakeApi;
  readonly bus: FakeBus;
  readonly time: HandTime;
  readonly informers: SharedInformers;
  readonly fleet: Fleet;
  readonly events: string[];
  /** What a board says, as from the broker. */
  readonly say: {
    online(online: boolean, session: string): void;
    facts(session: string, change?: Partial<NodeFacts>): void;
    heartbeat(session: string, sequence: number, change?: Partial<Heartbeat>): void;
    report(session: string, sequence: number, change: Partial<PodReport>): void;
  };
  manifest(): Manifest | undefined;
  ready(): Promise<string>;
}

/** `start: false`: the informers do not sync until the test starts them. */
async function makeWorld(
  t: Test,
  options: { start?: boolean; prepare?: FakeApi } = {},
): Promise<World> {
  const api = options.prepare ?? new FakeApi();
  const bus = new FakeBus();
  const time = new HandTime();
  const informers = new SharedInformers({ client: api, log, timers: time });
  const events: string[] = [];
  const recorder: EventRecorder = {
    record: (about, type, reason) => void events.push(`${about.kind} ${type} ${reason}`),
  };
  const fleet = startFleet({
    client: api,
    informers,
    bus,
    clock: time,
    timers: time,
    log,
    clusterId: 'c1',
    epoch: 3,
    events: recorder,
    kubernetesVersion: 'v1.34.0+pier',
  });
  t.teardown(async () => {
    const stopping = fleet.stop();
    await informers.stop();
    await stopping;
  });
  if (options.start !== false) {
    void informers.start();
    await fleet.ready;
  }
  const say: World['say'] = {
    online: (online, session) =>
      bus.say('pi4', topics.online, encodeMessage(Online, { v: 1, online, session })),
    facts: (session, change) =>
      bus.say('pi4', topics.facts, encodeMessage(NodeFacts, facts(session, change))),
    heartbeat: (session, sequence, change) =>
      bus.say(
        'pi4',
        topics.heartbeat,
        encodeMessage(Heartbeat, heartbeat(session, sequence, change)),
      ),
    report: (session, sequence, change) => {
      const report = {
        v: 1,
        session,
        sequence,
        uid: '',
        namespace: 'default',
        name: '',
        status: {},
        gone: false,
        ...change,
      } as const;
      bus.say('pi4', topics.podStatus(report.uid), encodeMessage(PodReport, report));
    },
  };
  return {
    api,
    bus,
    time,
    informers,
    fleet,
    events,
    say,
    manifest: () => {
      const bytes = bus.retained.get(topics.manifest);
      return bytes === undefined ? undefined : decodeMessage(Manifest, bytes);
    },
    ready: async () => {
      const node = await api.get<Node>(RESOURCES.nodes, '', 'pi4');
      const one = node.status?.conditions?.find(({ type }) => type === 'Ready');
      return `${one?.status} ${one?.reason}`;
    },
  };
}

async function join(world: World, session = 's1'): Promise<void> {
  world.say.online(true, session);
  world.say.facts(session);
  world.say.heartbeat(session, 0);
  await world.time.advance(50);
}

t.test('nothing goes out before everything has been read', async (t) => {
  const world = await makeWorld(t, { start: false });
  await join(world);
  await world.time.advance(60_000);
  t.strictSame(world.bus.published, [], 'not even the cluster manifest');
  t.equal(world.api.writes.length, 0);
  void world.informers.start();
  await world.fleet.ready;
  await world.time.advance(100);
  t.ok(world.manifest(), 'what the board said meanwhile was kept');
});

t.test(
  'a board joins, gets pods, ConfigMaps and sealed Secrets, and only what changed',
  async (t) => {
    const world = await makeWorld(t);
    const { api, bus, time } = world;
    const fixture = await startBrokerFixture();
    t.teardown(() => fixture.close());
    const board = await fixture.credentials('pi4');
    const privateKey = createPrivateKey(board.privateKey);
    const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });

    world.say.online(true, 's1');
    world.say.facts('s1', { publicKey: new Uint8Array(publicKey) });
    world.say.heartbeat('s1', 0);
    await time.advance(50);
    t.equal(await world.ready(), 'True KubeletReady');
    t.match(world.manifest(), { clusterId: 'c1', epoch: 3, node: { name: 'pi4' }, pods: [] });

    await api.create(RESOURCES.configMaps, {
      metadata: { name: 'cm', namespace: 'default' },
      data: { greeting: 'hello' },
    } as object);
    await api.create(RESOURCES.secrets, {
      metadata: { name: 'db', namespace: 'default' },
      data: { password: Buffer.from('canary-55').toString('base64') },
    } as object);
    const created = await api.create<Pod>(
      RESOURCES.pods,
      pod('web-1', {
        spec: {
          containers: [{ name: 'c', envFrom: [{ configMapRef: { name: 'cm' } }] }],
          volumes: [{ name: 's', secret: { secretName: 'db' } }],
        },
      }),
    );
    await time.advance(50);
    // Sealing happens on another thread, which the clock in the hand does not move.
    await until(() => world.manifest()?.pods.length === 1, 'the manifest');
    const uid = created.metadata?.uid ?? '';
    const first = world.manifest();
    t.strictSame(
      first?.configs.map(({ kind, name }) => `${kind}/${name}`),
      ['configmap/cm', 'secret/db'],
    );
    t.strictSame(
      first?.pods.map((one) => one.uid),
      [uid],
    );
    const order = bus.published.map(({ topic }) => topic);
    t.ok(order.lastIndexOf(topics.manifest) > order.indexOf(topics.pod(uid)), 'payloads first');
    const told = decodeMessage(DesiredPod, bus.retained.get(topics.pod(uid)) ?? new Uint8Array());
    t.match(told, { uid, pod: { kind: 'Pod', metadata: { name: 'web-1', uid } } });
    t.notOk('status' in told.pod);

    const secretTopic = topics.config('secret', 'default', 'db');
    const secretBytes = bus.retained.get(secretTopic) ?? new Uint8Array();
    t.notOk(bus.published.some(({ payload }) => Buffer.from(payload).includes('canary-55')));
    const { sealed = new Uint8Array() } = decodeMessage(DesiredConfig, secretBytes);
    const key = privateKey.export({ type: 'pkcs8', format: 'der' });
    const opened = await open(key, sealed, 'secret/pi4/default/db');
    t.ok(Buffer.from(opened).includes('canary-55'), 'the board can open it');

    const count = bus.published.length;
    world.say.report('s1', 1, { uid, name: 'web-1', status: { phase: 'Running' } });
    await time.advance(50);
    t.equal((await api.get<Pod>(RESOURCES.pods, 'default', 'web-1')).status?.phase, 'Running');
    t.equal(bus.published.length, count, 'a status write tells the board nothing');

    await api.patch(RESOURCES.configMaps, 'default', 'cm', { data: { greeting: 'hi' } });
    await time.advance(50);
    t.strictSame(
      bus.published.slice(count).map(({ topic }) => topic),
      [topics.config('configmap', 'default', 'cm'), topics.manifest],
      'one changed, one goes out',
    );
    const second = world.manifest();
    t.ok((second?.revision ?? 0) > (first?.revision ?? 0), 'with a higher revision');

    bus.reset();
    await time.advance(50);
    await until(() => world.manifest() !== undefined, 'all of it again');
    t.strictSame(world.manifest(), second, 'a broker that forgot gets all again');
    t.ok(bus.retained.has(secretTopic) && bus.retained.has(topics.pod(uid)));

    await api.delete(RESOURCES.pods, 'default', 'web-1', { gracePeriodSeconds: 30 });
    await time.advance(50);
    const going = decodeMessage(DesiredPod, bus.retained.get(topics.pod(uid)) ?? new Uint8Array());
    t.match(going.pod, { metadata: { deletionTimestamp: String, deletionGracePeriodSeconds: 30 } });
    world.say.report('s1', 2, { uid, name: 'web-1', gone: true });
    await time.advance(50);
    await t.rejects(api.get(RESOURCES.pods, 'default', 'web-1'), /not found/);
    t.strictSame(world.manifest()?.pods, []);
    t.notOk(bus.retained.has(topics.pod(uid)), 'cleared after the manifest left it out');
  },
);

t.test(
  'tokens for volumes are sealed to the board, and renewed at 80 % of their life',
  async (t) => {
    const world = await makeWorld(t);
    const { api, bus, time } = world;
    const fixture = await startBrokerFixture();
    t.teardown(() => fixture.close());
    const privateKey = createPrivateKey((await fixture.credentials('pi4')).privateKey);
    const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
    world.say.online(true, 's1');
    world.say.facts('s1', { publicKey: new Uint8Array(publicKey) });
    await time.advance(50);
    let refuse = true;
    api.beforeWrite = (write) => {
      if (refuse && write.startsWith('token')) throw new Error('no such account yet');
    };
    const sources = [
      { serviceAccountToken: { path: 'token', expirationSeconds: 1000 } },
      { serviceAccountToken: { path: 'v', audience: 'vault', expirationSeconds: 3600 } },
    ];
    const { metadata } = await api.create<Pod>(
      RESOURCES.pods,
      pod('web-1', {
        spec: {
          serviceAccountName: 'robot',
          containers: [{ name: 'c' }],
          volumes: [{ name: 'api', projected: { sources } }],
        },
      }),
    );
    const topic = topics.pod(metadata?.uid ?? '');
    const told = () => decodeMessage(DesiredPod, bus.retained.get(topic) ?? new Uint8Array());
    const tokens = async (): Promise<unknown> => {
      const der = new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }));
      const context = tokenContext('pi4', metadata?.uid ?? '');
      return decodeCbor(await open(der, told().tokens ?? new Uint8Array(), context));
    };
    await time.advance(50);
    await until(() => world.manifest()?.pods.length === 1, 'the manifest');
    t.equal(told().tokens, undefined, 'no account: the pod goes out without');
    const manifests = () =>
      bus.published.filter(({ topic: one }) => one === topics.manifest).length;
    const before = manifests();

    refuse = false;
    await time.advance(61_000);
    await until(() => told().tokens !== undefined, 'the tokens');
    const first = await tokens();
    t.match(first, { 'api/token': /^robot for ,/, 'api/v': /^robot for vault/ });
    const sealed = told().tokens;
    await time.advance(790_000);
    t.same(told().tokens, sealed, 'not before 800 seconds');
    await time.advance(20_000);
    await until(() => !isDeepStrictEqual(told().tokens, sealed), 'newer tokens');
    t.notSame(await tokens(), first);
    t.equal(told().digest, world.manifest()?.pods[0]?.digest);
    t.equal(manifests(), before, 'no manifest for it: the board writes nothing to its card');

    await api.patch(
      RESOURCES.pods,
      'default',
      'web-1',
      {
        status: {
          phase: 'Succeeded',
          containerStatuses: [{ name: 'c', state: { terminated: { exitCode: 0 } } }],
        },
      },
      'status',
    );
    const made = api.writes.filter((write) => write.startsWith('token')).length;
    await time.advance(10_000_000);
    t.equal(
      api.writes.filter((write) => write.startsWith('token')).length,
      made,
      'a pod that has ended needs none',
    );
  },
);

t.test('services and boards go to all', async (t) => {
  const { api, bus, time } = await makeWorld(t);
  await time.advance(50);
  const cluster = (): ClusterManifest =>
    decodeMessage(ClusterManifest, bus.retained.get(clusterTopics.manifest) ?? new Uint8Array());
  t.strictSame(cluster().services, []);
  await api.create<Service>(RESOURCES.services, {
    metadata: { name: 'web', namespace: 'default' },
    spec: { clusterIP: '10.43.0.9', ports: [{ port: 80 }], selector: { app: 'web' } },
  });
  await time.advance(50);
  t.match(cluster().services, [{ namespace: 'default', name: 'web' }]);
  t.ok(bus.retained.has(clusterTopics.service('default', 'web')));
  await api.delete(RESOURCES.services, 'default', 'web');
  await time.advance(50);
  t.strictSame(cluster().services, []);
  t.notOk(bus.retained.has(clusterTopics.service('default', 'web')));
});

t.test('a failed publish is tried again, and a manifest goes out last', async (t) => {
  const world = await makeWorld(t);
  await join(world);
  const before = world.manifest()?.revision ?? 0;
  world.bus.fail = new Error('the broker is gone');
  await world.api.create<Pod>(RESOURCES.pods, pod('web-1'));
  await world.time.advance(100);
  t.equal(world.manifest()?.revision, before);
  world.bus.fail = undefined;
  await world.time.advance(2_000);
  t.equal(world.manifest()?.pods.length, 1);
});

t.test('a board holds a lease in kube-node-lease while its Node is there', async (t) => {
  const world = await makeWorld(t);
  await join(world);
  const lease = () => world.api.get<Lease>(RESOURCES.leases, 'kube-node-lease', 'pi4');
  const uid = async () =>
    (await world.api.get<Node>(RESOURCES.nodes, '', 'pi4')).metadata?.uid ?? 'none';
  await world.time.advance(50);
  const first = await lease();
  t.match(first, {
    metadata: {
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'pi4', uid: await uid() }],
    },
    spec: { holderIdentity: 'pi4', leaseDurationSeconds: 40 },
  });
  const renewedMs = ({ spec }: Lease) => Date.parse(spec?.renewTime ?? '');
  await world.time.advance(9_000);
  world.say.heartbeat('s1', 1);
  await world.time.advance(50);
  t.equal(renewedMs(await lease()), renewedMs(first), 'not with every heartbeat');
  await world.time.advance(1_000);
  world.say.heartbeat('s1', 2);
  await world.time.advance(50);
  t.equal(renewedMs(await lease()) - renewedMs(first), 10_150);

  const before = await uid();
  await world.api.delete(RESOURCES.nodes, '', 'pi4');
  await world.time.advance(50);
  await t.rejects(lease(), /not found/, 'it goes with the Node');
  world.say.heartbeat('s1', 3);
  await world.time.advance(50);
  t.not(await uid(), before, 'the board is connected: it has a new Node');
  t.match((await lease()).metadata?.ownerReferences, [{ uid: await uid() }]);

  world.say.online(false, 's1');
  await world.time.advance(50);
  await world.api.delete(RESOURCES.nodes, '', 'pi4');
  await world.time.advance(60_000);
  await t.rejects(lease(), /not found/);
});

t.test('a lease that cannot be written is tried again', async (t) => {
  const world = await makeWorld(t);
  let failures = 0;
  world.api.beforeWrite = (write) => {
    if (!write.includes('leases') || failures === 2) return;
    failures += 1;
    throw new Error('the API is busy');
  };
  await join(world);
  const lease = () => world.api.get<Lease>(RESOURCES.leases, 'kube-node-lease', 'pi4');
  for (let beat = 1; beat <= 4; beat++) {
    await world.time.advance(10_000);
    world.say.heartbeat('s1', beat);
  }
  await world.time.advance(50);
  t.equal(failures, 2);
  t.match(await lease(), { spec: { holderIdentity: 'pi4' } });
});

t.test('health of a board, on the monotonic clock', async (t) => {
  const lost = 'Unknown NodeStatusUnknown';
  const fine = 'True KubeletReady';

  t.test('missed heartbeats make it Unknown, one brings it back', async (t) => {
    const world = await makeWorld(t);
    await join(world);
    t.equal(await world.ready(), fine);
    await world.time.advance(14_000);
    t.equal(await world.ready(), fine);
    await world.time.advance(2_500);
    t.equal(await world.ready(), lost);
    const writes = world.api.writes.length;
    await world.time.advance(60_000);
    t.equal(world.api.writes.length, writes, 'staying away costs no write');
    world.say.heartbeat('s1', 1);
    await world.time.advance(50);
    t.equal(await world.ready(), fine);
  });

  t.test('heartbeats write nothing but a lease every ten seconds', async (t) => {
    const world = await makeWorld(t);
    await join(world);
    const writes = world.api.writes.length;
    for (let beat = 1; beat <= 60; beat++) {
      await world.time.advance(5_000);
      world.say.heartbeat('s1', beat, { cpuNanoCores: beat, memoryWorkingSetBytes: beat * 1024 });
    }
    await world.time.advance(50);
    const since = world.api.writes.slice(writes);
    t.equal(since.length, 30);
    t.same([...new Set(since)], ['patch leases kube-node-lease/pi4']);
    t.match(world.fleet.metrics.nodes(), [
      { name: 'pi4', window: '5s', usage: { cpu: '60n', memory: '60Ki' } },
    ]);
  });

  t.test(
    'a last will makes it Unknown at once, but not the will of an older session',
    async (t) => {
      const world = await makeWorld(t);
      await join(world, 's1');
      world.say.online(false, 's1');
      await world.time.advance(50);
      t.equal(await world.ready(), lost);
      await join(world, 's2');
      t.equal(await world.ready(), fine);
      world.say.online(false, 's1');
      world.say.heartbeat('s1', 99, { memoryPressure: true });
      await world.time.advance(2_000);
      t.equal(await world.ready(), fine);
      world.say.heartbeat('s2', 0, { runtimeReady: false });
      await world.time.advance(50);
      t.equal(await world.ready(), fine, 'a doubled sequence is dropped');
    },
  );

  t.test(
    'after a start of the master a board gets 30 s, and a stall of the master counts for none',
    async (t) => {
      const first = await makeWorld(t);
      await join(first);
      await first.fleet.stop();
      const world = await makeWorld(t, { prepare: first.api });
      await world.time.advance(25_000);
      t.equal(await world.ready(), fine);
      await world.time.advance(7_000);
      t.equal(await world.ready(), lost);
      await join(world, 's9');
      t.equal(await world.ready(), fine);
      world.time.freeze(50 * 365 * 86_400_000);
      await world.time.advance(1_500);
      t.equal(
        await world.ready(),
        fine,
        'fifty years of standing still are no silence of the board',
      );
    },
  );

  t.test(
    'a connected board whose Node is deleted gets a new one, a lost board does not',
    async (t) => {
      const world = await makeWorld(t);
      await join(world);
      const uid = async () => (await world.api.get<Node>(RESOURCES.nodes, '', 'pi4')).metadata?.uid;
      const first = await uid();
      await world.api.delete(RESOURCES.nodes, '', 'pi4');
      await world.time.advance(100);
      t.not(await uid(), first);
      t.equal(await world.ready(), fine);
      world.say.online(false, 's1');
      await world.time.advance(100);
      await world.api.delete(RESOURCES.nodes, '', 'pi4');
      await world.time.advance(60_000);
      await t.rejects(uid(), /not found/);
      await join(world, 's2');
      t.equal(await world.ready(), fine);
    },
  );

  t.test('what people set on a Node stays', async (t) => {
    const world = await makeWorld(t);
    await join(world);
    const taints = [{ key: 'mine', effect: 'NoSchedule' }];
    await world.api.patch(RESOURCES.nodes, '', 'pi4', {
      metadata: { labels: { zone: 'kitchen' } },
      spec: { unschedulable: true, taints },
    });
    world.say.facts('s1', { osImage: 'newer' });
    await world.time.advance(100);
    const node = await world.api.get<Node>(RESOURCES.nodes, '', 'pi4');
    t.equal(node.status?.nodeInfo?.osImage, 'newer');
    t.equal(node.metadata?.labels?.zone, 'kitchen');
    t.match(node.spec, { unschedulable: true, taints });
  });
});

t.test('a board can speak only of what is its own', async (t) => {
  const world = await makeWorld(t);
  await join(world);
  const { api, say, time } = world;
  const other = await api.create<Pod>(
    RESOURCES.pods,
    pod('theirs', { spec: { nodeName: 'pi5', containers: [] } }),
  );
  const own = await api.create<Pod>(RESOURCES.pods, pod('ours'));
  await time.advance(50);
  const running = { phase: 'Running' };
  const phase = async (name: string) =>
    (await api.get<Pod>(RESOURCES.pods, 'default', name)).status?.phase;
  say.report('s1', 1, { uid: other.metadata?.uid ?? '', name: 'theirs', status: running });
  say.report('s1', 2, { uid: other.metadata?.uid ?? '', name: 'theirs', gone: true });
  say.report('s1', 3, { uid: 'another-life', name: 'ours', status: running });
  say.report('old-session', 4, { uid: own.metadata?.uid ?? '', name: 'ours', status: running });
  await time.advance(100);
  t.equal(await phase('theirs'), undefined);
  t.equal(await phase('ours'), undefined);
  say.report('s1', 5, { uid: own.metadata?.uid ?? '', name: 'ours', gone: true });
  await time.advance(100);
  t.equal(
    await phase('ours'),
    undefined,
    'a pod that should run is not deleted because it is gone',
  );
  say.report('s1', 7, { uid: own.metadata?.uid ?? '', name: 'ours', status: running });
  say.report('s1', 6, { uid: own.metadata?.uid ?? '', name: 'ours', status: { phase: 'Pending' } });
  await time.advance(100);
  t.equal(await phase('ours'), 'Running', 'late reports are dropped');

  const event = (kind: string, namespace: string, name: string, uid: string): void =>
    world.bus.say(
      'pi4',
      topics.events,
      encodeMessage(NodeEvent, {
        v: 1,
        session: 's1',
        involved: { kind, namespace, name, uid },
        type: 'Normal',
        reason: 'Started',
        message: 'm',
      }),
    );
  event('Pod', 'default', 'ours', own.metadata?.uid ?? '');
  event('Pod', 'default', 'theirs', other.metadata?.uid ?? '');
  event('Node', '', 'pi4', '');
  event('Node', '', 'pi5', '');
  event('Secret', 'default', 'x', '');
  event('Service', 'default', 'nobodys', '');
  t.strictSame(world.events, ['Pod Normal Started', 'Node Normal Started']);
  await api.create<Service>(RESOURCES.services, {
    metadata: { name: 'web', namespace: 'default' },
    spec: { ports: [{ port: 80 }] },
  });
  await time.advance(100);
  event('Service', 'default', 'web', '');
  t.equal(world.events.at(-1), 'Service Normal Started', 'every board serves all services');

  world.bus.say('pi4', topics.heartbeat, Buffer.from('garbage'));
  world.bus.say('pi4', topics.facts, new Uint8Array(0));
  t.pass('garbage changes nothing');
});

t.test('a status that could not be written is written later, the latest wins', async (t) => {
  const world = await makeWorld(t);
  await join(world);
  const own = await world.api.create<Pod>(RESOURCES.pods, pod('ours'));
  await world.time.advance(50);
  const uid = own.metadata?.uid ?? '';
  let failures = 0;
  world.api.beforeWrite = (write) => {
    if (!write.includes('pods')) return;
    failures += 1;
    throw new ApiError(503, 'ServiceUnavailable', 'no room on the disk');
  };
  world.say.report('s1', 1, { uid, name: 'ours', status: { phase: 'Pending' } });
  await world.time.advance(3_500);
  t.ok(failures >= 3 && failures <= 5, `tried about once a second, ${failures} times`);
  world.say.report('s1', 2, { uid, name: 'ours', status: { phase: 'Running' } });
  world.api.beforeWrite = () => {};
  await world.time.advance(1_500);
  t.equal((await world.api.get<Pod>(RESOURCES.pods, 'default', 'ours')).status?.phase, 'Running');
});
