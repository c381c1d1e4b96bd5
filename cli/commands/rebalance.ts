/** `pier rebalance`: which moves of pods would free a whole board. A dry run: the master makes moves only when told to. */
import { Value } from 'typebox/value';
import { REBALANCE_PATH, RebalanceAnswer } from '../../protocol/rebalance.ts';
import { Client } from '../client.ts';
import { kubeconfigOf, readKubeconfig, type WhoAsks } from '../kubeconfig.ts';
import { renderTable } from '../table.ts';

/** Prints to stdout. Throws an Error whose message says what to do. */
export async function rebalance(options: WhoAsks): Promise<void> {
  const client = new Client(readKubeconfig(kubeconfigOf(options)));
  try {
    const answer = await client.json<unknown>(REBALANCE_PATH);
    if (!Value.Check(RebalanceAnswer, answer)) {
      throw new Error(
        'the answer is not what this version of pier knows: use the one of the master',
      );
    }
    process.stdout.write(`${rebalanceLines(answer).join('\n')}\n`);
  } finally {
    client.close();
  }
}

const MODES: Readonly<Record<string, string>> = {
  off: 'The master moves nothing (start it with --rebalance move, or propose to be told by events).',
  propose: 'The master says so by events and moves nothing (--rebalance propose).',
  move: 'The master moves one pod a minute (--rebalance move).',
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
