/**
 * What one board should hold, computed from the API's objects. Pure.
 *
 * - Every pod bound to the board is in, also one that is being deleted (with its deletionTimestamp: the agent
 *   stops it in order and reports it gone). A pod that ended on the board stays in until it is deleted,
 *   for its logs. Left out is a pod that the master itself ended (evicted) while it ran, and one that no agent has begun
 *   and whose claims have no volumes yet.
 * - Status, resourceVersion and managedFields are not part of it: their changes change no digest.
 */

import type { DesiredIngress } from '../../protocol/ingress.ts';
import type {
  ConfigMap,
  Container,
  ContainerStatus,
  Node,
  Pod,
  Secret,
  Volume,
} from '../../protocol/kinds/types.ts';
import { type DesiredPod, type Manifest, MESSAGE_VERSION } from '../../protocol/messages.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { deepEqual } from '../api/equal.ts';
import { desiredClaims, isHeldBack, type StorageView, volumesToRemove } from './desired-volumes.ts';

export type Digest = (value: unknown) => string;

export interface NodeView extends StorageView {
  readonly node: Node;
  /** Pods bound to it. */
  readonly pods: readonly Pod[];
  readonly configMap: (namespace: string, name: string) => ConfigMap | undefined;
  readonly secret: (namespace: string, name: string) => Secret | undefined;
  /** What the board serves; undefined when it serves no HTTP. */
  readonly ingresses: readonly DesiredIngress[] | undefined;
  /** SPKI DER of the board's key. */
  readonly publicKey: Uint8Array;
  readonly digest: Digest;
}

/** A ConfigMap or Secret that the board's pods or Ingresses use; a secret's data is still to be sealed. */
export interface WantedConfig {
  readonly kind: 'configmap' | 'secret';
  readonly namespace: string;
  readonly name: string;
  readonly digest: string;
  readonly data: () => Record<string, Uint8Array>;
}

/** A manifest without what orders it. */
export type ManifestContent = Pick<
  Manifest,
  'node' | 'pods' | 'configs' | 'removeVolumes' | 'ingresses'
>;

export interface NodeDesired {
  readonly content: ManifestContent;
  readonly pods: readonly DesiredPod[];
  readonly configs: readonly WantedConfig[];
  readonly ingresses: readonly DesiredIngress[];
}

export function desiredOfNode(view: NodeView): NodeDesired {
  const pods = view.pods
    .filter((pod) => belongsInManifest(pod) && !isHeldBack(pod, view))
    .sort(byUid);
  const desiredPods = pods.map((pod) => desiredPod(pod, view));
  const configs = wantedConfigs(view, pods);
  const { metadata, spec } = view.node;
  const { ingresses } = view;
  const removeVolumes = volumesToRemove(view.node, view.volumes);
  return {
    content: {
      node: {
        name: metadata?.name ?? '',
        uid: metadata?.uid ?? '',
        podCidr: spec?.podCIDR ?? '',
      },
      pods: desiredPods.map(({ uid, digest }) => ({ uid, digest })),
      configs: configs.map(({ kind, namespace, name, digest }) => ({
        kind,
        namespace,
        name,
        digest,
      })),
      ...(removeVolumes.length === 0 ? {} : { removeVolumes }),
      ...(ingresses === undefined
        ? {}
        : {
            ingresses: ingresses.map(({ namespace, name, digest }) => ({
              namespace,
              name,
              digest,
            })),
          }),
    },
    pods: desiredPods,
    configs,
    ingresses: ingresses ?? [],
  };
}

/** True unless the master ended the pod while the board still ran it. */
export function belongsInManifest(pod: Pod): boolean {
  if (!hasEnded(pod.status)) return true;
  const statuses: ContainerStatus[] = pod.status?.containerStatuses ?? [];
  return statuses.length > 0 && statuses.every(({ state }) => state?.terminated !== undefined);
}

/** Equal in all that a board is told: then a change needs no new computation. */
export function isSameForBoard(a: Pod, b: Pod): boolean {
  return (
    belongsInManifest(a) === belongsInManifest(b) && deepEqual(withoutStatus(a), withoutStatus(b))
  );
}

function desiredPod(pod: Pod, view: NodeView): DesiredPod {
  const told = withoutStatus(pod);
  const uid = pod.metadata?.uid ?? '';
  const claims = desiredClaims(pod, view.node, view);
  if (claims === undefined) {
    return { v: MESSAGE_VERSION, uid, digest: view.digest(told), pod: told };
  }
  return { v: MESSAGE_VERSION, uid, digest: view.digest([told, claims]), pod: told, claims };
}

