/** `pier rebalance`: which moves of pods would free a whole board. A dry run: the master makes moves only when told to. */
import { REBALANCE_PATH, RebalanceAnswer } from '../../protocol/rebalance.ts';
import { ask } from '../ask.ts';
import type { WhoAsks } from '../kubeconfig.ts';
import { renderTable } from '../table.ts';

/** Prints to stdout. Throws an Error whose message says what to do. */
export async function rebalance(options: WhoAsks): Promise<void> {
  const answer = await ask(options, REBALANCE_PATH, RebalanceAnswer);
  process.stdout.write(`${rebalanceLines(answer).join('\n')}\n`);
}

const MODES: Readonly<Record<string, string>> = {
  off: 'The master moves nothing (start it with --rebalance move, or propose to be told by events).',
  propose: 'The master says so by events and moves nothing (--rebalance propose).',
  move: 'The master moves one pod after the other (--rebalance move).',
};

/** Lines for people, without a line end. Pure. */
export function rebalanceLines({ mode, goesOn, board, moves, kept }: RebalanceAnswer): string[] {
  const table = (names: readonly string[], rows: readonly string[][]) =>
    renderTable(
      {
        columnDefinitions: names.map((name) => ({ name })),
        rows: rows.map((cells) => ({ cells })),
      },
      true,
    );
  return [
    board === '' ? 'No board can be freed.' : `Board ${board} would be free after these moves:`,
    ...(moves.length === 0
      ? []
      : table(
          ['Pod', 'To'],
          moves.map(({ pod, to }) => [pod, to]),
        )),
    ...(kept.length === 0
      ? []
      : table(
          ['Board', 'Stays in use'],
          kept.map(({ board: name, why }) => [name, why]),
        )),
    ...(goesOn === '' ? [] : [`Nothing is moved now: ${goesOn}.`]),
    MODES[mode] ?? '',
  ];
}
