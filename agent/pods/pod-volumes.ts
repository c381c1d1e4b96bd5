/**
 * The volumes of one pod, made and refreshed one after the other: containers that are made at the same time share them, and two
 * that mount the same one would stack two mounts.
 */
import type { PlannedVolume } from '../plan/volume-plan.ts';
import type { NetworkMounts } from './network-mounts.ts';
import { makeVolumes, refreshVolumes } from './volumes.ts';

type Volumes = ReadonlyMap<string, PlannedVolume>;

export class PodVolumes {
  readonly #mounts: Pick<NetworkMounts, 'ensure'>;
  #last: Promise<void> = Promise.resolve();

  constructor(mounts: Pick<NetworkMounts, 'ensure'>) {
    this.#mounts = mounts;
  }

  /** Idempotent. Throws VolumeError. */
  make(volumes: Volumes): Promise<void> {
    return this.#queue(() => makeVolumes(volumes, (mount) => this.#mounts.ensure(mount)));
  }

  /** Only those whose content may change while the pod runs; planned when it is their turn. Throws VolumeError. */
  refresh(plan: () => Volumes): Promise<void> {
    return this.#queue(() => refreshVolumes(plan()));
  }

  /** When nothing of it is under way any more. */
  settled(): Promise<void> {
    return this.#last;
  }

  #queue(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }
}
