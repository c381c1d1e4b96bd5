/** The kinds of storage.k8s.io that CSI drivers use: stored by Kubernetes' rules, with a warning that nothing acts on them. */
import t, { type Test } from 'tap';
import {
  CREATED,
  cells,
  created,
  errorsOf,
  moduleOf,
  updateErrors,
  warningsOf,
} from './manifest.ts';

const META = `metadata: {name: one, creationTimestamp: '${CREATED}'}`;
const NO_DRIVERS = ['spec: stored, but this version of Pier does not run CSI drivers yet'];
const SUBDOMAIN = /: a lowercase RFC 1123 subdomain must consist of/;

const driver = (spec = '{}') => `${META}\nspec: ${spec}`;
const node = (...drivers: string[]) => `${META}\nspec: {drivers: [${drivers.join(', ')}]}`;
const attachment = (source = '{persistentVolumeName: disk}', more = 'attacher: a.io') =>
  `${META}\nspec: {nodeName: board, source: ${source}, ${more}}`;
const inline = (spec: string) => attachment(`{inlineVolumeSpec: ${spec}}`);
const CSI = 'csi: {driver: a.io, volumeHandle: v}, accessModes: [ReadWriteOnce]';

/** Errors of each manifest; an empty list for a good one. */
function refuses(
  t: Test,
  kind: string,
  cases: readonly [yaml: string, errors: (string | RegExp)[]][],
) {
  for (const [yaml, errors] of cases) {
    const found = errorsOf(kind, yaml);
    t.match(found, errors, yaml);
    t.equal(found.length, errors.length, yaml);
  }
}

t.test('CSI drivers', async (t) => {
  const object = created('CSIDriver', driver());
  t.match(object, {
    spec: {
      attachRequired: true,
      podInfoOnMount: false,
      storageCapacity: false,
      fsGroupPolicy: 'ReadWriteOnceWithFSType',
      requiresRepublish: false,
      seLinuxMount: false,
      volumeLifecycleModes: ['Persistent'],
    },
  });
  t.strictSame(cells('CSIDriver', object), {
    Name: 'one',
    AttachRequired: true,
    PodInfoOnMount: false,
    StorageCapacity: false,
    TokenRequests: '<unset>',
    RequiresRepublish: false,
    Modes: 'Persistent',
    Age: '10m',
  });
  const tokens = (...requests: string[]) => driver(`{tokenRequests: [${requests.join(', ')}]}`);
  const asked = created('CSIDriver', tokens('{audience: a}', '{audience: b}'));
  t.match(cells('CSIDriver', asked), { TokenRequests: 'a,b' });
  t.strictSame(warningsOf('CSIDriver', driver()), NO_DRIVERS);
  const at = 'spec.tokenRequests[0].expirationSeconds: Invalid value';
  refuses(t, 'CSIDriver', [
    [driver('{volumeLifecycleModes: [Persistent, Ephemeral], fsGroupPolicy: File}'), []],
    [
      tokens(
        '{audience: a, expirationSeconds: 600}',
        '{audience: "", expirationSeconds: 4294967296}',
      ),
      [],
    ],
    [
      driver('{volumeLifecycleModes: [Often]}'),
      [
        'spec.volumeLifecycleModes: Unsupported value: "Often": supported values: "Persistent", "Ephemeral"',
      ],
    ],
    [
      driver('{fsGroupPolicy: Some}'),
      [
        'spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", "ReadWriteOnceWithFSType"',
      ],
    ],
    [
      tokens('{audience: a}', '{audience: a}'),
      ['spec.tokenRequests[1].audience: Duplicate value: "a"'],
    ],
    [
      tokens('{audience: a, expirationSeconds: 599}'),
      [`${at}: 599: may not specify a duration less than 10 minutes`],
    ],
    [
      tokens('{audience: a, expirationSeconds: 4294967297}'),
      [`${at}: 4294967297: may not specify a duration larger than 2^32 seconds`],
    ],
    [
      driver('{nodeAllocatableUpdatePeriodSeconds: 9}'),
      [
        'spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds',
      ],
    ],
    [
      driver('{serviceAccountTokenInSecrets: true}'),
      [
        /^spec\.serviceAccountTokenInSecrets: Invalid value: true: .* no tokenRequests are specified$/,
      ],
    ],
  ]);
  const change = (spec: string) => updateErrors('CSIDriver', driver(), driver(spec));
  t.strictSame(change('{podInfoOnMount: true, fsGroupPolicy: None, requiresRepublish: true}'), []);
  t.strictSame(change('{attachRequired: false, volumeLifecycleModes: [Ephemeral]}'), [
    'spec.attachRequired: Invalid value: false: field is immutable',
    'spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable',
  ]);
});

