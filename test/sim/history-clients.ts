/**
 * Clients that read and write the same few objects of a real master over HTTPS. Nothing is retried: every call is noted with
 * what came of it, for faultsOf (history.ts).
 */
import { type Client, RequestError } from '../../cli/client.ts';
import type { Random } from './disk.ts';
import type { Call, Version } from './history.ts';

export const PATH = '/api/v1/namespaces/default/configmaps';
export const LABEL = 'history=yes';
const KEYS = 4;
const CALL_MS = 20_000;
const FILLER_BYTES_MAX = 1500;

export interface ConfigMap {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly data?: { readonly tag?: string };
}

/** The objects of a list by name. */
export interface Listed {
  readonly revision: number;
  readonly seen: ReadonlyMap<string, Version>;
}

export class HistoryClients {
  readonly calls: Call[] = [];
  readonly #random: Random;
  /** What they have heard last of each key: where conditional writes start from. */
  readonly #heard = new Map<string, Version>();
  #tags = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** One call after the other until the master does not answer. */
  async run(http: Client, client: string): Promise<void> {
    for (;;) {
      const key = `h-${Math.floor(this.#random() * KEYS)}`;
      const dice = this.#random();
      let answered: boolean;
      if (dice < 0.25) answered = await this.#get(http, client, key);
      else if (dice < 0.35) answered = (await this.list(http, client)) !== undefined;
      else if (dice < 0.5) answered = await this.#delete(http, client, key);
      else answered = await this.#put(http, client, key);
      if (!answered) return;
    }
  }

  /** A write of `key` whose answer the run depends on; its revision. Throws when none came or it was refused. */
  async mustPut(http: Client, key: string, fillerBytes?: number): Promise<number> {
    if (!(await this.#put(http, key, key, fillerBytes))) throw new Error(`no answer on ${key}`);
    const revision = this.#heard.get(key)?.revision;
    if (revision === undefined) throw new Error(`the write of ${key} was refused`);
    return revision;
  }

  async #get(http: Client, client: string, key: string): Promise<boolean> {
    const startMs = performance.now();
    const answer = await outcomeOf(() => http.json<ConfigMap>(`${PATH}/${key}`, options('GET')));
    if (answer === 'unknown') return false;
    const seen = answer === 404 ? undefined : versionOf(expectObject(answer, 'get'));
    this.#note(key, seen);
    this.calls.push({ type: 'get', client, key, seen, startMs, endMs: performance.now() });
    return true;
  }

  /** Of all the objects; undefined when no answer came. */
  async list(http: Client, client: string): Promise<Listed | undefined> {
    const startMs = performance.now();
    const path = `${PATH}?labelSelector=${LABEL}`;
    const answer = await outcomeOf(() =>
      http.json<{
        readonly metadata: { readonly resourceVersion: string };
        readonly items: readonly ConfigMap[];
      }>(path, options('GET')),
    );
    if (answer === 'unknown') return undefined;
    const list = expectObject(answer, 'list');
    const endMs = performance.now();
    const seen = new Map(list.items.map((item) => [item.metadata.name, versionOf(item)]));
    const revision = Number(list.metadata.resourceVersion);
    this.calls.push({ type: 'list', client, revision, seen, startMs, endMs });
    return { revision, seen };
  }

  async #put(
    http: Client,
    client: string,
    key: string,
    fillerBytes = this.#random() * FILLER_BYTES_MAX,
  ): Promise<boolean> {
    const heard = this.#heard.get(key);
    // Now and then without a condition: whatever is there.
    const base = heard !== undefined && this.#random() < 0.3 ? undefined : (heard?.revision ?? 0);
    const tag = `${client}.${this.#tags++}`;
    const body = {
      metadata: {
        name: key,
        labels: { history: 'yes' },
        ...(base === undefined || base === 0 ? {} : { resourceVersion: String(base) }),
      },
      data: { tag, filler: 'x'.repeat(fillerBytes) },
    };
    const startMs = performance.now();
    const answer = await outcomeOf(() =>
      base === 0
        ? http.json<ConfigMap>(PATH, { ...options('POST'), body })
        : http.json<ConfigMap>(`${PATH}/${key}`, { ...options('PUT'), body }),
    );
    const put = { type: 'put', client, key, tag, base, startMs } as const;
    if (answer === 'unknown') {
      this.calls.push({ ...put, outcome: 'unknown' });
      return false;
    }
    const endMs = performance.now();
    if (answer === 404 || answer === 409) {
      this.#heard.delete(key);
      this.calls.push({ ...put, endMs, outcome: 'refused' });
      return true;
    }
    const version = versionOf(expectObject(answer, 'put'));
    this.#note(key, version);
    this.calls.push({ ...put, endMs, outcome: { revision: version.revision } });
    return true;
  }

  async #delete(http: Client, client: string, key: string): Promise<boolean> {
    const base = this.#heard.get(key)?.revision;
    if (base === undefined) return this.#get(http, client, key);
    const body = { preconditions: { resourceVersion: String(base) } };
    const startMs = performance.now();
    const path = `${PATH}/${key}`;
    const answer = await outcomeOf(() => http.json<object>(path, { ...options('DELETE'), body }));
    const call = { type: 'delete', client, key, base, startMs } as const;
    if (answer === 'unknown') {
      this.calls.push({ ...call, outcome: 'unknown' });
      return false;
    }
    const refused = answer === 404 || answer === 409;
    if (!refused) expectObject(answer, 'delete');
    this.#heard.delete(key);
    const outcome = refused ? 'refused' : 'done';
    this.calls.push({ ...call, endMs: performance.now(), outcome });
    return true;
  }

  #note(key: string, version: Version | undefined): void {
    if (version === undefined) this.#heard.delete(key);
    else this.#heard.set(key, version);
  }
}

function options(method: 'GET' | 'POST' | 'PUT' | 'DELETE') {
  return { method, timeoutMs: CALL_MS } as const;
}

/** The answer, the code of a refusal, or 'unknown' when none came: then a write may have happened or not. */
async function outcomeOf<T>(call: () => Promise<T>): Promise<T | number | 'unknown'> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    // 503: it is going down, and says that it does not know.
    return error.code === 0 || error.code === 503 ? 'unknown' : error.code;
  }
}

function expectObject<T>(answer: T | number, what: string): T {
  if (typeof answer === 'number') throw new Error(`${what} was answered with ${answer}`);
  return answer;
}

export function versionOf({ metadata, data }: ConfigMap): Version {
  return { tag: data?.tag ?? '', revision: Number(metadata.resourceVersion) };
}
