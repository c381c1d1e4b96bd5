/** Boards that tell each other over a LAN that loses, delays, doubles and splits, from a seed. */
import t from 'tap';
import { LIMITS } from '../../../agent/config.ts';
import { type Hello, Membership } from '../../../agent/pool/membership.ts';

const { intervalMs, deadMs } = LIMITS.pool;
const SEEDS = 60;
const IPS = ['192.0.2.240', '192.0.2.241', '192.0.2.242', '192.0.2.243'];
/** The promise: an address of a dead board is somewhere else after so long. */
const TAKEOVER_MS_MAX = 3000;
const STEP_MS = 10;

interface Board {
  readonly node: string;
  membership: Membership;
  nextTickMs: number;
  /** Its monotonic clock is not the others'. */
  readonly offsetMs: number;
  on: boolean;
  /** What it told last. */
  said: string;
}

interface Flight {
  readonly atMs: number;
  readonly from: string;
  readonly to: string;
  readonly hello: Hello;
}

class Lan {
  readonly boards: Board[] = [];
  nowMs = 0;
  lossPercent = 0;
  /** Boards of different sides do not hear each other. */
  side = new Map<string, number>();
  readonly #random: () => number;
  #flights: Flight[] = [];
  #sessions = 0;

  constructor(count: number, random: () => number) {
    this.#random = random;
    for (let index = 0; index < count; index += 1) {
      const node = `board${index}`;
      const offsetMs = Math.floor(random() * 1e6);
      const board = { node, offsetMs, nextTickMs: 0, on: false, said: '' };
      this.boards.push({ ...board, membership: this.#newLife(node, offsetMs, []) });
    }
    for (const board of this.boards) this.powerOn(board);
  }

  powerOn(board: Board): void {
    const others = this.boards.filter((one) => one !== board).map(({ node }) => node);
    board.membership = this.#newLife(board.node, board.offsetMs, others);
    board.nextTickMs = this.nowMs + Math.floor(this.#random() * intervalMs);
    board.on = true;
    board.said = '';
  }

  run(ms: number, look: () => void = () => {}): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs += STEP_MS;
      this.#deliver();
      for (const board of this.boards.filter(({ on }) => on)) this.#tick(board);
      look();
    }
  }

  holders(ip: string): string[] {
    return this.boards
      .filter(
        ({ on, membership, offsetMs }) =>
          on && membership.holds(this.nowMs + offsetMs).includes(ip),
      )
      .map(({ node }) => node);
  }

  goodBye(board: Board): void {
    this.#tell(board, true);
    board.on = false;
  }

  #newLife(node: string, offsetMs: number, others: readonly string[]): Membership {
    this.#sessions += 1;
    const nowMs = this.nowMs + offsetMs;
    const membership = new Membership(node, `session ${this.#sessions}`, { deadMs }, nowMs);
    membership.follow(others, { ready: true, offers: IPS });
    return membership;
  }

  #tick(board: Board): void {
    this.#tellNews(board);
    if (this.nowMs < board.nextTickMs) return;
    board.nextTickMs += intervalMs;
    this.#tell(board, false);
  }

  #tellNews(board: Board): void {
    const says = JSON.stringify(board.membership.says(this.nowMs + board.offsetMs));
    if (says === board.said) return;
    board.said = says;
    this.#tell(board, false);
  }

  #tell(board: Board, leaving: boolean): void {
    for (const { node } of this.boards) if (node !== board.node) this.#send(board, node, leaving);
  }

  #send(board: Board, to: string, leaving: boolean): void {
    const hello = board.membership.helloTo(to, this.nowMs + board.offsetMs, leaving);
    for (const copy of this.#random() < 0.1 ? [1, 2] : [1]) {
      if (this.#random() * 100 < this.lossPercent) continue;
      const atMs = this.nowMs + Math.floor(this.#random() * 40 * copy);
      this.#flights.push({ atMs, from: board.node, to, hello });
    }
  }

  #deliver(): void {
    const due = this.#flights.filter(({ atMs }) => atMs <= this.nowMs);
    this.#flights = this.#flights.filter(({ atMs }) => atMs > this.nowMs);
    for (const { from, to, hello } of due) {
      const board = this.boards.find(({ node }) => node === to);
      if (board?.on !== true || this.side.get(from) !== this.side.get(to)) continue;
      const outcome = board.membership.receive(from, hello, this.nowMs + board.offsetMs);
      if (outcome === 'stranger') this.#send(board, from, false);
      this.#tellNews(board);
    }
  }
}

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function each(run: (lan: Lan, random: () => number, seed: number) => void): void {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const random = mulberry32(seed);
    run(new Lan(2 + Math.floor(random() * 6), random), random, seed);
  }
}

