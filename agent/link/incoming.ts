/**
 * From a topic and bytes to a checked message for the agent. Pure. What does not fit, by schema or because topic
 * and content name different things, is a MessageError for the log and never reaches the agent.
 */
import { decodeMessage, MessageError } from '../../protocol/codec.ts';
import { DesiredIngress } from '../../protocol/ingress.ts';
import {
  BoardRoute,
  ClusterManifest,
  DesiredConfig,
  DesiredPod,
  DesiredService,
  Manifest,
} from '../../protocol/messages.ts';
import { StreamRequest } from '../../protocol/stream-requests.ts';
import { parseTopic } from '../../protocol/topics.ts';

export type Incoming =
  | { readonly type: 'manifest'; readonly message: Manifest }
  | { readonly type: 'pod'; readonly message: DesiredPod }
  | { readonly type: 'config'; readonly message: DesiredConfig }
  | { readonly type: 'ingress'; readonly message: DesiredIngress }
  | { readonly type: 'clusterManifest'; readonly message: ClusterManifest }
  | { readonly type: 'service'; readonly message: DesiredService }
  | { readonly type: 'board'; readonly message: BoardRoute }
  | { readonly type: 'request'; readonly message: StreamRequest };

/**
 * Undefined for an empty payload: a retained message was cleared. That says nothing about what should run;
 * only a manifest does. Throws MessageError.
 */
export function decodeIncoming(
  node: string,
  topic: string,
  payload: Uint8Array,
): Incoming | undefined {
  if (payload.length === 0) return undefined;
  const parsed = parseTopic(topic);
  if (parsed === undefined) throw new MessageError('a topic of another protocol version');
  if (parsed.type !== 'board' && 'node' in parsed && parsed.node !== node) {
    throw new MessageError(`a message for board "${parsed.node}"`);
  }
  switch (parsed.type) {
    case 'manifest': {
      const message = decodeMessage(Manifest, payload);
      same(message.node.name, node);
      return { type: 'manifest', message };
    }
    case 'pod': {
      const message = decodeMessage(DesiredPod, payload);
      same(message.uid, parsed.uid);
      return { type: 'pod', message };
    }
    case 'config': {
      const message = decodeMessage(DesiredConfig, payload);
      same(
        `${message.kind}/${message.namespace}/${message.name}`,
        `${parsed.kind}/${parsed.namespace}/${parsed.name}`,
      );
      return { type: 'config', message };
    }
    case 'ingress': {
      const message = decodeMessage(DesiredIngress, payload);
      same(`${message.namespace}/${message.name}`, `${parsed.namespace}/${parsed.name}`);
      return { type: 'ingress', message };
    }
    case 'clusterManifest':
      return { type: 'clusterManifest', message: decodeMessage(ClusterManifest, payload) };
    case 'service': {
      const message = decodeMessage(DesiredService, payload);
      same(`${message.namespace}/${message.name}`, `${parsed.namespace}/${parsed.name}`);
      return { type: 'service', message };
    }
    case 'board': {
      const message = decodeMessage(BoardRoute, payload);
      same(message.node, parsed.node);
      return { type: 'board', message };
    }
    case 'request':
      return { type: 'request', message: decodeMessage(StreamRequest, payload) };
    default:
      throw new MessageError('a topic that only boards publish to');
  }
}

function same(inMessage: string, inTopic: string): void {
  if (inMessage !== inTopic) {
    throw new MessageError(`the message is about "${inMessage}", its topic about "${inTopic}"`);
  }
}
