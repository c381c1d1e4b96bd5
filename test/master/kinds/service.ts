/** Service, Endpoints and EndpointSlice. */
import t from 'tap';
import { ServiceAllocator } from '../../../master/api/allocator.ts';
import {
  CREATED,
  cells,
  created,
  errorsOf,
  moduleOf,
  newPool,
  updated,
  updateErrors,
} from './manifest.ts';

t.test('service', async (t) => {
  const simple = 'metadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}';

  t.test('gets an address, and defaults', async (t) => {
    const object = created('Service', simple);
    t.match(object, {
      spec: {
        type: 'ClusterIP',
        clusterIP: /^10\.43\.\d+\.\d+$/,
        clusterIPs: [/^10\.43\./],
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
        sessionAffinity: 'None',
        internalTrafficPolicy: 'Cluster',
        ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      },
      status: { loadBalancer: {} },
    });
    t.strictSame(moduleOf('Service').validate(object), []);
  });

  t.test('takes what was asked for, and says whose fault it is when it cannot', async (t) => {
    const pool = newPool();
    const asked = `spec: {type: NodePort, clusterIP: 10.43.0.9, ports: [{port: 80, nodePort: 30080}]}`;
    const object = created('Service', asked, pool);
    t.match(object, { spec: { clusterIP: '10.43.0.9', ports: [{ nodePort: 30_080 }] } });
    t.throws(() => created('Service', asked, pool), {
      message: /10\.43\.0\.9: provided IP is already/,
    });
    const port =
      'spec: {type: NodePort, ports: [{port: 1, name: a}, {port: 80, name: b, nodePort: 30080}]}';
    t.throws(() => created('Service', port, pool), {
      field: 'spec.ports[1].nodePort',
      message: 'provided port is already allocated',
    });
    t.throws(() => created('Service', asked.replace('30080', '80')), /valid ports is 30000-32767/);
  });

  t.test('offers one port over TCP and UDP on one node port', async (t) => {
    const object = created(
      'Service',
      'spec: {type: NodePort, ports: [{name: a, port: 53, protocol: UDP}, {name: b, port: 53}]}',
    );
    const spec: { ports: { nodePort: number }[] } = Reflect.get(object, 'spec');
    t.equal(spec.ports[0]?.nodePort, spec.ports[1]?.nodePort);
  });

  t.test('gives back all that it holds', async (t) => {
    const object = created(
      'Service',
      'spec: {type: NodePort, ports: [{port: 80, nodePort: 30081}]}',
    );
    const held = ServiceAllocator.holdings(moduleOf('Service'), object);
    t.equal(held.size, 2);
    t.ok(held.has('port:TCP:30081'));
  });

  t.test('is headless when asked', async (t) => {
    const object = created('Service', 'spec: {clusterIP: None, selector: {a: b}}');
    t.match(object, { spec: { clusterIP: 'None', clusterIPs: ['None'] } });
    t.strictSame(moduleOf('Service').validate(object), []);
    t.equal(ServiceAllocator.holdings(moduleOf('Service'), object).size, 0);
  });

  t.test('errors', async (t) => {
    const cases: [string, string][] = [
      ['spec: {}', 'spec.ports: Required value'],
      ['spec: {ports: [{port: 80}, {port: 81}]}', 'spec.ports[0].name: Required value'],
      [
        'spec: {ports: [{port: 80, name: a}, {port: 81, name: a}]}',
        'spec.ports[1].name: Duplicate value: "a"',
      ],
      [
        'spec: {ports: [{port: 80, name: a}, {port: 80, name: b}]}',
        'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}',
      ],
      [
        'spec: {ports: [{port: 0}]}',
        'spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
      ],
      [
        'spec: {type: Open, ports: [{port: 80}]}',
        'spec.type: Unsupported value: "Open": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
      ],
      [
        'spec: {ports: [{port: 80, nodePort: 30080}]}',
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
      ],
      [
        'spec: {clusterIP: ten, ports: [{port: 80}]}',
        'spec.clusterIPs[0]: Invalid value: "ten": must be a valid IP address',
      ],
      [
        'spec: {clusterIP: None, type: NodePort, ports: [{port: 80}]}',
        `spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services`,
      ],
      [
        'spec: {loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 80}]}',
        "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
      ],
      [
        'spec: {type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/33], ports: [{port: 80}]}',
        'spec.loadBalancerSourceRanges[0]: Invalid value: "10.0.0.0/33": must be an IPv4 range',
      ],
      [
        'spec: {trafficDistribution: Near, ports: [{port: 80}]}',
        'spec.trafficDistribution: Unsupported value: "Near": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"',
      ],
      ['spec: {type: ExternalName}', 'spec.externalName: Required value'],
      [
        'spec: {ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}',
        'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
      ],
    ];
    for (const [yaml, expected] of cases) {
      t.equal((errorsOf('Service', yaml)[0] ?? '').slice(0, expected.length), expected);
    }
  });

  t.test('an update without the chosen values keeps them', async (t) => {
    const pool = newPool();
    const yaml = 'spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}';
    const previous = created('Service', yaml, pool);
    const next = updated('Service', yaml, previous, pool);
    t.strictSame(Reflect.get(next, 'spec'), Reflect.get(previous, 'spec'));
  });

  t.test('the address stays', async (t) => {
    const after = simple.replace('selector', 'clusterIP: 10.43.7.7, selector');
    t.strictSame(updateErrors('Service', simple, after), [
      'spec.clusterIPs[0]: Invalid value: ["10.43.7.7"]: may not change once set',
    ]);
  });

  t.test('from NodePort to ClusterIP the node ports go', async (t) => {
    const pool = newPool();
    const previous = created('Service', 'spec: {type: NodePort, ports: [{port: 80}]}', pool);
    const text = JSON.stringify(previous).replace('"NodePort"', '"ClusterIP"');
    const next = updated('Service', text, previous, pool);
    t.strictSame(moduleOf('Service').validate(next), []);
    const { ports, clusterIP }: { ports: object[]; clusterIP: string } = Reflect.get(next, 'spec');
    t.notOk(Reflect.has(ports[0] ?? {}, 'nodePort'));
    t.equal(clusterIP, Reflect.get(Reflect.get(previous, 'spec'), 'clusterIP'));
  });

  t.test('cells', async (t) => {
    const object = created(
      'Service',
      'metadata: {name: web}\nspec: {type: NodePort, clusterIP: 10.43.0.9, selector: {b: x, a: y}, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 443, nodePort: 30443}]}',
    );
    t.strictSame(cells('Service', object), {
      Name: 'web',
      Type: 'NodePort',
      'Cluster-IP': '10.43.0.9',
      'External-IP': '<none>',
      'Port(s)': '80:30080/TCP,443:30443/TCP',
      Age: '<unknown>',
      Selector: 'a=y,b=x',
    });
    const balanced = created('Service', 'spec: {type: LoadBalancer, ports: [{port: 80}]}');
    t.equal(cells('Service', balanced)['External-IP'], '<pending>');
    const external = created('Service', 'spec: {type: ExternalName, externalName: a.example}');
    t.match(cells('Service', external), {
      'Cluster-IP': '<none>',
      'External-IP': 'a.example',
      'Port(s)': '<none>',
    });
  });
});

