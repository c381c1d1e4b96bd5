/** `pier why POD`: for each board, that it fits (with its scores), or exactly why not. */
import { WHY_PATH, WhyAnswer } from '../../protocol/why.ts';
import { ask } from '../ask.ts';
import type { WhoAsks } from '../kubeconfig.ts';
import { renderTable } from '../table.ts';

export interface WhyOptions extends WhoAsks {
  readonly namespace: string;
}

/** Prints to stdout. Throws an Error whose message says what to do. */
export async function why(pod: string, options: WhyOptions): Promise<void> {
  const names = [options.namespace, pod].map(encodeURIComponent).join('/');
  const answer = await ask(options, `${WHY_PATH}${names}`, WhyAnswer);
  process.stdout.write(`${whyLines(answer).join('\n')}\n`);
}

/** Lines for people, without a line end. Pure. */
export function whyLines({ pod, node, message, boards }: WhyAnswer): string[] {
  const head =
    node === ''
      ? `${pod} has no board${message === '' ? ' yet' : `: ${message}`}`
      : `${pod} is on ${node}; as if it were to be placed now:`;
  const scores = [...new Set(boards.flatMap((board) => Object.keys(board.scores)))];
  const table = renderTable(
    {
      columnDefinitions: ['Board', 'Fits', 'Total', ...scores, 'Why not'].map((name) => ({ name })),
      rows: boards.map((board) => ({
        cells: [
          board.node,
          board.fits ? 'yes' : 'no',
          board.fits ? board.total.toFixed(1) : '',
          ...scores.map((name) => board.scores[name]?.toFixed(0) ?? ''),
          board.fits ? '' : `${board.filter}: ${board.reasons.join(', ')}`,
        ],
      })),
    },
    true,
  );
  return boards.length === 0 ? [head, 'There is no board at all.'] : [head, ...table];
}