function withoutStatus(pod: Pod): Record<string, unknown> {
  // managedFields is no part of our ObjectMeta type, yet objects may carry it.
  const metadata: Record<string, unknown> = { ...pod.metadata };
  delete metadata.resourceVersion;
  delete metadata.managedFields;
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: pod.spec ?? {} };
}

interface ConfigReference {
  readonly kind: 'configmap' | 'secret';
  readonly name: string;
}

/** Every ConfigMap and Secret that a pod's containers and volumes name. */
export function configReferences(pod: Pod): ConfigReference[] {
  const found = new Map<string, ConfigReference>();
  const add = (kind: ConfigReference['kind'], name: string | undefined): void => {
    if (name !== undefined && name !== '') found.set(`${kind}/${name}`, { kind, name });
  };
  const { containers = [], initContainers = [], ephemeralContainers = [] } = pod.spec ?? {};
  const all = [...initContainers, ...containers, ...ephemeralContainers];
  for (const container of all) addFromContainer(container, add);
  for (const volume of pod.spec?.volumes ?? []) addFromVolume(volume, add);
  for (const secret of pod.spec?.imagePullSecrets ?? []) add('secret', secret.name);
  return [...found.values()];
}

type Add = (kind: ConfigReference['kind'], name: string | undefined) => void;

function addFromContainer(container: Container, add: Add): void {
  for (const source of container.envFrom ?? []) {
    add('configmap', source.configMapRef?.name);
    add('secret', source.secretRef?.name);
  }
  for (const { valueFrom } of container.env ?? []) {
    add('configmap', valueFrom?.configMapKeyRef?.name);
    add('secret', valueFrom?.secretKeyRef?.name);
  }
}

function addFromVolume(volume: Volume, add: Add): void {
  add('configmap', volume.configMap?.name);
  add('secret', volume.secret?.secretName);
  for (const source of volume.projected?.sources ?? []) {
    add('configmap', source.configMap?.name);
    add('secret', source.secret?.name);
  }
}

function wantedConfigs(view: NodeView, pods: readonly Pod[]): WantedConfig[] {
  const wanted = new Map<string, WantedConfig>();
  for (const pod of pods) {
    const namespace = pod.metadata?.namespace ?? '';
    for (const { kind, name } of configReferences(pod)) {
      const key = `${kind}/${namespace}/${name}`;
      if (wanted.has(key)) continue;
      const config =
        kind === 'configmap'
          ? wantedConfigMap(view, namespace, name)
          : wantedSecret(view, namespace, name);
      if (config !== undefined) wanted.set(key, config);
    }
  }
  for (const { namespace, tls } of view.ingresses ?? []) {
    for (const { secret } of tls) {
      const config = wantedSecret(view, namespace, secret);
      if (config !== undefined) wanted.set(`secret/${namespace}/${secret}`, config);
    }
  }
  return [...wanted].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, config]) => config);
}

function wantedConfigMap(
  view: NodeView,
  namespace: string,
  name: string,
): WantedConfig | undefined {
  const object = view.configMap(namespace, name);
  if (object === undefined) return undefined;
  const { data = {}, binaryData = {} } = object;
  return {
    kind: 'configmap',
    namespace,
    name,
    digest: view.digest({ data, binaryData }),
    data: () => ({ ...mapValues(data, fromText), ...mapValues(binaryData, fromBase64) }),
  };
}

/** The digest tells nothing about the content: a hash of a short secret could be guessed. */
function wantedSecret(view: NodeView, namespace: string, name: string): WantedConfig | undefined {
  const object = view.secret(namespace, name);
  if (object === undefined) return undefined;
  const { uid, resourceVersion } = object.metadata ?? {};
  return {
    kind: 'secret',
    namespace,
    name,
    digest: view.digest({ uid, resourceVersion, publicKey: view.publicKey }),
    data: () => mapValues(object.data ?? {}, fromBase64),
  };
}

function mapValues(
  values: Readonly<Record<string, string>>,
  convert: (value: string) => Uint8Array,
): Record<string, Uint8Array> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, convert(value)]));
}

function fromText(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function fromBase64(value: string): Uint8Array {
  return new Uint8Array(Buffer.from(value, 'base64'));
}

function byUid(a: Pod, b: Pod): number {
  return (a.metadata?.uid ?? '') < (b.metadata?.uid ?? '') ? -1 : 1;
}
