/**
 * Patches and selectors against second, naive implementations: written from what Kubernetes and the RFCs document, with lists
 * of fields of their own, slow and without cleverness. Random documents, patches and selectors must get the same answer.
 * PIER_MODEL_RUNS: how many of each (default 1000).
 */
import fc from 'fast-check';
import t from 'tap';
import { RESOURCES } from '../../master/api/client.ts';
import { deepEqual } from '../../master/api/equal.ts';
import { KIND_MODULES } from '../../master/api/kinds/all.ts';
import { createLocalClient } from '../../master/api/local-client.ts';
import { jsonPatch } from '../../master/api/patch/json-patch.ts';
import { isObject, type JsonObject, type JsonValue } from '../../master/api/patch/json-value.ts';
import { mergePatch } from '../../master/api/patch/merge-patch.ts';
import { strategicMergePatch } from '../../master/api/patch/strategic-merge.ts';
import { createRegistry } from '../../master/api/registry.ts';
import { openMemoryStore } from '../../master/store/memory-store.ts';
import type { LabelSelector, Pod } from '../../protocol/kinds/types.ts';
import {
  type Labels,
  matchesLabelSelector,
  matchesRequirements,
  parseFieldSelector,
  parseLabelSelector,
} from '../../protocol/selector.ts';
import { ApiError } from '../../protocol/status.ts';
import { pod } from './api-fixture.ts';

t.setTimeout(120_000);

const RUNS = { numRuns: Number(process.env.PIER_MODEL_RUNS ?? 1_000) };

/** The answer, or that there is none. */
function outcome(work: () => JsonValue | undefined): JsonValue | undefined | 'refused' {
  try {
    return work();
  } catch {
    return 'refused';
  }
}

function same(one: JsonValue | undefined, other: JsonValue | undefined, about: unknown): boolean {
  if (deepEqual(one, other)) return true;
  const words = [one, other, about].map((value) => JSON.stringify(value));
  throw new Error(`Pier: ${words[0]}\nmodel: ${words[1]}\nof: ${words[2]}`);
}

// --- strategic merge patch -------------------------------------------------------------------------------------------

/** How Kubernetes' reference documents the fields: a struct, a list merged by a key, a merged list of scalars, or whole. */
type Kind =
  | { readonly fields: Readonly<Record<string, Kind>> }
  | { readonly key: string; readonly item: Kind }
  | 'labels'
  | 'set'
  | 'whole';

const CONTAINER: Kind = {
  fields: {
    image: 'whole',
    command: 'whole',
    env: { key: 'name', item: { fields: { value: 'whole' } } },
    ports: { key: 'containerPort', item: { fields: { hostPort: 'whole' } } },
  },
};
const POD: Kind = {
  fields: {
    metadata: { fields: { labels: 'labels', finalizers: 'set' } },
    spec: {
      fields: {
        containers: { key: 'name', item: CONTAINER },
        tolerations: 'whole',
        nodeSelector: 'labels',
        priority: 'whole',
      },
    },
  },
};

const isDirective = (key: string) => key.startsWith('$');

/** A patch where the server has nothing: what it says, without nulls and directives. */
function plain(patch: JsonValue): JsonValue {
  if (Array.isArray(patch)) return patch.map(plain);
  if (!isObject(patch)) return patch;
  const kept = Object.entries(patch).filter(([key, value]) => !isDirective(key) && value !== null);
  return Object.fromEntries(kept.map(([key, value]) => [key, plain(value)]));
}

