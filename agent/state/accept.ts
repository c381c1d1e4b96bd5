/**
 * Whether a board obeys a manifest. Pure.
 *
 * Absence never kills: only a manifest of the own cluster, newer than the one held, and with all its payloads
 * at hand may change what the board does. A restored backup (an older revision in the same epoch), another
 * cluster's master and another board's manifest are refused with a sentence for the log and for an event.
 */
import type { Order } from './state-file.ts';

export interface ManifestHead extends Order {
  readonly clusterId: string;
  /** Undefined for the manifest that is the same for all boards. */
  readonly node: string | undefined;
}

export interface Holding {
  readonly order: Order;
  /** False when a part of what the manifest names was lost: the same manifest is welcome again. */
  readonly complete: boolean;
}

export type Verdict =
  | { readonly type: 'accept' }
  | { readonly type: 'same' }
  | { readonly type: 'wait'; readonly missing: number }
  | { readonly type: 'refuse'; readonly reason: string };

export interface ManifestQuestion {
  readonly clusterId: string;
  readonly node: string;
  readonly held: Holding | undefined;
  readonly incoming: ManifestHead;
  /** How many of the payloads that the manifest names are not at hand. */
  readonly missing: number;
}

export function judgeManifest(question: ManifestQuestion): Verdict {
  const { clusterId, node, held, incoming, missing } = question;
  if (incoming.clusterId !== clusterId) {
    return refuse(
      `the manifest is of cluster ${incoming.clusterId} and this board belongs to ${clusterId}: ` +
        'join the board anew if it has to move',
    );
  }
  if (incoming.node !== undefined && incoming.node !== node) {
    return refuse(`the manifest is for board ${incoming.node} and this is ${node}`);
  }
  if (held !== undefined) {
    const order = compareOrder(incoming, held.order);
    if (order < 0) {
      return refuse(
        `the manifest (epoch ${incoming.epoch}, revision ${incoming.revision}) is older than the one ` +
          `held (epoch ${held.order.epoch}, revision ${held.order.revision}): was the master ` +
          'restored from a backup? Pods go on as they are',
      );
    }
    if (order === 0 && held.complete) return { type: 'same' };
  }
  return missing > 0 ? { type: 'wait', missing } : { type: 'accept' };
}

/** Below zero if `a` is older. */
export function compareOrder(a: Order, b: Order): number {
  return a.epoch - b.epoch || a.revision - b.revision;
}

function refuse(reason: string): Verdict {
  return { type: 'refuse', reason };
}
