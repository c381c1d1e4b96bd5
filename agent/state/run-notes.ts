/**
 * What this agent leaves for the next one about running containers (plan/probes.ts: Remembered), so that a restarted
 * agent takes no ready pod out of its services and repeats no hook. In a file on a tmpfs: it never touches the card,
 * and a reboot, which ends every container, forgets it. Losing it costs one period of the readiness probe.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import type { Remembered } from '../plan/probes.ts';

const Notes = Type.Object({
  v: Type.Literal(1),
  containers: Type.Record(
    Type.String(),
    Type.Object({
      started: Type.Boolean(),
      ready: Type.Boolean(),
      hooked: Type.Boolean(),
      readySinceMs: Type.Optional(Type.Number()),
    }),
  ),
  /** By uid: when pods with a deadline were first known, in milliseconds since the board's boot. */
  pods: Type.Optional(Type.Record(Type.String(), Type.Number())),
});

export class RunNotes {
  readonly #file: string;
  readonly #onWriteError: (error: unknown) => void;
  #containers = new Map<string, Remembered>();
  #pods = new Map<string, number>();
  #writing: Promise<void> | undefined;
  #changed = false;

  constructor(file: string, onWriteError: (error: unknown) => void) {
    this.#file = file;
    this.#onWriteError = onWriteError;
  }

  /** A file that is missing or not readable counts as empty. */
  async load(): Promise<void> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#file, 'utf8'));
      if (!Value.Check(Notes, value)) return;
      this.#containers = new Map(Object.entries(value.containers));
      this.#pods = new Map(Object.entries(value.pods ?? {}));
    } catch {
      // Nothing is lost that the probes do not find out again.
    }
  }

  get(containerId: string): Remembered | undefined {
    return this.#containers.get(containerId);
  }

  /** `wallMs` is kept as the time since when it is ready. */
  note(containerId: string, now: Remembered, wallMs: number): void {
    const known = this.#containers.get(containerId) ?? NOTHING;
    const { started, ready, hooked } = known;
    if (started === now.started && ready === now.ready && hooked === now.hooked) return;
    const readySinceMs = ready === now.ready ? known.readySinceMs : wallMs;
    const since = now.ready && readySinceMs !== undefined ? { readySinceMs } : {};
    this.#containers.set(containerId, { ...now, ...since });
    this.#save();
  }

  /**
   * For how long this board has known the pod, in milliseconds, also across agents. A reboot starts over: no clock
   * tells how long the board was off.
   */
  podAgeMs(uid: string): number {
    const nowMs = sinceBootMs();
    const known = this.#pods.get(uid);
    if (known !== undefined) return Math.max(0, nowMs - known);
    this.#pods.set(uid, nowMs);
    this.#save();
    return 0;
  }

  forgetPod(uid: string): void {
    if (this.#pods.delete(uid)) this.#save();
  }

  prune(keep: (containerId: string) => boolean): void {
    const gone = [...this.#containers.keys()].filter((id) => !keep(id));
    for (const id of gone) this.#containers.delete(id);
    if (gone.length > 0) this.#save();
  }

  /** Waits for what is being written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  #save(): void {
    this.#changed = true;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async #write(): Promise<void> {
    // Changes of one turn of the event loop go out in one write.
    await Promise.resolve();
    while (this.#changed) {
      this.#changed = false;
      try {
        const containers = Object.fromEntries(this.#containers);
        const text = JSON.stringify({ v: 1, containers, pods: Object.fromEntries(this.#pods) });
        await writeFile(`${this.#file}.new`, text, { mode: 0o600 });
        await rename(`${this.#file}.new`, this.#file);
      } catch (error) {
        this.#onWriteError(error);
      }
    }
  }
}

/** CLOCK_MONOTONIC, which begins with the boot on Linux and is the same for every process. */
function sinceBootMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

const NOTHING: Remembered = { started: false, ready: false, hooked: false };