function patchStruct(live: JsonObject, patch: JsonObject, kind: Kind): JsonObject {
  if (patch.$patch === 'replace') return plain(patch) as JsonObject;
  if (patch.$patch === 'delete') return {};
  if (patch.$patch !== undefined) throw new Error('unknown directive');
  const result = { ...live };
  const retained = patch.$retainKeys as string[] | undefined;
  if (retained !== undefined) {
    for (const key of Object.keys(result)) if (!retained.includes(key)) delete result[key];
    for (const [key, value] of Object.entries(patch)) {
      if (!isDirective(key) && value !== null && !retained.includes(key)) throw new Error(key);
    }
  }
  const touched = Object.keys(patch).map((key) => key.replace(/^\$\w+\//, ''));
  for (const key of new Set(touched.filter((one) => !isDirective(one)))) {
    const inner = typeof kind === 'object' && 'fields' in kind ? kind.fields[key] : undefined;
    const change = {
      value: patch[key],
      order: patch[`$setElementOrder/${key}`] as JsonValue[] | undefined,
      drop: patch[`$deleteFromPrimitiveList/${key}`] as JsonValue[] | undefined,
    };
    const next = patchField(result[key], change, inner ?? 'whole');
    if (next === undefined) delete result[key];
    else result[key] = next;
  }
  return result;
}

interface Change {
  readonly value: JsonValue | undefined;
  readonly order: JsonValue[] | undefined;
  readonly drop: JsonValue[] | undefined;
}

function patchField(
  live: JsonValue | undefined,
  change: Change,
  kind: Kind,
): JsonValue | undefined {
  const { value, order, drop } = change;
  if (value === null) return undefined;
  if (isObject(value)) return patchStruct(isObject(live) ? live : {}, value, kind);
  const isMerged = kind === 'set' || (typeof kind === 'object' && 'key' in kind);
  if (!isMerged) return value === undefined ? live : plain(value);
  const before = Array.isArray(live) ? live : [];
  if (value === undefined && live === undefined) return undefined;
  const list = (value ?? []) as JsonValue[];
  const idOf = (item: JsonValue): JsonValue | undefined =>
    kind === 'set' ? item : (item as JsonObject)[kind.key];
  const isMarked = (item: JsonValue, mark: string) => isObject(item) && item.$patch === mark;
  const isKnown = (item: JsonValue) =>
    !isObject(item) || ['replace', 'delete', undefined].includes(item.$patch as string | undefined);
  if (!list.every(isKnown)) throw new Error('unknown directive');
  const given = list.filter((item) => !isObject(item) || item.$patch === undefined);
  if (order !== undefined) {
    const places = given.map((item) => order.findIndex((one) => idOf(one) === idOf(item)));
    const isSorted = places.every(
      (place, i) => place >= 0 && (i === 0 || place > (places[i - 1] ?? 0)),
    );
    if (!isSorted) throw new Error('not in the order of the directive');
  }
  if (list.some((item) => isMarked(item, 'replace'))) return given.map(plain);
  if (list.some((item) => idOf(item) === undefined)) throw new Error('no merge key');
  const gone = list.filter((item) => isMarked(item, 'delete')).map(idOf);
  const merged = before
    .filter((item) => !gone.includes(idOf(item)))
    .map((item) => {
      const update = given.find((one) => idOf(one) === idOf(item));
      if (!isObject(item) || !isObject(update) || typeof kind !== 'object') return item;
      return patchStruct(item, update, 'item' in kind ? kind.item : kind);
    });
  const fresh = given.filter((one) => !before.some((item) => idOf(item) === idOf(one)));
  const named = order ?? given;
  const added = fresh.map((one) =>
    isObject(one) && typeof kind === 'object' && 'item' in kind
      ? patchStruct({}, one, kind.item)
      : one,
  );
  const all = [...merged, ...added].filter(
    (item) => drop === undefined || !drop.includes(idOf(item) ?? null),
  );
  return arranged(all, named.map(idOf), before.map(idOf), idOf);
}

/** The patch's elements in its order; then each other one is put before the first, from the last such place on, that it preceded. */
function arranged(
  all: readonly JsonValue[],
  named: readonly (JsonValue | undefined)[],
  before: readonly (JsonValue | undefined)[],
  idOf: (item: JsonValue) => JsonValue | undefined,
): JsonValue[] {
  const result = named.flatMap((id) => all.filter((item) => idOf(item) === id));
  let from = 0;
  for (const item of all.filter((one) => !named.includes(idOf(one)))) {
    const here = before.indexOf(idOf(item));
    while (from < result.length && before.indexOf(idOf(result[from] ?? null)) < here) from += 1;
    result.splice(from, 0, item);
    from += 1;
  }
  return result;
}

const word = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const scalar = fc.oneof(word, fc.integer({ min: 1, max: 5 }), fc.boolean());
const labels = fc.dictionary(word, word, { maxKeys: 4, noNullPrototype: true });
const optional = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: undefined });

