/** Which Ingress rule a request meets, which headers go on, and what is listened for: the pure parts, as tables. */
import fc from 'fast-check';
import t from 'tap';
import {
  hasBody,
  hasUnknownCoding,
  requestHeaders,
  responseHeaders,
} from '../../../agent/ingress/headers.ts';
import { withIngresses } from '../../../agent/ingress/listeners.ts';
import { PortProblems } from '../../../agent/ingress/port-problems.ts';
import { normalPath, requestTarget } from '../../../agent/ingress/request-target.ts';
import { findRoute, routingTable } from '../../../agent/ingress/routing-table.ts';
import { serviceTable } from '../../../agent/proxy/service-table.ts';
import type { DesiredIngress } from '../../../protocol/ingress.ts';
import type { DesiredService } from '../../../protocol/messages.ts';

type Paths = DesiredIngress['rules'][number]['paths'];

export function ingress(more: Partial<DesiredIngress> = {}): DesiredIngress {
  return { v: 1, namespace: 'default', name: 'web', digest: 'd', rules: [], tls: [], ...more };
}

/** One pod at `ip`, port 8080. */
export function service(name: string, more: Partial<DesiredService> = {}): DesiredService {
  return {
    v: 1,
    namespace: 'default',
    name,
    digest: 'd',
    type: 'ClusterIP',
    clusterIp: '10.43.0.9',
    ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
    endpoints: [{ ip: '10.42.0.2', ready: true, terminating: false, ports: { http: 8080 } }],
    internalTrafficLocal: false,
    externalTrafficLocal: false,
    ...more,
  };
}

/** Each path leads to a service that is called as the path is written. */
function paths(type: 'Exact' | 'Prefix', ...list: readonly string[]): Paths {
  return list.map((path) => ({ path, type, backend: { service: `${type} ${path}`, port: 80 } }));
}

/** The name of the service that a request would reach; undefined: none. */
function reached(ingresses: readonly DesiredIngress[], host: string, path: string) {
  const found = findRoute(routingTable(ingresses, [], 'a'), host, normalPath(path));
  return /^service default\/(.*) is not there$/.exec(found?.emptyReason ?? '')?.[1];
}

/** The table "Examples" of Kubernetes' page on Ingress: kind of path, its paths, the request, and which of the paths it meets. */
const EXAMPLES: readonly (readonly [Paths, string, string | undefined])[] = [
  [paths('Prefix', '/'), '/any/path', 'Prefix /'],
  [paths('Exact', '/foo'), '/foo', 'Exact /foo'],
  [paths('Exact', '/foo'), '/bar', undefined],
  [paths('Exact', '/foo'), '/foo/', undefined],
  [paths('Exact', '/foo/'), '/foo', undefined],
  [paths('Prefix', '/foo'), '/foo', 'Prefix /foo'],
  [paths('Prefix', '/foo'), '/foo/', 'Prefix /foo'],
  [paths('Prefix', '/foo/'), '/foo', 'Prefix /foo/'],
  [paths('Prefix', '/foo/'), '/foo/', 'Prefix /foo/'],
  [paths('Prefix', '/aaa/bb'), '/aaa/bbb', undefined],
  [paths('Prefix', '/aaa/bbb'), '/aaa/bbb', 'Prefix /aaa/bbb'],
  [paths('Prefix', '/aaa/bbb/'), '/aaa/bbb', 'Prefix /aaa/bbb/'],
  [paths('Prefix', '/aaa/bbb'), '/aaa/bbb/', 'Prefix /aaa/bbb'],
  [paths('Prefix', '/aaa/bbb'), '/aaa/bbb/ccc', 'Prefix /aaa/bbb'],
  [paths('Prefix', '/aaa/bbb'), '/aaa/bbbxyz', undefined],
  [paths('Prefix', '/', '/aaa'), '/aaa/ccc', 'Prefix /aaa'],
  [paths('Prefix', '/', '/aaa', '/aaa/bbb'), '/aaa/bbb', 'Prefix /aaa/bbb'],
  [paths('Prefix', '/', '/aaa', '/aaa/bbb'), '/ccc', 'Prefix /'],
  [paths('Prefix', '/aaa'), '/ccc', undefined],
  [[...paths('Prefix', '/foo'), ...paths('Exact', '/foo')], '/foo', 'Exact /foo'],
  // Beyond the table: the longest path counts, however it is compared.
  [[...paths('Prefix', '/foo/bar'), ...paths('Exact', '/foo')], '/foo/bar', 'Prefix /foo/bar'],
  [paths('Prefix', '/Foo'), '/foo', undefined],
  [paths('Prefix', '/admin'), '/x/../admin', 'Prefix /admin'],
  [paths('Prefix', '/admin'), '/%61dmin/', 'Prefix /admin'],
  [paths('Prefix', '/admin'), '/admin%2Fx', undefined],
];

