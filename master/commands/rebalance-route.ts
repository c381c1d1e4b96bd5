/** `GET /pier/v1/rebalance`, for whoever may list all pods: the moves that would free a board. Makes none. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { REBALANCE_PATH, type RebalanceAnswer } from '../../protocol/rebalance.ts';
import { ApiError } from '../../protocol/status.ts';
import { RESOURCES, type User } from '../api/client.ts';
import type { Registry } from '../api/registry.ts';
import type { RebalanceLook } from '../controllers/rebalance-controller.ts';

export interface RebalanceSource {
  readonly registry: Registry;
  readonly mode: string;
  readonly look: () => RebalanceLook;
}

/** The handler for `ApiServer.onRequest(REBALANCE_PATH, ...)`. */
export function rebalanceHandler({ registry, mode, look }: RebalanceSource) {
  return async (message: IncomingMessage, response: ServerResponse, user: User): Promise<void> => {
    if (message.method !== 'GET') {
      throw new ApiError(405, 'MethodNotAllowed', `${REBALANCE_PATH} can only be read`);
    }
    const resource = registry.table.get(RESOURCES.pods);
    await registry.authorize(user, 'list', { resource, namespace: '', name: '' });
    const { goesOn, plan } = look();
    const answer: RebalanceAnswer = {
      mode,
      goesOn,
      board: plan.board,
      moves: plan.moves.map(({ pod, to }) => ({ pod, to })),
      kept: [...plan.kept],
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  };
}
