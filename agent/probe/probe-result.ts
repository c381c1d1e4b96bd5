/** What came of one probe, and the words that describe it. */
import type { ProbeAnswer } from '../plan/probes.ts';

export interface ProbeResult {
  readonly answer: ProbeAnswer;
  readonly output: string;
  /** A success that someone should look at. */
  readonly warning?: boolean;
  /** A server answered, whatever it said. */
  readonly answered?: boolean;
}