t.test('paths are compared as in the table of Kubernetes’ documentation', async (t) => {
  for (const [list, path, expected] of EXAMPLES) {
    const one = ingress({ rules: [{ host: '', paths: list }] });
    const words = list.map(({ type, path }) => `${type} ${path}`).join(', ');
    t.equal(reached([one], 'a.example', path), expected, `${words}: ${path}`);
  }
});

t.test('hosts: a name, a wildcard for one label more, all', async (t) => {
  const rule = (host: string, ...list: readonly string[]) => ({
    host,
    paths: list.map((path) => ({
      path,
      type: 'Prefix' as const,
      backend: { service: `${host}${path}`, port: 80 },
    })),
  });
  const wild = ingress({ rules: [rule('*.foo.com', '/')] });
  // The table "Hostname wildcards" of the same page.
  t.equal(reached([wild], 'bar.foo.com', '/'), '*.foo.com/');
  t.equal(reached([wild], 'baz.bar.foo.com', '/'), undefined);
  t.equal(reached([wild], 'foo.com', '/'), undefined);
  const all = ingress({
    rules: [rule('', '/'), rule('*.foo.com', '/', '/w'), rule('bar.foo.com', '/b')],
  });
  t.equal(reached([all], 'bar.foo.com', '/b'), 'bar.foo.com/b', 'a name before a wildcard');
  t.equal(
    reached([all], 'bar.foo.com', '/w'),
    '*.foo.com/w',
    'what a name has no path for goes on',
  );
  t.equal(reached([all], 'other.example', '/w'), '/', 'rules without a host are for all');
  t.equal(reached([all], '', '/'), '/');
});

t.test('default backends, and two Ingresses that say the same place', async (t) => {
  const backend = (name: string) => ({ service: name, port: 80 });
  const at = (host: string, path: string, name: string) => ({
    host,
    paths: [{ path, type: 'Exact' as const, backend: backend(name) }],
  });
  const a = ingress({ name: 'a', rules: [at('x', '/', 'a')], defaultBackend: backend('da') });
  const b = ingress({ name: 'b', rules: [at('x', '/', 'b'), at('y', '/', 'by')] });
  const c = ingress({ name: 'c', rules: [at('z', '/', 'c')], defaultBackend: backend('dc') });
  const ingresses = [c, b, a];
  t.equal(reached(ingresses, 'x', '/'), 'a', 'the first by name');
  t.equal(reached(ingresses, 'x', '/no'), 'da');
  t.equal(reached(ingresses, 'z', '/no'), 'dc', 'the one of the Ingress that has the host');
  t.equal(reached(ingresses, 'y', '/no'), 'da', 'else the first');
  t.match(routingTable(ingresses, [], 'a').problems, [
    {
      service: { namespace: 'default', name: 'b', isIngress: true },
      reason: 'RouteConflict',
      message: 'Exact x/ is served by Ingress default/a already: that one counts',
    },
  ]);
  const d = ingress({ name: 'd', defaultBackend: backend('dd') });
  t.match(routingTable([a, d], [], 'a').problems, [{ service: { name: 'd' } }]);
  t.equal(reached([b], 'none', '/'), undefined);
  t.equal(
    reached(
      [ingress({ rules: [{ host: 'h', paths: [] }], defaultBackend: backend('dh') })],
      'h',
      '/',
    ),
    'dh',
  );
});

