/**
 * The Container Runtime Interface, runtime.v1: the messages we use with the fields we use. Numbers are those of
 * https://github.com/kubernetes/cri-api (pkg/apis/runtime/v1/api.proto), which never change.
 */
import type { MessageTable } from './wire.ts';

/** A remote procedure with one request. */
export interface Method<Q extends MessageTable, A extends MessageTable> {
  readonly path: string;
  readonly request: Q;
  readonly answer: A;
}

const table = <const M extends MessageTable>(fields: M): M => fields;

export const NAMESPACE = { pod: 0, container: 1, node: 2, target: 3 } as const;
export const SECCOMP = { runtimeDefault: 0, unconfined: 1 } as const;
export const SANDBOX_READY = 0;
export const CONTAINER_STATE = { created: 0, running: 1, exited: 2 } as const;

const nothing = table({});
const int64Value = table({ value: [1, 'int'] });
const profile = table({ profileType: [1, 'int'] });
const namespaceOption = table({
  network: [1, 'int'],
  pid: [2, 'int'],
  ipc: [3, 'int'],
  targetId: [4, 'string'],
});
const imageSpec = table({ image: [1, 'string'] });

const sandboxMetadata = table({
  name: [1, 'string'],
  uid: [2, 'string'],
  namespace: [3, 'string'],
  attempt: [4, 'int'],
});

export const PodSandboxConfig = table({
  metadata: [1, sandboxMetadata],
  hostname: [2, 'string'],
  logDirectory: [3, 'string'],
  dnsConfig: [4, { servers: [1, 'strings'], searches: [2, 'strings'], options: [3, 'strings'] }],
  labels: [6, 'map'],
  annotations: [7, 'map'],
  linux: [
    8,
    {
      cgroupParent: [1, 'string'],
      securityContext: [
        2,
        {
          namespaceOptions: [1, namespaceOption],
          privileged: [6, 'bool'],
          seccomp: [9, profile],
        },
      ],
    },
  ],
});

const containerMetadata = table({ name: [1, 'string'], attempt: [2, 'int'] });

export const ContainerConfig = table({
  metadata: [1, containerMetadata],
  image: [2, imageSpec],
  command: [3, 'strings'],
  args: [4, 'strings'],
  workingDir: [5, 'string'],
  envs: [6, [{ key: [1, 'string'], value: [2, 'string'] }]],
  mounts: [7, [{ containerPath: [1, 'string'], hostPath: [2, 'string'], readonly: [3, 'bool'] }]],
  devices: [
    8,
    [{ containerPath: [1, 'string'], hostPath: [2, 'string'], permissions: [3, 'string'] }],
  ],
  labels: [9, 'map'],
  annotations: [10, 'map'],
  logPath: [11, 'string'],
  stdin: [12, 'bool'],
  stdinOnce: [13, 'bool'],
  tty: [14, 'bool'],
  linux: [
    15,
    {
      resources: [
        1,
        {
          cpuPeriod: [1, 'int'],
          cpuQuota: [2, 'int'],
          cpuShares: [3, 'int'],
          memoryLimitInBytes: [4, 'int'],
          memorySwapLimitInBytes: [10, 'int'],
        },
      ],
      securityContext: [
        2,
        {
          capabilities: [1, { add: [1, 'strings'], drop: [2, 'strings'] }],
          privileged: [2, 'bool'],
          namespaceOptions: [3, namespaceOption],
          runAsUser: [5, int64Value],
          runAsGroup: [12, int64Value],
          readonlyRootfs: [7, 'bool'],
          supplementalGroups: [8, 'ints'],
          noNewPrivs: [11, 'bool'],
          seccomp: [15, profile],
        },
      ],
    },
  ],
});

export const PodSandbox = table({
  id: [1, 'string'],
  metadata: [2, sandboxMetadata],
  state: [3, 'int'],
  createdAt: [4, 'int'],
  labels: [5, 'map'],
});

export const ContainerEntry = table({
  id: [1, 'string'],
  podSandboxId: [2, 'string'],
  metadata: [3, containerMetadata],
  image: [4, imageSpec],
  imageRef: [5, 'string'],
  state: [6, 'int'],
  labels: [8, 'map'],
  annotations: [9, 'map'],
});

/** Times in nanoseconds since 1970; 0 for never. */
export const ContainerStatus = table({
  id: [1, 'string'],
  state: [3, 'int'],
  startedAt: [5, 'int'],
  finishedAt: [6, 'int'],
  exitCode: [7, 'int'],
  reason: [10, 'string'],
  message: [11, 'string'],
  labels: [12, 'map'],
  logPath: [15, 'string'],
});

const image = table({
  id: [1, 'string'],
  repoTags: [2, 'strings'],
  repoDigests: [3, 'strings'],
  size: [4, 'int'],
  pinned: [8, 'bool'],
});

const uint64Value = table({ value: [1, 'int'] });

