/**
 * nodes/NAME/shell: a shell on a board itself, over WebSocket with the channels of exec. Authorized as `create` on nodes/shell, which
 * none of the default roles has but cluster-admin; the board must allow it, too (agent/board-shell.ts).
 */
import type { Logger } from 'pino';
import { ApiError, badRequest, notFound } from '../../../protocol/status.ts';
import type { Registry } from '../registry.ts';
import { methodNotAllowed } from '../resource-handlers.ts';
import type { ResourceRoute } from '../routes.ts';
import { ChannelClient } from './channel-client.ts';
import { chooseExecProtocol } from './channel-protocol.ts';
import { acceptSocket, type Upgrade, wantsSpdy } from './handshake.ts';
import { joinClient } from './remote-client.ts';
import type { NodeSource } from './source.ts';

interface ShellParts {
  readonly registry: Registry;
  readonly nodes: NodeSource | undefined;
  readonly query: URLSearchParams;
  /** Throws ApiError when too many streams are open. */
  readonly count: () => void;
  readonly log: Logger;
}

/** Throws ApiError; what it returns upgrades. */
export async function openNodeShell(
  upgrade: Upgrade,
  { verb, group, version, resource: plural, name }: ResourceRoute,
  { registry, nodes, query, count, log }: ShellParts,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  const { user, message } = upgrade;
  if (verb !== 'get' && verb !== 'create') throw methodNotAllowed();
  const resource = registry.table.find({ group, version, resource: plural });
  if (resource === undefined) throw badRequest('there is no such version of nodes');
  const path = { resource, namespace: '', name };
  await registry.authorize(user, 'create', path, { subresource: 'shell' });
  if ((await registry.core.storage.read(resource, '', name)) === undefined) {
    throw notFound(resource.ref, name);
  }
  if (nodes === undefined) {
    throw new ApiError(503, 'ServiceUnavailable', 'this master has no link to its boards');
  }
  if (wantsSpdy(message)) throw badRequest('a shell on a board goes over WebSocket');
  const offered = message.headers['sec-websocket-protocol'];
  const protocol = chooseExecProtocol(offered);
  if (protocol === undefined) throw badRequest(`no protocol of "${offered}" is known here`);
  const term = query.get('term') ?? 'xterm';
  if (!/^[A-Za-z0-9._+-]{1,64}$/.test(term)) throw badRequest(`"${term}" is no kind of terminal`);
  count();
  const request = { type: 'shell', user: user.name.slice(0, 256), term } as const;
  const board = await nodes.openNode(name, request, signal);
  log.warn({ user: user.name, node: name }, 'a shell on a board was opened');
  return async () => {
    const socket = await acceptSocket(upgrade, protocol.name);
    const client = new ChannelClient(socket, protocol);
    // A client that is gone already shows in what follows.
    await client.greet({ stdout: true, stderr: false }).catch(() => undefined);
    await joinClient(client, board, signal);
    log.warn({ user: user.name, node: name }, 'a shell on a board has ended');
  };
}