t.test('backends are the endpoints of a service’s port, by number or by name', async (t) => {
  const target = (one: DesiredService, port: number | string) =>
    findRoute(
      routingTable([ingress({ defaultBackend: { service: 'web', port } })], [one], 'a'),
      'h',
      '/',
    );
  const endpoint = { ready: true, terminating: false, ports: { http: 8080 } };
  const endpoints = [
    { ...endpoint, ip: '10.42.0.2', node: 'a' },
    { ...endpoint, ip: '10.42.1.2', node: 'b' },
    { ...endpoint, ip: '10.42.1.3', ready: false },
  ];
  const both = service('web', { endpoints, externalTrafficLocal: true });
  const ips = (one: ReturnType<typeof target>) => one?.backends.map(({ ip }) => ip);
  t.same(ips(target(both, 80)), ['10.42.0.2', '10.42.1.2'], 'the board is a client in the cluster');
  t.same(ips(target(both, 'http')), ['10.42.0.2', '10.42.1.2']);
  t.same(ips(target({ ...both, internalTrafficLocal: true }, 80)), ['10.42.0.2']);
  t.same(ips(target({ ...both, clusterIp: 'None' }, 80)), ['10.42.0.2', '10.42.1.2'], 'headless');
  const sticky = target({ ...both, sessionAffinitySeconds: 60, proxyProtocol: 'v2' }, 80);
  t.match(sticky, { affinity: { key: 'default/web/http', seconds: 60 }, proxyProtocol: 'v2' });
  const reason = (one: DesiredService, port: number | string) => target(one, port)?.emptyReason;
  t.equal(reason(both, 81), 'service default/web has no port 81');
  t.equal(reason({ ...both, endpoints: [] }, 80), 'service default/web has no pod that is ready');
  t.equal(reason(service('other'), 80), 'service default/web is not there');
  t.match(reason(service('web', { type: 'ExternalName' }), 80), /is an ExternalName/);
  const none = ingress({ rules: [{ host: '', paths: [{ path: '/', type: 'Prefix' }] }] });
  t.match(findRoute(routingTable([none], [], 'a'), 'h', '/'), {
    emptyReason: 'the backend of this path is no Service',
  });
});

t.test('which host and path a request is for', async (t) => {
  const of = (url: string, ...hosts: readonly string[]) =>
    requestTarget(
      url,
      hosts.flatMap((host) => ['Host', host]),
    );
  t.match(of('/a/b?c=/../d', 'Web.Example:8080'), {
    host: 'web.example',
    authority: 'Web.Example:8080',
    path: '/a/b',
    rest: '/a/b?c=/../d',
  });
  t.match(of('http://other.example?q', 'web.example'), {
    host: 'other.example',
    path: '/',
    rest: '/?q',
  });
  t.match(of('HTTPS://a.b:1/x', 'web.example'), { authority: 'a.b:1', rest: '/x' });
  t.match(of('/', 'web.example.'), { host: 'web.example' });
  t.match(of('/'), { host: '' });
  t.match(of('/', '[::1]:80'), { host: '[::1]' });
  for (const [url, ...hosts] of [
    ['/', 'a', 'a'],
    ['*', 'a'],
    ['a', 'a'],
    ['/#x', 'a'],
    ['/', 'a b'],
    ['/', 'user@a'],
    ['/', 'a/b'],
    ['http://user@a/', 'a'],
    ['ftp://a/', 'a'],
    ['/', 'a:b'],
    ['/', 'a,b'],
    ['/', 'a'.repeat(300)],
  ]) {
    t.equal(of(url ?? '', ...hosts), undefined, `${url} at ${hosts.join(' ')}`);
  }
  t.equal(normalPath('/a/./b/../c/.'), '/a/c/');
  t.equal(normalPath('/../..'), '/');
  t.equal(normalPath('/%2e%2E/%7Ea%zz%2f'), '/~a%zz%2f');
  fc.assert(
    fc.property(fc.webPath(), (path) => {
      const once = normalPath(`/${path}`);
      return once.startsWith('/') && !/\/\.\.?(\/|$)/.test(once);
    }),
  );
});

