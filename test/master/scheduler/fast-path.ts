/** The short way for plain pods chooses what filters and scores would choose. */
import fc from 'fast-check';
import t from 'tap';
import { refusalOf, startCycle } from '../../../master/scheduler/filters.ts';
import { compilePod, type PodInfo } from '../../../master/scheduler/pod-info.ts';
import { schedule } from '../../../master/scheduler/schedule.ts';
import { best, type Strategy } from '../../../master/scheduler/scores.ts';
import { ClusterSnapshot } from '../../../master/scheduler/snapshot.ts';
import type { Pod, PodSpec } from '../../../protocol/kinds/types.ts';
import { node, pod } from './objects.ts';

/** As `schedule`, always the long way. */
function theLongWay(info: PodInfo, snapshot: ClusterSnapshot, strategy: Strategy): string {
  const cycle = startCycle(info, snapshot);
  const open = snapshot.nodes.filter((view) => refusalOf(info, view, cycle) === undefined);
  return best(info, open, cycle, strategy)?.name ?? 'nowhere';
}

/** The full name of the image of all these pods. */
const BUSYBOX = 'docker.io/library/busybox:latest';
const SPECS: readonly Partial<PodSpec>[] = [
  {},
  { nodeSelector: { disk: 'ssd' } },
  { tolerations: [{ operator: 'Exists' }] },
  { nodeName: 'n3' },
];
const REQUESTS: readonly Record<string, string>[] = [
  {},
  { cpu: '500m' },
  { cpu: '1', memory: '512Mi' },
  { memory: '3Gi' },
  { cpu: '250m', memory: '100Mi', 'ephemeral-storage': '1Gi' },
  { cpu: '100m', 'pier.local/gpio': '1' },
];

function ownedPod(name: string, requests: number, spec: number, owner: number): Pod {
  const one = pod(name, REQUESTS[requests], SPECS[spec]);
  if (owner === 0) return one;
  const uid = `owner${owner}`;
  const reference = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: uid, uid, controller: true };
  return { ...one, metadata: { ...one.metadata, ownerReferences: [reference] } };
}

const step = fc.record({
  what: fc.constantFrom(
    'pod',
    'pod',
    'pod',
    'pod',
    'end',
    'use',
    'cordon',
    'heal',
    'grow',
    'go',
    'image',
  ),
  board: fc.integer({ min: 0, max: 6 }),
  requests: fc.integer({ min: 0, max: REQUESTS.length - 1 }),
  spec: fc.integer({ min: 0, max: SPECS.length - 1 }),
  owner: fc.integer({ min: 0, max: 2 }),
});

function boardOf(index: number, more: { unschedulable?: boolean; cpu?: string } = {}) {
  return node(`n${index}`, {
    memory: `${1 + (index % 3)}Gi`,
    extra: { 'ephemeral-storage': '8Gi', ...(index === 1 ? { 'pier.local/gpio': '2' } : {}) },
    labels: {
      'kubernetes.io/arch': index % 3 === 0 ? 'arm' : 'arm64',
      ...(index % 2 === 0 ? { disk: 'ssd' } : {}),
    },
    taints: index === 5 ? [{ key: 'k', effect: 'NoSchedule' }] : [],
    ...more,
  });
}

t.test('the short way and the long way agree, whatever happened before', async (t) => {
  const strategies = fc.constantFrom<Strategy>('pack', 'spread');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), strategies, (steps, strategy) => {
      const snapshot = new ClusterSnapshot();
      for (let index = 0; index < 6; index += 1) snapshot.setNode(boardOf(index));
      const placed: string[] = [];
      for (const [at, { what, board, requests, spec, owner }] of steps.entries()) {
        if (what === 'pod') {
          const one = ownedPod(`p${at}`, requests, spec, owner);
          const info = compilePod(one, snapshot.resources, snapshot.images);
          const expected = theLongWay(info, snapshot, strategy);
          const decision = schedule(info, snapshot, { strategy });
          const chosen = 'node' in decision ? decision.node : 'nowhere';
          if (chosen !== expected) throw new Error(`step ${at}: ${chosen}, not ${expected}`);
          if (chosen === 'nowhere') continue;
          snapshot.assume(info, chosen);
          placed.push(info.uid);
        } else if (what === 'end') {
          const [uid] = placed.splice(board, 1);
          if (uid !== undefined) snapshot.removePod(uid);
        } else if (what === 'use') {
          snapshot.setUsage(`n${board}`, { cpuMillis: 600 * requests, memoryBytes: 2 ** 29 });
        } else if (what === 'image') {
          snapshot.images.setRefused(`n${board}`, spec === 0 ? [BUSYBOX] : []);
        } else if (what === 'go') {
          snapshot.removeNode(`n${board}`);
        } else {
          const more = { cordon: { unschedulable: true }, heal: {}, grow: { cpu: '8' } }[what];
          snapshot.setNode(boardOf(board, more));
        }
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
});
