/**
 * Two clients that list, watch, and live over every restart of the master: one of our own, as Kubernetes' documentation describes
 * it (go on from the last revision, list again on 410), and the informer of `@kubernetes/client-node`. Both tell an ObjectLog.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CoreV1Api,
  type Informer,
  KubeConfig,
  makeInformer,
  type ObjectCache,
  type V1ConfigMap,
} from '@kubernetes/client-node';
import { Client } from '../../cli/client.ts';
import { readKubeconfig } from '../../cli/kubeconfig.ts';
import type { Random } from './disk.ts';
import type { Version } from './history.ts';
import { type HistoryClients, LABEL, PATH } from './history-clients.ts';
import { ObjectLog } from './object-log.ts';
import { changeOf, watchLines } from './watch-lines.ts';

const SILENT_MS = 60_000;
const RETRY_MS = 50;

export interface ListWatcherOptions {
  readonly name: string;
  readonly kubeconfig: string;
  /** Makes its lists. */
  readonly clients: HistoryClients;
  readonly random: Random;
  /** At most so long it is away after a watch has ended. */
  readonly awayMs: number;
  /** The watch is to end by itself after so long. */
  readonly timeoutSeconds: number;
}

export class ListWatcher {
  readonly log: ObjectLog;
  readonly #options: ListWatcherOptions;
  readonly #client: Client;
  #connection = new AbortController();
  #state: 'runs' | 'held' | 'stopped' = 'runs';

  constructor(options: ListWatcherOptions) {
    this.#options = options;
    this.log = new ObjectLog(options.name);
    this.#client = new Client(readKubeconfig(options.kubeconfig));
  }

  /** Until it is stopped. Throws when the master refuses a list or a watch. */
  async run(): Promise<void> {
    const { awayMs, random } = this.#options;
    let mustList = true;
    while (this.#state !== 'stopped') {
      if (this.#state === 'runs' && mustList) mustList = !(await this.#list());
      if (this.#state === 'runs' && !mustList) mustList = await this.#watch();
      await sleep(RETRY_MS / 2 + random() * awayMs);
    }
    this.#client.close();
  }

  /** Is away until `release`. */
  hold(): void {
    this.#state = 'held';
    this.#connection.abort();
  }

  release(): void {
    this.#state = 'runs';
  }

  stop(): void {
    this.#state = 'stopped';
    this.#connection.abort();
  }

  async #list(): Promise<boolean> {
    const list = await this.#options.clients.list(this.#client, this.log.name);
    if (list === undefined) return false;
    this.log.listed(list);
    return true;
  }

  /** One watch to its end; true when its place in history is gone. */
  async #watch(): Promise<boolean> {
    const { kubeconfig, timeoutSeconds } = this.#options;
    this.#connection = new AbortController();
    const options = { kubeconfig, silentMs: SILENT_MS, signal: this.#connection.signal };
    const query = `resourceVersion=${this.log.revision}&labelSelector=${LABEL}`;
    const path = `${PATH}?watch=1&allowWatchBookmarks=true&${query}&timeoutSeconds=${timeoutSeconds}`;
    for await (const line of watchLines(options, path)) {
      const { type, object } = line;
      if (type === 'ERROR') {
        if (object.code === 410) return true;
        throw new Error(`${this.log.name}: ${object.message}`);
      }
      if (type === 'BOOKMARK') this.log.reached(changeOf(line).revision);
      else this.log.changed(type, changeOf(line));
    }
    return false;
  }
}

/** The informer tells its callers of single objects only, and hides whether it was a list or a watch that told it. */
export class ClientNodeInformer {
  /** What its watches delivered. */
  readonly log = new ObjectLog('informer');
  /** What its callbacks said that contradicts what they had said before. */
  readonly faults: string[] = [];
  readonly #informer: Informer<V1ConfigMap> & ObjectCache<V1ConfigMap>;
  readonly #told = new Map<string, Version>();
  #runs = false;

  constructor(kubeconfig: string) {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    const core = config.makeApiClient(CoreV1Api);
    const list = async () => {
      const answer = await core.listNamespacedConfigMap({
        namespace: 'default',
        labelSelector: LABEL,
      });
      const seen = new Map(answer.items.map((item) => [nameOf(item), versionOfTyped(item)]));
      this.log.listed({ revision: Number(answer.metadata?.resourceVersion), seen });
      return answer;
    };
    this.#informer = makeInformer<V1ConfigMap>(config, PATH, list, LABEL);
    this.#informer.on('add', (object) => this.#tell('ADDED', object));
    this.#informer.on('update', (object) => this.#tell('MODIFIED', object));
    this.#informer.on('delete', (object) => this.#tell('DELETED', object));
    // As the documentation of the library says: after an error the informer is to be started again.
    this.#informer.on('error', () => {
      setTimeout(() => {
        if (this.#runs) void this.#informer.start().catch(() => undefined);
      }, RETRY_MS);
    });
  }

  async start(): Promise<void> {
    this.#runs = true;
    await this.#informer.start();
  }

  async stop(): Promise<void> {
    this.#runs = false;
    await this.#informer.stop();
  }

  /** Its cache. */
  get objects(): ReadonlyMap<string, Version> {
    return new Map(this.#informer.list().map((item) => [nameOf(item), versionOfTyped(item)]));
  }

  #tell(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: V1ConfigMap): void {
    const key = nameOf(object);
    const { tag, revision } = versionOfTyped(object);
    const known = this.#told.get(key);
    if ((known === undefined) !== (type === 'ADDED')) {
      this.faults.push(`${type} ${key}@${revision}, known: ${known?.revision}`);
    }
    // A list that leaves an object out says no revision of its deletion: the informer shows the last it had.
    const isOlder = known !== undefined && revision <= known.revision;
    if (isOlder && !(type === 'DELETED' && revision === known.revision)) {
      this.faults.push(`${type} ${key}@${revision} after ${known.revision}`);
    }
    if (type === 'DELETED') this.#told.delete(key);
    else this.#told.set(key, { tag, revision });
    // What is newer than the list came from the watch.
    const list = this.log.segments.at(-1)?.after ?? 0;
    if (revision <= list) return;
    this.log.changed(type, { type: type === 'DELETED' ? 'delete' : 'put', key, tag, revision });
  }
}

function nameOf(object: V1ConfigMap): string {
  return object.metadata?.name ?? '';
}

function versionOfTyped({ metadata, data }: V1ConfigMap): Version {
  return { tag: data?.tag ?? '', revision: Number(metadata?.resourceVersion) };
}
