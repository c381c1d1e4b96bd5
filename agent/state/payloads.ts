/**
 * The fleet's desired-state messages as a ledger and its files know them: keys, digests, bytes. Pure.
 */
import { decodeMessage, encodeMessage } from '../../protocol/codec.ts';
import { DesiredIngress } from '../../protocol/ingress.ts';
import {
  BoardRoute,
  ClusterManifest,
  DesiredConfig,
  DesiredPod,
  DesiredService,
  Manifest,
} from '../../protocol/messages.ts';
import type { LedgerManifest } from './ledger.ts';

export type NodePayload =
  | { readonly type: 'pod'; readonly message: DesiredPod }
  | { readonly type: 'config'; readonly message: DesiredConfig }
  | { readonly type: 'ingress'; readonly message: DesiredIngress };

export type ClusterPayload =
  | { readonly type: 'service'; readonly message: DesiredService }
  | { readonly type: 'board'; readonly message: BoardRoute };

/** "pod/UID", "configmap/NS/NAME", "secret/NS/NAME", "ingress/NS/NAME", "service/NS/NAME" or "board/NODE". */
export function keyOf(payload: NodePayload | ClusterPayload): string {
  switch (payload.type) {
    case 'pod':
      return `pod/${payload.message.uid}`;
    case 'config': {
      const { kind, namespace, name } = payload.message;
      return `${kind}/${namespace}/${name}`;
    }
    case 'ingress':
    case 'service':
      return `${payload.type}/${payload.message.namespace}/${payload.message.name}`;
    case 'board':
      return `board/${payload.message.node}`;
    default: {
      const never: never = payload;
      throw new Error(`unknown payload ${String(never)}`);
    }
  }
}

export function nodeManifest(message: Manifest): LedgerManifest<Manifest> {
  const items = new Map<string, string>();
  for (const { uid, digest } of message.pods) items.set(`pod/${uid}`, digest);
  for (const { kind, namespace, name, digest } of message.configs) {
    items.set(`${kind}/${namespace}/${name}`, digest);
  }
  for (const { namespace, name, digest } of message.ingresses ?? []) {
    items.set(`ingress/${namespace}/${name}`, digest);
  }
  const { clusterId, epoch, revision } = message;
  return { clusterId, epoch, revision, node: message.node.name, items, message };
}

export function clusterManifest(message: ClusterManifest): LedgerManifest<ClusterManifest> {
  const items = new Map<string, string>();
  for (const { namespace, name, digest } of message.services) {
    items.set(`service/${namespace}/${name}`, digest);
  }
  for (const { node, digest } of message.boards) items.set(`board/${node}`, digest);
  const { clusterId, epoch, revision } = message;
  return { clusterId, epoch, revision, node: undefined, items, message };
}

/** How one ledger's messages become bytes and back. */
export interface PayloadFormat<M, P> {
  encodeManifest(message: M): Uint8Array;
  decodeManifest(bytes: Uint8Array): LedgerManifest<M>;
  encodePayload(payload: P): Uint8Array;
  /** Undefined for a type that is not of this format. */
  decodePayload(type: string, bytes: Uint8Array): P | undefined;
}

export const NODE_FORMAT: PayloadFormat<Manifest, NodePayload> = {
  encodeManifest: (message) => encodeMessage(Manifest, message),
  decodeManifest: (bytes) => nodeManifest(decodeMessage(Manifest, bytes)),
  encodePayload: (payload) => {
    if (payload.type === 'pod') return encodeMessage(DesiredPod, payload.message);
    return payload.type === 'config'
      ? encodeMessage(DesiredConfig, payload.message)
      : encodeMessage(DesiredIngress, payload.message);
  },
  decodePayload: (type, bytes) => {
    if (type === 'ingress') {
      return { type: 'ingress', message: decodeMessage(DesiredIngress, bytes) };
    }
    if (type === 'pod') return { type: 'pod', message: decodeMessage(DesiredPod, bytes) };
    if (type === 'config') {
      return { type: 'config', message: decodeMessage(DesiredConfig, bytes) };
    }
    return undefined;
  },
};

export const CLUSTER_FORMAT: PayloadFormat<ClusterManifest, ClusterPayload> = {
  encodeManifest: (message) => encodeMessage(ClusterManifest, message),
  decodeManifest: (bytes) => clusterManifest(decodeMessage(ClusterManifest, bytes)),
  encodePayload: (payload) =>
    payload.type === 'service'
      ? encodeMessage(DesiredService, payload.message)
      : encodeMessage(BoardRoute, payload.message),
  decodePayload: (type, bytes) => {
    if (type === 'service') {
      return { type: 'service', message: decodeMessage(DesiredService, bytes) };
    }
    if (type === 'board') return { type: 'board', message: decodeMessage(BoardRoute, bytes) };
    return undefined;
  },
};
