/** Claims and volumes as Kubernetes documents them. */
import t from 'tap';
import type { Action } from '../../../master/controllers/actions.ts';
import {
  type ClaimView,
  reconcileClaim,
  reconcileVolume,
  type VolumeView,
} from '../../../master/controllers/volumes.ts';
import { LOCAL_PATH_CLASS, VOLUMES_DIRECTORY } from '../../../master/volumes/local-path.ts';
import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  PersistentVolumeClaimSpec,
  PersistentVolumeSpec,
  Pod,
  StorageClass,
} from '../../../protocol/kinds/types.ts';
import { NOW, ofType, pod } from './objects.ts';

const PROTECTED = 'kubernetes.io/pvc-protection';

function claim(
  spec: Partial<PersistentVolumeClaimSpec> = {},
  more: Partial<PersistentVolumeClaim> = {},
): PersistentVolumeClaim {
  return {
    metadata: {
      name: 'data',
      namespace: 'default',
      uid: 'c1',
      finalizers: [PROTECTED],
      ...more.metadata,
    },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
      storageClassName: 'local-path',
      ...spec,
    },
    status: more.status ?? { phase: 'Pending' },
  };
}

function volume(
  name: string,
  spec: Partial<PersistentVolumeSpec> = {},
  more: Partial<PersistentVolume> = {},
): PersistentVolume {
  return {
    metadata: { name, uid: name, finalizers: ['kubernetes.io/pv-protection'], ...more.metadata },
    spec: {
      accessModes: ['ReadWriteOnce', 'ReadOnlyMany'],
      capacity: { storage: '1Gi' },
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: 'disk',
      local: { path: `/mnt/${name}` },
      ...spec,
    },
    status: more.status ?? { phase: 'Available' },
  };
}

const on = (board: string): Pick<PersistentVolumeSpec, 'nodeAffinity'> => {
  const here = { key: 'kubernetes.io/hostname', operator: 'In', values: [board] };
  return { nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } } };
};

function board(name: string, directory = '/var/lib/pier/agent/volumes'): Node {
  return {
    metadata: {
      name,
      labels: { 'kubernetes.io/hostname': name },
      annotations: directory === '' ? {} : { [VOLUMES_DIRECTORY]: directory },
    },
  };
}

function user(name: string, node: string): Pod {
  return pod(name, { node });
}

const DISK: StorageClass = {
  metadata: { name: 'disk' },
  provisioner: 'kubernetes.io/no-provisioner',
  volumeBindingMode: 'WaitForFirstConsumer',
};

function decide(one: PersistentVolumeClaim, view: Partial<ClaimView> = {}): Action[] {
  const boards = [board('a'), board('b')];
  return reconcileClaim({
    claim: one,
    volumes: [],
    storage: LOCAL_PATH_CLASS,
    users: [],
    node: (name) => boards.find(({ metadata }) => metadata?.name === name),
    ...view,
  });
}

/** "WaitForFirstConsumer: waiting for ..." */
const told = (actions: readonly Action[]): string[] =>
  ofType(actions, 'event').map(({ reason, message }) => `${reason}: ${message}`);
/** "disk1 for data": the claimRef that was written. */
const boundTo = (actions: readonly Action[]): string[] =>
  ofType(actions, 'update').map(({ object }) => {
    const { metadata, spec }: PersistentVolume = object;
    return `${metadata?.name} for ${spec?.claimRef?.name} ${spec?.claimRef?.uid}`;
  });

t.test('a claim without a pod waits, in the words of Kubernetes', async (t) => {
  t.same(told(decide(claim())), [
    'WaitForFirstConsumer: waiting for first consumer to be created before binding',
  ]);
  t.same(told(decide(claim(), { users: [user('web', '')] })), [
    'WaitForPodScheduled: waiting for pod web to be scheduled',
  ]);
  const ended = pod('done', { node: 'a', phase: 'Succeeded' });
  t.match(told(decide(claim(), { users: [ended] })), [/^WaitForFirstConsumer/]);
});

