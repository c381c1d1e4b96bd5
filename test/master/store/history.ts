/** The check for linearizability (test/sim/history.ts) must call a good history good and find what is planted in it. */
import t from 'tap';
import { type Call, type Change, faultsOf, type History } from '../../sim/history.ts';

const put = (key: string, tag: string, revision: number): Change => ({
  type: 'put',
  key,
  tag,
  revision,
});

/** One call after the other, so that the time between leaves no excuse; the last one was cut off and happened. */
const calls: readonly Call[] = (
  [
    { type: 'put', key: 'a', tag: 't1', base: 0, outcome: { revision: 1 } },
    { type: 'put', key: 'a', tag: 't2', base: 1, outcome: { revision: 2 } },
    { type: 'get', key: 'a', seen: { tag: 't2', revision: 2 } },
    { type: 'list', revision: 2, seen: new Map([['a', { tag: 't2', revision: 2 }]]) },
    { type: 'delete', key: 'a', base: 2, outcome: 'done' },
    { type: 'put', key: 'a', tag: 't3', base: 2, outcome: 'refused' },
    { type: 'delete', key: 'a', base: 2, outcome: 'refused' },
    { type: 'get', key: 'a', seen: undefined },
    { type: 'put', key: 'b', tag: 't4', base: 0, outcome: { revision: 4 } },
    { type: 'put', key: 'b', tag: 't5', base: undefined, outcome: { revision: 5 } },
    { type: 'put', key: 'b', tag: 't6', base: 5, outcome: 'unknown' },
  ] as const
).map((call, at) => ({
  ...call,
  client: 'c',
  startMs: at * 2,
  ...(call.type === 'put' && call.outcome === 'unknown' ? {} : { endMs: at * 2 + 1 }),
}));

const changes: readonly Change[] = [
  put('a', 't1', 1),
  put('a', 't2', 2),
  { type: 'delete', key: 'a', tag: 't2', revision: 3 },
  put('b', 't4', 4),
  put('b', 't5', 5),
  put('b', 't6', 6),
];
const watches = ['w1', 'w2'].map((name) => ({ name, after: 0, upTo: 6, changes }));
const good: History = { calls, watches };

const watched = (list: readonly Change[]): History => ({
  calls,
  watches: watches.map((watch) => ({ ...watch, changes: list })),
});
const firstWatch = (list: readonly Change[]): History => ({
  calls,
  watches: watches.map((watch, at) => (at === 0 ? { ...watch, changes: list } : watch)),
});
const called = (at: number, change: object): History => ({
  calls: calls.map((call, number) => (number === at ? ({ ...call, ...change } as Call) : call)),
  watches,
});

const planted: readonly [name: string, history: History, fault: RegExp][] = [
  ['an acknowledged write is lost', watched(changes.toSpliced(1, 1)), /t2 was acknowledged and no/],
  ['an acknowledged deletion is lost', watched(changes.toSpliced(2, 1)), /deleted and no watch/],
  ['a watch has a gap', firstWatch(changes.toSpliced(3, 1)), /w1 misses put b t4 @4/],
  ['a watch ends too early', firstWatch(changes.slice(0, -1)), /w1 misses put b t6 @6/],
  ['a watch delivers twice', firstWatch([...changes, put('b', 't6', 6)]), /w1 delivers .* after/],
  ['a watch goes back', firstWatch(changes.toSpliced(1, 0, put('b', 't4', 4))), /after revision 4/],
  ['a revision is used twice', watched([...changes, put('c', 't1', 6)]), /revision 6 is two/],
  [
    'a read is stale',
    called(2, { seen: { tag: 't1', revision: 1 } }),
    /a was t1@1, which it is at/,
  ],
  ['a read misses what is there', called(2, { seen: undefined }), /a is deleted before 3 was seen/],
  ['a read shows what is deleted', called(7, { seen: { tag: 't2', revision: 2 } }), /a was t2@2/],
  [
    'a read mixes value and revision',
    called(2, { seen: { tag: 't1', revision: 2 } }),
    /a was t1@2/,
  ],
  ['a list is stale', called(3, { revision: 1 }), /a list of revision 1, after 2/],
  ['a list leaves an object out', called(3, { seen: new Map() }), /has a as absent/],
  ['a write goes back in time', called(8, { startMs: 40, endMs: 41 }), /t4 is 4, after 5 was seen/],
  ['an answer names another revision', called(1, { outcome: { revision: 9 } }), /as 9 and is 2/],
  ['a refused write is there', called(1, { outcome: 'refused' }), /t2 was refused, and is there/],
  ['a refusal is wrong', called(5, { base: 0 }), /t3 was refused, which is right at no place/],
  ['a condition was ignored', called(1, { base: 7 }), /t2 at 2 replaced t1@1/],
  ['a deletion is refused wrongly', called(6, { base: 0 }), /refused, right at no place/],
  [
    'two are told that they deleted it',
    called(6, { outcome: 'done' }),
    /two clients were told that they deleted a@2/,
  ],
  ['a value nobody wrote', watched([...changes, put('b', 'x', 7)]), /holds x at 7, which nobody/],
];

t.test('the check for linearizability', (t) => {
  t.same(faultsOf(good), [], 'calls a good history good');
  for (const [name, history, fault] of planted) {
    t.match(faultsOf(history).join('; '), fault, name);
  }
  const together = calls.map((call) => ({ ...call, startMs: 0, endMs: 100 }));
  const reversed: History = { calls: together.toReversed(), watches };
  t.same(faultsOf(reversed), [], 'excuses any order of calls that overlap');
  t.end();
});
