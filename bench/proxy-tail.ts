/** How much a proxy adds to a percentile, beside what a peer adds to it: a difference of two tails, so it needs many rounds. */
import { quantile, round } from './benchmark.ts';
import type { Sample } from './proxy-loads.ts';

const RESAMPLES = 2000;

export interface AddedTail {
  readonly [key: string]: number;
  /** Medians of the rounds, without the direct connection's, in microseconds. */
  readonly addedUs: number;
  readonly peerAddedUs: number;
  readonly ratio: number;
  /** The middle 90 % of the ratio when rounds are drawn anew (bootstrap); Infinity where the peer adds nothing. */
  readonly ratioLow: number;
  readonly ratioHigh: number;
}

/** Samples of the same index are of the same round. */
export function addedTail(
  own: readonly Sample[],
  peer: readonly Sample[],
  direct: readonly Sample[],
  random: () => number = Math.random,
): AddedTail {
  const rounds = own.map((_, index) => index);
  const addedBy = (samples: readonly Sample[], drawn: readonly number[]) =>
    medianP99(samples, drawn) - medianP99(direct, drawn);
  const ratioOf = (drawn: readonly number[]) => {
    const peerAdds = addedBy(peer, drawn);
    return peerAdds > 0 ? addedBy(own, drawn) / peerAdds : Number.POSITIVE_INFINITY;
  };
  const ratios = Array.from({ length: RESAMPLES }, () =>
    ratioOf(rounds.map(() => Math.floor(random() * rounds.length))),
  ).sort((a, b) => a - b);
  return {
    addedUs: round(addedBy(own, rounds), 0),
    peerAddedUs: round(addedBy(peer, rounds), 0),
    ratio: round(ratioOf(rounds), 2),
    ratioLow: round(ratios[Math.floor(RESAMPLES * 0.05)] ?? 0, 2),
    ratioHigh: round(ratios[Math.floor(RESAMPLES * 0.95)] ?? 0, 2),
  };
}

function medianP99(samples: readonly Sample[], drawn: readonly number[]): number {
  return quantile(
    drawn.map((index) => samples[index]?.p99Us ?? 0),
    0.5,
  );
}
