/** The objects that the simulated users make. Small requests, so that all of it fits on the boards that are up in the end. */
import type {
  CronJob,
  DaemonSet,
  Deployment,
  Job,
  PodDisruptionBudget,
  PodTemplateSpec,
  Service,
  StatefulSet,
} from '../../../protocol/kinds/types.ts';
import type { Chance } from './chance.ts';

export const NAMESPACE = 'default';
export const APPS = ['web', 'api', 'shop'] as const;
export const SETS = ['db', 'queue'] as const;
/** The second one is for boards with the label below. */
export const DAEMONS = ['probe', 'edge'] as const;
export const EDGE_LABEL = 'example.org/edge';

interface TemplateOptions {
  readonly app: string;
  readonly image: string;
  readonly cpu: string;
  readonly restartPolicy?: string;
  readonly graceSeconds: number;
  /** May push others out. */
  readonly isUrgent?: boolean;
  /** Reads the ConfigMap that users change. */
  readonly isConfigured?: boolean;
}

/** The name of the PriorityClass of what is urgent. */
export const URGENT = 'urgent';
export const SETTINGS = 'settings';

function template(options: TemplateOptions): PodTemplateSpec {
  const { app, image, cpu, restartPolicy, graceSeconds, isUrgent, isConfigured } = options;
  const envFrom =
    isConfigured === true ? [{ configMapRef: { name: SETTINGS, optional: true } }] : [];
  const container = {
    name: 'main',
    image,
    resources: { requests: { cpu, memory: '64Mi' } },
    envFrom,
  };
  return {
    metadata: { labels: { app } },
    spec: {
      containers: [container],
      terminationGracePeriodSeconds: graceSeconds,
      ...(restartPolicy === undefined ? {} : { restartPolicy }),
      ...(isUrgent === true ? { priorityClassName: URGENT } : {}),
    },
  };
}

function appTemplate(app: string, chance: Chance): PodTemplateSpec {
  return template({
    app,
    image: `app:${chance.int(1, 5)}`,
    cpu: chance.one('50m', '100m', '200m'),
    graceSeconds: chance.one(1, 5, 30),
    isConfigured: chance.happens(0.3),
  });
}

export function strategy(chance: Chance): NonNullable<Deployment['spec']>['strategy'] {
  if (chance.happens(0.2)) return { type: 'Recreate' };
  const [maxSurge, maxUnavailable] = chance.one<[number | string, number | string]>(
    ['25%', '25%'],
    [1, 0],
    [0, 1],
    ['100%', 0],
    [0, '50%'],
    [2, 1],
  );
  return { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } };
}

export function deployment(app: string, chance: Chance): Deployment {
  return {
    metadata: { name: app, namespace: NAMESPACE },
    spec: {
      replicas: chance.int(0, 5),
      selector: { matchLabels: { app } },
      strategy: strategy(chance) ?? {},
      ...(chance.happens(0.2) ? { minReadySeconds: chance.int(1, 10) } : {}),
      revisionHistoryLimit: chance.one(0, 2, 10),
      progressDeadlineSeconds: chance.one(30, 600),
      template: spread(appTemplate(app, chance), app, chance),
    },
  };
}

/** Some apps want to be spread over the boards. */
function spread(template: PodTemplateSpec, app: string, chance: Chance): PodTemplateSpec {
  if (template.spec !== undefined && chance.happens(0.2)) {
    template.spec.topologySpreadConstraints = [
      {
        maxSkew: 1,
        topologyKey: 'kubernetes.io/hostname',
        whenUnsatisfiable: chance.one('DoNotSchedule', 'ScheduleAnyway'),
        labelSelector: { matchLabels: { app } },
      },
    ];
  }
  return template;
}

export function statefulSet(app: string, chance: Chance): StatefulSet {
  return {
    metadata: { name: app, namespace: NAMESPACE },
    spec: {
      replicas: chance.int(0, 4),
      serviceName: app,
      podManagementPolicy: chance.one('OrderedReady', 'Parallel'),
      updateStrategy: {
        type: 'RollingUpdate',
        rollingUpdate: { partition: chance.happens(0.2) ? chance.int(1, 3) : 0 },
      },
      selector: { matchLabels: { app } },
      template: appTemplate(app, chance),
    },
  };
}

export function daemonSet(app: string, chance: Chance): DaemonSet {
  const pod = appTemplate(app, chance);
  if (app === 'edge' && pod.spec !== undefined) pod.spec.nodeSelector = { [EDGE_LABEL]: 'yes' };
  return {
    metadata: { name: app, namespace: NAMESPACE },
    spec: {
      selector: { matchLabels: { app } },
      updateStrategy: chance.one<object>(
        { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } },
        { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      ),
      template: pod,
    },
  };
}

export function job(name: string, chance: Chance, isUrgent: boolean): Job {
  const completions = chance.int(1, 5);
  const kind = chance.one('job', 'task');
  const isIndexed = chance.happens(0.4);
  return {
    metadata: { name, namespace: NAMESPACE },
    spec: {
      completions,
      parallelism: chance.int(1, 3),
      completionMode: isIndexed ? 'Indexed' : 'NonIndexed',
      backoffLimit: chance.int(0, 4),
      ...(chance.happens(0.3) ? { ttlSecondsAfterFinished: chance.int(0, 60) } : {}),
      ...(chance.happens(0.2) ? { activeDeadlineSeconds: chance.int(20, 120) } : {}),
      template: template({
        app: name,
        image: `${kind}:${chance.int(1, 30)}`,
        cpu: isUrgent ? '1500m' : '100m',
        isUrgent,
        restartPolicy: chance.one('Never', 'OnFailure'),
        graceSeconds: chance.one(1, 10),
      }),
    },
  };
}

export function cronJob(name: string, chance: Chance): CronJob {
  return {
    metadata: { name, namespace: NAMESPACE },
    spec: {
      schedule: chance.one('* * * * *', '*/2 * * * *', '*/5 * * * *'),
      concurrencyPolicy: chance.one('Allow', 'Forbid', 'Replace'),
      successfulJobsHistoryLimit: chance.int(0, 2),
      failedJobsHistoryLimit: chance.int(0, 1),
      ...(chance.happens(0.3) ? { startingDeadlineSeconds: chance.int(10, 100) } : {}),
      jobTemplate: {
        spec: {
          template: template({
            app: name,
            image: `task:${chance.int(1, 90)}`,
            cpu: '50m',
            restartPolicy: 'Never',
            graceSeconds: 1,
          }),
        },
      },
    },
  };
}

export function service(app: string): Service {
  return {
    metadata: { name: app, namespace: NAMESPACE },
    spec: { selector: { app }, ports: [{ port: 80, targetPort: 8080 }] },
  };
}

export function budget(app: string, chance: Chance): PodDisruptionBudget {
  return {
    metadata: { name: app, namespace: NAMESPACE },
    spec: {
      selector: { matchLabels: { app } },
      ...(chance.happens(0.6)
        ? { minAvailable: chance.int(0, 3) }
        : { maxUnavailable: chance.one<number | string>(1, '30%') }),
    },
  };
}
