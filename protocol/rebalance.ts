/** The answer of `GET /pier/v1/rebalance`: which moves of pods would free a board. */
import { type Static, Type } from 'typebox';

export const REBALANCE_PATH = '/pier/v1/rebalance';

export const RebalanceAnswer = Type.Object({
  /** off, propose or move, as the master was started. */
  mode: Type.String(),
  /** What must be over before the master moves anything; empty when nothing goes on. */
  goesOn: Type.String(),
  /** The board that would be free; empty when none can be freed. */
  board: Type.String(),
  /** In order; pods as namespace/name. */
  moves: Type.Array(Type.Object({ pod: Type.String(), to: Type.String() })),
  /** Boards that stay in use, and why. */
  kept: Type.Array(Type.Object({ board: Type.String(), why: Type.String() })),
});
export type RebalanceAnswer = Static<typeof RebalanceAnswer>;
