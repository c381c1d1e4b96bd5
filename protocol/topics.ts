/**
 * The topics of the fleet protocol, built and parsed in one place.
 *
 * Master to agent, retained:
 *   pier/v1/node/<node>/desired/manifest            Manifest: everything this board should hold
 *   pier/v1/node/<node>/desired/pods/<uid>          DesiredPod
 *   pier/v1/node/<node>/desired/config/<kind>/<ns>/<name>  DesiredConfig (configmap | secret)
 *   pier/v1/node/<node>/desired/ingress/<ns>/<name> DesiredIngress, for boards that serve HTTP
 *   pier/v1/cluster/manifest                        ClusterManifest: all services and boards there are
 *   pier/v1/cluster/services/<ns>/<name>            DesiredService: a service with its endpoints
 *   pier/v1/cluster/boards/<node>                   BoardRoute: where the pods of a board are reached
 * Master to agent, not retained:
 *   pier/v1/node/<node>/request                     StreamRequest: dial back for logs, exec, ...
 * Agent to master:
 *   pier/v1/node/<node>/facts                       NodeFacts, on connect and on change
 *   pier/v1/node/<node>/online                      Online, retained; the last will says offline
 *   pier/v1/node/<node>/heartbeat                   Heartbeat with measurements
 *   pier/v1/node/<node>/status/pods/<uid>           PodReport
 *   pier/v1/node/<node>/status/volumes/<name>       VolumeReport
 *   pier/v1/node/<node>/events                      NodeEvent
 */
const ROOT = 'pier/v1';

export const clusterTopics = {
  manifest: `${ROOT}/cluster/manifest`,
  service: (namespace: string, name: string) => `${ROOT}/cluster/services/${namespace}/${name}`,
  board: (node: string) => `${ROOT}/cluster/boards/${node}`,
  all: `${ROOT}/cluster/#`,
} as const;

/** Every topic of one board. Node names are DNS-1123 subdomains, so they hold no `/`, `+` or `#`. */
export function nodeTopics(node: string) {
  const base = `${ROOT}/node/${node}`;
  return {
    manifest: `${base}/desired/manifest`,
    pod: (uid: string) => `${base}/desired/pods/${uid}`,
    config: (kind: 'configmap' | 'secret', namespace: string, name: string) =>
      `${base}/desired/config/${kind}/${namespace}/${name}`,
    ingress: (namespace: string, name: string) => `${base}/desired/ingress/${namespace}/${name}`,
    allDesired: `${base}/desired/#`,
    request: `${base}/request`,
    facts: `${base}/facts`,
    online: `${base}/online`,
    heartbeat: `${base}/heartbeat`,
    podStatus: (uid: string) => `${base}/status/pods/${uid}`,
    volumeStatus: (name: string) => `${base}/status/volumes/${name}`,
    events: `${base}/events`,
  } as const;
}

export type ParsedTopic =
  | {
      readonly type: 'manifest' | 'request' | 'facts' | 'online' | 'heartbeat' | 'events';
      readonly node: string;
    }
  | { readonly type: 'pod' | 'podStatus'; readonly node: string; readonly uid: string }
  | { readonly type: 'volumeStatus'; readonly node: string; readonly name: string }
  | {
      readonly type: 'config';
      readonly node: string;
      readonly kind: string;
      readonly namespace: string;
      readonly name: string;
    }
  | {
      readonly type: 'ingress';
      readonly node: string;
      readonly namespace: string;
      readonly name: string;
    }
  | { readonly type: 'clusterManifest' }
  | { readonly type: 'service'; readonly namespace: string; readonly name: string }
  | { readonly type: 'board'; readonly node: string };

/** Undefined for a topic that is not of this protocol version. */
export function parseTopic(topic: string): ParsedTopic | undefined {
  const [root, version, scope, ...rest] = topic.split('/');
  if (`${root}/${version}` !== ROOT) return undefined;
  if (scope === 'cluster') return parseClusterTopic(rest);
  const [node, ...path] = rest;
  if (scope !== 'node' || node === undefined || node === '') return undefined;
  return parseNodeTopic(node, path);
}

function parseClusterTopic(path: readonly string[]): ParsedTopic | undefined {
  const [type, first, second] = path;
  if (type === 'manifest' && path.length === 1) return { type: 'clusterManifest' };
  if (type === 'boards' && first !== undefined && path.length === 2) {
    return { type: 'board', node: first };
  }
  if (type === 'services' && first !== undefined && second !== undefined && path.length === 3) {
    return { type: 'service', namespace: first, name: second };
  }
  return undefined;
}

function parseNodeTopic(node: string, path: readonly string[]): ParsedTopic | undefined {
  const [first, second, third, fourth, fifth] = path;
  if (path.length === 1) {
    switch (first) {
      case 'request':
      case 'facts':
      case 'online':
      case 'heartbeat':
      case 'events':
        return { type: first, node };
      default:
        return undefined;
    }
  }
  if (first === 'status' && second === 'pods' && third !== undefined && path.length === 3) {
    return { type: 'podStatus', node, uid: third };
  }
  if (first === 'status' && second === 'volumes' && third !== undefined && path.length === 3) {
    return { type: 'volumeStatus', node, name: third };
  }
  if (first !== 'desired') return undefined;
  if (second === 'manifest' && path.length === 2) return { type: 'manifest', node };
  if (second === 'pods' && third !== undefined && path.length === 3) {
    return { type: 'pod', node, uid: third };
  }
  if (second === 'ingress' && third !== undefined && fourth !== undefined && path.length === 4) {
    return { type: 'ingress', node, namespace: third, name: fourth };
  }
  if (second === 'config' && third !== undefined && fourth !== undefined && fifth !== undefined) {
    return path.length === 5
      ? { type: 'config', node, kind: third, namespace: fourth, name: fifth }
      : undefined;
  }
  return undefined;
}
