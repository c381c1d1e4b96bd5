/** What pods ask for, and each filter with its reasons. */
import t from 'tap';
import { podRequests, ResourceIndex } from '../../../master/scheduler/resources.ts';
import { tolerates } from '../../../master/scheduler/taints.ts';
import type { Container, Node, Pod, PodSpec, Taint } from '../../../protocol/kinds/types.ts';
import { node, pod, READY, reasonsFor } from './objects.ts';

t.test('requests are counted the Kubernetes way', async (t) => {
  const cpuOf = (one: Pod): number | undefined => {
    const resources = new ResourceIndex();
    return podRequests(one, resources).find(({ index }) => index === 0)?.amount;
  };
  const container = (cpu: string, restartPolicy?: string): Container => ({
    name: 'c',
    image: 'i',
    resources: { requests: { cpu } },
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  });
  const table: [string, Partial<PodSpec>, number][] = [
    ['containers add up', { containers: [container('100m'), container('200m')] }, 300],
    [
      'a hungry init container raises the whole to its own need',
      { containers: [container('100m')], initContainers: [container('700m'), container('50m')] },
      700,
    ],
    [
      'a modest init container costs nothing',
      { containers: [container('500m')], initContainers: [container('100m')] },
      500,
    ],
    [
      'a sidecar runs beside the containers',
      { containers: [container('100m')], initContainers: [container('50m', 'Always')] },
      150,
    ],
    [
      'an init container runs beside the sidecars before it',
      {
        containers: [container('100m')],
        initContainers: [container('50m', 'Always'), container('400m')],
      },
      450,
    ],
    ['overhead comes on top', { containers: [container('100m')], overhead: { cpu: '20m' } }, 120],
    [
      'pod-level requests replace the sum',
      { containers: [container('100m')], resources: { requests: { cpu: '1' } } },
      1000,
    ],
  ];
  for (const [name, spec, expected] of table) {
    t.equal(cpuOf(pod('p', {}, spec)), expected, name);
  }
});

