/** `pier why`: over the real API server, and the lines that people read. */
import t from 'tap';
import { whyLines } from '../../../cli/commands/why.ts';
import { RESOURCES } from '../../../master/api/client.ts';
import { whyHandler } from '../../../master/commands/why-route.ts';
import { compilePod } from '../../../master/scheduler/pod-info.ts';
import { explain } from '../../../master/scheduler/schedule.ts';
import type { Pod } from '../../../protocol/kinds/types.ts';
import { WHY_PATH } from '../../../protocol/why.ts';
import { startApi } from '../api-fixture.ts';
import { node, pod, snapshotOf } from './objects.ts';

t.test('why a pod has no board, or has this one', async (t) => {
  const api = await startApi();
  t.teardown(() => api.close());
  const snapshot = snapshotOf([node('big', { cpu: '8' }), node('small', { cpu: '1' })]);
  const scheduler = {
    explain: (one: Pod) => explain(compilePod(one, snapshot.resources), snapshot),
  };
  api.server.onRequest(WHY_PATH, whyHandler({ registry: api.registry, scheduler }));
  const asked = pod('p', { cpu: '2' });
  await api.client.create(RESOURCES.pods, {
    metadata: { name: 'p', namespace: 'default' },
    spec: { containers: asked.spec?.containers ?? [] },
  });
  const path = `${WHY_PATH}default/p`;
  t.match(await api.call('GET', `${WHY_PATH}default/nobody`), { code: 404 });
  t.match(await api.call('GET', `${WHY_PATH}default`), { code: 400 });
  t.match(await api.call('POST', path), { code: 405 });
  const board = await api.identity('system:node:x', ['system:nodes']);
  t.match(await api.call('GET', path, { as: board }), { code: 403 }, 'not a pod of that board');
  const { code, json } = await api.call('GET', path);
  t.equal(code, 200);
  t.match(json, {
    pod: 'default/p',
    node: '',
    boards: [
      { node: 'big', fits: true, total: Number },
      { node: 'small', fits: false, filter: 'NodeResourcesFit', reasons: ['Insufficient cpu'] },
    ],
  });
  const lines = whyLines({ ...json, message: 'it does not fit' });
  t.equal(lines[0], 'default/p has no board: it does not fit');
  t.match(lines[1], /^BOARD +FITS +TOTAL +RESOURCES .* WHY NOT$/);
  t.match(lines[2], /^big +yes +\d+\.\d/);
  t.match(lines[3], /^small +no .*NodeResourcesFit: Insufficient cpu$/);
  t.match(whyLines({ pod: 'd/p', node: 'a', message: '', boards: [] }), [/is on a/, /no board/]);
});
