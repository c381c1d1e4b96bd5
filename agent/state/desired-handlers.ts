/** What the link hands over of what this board is to do: each message to the state that keeps it. */
import type { LinkHandlers } from '../link/link.ts';
import type { DesiredState } from './desired-state.ts';

export function desiredHandlers(
  desired: DesiredState,
): Omit<LinkHandlers, 'onRequest' | 'onConnected'> {
  return {
    onManifest: (message) => desired.offerManifest(message),
    onPod: (message) => desired.offerPod(message),
    onConfig: (message) => desired.offerConfig(message),
    onIngress: (message) => desired.offerIngress(message),
    onClusterManifest: (message) => desired.offerClusterManifest(message),
    onService: (message) => desired.offerService(message),
    onBoard: (message) => desired.offerBoard(message),
  };
}
