/** Pods of every shape that leaves something behind on a board: for the tests that kill. Drawn from a seed. */
import type {
  ConfigMap,
  PersistentVolumeClaim,
  Pod,
  PodSpec,
  Secret,
} from '../../protocol/kinds/types.ts';
import type { Random } from '../sim/disk.ts';
import { demoContainer, demoPod } from '../support/demo-manifests.ts';

const CORE = '/api/v1/namespaces/default';

/** What all the pods share, with the path to create it at. */
export const SHARED: ReadonlyArray<readonly [string, ConfigMap | Secret]> = [
  [
    `${CORE}/configmaps`,
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'settings' },
      data: { colour: 'green' },
    },
  ],
  [
    `${CORE}/secrets`,
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'hidden' },
      stringData: { word: 'sesame' },
    },
  ],
];

export interface Shape {
  readonly pod: Pod;
  /** Made before the pod, deleted after it. */
  readonly claim?: PersistentVolumeClaim;
}

export function drawShape(name: string, random: Random): Shape {
  const make = SHAPES[Math.floor(random() * SHAPES.length)] ?? plain;
  return make(name);
}

/** Its first process ends at SIGTERM: a pod goes at once. */
const STAYS = 'trap "exit 0" TERM; sleep 100000 & wait';
const web = demoContainer('main');
const SHARES = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
const sleeper = (name: string) => demoContainer(name, STAYS);

const plain = (name: string): Shape => ({ pod: demoPod(name) });

const SHAPES: ReadonlyArray<(name: string) => Shape> = [
  plain,
  (name) => ({ pod: demoPod(name, { hostNetwork: true, containers: [sleeper('main')] }) }),
  (name) => ({
    pod: demoPod(name, {
      initContainers: [{ ...demoContainer('first', 'echo ready >/data/file'), ...SHARES }],
      containers: [
        { ...web, ...SHARES },
        { ...sleeper('second'), ...SHARES },
      ],
      volumes: [{ name: 'data', emptyDir: {} }],
    }),
  }),
  (name) => ({
    pod: mounting(name, [
      { name: 'fast', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'hidden', secret: { secretName: 'hidden' } },
    ]),
  }),
  (name) => ({
    claim: {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
    },
    pod: mounting(name, [{ name: 'kept', persistentVolumeClaim: { claimName: name } }]),
  }),
];

function mounting(name: string, volumes: NonNullable<PodSpec['volumes']>): Pod {
  const volumeMounts = volumes.map((volume) => ({
    name: volume.name,
    mountPath: `/mnt/${volume.name}`,
  }));
  return demoPod(name, { containers: [{ ...web, volumeMounts }], volumes });
}
