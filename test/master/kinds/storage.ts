/** PersistentVolume, PersistentVolumeClaim and StorageClass. */
import t from 'tap';
import {
  CREATED,
  cells,
  created,
  errorsOf,
  moduleOf,
  updateErrors,
  warningsOf,
} from './manifest.ts';

const META = `metadata: {name: data, namespace: default, creationTimestamp: '${CREATED}'}`;
const claim = (spec = '') => `
${META}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  ${spec}
`;
const HERE =
  '{required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}';
const volume = (source: string, spec = '') => `
metadata: {name: disk, creationTimestamp: '${CREATED}'}
spec:
  accessModes: [ReadWriteOnce, ReadOnlyMany]
  capacity: {storage: 1Gi}
  ${spec}
  ${source}
`;
const LOCAL = `local: {path: /mnt/disk}\n  nodeAffinity: ${HERE}`;

t.test('claims', async (t) => {
  const object = created('PersistentVolumeClaim', claim());
  t.match(object, {
    metadata: { finalizers: ['kubernetes.io/pvc-protection'] },
    spec: { volumeMode: 'Filesystem' },
    status: { phase: 'Pending' },
  });
  t.strictSame(moduleOf('PersistentVolumeClaim').validate(object), []);
  const cases: [string, string][] = [
    [
      `${META}\nspec: {resources: {requests: {storage: 1Gi}}}`,
      'spec.accessModes: Required value: at least 1 access mode is required',
    ],
    [`${META}\nspec: {accessModes: [ReadWriteOnce]}`, 'spec.resources[storage]: Required value'],
    [
      claim().replace('1Gi', '"0"'),
      'spec.resources[storage]: Invalid value: "0": must be greater than zero',
    ],
    [
      claim().replace('[ReadWriteOnce]', '[Often]'),
      'spec.accessModes: Unsupported value: "Often": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
    ],
    [
      claim().replace('[ReadWriteOnce]', '[ReadWriteOnce, ReadWriteOncePod]'),
      'spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes',
    ],
    [
      claim('volumeMode: Block'),
      'spec.volumeMode: Forbidden: this version of Pier mounts directories, no block devices',
    ],
  ];
  for (const [yaml, expected] of cases) {
    t.equal(errorsOf('PersistentVolumeClaim', yaml)[0], expected);
  }
  const change = (before: string, after: string) =>
    updateErrors('PersistentVolumeClaim', before, after);
  t.strictSame(change(claim(), claim('volumeName: disk')), [], 'the binder writes it');
  t.match(change(claim('volumeName: disk'), claim('volumeName: other')), [
    /^spec: Forbidden: spec is immutable after creation except resources\.requests/,
  ]);
  t.match(change(claim(), claim('storageClassName: other')), [/^spec: Forbidden/]);
  t.match(change(claim(), claim().replace('1Gi', '2Gi')), [
    /^spec\.resources: Forbidden: only dynamically provisioned pvc can be resized/,
  ]);
  t.strictSame(warningsOf('PersistentVolumeClaim', claim('dataSource: {kind: A, name: b}')), [
    'spec.dataSource: stored, but this version of Pier does not fill volumes yet',
  ]);
  t.match(cells('PersistentVolumeClaim', object), {
    Name: 'data',
    Status: 'Pending',
    Volume: '',
    Capacity: '',
    'Access Modes': '',
    StorageClass: '',
    VolumeAttributesClass: '<unset>',
    Age: '10m',
    VolumeMode: 'Filesystem',
  });
  const bound = created('PersistentVolumeClaim', claim('volumeName: disk'));
  const accessModes = ['ReadOnlyMany', 'ReadWriteOnce'];
  Reflect.set(bound, 'status', { phase: 'Bound', accessModes, capacity: { storage: '2Gi' } });
  t.match(cells('PersistentVolumeClaim', bound), {
    Status: 'Bound',
    Volume: 'disk',
    Capacity: '2Gi',
    'Access Modes': 'RWO,ROX',
  });
});

