/**
 * Which boards live, and which of them holds which address of the pool. Pure: the time is passed in; no I/O.
 *
 * Every board tells every other one, a few times a second, which addresses it offers to hold. An address is held by the board
 * with the highest hash of (address, board) among those that live and offer it, those whose engine works before others
 * (rendezvous hashing: when a board goes, only its addresses move). All compute the same from the same hellos; two that both hold
 * an address, because they did not hear each other, are one again with the first hello.
 *
 * A hello carries the sender's session and monotonic time, and the last such pair that it got from the receiver. Only when
 * that echo is the receiver's own session and young is the sender alive: an old datagram, sent again by a stranger or held up
 * on the way, brings nobody back to life. No wall clock is compared, and nothing has to be remembered of former sessions.
 */
import { mixedFnv1a } from '../plan/fnv1a.ts';

export interface Mark {
  /** New for every start of the agent. */
  readonly session: string;
  /** Monotonic clock of the board that made it; rises with every hello. */
  readonly atMs: number;
}

/** What one board tells another. */
export interface Hello {
  readonly mark: Mark;
  /** The last mark that came from the receiver. */
  readonly echo?: Mark | undefined;
  readonly ready: boolean;
  readonly offers: readonly string[];
  /** Good-bye: the agent stops, or has no address to share any more. */
  readonly leaving: boolean;
}

export interface MembershipTiming {
  /** A board that was not heard for so long is dead; an echo older than this proves nothing. */
  readonly deadMs: number;
}

interface Peer {
  mark: Mark;
  /** When it last proved that it lives. */
  heardMs: number | undefined;
  ready: boolean;
  offers: ReadonlySet<string>;
}

export interface OwnState {
  readonly ready: boolean;
  /** Addresses that this board could hold. */
  readonly offers: readonly string[];
}

export interface Candidate {
  readonly node: string;
  readonly ready: boolean;
}

export class Membership {
  readonly #node: string;
  readonly #session: string;
  readonly #timing: MembershipTiming;
  readonly #peers = new Map<string, Peer>();
  /** Boards there are, but for this one. */
  #others: readonly string[] = [];
  #own: OwnState = { ready: false, offers: [] };
  readonly #joinsAtMs: number;
  #joined = false;
  #lastMarkMs = 0;

  constructor(node: string, session: string, timing: MembershipTiming, nowMs: number) {
    this.#node = node;
    this.#session = session;
    this.#timing = timing;
    this.#joinsAtMs = nowMs + timing.deadMs;
  }

  follow(others: readonly string[], own: OwnState): void {
    this.#others = others;
    this.#own = own;
    for (const node of this.#peers.keys()) if (!others.includes(node)) this.#peers.delete(node);
  }

  /**
   * A hello of another board, known to be from it. "news": it was not alive before, or offers something else; "stranger": it
   * lives but has not heard us yet, and should be answered now; "old": late, doubled or of a board that is none of ours.
   */
  receive(node: string, hello: Hello, nowMs: number): 'news' | 'known' | 'stranger' | 'old' {
    if (!this.#others.includes(node)) return 'old';
    const peer = this.#peers.get(node);
    const { mark, echo, ready } = hello;
    if (peer !== undefined && peer.mark.session === mark.session && mark.atMs <= peer.mark.atMs) {
      return 'old';
    }
    if (!this.#isOwnAndYoung(echo, nowMs)) {
      // It may be a replay: it is answered, and believed once it has our mark.
      if (peer?.heardMs !== undefined && this.#isAlive(peer, nowMs)) return 'old';
      this.#peers.set(node, { mark, heardMs: undefined, ready: false, offers: new Set() });
      return 'stranger';
    }
    const offers = new Set(hello.leaving ? [] : hello.offers);
    const before = peer !== undefined && this.#isAlive(peer, nowMs) ? peer : undefined;
    const heardMs = hello.leaving ? undefined : nowMs;
    this.#peers.set(node, { mark, heardMs, ready, offers });
    const same =
      before?.ready === ready &&
      before.offers.size === offers.size &&
      !hello.leaving &&
      [...offers].every((ip) => before.offers.has(ip));
    return same ? 'known' : 'news';
  }

  /** What this board tells of itself now; a change is worth a hello at once. */
  says(nowMs: number): OwnState {
    // Others must not let go before we can take.
    return this.#hasJoined(nowMs) ? this.#own : { ...this.#own, offers: [] };
  }

  /** What to tell a board now. */
  helloTo(node: string, nowMs: number, leaving = false): Hello {
    this.#lastMarkMs = Math.max(this.#lastMarkMs + 1, Math.floor(nowMs));
    const { ready, offers } = this.says(nowMs);
    return {
      mark: { session: this.#session, atMs: this.#lastMarkMs },
      echo: this.#peers.get(node)?.mark,
      ready,
      offers: leaving ? [] : offers,
      leaving,
    };
  }

  /** The addresses that this board is to hold now, sorted. None before it has heard the others, or waited for them. */
  holds(nowMs: number): string[] {
    if (!this.#hasJoined(nowMs)) return [];
    const alive = [...this.#peers].filter(([, peer]) => this.#isAlive(peer, nowMs));
    const self = { node: this.#node, ready: this.#own.ready };
    return this.#own.offers
      .filter((ip) => {
        const rivals = alive
          .filter(([, { offers }]) => offers.has(ip))
          .map(([node, { ready }]) => ({ node, ready }));
        return winnerOf(ip, [self, ...rivals])?.node === this.#node;
      })
      .sort();
  }

  /** This process stood still for so long: hellos that came meanwhile are still to be read, and nobody is dead for it. */
  stoodStill(ms: number): void {
    for (const peer of this.#peers.values()) if (peer.heardMs !== undefined) peer.heardMs += ms;
  }

  /** Boards that live, sorted. */
  alive(nowMs: number): string[] {
    return [...this.#peers]
      .flatMap(([node, peer]) => (this.#isAlive(peer, nowMs) ? [node] : []))
      .sort();
  }

  #hasJoined(nowMs: number): boolean {
    this.#joined ||= nowMs >= this.#joinsAtMs || this.alive(nowMs).length === this.#others.length;
    return this.#joined;
  }

  #isAlive({ heardMs }: Peer, nowMs: number): boolean {
    return heardMs !== undefined && nowMs - heardMs < this.#timing.deadMs;
  }

  #isOwnAndYoung(echo: Mark | undefined, nowMs: number): boolean {
    return echo?.session === this.#session && nowMs - echo.atMs < this.#timing.deadMs;
  }
}

/** Who holds an address: the same on every board that knows the same candidates. */
export function winnerOf(ip: string, candidates: readonly Candidate[]): Candidate | undefined {
  const score = ({ node }: Candidate) => mixedFnv1a(`${ip} ${node}`);
  const [first] = [...candidates].sort(
    (a, b) =>
      Number(b.ready) - Number(a.ready) || score(b) - score(a) || (a.node < b.node ? -1 : 1),
  );
  return first;
}
