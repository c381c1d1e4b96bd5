/**
 * Makes a history (history.ts) with a real master: clients that read and write the same few objects over HTTPS while the master
 * is killed with SIGKILL and started again, and watches that go on from where they were cut. Nothing is retried: every call is
 * noted with what came of it.
 */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, RequestError } from '../../cli/client.ts';
import { readKubeconfig } from '../../cli/kubeconfig.ts';
import { type Random, seededRandom } from './disk.ts';
import type { Call, Change, History, Version } from './history.ts';
import { MasterProcess } from './master-process.ts';

const PATH = '/api/v1/namespaces/default/configmaps';
const LABEL = 'history=yes';
const CLIENTS = 10;
const KEYS = 4;
const LAST_KEY = 'h-last';
const WATCHES = 3;
const CALL_MS = 20_000;
const END_MS = 60_000;

interface ConfigMap {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly data?: { readonly tag?: string };
}

interface WatchLine {
  readonly type: string;
  readonly object: ConfigMap & { readonly message?: string };
}

interface WatchLog {
  readonly name: string;
  readonly after: number;
  upTo: number;
  readonly changes: Change[];
}

export interface HistoryOptions {
  readonly program: string;
  readonly data: string;
  readonly seed: number;
  readonly lives: number;
  /** Of each life, from when it listens. */
  readonly lifeMs: number;
  readonly timeMaxMs: number;
}

export interface HistoryResult {
  readonly history: History;
  readonly lives: number;
}

/** Throws when a master refuses to start, a watch is told that its place is gone, or an answer makes no sense. */
export async function makeHistory(options: HistoryOptions): Promise<HistoryResult> {
  return await new HistoryRun(options).run();
}

