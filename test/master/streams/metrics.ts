/** Prometheus' metrics: the text, those of the master's API, and the pages of a board, asked through the API. */
import t from 'tap';
import { counter, Distribution, exposition, gauge } from '../../../protocol/prometheus.ts';
import { Exposition } from '../../support/exposition.ts';
import { CONFIG_MAPS, configMap, type Identity } from '../api-fixture.ts';
import { startPlace } from './harness.ts';

const place = await startPlace(async () => 0);
const { api } = place;
t.teardown(() => place.close());
const NODES = '/api/v1/nodes';
await api.call('POST', NODES, { body: { metadata: { name: 'pi4' } } });

async function scrape(path: string): Promise<Exposition> {
  const answer = await api.call('GET', path);
  if (answer.code !== 200) throw new Error(`${path}: ${answer.code} ${answer.text}`);
  if (answer.headers['content-type'] !== 'text/plain; version=0.0.4; charset=utf-8') {
    throw new Error(`${path} is ${answer.headers['content-type']}`);
  }
  return new Exposition(answer.text);
}

t.test('the text survives any label and any help, and histograms add up', async (t) => {
  const value = new Distribution([0.1, 1]);
  for (const seconds of [0.05, 0.1, 0.5, 5]) value.observe(seconds);
  const odd = 'a "quoted\\ word"\nand, {more} = é';
  const text = await exposition([
    gauge('odd', 'help with \\ and\na line', [
      { labels: { a: odd, b: '' }, value: -1.5 },
      { labels: { a: 'x', b: '' }, value: Number.POSITIVE_INFINITY },
    ]),
    counter('none_total', 'without a series', []),
    { name: 'h', help: 'h', type: 'histogram', samples: [{ labels: { a: odd }, value }] },
  ]);
  const read = new Exposition(text);
  t.equal(read.families.get('odd')?.help, 'help with \\ and\na line');
  t.same(read.values('odd', { a: odd }), [-1.5]);
  t.notOk(read.families.has('none_total'), 'no zero is made up');
  t.same(read.values('h_bucket', { a: odd }), [2, 3, 4], 'cumulative, bounds included');
  t.same([...read.values('h_sum'), ...read.values('h_count')], [5.65, 4]);
  await t.rejects(exposition([gauge('twice', 'h', 1), gauge('twice', 'h', 2)]), /twice/);
});

t.test('the strict reader of these tests refuses what is wrong', async (t) => {
  const head = '# HELP a_total h\n# TYPE a_total counter\n';
  t.ok(new Exposition(`${head}a_total{x="1"} 1\n`));
  for (const bad of [
    `${head}a_total 1`,
    `${head}a_total 1\na_total 2\n`,
    `${head}a_total{x="\\q"} 1\n`,
    `${head}a_total{x="1",x="2"} 1\n`,
    `${head}a_total -1\n`,
    `${head}b_total 1\n`,
    head,
    '# TYPE a_total counter\na_total 1\n',
    `${head}a_total 1\n${head}a_total 1\n`,
    '# HELP h h\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
  ]) {
    t.throws(() => new Exposition(bad), bad);
  }
});

t.test('the master counts the requests of its API', async (t) => {
  const made = { verb: 'POST', resource: 'configmaps', code: '201' };
  const timed = { verb: 'POST', resource: 'configmaps' };
  const before = await scrape('/metrics');
  for (const name of ['m1', 'm2', 'm3']) {
    t.equal((await api.call('POST', CONFIG_MAPS, { body: configMap(name, {}) })).code, 201);
  }
  await api.call('POST', CONFIG_MAPS, { body: configMap('m1', {}) });
  await api.call('GET', CONFIG_MAPS);
  await api.call('GET', '/api/v1/nonsense/x/y');
  await api.call('GET', '/apis/made.up/v7/things');
  const after = await scrape('/metrics');
  const total = 'apiserver_request_total';
  t.equal(after.sum(total, made) - before.sum(total, made), 3);
  t.same(after.values(total, { ...timed, code: '409' }), [1]);
  t.same(after.values(total, { verb: 'LIST', resource: 'configmaps', scope: 'namespace' }), [1]);
  const duration = 'apiserver_request_duration_seconds_count';
  t.equal(after.sum(duration, timed) - before.sum(duration, timed), 4, 'the refused one, too');
  const names = new Set(after.families.get(total)?.samples.map(({ labels }) => labels.resource));
  t.notOk(names.has('nonsense') || names.has('things'), 'what does not exist makes no series');
  t.equal(after.sum(total, { verb: 'GET', resource: '', code: '404' }) >= 1, true);
  t.same(after.values('apiserver_current_inflight_requests', { request_kind: 'mutating' }), [0]);
  t.ok(after.sum('process_resident_memory_bytes') > 1e6);
  t.ok(after.sum('process_cpu_seconds_total') >= before.sum('process_cpu_seconds_total'));
});