/** Removes the keys that are undefined: JSON has none. */
const compact = (value: object): JsonObject => JSON.parse(JSON.stringify(value));

const uniqueBy = (key: string, item: fc.Arbitrary<JsonObject>) =>
  fc.uniqueArray(item, { selector: (one) => one[key], maxLength: 4 });

const idValue = (key: string): fc.Arbitrary<JsonValue> =>
  key === 'containerPort' ? fc.integer({ min: 80, max: 84 }) : word;

function liveOf(kind: Kind): fc.Arbitrary<JsonValue> {
  if (kind === 'whole') return fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }));
  if (kind === 'set') return fc.uniqueArray(word, { maxLength: 4 });
  if (kind === 'labels') return labels;
  if ('fields' in kind) {
    const fields = Object.entries(kind.fields).map(([key, one]) => [key, optional(liveOf(one))]);
    return fc.record(Object.fromEntries(fields)).map(compact);
  }
  const item = fc.tuple(idValue(kind.key), liveOf(kind.item));
  const { key } = kind;
  return uniqueBy(
    key,
    item.map(([id, rest]) => ({ ...(rest as JsonObject), [key]: id })),
  );
}

/** What a patch may say about a field, with the directives that stand beside it. */
function changesOf(name: string, kind: Kind): fc.Arbitrary<JsonObject> {
  const set = (value: fc.Arbitrary<JsonValue>) => value.map((one): JsonObject => ({ [name]: one }));
  const remove = fc.constant<JsonObject>({ [name]: null });
  const nothing = fc.constant<JsonObject>({});
  if (kind === 'whole') return fc.oneof(set(liveOf(kind)), remove, nothing);
  if (kind === 'labels') {
    const values = fc.dictionary(word, fc.option(word), { maxKeys: 4, noNullPrototype: true });
    return fc.oneof(set(values as fc.Arbitrary<JsonValue>), set(marked(labels)), remove, nothing);
  }
  if (kind === 'set') {
    const parts = fc.record({
      list: optional(fc.uniqueArray(word, { maxLength: 3 })),
      drop: optional(fc.uniqueArray(word, { maxLength: 2 })),
      order: optional(fc.shuffledSubarray(['a', 'b', 'c', 'd', 'e'], { minLength: 1 })),
    });
    // To add and to drop the same value means nothing: Kubernetes does either.
    const said = parts.map(({ list, drop, order }) => ({
      [name]: list,
      [`$deleteFromPrimitiveList/${name}`]: drop?.filter((one) => list?.includes(one) !== true),
      [`$setElementOrder/${name}`]: order,
    }));
    return fc.oneof(said.map(compact), remove, nothing);
  }
  if ('fields' in kind) return fc.oneof(set(patchOf(kind)), remove, nothing);
  const { key } = kind;
  const body = fc.tuple(idValue(key), patchOf(kind.item));
  const element = fc.oneof(
    { weight: 8, arbitrary: body.map(([id, rest]): JsonObject => ({ ...rest, [key]: id })) },
    {
      weight: 2,
      arbitrary: idValue(key).map((id): JsonObject => ({ [key]: id, $patch: 'delete' })),
    },
    { weight: 1, arbitrary: patchOf(kind.item) },
  );
  const list = fc.tuple(uniqueBy(key, element), fc.boolean()).map(([items, all]): JsonObject[] => {
    return all && items.length === 1 ? [...items, { $patch: 'replace' }] : items;
  });
  const order = fc.uniqueArray(idValue(key), { minLength: 1, maxLength: 5 });
  const ordered = fc
    .tuple(optional(list), optional(order))
    .map(([items, ids]) =>
      compact({ [name]: items, [`$setElementOrder/${name}`]: ids?.map((id) => ({ [key]: id })) }),
    );
  return fc.oneof({ weight: 6, arbitrary: ordered }, remove, nothing);
}

