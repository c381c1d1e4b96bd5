/** Pods with persistent storage: where they may run, in the words of kube-scheduler. */
import t from 'tap';
import type { ClusterSnapshot } from '../../../master/scheduler/snapshot.ts';
import { findVolume, mismatch } from '../../../master/volumes/binding.ts';
import { LOCAL_PATH_CLASS } from '../../../master/volumes/local-path.ts';
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  PersistentVolumeClaimSpec,
  Pod,
} from '../../../protocol/kinds/types.ts';
import { decide, node, pod, snapshotOf } from './objects.ts';

function claim(
  name: string,
  spec: Partial<PersistentVolumeClaimSpec> = {},
  phase = 'Pending',
): PersistentVolumeClaim {
  return {
    metadata: { name, namespace: 'default' },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
      storageClassName: 'local-path',
      ...spec,
    },
    status: { phase },
  };
}

function volume(name: string, board: string, storageClassName = 'local-path'): PersistentVolume {
  const here = { key: 'kubernetes.io/hostname', operator: 'In', values: [board] };
  return {
    metadata: { name },
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: { storage: '1Gi' },
      storageClassName,
      local: { path: '/mnt' },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } },
    },
    status: { phase: 'Available' },
  };
}

const using = (name: string, claimName: string): Pod =>
  pod(name, {}, { volumes: [{ name: 'v', persistentVolumeClaim: { claimName } }] });

function cluster(placed: [string, Pod][] = []): ClusterSnapshot {
  const snapshot = snapshotOf([node('a'), node('b'), node('c')], placed);
  snapshot.volumes.setClass(LOCAL_PATH_CLASS);
  return snapshot;
}

t.test('a volume of a server is on all boards, for many pods at once', async (t) => {
  const snapshot = cluster();
  const share: PersistentVolume = {
    metadata: { name: 'share' },
    spec: {
      accessModes: ['ReadWriteMany', 'ReadOnlyMany'],
      capacity: { storage: '5Gi' },
      storageClassName: 'nas',
      nfs: { server: 'nas.lan', path: '/export' },
    },
    status: { phase: 'Available' },
  };
  const wanted = claim('data', { accessModes: ['ReadWriteMany'], storageClassName: 'nas' });
  t.equal(findVolume(wanted, [share], undefined)?.metadata?.name, 'share');
  const single = claim('data', { accessModes: ['ReadWriteOnce'], storageClassName: 'nas' });
  t.equal(mismatch(share, single), 'incompatible accessMode');
  snapshot.volumes.setVolume(share);
  snapshot.volumes.setClaim(claim('data', { ...wanted.spec, volumeName: 'share' }, 'Bound'));
  for (const board of ['a', 'b', 'c']) {
    const one = using(board, 'data');
    one.spec = { containers: [], ...one.spec, nodeSelector: { 'kubernetes.io/hostname': board } };
    t.equal(decide(one, snapshot), board);
  }
});

t.test('a pod runs where its volume is', async (t) => {
  const snapshot = cluster();
  snapshot.volumes.setVolume(volume('disk', 'b'));
  snapshot.volumes.setClaim(claim('data', { volumeName: 'disk' }, 'Bound'));
  t.equal(decide(using('p', 'data'), snapshot), 'b');
  const elsewhere = { ...using('p', 'data') };
  elsewhere.spec = { ...elsewhere.spec, containers: [], nodeSelector: { none: 'x' } };
  t.match(decide(elsewhere, snapshot), /didn't match Pod's node affinity\/selector/);
  snapshot.volumes.setVolume(volume('disk', 'd'));
  t.equal(
    decide(using('p', 'data'), snapshot),
    "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity.",
  );
  snapshot.volumes.removeVolume('disk');
  t.match(decide(using('p', 'data'), snapshot), /bound to non-existent pv\(s\)/);
});

t.test('why it can run nowhere is said once, not for each board', async (t) => {
  const snapshot = cluster([['a', using('first', 'single')]]);
  const { volumes } = snapshot;
  volumes.setClaim(claim('now', { storageClassName: 'fast' }));
  volumes.setClaim(claim('lost', { volumeName: 'gone' }, 'Lost'));
  const going = claim('going');
  volumes.setClaim({ ...going, metadata: { ...going.metadata, deletionTimestamp: '2026' } });
  volumes.setClaim(claim('single', { accessModes: ['ReadWriteOncePod'] }));
  const cases: [string, string][] = [
    ['missing', 'persistentvolumeclaim "missing" not found'],
    ['now', 'pod has unbound immediate PersistentVolumeClaims'],
    ['going', 'persistentvolumeclaim "going" is being deleted'],
    ['lost', 'persistentvolumeclaim "lost" bound to non-existent persistentvolume "gone"'],
    [
      'single',
      'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode',
    ],
  ];
  for (const [name, why] of cases) {
    t.equal(decide(using('p', name), snapshot), `0/3 nodes are available: ${why}.`);
  }
});

t.test('a claim that waits for its first pod goes anywhere once, then with that pod', async (t) => {
  const first = using('first', 'data');
  const snapshot = cluster();
  snapshot.volumes.setClaim(claim('data'));
  t.match(decide(first, snapshot), /^[abc]$/);
  const placed = { ...first, spec: { ...first.spec, containers: [], nodeName: 'c' } };
  snapshot.setPod(placed);
  t.equal(decide(using('second', 'data'), snapshot), 'c');
  snapshot.removeNode('c');
  t.match(decide(using('second', 'data'), snapshot), /^0\/2 .*PersistentVolume's node affinity/);
  snapshot.removePod(first.metadata?.uid ?? '');
  t.match(
    decide(using('second', 'data'), snapshot),
    /^[ab]$/,
    'its pod went before it had a volume',
  );
});

t.test('without a provisioner a free volume decides', async (t) => {
  const snapshot = cluster();
  const provisioner = 'kubernetes.io/no-provisioner';
  snapshot.volumes.setClass({ ...LOCAL_PATH_CLASS, metadata: { name: 'disk' }, provisioner });
  snapshot.volumes.setClaim(claim('data', { storageClassName: 'disk' }));
  t.equal(
    decide(using('p', 'data'), snapshot),
    "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.",
  );
  snapshot.volumes.setVolume(volume('free', 'b', 'disk'));
  t.equal(decide(using('p', 'data'), snapshot), 'b');
});