t.test('what of a header goes on', async (t) => {
  const facts = { ip: '192.0.2.7', authority: 'a.example:80', scheme: 'https' as const };
  const raw = [
    ...[
      'host',
      'a.example:80',
      'Connection',
      'close, X-Gone , Content-Length, Host',
      'X-Gone',
      '1',
    ],
    ...[
      'Keep-Alive',
      '5',
      'TE',
      'trailers',
      'Trailer',
      'x',
      'Upgrade',
      'h2c',
      'HTTP2-Settings',
      'x',
    ],
    ...[
      'Cookie',
      'a=1',
      'cookie',
      'b=2',
      'X-Forwarded-For',
      '10.0.0.1',
      'x_forwarded_proto',
      'http',
    ],
    ...['Forwarded', 'for=1', 'X-Real-Ip', '1', 'Content-Length', '3', 'Proxy-Connection', 'x'],
  ];
  const own = [
    ...['X-Forwarded-For', '192.0.2.7', 'X-Forwarded-Host', 'a.example:80'],
    ...['X-Forwarded-Proto', 'https', 'X-Real-IP', '192.0.2.7'],
  ];
  const kept = ['Host', 'a.example:80', 'Cookie', 'a=1', 'cookie', 'b=2'];
  t.same(requestHeaders(raw, facts), [...kept, 'Content-Length', '3', ...own]);
  const chunked = [...raw, 'Transfer-Encoding', 'Chunked'];
  const framed = [...kept, ...own, 'Transfer-Encoding', 'chunked'];
  t.same(requestHeaders(chunked, facts), framed, 'one length only');
  t.same(requestHeaders([], facts, 'websocket').slice(-4), [
    ...['Connection', 'Upgrade', 'Upgrade', 'websocket'],
  ]);
  const answer = ['Set-Cookie', 'a', 'Set-Cookie', 'b', 'Connection', 'x-y', 'X-Y', '1'];
  t.same(responseHeaders(answer), ['Set-Cookie', 'a', 'Set-Cookie', 'b']);
  t.same(responseHeaders(['Content-Length', '1', 'Transfer-Encoding', 'chunked']), []);
  t.notOk(hasBody(['Content-Length', '0']));
  t.ok(hasBody(['content-length', '7']));
  t.ok(hasBody(['Transfer-Encoding', 'chunked']));
  t.notOk(hasUnknownCoding(['Transfer-Encoding', ' chunked ']));
  t.ok(hasUnknownCoding(['Transfer-Encoding', 'gzip, chunked']));
  t.ok(hasUnknownCoding(['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']));
});

const BOARD = { node: 'a', address: '192.0.2.1', addresses: ['127.0.0.1', '192.0.2.1'] };

t.test('ports 80 and 443 are open while there is something to serve', async (t) => {
  const table = serviceTable([service('web')], BOARD);
  const keys = (...list: readonly DesiredIngress[]) => [
    ...withIngresses(table, list, BOARD).listeners.keys(),
  ];
  t.same(keys(), ['10.43.0.9:80']);
  t.same(keys(ingress()), ['10.43.0.9:80', '127.0.0.1:80', '192.0.2.1:80'], 'beside the services');
  const secure = ingress({ tls: [{ hosts: [], secret: 's' }] });
  t.same(keys(secure).slice(3), ['127.0.0.1:443', '192.0.2.1:443']);
  const taken = serviceTable([service('web', { loadBalancer: { sourceRanges: [] } })], BOARD);
  const { listeners, problems } = withIngresses(taken, [ingress(), ingress({ name: 'b' })], BOARD);
  t.same([...listeners.keys()], ['10.43.0.9:80', '192.0.2.1:80']);
  t.match(problems, [
    {
      service: { name: 'web', isIngress: true },
      reason: 'PortConflict',
      message:
        'port 80 of this board is held by service default/web: give it another port, or leave Ingresses to ' +
        'other boards (kubectl label node BOARD pier.local/ingress=false)',
    },
    { service: { name: 'b' } },
  ]);
});

t.test('a service with an address of its own takes only that one from Ingresses', async (t) => {
  const addresses = ['127.0.0.1', '192.0.2.1', '192.0.2.240'];
  const board = { ...BOARD, addresses };
  const pool = { sourceRanges: [], address: '192.0.2.240' };
  for (const more of [{ loadBalancer: pool }, { externalIps: ['192.0.2.240'] }]) {
    const table = serviceTable([service('web', more)], board);
    const { listeners, problems } = withIngresses(table, [ingress()], board);
    t.same(problems, []);
    t.equal(listeners.get('192.0.2.240:80')?.service.name, 'web');
    t.same(
      ['127.0.0.1', '192.0.2.1'].map((ip) => listeners.get(`${ip}:80`)?.web),
      ['http', 'http'],
    );
  }
  const other = serviceTable([service('web')], board);
  const served = withIngresses(other, [ingress()], board).listeners.get('192.0.2.240:80');
  t.equal(served?.web, 'http', 'where no service has the port, Ingresses are served there too');
});

t.test('what befalls a port is told of every Ingress, once', async (t) => {
  const told = new PortProblems();
  const service = { namespace: '', name: '', isIngress: true } as const;
  const problem = { service, reason: 'PortConflict', message: 'nginx (pid 1)' } as const;
  const names = (...list: readonly string[]) =>
    told
      .of(
        problem,
        list.map((name) => ingress({ name })),
      )
      .map(({ service: { name } }) => name);
  t.same(names('a', 'b'), ['a', 'b']);
  t.same(names('a', 'b', 'c'), ['c']);
  told.keepOnly([ingress({ name: 'b' })]);
  t.same(names('a', 'b'), ['a'], 'one that was away is told again');
});
