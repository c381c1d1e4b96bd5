/**
 * The table of kinds and what is driven by it: strict JSON decoding and the protobuf codec. The golden part compares
 * with Kubernetes' own test data (Debian's golang-k8s-api-dev), and is skipped where that cannot be had.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { stringify } from 'yaml';
import { parseYamlBody } from '../../master/api/body.ts';
import {
  decodeObject,
  decodingError,
  strictDecodingError,
  strictWarnings,
} from '../../protocol/kinds/decode.ts';
import { isDeeperThan, parseJsonStrict } from '../../protocol/kinds/json.ts';
import { decodeProtobuf, isProtobuf } from '../../protocol/kinds/protobuf.ts';
import { encodeProtobuf } from '../../protocol/kinds/protobuf-encode.ts';
import { durationNanos, formatDuration, normalizeTime } from '../../protocol/kinds/scalars.ts';
import { KINDS, kindByGvk, messageNames, messageSpec } from '../../protocol/kinds/table.ts';
import type { Deployment, Pod, Secret } from '../../protocol/kinds/types.ts';
import { ApiError } from '../../protocol/status.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const CORE = 'io.k8s.api.core.v1';
const DEPLOYMENT = 'io.k8s.api.apps.v1.Deployment';

/** The folder of Kubernetes' json/yaml/pb triples, or why there is none. */
function findGoldenData(): { folder: string } | { missing: string } {
  const inside = 'usr/share/gocode/src/k8s.io/api/testdata/HEAD';
  const script = join(HOME, 'firmware-scripts/debian-package.sh');
  const cache = join(HOME, '.cache/golang-k8s-api-dev');
  try {
    execFileSync('sh', [script, 'golang-k8s-api-dev', 'sid', cache, inside], { stdio: 'pipe' });
    return { folder: join(cache, inside) };
  } catch (error) {
    const stderr =
      error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
    return { missing: `no test data of Kubernetes: ${stderr.trim()}` };
  }
}

const golden = findGoldenData();

t.test('every message of the table can be read, and refers only to messages that exist', (t) => {
  const names = messageNames();
  t.ok(names.length > 400);
  for (const name of names) {
    for (const field of messageSpec(name).wireFields.values()) {
      if (field.type === 'message') messageSpec(field.message ?? '');
    }
  }
  t.throws(() => messageSpec('io.k8s.api.core.v1.Podd'), /no message "io.k8s.api.core.v1.Podd"/);
  t.end();
});