t.test('endpoints', async (t) => {
  const address = (n: number) => `{ip: 10.42.0.${n}}`;
  const subset = (count: number) =>
    `subsets: [{ports: [{port: 80}], addresses: [${Array.from({ length: count }, (_, n) => address(n + 1)).join(', ')}]}]`;
  const cell = (yaml: string) => cells('Endpoints', created('Endpoints', yaml)).Endpoints;
  t.equal(cell('{}'), '<none>');
  t.equal(cell(subset(2)), '10.42.0.1:80,10.42.0.2:80');
  t.equal(cell(subset(5)), '10.42.0.1:80,10.42.0.2:80,10.42.0.3:80 + 2 more...');
  t.equal(cell('subsets: [{addresses: [{ip: 10.42.0.1}]}]'), '10.42.0.1');
  t.match(created('Endpoints', subset(1)), { subsets: [{ ports: [{ protocol: 'TCP' }] }] });
  t.strictSame(
    errorsOf('Endpoints', 'subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{port: 0}]}]'),
    [
      'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
      'subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
    ],
  );
});

t.test('endpoint slice', async (t) => {
  const slice = (more: string, type = 'IPv4') => `
metadata: {name: web-1, creationTimestamp: '${CREATED}'}
addressType: ${type}
${more}
`;
  const at = (address: string) => `endpoints: [{addresses: ['${address}']}]`;
  const good = created(
    'EndpointSlice',
    slice(`ports: [{port: 80}, {name: b}]
endpoints: [{addresses: [10.42.0.2, 10.42.0.3]}, {addresses: [10.42.0.4]}, {addresses: [10.42.0.5]}]`),
  );
  t.match(good, { ports: [{ name: '', port: 80, protocol: 'TCP' }, { name: 'b' }] });
  t.strictSame(cells('EndpointSlice', good), {
    Name: 'web-1',
    AddressType: 'IPv4',
    Ports: '80,*',
    Endpoints: '10.42.0.2,10.42.0.3,10.42.0.4 + 1 more...',
    Age: '10m',
  });
  t.match(cells('EndpointSlice', created('EndpointSlice', slice(''))), { Ports: '<unset>' });
  const cases: [string, string][] = [
    [
      slice('', 'Postal'),
      'addressType: Unsupported value: "Postal": supported values: "FQDN", "IPv4", "IPv6"',
    ],
    [slice(at('::1')), 'endpoints[0].addresses[0]: Invalid value: "::1": must be an IPv4 address'],
    [
      slice(at('10.0.0.1'), 'IPv6'),
      'endpoints[0].addresses[0]: Invalid value: "10.0.0.1": must be an IPv6 address',
    ],
    [
      slice('endpoints: [{addresses: []}]'),
      'endpoints[0].addresses: Required value: must contain at least 1 address',
    ],
    [slice('ports: [{port: 1}, {port: 2}]'), 'ports[1].name: Duplicate value: ""'],
    [
      slice('ports: [{port: 0}]'),
      'ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
    ],
  ];
  for (const [yaml, error] of cases) t.strictSame(errorsOf('EndpointSlice', yaml), [error]);
  t.match(errorsOf('EndpointSlice', slice(at('127.0.0.1')))[0], /may not be in the loopback range/);
  t.strictSame(errorsOf('EndpointSlice', slice(at('web.example'), 'FQDN')), []);
  t.strictSame(errorsOf('EndpointSlice', 'metadata: {name: x}'), ['addressType: Required value']);
  t.match(updateErrors('EndpointSlice', slice(''), slice('', 'IPv6')), [
    /^addressType: .*immutable$/,
  ]);
});
