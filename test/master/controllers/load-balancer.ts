/** LoadBalancer services and the boards that serve them. */
import t from 'tap';
import { reconcileLoadBalancer } from '../../../master/controllers/load-balancer.ts';
import type { EndpointSlice, Endpoints, Node, Service } from '../../../protocol/kinds/types.ts';
import { ofType } from './objects.ts';

function board(name: string, ip: string, ready = true, labels: Record<string, string> = {}): Node {
  const condition = { type: 'Ready', status: ready ? 'True' : 'Unknown' };
  return {
    metadata: { name, labels },
    status: { addresses: [{ type: 'InternalIP', address: ip }], conditions: [condition] },
  };
}

function service(spec: Service['spec'], ips: readonly string[] = []): Service {
  const ingress = ips.map((ip) => ({ ip, ipMode: 'VIP' }));
  return {
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: ips.length === 0 ? {} : { ingress } },
  };
}

const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';
const NODES = [
  board('c', '192.0.2.3', false),
  board('b', '192.0.2.2'),
  board('a', '192.0.2.1'),
  board('d', '192.0.2.4', true, { [EXCLUDED]: '' }),
  { metadata: { name: 'e' }, status: { conditions: [{ type: 'Ready', status: 'True' }] } },
];

t.test('the status shows the boards that listen', async (t) => {
  const shown = (
    one: Service,
    endpoints?: Endpoints,
    nodes: readonly Node[] = NODES,
    slices: readonly EndpointSlice[] = [],
  ) => {
    const [action] = ofType(
      reconcileLoadBalancer({ service: one, endpoints, slices, nodes, allocation: undefined }),
      'updateStatus',
    );
    const object: Service | undefined = action?.object;
    return action && (object?.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
  };
  const both = ['192.0.2.1', '192.0.2.2'];
  t.same(shown(service({})), both, 'Ready, not left out, with an address');
  t.equal(shown(service({}, both)), undefined, 'nothing changed, nothing written');
  t.same(shown(service({}, both), undefined, []), [], 'all boards are gone');
  t.equal(shown(service({}), undefined, []), undefined);
  t.same(shown(service({ type: 'ClusterIP' }, both)), [], 'it is none any more');
  t.equal(shown(service({ loadBalancerClass: 'example.com/x' }, ['198.51.100.1'])), undefined);
  t.equal(shown(service({ type: 'NodePort' })), undefined);
  const local = service({ externalTrafficPolicy: 'Local' });
  const endpoints: Endpoints = {
    subsets: [
      {
        addresses: [{ ip: '10.42.0.2', nodeName: 'b' }],
        notReadyAddresses: [{ ip: '10.42.1.2', nodeName: 'a' }],
      },
    ],
  };
  t.same(shown(local, endpoints), ['192.0.2.2'], 'Local: only boards with a ready endpoint');
  t.equal(shown(local), undefined);
  const slice: EndpointSlice = {
    addressType: 'IPv4',
    endpoints: [
      { addresses: ['192.0.2.1'], nodeName: 'a' },
      { addresses: ['192.0.2.2'], nodeName: 'b', conditions: { ready: false } },
    ],
  };
  t.same(shown(local, undefined, NODES, [slice]), ['192.0.2.1'], 'or one that a person wrote');
  const going = service({});
  going.metadata = { ...going.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
  t.equal(shown(going), undefined);
});
