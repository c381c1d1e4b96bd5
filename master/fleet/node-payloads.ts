/** What a board's manifest names, as retained messages of its own topics. */
import { encodeMessage } from '../../protocol/codec.ts';
import { DesiredIngress } from '../../protocol/ingress.ts';
import { DesiredPod } from '../../protocol/messages.ts';
import { nodeTopics } from '../../protocol/topics.ts';
import type { NodeDesired } from './desired-pods.ts';
import type { PodTokens } from './pod-tokens.ts';
import { encodeConfig } from './sealed-config.ts';
import type { Payload } from './topic-publisher.ts';

/** `publicKey` is the board's, for Secrets and tokens. */
export function nodePayloads(
  node: string,
  desired: NodeDesired,
  publicKey: Uint8Array,
  tokens: PodTokens,
): Payload[] {
  const topics = nodeTopics(node);
  const pods = desired.pods.map((pod) => ({
    topic: topics.pod(pod.uid),
    digest: `${pod.digest}${tokens.stamp(pod.uid)}`,
    encode: async () => {
      const made = await tokens.make(pod.uid, publicKey);
      return encodeMessage(DesiredPod, made === undefined ? pod : { ...pod, tokens: made });
    },
  }));
  const configs = desired.configs.map((config) => ({
    topic: topics.config(config.kind, config.namespace, config.name),
    digest: config.digest,
    encode: () => encodeConfig(node, config, publicKey),
  }));
  const ingresses = desired.ingresses.map((ingress) => ({
    topic: topics.ingress(ingress.namespace, ingress.name),
    digest: ingress.digest,
    encode: () => encodeMessage(DesiredIngress, ingress),
  }));
  return [...pods, ...configs, ...ingresses];
}
