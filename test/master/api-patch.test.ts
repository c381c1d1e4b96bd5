/** JSON, merge and strategic merge patches against what Kubernetes documents. */
import fc from 'fast-check';
import t from 'tap';
import { deepEqual } from '../../master/api/equal.ts';
import { jsonPatch } from '../../master/api/patch/json-patch.ts';
import type { JsonObject, JsonValue } from '../../master/api/patch/json-value.ts';
import { mergePatch } from '../../master/api/patch/merge-patch.ts';
import { strategicMergePatch } from '../../master/api/patch/strategic-merge.ts';

const DEPLOYMENT = 'io.k8s.api.apps.v1.Deployment';
const POD = 'io.k8s.api.core.v1.Pod';
const SERVICE = 'io.k8s.api.core.v1.Service';

interface Row {
  readonly name: string;
  readonly message: string;
  readonly original: JsonObject;
  readonly patch: JsonObject;
  readonly result: JsonObject;
}

const containers = (...items: JsonObject[]): JsonObject => ({ spec: { containers: items } });

const ROWS: Row[] = [
  {
    name: 'merges containers by name and keeps those that the patch does not name',
    message: POD,
    original: containers({ name: 'a', image: '1' }, { name: 'b', image: '1' }),
    patch: containers({ name: 'b', image: '2' }, { name: 'c', image: '3' }),
    result: containers(
      { name: 'a', image: '1' },
      { name: 'b', image: '2' },
      { name: 'c', image: '3' },
    ),
  },
  {
    name: 'deletes an element with $patch: delete',
    message: POD,
    original: containers({ name: 'a' }, { name: 'b' }),
    patch: containers({ name: 'a', $patch: 'delete' }),
    result: containers({ name: 'b' }),
  },
  {
    name: 'replaces a whole list with an element that is only $patch: replace',
    message: POD,
    original: containers({ name: 'a' }, { name: 'b' }),
    patch: containers({ $patch: 'replace' }, { name: 'c' }),
    result: containers({ name: 'c' }),
  },
  {
    name: 'replaces a map with $patch: replace',
    message: POD,
    original: { metadata: { labels: { a: '1', b: '2' } } },
    patch: { metadata: { labels: { $patch: 'replace', c: '3' } } },
    result: { metadata: { labels: { c: '3' } } },
  },
  {
    name: 'empties a map with $patch: delete',
    message: POD,
    original: { metadata: { labels: { a: '1' } } },
    patch: { metadata: { labels: { $patch: 'delete' } } },
    result: { metadata: { labels: {} } },
  },
  {
    name: 'keeps only what $retainKeys names, as kubectl changes a deployment strategy',
    message: DEPLOYMENT,
    original: { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } },
    patch: { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } },
    result: { spec: { strategy: { type: 'Recreate' } } },
  },
  {
    name: 'removes values from a list of scalars with $deleteFromPrimitiveList',
    message: POD,
    original: { metadata: { finalizers: ['a', 'b', 'c'] } },
    patch: { metadata: { '$deleteFromPrimitiveList/finalizers': ['b'] } },
    result: { metadata: { finalizers: ['a', 'c'] } },
  },
  {
    name: 'adds to a merging list of scalars without doubling',
    message: POD,
    original: { metadata: { finalizers: ['a', 'b'] } },
    patch: { metadata: { finalizers: ['b', 'c'] } },
    result: { metadata: { finalizers: ['a', 'b', 'c'] } },
  },
  {
    name: 'replaces a list that has no merge strategy',
    message: POD,
    original: containers({ name: 'a', command: ['x', 'y'] }),
    patch: containers({ name: 'a', command: ['z'] }),
    result: containers({ name: 'a', command: ['z'] }),
  },
  {
    name: 'orders a merged list as $setElementOrder says',
    message: POD,
    original: containers({ name: 'a' }, { name: 'b' }),
    patch: {
      spec: {
        '$setElementOrder/containers': [{ name: 'c' }, { name: 'b' }, { name: 'a' }],
        containers: [{ name: 'c' }],
      },
    },
    result: containers({ name: 'c' }, { name: 'b' }, { name: 'a' }),
  },
  {
    name: 'keeps the place of an element that only the server has beside its neighbour',
    message: POD,
    original: containers({ name: 'a' }, { name: 'sidecar' }, { name: 'b' }),
    patch: {
      spec: { '$setElementOrder/containers': [{ name: 'a' }, { name: 'b' }], containers: [] },
    },
    result: containers({ name: 'a' }, { name: 'sidecar' }, { name: 'b' }),
  },
  {
    name: 'puts a container that a patch adds before the others, as Kubernetes documents for kubectl patch',
    message: DEPLOYMENT,
    original: { spec: { template: containers({ name: 'ctr', image: 'nginx' }) } },
    patch: { spec: { template: containers({ name: 'ctr-2', image: 'redis' }) } },
    result: {
      spec: {
        template: containers({ name: 'ctr-2', image: 'redis' }, { name: 'ctr', image: 'nginx' }),
      },
    },
  },
  {
    name: 'takes the merge key from the table: ports of containers by containerPort',
    message: POD,
    original: containers({ name: 'a', ports: [{ containerPort: 80, protocol: 'TCP' }] }),
    patch: containers({ name: 'a', ports: [{ containerPort: 80, name: 'http' }] }),
    result: containers({
      name: 'a',
      ports: [{ containerPort: 80, protocol: 'TCP', name: 'http' }],
    }),
  },
  {
    name: 'takes the merge key from the table: ports of services by port',
    message: SERVICE,
    original: { spec: { ports: [{ port: 80, nodePort: 30000 }] } },
    patch: { spec: { ports: [{ port: 80, targetPort: 'web' }] } },
    result: { spec: { ports: [{ port: 80, nodePort: 30000, targetPort: 'web' }] } },
  },
  {
    name: 'removes keys with null and ignores nulls and directives of parts that are new',
    message: POD,
    original: { metadata: { labels: { a: '1', b: '2' } } },
    patch: { metadata: { labels: { a: null }, annotations: { x: null, y: '1' } } },
    result: { metadata: { labels: { b: '2' }, annotations: { y: '1' } } },
  },
];

