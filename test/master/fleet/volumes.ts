/** Persistent storage as boards are told of it, and what they say when its directory is gone. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import { desiredOfNode } from '../../../master/fleet/desired-pods.ts';
import { digest } from '../../../master/fleet/desired-sync.ts';
import { VolumeRemoval } from '../../../master/fleet/volume-removal.ts';
import { SharedInformers } from '../../../master/informer/shared.ts';
import { encodeMessage } from '../../../protocol/codec.ts';
import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  PersistentVolumeSpec,
  Pod,
} from '../../../protocol/kinds/types.ts';
import { VolumeReport } from '../../../protocol/messages.ts';
import { FakeApi } from '../../support/fake-api.ts';
import { log, pod, until } from './fixture.ts';

const BOARD: Node = { metadata: { name: 'pi4', labels: { 'kubernetes.io/hostname': 'pi4' } } };
const HOLDER = { namespace: 'default', name: 'data', uid: 'c1' };

function volume(spec: Partial<PersistentVolumeSpec> = {}, phase = 'Bound'): PersistentVolume {
  const here = { key: 'kubernetes.io/hostname', operator: 'In', values: ['pi4'] };
  return {
    metadata: {
      name: 'pvc-c1',
      annotations: { 'pv.kubernetes.io/provisioned-by': 'pier.local/local-path' },
      finalizers: ['kubernetes.io/pv-protection'],
    },
    spec: {
      claimRef: HOLDER,
      local: { path: '/data/volumes/pvc-c1' },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } },
      persistentVolumeReclaimPolicy: 'Delete',
      ...spec,
    },
    status: { phase },
  };
}

const CLAIM: PersistentVolumeClaim = {
  metadata: { name: 'data', namespace: 'default', uid: 'c1' },
  spec: { volumeName: 'pvc-c1' },
  status: { phase: 'Bound' },
};

function using(change: Partial<Pod> = {}): Pod {
  const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'data' } }];
  return pod('db', {
    ...change,
    metadata: { uid: 'u1', ...change.metadata },
    spec: { containers: [{ name: 'c' }], volumes },
  });
}

function told(one: Pod, claim: PersistentVolumeClaim | undefined, volumes: PersistentVolume[]) {
  const { pods, content } = desiredOfNode({
    node: BOARD,
    pods: [one],
    configMap: () => undefined,
    secret: () => undefined,
    publicKey: new Uint8Array(),
    digest,
    claim: () => claim,
    volume: (name) => volumes.find(({ metadata }) => metadata?.name === name),
    volumes,
    ingresses: undefined,
  });
  return { claims: pods[0]?.claims, count: pods.length, digest: pods[0]?.digest, content };
}

t.test('what the claims of a pod are on its board', async (t) => {
  const of = (spec: Partial<PersistentVolumeSpec>, more: Partial<PersistentVolume> = {}) =>
    told(using(), CLAIM, [{ ...volume(spec), ...more }]).claims;
  t.same(of({}), { data: { type: 'directory', path: '/data/volumes/pvc-c1' } });
  const foreign = { metadata: { name: 'pvc-c1' } };
  t.same(of({}, foreign), {
    data: { type: 'hostPath', path: '/data/volumes/pvc-c1', expect: 'Directory' },
  });
  const { local: _, ...rest } = volume().spec ?? {};
  const other = (source: Partial<PersistentVolumeSpec>) =>
    told(using(), CLAIM, [{ metadata: { name: 'pvc-c1' }, spec: { ...rest, ...source } }]).claims;
  t.same(other({ hostPath: { path: '/srv', type: 'Directory' } }), {
    data: { type: 'hostPath', path: '/srv', expect: 'Directory' },
  });
  const problem = (message: RegExp) => ({ data: { type: 'problem', message } });
  t.match(other({ iscsi: {} } as object), problem(/type iscsi are not supported/));
  const share = { server: 'nas.lan', path: '/export' };
  const shared = (more: Partial<PersistentVolumeSpec>) => other({ nfs: share, ...more });
  // For agents that know no NFS it is a problem, so that they do not take the message for a damaged one.
  t.match(shared({}), { data: { type: 'problem', message: /too old for NFS/, nfs: share } });
  t.match(shared({ mountOptions: ['nfsvers=3'] }), {
    data: { nfs: { ...share, mountOptions: ['nfsvers=3'] } },
  });
  const elsewhere = { nodeAffinity: { required: { nodeSelectorTerms: [] } } };
  t.match(of(elsewhere), problem(/no matching NodeSelectorTerms/));
  t.match(of({ claimRef: { ...HOLDER, uid: 'x' } }), problem(/is bound to another claim/));
  const before = told(using(), CLAIM, [volume()]).digest;
  t.not(told(using(), CLAIM, [volume({ local: { path: '/other' } })]).digest, before);
  t.equal(told(pod('plain'), undefined, []).claims, undefined, 'without claims nothing is said');
});

t.test('a pod is held back until its claims are bound, but never one that runs', async (t) => {
  const pending = { ...CLAIM, status: { phase: 'Pending' } };
  t.equal(told(using(), pending, []).count, 0);
  t.equal(told(using(), undefined, []).count, 0);
  t.equal(told(using(), CLAIM, [volume()]).count, 1);
  const running = using({ status: { phase: 'Running', startTime: '2026-01-01T00:00:00Z' } });
  t.match(told(running, undefined, []), {
    count: 1,
    claims: { data: { type: 'problem', message: /"data" not found/ } },
  });
  const going = using({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
  t.equal(told(going, pending, []).count, 1, 'the board says that it is gone');
});

t.test('only a volume whose claim is gone for good has to be removed', async (t) => {
  const removed = (one: PersistentVolume) => told(pod('x'), undefined, [one]).content.removeVolumes;
  t.same(removed(volume({}, 'Released')), [{ name: 'pvc-c1', path: '/data/volumes/pvc-c1' }]);
  t.equal(removed(volume()), undefined, 'bound');
  t.equal(removed(volume({ persistentVolumeReclaimPolicy: 'Retain' }, 'Released')), undefined);
  const foreign = { ...volume({}, 'Released'), metadata: { name: 'disk' } };
  t.equal(removed(foreign), undefined, 'what Pier has not made');
  const elsewhere = { nodeAffinity: { required: { nodeSelectorTerms: [] } } };
  t.equal(removed(volume(elsewhere, 'Released')), undefined, 'of another board');
});

t.test('a volume goes when its board says so, and only then', async (t) => {
  const api = new FakeApi();
  const informers = new SharedInformers({ client: api, log });
  await api.create(RESOURCES.nodes, BOARD);
  await api.create(RESOURCES.persistentVolumes, volume());
  await informers.start();
  t.teardown(() => informers.stop());
  const events: string[] = [];
  const removal = new VolumeRemoval({
    client: api,
    nodes: informers.nodes,
    volumes: informers.persistentVolumes,
    events: {
      record: (_about, type, reason, message) => events.push(`${type} ${reason} ${message}`),
    },
    log,
    isCurrent: (_node, session) => session === 's1',
  });
  const say = (node: string, session: string, problem?: string) => {
    const why = problem === undefined ? {} : { problem };
    const report = { v: 1, session, name: 'pvc-c1', ...why } as const;
    removal.receive(node, encodeMessage(VolumeReport, report));
  };
  const volumes = async () =>
    (await api.list<PersistentVolume>(RESOURCES.persistentVolumes)).items.length;
  say('pi4', 's1');
  t.equal(api.writes.filter((one) => one.startsWith('delete')).length, 0, 'it was never to go');
  const status = { phase: 'Released' };
  await api.patch(RESOURCES.persistentVolumes, '', 'pvc-c1', { status }, 'status');
  const phase = () => informers.persistentVolumes.get('', 'pvc-c1')?.status?.phase;
  await until(() => phase() === 'Released', 'the cache has it');
  say('pi4', 's0');
  say('pi5', 's1');
  say('pi4', 's1', 'the disk is read-only');
  t.same(events, ['Warning VolumeFailedDelete pi4: the disk is read-only']);
  t.equal(await volumes(), 1);
  say('pi4', 's1');
  await until(async () => (await volumes()) === 0, 'the volume is gone, its finalizer too');
});