t.test('the table knows numbers, types, list types, merge keys and defaults', (t) => {
  const container = messageSpec(`${CORE}.Container`).fields;
  t.match(container.get('ports'), {
    number: 6,
    shape: 'list',
    type: 'message',
    message: `${CORE}.ContainerPort`,
    listType: 'map',
    listMapKeys: ['containerPort', 'protocol'],
    mergeKey: 'containerPort',
    patchStrategy: ['merge'],
    required: false,
  });
  t.match(container.get('name'), { type: 'string', required: true, pointer: false });
  t.match(container.get('restartPolicy'), { type: 'string', pointer: true });
  t.equal(messageSpec(`${CORE}.ContainerPort`).fields.get('protocol')?.default, 'TCP');
  const volumes = messageSpec(`${CORE}.PodSpec`).fields.get('volumes');
  t.same(volumes?.patchStrategy, ['merge', 'retainKeys']);
  t.equal(messageSpec(`${CORE}.ResourceRequirements`).fields.get('limits')?.type, 'quantity');
  t.equal(messageSpec(`${CORE}.PodSpec`).fields.get('nodeSelector')?.structType, 'atomic');
  t.equal(messageSpec('io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector').atomic, true);
  const metadata = messageSpec(`${CORE}.Pod`).fields.get('metadata');
  t.equal(metadata?.message, 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta');
  t.end();
});

t.test('an embedded struct is one field on the wire, and its fields stand beside in JSON', (t) => {
  const probe = messageSpec(`${CORE}.Probe`);
  t.ok(probe.fields.has('httpGet'));
  t.notOk(probe.fields.has(''));
  t.match(probe.wireFields.get(1), { inline: true, message: `${CORE}.ProbeHandler` });
  t.ok(messageSpec(`${CORE}.EphemeralContainer`).fields.has('targetContainerName'));
  t.ok(messageSpec(`${CORE}.EphemeralContainer`).fields.has('image'));
  t.end();
});

t.test('kinds are found by group, version and kind; those of meta/v1 in every group', (t) => {
  t.match(kindByGvk('', 'v1', 'Pod'), { message: `${CORE}.Pod`, isList: false });
  t.match(kindByGvk('apps', 'v1', 'DeploymentList'), { isList: true });
  t.match(kindByGvk('metrics.k8s.io', 'v1beta1', 'NodeMetrics'), { kind: 'NodeMetrics' });
  t.match(kindByGvk('apps', 'v1', 'DeleteOptions'), {
    message: 'io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions',
  });
  t.equal(kindByGvk('apps', 'v1', 'Pod'), undefined);
  t.equal(kindByGvk('', 'v1', 'ObjectMeta'), undefined);
  t.equal(kindByGvk('', 'v1', 'ContainerPort'), undefined);
  t.end();
});

t.test('values of the wrong type are refused in the words of the API server', (t) => {
  const { errors } = decodeObject<Deployment>(DEPLOYMENT, {
    metadata: { name: 7, labels: { a: 1 }, creationTimestamp: 'yesterday' },
    spec: {
      replicas: '3',
      minReadySeconds: 1.5,
      template: {
        spec: {
          containers: [{ name: 'a', ports: [{ containerPort: 2 ** 31 }] }, 'x'],
          tolerations: {},
          volumes: [{ emptyDir: { sizeLimit: 'big' }, secret: true }],
        },
      },
    },
  });
  const texts = new Map(errors.map((e) => [e.field, e.message]));
  const go = 'json: cannot unmarshal';
  const spec = 'spec.template.spec';
  t.same(Object.fromEntries(texts), {
    'metadata.name': `${go} number into Go struct field ObjectMeta.metadata.name of type string`,
    'metadata.labels[a]': `${go} number into Go struct field ObjectMeta.metadata.labels of type string`,
    'metadata.creationTimestamp':
      'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
    'spec.replicas': `${go} string into Go struct field DeploymentSpec.spec.replicas of type int32`,
    'spec.minReadySeconds': `${go} number 1.5 into Go struct field DeploymentSpec.spec.minReadySeconds of type int32`,
    [`${spec}.containers[0].ports[0].containerPort`]: `${go} number 2147483648 into Go struct field ContainerPort.${spec}.containers.ports.containerPort of type int32`,
    [`${spec}.containers[1]`]: `${go} string into Go struct field PodSpec.${spec}.containers of type v1.Container`,
    [`${spec}.tolerations`]: `${go} object into Go struct field PodSpec.${spec}.tolerations of type []v1.Toleration`,
    [`${spec}.volumes[0].emptyDir.sizeLimit`]:
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    [`${spec}.volumes[0].secret`]: `${go} bool into Go struct field Volume.${spec}.volumes.secret of type v1.SecretVolumeSource`,
  });
  t.equal(
    decodingError('Deployment', 'v1', errors.slice(0, 1)).message,
    `Deployment in version "v1" cannot be handled as a Deployment: ${errors[0]?.message}`,
  );
  t.match(decodeObject(`${CORE}.Pod`, []).errors, [
    { field: '', message: 'json: cannot unmarshal array into Go value of type v1.Pod' },
  ]);
  t.end();
});

t.test('unknown fields are dropped and named; names are case-sensitive', (t) => {
  const { object, unknownFields, errors } = decodeObject<Pod>(`${CORE}.Pod`, {
    apiVersion: 'v1',
    kind: 'Pod',
    Metadata: {},
    metadata: { name: 'a', nmae: 'b' },
    spec: { containers: [{ name: 'c' }, { name: 'd', imagge: 'x' }], replicas: 1 },
  });
  t.same(errors, []);
  t.same(unknownFields.sort(), [
    'Metadata',
    'metadata.nmae',
    'spec.containers[1].imagge',
    'spec.replicas',
  ]);
  t.same(object.spec?.containers, [{ name: 'c' }, { name: 'd' }]);
  const warnings = strictWarnings(['spec.replicas'], ['spec.x']);
  t.same(warnings, ['unknown field "spec.replicas"', 'duplicate field "spec.x"']);
  const error = strictDecodingError('Pod', 'v1', warnings);
  t.equal(error.code, 400);
  t.equal(
    error.message,
    'Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.replicas", duplicate field "spec.x"',
  );
  t.end();
});

t.test('null and the zero values that Go leaves out are the same as absent', (t) => {
  const { object, errors } = decodeObject<Pod>(`${CORE}.Pod`, {
    metadata: { name: 'a', creationTimestamp: null, labels: {}, finalizers: [] },
    spec: {
      restartPolicy: '',
      hostNetwork: false,
      tolerations: [],
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'c', image: '', env: [{ name: 'E', value: '' }], resources: {} }],
      volumes: [{ name: 'v', emptyDir: {} }],
    },
    status: null,
  });
  t.same(errors, []);
  t.same(object, {
    metadata: { name: 'a' },
    spec: {
      volumes: [{ name: 'v', emptyDir: {} }],
      containers: [{ name: 'c', env: [{ name: 'E' }], resources: {} }],
      // A pointer in Go: zero says something else than absent.
      terminationGracePeriodSeconds: 0,
    },
  });
  t.end();
});