t.test('each filter names its reason in the words of kube-scheduler', async (t) => {
  const taint: Taint = { key: 'gpu', value: 'yes', effect: 'NoSchedule' };
  const ports = (hostPort: number, hostIP?: string): Partial<PodSpec> => ({
    containers: [
      {
        name: 'c',
        image: 'i',
        ports: [{ containerPort: 80, hostPort, ...(hostIP === undefined ? {} : { hostIP }) }],
      },
    ],
  });
  const needs = (operator: string, values: string[]): Partial<PodSpec> => ({
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'disk', operator, values }] }],
        },
      },
    },
  });
  const affinityReason = ["node(s) didn't match Pod's node affinity/selector"];
  const portReason = ["node(s) didn't have free ports for the requested pod ports"];
  const ssd = node('n', { labels: { disk: 'ssd', size: '5' } });
  const table: [string, Pod, Node, Pod[], string[]][] = [
    ['an empty board', pod('p'), node('n'), [], []],
    ['cpu', pod('p', { cpu: '5' }), node('n'), [], ['Insufficient cpu']],
    [
      'several resources at once',
      pod('p', { cpu: '5', memory: '5Gi' }),
      node('n'),
      [],
      ['Insufficient cpu', 'Insufficient memory'],
    ],
    ['exactly what is free', pod('p', { cpu: '3' }), node('n'), [pod('q', { cpu: '1' })], []],
    ['pods', pod('p'), node('n', { pods: '1' }), [pod('q')], ['Too many pods']],
    [
      'an extended resource that is not there',
      pod('p', { 'pier.local/gpio': '1' }),
      node('n'),
      [],
      ['Insufficient pier.local/gpio'],
    ],
    [
      'an extended resource that is there',
      pod('p', { 'pier.local/gpio': '1' }),
      node('n', { extra: { 'pier.local/gpio': '1' } }),
      [],
      [],
    ],
    [
      'a taint',
      pod('p'),
      node('n', { taints: [taint] }),
      [],
      ['node(s) had untolerated taint {gpu: yes}'],
    ],
    [
      'a tolerated taint',
      pod('p', {}, { tolerations: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] }),
      node('n', { taints: [taint] }),
      [],
      [],
    ],
    [
      'PreferNoSchedule does not refuse',
      pod('p'),
      node('n', { taints: [{ key: 'a', effect: 'PreferNoSchedule' }] }),
      [],
      [],
    ],
    ['cordon', pod('p'), node('n', { unschedulable: true }), [], ['node(s) were unschedulable']],
    [
      'a board that is not ready',
      pod('p'),
      node('n', { conditions: [{ type: 'Ready', status: 'False' }] }),
      [],
      ['node(s) had untolerated taint {node.kubernetes.io/not-ready: }'],
    ],
    [
      'a silent board',
      pod('p'),
      node('n', { conditions: [{ type: 'Ready', status: 'Unknown' }] }),
      [],
      ['node(s) had untolerated taint {node.kubernetes.io/unreachable: }'],
    ],
    [
      'a board that never reported',
      pod('p'),
      node('n', { conditions: [] }),
      [],
      ['node(s) had untolerated taint {node.kubernetes.io/not-ready: }'],
    ],
    [
      'a board that is too hot',
      pod('p'),
      node('n', { conditions: [READY, { type: 'Overheating', status: 'True' }] }),
      [],
      ['node(s) had untolerated taint {pier.local/overheating: }'],
    ],
    [
      'another node is named',
      pod('p', {}, { nodeName: 'other' }),
      node('n'),
      [],
      ["node(s) didn't match the requested node name"],
    ],
    [
      'nodeSelector',
      pod('p', {}, { nodeSelector: { disk: 'ssd' } }),
      node('n'),
      [],
      affinityReason,
    ],
    ['nodeSelector that matches', pod('p', {}, { nodeSelector: { disk: 'ssd' } }), ssd, [], []],
    ['affinity In', pod('p', {}, needs('In', ['ssd', 'nvme'])), ssd, [], []],
    ['affinity NotIn', pod('p', {}, needs('NotIn', ['ssd'])), ssd, [], affinityReason],
    ['NotIn accepts a missing label', pod('p', {}, needs('NotIn', ['ssd'])), node('n'), [], []],
    ['affinity Exists', pod('p', {}, needs('Exists', [])), ssd, [], []],
    ['affinity DoesNotExist', pod('p', {}, needs('DoesNotExist', [])), ssd, [], affinityReason],
    ['Gt needs numbers', pod('p', {}, needs('Gt', ['3'])), ssd, [], affinityReason],
    [
      'a term without expressions matches nothing',
      pod(
        'p',
        {},
        {
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{}] },
            },
          },
        },
      ),
      ssd,
      [],
      affinityReason,
    ],
    [
      'a taken host port',
      pod('p', {}, ports(80)),
      node('n'),
      [pod('q', {}, ports(80))],
      portReason,
    ],
    ['another host port', pod('p', {}, ports(81)), node('n'), [pod('q', {}, ports(80))], []],
    [
      'the same port on two addresses',
      pod('p', {}, ports(80, '10.0.0.1')),
      node('n'),
      [pod('q', {}, ports(80, '10.0.0.2'))],
      [],
    ],
    [
      'the same port on all addresses',
      pod('p', {}, ports(80)),
      node('n'),
      [pod('q', {}, ports(80, '10.0.0.2'))],
      portReason,
    ],
  ];
  for (const [name, one, on, placed, expected] of table) {
    t.same(reasonsFor(one, on, placed), expected, name);
  }
});

t.test('tolerations accept what Kubernetes says they accept', async (t) => {
  const taint: Taint = { key: 'k', value: 'v', effect: 'NoExecute' };
  t.equal(tolerates({ key: 'k', operator: 'Exists' }, taint), true, 'Exists needs no value');
  t.equal(tolerates({ operator: 'Exists' }, taint), true, 'an empty key with Exists: everything');
  t.equal(tolerates({ key: 'k', value: 'v' }, taint), true, 'Equal is the default, any effect');
  t.equal(tolerates({ key: 'k', value: 'w' }, taint), false, 'another value');
  t.equal(
    tolerates({ key: 'k', value: 'v', effect: 'NoSchedule' }, taint),
    false,
    'another effect',
  );
  t.equal(tolerates({ key: 'l', operator: 'Exists' }, taint), false, 'another key');
});
