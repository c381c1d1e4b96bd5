/** Objects for the tests of the controllers, small enough to read in a table. */
import pino from 'pino';
import type { Action, Now } from '../../../master/controllers/actions.ts';
import type { PodTimes } from '../../../master/controllers/pods.ts';
import type {
  Deployment,
  DeploymentSpec,
  Node,
  ObjectMeta,
  OwnerReference,
  Pod,
  PodTemplateSpec,
  ReplicaSet,
} from '../../../protocol/kinds/types.ts';

export const log = pino({ level: process.env.LOG ?? 'silent' });
export const NOW: Now = { monotonicMs: 100_000, timestamp: '2026-01-01T00:00:00Z' };
export const NO_TIMES: PodTimes = { firstSeenMs: () => 0, readySinceMs: () => 0 };

export function template(image: string): PodTemplateSpec {
  return {
    metadata: { labels: { app: 'web' } },
    spec: { containers: [{ name: 'main', image }] },
  };
}

export function deployment(spec: Partial<DeploymentSpec> = {}, status = {}): Deployment {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'd', generation: 1 },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: 'web' } },
      template: template('v1'),
      strategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' },
      },
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
      ...spec,
    },
    status,
  };
}

export function controlledBy(kind: string, name: string, uid: string): OwnerReference[] {
  return [{ apiVersion: 'apps/v1', kind, name, uid, controller: true }];
}

interface SetOptions {
  available?: number;
  revision?: number;
  annotations?: Record<string, string>;
  metadata?: ObjectMeta;
  status?: ReplicaSet['status'];
}

/** A ReplicaSet of the Deployment above with one of its templates. */
export function replicaSet(image: string, replicas: number, options: SetOptions = {}): ReplicaSet {
  const { available = replicas, revision = 1 } = options;
  const name = `web-${image}`;
  const labels = { app: 'web', 'pod-template-hash': image };
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      generation: 1,
      labels,
      annotations: {
        'deployment.kubernetes.io/revision': String(revision),
        ...options.annotations,
      },
      ownerReferences: controlledBy('Deployment', 'web', 'd'),
      ...options.metadata,
    },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { ...template(image), metadata: { labels } },
    },
    status: {
      replicas,
      readyReplicas: available,
      availableReplicas: available,
      observedGeneration: 1,
      ...options.status,
    },
  };
}

interface PodOptions {
  ready?: boolean;
  node?: string;
  phase?: string;
  labels?: Record<string, string>;
  owner?: OwnerReference[];
  meta?: ObjectMeta;
  restarts?: number;
}

export function pod(name: string, options: PodOptions = {}): Pod {
  const { ready = true, node = 'a', phase = 'Running', restarts = 0 } = options;
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      labels: options.labels ?? { app: 'web', 'pod-template-hash': 'v1' },
      ...(options.owner === undefined ? {} : { ownerReferences: options.owner }),
      ...options.meta,
    },
    spec: { containers: [], ...(node === '' ? {} : { nodeName: node }) },
    status: {
      phase,
      podIP: `10.42.0.${name.length}`,
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [{ name: 'main', ready, restartCount: restarts, image: '', imageID: '' }],
    },
  };
}

export const ofType = <T extends Action['type']>(actions: readonly Action[], type: T) =>
  actions.filter((action): action is Extract<Action, { type: T }> => action.type === type);

export function board(
  name: string,
  ready: 'True' | 'False' | 'Unknown',
  taints: Node['spec'] = {},
): Node {
  return {
    metadata: { name, uid: name },
    spec: taints,
    status: { conditions: [{ type: 'Ready', status: ready }] },
  };
}
