/**
 * GET nodes/NAME/proxy/PATH: what a board itself tells, asked over the stream that it opens to the master. A board serves its
 * metrics there as a kubelet does, and nothing else: pods are reached by their own subresources.
 *
 * Who may `get` nodes/proxy may read it, as in Kubernetes; and so may who may `get` nodes/metrics, which is what a kubelet asks of
 * those who come to it directly.
 */

import { METRICS_TYPE } from '../../protocol/prometheus.ts';
import { ApiError, notFound } from '../../protocol/status.ts';
import { METRICS_PAGES, type MetricsPage } from '../../protocol/stream-requests.ts';
import type { ApiRequest } from './answers.ts';
import { sendByteStream } from './byte-stream.ts';
import type { ObjectPath, Registry } from './registry.ts';
import type { NodeSource } from './streams/source.ts';

const PREFIX = 'proxy/';

export function isNodeProxy(subresource: string): boolean {
  return subresource === 'proxy' || subresource.startsWith(PREFIX);
}

/** `subresource`: as in the path, `proxy/metrics/cadvisor`. Throws `ApiError`. */
export async function proxyNode(
  request: ApiRequest,
  path: ObjectPath,
  subresource: string,
  { registry, nodes }: { readonly registry: Registry; readonly nodes: NodeSource | undefined },
): Promise<void> {
  const { user } = request;
  await registry.authorize(user, 'get', path, { subresource: 'proxy' }).catch(async (refusal) => {
    // The words are those of the larger right.
    await registry.authorize(user, 'get', path, { subresource: 'metrics' }).catch(() => {
      throw refusal;
    });
  });
  const { name, resource } = path;
  const stored = await registry.core.storage.read(resource, '', name);
  if (stored === undefined) throw notFound(resource.ref, name);
  const page = pageOf(subresource.slice(PREFIX.length));
  if (nodes === undefined) {
    throw new ApiError(503, 'ServiceUnavailable', 'this master has no link to its boards');
  }
  await sendByteStream(request, METRICS_TYPE, async (signal) => {
    const stream = await nodes.openNode(name, { type: 'metrics', page }, signal);
    return bytesOf(stream.frames());
  });
}

async function* bytesOf(
  frames: AsyncIterable<{ readonly data: Uint8Array }>,
): AsyncGenerator<Uint8Array> {
  for await (const { data } of frames) yield data;
}

function pageOf(path: string): MetricsPage {
  const page = METRICS_PAGES.find((one) => one === path);
  if (page !== undefined) return page;
  const served = METRICS_PAGES.map((one) => `/${one}`).join(', ');
  throw new ApiError(404, 'NotFound', `a board serves ${served} and not "/${path}"`);
}
