/**
 * The service account tokens of this board's pods, opened. The first of a pod lies sealed on the disk with the pod, so that the pod
 * starts after a reboot without a master, too (with a token that may have ended: then there is nobody to show it to). Renewed ones
 * come every 48 minutes and touch no card: they are kept, still sealed, in a file on a tmpfs, so that a restarted
 * agent does not go back to older ones.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { decodeCbor, encodeCbor } from '../../protocol/codec.ts';
import type { DesiredPod } from '../../protocol/messages.ts';

/** By tokenKey (protocol/seal.ts). */
export type OpenTokens = Readonly<Record<string, string>>;

export interface PodTokensOptions {
  /** On a tmpfs. */
  readonly file: string;
  /** Opens what is sealed to the board's key. */
  readonly open: (podUid: string, sealed: Uint8Array) => Promise<Uint8Array>;
  readonly log: Logger;
}

interface Entry {
  /** As the last message had them. */
  readonly told: Uint8Array;
  /** What was opened: the same, or newer ones from before this agent started. */
  readonly sealed: Uint8Array;
  readonly tokens: OpenTokens;
}

const Tokens = Type.Record(Type.String(), Type.String());

export class PodTokens {
  readonly #options: PodTokensOptions;
  #entries = new Map<string, Entry>();

  constructor(options: PodTokensOptions) {
    this.#options = options;
  }

  /** `pods`: from the disk. What the last agent left in the file is newer. */
  async load(pods: readonly DesiredPod[]): Promise<void> {
    const left = await readLeft(this.#options.file);
    for (const { uid, tokens: told } of pods) {
      if (told === undefined) continue;
      const sealed = left.get(uid) ?? told;
      const tokens =
        (await this.#open(uid, sealed)) ??
        (sealed === told ? undefined : await this.#open(uid, told));
      if (tokens !== undefined) this.#entries.set(uid, { told, sealed, tokens });
    }
  }

  /** The same object for the same tokens. */
  of(uid: string): OpenTokens | undefined {
    return this.#entries.get(uid)?.tokens;
  }

  /** Opens what is new. A message without tokens takes none away: their pod may still need them. True when something is new. */
  async take(pods: readonly DesiredPod[]): Promise<boolean> {
    let isNew = false;
    for (const { uid, tokens: told } of pods) {
      const known = this.#entries.get(uid);
      if (told === undefined || (known !== undefined && sameBytes(known.told, told))) continue;
      const tokens = await this.#open(uid, told);
      if (tokens === undefined) continue;
      this.#entries.set(uid, { told, sealed: told, tokens });
      isNew = true;
    }
    if (isNew) await this.#leave();
    return isNew;
  }

  /** Forgets those of pods that are no more. */
  keepOnly(uids: ReadonlySet<string>): void {
    for (const uid of this.#entries.keys()) if (!uids.has(uid)) this.#entries.delete(uid);
  }

  async #open(uid: string, sealed: Uint8Array): Promise<OpenTokens | undefined> {
    try {
      const tokens = decodeCbor(await this.#options.open(uid, sealed));
      if (Value.Check(Tokens, tokens)) return tokens;
      throw new Error('it is no map of tokens');
    } catch (error) {
      this.#options.log.error({ err: error, uid }, 'tokens of a pod cannot be opened');
      return undefined;
    }
  }

  async #leave(): Promise<void> {
    const { file, log } = this.#options;
    const sealed = [...this.#entries].map(([uid, entry]) => [uid, entry.sealed] as const);
    try {
      await writeFile(`${file}.new`, encodeCbor(Object.fromEntries(sealed)), { mode: 0o600 });
      await rename(`${file}.new`, file);
    } catch (error) {
      log.warn({ err: error }, 'tokens for the next agent not written');
    }
  }
}

/** A file that is missing or not readable counts as empty: a reboot. */
async function readLeft(file: string): Promise<Map<string, Uint8Array>> {
  const left = new Map<string, Uint8Array>();
  try {
    for (const [uid, sealed] of Object.entries(decodeCbor(await readFile(file)) ?? {})) {
      if (sealed instanceof Uint8Array) left.set(uid, sealed);
    }
  } catch {
    // The pods have those that came with them.
  }
  return left;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
