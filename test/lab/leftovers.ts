/** What a board holds that none of its pods explains, on each engine. */
import type { Pod } from '../../protocol/kinds/types.ts';
import { BoardLook } from './board-look.ts';
import { ContainerdLeftovers } from './containerd-leftovers.ts';
import type { Lab } from './lab.ts';
import { PodmanLeftovers } from './podman-leftovers.ts';

/** Engines whose boards can be looked through: what Docker leaves is not looked for yet. */
export const KILL_ENGINES = ['podman', 'cri'] as const;
export type KillEngine = (typeof KILL_ENGINES)[number];

export interface Leftovers {
  /** Of just these pods, `volumes` being those of their claims. Empty when all is as it should be. */
  find(pods: readonly Pod[], volumes: readonly string[]): Promise<string[]>;
}

/** Of the lab's first board; to be called before anything runs on it. */
export async function leftoversOf(lab: Lab, engine: KillEngine): Promise<Leftovers> {
  const board = lab.board(1);
  await BoardLook.prepare(board);
  switch (engine) {
    case 'podman':
      return new PodmanLeftovers(board, lab.env);
    case 'cri':
      return new ContainerdLeftovers(board, () => lab.log(1, engine));
  }
}
