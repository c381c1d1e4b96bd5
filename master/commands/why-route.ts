/** `GET /pier/v1/why/NAMESPACE/POD`, for whoever may read the pod: what the scheduler thinks of each board. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Pod } from '../../protocol/kinds/types.ts';
import { ApiError, badRequest } from '../../protocol/status.ts';
import { WHY_PATH, type WhyAnswer } from '../../protocol/why.ts';
import { RESOURCES, type User } from '../api/client.ts';
import type { Registry } from '../api/registry.ts';
import type { NodeExplanation } from '../scheduler/schedule.ts';

export interface WhySource {
  readonly registry: Registry;
  readonly scheduler: { explain(pod: Pod): NodeExplanation[] };
}

/** The handler for `ApiServer.onRequest(WHY_PATH, ...)`. */
export function whyHandler({ registry, scheduler }: WhySource) {
  return async (message: IncomingMessage, response: ServerResponse, user: User): Promise<void> => {
    if (message.method !== 'GET') {
      throw new ApiError(405, 'MethodNotAllowed', `${WHY_PATH} can only be read`);
    }
    const { namespace, name } = podOf(message.url ?? '');
    const resource = registry.table.get(RESOURCES.pods);
    const pod: Pod = registry.parsed(await registry.get(user, { resource, namespace, name }));
    const body = JSON.stringify(answer(pod, scheduler.explain(pod)));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(body);
  };
}

function podOf(url: string): { readonly namespace: string; readonly name: string } {
  const [path = ''] = url.split('?');
  const [namespace, name, ...more] = path.slice(WHY_PATH.length).split('/');
  if (!namespace || !name || more.length > 0) {
    throw badRequest(`the path must be ${WHY_PATH}NAMESPACE/POD, not ${path}`);
  }
  return { namespace, name };
}

function answer(pod: Pod, explanations: readonly NodeExplanation[]): WhyAnswer {
  return {
    pod: `${pod.metadata?.namespace}/${pod.metadata?.name}`,
    node: pod.spec?.nodeName ?? '',
    message: whatHolds(pod),
    boards: explanations.map(({ reasons, scores, ...rest }) => ({
      ...rest,
      reasons: [...reasons],
      scores: { ...scores },
    })),
  };
}

function whatHolds({ spec, status }: Pod): string {
  if (spec?.nodeName) return '';
  const gates = (spec?.schedulingGates ?? []).map(({ name }) => name);
  if (gates.length > 0) return `it waits for its scheduling gates: ${gates.join(', ')}`;
  const condition = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  return condition?.status === 'False' ? (condition.message ?? '') : '';
}
