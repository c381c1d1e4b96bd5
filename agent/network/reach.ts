/**
 * How this board reaches the pods of the others: by a route through the other board's LAN address, or, where that cannot be a
 * gateway because a router is between them, through the agents (agent/relay/). Pure.
 *
 * Both sides decide alike without a word: boards of one LAN have the same prefix, so each is in the other's, or neither is. A
 * mixture would not work: whoever relays a range takes packets that come from it by a route for forged ones.
 */
import type { BoardRoute } from '../../protocol/messages.ts';
import { cidrContains } from '../plan/pod-ip.ts';

export interface Route {
  readonly cidr: string;
  readonly via: string;
}

export interface Reach {
  /** Sorted by range. */
  readonly routes: readonly Route[];
  /** Sorted by range. */
  readonly relays: readonly BoardRoute[];
}

/**
 * `lan`: this board's own address with its prefix, as in "192.168.1.7/24"; undefined when that is on no interface or boards
 * of other subnets are left to the network's own routers: then the kernel says which route it takes.
 */
export function reachOf(
  boards: readonly BoardRoute[],
  self: string,
  lan: string | undefined,
): Reach {
  const own = boards.find(({ node }) => node === self);
  const others = boards
    .filter(({ node, podCidr, address }) => {
      const usable = node !== self && podCidr !== '' && address !== '';
      // A board must never route its own pods, or a gateway, to somebody else.
      return usable && podCidr !== own?.podCidr && !cidrContains(podCidr, address);
    })
    .sort((a, b) => (a.podCidr < b.podCidr ? -1 : 1));
  const isNear = ({ address }: BoardRoute) => lan === undefined || cidrContains(lan, address);
  return {
    routes: others.filter(isNear).map(({ podCidr, address }) => ({ cidr: podCidr, via: address })),
    relays: others.filter((board) => !isNear(board)),
  };
}
