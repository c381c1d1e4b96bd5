/** The pool of LAN addresses: what a person may write, and which service has which. */
import t from 'tap';
import { reconcileLoadBalancer } from '../../../master/controllers/load-balancer.ts';
import { loadBalancerController } from '../../../master/controllers/load-balancer-controller.ts';
import { desiredService } from '../../../master/fleet/desired-services.ts';
import type { SharedInformers } from '../../../master/informer/shared.ts';
import { type AddressPool, parseAddressPool } from '../../../master/load-balancer/address-pool.ts';
import { allocateAddresses } from '../../../master/load-balancer/allocation.ts';
import type { Node, Service } from '../../../protocol/kinds/types.ts';
import { NOW, ofType } from './objects.ts';

const PLACE = {
  podCidr: '10.42.0.0/16',
  serviceCidr: '10.43.0.0/16',
  addresses: ['192.0.2.1', 'fd00::1'],
};
const ANNOTATION = 'pier.local/load-balancer-ip';

function pool(text: string): AddressPool {
  return parseAddressPool(text, PLACE);
}

t.test('ranges and CIDRs, with commas between them', async (t) => {
  const mixed = pool('192.0.2.250-192.0.2.252, 192.0.2.240/31,192.0.2.7');
  t.same(mixed.addresses, [
    ...['192.0.2.7', '192.0.2.240', '192.0.2.241'],
    ...['192.0.2.250', '192.0.2.251', '192.0.2.252'],
  ]);
  t.ok(mixed.contains('192.0.2.251'));
  t.notOk(mixed.contains('192.0.2.253'));
  t.same(pool('192.0.2.8-192.0.2.9,192.0.2.9').addresses, ['192.0.2.8', '192.0.2.9'], 'once');
  t.equal(pool('198.51.100.0/24').addresses.length, 256);
});

t.test('a pool that cannot be is refused with the part that is wrong', async (t) => {
  const REFUSED: ReadonlyArray<readonly [string, string]> = [
    ['', '"": give ranges as in 192.168.1.240-192.168.1.250'],
    ['192.0.2.240-', 'give ranges as in'],
    ['192.0.2.240-192.0.2.241-192.0.2.242', 'give ranges as in'],
    ['192.0.2.256', 'give ranges as in'],
    ['192.0.2.0/33', 'give ranges as in'],
    ['fd00::/120', 'give ranges as in'],
    ['192.0.2.9,here', '"here": give ranges as in'],
    ['192.0.2.250-192.0.2.240', 'its last address is lower than its first'],
    ['198.51.100.0/23', 'with it the pool has more than 256 addresses'],
    ['198.51.100.0/25,203.0.113.0/24', '"203.0.113.0/24": with it the pool has more than 256'],
    ['10.42.3.0/28', 'it overlaps the range of pods 10.42.0.0/16'],
    ['10.43.255.255-10.44.0.3', 'it overlaps the range of services 10.43.0.0/16'],
    ['192.0.2.0/28', 'it holds 192.0.2.1, an address of this board'],
    ['127.0.0.8', 'no board can have such an address'],
    ['239.0.0.1', 'no board can have such an address'],
  ];
  for (const [text, why] of REFUSED) {
    t.throws(
      () => pool(text),
      { message: new RegExp(`^--load-balancer-pool: .*${why.replace(/[.*+?/]/g, '\\$&')}`) },
      text,
    );
  }
});

interface Wanted {
  readonly ip?: string;
  readonly wish?: string;
  readonly annotation?: string;
  readonly created?: string;
  readonly spec?: Service['spec'];
}

function service(
  name: string,
  { ip, wish, annotation, created = '1', spec }: Wanted = {},
): Service {
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: `uid ${name}`,
      creationTimestamp: `2026-01-0${created}T00:00:00Z`,
      ...(annotation === undefined ? {} : { annotations: { [ANNOTATION]: annotation } }),
    },
    spec: {
      type: 'LoadBalancer',
      ports: [{ port: 80 }],
      ...(wish === undefined ? {} : { loadBalancerIP: wish }),
      ...spec,
    },
    status: { loadBalancer: ip === undefined ? {} : { ingress: [{ ip, ipMode: 'VIP' }] } },
  };
}

/** "name=address" or "name: why not", in the order of names. */
function given(services: Service[], boardAddresses: string[] = []): string[] {
  const two = pool('192.0.2.240-192.0.2.241');
  const view = { services, pool: two, boardAddresses, given: new Map<string, string>() };
  return [...allocateAddresses(view)]
    .map(([key, one]) => key.slice(8) + (one.type === 'address' ? `=${one.ip}` : `: ${one.why}`))
    .sort();
}

