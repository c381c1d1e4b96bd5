/** Small manifests on the demo image, for tests on real boards. */
import { DEMO_IMAGE } from '../../cli/commands/demo-image.ts';
import type {
  Container,
  Deployment,
  EndpointSlice,
  Pod,
  PodSpec,
  Service,
  ServicePort,
} from '../../protocol/kinds/types.ts';
import type { Board } from '../lab/board.ts';

/** The demo container; `script` runs in its shell instead of the HTTP server on port 8080. */
export function demoContainer(name: string, script?: string): Container {
  const image = { image: DEMO_IMAGE, imagePullPolicy: 'Never' };
  return { name, ...image, ...(script === undefined ? {} : { command: ['sh', '-c', script] }) };
}

export function demoPod(name: string, spec: Partial<PodSpec> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, containers: [demoContainer('main')], ...spec },
  };
}

/**
 * Its pods go to different boards, one more on one than on another at most, among the boards that pods may go to. Required:
 * a mere wish would give way to a board's measured load, which on a busy machine can be anything.
 */
export function spreadDeployment(name: string, replicas: number): Deployment {
  const labels = { app: name };
  const { spec } = demoPod(name, {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'kubernetes.io/hostname',
        whenUnsatisfiable: 'DoNotSchedule',
        nodeTaintsPolicy: 'Honor',
        labelSelector: { matchLabels: labels },
      },
    ],
  });
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, ...(spec === undefined ? {} : { spec }) },
    },
  };
}

/** Leads to the pods with the label app=NAME, port 8080. */
export function nodePortService(name: string, app: string, nodePort: number): Service {
  const port: ServicePort = { port: 80, targetPort: 8080, nodePort };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { type: 'NodePort', selector: { app }, ports: [port] },
  };
}

/** Containers of Pier that the engine of this board holds, as "namespace/pod/container", sorted. */
export async function engineContainers(board: Board): Promise<string[]> {
  const label = (name: string) => `{{index .Labels "pier.local/${name}"}}`;
  const format = `${label('pod-namespace')}/${label('pod-name')}/${label('container-name')}`;
  const words = await board.exec('podman', [
    ...['ps', '-a', '--filter', 'label=pier.local/container-name', '--format', format],
  ]);
  return words.split('\n').filter(Boolean).sort();
}

/** Endpoints of the service NAME that somebody else than Pier keeps. */
export function sliceByHand(
  name: string,
  endpoints: NonNullable<EndpointSlice['endpoints']>,
  ports: NonNullable<EndpointSlice['ports']>,
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-by-hand`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints,
    ports,
  };
}