const RUNTIME = '/runtime.v1.RuntimeService';
const IMAGES = '/runtime.v1.ImageService';

function method<const Q extends MessageTable, const A extends MessageTable>(
  path: string,
  request: Q,
  answer: A,
): Method<Q, A> {
  return { path, request, answer };
}

const sandboxId = table({ podSandboxId: [1, 'string'] });
const containerId = table({ containerId: [1, 'string'] });

export const CRI = {
  version: method(
    `${RUNTIME}/Version`,
    { version: [1, 'string'] },
    { runtimeName: [2, 'string'], runtimeVersion: [3, 'string'] },
  ),
  status: method(
    `${RUNTIME}/Status`,
    { verbose: [1, 'bool'] },
    {
      status: [
        1,
        {
          conditions: [
            1,
            [
              {
                type: [1, 'string'],
                status: [2, 'bool'],
                reason: [3, 'string'],
                message: [4, 'string'],
              },
            ],
          ],
        },
      ],
      info: [2, 'map'],
    },
  ),
  runPodSandbox: method(
    `${RUNTIME}/RunPodSandbox`,
    { config: [1, PodSandboxConfig] },
    { podSandboxId: [1, 'string'] },
  ),
  stopPodSandbox: method(`${RUNTIME}/StopPodSandbox`, sandboxId, nothing),
  removePodSandbox: method(`${RUNTIME}/RemovePodSandbox`, sandboxId, nothing),
  listPodSandbox: method(
    `${RUNTIME}/ListPodSandbox`,
    { filter: [1, { labels: [3, 'map'] }] },
    { items: [1, [PodSandbox]] },
  ),
  createContainer: method(
    `${RUNTIME}/CreateContainer`,
    {
      podSandboxId: [1, 'string'],
      config: [2, ContainerConfig],
      sandboxConfig: [3, PodSandboxConfig],
    },
    { containerId: [1, 'string'] },
  ),
  startContainer: method(`${RUNTIME}/StartContainer`, containerId, nothing),
  stopContainer: method(
    `${RUNTIME}/StopContainer`,
    { containerId: [1, 'string'], timeout: [2, 'int'] },
    nothing,
  ),
  removeContainer: method(`${RUNTIME}/RemoveContainer`, containerId, nothing),
  listContainers: method(
    `${RUNTIME}/ListContainers`,
    { filter: [1, { podSandboxId: [3, 'string'], labels: [4, 'map'] }] },
    { containers: [1, [ContainerEntry]] },
  ),
  containerStatus: method(
    `${RUNTIME}/ContainerStatus`,
    { containerId: [1, 'string'], verbose: [2, 'bool'] },
    { status: [1, ContainerStatus], info: [2, 'map'] },
  ),
  execSync: method(
    `${RUNTIME}/ExecSync`,
    { containerId: [1, 'string'], command: [2, 'strings'], timeout: [3, 'int'] },
    { stdout: [1, 'bytes'], stderr: [2, 'bytes'], exitCode: [3, 'int'] },
  ),
  exec: method(
    `${RUNTIME}/Exec`,
    {
      containerId: [1, 'string'],
      command: [2, 'strings'],
      tty: [3, 'bool'],
      stdin: [4, 'bool'],
      stdout: [5, 'bool'],
      stderr: [6, 'bool'],
    },
    { url: [1, 'string'] },
  ),
  attach: method(
    `${RUNTIME}/Attach`,
    {
      containerId: [1, 'string'],
      stdin: [2, 'bool'],
      tty: [3, 'bool'],
      stdout: [4, 'bool'],
      stderr: [5, 'bool'],
    },
    { url: [1, 'string'] },
  ),
  reopenContainerLog: method(`${RUNTIME}/ReopenContainerLog`, containerId, nothing),
  containerStats: method(`${RUNTIME}/ContainerStats`, containerId, {
    stats: [
      1,
      {
        cpu: [2, { usageCoreNanoSeconds: [2, uint64Value] }],
        memory: [3, { workingSetBytes: [2, uint64Value] }],
      },
    ],
  }),
  containerEvents: method(`${RUNTIME}/GetContainerEvents`, nothing, {
    containerId: [1, 'string'],
    type: [2, 'int'],
  }),
  imageStatus: method(
    `${IMAGES}/ImageStatus`,
    { image: [1, imageSpec], verbose: [2, 'bool'] },
    { image: [1, image], info: [2, 'map'] },
  ),
  listImages: method(`${IMAGES}/ListImages`, nothing, { images: [1, [image]] }),
  removeImage: method(`${IMAGES}/RemoveImage`, { image: [1, imageSpec] }, nothing),
  pullImage: method(
    `${IMAGES}/PullImage`,
    { image: [1, imageSpec], auth: [2, { username: [1, 'string'], password: [2, 'string'] }] },
    { imageRef: [1, 'string'] },
  ),
} as const;