function marked(some: fc.Arbitrary<JsonValue>): fc.Arbitrary<JsonObject> {
  const mark = fc.constantFrom('replace', 'delete', 'twist');
  return fc.tuple(some, mark).map(([value, $patch]) => ({ ...(value as JsonObject), $patch }));
}

function patchOf(kind: Kind): fc.Arbitrary<JsonObject> {
  if (typeof kind !== 'object' || !('fields' in kind)) return fc.constant({});
  const parts = Object.entries(kind.fields).map(([name, one]) => changesOf(name, one));
  const merged = fc.tuple(...parts).map((all): JsonObject => Object.assign({}, ...all));
  const retaining = fc
    .tuple(merged, fc.subarray(Object.keys(kind.fields)))
    .map(([patch, $retainKeys]): JsonObject => ({ ...patch, $retainKeys }));
  return fc.oneof(
    { weight: 12, arbitrary: merged },
    { weight: 1, arbitrary: marked(liveOf(kind)) },
    { weight: 1, arbitrary: retaining },
  );
}

t.test('strategic merge patches do what the model does', async () => {
  let refused = 0;
  fc.assert(
    fc.property(liveOf(POD) as fc.Arbitrary<JsonObject>, patchOf(POD), (live, patch) => {
      const wanted = outcome(() => patchStruct(live, patch, POD));
      const got = outcome(() => strategicMergePatch(live, patch, 'io.k8s.api.core.v1.Pod'));
      if (wanted === 'refused') refused += 1;
      return same(got, wanted, { live, patch });
    }),
    RUNS,
  );
  t.ok(refused > 0 && refused < RUNS.numRuns / 2, `${refused} are refused: some, not most`);
});

// --- merge patch and JSON patch --------------------------------------------------------------------------------------

const document = fc.letrec<{ any: JsonValue; map: JsonObject }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.constant(null),
    fc.array(tie('any'), { maxLength: 3 }),
    tie('map'),
  ) as fc.Arbitrary<JsonValue>,
  map: fc.dictionary(fc.constantFrom('a', 'b', 'c', '~/', '__proto__'), tie('any'), {
    maxKeys: 4,
    noNullPrototype: true,
  }) as fc.Arbitrary<JsonObject>,
}));

t.test('merge patches do what the pseudo-code of RFC 7386 does', async () => {
  const model = (target: JsonValue | undefined, patch: JsonValue): JsonValue => {
    if (!isObject(patch)) return patch;
    const result = new Map(isObject(target) ? Object.entries(target) : []);
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) result.delete(name);
      else result.set(name, model(result.get(name), value));
    }
    return Object.fromEntries(result);
  };
  fc.assert(
    fc.property(document.any, document.any, (target, patch) =>
      same(mergePatch(target, patch), model(target, patch), { target, patch }),
    ),
    RUNS,
  );
});

/** RFC 6902, one operation: the document is rebuilt along the path, nothing is changed in place. */
function operate(doc: JsonValue, op: JsonObject): JsonValue {
  const path = steps(op.path);
  switch (op.op) {
    case 'add':
      return insert(doc, path, op.value ?? null);
    case 'remove':
      return cut(doc, path);
    case 'replace':
      look(doc, path);
      return path.length === 0 ? (op.value ?? null) : put(doc, path, op.value ?? null);
    case 'test':
      if (!deepEqual(tested(doc, path), op.value)) throw new Error('test');
      return doc;
    case 'copy':
      return insert(doc, path, look(doc, steps(op.from)));
    default: {
      const value = look(doc, steps(op.from));
      if (String(op.path).startsWith(`${op.from}/`)) throw new Error('into itself');
      return insert(steps(op.from).length === 0 ? doc : cut(doc, steps(op.from)), path, value);
    }
  }
}

const steps = (pointer: JsonValue | undefined): string[] =>
  String(pointer)
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));

function place(list: readonly JsonValue[], step: string, max: number): number {
  if (!/^(0|[1-9]\d*)$/.test(step) || Number(step) > max)
    throw new Error(`${step} of ${list.length}`);
  return Number(step);
}

