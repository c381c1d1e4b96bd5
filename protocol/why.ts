/** The answer of `GET /pier/v1/why/NAMESPACE/POD`: how each board looks to a pod. */
import { type Static, Type } from 'typebox';

export const WHY_PATH = '/pier/v1/why/';

export const WhyAnswer = Type.Object({
  pod: Type.String(),
  /** The board it has; empty while it has none. */
  node: Type.String(),
  /** What holds it back, in one sentence; empty when nothing does. */
  message: Type.String(),
  /** Boards that fit first, the best of them at the top; then the others by name. */
  boards: Type.Array(
    Type.Object({
      node: Type.String(),
      fits: Type.Boolean(),
      /** The filter that refused it, and its reasons. */
      filter: Type.String(),
      reasons: Type.Array(Type.String()),
      /** Name of the score -> 0 to 100. */
      scores: Type.Record(Type.String(), Type.Number()),
      total: Type.Number(),
    }),
  ),
});
export type WhyAnswer = Static<typeof WhyAnswer>;
