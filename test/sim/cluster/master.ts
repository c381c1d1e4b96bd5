/**
 * One life of a master in the simulation: the real store on a simulated disk, the real API layer, scheduler, controllers and
 * fleet link, put together as in master/master.ts. Left out is what needs the real world: TLS, HTTP, certificates, streams.
 */
import { pino } from 'pino';
import { bootstrap } from '../../../master/api/bootstrap.ts';
import type { ApiClient } from '../../../master/api/client.ts';
import { KIND_MODULES } from '../../../master/api/kinds/all.ts';
import { createLocalClient } from '../../../master/api/local-client.ts';
import { createRegistry, type Registry } from '../../../master/api/registry.ts';
import { startControllers } from '../../../master/controllers/controllers.ts';
import { ApiEventRecorder } from '../../../master/controllers/events.ts';
import { startFleet } from '../../../master/fleet/fleet.ts';
import { SharedInformers } from '../../../master/informer/shared.ts';
import { Scheduler } from '../../../master/scheduler/scheduler.ts';
import { memoryFirstRevision, openMemoryStore } from '../../../master/store/memory-store.ts';
import type { Store } from '../../../master/store/store.ts';
import { openWalStore, type WalStore } from '../../../master/store/wal-store.ts';
import type { Event, ObjectReference } from '../../../protocol/kinds/types.ts';
import type { SimDisk } from '../disk.ts';
import type { Chance } from './chance.ts';
import { SimBroker } from './network.ts';
import { ProcessTimers, type SimTime } from './time.ts';

const DIRECTORY = '/store';
export const ADMIN = { name: 'admin', groups: ['system:masters'] };

export interface Strain {
  /** How many events of history the store keeps: a slow watcher has to list again. */
  readonly historyEvents: number;
  readonly watchBufferEvents: number;
  /** Milliseconds by which caches are behind at most. */
  lagMs: number;
  /** Milliseconds that a sync takes at most, usually. */
  syncMs: number;
}

export interface MasterParts {
  readonly time: SimTime;
  readonly chance: Chance;
  /** A line that the master logged as an error: somebody would have to act. */
  readonly onError: (line: string) => void;
  /** A warning, for the history. */
  readonly onWarning: (line: string) => void;
  /** The node lifecycle controller has deleted a pod, so its event says. */
  readonly onEviction: (pod: ObjectReference) => void;
  /** How hard this cluster's store has it. */
  readonly strain: Strain;
  /** The store has failed for good: the process ends, and something starts it again. */
  readonly onEnd: (why: string) => void;
  /** The store is open and nothing else runs yet. */
  readonly onStore: (store: WalStore) => Promise<void>;
}

export interface RunningMaster {
  readonly store: WalStore;
  readonly memoryStore: Store;
  readonly registry: Registry;
  readonly client: ApiClient;
}

export class SimMaster {
  readonly broker: SimBroker;
  readonly #parts: MasterParts;
  readonly #timers: ProcessTimers;
  readonly #disk: SimDisk;
  readonly #closers: (() => Promise<unknown>)[] = [];
  #running: RunningMaster | undefined;