function look(doc: JsonValue, [step, ...rest]: string[]): JsonValue {
  if (step === undefined) return doc;
  if (Array.isArray(doc)) return look(doc[place(doc, step, doc.length - 1)] ?? null, rest);
  const found = isObject(doc) ? new Map(Object.entries(doc)).get(step) : undefined;
  if (found === undefined) throw new Error(step);
  return look(found, rest);
}

/** Beyond the RFC, as Kubernetes has it: a key that is not there tests as null. */
function tested(doc: JsonValue, path: string[]): JsonValue {
  const parent = look(doc, path.slice(0, -1));
  const last = path.at(-1) ?? '';
  return isObject(parent) && !Object.hasOwn(parent, last) ? null : look(doc, path);
}

/** Rebuilds the container that the path ends in. */
function rebuild(
  doc: JsonValue,
  path: readonly string[],
  change: (container: JsonValue, last: string) => JsonValue,
): JsonValue {
  const [step = '', ...rest] = path;
  if (rest.length === 0) return change(doc, step);
  return put(doc, [step], rebuild(look(doc, [step]), rest, change));
}

function put(doc: JsonValue, path: readonly string[], value: JsonValue): JsonValue {
  return rebuild(doc, path, (container, last) =>
    Array.isArray(container)
      ? container.map((item, i) => (i === Number(last) ? value : item))
      : Object.fromEntries(new Map(Object.entries(container ?? {})).set(last, value)),
  );
}

function insert(doc: JsonValue, path: readonly string[], value: JsonValue): JsonValue {
  if (path.length === 0) return value;
  return rebuild(doc, path, (container, last) => {
    if (Array.isArray(container)) {
      const at = last === '-' ? container.length : place(container, last, container.length);
      return [...container.slice(0, at), value, ...container.slice(at)];
    }
    if (!isObject(container)) throw new Error(last);
    return put(container, [last], value);
  });
}

function cut(doc: JsonValue, path: readonly string[]): JsonValue {
  if (path.length === 0) throw new Error('the whole document');
  return rebuild(doc, path, (container, last) => {
    look(container, [last]);
    if (Array.isArray(container)) return container.filter((_, i) => i !== Number(last));
    return Object.fromEntries(Object.entries(container ?? {}).filter(([key]) => key !== last));
  });
}

t.test('JSON patches do what the model does', async () => {
  const step = fc.constantFrom('a', 'b', 'c', '~0~1', '0', '1', '2', '-', '01');
  const pointer = fc
    .array(step, { maxLength: 3 })
    .map((all) => all.map((one) => `/${one}`).join(''));
  const operation = fc.record({
    op: fc.constantFrom('add', 'add', 'remove', 'replace', 'test', 'copy', 'move'),
    path: pointer.filter((path) => path !== ''),
    from: pointer,
    value: document.any,
  }) as fc.Arbitrary<JsonObject>;
  let done = 0;
  fc.assert(
    fc.property(document.map, fc.array(operation, { maxLength: 3 }), (doc, patch) => {
      const wanted = outcome(() => patch.reduce<JsonValue>(operate, doc));
      if (wanted !== 'refused') done += 1;
      return same(
        outcome(() => jsonPatch(doc, patch)),
        wanted,
        { doc, patch },
      );
    }),
    RUNS,
  );
  t.ok(done > RUNS.numRuns / 10, `${done} patches fit`);
});

// --- selectors -------------------------------------------------------------------------------------------------------

interface Term {
  readonly key: string;
  readonly operator: '=' | '==' | '!=' | 'in' | 'notin' | 'exists' | '!' | '>' | '<';
  readonly values: readonly string[];
}