t.test('a board tells its metrics as a kubelet does, through the API', async (t) => {
  const own = await scrape(`${NODES}/pi4/proxy/metrics`);
  t.same(own.values('kubelet_running_pods'), [1]);
  t.same(own.values('kubelet_running_containers', { container_state: 'running' }), [1]);
  t.same(own.values('kubelet_node_name', { node: 'pi4' }), [1]);
  t.same(own.values('pier_proxy_connections'), [3]);
  t.same(own.values('pier_streams'), [1], 'the one that this comes by');
  t.ok(own.sum('pier_board_memory_total_bytes') > 1e6);
  t.ok(own.sum('process_resident_memory_bytes') > 1e6);

  const resource = await scrape(`${NODES}/pi4/proxy/metrics/resource`);
  const container = { container: 'c', namespace: 'default', pod: 'web' };
  t.same(resource.values('container_cpu_usage_seconds_total', container), [0.001]);
  t.same(resource.values('container_memory_working_set_bytes', container), [1_048_576]);
  t.same(resource.values('pod_memory_working_set_bytes', { pod: 'web' }), [1_048_576]);
  t.same(resource.values('resource_scrape_error'), [0]);
  const later = await scrape(`${NODES}/pi4/proxy/metrics/resource`);
  const cpu = 'node_cpu_usage_seconds_total';
  t.ok(later.sum(cpu) >= resource.sum(cpu) && resource.sum(cpu) > 0, 'CPU time only grows');

  const cadvisor = await scrape(`${NODES}/pi4/proxy/metrics/cadvisor`);
  t.ok(cadvisor.sum('machine_memory_bytes') > 1e6);
  const named = { ...container, image: 'busybox', name: place.containerId };
  t.same(cadvisor.values('container_memory_working_set_bytes', named), [1_048_576]);
});

t.test('an engine that does not answer shows in the page', async (t) => {
  place.runtime.failNext('stats', new Error('the engine is away'));
  const page = await scrape(`${NODES}/pi4/proxy/metrics/resource`);
  t.same(page.values('resource_scrape_error'), [1]);
  t.ok(page.sum('node_memory_working_set_bytes') > 0, 'the board itself is still told');
});

t.test('what a board does not serve, and what is not there, is refused in words', async (t) => {
  const code = async (path: string, method = 'GET') => {
    const { code, json } = await api.call(method, `${NODES}/${path}`);
    return `${code} ${json.message}`;
  };
  t.match(await code('pi4/proxy'), /^404 a board serves \/metrics, .* and not "\/"/);
  t.match(await code('pi4/proxy/pods'), /^404 a board serves .* and not "\/pods"/);
  t.match(await code('pi4/proxy/metrics', 'POST'), /^405 /);
  t.match(await code('nobody/proxy/metrics'), /^404 nodes "nobody" not found/);
  place.connected = false;
  t.match(await code('pi4/proxy/metrics'), /^503 board "pi4" is not connected/);
  place.connected = true;
});

t.test('who may read which', async (t) => {
  const role = async (name: string, rules: object[]): Promise<Identity> => {
    const path = '/apis/rbac.authorization.k8s.io/v1';
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name };
    const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name }];
    await api.call('POST', `${path}/clusterroles`, { body: { metadata: { name }, rules } });
    const binding = { metadata: { name }, roleRef, subjects };
    await api.call('POST', `${path}/clusterrolebindings`, { body: binding });
    return api.identity(name, []);
  };
  const nodes = (resource: string) => [{ apiGroups: [''], resources: [resource], verbs: ['get'] }];
  const users = {
    nobody: await api.identity('nobody', []),
    monitoring: await api.identity('prometheus', ['system:monitoring']),
    proxy: await role('proxier', nodes('nodes/proxy')),
    metrics: await role('measurer', nodes('nodes/metrics')),
    path: await role('scraper', [{ nonResourceURLs: ['/metrics'], verbs: ['get'] }]),
  };
  const board = `${NODES}/pi4/proxy/metrics/resource`;
  for (const [as, master, node] of [
    ['nobody', 403, 403],
    ['monitoring', 200, 403],
    ['proxy', 403, 200],
    ['metrics', 403, 200],
    ['path', 200, 403],
  ] as const) {
    t.equal((await api.call('GET', '/metrics', { as: users[as] })).code, master, `${as}: master`);
    t.equal((await api.call('GET', board, { as: users[as] })).code, node, `${as}: board`);
  }
  const { json } = await api.call('GET', board, { as: users.nobody });
  t.match(json.message, /cannot get resource "nodes\/proxy" in API group "" at the cluster scope/);
});