t.test('a claim whose pod has a board gets a directory there', async (t) => {
  const view = { users: [user('web', 'b'), user('first', 'a')] };
  const [made, ...others] = ofType(decide(claim(), view), 'create');
  t.same(others, []);
  t.match(made?.object, {
    metadata: { name: 'pvc-c1', finalizers: ['kubernetes.io/pv-protection'] },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: ['ReadWriteOnce'],
      claimRef: { kind: 'PersistentVolumeClaim', namespace: 'default', name: 'data', uid: 'c1' },
      local: { path: '/var/lib/pier/agent/volumes/pvc-c1' },
      persistentVolumeReclaimPolicy: 'Delete',
      storageClassName: 'local-path',
      ...on('a'),
    },
  });
  t.match(made?.announce?.success, { reason: 'ProvisioningSucceeded' });
  const volumes = [made?.object ?? {}];
  const bound = decide(claim(), { ...view, volumes });
  t.same(boundTo(bound), [], 'the volume names the claim already');
  t.match(ofType(bound, 'patch'), [
    {
      mergePatch: {
        metadata: { annotations: { 'volume.kubernetes.io/selected-node': 'a' } },
        spec: { volumeName: 'pvc-c1' },
      },
    },
    { mergePatch: { status: { phase: 'Bound', capacity: { storage: '1Gi' } } } },
  ]);
  const done = claim(
    { volumeName: 'pvc-c1' },
    {
      metadata: { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
      status: { phase: 'Bound', accessModes: ['ReadWriteOnce'], capacity: { storage: '1Gi' } },
    },
  );
  t.same(decide(done, { ...view, volumes }), [], 'and then there is nothing left to do');
  t.same(decide(done, { volumes }), [], 'also without its pod');
});

t.test('what cannot be made says why', async (t) => {
  const users = [user('web', 'a')];
  const messages = (one: PersistentVolumeClaim, view: Partial<ClaimView>) =>
    told(decide(one, { users, ...view }));
  const cases: [string, PersistentVolumeClaim, Partial<ClaimView>, RegExp][] = [
    [
      'a board that is silent',
      claim(),
      { node: () => board('a', '') },
      /^ProvisioningFailed.*said/,
    ],
    [
      'no class',
      claim({ storageClassName: '' }),
      { storage: undefined },
      /^FailedBinding: no persistent volumes available for this claim and no storage class is set$/,
    ],
    [
      'an unknown class',
      claim({ storageClassName: 'fast' }),
      { storage: undefined },
      /^ProvisioningFailed: storageclass\.storage\.k8s\.io "fast" not found$/,
    ],
    [
      'a class that does not wait',
      claim(),
      { storage: { ...LOCAL_PATH_CLASS, volumeBindingMode: 'Immediate' } },
      /^ProvisioningFailed: .*must be WaitForFirstConsumer$/,
    ],
    [
      'a provisioner of somebody else',
      claim(),
      { storage: { ...DISK, provisioner: 'a.io/b' } },
      /^ExternalProvisioning: Waiting for a volume .* external provisioner 'a\.io\/b'/,
    ],
    ['a class without a provisioner', claim(), { storage: DISK }, /^ProvisioningFailed: no volume/],
    ['a selector', claim({ selector: {} }), {}, /^ProvisioningFailed: claim Selector is not/],
  ];
  for (const [what, one, view, expected] of cases) t.match(messages(one, view), [expected], what);
});

t.test('a volume that is there: the smallest that fits, on the board', async (t) => {
  const wish = claim({ storageClassName: 'disk' });
  const users = [user('web', 'a')];
  const choose = (volumes: PersistentVolume[], one = wish) =>
    boundTo(decide(one, { volumes, users, storage: DISK }));
  const large = volume('large', { capacity: { storage: '10Gi' } });
  const small = volume('small', { capacity: { storage: '1.5Gi' }, ...on('a') });
  t.same(choose([large, small]), ['small for data c1']);
  t.same(choose([large, volume('elsewhere', on('b'))]), ['large for data c1']);
  t.same(choose([volume('tiny', { capacity: { storage: '500Mi' } })]), []);
  t.same(choose([volume('other', { storageClassName: 'ssd' })]), []);
  t.same(choose([volume('rox', { accessModes: ['ReadOnlyMany'] })]), []);
  t.same(choose([volume('gone', {}, { status: { phase: 'Released' } })]), []);
  const going = volume('going', {}, { metadata: { deletionTimestamp: NOW.timestamp } });
  t.same(choose([going]), []);
  const taken = { namespace: 'default', name: 'other', uid: 'x' };
  t.same(choose([volume('taken', { claimRef: taken })]), []);
  const picky = claim({ storageClassName: 'disk', selector: { matchLabels: { tier: 'hot' } } });
  t.same(choose([small], picky), []);
  const hot = volume('hot', {}, { metadata: { labels: { tier: 'hot' } } });
  t.same(choose([small, hot], picky), ['hot for data c1']);
  const kept = volume('kept', {
    capacity: { storage: '5Gi' },
    claimRef: { namespace: 'default', name: 'data' },
  });
  t.same(choose([small, kept]), ['kept for data c1'], 'one that is kept for it goes first');
  const none = decide(wish, { volumes: [small], storage: DISK });
  t.match(told(none), [/^WaitForFirstConsumer/], 'and none before it is known where');
});