t.test(
  'required fields that are absent get their zero value, so that the types tell the truth',
  (t) => {
    const pod = decodeObject<Pod>(`${CORE}.Pod`, { spec: {} }).object;
    t.same(pod, { spec: { containers: [] } });
    const deployment = decodeObject<Deployment>(DEPLOYMENT, { spec: {} }).object;
    t.same(deployment, { spec: { template: {} } }, 'the selector is a pointer and stays absent');
    const partial = decodeObject<Pod>(`${CORE}.Pod`, { spec: {} }, { fillRequired: false }).object;
    t.same(partial, { spec: {} });
    t.end();
  },
);

t.test(
  'equal objects have equal JSON: fields in the order of the table, maps sorted, canonical values',
  (t) => {
    const a = decodeObject<Pod>(`${CORE}.Pod`, {
      spec: {
        containers: [{ resources: { limits: { memory: '1024Mi', cpu: 0.5 } }, name: 'c' }],
        activeDeadlineSeconds: 5,
      },
      metadata: { labels: { b: '2', a: '1' }, creationTimestamp: '2026-01-02T04:04:05.6+01:00' },
      kind: 'Pod',
      apiVersion: 'v1',
    }).object;
    t.equal(
      JSON.stringify(a),
      '{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"2026-01-02T03:04:05Z",' +
        '"labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"c","resources":{"limits":' +
        '{"cpu":"500m","memory":"1Gi"}}}],"activeDeadlineSeconds":5}}',
    );
    t.end();
  },
);

t.test('keys that would reach a prototype are data in maps and unknown fields elsewhere', (t) => {
  const json = parseJsonStrict(
    '{"__proto__":{"polluted":1},"metadata":{"labels":{"__proto__":"x","constructor":"y"}},' +
      '"spec":{"constructor":{},"containers":[{"name":"a","__proto__":{"image":"b"}}]}}',
  );
  const { object, unknownFields } = decodeObject<Pod>(`${CORE}.Pod`, json.value);
  t.same(
    unknownFields.sort(),
    ['__proto__', 'spec.constructor', 'spec.containers[0].__proto__'].sort(),
  );
  t.same(Object.keys(object.metadata?.labels ?? {}), ['__proto__', 'constructor']);
  t.equal(Object.getPrototypeOf(object.metadata?.labels), Object.prototype);
  t.equal(object.spec?.containers[0]?.image, undefined);
  t.equal(Reflect.get({}, 'polluted'), undefined);
  t.end();
});

t.test('free-form parts may nest 64 levels, and reports are bounded', (t) => {
  const message = 'io.k8s.api.apps.v1.ControllerRevision';
  const nested = (levels: number): unknown => (levels === 0 ? 1 : { a: nested(levels - 1) });
  t.same(decodeObject(message, { data: nested(64), revision: 1 }).errors, []);
  const { errors } = decodeObject(message, { data: nested(65), revision: 1 });
  t.match(errors, [{ field: 'data', message: 'nested more than 64 levels deep' }]);
  t.equal(isDeeperThan(nested(3), 3), false);
  const containers = Array.from({ length: 1000 }, () => ({ x: 1, name: 5 }));
  const flood = decodeObject<Pod>(`${CORE}.Pod`, { spec: { containers } });
  t.equal(flood.errors.length, 64);
  t.equal(flood.unknownFields.length, 64);
  t.end();
});

t.test('bytes, times and numbers are checked', (t) => {
  const secret = (data: unknown) => decodeObject<Secret>(`${CORE}.Secret`, { data });
  t.same(secret({ a: 'YWI=', b: '' }).object.data, { a: 'YWI=', b: '' });
  t.same(secret({ a: 'YW\nI=' }).object.data, { a: 'YWI=' });
  for (const wrong of ['YWI', 'Y-I=', 'Y===', '=YWI', 'YW=I']) {
    t.match(
      secret({ a: wrong }).errors,
      [{ message: /^illegal base64 data at input byte/ }],
      wrong,
    );
  }
  t.equal(normalizeTime('2024-02-30T00:00:00Z', 0).ok, false);
  t.equal(normalizeTime('2024-02-29T25:00:00Z', 0).ok, false);
  t.match(normalizeTime('1970-01-01T00:00:00.25Z', 6), { text: '1970-01-01T00:00:00.250000Z' });
  t.match(normalizeTime('0001-01-01T00:00:00Z', 0), { text: '0001-01-01T00:00:00Z' });
  t.match(normalizeTime('2024-01-01 00:00:00Z', 0), { error: /cannot parse " 00:00:00Z" as "T"/ });
  for (const text of ['1m30s', '1h0m0s', '250ms', '1.5s', '0s', '-2s']) {
    t.equal(formatDuration(durationNanos(text) ?? Number.NaN), text);
  }
  t.equal(durationNanos('5'), undefined);
  t.end();
});

