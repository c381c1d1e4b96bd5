/**
 * The service account tokens in the volumes of one board's pods: when each has to be made, and making them. They are made when a
 * pod's message goes out, and again after 80 % of their life (as the kubelet does). They are part of no digest: a renewed token
 * is a new message, but no new manifest, and the board writes nothing to its card. Nothing is kept of a token here.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { encodeCbor } from '../../protocol/codec.ts';
import type { Pod, ServiceAccountTokenProjection } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { seal, tokenContext, tokenKey } from '../../protocol/seal.ts';
import type { ApiClient } from '../api/client.ts';
import type { Timers } from '../informer/timers.ts';

const RENEW_AT = 0.8;
/** No account, say. */
const TRY_AGAIN_MS = 60_000;
const LOOK_MIN_MS = 60_000;

export interface PodTokensOptions {
  readonly node: string;
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Logger;
  readonly onDue: () => void;
}

interface Entry {
  pod: Pod;
  /** How often tokens were made. */
  round: number;
  /** By the monotonic clock. */
  dueMs: number;
}

export class PodTokens {
  readonly #options: PodTokensOptions;
  /** By uid; pods without such a volume have none. */
  #entries = new Map<string, Entry>();
  #cancelTimer: (() => void) | undefined;

  constructor(options: PodTokensOptions) {
    this.#options = options;
  }

  /** `pods`: all of the board. A pod that has ended needs no newer token. */
  follow(pods: readonly Pod[]): void {
    const entries = new Map<string, Entry>();
    for (const pod of pods) {
      const uid = pod.metadata?.uid ?? '';
      if (tokenSources(pod).length === 0) continue;
      const known = this.#entries.get(uid);
      const ended = hasEnded(pod.status);
      if (known === undefined && ended) continue;
      const dueMs = ended ? Number.POSITIVE_INFINITY : (known?.dueMs ?? 0);
      entries.set(uid, { pod, round: known?.round ?? 0, dueMs });
    }
    this.#entries = entries;
  }

  get isDue(): boolean {
    return this.#dueMs <= this.#options.clock.monotonicMs();
  }

  /** Has `onDue` called when the next one is due, after a minute at the soonest: so many pods are renewed in one round. */
  wait(): void {
    const { clock, timers, onDue } = this.#options;
    this.stop();
    const waitMs = this.#dueMs - clock.monotonicMs();
    if (waitMs === Number.POSITIVE_INFINITY) return;
    this.#cancelTimer = timers.after(Math.max(waitMs, LOOK_MIN_MS), onDue);
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** Of the next one, by the monotonic clock; Infinity without any. */
  get #dueMs(): number {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries.values()) dueMs = Math.min(dueMs, entry.dueMs);
    return dueMs;
  }

  /** Names the tokens that a pod's message should hold now: another one than before when they are due. Empty without any. */
  stamp(uid: string): string {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return '';
    const isDue = entry.dueMs <= this.#options.clock.monotonicMs();
    return `#${entry.round + (isDue ? 1 : 0)}`;
  }

  /** Makes the pod's tokens; undefined when it has none or they cannot be made, which is tried again. */
  async make(uid: string, publicKey: Uint8Array): Promise<Uint8Array | undefined> {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return undefined;
    const { node, clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    if (entry.dueMs <= nowMs) entry.round += 1;
    try {
      const { tokens, seconds } = await this.#issue(entry.pod);
      entry.dueMs = nowMs + seconds * 1000 * RENEW_AT;
      return await seal(publicKey, encodeCbor(tokens), tokenContext(node, uid));
    } catch (error) {
      const { namespace, name } = entry.pod.metadata ?? {};
      log.warn({ err: error, pod: `${namespace}/${name}` }, 'no token for the volume of a pod');
      entry.dueMs = nowMs + TRY_AGAIN_MS;
      return undefined;
    }
  }

  /** `seconds`: of the shortest life. */
  async #issue(pod: Pod): Promise<{ tokens: Record<string, string>; seconds: number }> {
    const { namespace = '', name = '', uid = '' } = pod.metadata ?? {};
    const tokens: Record<string, string> = {};
    let seconds = Number.POSITIVE_INFINITY;
    for (const { volume, source } of tokenSources(pod)) {
      const { audience, expirationSeconds = 3600, path } = source;
      tokens[tokenKey(volume, path)] = await this.#options.client.createToken(
        namespace,
        pod.spec?.serviceAccountName || 'default',
        {
          audiences: audience === undefined || audience === '' ? [] : [audience],
          expirationSeconds,
          boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name, uid },
        },
      );
      seconds = Math.min(seconds, expirationSeconds);
    }
    return { tokens, seconds };
  }
}

function tokenSources(pod: Pod): { volume: string; source: ServiceAccountTokenProjection }[] {
  return (pod.spec?.volumes ?? []).flatMap(({ name: volume, projected }) =>
    (projected?.sources ?? []).flatMap(({ serviceAccountToken: source }) =>
      source === undefined ? [] : [{ volume, source }],
    ),
  );
}
