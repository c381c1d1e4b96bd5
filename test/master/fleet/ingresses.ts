/** Which Ingresses are Pier's, which boards serve them, and what boards and status are told. */
import t from 'tap';
import { reconcileIngressStatus } from '../../../master/controllers/ingress-status.ts';
import { desiredIngress } from '../../../master/fleet/desired-ingresses.ts';
import { desiredOfNode } from '../../../master/fleet/desired-pods.ts';
import { digest } from '../../../master/fleet/desired-sync.ts';
import {
  isServed,
  ownClasses,
  PIER_CLASS,
  servingBoards,
} from '../../../master/ingress/ingress-class.ts';
import type { Ingress, IngressClass, Node } from '../../../protocol/kinds/types.ts';
import { ofType } from '../controllers/objects.ts';

const OTHER: IngressClass = { metadata: { name: 'nginx' }, spec: { controller: 'k8s.io/nginx' } };

function ingress(spec: Ingress['spec'] = {}, annotations: Record<string, string> = {}): Ingress {
  return { metadata: { name: 'web', namespace: 'default', annotations }, spec };
}

function board(name: string, label?: string, ready = 'True'): Node {
  return {
    metadata: { name, labels: label === undefined ? {} : { 'pier.local/ingress': label } },
    status: {
      conditions: [{ type: 'Ready', status: ready }],
      addresses: [{ type: 'InternalIP', address: `192.0.2.${name}` }],
    },
  };
}

t.test('which Ingresses are ours', async (t) => {
  const own = ownClasses([PIER_CLASS, OTHER]);
  t.ok(isServed(ingress({ ingressClassName: 'pier' }), own));
  t.ok(isServed(ingress(), own), 'ours is the default');
  t.notOk(isServed(ingress({ ingressClassName: 'nginx' }), own));
  t.notOk(isServed(ingress({ ingressClassName: 'gone' }), own));
  const annotated = { 'kubernetes.io/ingress.class': 'nginx' };
  t.notOk(isServed(ingress({}, annotated), own));
  t.ok(isServed(ingress({ ingressClassName: 'pier' }, annotated), own), 'the field counts first');
  t.notOk(isServed(ingress(), ownClasses([{ ...PIER_CLASS, metadata: { name: 'pier' } }])));
  const second = { metadata: { name: 'edge' }, spec: { controller: 'pier.local/ingress' } };
  t.ok(isServed(ingress({ ingressClassName: 'edge' }), ownClasses([second])));
  const going = ingress();
  going.metadata = { ...going.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
  t.notOk(isServed(going, own));
});

t.test('which boards serve them, and what the status shows', async (t) => {
  const names = (...nodes: Node[]) => servingBoards(nodes).map(({ metadata }) => metadata?.name);
  t.same(names(board('1'), board('2')), ['1', '2'], 'nobody has chosen: all');
  t.same(names(board('1'), board('2', 'false')), ['1']);
  t.same(names(board('1'), board('2', 'true'), board('3', 'false')), ['2']);
  t.same(names(board('1'), board('2', 'true', 'Unknown')), ['2'], 'also when it is away');
  const shown = (one: Ingress, nodes: readonly Node[]) => {
    const [action] = ofType(
      reconcileIngressStatus({ ingress: one, classes: [PIER_CLASS, OTHER], nodes }),
      'updateStatus',
    );
    const object: Ingress | undefined = action?.object;
    return action && (object?.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
  };
  const nodes = [board('2'), board('1'), board('3', undefined, 'Unknown')];
  t.same(shown(ingress(), nodes), ['192.0.2.1', '192.0.2.2']);
  const told = { ...ingress(), status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } } };
  t.equal(shown(told, [board('1')]), undefined, 'nothing changed, nothing written');
  t.same(shown(told, []), []);
  t.equal(shown({ ...told, spec: { ingressClassName: 'nginx' } }, []), undefined);
});

t.test('what a board is told, and which Secrets come with it', async (t) => {
  const backend = { service: { name: 'web', port: { number: 80 } } };
  const one = ingress({
    defaultBackend: { service: { name: 'rest', port: { name: 'http' } } },
    rules: [
      {
        host: 'a.example',
        http: {
          paths: [
            { path: '/x', pathType: 'Exact', backend },
            { pathType: 'ImplementationSpecific', backend },
            { path: '/r', pathType: 'Prefix', backend: { resource: { kind: 'B', name: 'b' } } },
          ],
        },
      },
      { host: '*.b.example' },
    ],
    tls: [{ hosts: ['a.example'], secretName: 'cert' }, { secretName: 'gone' }, { hosts: ['c'] }],
  });
  const desired = desiredIngress(one, digest);
  t.match(desired, {
    defaultBackend: { service: 'rest', port: 'http' },
    rules: [
      {
        host: 'a.example',
        paths: [
          { path: '/x', type: 'Exact', backend: { service: 'web', port: 80 } },
          { path: '/', type: 'Prefix', backend: { service: 'web', port: 80 } },
          { path: '/r', type: 'Prefix' },
        ],
      },
      { host: '*.b.example', paths: [] },
    ],
    tls: [
      { hosts: ['a.example'], secret: 'cert' },
      { hosts: [], secret: 'gone' },
    ],
  });
  t.equal(desired.rules[0]?.paths[2]?.backend, undefined);
  const status = { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } };
  t.equal(desiredIngress({ ...one, status }, digest).digest, desired.digest);
  const of = (ingresses: readonly (typeof desired)[] | undefined) =>
    desiredOfNode({
      node: board('1'),
      pods: [],
      configMap: () => undefined,
      secret: (_, name) => (name === 'cert' ? { metadata: { uid: 'u' }, data: {} } : undefined),
      claim: () => undefined,
      volume: () => undefined,
      volumes: [],
      ingresses,
      publicKey: new Uint8Array(),
      digest,
    }).content;
  t.match(of([desired]), {
    ingresses: [{ namespace: 'default', name: 'web', digest: desired.digest }],
    configs: [{ kind: 'secret', namespace: 'default', name: 'cert' }],
  });
  t.same(of([]).ingresses, []);
  const others = of(undefined);
  t.notOk('ingresses' in others);
  t.same(others.configs, [], 'Secrets only for boards that serve');
});