t.test('doubled keys are found with their paths, and the last one wins', (t) => {
  const text =
    '{"a":{"b":1,"b" : 2,"c\\"":"x:\\\\"},"l":[{"x":1,"y":[]},{"x":1,"\\u0078":2}],"a":{"z":":"}}';
  const { value, duplicateFields } = parseJsonStrict(text);
  t.same(duplicateFields, ['a.b', 'l[1].x', 'a']);
  t.match(value, { a: { z: ':' } });
  t.throws(() => parseJsonStrict('{"secret": "hunter2",}'), { code: 400 });
  t.throws(() => parseJsonStrict('['.repeat(100_000) + ']'.repeat(100_000)), {
    code: 400,
    message: /nested more than 512 levels/,
  });
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), (json) => {
      const parsed = parseJsonStrict(json);
      return parsed.duplicateFields.length === 0;
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test("a protobuf body as Go sends it decodes to the object without Go's zeros", (t) => {
  const object = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', labels: { app: 'web' } },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          containers: [{ name: 'c', image: 'hello', resources: { limits: { cpu: '500m' } } }],
        },
      },
    },
  };
  // Encoding writes all the zeros, as Go does.
  const bytes = encodeProtobuf('apps/v1', 'Deployment', object);
  t.ok(isProtobuf(bytes));
  t.ok(bytes.length > JSON.stringify(object).length / 2);
  t.same(decodeProtobuf(bytes), { apiVersion: 'apps/v1', kind: 'Deployment', object });
  t.end();
});

t.test('damaged protobuf is refused with 400, never with a crash', (t) => {
  const bytes = encodeProtobuf('v1', 'ConfigMap', { metadata: { name: 'a' }, data: { k: 'v' } });
  const isRefused = (input: Uint8Array): boolean => {
    try {
      decodeProtobuf(input);
      return true;
    } catch (error) {
      return error instanceof ApiError && error.code === 400;
    }
  };
  for (let length = 0; length < bytes.length; length++) {
    if (!isRefused(bytes.subarray(0, length))) t.fail(`cut after ${length} bytes`);
  }
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) =>
      isRefused(Uint8Array.from(bytes, (old, i) => (i === at ? byte : old))),
    ),
    { numRuns: 1000 },
  );
  t.throws(() => decodeProtobuf(new TextEncoder().encode('{}')), { message: /k8s/ });
  t.throws(() => encodeProtobuf('v1', 'Podd', {}), {
    code: 400,
    message: 'no kind "Podd" is registered for version "v1"',
  });
  t.end();
});

const skip = 'missing' in golden ? golden.missing : false;
t.test(
  "Kubernetes' own test data: JSON, YAML and protobuf say the same, byte for byte",
  { skip },
  (t) => {
    const folder = 'folder' in golden ? golden.folder : '';
    let compared = 0;
    for (const { group, version, kind, message } of KINDS) {
      const base = join(folder, `${group || 'core'}.${version}.${kind}`);
      if (!existsSync(`${base}.json`)) continue;
      const json: unknown = JSON.parse(readFileSync(`${base}.json`, 'utf8'));
      const decoded = decodeObject(message, json);
      t.same(decoded.errors, [], `${kind}: no errors`);
      t.same(decoded.unknownFields, [], `${kind}: no unknown fields`);
      t.strictSame(decoded.object, json, `${kind}: JSON comes out as it went in`);
      const yaml = parseYamlBody(readFileSync(`${base}.yaml`));
      t.strictSame(yaml, { value: json, duplicateFields: [] }, `${kind}: YAML reads the same`);
      const written = parseYamlBody(Buffer.from(stringify(json)));
      t.strictSame(written.value, json, `${kind}: and is read as it was written`);
      const pb = readFileSync(`${base}.pb`);
      const fromWire = decodeProtobuf(pb);
      t.strictSame(fromWire.object, json, `${kind}: protobuf decodes to the same object`);
      const bytes = encodeProtobuf(fromWire.apiVersion, fromWire.kind, fromWire.object);
      t.equal(Buffer.compare(bytes, pb), 0, `${kind}: encodes to the same bytes`);
      compared++;
    }
    t.ok(compared > 60, `${compared} kinds compared`);
    t.end();
  },
);