t.test('CSI nodes', async (t) => {
  const one = '{name: a.io, nodeID: x, topologyKeys: [zone, a.io/rack], allocatable: {count: 3}}';
  t.strictSame(cells('CSINode', created('CSINode', node(one))), {
    Name: 'one',
    Drivers: 1,
    Age: '10m',
  });
  t.match(created('CSINode', META), { spec: { drivers: [] } });
  t.strictSame(warningsOf('CSINode', node(one)), NO_DRIVERS);
  const drivers = (more: string) => node(`{name: a.io, ${more}}`);
  refuses(t, 'CSINode', [
    [node(one, '{name: B.io, nodeID: y}'), []],
    [node('{name: "", nodeID: x}'), ['spec.drivers[0].name: Required value']],
    [node('{name: a_b, nodeID: x}'), [SUBDOMAIN]],
    [
      node(`{name: ${'a'.repeat(64)}, nodeID: x}`),
      ['spec.drivers[0].name: Too long: may not be more than 63 bytes'],
    ],
    [node(one, '{name: a.io, nodeID: y}'), ['spec.drivers[1].name: Duplicate value: "a.io"']],
    [drivers('nodeID: ""'), ['spec.drivers[0].nodeID: Required value']],
    [
      drivers(`nodeID: ${'x'.repeat(193)}`),
      [/^spec\.drivers\[0\]\.nodeID: .*: must be 192 characters or less$/],
    ],
    [
      drivers('nodeID: x, allocatable: {count: -1}'),
      ['spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0'],
    ],
    [
      drivers('nodeID: x, topologyKeys: [z, z]'),
      ['spec.drivers[0].topologyKeys: Duplicate value: "z"'],
    ],
    [
      drivers('nodeID: x, topologyKeys: [a/b/c]'),
      [/^spec\.drivers\[0\]\.topologyKeys: Invalid value: "a\/b\/c"/],
    ],
  ]);
  const change = (...after: string[]) => updateErrors('CSINode', node(one), node(...after));
  t.strictSame(change(), [], 'a driver goes');
  t.strictSame(change(one, '{name: b.io, nodeID: y}'), [], 'a driver comes');
  t.strictSame(change(one.replace('count: 3', 'count: 4')), [], 'the number of volumes changes');
  t.match(change(one.replace('nodeID: x', 'nodeID: y')), [
    /^spec\.drivers: Invalid value: .*: field is immutable$/,
  ]);
});

t.test('CSI storage capacities', async (t) => {
  const of = (more: string) => `${META}\nstorageClassName: fast\n${more}`;
  const object = created('CSIStorageCapacity', of('capacity: 1Gi'));
  t.strictSame(cells('CSIStorageCapacity', object), {
    Name: 'one',
    StorageClassName: 'fast',
    Capacity: '1Gi',
  });
  t.match(cells('CSIStorageCapacity', created('CSIStorageCapacity', of(''))), {
    Capacity: '<unset>',
  });
  t.strictSame(warningsOf('CSIStorageCapacity', of('')), [
    'capacity: stored, but this version of Pier does not look at the room that CSI drivers have yet',
  ]);
  refuses(t, 'CSIStorageCapacity', [
    [of('nodeTopology: {matchLabels: {zone: a}}'), []],
    [META, [/^storageClassName: Invalid value: "": a lowercase RFC 1123 subdomain/]],
    [of('capacity: "-1"'), ['capacity: Invalid value: "-1": must be greater than or equal to 0']],
    [
      of('nodeTopology: {matchExpressions: [{key: zone, operator: In}]}'),
      [/^nodeTopology\.matchExpressions\[0\]\.values: Required value/],
    ],
  ]);
  const change = (before: string, after: string) =>
    updateErrors('CSIStorageCapacity', of(before), of(after));
  t.strictSame(change('capacity: 1Gi', 'capacity: 2Gi\nmaximumVolumeSize: 1Gi'), []);
  t.strictSame(change('', 'nodeTopology: {}'), [
    'nodeTopology: Invalid value: {}: field is immutable',
  ]);
  t.strictSame(updateErrors('CSIStorageCapacity', of(''), of('').replace('fast', 'slow')), [
    'storageClassName: Invalid value: "slow": field is immutable',
  ]);
});