t.test('a strategic merge patch', async (t) => {
  for (const { name, message, original, patch, result } of ROWS) {
    const before = JSON.stringify(original);
    t.strictSame(strategicMergePatch(original, patch, message), result, name);
    t.equal(JSON.stringify(original), before, `${name}: leaves the original as it was`);
  }
});

t.test('a strategic merge patch that makes no sense is refused', async (t) => {
  const bad = (patch: JsonObject, message: RegExp) =>
    t.throws(() => strategicMergePatch(containers({ name: 'a' }), patch, POD), { message });
  bad(containers({ image: 'x' }), /does not contain declared merge key: name/);
  bad({ spec: { $patch: 'twist' } }, /unknown patch type found: "twist"/);
  bad({ spec: { $retainKeys: ['a'], b: 1 } }, /\$retainKeys does not list the field "b"/);
  bad({ metadata: { '$deleteFromPrimitiveList/finalizers': 'a' } }, /must be a list/);
  bad(containers({ name: 'a', $patch: 'twist' }), /unknown patch type found: "twist"/);
  const order = { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] };
  const spec = { ...order, containers: [{ name: 'a' }, { name: 'b' }] };
  bad({ spec }, /order in the patch list "containers" doesn't match \$setElementOrder\/containers/);
});

t.test('merge patches follow the examples of RFC 7386', async (t) => {
  const examples: [JsonValue, JsonValue, JsonValue][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, result] of examples) {
    t.strictSame(mergePatch(target, patch), result, JSON.stringify(patch));
  }
});

