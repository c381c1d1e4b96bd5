/**
 * Who may say and hear what on the broker. Pure: the answer is a reason to refuse, or undefined for yes.
 *
 * A board publishes its own facts, online, heartbeat, pod and volume status and events, and nothing else; only
 * `online` may be retained, so that no board can fill the broker's memory. A board subscribes to exactly
 * three filters: its own desired state, its own requests, and the cluster's services and boards.
 * For an external Mosquitto the same as ACL: `pattern write pier/v1/node/%u/facts` and so on.
 */
import { clusterTopics, nodeTopics, parseTopic } from '../../protocol/topics.ts';

const NODE_USER = 'system:node:';
const NODE_GROUP = 'system:nodes';
/** Agents use 5-10 s; more would only delay the news that a board is gone. */
const KEEPALIVE_MAX_SECONDS = 60;
const WILL_BYTES_MAX = 1024;
const USERNAME_BYTES_MAX = 128;
const NODE_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Subject of a certificate as `tls` gives it: a doubled attribute is an array. */
export interface CertificateSubject {
  readonly CN?: string | string[];
  readonly O?: string | string[];
}

/** What of a CONNECT packet matters here. */
export interface ConnectRequest {
  readonly clientId: string;
  readonly clean: boolean;
  readonly keepaliveSeconds: number;
  /** The session of the agent process: tells a reconnect from a second agent of the same name. */
  readonly username: string;
  readonly will:
    | { readonly topic: string; readonly retain: boolean; readonly payloadBytes: number }
    | undefined;
}

/** The board's name from its certificate, or undefined when it is no board's certificate. */
export function nodeOf(subject: CertificateSubject | undefined): string | undefined {
  const name = subject?.CN;
  const groups = subject?.O;
  const isNode = Array.isArray(groups) ? groups.includes(NODE_GROUP) : groups === NODE_GROUP;
  if (typeof name !== 'string' || !isNode || !name.startsWith(NODE_USER)) return undefined;
  const node = name.slice(NODE_USER.length);
  return NODE_NAME.test(node) ? node : undefined;
}

/** Why the board may not connect like that. */
export function refuseConnect(node: string, request: ConnectRequest): string | undefined {
  const { clientId, clean, keepaliveSeconds, username, will } = request;
  if (clientId !== node) {
    return `client id ${JSON.stringify(clientId.slice(0, 64))} is not the name in the certificate, "${node}"`;
  }
  if (!clean) return 'only clean sessions are served: the desired state is retained anyway';
  if (keepaliveSeconds < 1 || keepaliveSeconds > KEEPALIVE_MAX_SECONDS) {
    return `keepalive of ${keepaliveSeconds} s is not between 1 and ${KEEPALIVE_MAX_SECONDS}`;
  }
  if (username.length > USERNAME_BYTES_MAX) return 'the username (session) is too long';
  if (will === undefined) return undefined;
  if (will.topic !== nodeTopics(node).online) {
    return `last will on topic ${JSON.stringify(will.topic.slice(0, 128))}: only ${nodeTopics(node).online} is allowed`;
  }
  return will.payloadBytes > WILL_BYTES_MAX ? 'the last will is too long' : undefined;
}

/** Why the board may not publish that. */
export function refusePublish(
  node: string,
  packet: { readonly topic: string; readonly retain: boolean; readonly qos: number },
): string | undefined {
  const parsed = parseTopic(packet.topic);
  const shown = JSON.stringify(packet.topic.slice(0, 128));
  if (parsed === undefined || !('node' in parsed) || parsed.node !== node) {
    return `may not publish to ${shown}`;
  }
  switch (parsed.type) {
    case 'online':
      break;
    case 'facts':
    case 'heartbeat':
    case 'podStatus':
    case 'volumeStatus':
    case 'events':
      if (packet.retain) return `may not retain a message on ${shown}`;
      break;
    default:
      return `may not publish to ${shown}`;
  }
  return packet.qos > 1 ? 'QoS 2 is not used here' : undefined;
}

/** Why the board may not subscribe to that filter. */
export function refuseSubscribe(node: string, filter: string): string | undefined {
  const topics = nodeTopics(node);
  const allowed: readonly string[] = [topics.allDesired, topics.request, clusterTopics.all];
  return allowed.includes(filter)
    ? undefined
    : `may not subscribe to ${JSON.stringify(filter.slice(0, 128))}`;
}

/** May the board be sent what was published on this topic? A second look, should a filter ever match too much. */
export function mayReceive(node: string, topic: string): boolean {
  const parsed = parseTopic(topic);
  switch (parsed?.type) {
    case 'clusterManifest':
    case 'service':
    case 'board':
      return true;
    case 'manifest':
    case 'pod':
    case 'config':
    case 'ingress':
    case 'request':
      return parsed.node === node;
    case 'facts':
    case 'online':
    case 'heartbeat':
    case 'events':
    case 'podStatus':
    case 'volumeStatus':
    case undefined:
      return false;
    default: {
      const never: never = parsed;
      throw new Error(`unknown topic ${String(never)}`);
    }
  }
}