t.test('a service keeps its address, a new one gets the lowest that is free', async (t) => {
  t.same(given([service('b'), service('a')]), ['a=192.0.2.240', 'b=192.0.2.241']);
  t.same(given([service('a'), service('b', { ip: '192.0.2.240', created: '9' })]), [
    'a=192.0.2.241',
    'b=192.0.2.240',
  ]);
  t.same(
    given([service('a', { ip: '198.51.100.1' })]),
    ['a=192.0.2.240'],
    'the pool was another one, or the boards were shown',
  );
  const same = { ip: '192.0.2.240' };
  t.same(
    given([service('a', { ...same, created: '2' }), service('b', same)]),
    ['a=192.0.2.241', 'b=192.0.2.240'],
    'of two with the same the older one keeps it',
  );
  t.same(given([service('a', same)], ['192.0.2.240']), ['a=192.0.2.241'], "a board's own address");
  t.same(given([service('a', { spec: { type: 'NodePort' } })]), []);
  t.same(given([service('a', { spec: { loadBalancerClass: 'example.com/x' } })]), []);
});

t.test('the pool is exhausted, and a wish is an order', async (t) => {
  t.same(given([service('a'), service('b'), service('c')]).slice(2), [
    'c: all 2 addresses of the pool are taken: delete a service of type LoadBalancer, or give the master a larger --load-balancer-pool',
  ]);
  const wish = '192.0.2.240';
  t.same(given([service('a'), service('b', { wish })]), ['a=192.0.2.241', 'b=192.0.2.240']);
  t.same(given([service('a', { annotation: wish, wish: '192.0.2.241' })]), ['a=192.0.2.240']);
  t.same(given([service('a', { ip: wish, wish: '192.0.2.241' })]), ['a=192.0.2.241'], 'it moves');
  t.same(given([service('a', { ip: wish }), service('b', { wish })]), [
    'a=192.0.2.240',
    'b: the wanted address 192.0.2.240 is held by service default/a',
  ]);
  t.same(given([service('a', { wish: '192.0.2.9' })]), [
    'a: the wanted address 192.0.2.9 is not in the pool of the master',
  ]);
  t.same(given([service('a', { wish })], [wish]), [
    "a: the wanted address 192.0.2.240 is a board's own",
  ]);
});

t.test('status and event of a service', async (t) => {
  const reconcile = (
    one: Service,
    allocation: Parameters<typeof reconcileLoadBalancer>[0]['allocation'],
  ) => reconcileLoadBalancer({ service: one, endpoints: undefined, nodes: [], allocation });
  const [update] = reconcile(service('a'), { type: 'address', ip: '192.0.2.240' });
  t.match(update, {
    type: 'updateStatus',
    object: { status: { loadBalancer: { ingress: [{ ip: '192.0.2.240', ipMode: 'VIP' }] } } },
  });
  const has = service('a', { ip: '192.0.2.240' });
  t.same(reconcile(has, { type: 'address', ip: '192.0.2.240' }), [], 'written once');
  const pending = reconcile(has, { type: 'none', why: 'because' });
  t.match(pending, [
    { type: 'event', eventType: 'Warning', reason: 'AllocationFailed', message: 'because' },
    { type: 'updateStatus', object: { status: { loadBalancer: {} } } },
  ]);
  const alone = reconcile(service('a', { wish: '192.0.2.240' }), undefined);
  t.match(alone, [{ type: 'event', message: /192\.0\.2\.240 cannot be given: .*pool/ }]);
});

t.test('informers that lag give no address twice, and an event is told once', async (t) => {
  const services = [service('a'), service('b'), service('c')];
  const none = { list: (): Node[] => [], getByKey: () => undefined };
  const informers = {
    nodes: none,
    endpoints: none,
    endpointSlices: { byIndex: () => [] },
    services: {
      list: () => services,
      getByKey: (key: string) =>
        services.find(({ metadata }) => `default/${metadata?.name}` === key),
    },
  } as unknown as SharedInformers;
  const two = pool('192.0.2.240-192.0.2.241');
  const controller = loadBalancerController(informers, two);
  const ip = async (name: string): Promise<unknown> => {
    const actions = await controller.reconcile(`default/${name}`, NOW, undefined);
    const [update] = ofType([...actions], 'updateStatus');
    const object: Service | undefined = update?.object;
    return object?.status?.loadBalancer?.ingress?.[0]?.ip;
  };
  t.equal(await ip('a'), '192.0.2.240');
  services.unshift(service('0', { created: '0' }));
  t.equal(await ip('b'), '192.0.2.241', 'as decided before the older one came');
  t.equal(await ip('a'), '192.0.2.240', 'the same again');
  const events = async () =>
    ofType([...(await controller.reconcile('default/0', NOW, undefined))], 'event').length;
  t.same([await events(), await events()], [1, 0]);
  services.splice(1, 1);
  t.equal(await ip('0'), '192.0.2.240', 'an address that became free');
});

t.test('boards are told the address once the service has it', async (t) => {
  const told = (one: Service, addressPool?: AddressPool) =>
    desiredService({ service: one, endpoints: undefined, pods: [], digest: () => 'd', addressPool })
      .loadBalancer;
  const two = pool('192.0.2.240-192.0.2.241');
  t.same(told(service('a', { ip: '192.0.2.240' }), two), {
    sourceRanges: [],
    address: '192.0.2.240',
  });
  t.equal(told(service('a'), two), undefined, 'pending: nobody listens');
  t.equal(
    told(service('a', { ip: '192.0.2.9' }), two),
    undefined,
    'what was shown before the pool',
  );
  t.same(told(service('a', { ip: '192.0.2.9' })), { sourceRanges: [] }, 'no pool');
});
