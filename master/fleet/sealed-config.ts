/** ConfigMaps and Secrets as boards get them: a Secret's data is sealed to the board's key before the broker sees it. */
import { encodeCbor, encodeMessage } from '../../protocol/codec.ts';
import { DesiredConfig, MESSAGE_VERSION } from '../../protocol/messages.ts';
import { seal, secretContext } from '../../protocol/seal.ts';
import type { WantedConfig } from './desired-pods.ts';

export async function encodeConfig(
  node: string,
  config: WantedConfig,
  publicKey: Uint8Array,
): Promise<Uint8Array> {
  const { kind, namespace, name } = config;
  const head = { v: MESSAGE_VERSION, kind, namespace, name, digest: config.digest } as const;
  if (kind === 'configmap') return encodeMessage(DesiredConfig, { ...head, data: config.data() });
  const context = secretContext(node, namespace, name);
  const sealed = await seal(publicKey, encodeCbor(config.data()), context);
  return encodeMessage(DesiredConfig, { ...head, sealed });
}