/** "Labels and Selectors" of Kubernetes' documentation, one sentence each. */
function holds({ key, operator, values }: Term, have: Labels): boolean {
  const value = have[key];
  const [first = ''] = values;
  const isNumber = value !== undefined && /^\d+$/.test(value);
  if (operator === 'exists') return value !== undefined;
  if (operator === '!') return value === undefined;
  if (operator === '=' || operator === '==') return value === first;
  if (operator === '!=') return value !== first;
  if (operator === 'in') return value !== undefined && values.includes(value);
  if (operator === 'notin') return value === undefined || !values.includes(value);
  return (
    isNumber && (operator === '>' ? Number(value) > Number(first) : Number(value) < Number(first))
  );
}

const labelKey = fc.constantFrom('app', 'tier', 'example.com/app', 'a.b_c-d');
const labelValue = fc.constantFrom('', 'web', 'db', 'in', 'notin', '5', '12', 'x.y_z-1');
const someLabels = fc.dictionary(labelKey, labelValue, { noNullPrototype: true });
const term: fc.Arbitrary<Term> = fc
  .tuple(
    labelKey,
    fc.constantFrom<Term['operator']>('=', '==', '!=', 'in', 'notin', 'exists', '!', '>', '<'),
    fc.array(labelValue, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('0', '7', '12'),
  )
  .map(([key, operator, values, bound]) => ({
    key,
    operator,
    values: operator === '>' || operator === '<' ? [bound] : values,
  }));

/** As people write it, with blanks where they are allowed. */
function written(terms: readonly Term[], blank: string): string {
  const texts = terms.map(({ key, operator, values }) => {
    const [first = ''] = values;
    if (operator === 'exists') return key;
    if (operator === '!') return `!${blank}${key}`;
    if (operator !== 'in' && operator !== 'notin') return [key, operator, first].join(blank);
    return `${key} ${operator} ${blank}(${values.join(`${blank},${blank}`)})`;
  });
  return `${blank}${texts.join(`${blank},${blank}`)}${blank}`;
}

t.test('label selectors of queries match what the model matches', async () => {
  const blank = fc.constantFrom('', ' ', '  ');
  fc.assert(
    fc.property(fc.array(term, { maxLength: 4 }), someLabels, blank, (terms, have, space) => {
      const text = written(terms, space);
      const got = outcome(() => matchesRequirements(parseLabelSelector(text), have));
      return same(
        got,
        terms.every((one) => holds(one, have)),
        { text, have },
      );
    }),
    RUNS,
  );
  const noise = fc.array(fc.constantFrom('a', ' ', ',', '(', ')', '!', '=', 'in', '<', '-', '/'));
  fc.assert(
    fc.property(noise, (parts) => {
      try {
        matchesRequirements(parseLabelSelector(parts.join('')), {});
        return true;
      } catch (error) {
        return error instanceof ApiError && error.code === 400;
      }
    }),
    RUNS,
  );
});

t.test('label selectors of manifests match what the model matches', async () => {
  const names = { In: 'in', NotIn: 'notin', Exists: 'exists', DoesNotExist: '!' } as const;
  const expression = fc
    .tuple(labelKey, fc.constantFrom(...(['In', 'NotIn', 'Exists', 'DoesNotExist'] as const)))
    .chain(([key, operator]) => {
      const has = operator === 'In' || operator === 'NotIn';
      const values = fc.array(labelValue, { minLength: 1, maxLength: 3 });
      return values.map((all) => ({ key, operator, ...(has ? { values: all } : {}) }));
    });
  const selector = fc.record(
    { matchLabels: someLabels, matchExpressions: fc.array(expression, { maxLength: 3 }) },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(selector, someLabels, (one, have) => {
      const equal = Object.entries(one.matchLabels ?? {}).map(
        ([key, value]): Term => ({ key, operator: '=', values: [value] }),
      );
      const set = (one.matchExpressions ?? []).map(
        ({ key, operator, values = [] }): Term => ({ key, operator: names[operator], values }),
      );
      const wanted = [...equal, ...set].every((each) => holds(each, have));
      return same(matchesLabelSelector(one as LabelSelector, have), wanted, { one, have });
    }),
    RUNS,
  );
});

t.test('field selectors say what was written, whatever the value', async () => {
  const value = fc.string({ unit: fc.constantFrom('a', '=', ',', '\\', '!', ' '), maxLength: 5 });
  const path = fc.constantFrom('metadata.name', 'spec.nodeName', 'status.phase');
  const terms = fc.array(fc.record({ path, operator: fc.constantFrom('=', '==', '!='), value }));
  fc.assert(
    fc.property(terms, (all) => {
      const texts = all.map((one) => {
        const escaped = one.value.replace(/[\\,=]/g, (letter) => `\\${letter}`);
        return `${one.path}${one.operator}${escaped}`;
      });
      const wanted = all.map((one) => ({ ...one, operator: one.operator.replace('==', '=') }));
      const got = outcome(() => parseFieldSelector(texts.join(',')) as unknown as JsonValue);
      return same(got, wanted, texts);
    }),
    RUNS,
  );
});

t.test('lists with both selectors hold what filtering by hand holds', async () => {
  const store = openMemoryStore();
  const registry = await createRegistry({
    store,
    memoryStore: store,
    modules: KIND_MODULES,
    disableAdmissionPlugins: ['ServiceAccount'],
  });
  const client = createLocalClient(registry, { name: 'admin', groups: ['system:masters'] });
  for (const name of ['one', 'two']) {
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
    await client.create(RESOURCES.namespaces, namespace);
  }
  for (let n = 0; n < 24; n += 1) {
    const namespace = n % 2 === 0 ? 'one' : 'two';
    const tier = n % 3 === 0 ? {} : { tier: n % 3 === 1 ? 'web' : 'db' };
    const spec = { restartPolicy: n % 5 === 0 ? 'Never' : 'Always' };
    const object = { ...pod(`pod-${n % 7}-${n}`, spec, { app: `a${n % 4}`, ...tier }) };
    Object.assign(object.metadata, { namespace });
    await client.create(RESOURCES.pods, object);
    if (n % 4 === 0) await client.bind(namespace, object.metadata.name, '', `pi${n % 3}`);
  }
  const { items } = await client.list<Pod>(RESOURCES.pods);
  const fields: Record<string, (one: Pod) => string | undefined> = {
    'metadata.name': (one) => one.metadata?.name,
    'metadata.namespace': (one) => one.metadata?.namespace,
    'spec.nodeName': (one) => one.spec?.nodeName,
    'spec.restartPolicy': (one) => one.spec?.restartPolicy,
    'status.phase': (one) => one.status?.phase,
  };
  const values = ['', 'one', 'two', 'pi0', 'pi1', 'Never', 'Always', 'Pending', 'pod-0-0'];
  const field = fc.record({
    path: fc.constantFrom(...Object.keys(fields)),
    operator: fc.constantFrom('=', '!='),
    value: fc.constantFrom(...values),
  });
  const label: fc.Arbitrary<Term> = fc.record({
    key: fc.constantFrom('app', 'tier'),
    operator: fc.constantFrom<Term['operator']>('=', '!=', 'in', 'notin', 'exists', '!'),
    values: fc.array(fc.constantFrom('a0', 'a1', 'a2', 'web', 'db'), { minLength: 1 }),
  });
  const some = <T>(one: fc.Arbitrary<T>) => fc.array(one, { maxLength: 2 });
  const namespaces = fc.constantFrom('one', 'two', '');
  await fc.assert(
    fc.asyncProperty(namespaces, some(label), some(field), async (namespace, terms, where) => {
      const list = await client.list<Pod>(RESOURCES.pods, {
        ...(namespace === '' ? {} : { namespace }),
        labelSelector: written(terms, ''),
        fieldSelector: where.map((one) => one.path + one.operator + one.value).join(','),
      });
      const wanted = items.filter(
        (one) =>
          (namespace === '' || one.metadata?.namespace === namespace) &&
          terms.every((each) => holds(each, one.metadata?.labels ?? {})) &&
          where.every(
            (each) => ((fields[each.path]?.(one) ?? '') === each.value) === (each.operator === '='),
          ),
      );
      const named = (all: readonly Pod[]) => all.map((one) => one.metadata?.name ?? '');
      return same(named(list.items), named(wanted), { namespace, terms, where });
    }),
    RUNS,
  );
  await store.close();
});
