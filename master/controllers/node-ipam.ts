/**
 * Pod address ranges: each board gets a /24 of its own out of the cluster's range. Pure.
 * Promises: a range given once stays with its Node object; no two boards share one; the lowest free
 * one is taken, so that the same input gives the same answer.
 */
import type { Node } from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action } from './actions.ts';

interface IpamOptions {
  /** Such as "10.42.0.0/16". */
  readonly clusterCidr: string;
}

const BOARD_PREFIX_LENGTH = 24;

/** The address as a number and the prefix's length; throws when `cidr` is not an IPv4 range. */
export function parseCidr(cidr: string): { base: number; prefixLength: number } {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(cidr);
  const bytes = (match ?? []).slice(1, 5).map(Number);
  const prefixLength = Number(match?.[5]);
  if (match === null || bytes.some((byte) => byte > 255) || prefixLength > BOARD_PREFIX_LENGTH) {
    throw new Error(`"${cidr}" is no IPv4 range of /${BOARD_PREFIX_LENGTH} or larger`);
  }
  const base = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return { base: base - (base % 2 ** (32 - prefixLength)), prefixLength };
}

function formatRange(base: number): string {
  const bytes = [24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256);
  return `${bytes.join('.')}/${BOARD_PREFIX_LENGTH}`;
}

/** Ranges for all nodes that have none. */
export function reconcileIpam(nodes: readonly Node[], options: IpamOptions): Action[] {
  const { base, prefixLength } = parseCidr(options.clusterCidr);
  const count = 2 ** (BOARD_PREFIX_LENGTH - prefixLength);
  const taken = new Set<string>();
  for (const { spec } of nodes) {
    for (const range of [spec?.podCIDR, ...(spec?.podCIDRs ?? [])]) {
      if (range !== undefined) taken.add(range);
    }
  }
  const actions: Action[] = [];
  const waiting = nodes
    .filter((node) => (node.spec?.podCIDR ?? '') === '')
    .sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
  let next = 0;
  for (const node of waiting) {
    while (next < count && taken.has(formatRange(base + next * 256))) next += 1;
    if (next >= count) {
      actions.push(exhausted(node, options.clusterCidr));
      continue;
    }
    const podCIDR = formatRange(base + next * 256);
    taken.add(podCIDR);
    const object: Node = { ...node, spec: { ...node.spec, podCIDR, podCIDRs: [podCIDR] } };
    actions.push({ type: 'update', id: RESOURCES.nodes, object });
  }
  return actions;
}

function exhausted(node: Node, clusterCidr: string): Action {
  return {
    type: 'event',
    regarding: { apiVersion: 'v1', kind: 'Node', metadata: node.metadata ?? {} },
    eventType: 'Warning',
    reason: 'CIDRNotAvailable',
    message: `No free pod address range is left in ${clusterCidr}; remove a node that is not needed`,
  };
}