t.test('JSON patches follow RFC 6902', async (t) => {
  const doc = { a: { b: [1, 2, 3] }, 'x/y': 1, 'm~n': 2 };
  const apply = (...patch: JsonValue[]) => jsonPatch(doc, patch);
  t.strictSame(apply({ op: 'add', path: '/a/b/1', value: 9 }), { ...doc, a: { b: [1, 9, 2, 3] } });
  t.strictSame(apply({ op: 'add', path: '/a/b/-', value: 9 }), { ...doc, a: { b: [1, 2, 3, 9] } });
  t.strictSame(apply({ op: 'remove', path: '/a/b/0' }), { ...doc, a: { b: [2, 3] } });
  t.strictSame(apply({ op: 'replace', path: '/x~1y', value: 7 }), { ...doc, 'x/y': 7 });
  t.strictSame(apply({ op: 'test', path: '/m~0n', value: 2 }), doc);
  t.strictSame(apply({ op: 'copy', from: '/a/b', path: '/c' }), { ...doc, c: [1, 2, 3] });
  t.strictSame(apply({ op: 'move', from: '/a/b/0', path: '/c' }), {
    ...doc,
    a: { b: [2, 3] },
    c: 1,
  });
  t.strictSame(apply({ op: 'replace', path: '', value: 5 }), 5);
  t.strictSame(apply({ op: 'test', path: '/nothing', value: null }), doc, 'as in Kubernetes');
  t.throws(() => apply({ op: 'test', path: '/nothing/below', value: null }), { code: 422 });
  t.throws(() => apply({ op: 'test', path: '/x~1y', value: 2 }), { code: 422 });
  t.throws(() => apply({ op: 'remove', path: '/nothing' }), { code: 422 });
  t.throws(() => apply({ op: 'replace', path: '/a/b/9', value: 1 }), { code: 422 });
  t.throws(() => apply({ op: 'add', path: '/a/b/07', value: 1 }), { code: 422 });
  t.throws(() => apply({ op: 'move', from: '/a', path: '/a/b/0' }), { code: 422 });
  t.throws(() => apply({ op: 'jump', path: '/a' }), { code: 400 });
  t.throws(() => apply({ op: 'add', path: 'a', value: 1 }), { code: 400 });
  t.throws(() => jsonPatch(doc, { op: 'add' }), { code: 400 });
  t.strictSame(doc.a.b, [1, 2, 3], 'the document stays as it was');
});

t.test('no patch reaches a prototype', async (t) => {
  const evil: JsonObject = JSON.parse('{"__proto__":{"polluted":true},"a":{"__proto__":{"x":1}}}');
  mergePatch({ a: {} }, evil);
  strategicMergePatch({ a: {} }, evil, POD);
  jsonPatch({}, [{ op: 'add', path: '/__proto__', value: { polluted: true } }]);
  t.throws(() => jsonPatch({}, [{ op: 'add', path: '/__proto__/polluted', value: 1 }]));
  t.throws(() => jsonPatch({}, [{ op: 'add', path: '/constructor/prototype/x', value: 1 }]));
  t.equal(Reflect.get({}, 'polluted'), undefined);
  t.equal(Reflect.get({}, 'x'), undefined);
});

t.test('a merge patch made from two documents turns one into the other', async () => {
  const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.integer()));
  const tree = fc.letrec<{ tree: JsonObject }>((tie) => ({
    tree: fc.dictionary(fc.string({ maxLength: 4 }), fc.oneof({ maxDepth: 3 }, leaf, tie('tree')), {
      maxKeys: 5,
      noNullPrototype: true,
    }) as fc.Arbitrary<JsonObject>,
  })).tree;
  const difference = (from: JsonObject, to: JsonObject): JsonObject => {
    const patch: JsonObject = {};
    const put = (key: string, value: JsonValue) =>
      Object.defineProperty(patch, key, { value, enumerable: true });
    for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) put(key, null);
    for (const [key, value] of Object.entries(to)) {
      const old = Object.hasOwn(from, key) ? from[key] : undefined;
      const nested = isMap(old) && isMap(value);
      if (!Object.hasOwn(from, key) || !deepEqual(old, value)) {
        put(key, nested ? difference(old, value) : value);
      }
    }
    return patch;
  };
  fc.assert(
    fc.property(tree, tree, (from, to) => deepEqual(mergePatch(from, difference(from, to)), to)),
    { numRuns: 500 },
  );
});

function isMap(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
