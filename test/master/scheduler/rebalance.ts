/** Plans that free boards: which board, which moves, and why not the others. */
import t from 'tap';
import { Value } from 'typebox/value';
import { rebalanceLines } from '../../../cli/commands/rebalance.ts';
import { rebalanceHandler } from '../../../master/commands/rebalance-route.ts';
import { compilePod } from '../../../master/scheduler/pod-info.ts';
import { type Mobility, planRebalance } from '../../../master/scheduler/rebalance.ts';
import type { Strategy } from '../../../master/scheduler/scores.ts';
import type { Node, Pod } from '../../../protocol/kinds/types.ts';
import { REBALANCE_PATH, RebalanceAnswer } from '../../../protocol/rebalance.ts';
import { startApi } from '../api-fixture.ts';
import { node, pod, snapshotOf } from './objects.ts';

type Placed = readonly [board: string, name: string, cpu: string, more?: Partial<Pod['spec']>];

/** Pods of 4-core boards; names in "daemon-..." belong to their boards, those in "db-..." stay. */
function plan(nodes: Node[], placed: readonly Placed[], strategy: Strategy = 'pack') {
  const pods = new Map(
    placed.map(([, name, cpu, more]) => [`default/${name}`, pod(name, { cpu }, more)]),
  );
  const snapshot = snapshotOf(
    nodes,
    placed.map(([board, name]): [string, Pod] => [board, pods.get(`default/${name}`) ?? pod(name)]),
  );
  const content = () =>
    snapshot.nodes.map((view) => [view.name, view.requested, [...view.pods.keys()].sort()]);
  const before = JSON.stringify(content());
  const made = planRebalance(snapshot, {
    mobility: ({ name }): Mobility =>
      name.startsWith('db')
        ? { stays: 'data' }
        : name.startsWith('daemon')
          ? 'of the board'
          : 'moves',
    successor: ({ key }) => {
      const one = pods.get(key);
      return one && { pod: compilePod(one, snapshot.resources), strategy };
    },
  });
  const after = JSON.stringify(content());
  if (after !== before) throw new Error(`the snapshot was changed: ${before} -> ${after}`);
  return {
    board: made.board,
    moves: made.moves.map(({ pod: key, to }) => `${key.slice(8)} to ${to}`),
    kept: Object.fromEntries(made.kept.map(({ board, why }) => [board, why])),
  };
}

const ABC = [node('a'), node('b'), node('c')];

t.test('the board with the fewest pods is freed, the largest pod first', async (t) => {
  t.strictSame(
    plan(ABC, [
      ['a', 'a1', '1'],
      ['a', 'a2', '1'],
      ['a', 'a3', '500m'],
      ['b', 'b1', '500m'],
      ['b', 'b2', '1'],
      ['b', 'daemon-b', '100m'],
      ['c', 'daemon-c', '100m'],
    ]),
    { board: 'b', moves: ['b2 to a', 'b1 to a'], kept: {} },
  );
});

t.test('nothing to gain is no plan', async (t) => {
  const nowhere = { board: '', moves: [] };
  t.match(plan(ABC, []), { ...nowhere, kept: {} });
  t.match(plan(ABC, [['a', 'a1', '1']]), {
    ...nowhere,
    kept: { a: /a1 stays: it would go to b, which is free/ },
  });
  t.match(
    plan(ABC, [
      ['a', 'a1', '3'],
      ['b', 'b1', '3'],
    ]),
    { ...nowhere, kept: { a: /it would go to c, which is free/ } },
  );
});

t.test('what a board holds besides decides', async (t) => {
  const placed: Placed[] = [
    ['a', 'a1', '1'],
    ['a', 'db-1', '1'],
    ['b', 'b1', '1'],
    ['b', 'b2', '500m'],
    ['b', 'daemon-b', '100m'],
  ];
  t.strictSame(plan(ABC, placed), {
    board: 'b',
    moves: ['b1 to a', 'b2 to a'],
    kept: { a: 'default/db-1 stays: data' },
  });
  t.match(plan(ABC, [...placed, ['b', 'db-2', '1']]), {
    board: '',
    kept: { a: /db-1/, b: /db-2/ },
  });
  const many = Array.from({ length: 11 }, (_, at): Placed => ['b', `small-${at}`, '10m']);
  t.match(plan(ABC, [['a', 'db-1', '1'], ...many]), {
    board: '',
    kept: { b: /more than 10 pods/ },
  });
});

t.test('rules of pods and boards hold for moves', async (t) => {
  const only = (disk: string) => ({ containers: [], nodeSelector: { disk } });
  const nodes = [node('a'), node('b', { labels: { disk: 'ssd' } }), node('c')];
  const rule: Placed[] = [
    ['a', 'a1', '1'],
    ['a', 'a2', '1'],
    ['b', 'b1', '1', only('ssd')],
  ];
  t.match(plan(nodes, rule), {
    board: 'a',
    moves: ['a1 to b', 'a2 to b'],
    kept: { b: /it fits nowhere else/ },
  });
  const cordoned = [node('a', { unschedulable: true }), node('b'), node('c')];
  t.match(
    plan(cordoned, [
      ['a', 'a1', '1'],
      ['a', 'a2', '1'],
      ['b', 'b1', '1'],
    ]),
    { board: 'a' },
    'never onto a cordoned board',
  );
  t.match(
    plan(
      ABC,
      [
        ['a', 'a1', '1'],
        ['b', 'b1', '1'],
      ],
      'spread',
    ),
    { board: '' },
    'whoever wants pods spread is not packed',
  );
});

t.test('the lines that people read', async (t) => {
  const lines = rebalanceLines({
    mode: 'off',
    goesOn: 'board x is not ready',
    board: 'b',
    moves: [{ pod: 'default/b1', to: 'a' }],
    kept: [{ board: 'a', why: 'default/db-1 stays: its data is on the board' }],
  });
  t.match(
    lines.join('\n'),
    /^Board b would be free after these moves:\nPOD +TO\ndefault\/b1 +a\nBOARD +STAYS IN USE\na +default\/db-1 stays.*\nNothing is moved now: board x is not ready\.\nThe master moves nothing/,
  );
  const none = { mode: 'move', goesOn: '', board: '', moves: [], kept: [] };
  t.match(rebalanceLines(none), ['No board can be freed.', /moves one pod after the other/]);
});

t.test('whoever may list all pods may ask', async (t) => {
  const api = await startApi();
  t.teardown(() => api.close());
  const look = () => ({
    goesOn: '',
    plan: { board: 'b', moves: [{ pod: 'default/p', uid: 'u', to: 'a' }], kept: [] },
  });
  const handler = rebalanceHandler({ registry: api.registry, mode: 'off', look });
  api.server.onRequest(REBALANCE_PATH, handler);
  const board = await api.identity('system:node:x', ['system:nodes']);
  t.match(await api.call('GET', REBALANCE_PATH, { as: board }), { code: 403 });
  t.match(await api.call('POST', REBALANCE_PATH), { code: 405 });
  const { code, json } = await api.call('GET', REBALANCE_PATH);
  t.equal(code, 200);
  t.ok(Value.Check(RebalanceAnswer, json));
  t.match(json, { mode: 'off', board: 'b', moves: [{ pod: 'default/p', to: 'a' }] });
});