t.test(
  'when a board goes dark another one takes over within 3 s, and only its addresses move',
  async (t) => {
    each((lan, random, seed) => {
      lan.run(4000);
      const before = new Map(IPS.map((ip) => [ip, lan.holders(ip)]));
      for (const [ip, holders] of before) {
        if (holders.length !== 1) t.fail(`seed ${seed}: ${ip} is held by ${holders.join(' ')}`);
      }
      lan.run(Math.floor(random() * 1000));
      const [dead] = lan.boards.filter(({ node }) => before.get(IPS[0] ?? '')?.[0] === node);
      if (dead === undefined) throw new Error(`seed ${seed}: nobody holds ${IPS[0]}`);
      dead.on = false;
      lan.run(TAKEOVER_MS_MAX - 500, () => {
        for (const ip of IPS) {
          const held = lan.holders(ip);
          if (held.length > 1) t.fail(`seed ${seed}: ${ip} is held by ${held.join(' ')}`);
          const was = before.get(ip)?.[0];
          if (was !== dead.node && held[0] !== was)
            t.fail(`seed ${seed}: ${ip} has moved from ${was}`);
        }
      });
      // The rest of the 3 s is for `ip` and ARP.
      for (const ip of IPS) t.equal(lan.holders(ip).length, 1, `seed ${seed}: ${ip}`);
      lan.powerOn(dead);
      lan.run(4000);
      for (const ip of IPS) t.same(lan.holders(ip), before.get(ip), `seed ${seed}: back again`);
    });
  },
);

t.test('a good-bye is a takeover at once', async (t) => {
  each((lan, _random, seed) => {
    lan.run(4000);
    const [ip = ''] = IPS;
    const [holder] = lan.holders(ip);
    const board = lan.boards.find(({ node }) => node === holder);
    if (board === undefined) throw new Error(`seed ${seed}: nobody holds ${ip}`);
    lan.goodBye(board);
    lan.run(100);
    t.equal(lan.holders(ip).length, 1, `seed ${seed}`);
  });
});

t.test('loss, splits and reboots: at most one holder as soon as hellos flow again', async (t) => {
  each((lan, random, seed) => {
    lan.run(4000);
    for (let round = 0; round < 6; round += 1) {
      lan.lossPercent = random() * 80;
      for (const board of lan.boards) {
        lan.side.set(board.node, Math.floor(random() * 3));
        if (random() < 0.2) board.on = !board.on;
        if (board.on && random() < 0.1) lan.powerOn(board);
      }
      lan.run(Math.floor(random() * 5000));
    }
    lan.lossPercent = 0;
    lan.side = new Map();
    for (const board of lan.boards) if (!board.on) lan.powerOn(board);
    // Each hears all others, and they it: two intervals and the way.
    lan.run(2 * intervalMs + 100);
    const settled = new Map(IPS.map((ip) => [ip, lan.holders(ip)]));
    for (const [ip, holders] of settled) {
      if (holders.length > 1) t.fail(`seed ${seed}: ${ip} is held by ${holders.join(' ')}`);
    }
    lan.run(deadMs + intervalMs);
    for (const ip of IPS) t.equal(lan.holders(ip).length, 1, `seed ${seed}: ${ip}`);
  });
});