t.test('volumes', async (t) => {
  const object = created('PersistentVolume', volume(LOCAL));
  t.match(object, {
    metadata: { finalizers: ['kubernetes.io/pv-protection'] },
    spec: { persistentVolumeReclaimPolicy: 'Retain', volumeMode: 'Filesystem' },
    status: { phase: 'Pending' },
  });
  t.strictSame(moduleOf('PersistentVolume').validate(object), []);
  const cases: [string, string][] = [
    [volume(''), 'spec: Required value: must specify a volume type'],
    [
      volume('hostPath: {path: /a}\n  local: {path: /b}'),
      'spec.local: Forbidden: may not specify more than 1 volume type',
    ],
    [
      volume('local: {path: /b}'),
      'spec.nodeAffinity: Required value: Local volume requires node affinity',
    ],
    [
      volume('hostPath: {path: data}'),
      'spec.hostPath.path: Invalid value: "data": must be an absolute path',
    ],
    [
      volume('hostPath: {path: /a/../b}'),
      `spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
    ],
    [volume(LOCAL).replace('{storage: 1Gi}', '{}'), 'spec.capacity: Required value'],
    [
      volume(LOCAL, 'persistentVolumeReclaimPolicy: Recycle'),
      'spec.persistentVolumeReclaimPolicy: Forbidden: this version of Pier does not scrub volumes: use Delete or Retain',
    ],
    [
      volume(LOCAL, 'persistentVolumeReclaimPolicy: Burn'),
      'spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Retain"',
    ],
    [
      volume('hostPath: {path: /a}\n  nodeAffinity: {required: {nodeSelectorTerms: []}}'),
      'spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term',
    ],
  ];
  for (const [yaml, expected] of cases) t.equal(errorsOf('PersistentVolume', yaml)[0], expected);
  t.strictSame(warningsOf('PersistentVolume', volume('iscsi: {}')), [
    'spec.iscsi: stored, but this version of Pier does not mount this kind of volume yet',
  ]);
  const options = 'mountOptions: [hard]';
  t.strictSame(warningsOf('PersistentVolume', volume('nfs: {server: a, path: /b}', options)), []);
  t.strictSame(warningsOf('PersistentVolume', volume(LOCAL, options)), [
    'spec.mountOptions: stored, but this version of Pier does not pass options to mounts yet',
  ]);
  t.strictSame(errorsOf('PersistentVolume', volume('nfs: {server: "", path: data}')), [
    'spec.nfs.server: Required value',
    'spec.nfs.path: Invalid value: "data": must be an absolute path',
  ]);
  t.strictSame(warningsOf('PersistentVolume', volume(LOCAL)), []);
  const hostPath = volume('hostPath: {path: /a}');
  t.strictSame(updateErrors('PersistentVolume', hostPath, hostPath.replace('/a', '/b')), [
    'spec.persistentvolumesource: Forbidden: is immutable after creation',
  ]);
  const kept = volume('hostPath: {path: /a}', 'claimRef: {namespace: default, name: data}');
  t.strictSame(updateErrors('PersistentVolume', hostPath, kept), []);
  Reflect.set(object, 'status', { phase: 'Bound' });
  t.match(cells('PersistentVolume', object), {
    Capacity: '1Gi',
    'Access Modes': 'RWO,ROX',
    'Reclaim Policy': 'Retain',
    Status: 'Bound',
    Claim: '',
    Age: '10m',
  });
  t.match(cells('PersistentVolume', created('PersistentVolume', kept)), { Claim: 'default/data' });
});

t.test('classes of local-path say what their volumes cannot', async (t) => {
  const of = (more: string) => `${META}\nprovisioner: pier.local/local-path\n${more}`;
  const waiting = 'volumeBindingMode: WaitForFirstConsumer';
  t.strictSame(warningsOf('StorageClass', of(waiting)), []);
  t.match(warningsOf('StorageClass', of('')), [/^volumeBindingMode: no volumes are made/]);
  t.match(warningsOf('StorageClass', of(`${waiting}\nallowVolumeExpansion: true`)), [
    /^allowVolumeExpansion: stored, but this version of Pier does not let volumes grow yet$/,
  ]);
  t.strictSame(warningsOf('StorageClass', `${META}\nprovisioner: a.io/b`), []);
});