t.test('volume attachments', async (t) => {
  const object = created('VolumeAttachment', `${attachment()}\nstatus: {attached: true}`);
  t.match(object, { status: { attached: false } }, 'only the driver says so');
  t.strictSame(cells('VolumeAttachment', object), {
    Name: 'one',
    Attacher: 'a.io',
    PV: 'disk',
    Node: 'board',
    Attached: false,
    Age: '10m',
  });
  t.strictSame(warningsOf('VolumeAttachment', attachment()), NO_DRIVERS);
  const exactly = 'must specify exactly one of inlineVolumeSpec and persistentVolumeName';
  const context = 'Forbidden: may not be specified in the context of inline volumes';
  const at = 'spec.source.inlineVolumeSpec';
  refuses(t, 'VolumeAttachment', [
    [attachment(), []],
    [inline(`{${CSI}}`), []],
    [attachment(undefined, 'attacher: ""'), ['spec.attacher: Required value']],
    [attachment(undefined, 'attacher: a_b'), [SUBDOMAIN]],
    [attachment().replace('board', 'A_B'), [SUBDOMAIN]],
    [attachment('{}'), [`spec.source: Required value: ${exactly}`]],
    [
      attachment(`{persistentVolumeName: a, inlineVolumeSpec: {${CSI}}}`),
      [`spec.source: Forbidden: ${exactly}`],
    ],
    [
      attachment('{persistentVolumeName: ""}'),
      [
        'spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName',
      ],
    ],
    [attachment('{persistentVolumeName: A_B}'), [SUBDOMAIN]],
    [
      inline(
        `{${CSI}, capacity: {storage: 1Gi}, storageClassName: fast, persistentVolumeReclaimPolicy: Delete}`,
      ),
      [
        `${at}.capacity: ${context}`,
        `${at}.persistentVolumeReclaimPolicy: ${context}`,
        `${at}.storageClassName: ${context}`,
      ],
    ],
    [
      inline('{hostPath: {path: /a}, accessModes: [ReadWriteOnce]}'),
      [`${at}.csi: Required value: has to be specified in the context of inline volumes`],
    ],
    [inline(`{${CSI.replace('a.io', '""')}}`), [`${at}.csi.driver: Required value`]],
    [
      inline(`{${CSI.replace('Handle: v', 'Handle: ""')}}`),
      [`${at}.csi.volumeHandle: Required value`],
    ],
  ]);
  t.match(updateErrors('VolumeAttachment', attachment(), attachment().replace('board', 'other')), [
    /^spec: Invalid value: .*: field is immutable$/,
  ]);
  Reflect.set(object, 'status', {
    attached: false,
    attachmentMetadata: { path: 'x'.repeat(256 * 1024) },
    attachError: { message: 'x'.repeat(1025) },
    detachError: { errorCode: -1 },
  });
  const errors = moduleOf('VolumeAttachment').validate(object);
  t.strictSame(
    errors.map(({ field, message }) => `${field}: ${message}`),
    [
      'status.attachmentMetadata: Too long: may not be more than 262144 bytes',
      'status.attachError.message: Too long: may not be more than 1024 bytes',
      'status.detachError.errorCode: Invalid value: -1: must be greater than or equal to 0',
    ],
  );
});

t.test('volume attributes classes', async (t) => {
  const kind = 'VolumeAttributesClass';
  const of = (parameters: string) => `${META}\ndriverName: a.io\nparameters: ${parameters}`;
  t.strictSame(cells(kind, created(kind, of('{a: b}'))), {
    Name: 'one',
    DriverName: 'a.io',
    Age: '10m',
  });
  t.strictSame(warningsOf(kind, of('{a: b}')), [
    'parameters: stored, but this version of Pier does not change attributes of volumes yet',
  ]);
  refuses(t, kind, [
    [of('{a: b}'), []],
    [of('{}'), ['parameters: Required value: must contain at least one key/value pair']],
    [of('{a: b}').replace('a.io', '""'), ['driverName: Required value']],
  ]);
  t.strictSame(updateErrors(kind, of('{a: b}'), of('{a: c}').replace('a.io', 'b.io')), [
    'driverName: Forbidden: updates to driverName are forbidden.',
    'parameters: Forbidden: updates to parameters are forbidden.',
  ]);
});
