/**
 * May this user do that? Asks, in this order, until one says yes; everything else is denied:
 * 1. `system:masters` may do all.
 * 2. A board (`system:node:NAME` in `system:nodes`) may read and write its own Node, read its own pods and
 *    write their status (Kubernetes: node authorizer). The rest of its traffic is MQTT.
 * 3. The roles that are bound to the user (rbac/policy.ts). What everybody may (discovery, to review his own rights)
 *    are roles too (rbac/default-roles.ts).
 */
import { ApiError, qualifiedResource } from '../../protocol/status.ts';
import type { User } from './client.ts';
import type { RbacPolicy } from './rbac/policy.ts';

export interface ResourceAttributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** The field selector of a list or watch, as sent. */
  readonly fieldSelector?: string;
}

export interface Decision {
  readonly allowed: boolean;
  readonly reason: string;
}

export interface Authorizer {
  authorize(user: User, what: ResourceAttributes): Promise<Decision>;
  /** For paths that are no resources, such as `/version`. */
  authorizePath(user: User, verb: string, path: string): Promise<Decision>;
}

/** The board on which a pod stands, undefined when there is no such pod or it stands nowhere. */
export type PodNode = (namespace: string, name: string) => Promise<string | undefined>;

const NODE_PREFIX = 'system:node:';
const ALLOWED: Decision = { allowed: true, reason: '' };

export function isMaster(user: User): boolean {
  return user.groups.includes('system:masters');
}

export function createAuthorizer(podNode: PodNode, policy: RbacPolicy): Authorizer {
  return {
    async authorize(user, what) {
      if (isMaster(user)) return ALLOWED;
      const board = boardOf(user);
      if (board !== undefined && (await boardMay(board, what, podNode))) return ALLOWED;
      return policy.allows(user, what);
    },
    authorizePath: async (user, verb, path) =>
      isMaster(user) ? ALLOWED : policy.allowsPath(user, verb, path),
  };
}

/** The name of the board behind a certificate; undefined for people and parts of the master. */
export function boardOf(user: User): string | undefined {
  return user.groups.includes('system:nodes') && user.name.startsWith(NODE_PREFIX)
    ? user.name.slice(NODE_PREFIX.length)
    : undefined;
}

async function boardMay(
  board: string,
  what: ResourceAttributes,
  podNode: PodNode,
): Promise<boolean> {
  if (what.group !== '') return false;
  const writes = what.verb === 'update' || what.verb === 'patch';
  if (what.resource === 'nodes') {
    if (what.verb === 'list' || what.verb === 'watch') {
      return what.fieldSelector === `metadata.name=${board}`;
    }
    const known = what.subresource === '' || what.subresource === 'status';
    return known && what.name === board && (what.verb === 'get' || writes);
  }
  if (what.resource !== 'pods') return false;
  if (what.verb === 'list' || what.verb === 'watch') {
    return what.fieldSelector === `spec.nodeName=${board}`;
  }
  const reads = what.verb === 'get' && what.subresource === '';
  const reports = writes && what.subresource === 'status';
  const removes = what.verb === 'delete' && what.subresource === '';
  if (!reads && !reports && !removes) return false;
  return what.name !== '' && (await podNode(what.namespace, what.name)) === board;
}

/** 403 in Kubernetes' words. */
export function forbiddenResource(user: User, what: ResourceAttributes, reason = ''): ApiError {
  const ref = { group: what.group, resource: what.resource };
  const subject =
    what.name === '' ? qualifiedResource(ref) : `${qualifiedResource(ref)} "${what.name}"`;
  const resource = what.subresource === '' ? what.resource : `${what.resource}/${what.subresource}`;
  const where =
    what.namespace === '' ? 'at the cluster scope' : `in the namespace "${what.namespace}"`;
  return new ApiError(
    403,
    'Forbidden',
    `${subject} is forbidden: User "${user.name}" cannot ${what.verb} resource "${resource}" ` +
      `in API group "${what.group}" ${where}${reason === '' ? '' : `: ${reason}`}`,
    {
      ...(what.name === '' ? {} : { name: what.name }),
      ...(what.group === '' ? {} : { group: what.group }),
      kind: what.resource,
    },
  );
}

/** 403 for a path that is no resource. */
export function forbiddenPath(user: User, verb: string, path: string): ApiError {
  return new ApiError(
    403,
    'Forbidden',
    `forbidden: User "${user.name}" cannot ${verb} path "${path}"`,
    {},
  );
}