t.test('a claim that names its volume', async (t) => {
  const named = claim({ storageClassName: 'disk', volumeName: 'v' });
  const fits = decide(named, { volumes: [volume('v')], storage: DISK });
  t.same(boundTo(fits), ['v for data c1']);
  t.match(ofType(fits, 'patch')[1], { mergePatch: { status: { phase: 'Bound' } } });
  t.same(decide(named, { storage: DISK }), [], 'it may come later');
  const tell = (spec: Partial<PersistentVolumeSpec>) =>
    told(decide(named, { volumes: [volume('v', spec)], storage: DISK }));
  t.same(tell({ capacity: { storage: '1Mi' } }), [
    'VolumeMismatch: Cannot bind to requested volume "v": requested PV is too small',
  ]);
  t.same(tell({ claimRef: { namespace: 'default', name: 'other', uid: 'x' } }), [
    'FailedBinding: volume "v" already bound to a different claim.',
  ]);
  const before = claim(
    { volumeName: 'v' },
    {
      metadata: { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
      status: { phase: 'Bound' },
    },
  );
  const lost = decide(before);
  t.match(told(lost), [/^ClaimLost: Bound claim has lost its PersistentVolume/]);
  t.match(ofType(lost, 'patch'), [{ mergePatch: { status: { phase: 'Lost' } } }]);
});

t.test('a claim in use stays until its last pod has gone', async (t) => {
  const going = claim({}, { metadata: { deletionTimestamp: NOW.timestamp } });
  t.same(decide(going, { users: [user('web', 'a')] }), []);
  const free = [{ mergePatch: { metadata: { finalizers: [] } } }];
  t.match(ofType(decide(going), 'patch'), free);
  const others = [user('pending', ''), pod('done', { node: 'a', phase: 'Succeeded' })];
  t.match(ofType(decide(going, { users: others }), 'patch'), free, 'by no pod that runs');
});

t.test('what becomes of a volume', async (t) => {
  const holder = { namespace: 'default', name: 'data', uid: 'c1' };
  const own = { 'pv.kubernetes.io/provisioned-by': 'pier.local/local-path' };
  const made = (policy: string, status = { phase: 'Bound' }, deletionTimestamp?: string) =>
    volume(
      'pvc-c1',
      { claimRef: holder, persistentVolumeReclaimPolicy: policy },
      {
        metadata: {
          annotations: own,
          ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
        },
        status,
      },
    );
  const look = (one: PersistentVolume, view: Partial<VolumeView> = {}) =>
    reconcileVolume({
      volume: one,
      claim: undefined,
      isClaimGone: true,
      hasBoard: true,
      ...view,
    });
  const phase = (actions: readonly Action[]) =>
    ofType(actions, 'patch').flatMap(({ mergePatch, subresource }) =>
      subresource === 'status' ? [mergePatch.status] : [],
    );
  const fresh = volume('v', {}, { status: { phase: 'Pending' } });
  t.match(phase(look(fresh)), [{ phase: 'Available' }]);
  const bound = volume('v', { claimRef: holder });
  t.match(phase(look(bound, { claim: claim(), isClaimGone: false })), [{ phase: 'Bound' }]);
  t.same(look(made('Delete'), { isClaimGone: false }), [], 'a cache that lags is no reason');
  t.match(phase(look(made('Delete'))), [{ phase: 'Released' }]);
  t.match(phase(look(made('Retain'))), [{ phase: 'Released' }]);
  t.match(
    phase(look(volume('v', { claimRef: holder, persistentVolumeReclaimPolicy: 'Delete' }))),
    [{ phase: 'Failed', message: /no deletable volume plugin matched/ }],
    'what Pier has not made it does not remove',
  );

  const released = { phase: 'Released' };
  const finalizers = (one: PersistentVolume, view: Partial<VolumeView> = {}) =>
    ofType(look(one, view), 'patch').map(({ mergePatch }) => mergePatch.metadata);
  const now = NOW.timestamp;
  t.same(look(made('Delete', released)), [], 'its board is asked');
  t.same(
    finalizers(made('Delete', released, now)),
    [],
    'and it stays until the board has answered',
  );
  t.match(ofType(look(made('Delete', released), { hasBoard: false }), 'delete'), [
    { name: 'pvc-c1' },
  ]);
  t.match(finalizers(made('Delete', released, now), { hasBoard: false }), [{ finalizers: [] }]);
  t.match(finalizers(made('Retain', released, now)), [{ finalizers: [] }]);
  const used = { claim: claim(), isClaimGone: false };
  t.same(finalizers(made('Retain', { phase: 'Bound' }, now), used), [], 'a bound one stays');
});