  /** `disk`: what the last life left. */
  constructor(parts: MasterParts, disk: SimDisk) {
    this.#parts = parts;
    this.#timers = new ProcessTimers(parts.time);
    this.broker = new SimBroker(parts, this.#timers);
    this.#disk = disk;
    disk.onStep = (operation) => this.#waitForDisk(operation);
  }

  /** Undefined until it has started. */
  get running(): RunningMaster | undefined {
    return this.#timers.isDead ? undefined : this.#running;
  }

  async start(): Promise<void> {
    const { time, chance, strain, onWarning, onError, onEnd } = this.#parts;
    const timers = this.#timers;
    const clock = time;
    const log = pino(
      { level: 'warn', base: null, timestamp: false },
      {
        write: (line: string) => {
          if (timers.isDead) return;
          if (line.includes('"level":40')) onWarning(line.trim());
          else onError(line.trim());
        },
      },
    );
    const store = await openWalStore(DIRECTORY, {
      disk: this.#disk,
      newSalt: () => chance.int(0, 2 ** 32 - 1),
      newClusterId: () => chance.uuid(),
      nextTurn: () => timers.pause(0),
      segmentBytes: 256 * 1024,
      snapshotLogBytes: 512 * 1024,
      history: { eventsMax: strain.historyEvents, bytesMax: 32 * 1024 * 1024 },
      watchBufferEvents: strain.watchBufferEvents,
      onFailure: (error) => onEnd(`the store has failed: ${String(error)}`),
    });
    this.#closers.push(() => store.close());
    await this.#parts.onStore(store);
    const memoryStore = openMemoryStore({ firstRevision: memoryFirstRevision(store.starts) });
    const registry = await createRegistry({
      store,
      memoryStore,
      modules: KIND_MODULES,
      disableAdmissionPlugins: ['ServiceAccount'],
      clock,
      timers,
      random: { uuid: () => chance.uuid(), fraction: () => chance.next() },
      propagationPolicies: ['Foreground', 'Orphan'],
    });
    const clientOf = (part: string): ApiClient =>
      createLocalClient(registry, { name: `system:pier:${part}`, groups: ['system:masters'] });
    const nextEventId = (): string => chance.uuid().slice(0, 18);
    const eventsOf = (component: string): ApiEventRecorder => {
      const client = clientOf(component);
      const recorder = new ApiEventRecorder({ client, clock, log, component, nextId: nextEventId });
      this.#closers.push(() => recorder.stop());
      return recorder;
    };
    await bootstrap(clientOf('bootstrap'), { serviceIp: '10.43.0.1', dnsIp: '10.43.0.10' });
    const client = this.#lagging(clientOf('informers'));
    const informers = new SharedInformers({ client, log, timers });
    this.#closers.push(() => informers.stop());
    const scheduler = new Scheduler({
      client: clientOf('scheduler'),
      clock,
      log,
      informers,
      timers,
      events: eventsOf('default-scheduler'),
    });
    this.#closers.push(() => scheduler.stop());
    const fleet = startFleet({
      client: this.#lagging(clientOf('fleet')),
      informers,
      bus: this.broker,
      clock,
      log,
      timers,
      clusterId: store.clusterId,
      epoch: store.epoch,
      events: eventsOf('kubelet'),
      kubernetesVersion: 'v1.34.0+sim',
      onUsage: (node, heartbeat) =>
        scheduler.setUsage(
          node,
          heartbeat && {
            cpuMillis: heartbeat.cpuNanoCores / 1e6,
            memoryBytes: heartbeat.memoryWorkingSetBytes,
          },
        ),
    });
    this.#closers.push(() => fleet.stop());
    const controllers = startControllers({
      client: this.#heard(this.#lagging(clientOf('controllers'))),
      clock,
      log,
      informers,
      timers,
      nextEventId,
    });
    this.#closers.push(() => controllers.stop());
    await informers.start();
    await Promise.all([scheduler.start(), controllers.ready, fleet.ready]);
    this.#running = { store, memoryStore, registry, client: createLocalClient(registry, ADMIN) };
  }

  /** The process stands still, and nobody notices at once. */
  stall(ms: number): void {
    this.#timers.stall(ms);
  }

  /** The next sync fails for good, as a dying card does. */
  breakDisk(): void {
    this.#disk.fault = (operation) => (operation === 'fdatasync' ? 'EIO' : undefined);
  }

  /** No byte more fits, until `freeDisk`. */
  fillDisk(): void {
    this.#disk.fault = (operation) =>
      operation === 'write' || operation === 'create' ? 'ENOSPC' : undefined;
  }

  freeDisk(): void {
    this.#disk.fault = undefined;
  }

  /** kill -9, or with `power` the plug: what was not synced may be lost. The disk as the next life finds it. */
  crash(power: boolean): SimDisk {
    this.#timers.kill();
    this.broker.die(!power);
    const { chance } = this.#parts;
    const content = power ? 'random' : 'all';
    return this.#disk.crash(() => chance.next(), { content, names: power ? 'prefix' : 'all' });
  }

  /** Ends in order. The disk as the next life finds it. */
  async stop(): Promise<SimDisk> {
    for (const close of this.#closers.reverse()) await close();
    return this.crash(false);
  }

  /** Caches see what was written some time later, each at its own pace. */
  #lagging(client: ApiClient): ApiClient {
    const { strain, chance } = this.#parts;
    const timers = this.#timers;
    const watch: ApiClient['watch'] = async function* (id, options) {
      for await (const event of client.watch<never>(id, options)) {
        if (strain.lagMs > 0) await timers.pause(chance.between(0, strain.lagMs));
        if (options.signal.aborted) return;
        yield event;
      }
    };
    return { ...client, watch };
  }

  #heard(client: ApiClient): ApiClient {
    const { onEviction } = this.#parts;
    const create: ApiClient['create'] = (id, object) => {
      const { reason, involvedObject }: Partial<Event> = object;
      if (reason === 'TaintManagerEviction' && involvedObject !== undefined) {
        onEviction(involvedObject);
      }
      return client.create(id, object);
    };
    return { ...client, create };
  }

  /** A slow card. Of a dead process nothing goes on. */
  async #waitForDisk(operation: string): Promise<void> {
    const { chance } = this.#parts;
    if (operation === 'fdatasync') {
      const isSlow = chance.happens(0.002);
      await this.#timers.pause(
        isSlow ? chance.between(100, 2_000) : chance.between(0.5, this.#parts.strain.syncMs),
      );
    } else if (this.#timers.isDead) await new Promise(() => {});
  }
}