class HistoryRun {
  readonly #options: HistoryOptions;
  readonly #random: Random;
  readonly #calls: Call[] = [];
  readonly #watches: WatchLog[] = [];
  /** What this test's clients have heard last of each key: where conditional writes start from. */
  readonly #heard = new Map<string, Version>();
  #tags = 0;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  async run(): Promise<HistoryResult> {
    const { lives, lifeMs, timeMaxMs } = this.#options;
    const deadline = performance.now() + timeMaxMs;
    let first: number | undefined;
    let done = 0;
    for (; done < lives && performance.now() < deadline; done++) {
      const master = await MasterProcess.start(this.#options);
      try {
        first ??= await this.#revision(master.client);
        while (this.#watches.length < WATCHES) this.#addWatch(first);
        const watching = this.#watches.map((watch) => this.#follow(master, watch, () => false));
        const clients = Array.from({ length: CLIENTS }, (_, at) => this.#client(master, `c${at}`));
        await sleep(lifeMs * (0.5 + this.#random()));
        await master.kill();
        await Promise.all([...watching, ...clients]);
      } finally {
        await master.kill();
      }
    }
    await this.#lastLife(first ?? 0);
    return { history: { calls: this.#calls, watches: this.#watches }, lives: done };
  }

  /**
   * The watches come to the end, and a new one sees all of it again. The end is a write of its own: what the killed master did
   * without an answer stands before it, and no client knows its revision.
   */
  async #lastLife(first: number): Promise<void> {
    const master = await MasterProcess.start(this.#options);
    try {
      await this.#list(master.client, 'last');
      if (!(await this.#put(master.client, 'last', LAST_KEY))) throw new Error('no answer');
      const last = this.#heard.get(LAST_KEY)?.revision;
      if (last === undefined) throw new Error('the last write was refused');
      this.#addWatch(first);
      await Promise.all(
        this.#watches.map((watch) =>
          this.#follow(master, watch, () => watch.changes.at(-1)?.revision === last),
        ),
      );
      for (const watch of this.#watches) watch.upTo = last;
    } finally {
      await master.kill();
    }
  }

  async #revision(client: Client): Promise<number> {
    const list = await client.json<{ readonly metadata: { readonly resourceVersion: string } }>(
      PATH,
      { timeoutMs: CALL_MS },
    );
    return Number(list.metadata.resourceVersion);
  }

  #addWatch(after: number): void {
    const name = `watch ${this.#watches.length}`;
    this.#watches.push({ name, after, upTo: after, changes: [] });
  }

  /** Reads events until the connection breaks or `isDone`; throws on anything else. */
  async #follow(master: MasterProcess, watch: WatchLog, isDone: () => boolean): Promise<void> {
    const after = watch.changes.at(-1)?.revision ?? watch.after;
    const query = `watch=true&resourceVersion=${after}&labelSelector=${LABEL}&timeoutSeconds=600`;
    if (isDone()) return;
    for await (const line of lines(master, `${PATH}?${query}`, END_MS)) {
      const { type, object } = JSON.parse(line) as WatchLine;
      if (type === 'ERROR') throw new Error(`${watch.name}: ${object.message}`);
      const { metadata, data } = object;
      watch.changes.push({
        type: type === 'DELETED' ? 'delete' : 'put',
        key: metadata.name,
        tag: data?.tag ?? '',
        revision: Number(metadata.resourceVersion),
      });
      if (isDone()) return;
    }
  }

  /** One call after the other until the master does not answer. */
  async #client(master: MasterProcess, client: string): Promise<void> {
    for (;;) {
      const key = `h-${Math.floor(this.#random() * KEYS)}`;
      const dice = this.#random();
      let answered: boolean;
      if (dice < 0.25) answered = await this.#get(master.client, client, key);
      else if (dice < 0.35) answered = await this.#list(master.client, client);
      else if (dice < 0.5) answered = await this.#delete(master.client, client, key);
      else answered = await this.#put(master.client, client, key);
      if (!answered) return;
    }
  }

  async #get(http: Client, client: string, key: string): Promise<boolean> {
    const startMs = performance.now();
    const answer = await outcomeOf(() => http.json<ConfigMap>(`${PATH}/${key}`, options('GET')));
    if (answer === 'unknown') return false;
    const seen = answer === 404 ? undefined : versionOf(expectObject(answer, 'get'));
    this.#note(key, seen);
    this.#calls.push({ type: 'get', client, key, seen, startMs, endMs: performance.now() });
    return true;
  }

  async #list(http: Client, client: string): Promise<boolean> {
    const startMs = performance.now();
    const path = `${PATH}?labelSelector=${LABEL}`;
    const answer = await outcomeOf(() =>
      http.json<{
        readonly metadata: { readonly resourceVersion: string };
        readonly items: readonly ConfigMap[];
      }>(path, options('GET')),
    );
    if (answer === 'unknown') return false;
    const list = expectObject(answer, 'list');
    const endMs = performance.now();
    const seen = new Map(list.items.map((item) => [item.metadata.name, versionOf(item)]));
    const revision = Number(list.metadata.resourceVersion);
    this.#calls.push({ type: 'list', client, revision, seen, startMs, endMs });
    return true;
  }

  async #put(http: Client, client: string, key: string): Promise<boolean> {
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
      data: { tag, filler: 'x'.repeat(this.#random() * 1500) },
    };
    const startMs = performance.now();
    const answer = await outcomeOf(() =>
      base === 0
        ? http.json<ConfigMap>(PATH, { ...options('POST'), body })
        : http.json<ConfigMap>(`${PATH}/${key}`, { ...options('PUT'), body }),
    );
    const put = { type: 'put', client, key, tag, base, startMs } as const;
    if (answer === 'unknown') {
      this.#calls.push({ ...put, outcome: 'unknown' });
      return false;
    }
    const endMs = performance.now();
    if (answer === 404 || answer === 409) {
      this.#heard.delete(key);
      this.#calls.push({ ...put, endMs, outcome: 'refused' });
      return true;
    }
    const version = versionOf(expectObject(answer, 'put'));
    this.#note(key, version);
    this.#calls.push({ ...put, endMs, outcome: { revision: version.revision } });
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
      this.#calls.push({ ...call, outcome: 'unknown' });
      return false;
    }
    const refused = answer === 404 || answer === 409;
    if (!refused) expectObject(answer, 'delete');
    this.#heard.delete(key);
    const outcome = refused ? 'refused' : 'done';
    this.#calls.push({ ...call, endMs: performance.now(), outcome });
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

function versionOf({ metadata, data }: ConfigMap): Version {
  return { tag: data?.tag ?? '', revision: Number(metadata.resourceVersion) };
}

/** The lines of a stream until it breaks off; throws when none has come for `silentMs`. */
async function* lines(
  master: MasterProcess,
  path: string,
  silentMs: number,
): AsyncGenerator<string> {
  const { ca, cert, key, serverName } = readKubeconfig(master.kubeconfig);
  const call = request(new URL(path, master.server), {
    ca,
    cert,
    key,
    agent: false,
    ...(serverName === undefined ? {} : { servername: serverName }),
  });
  const stream = await new Promise<IncomingMessage | undefined>((resolve) => {
    call.once('response', resolve);
    call.on('error', () => resolve(undefined));
    call.end();
  });
  if (stream === undefined) return;
  stream.setEncoding('utf8');
  let timedOut = false;
  call.setTimeout(silentMs, () => {
    timedOut = true;
    call.destroy();
  });
  try {
    let rest = '';
    for await (const chunk of stream) {
      const parts = (rest + String(chunk)).split('\n');
      // What is cut off in the middle of a line is no event.
      rest = parts.pop() ?? '';
      yield* parts;
    }
  } catch (error) {
    // The master is killed in the middle of it: that is the end of the stream, and no error.
    if (!(error instanceof Error && 'code' in error && error.code === 'ECONNRESET')) throw error;
  } finally {
    call.destroy();
  }
  if (timedOut) throw new Error(`nothing came for ${silentMs} ms on ${path}`);
}
