/**
 * Puts the master together: what is made first, what listens last, and how it all stops. No decisions here.
 *
 * Start order matters twice: nothing is told to a board before the informers have read the store (an empty manifest must
 * never go out), and nothing listens before there is something to answer with.
 */
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { systemClock } from '../protocol/clock.ts';
import type { Heartbeat } from '../protocol/messages.ts';
import { Distribution } from '../protocol/prometheus.ts';
import { REBALANCE_PATH } from '../protocol/rebalance.ts';
import { STREAM_PATH } from '../protocol/streams.ts';
import { WHY_PATH } from '../protocol/why.ts';
import { bootstrap } from './api/bootstrap.ts';
import type { ApiClient } from './api/client.ts';
import { KUBERNETES_VERSION } from './api/discovery.ts';
import { KIND_MODULES } from './api/kinds/all.ts';
import { createLocalClient } from './api/local-client.ts';
import { openApiFolder } from './api/openapi/source.ts';
import { createRegistry, type Registry } from './api/registry.ts';
import { type ApiServer, createApiServer } from './api/server.ts';
import { Broker } from './broker/broker.ts';
import { formatClusterFile } from './cluster-file.ts';
import { BACKUP_PATH, backupHandler } from './commands/backup-route.ts';
import { rebalanceHandler } from './commands/rebalance-route.ts';
import { whyHandler } from './commands/why-route.ts';
import { lanAddress, type MasterConfig } from './config.ts';
import { startControllers } from './controllers/controllers.ts';
import { ApiEventRecorder } from './controllers/events.ts';
import { DEFAULT_LIFECYCLE_OPTIONS } from './controllers/node-lifecycle.ts';
import { lookForMoves } from './controllers/rebalance-controller.ts';
import { startFleet } from './fleet/fleet.ts';
import { collectGarbage, collectWhenIdle } from './garbage.ts';
import { SharedInformers } from './informer/shared.ts';
import { COMMIT_BOUNDS, masterFamilies } from './metrics.ts';
import { ensurePki, type Pki, requestSigner, writeKubeconfig } from './pki/pki.ts';
import { writePrivateFile } from './pki/private-file.ts';
import { ensureServiceAccountKey } from './pki/service-account-key.ts';
import { DEFAULT_PROFILES, Scheduler } from './scheduler/scheduler.ts';
import type { MeasuredUsage } from './scheduler/snapshot.ts';
import { memoryFirstRevision, openMemoryStore } from './store/memory-store.ts';
import { openWalStore, type WalStore } from './store/wal-store.ts';

export interface Master {
  stop(): Promise<void>;
}

/** First address of the service range: the `kubernetes` Service. */
const KUBERNETES_SERVICE_IP = '10.43.0.1';
/** The tenth: what agents listen on (agent/config.ts). */
const DNS_SERVICE_IP = '10.43.0.10';
/** Beside the built program; there is none beside the sources. */
const OPENAPI_FOLDER = fileURLToPath(new URL('openapi', import.meta.url));
/** A clock before this has not been set yet: no board with this release was ever built earlier. */
const CLOCK_SANE_MS = Date.UTC(2026, 0, 1);

/** Throws an Error whose message says what to do: damaged or locked store, broken certificates, a port in use. */
export async function startMaster(config: MasterConfig, log: Logger): Promise<Master> {
  warnOfClock(log);
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  await chmod(config.dataDir, 0o700);
  const storeLog = log.child({ part: 'store' });
  const commits = new Distribution(COMMIT_BOUNDS);
  const store = await openWalStore(config.storeDir, {
    timeCommit: () => {
      const startedMs = systemClock.monotonicMs();
      return () => commits.observe((systemClock.monotonicMs() - startedMs) / 1000);
    },
    onWarning: (message) => storeLog.warn(message),
    onFailure: (error) => {
      // What was acknowledged is on the disk; systemd starts us again and the store recovers from it.
      storeLog.fatal({ err: error }, 'the store has failed: ending');
      process.exit(1);
    },
  });
  const closers: (() => Promise<unknown>)[] = [() => store.close()];
  try {
    const pki = await ensurePki(config.pkiDir, config);
    for (const note of pki.notes) log.warn({ part: 'pki' }, note);
    const memoryStore = openMemoryStore({ firstRevision: memoryFirstRevision(store.starts) });
    closers.push(() => memoryStore.close());
    const registry = await createRegistry({
      store,
      memoryStore,
      modules: KIND_MODULES,
      propagationPolicies: ['Foreground', 'Orphan'],
      serviceAccountKey: await ensureServiceAccountKey(config.pkiDir),
    });
    // Before anything listens: who sees a ready master finds the way to it.
    await describeCluster(config, pki, store.clusterId);
    await assemble({ config, log, registry, pki, closers, store, commits });
    collectGarbage();
    const stopCollecting = collectWhenIdle();
    closers.push(async () => stopCollecting());
    log.info(
      {
        api: config.apiPort,
        mqtt: config.mqttPort,
        data: config.dataDir,
        cluster: store.clusterId,
      },
      'the master is up',
    );
    return { stop: () => closeAll(closers, log) };
  } catch (error) {
    await closeAll(closers, log);
    throw error;
  }
}

interface Parts {
  readonly config: MasterConfig;
  readonly log: Logger;
  readonly registry: Registry;
  readonly pki: Pki;
  readonly store: WalStore;
  readonly commits: Distribution;
  /** In the order of making; closed in reverse. */
  readonly closers: (() => Promise<unknown>)[];
}

async function assemble(parts: Parts): Promise<void> {
  const { config, log, registry, pki, closers, store, commits } = parts;
  const clock = systemClock;
  const clientOf = (part: string): ApiClient =>
    createLocalClient(registry, { name: `system:pier:${part}`, groups: ['system:masters'] });
  const eventsOf = (component: string): ApiEventRecorder => {
    const recorder = new ApiEventRecorder({ client: clientOf(component), clock, log, component });
    closers.push(() => recorder.stop());
    return recorder;
  };
  const ip = lanAddress(config.addresses);
  const { addressPool } = config;
  const pool = addressPool === undefined ? {} : { addressPool };
  await bootstrap(clientOf('bootstrap'), {
    serviceIp: KUBERNETES_SERVICE_IP,
    dnsIp: DNS_SERVICE_IP,
    ...(ip === undefined ? {} : { address: { ip, port: config.apiPort } }),
  });

  const informers = new SharedInformers({ client: clientOf('informers'), log });
  closers.push(() => informers.stop());
  const server = { certificate: pki.server.certificate, privateKey: pki.server.privateKey };
  const broker = new Broker({
    ...server,
    caCertificate: pki.caCertificate,
    host: config.listen,
    port: config.mqttPort,
    clock,
    log: log.child({ part: 'broker' }),
  });
  closers.push(() => broker.stop());
  const scheduler = new Scheduler({
    client: clientOf('scheduler'),
    clock,
    log: log.child({ part: 'scheduler' }),
    informers,
    events: eventsOf('default-scheduler'),
    profiles: profilesFor(config),
  });
  closers.push(() => scheduler.stop());
  const fleet = startFleet({
    client: clientOf('fleet'),
    informers,
    bus: broker,
    clock,
    log: log.child({ part: 'fleet' }),
    clusterId: store.clusterId,
    epoch: store.epoch,
    ...pool,
    events: eventsOf('kubelet'),
    kubernetesVersion: KUBERNETES_VERSION.gitVersion,
    onUsage: (node, heartbeat) => {
      scheduler.setUsage(node, heartbeat && usageOf(heartbeat));
      scheduler.setForeignImages(node, heartbeat?.foreignImages ?? []);
    },
  });
  closers.push(() => fleet.stop());

  const controllers = startControllers({
    client: clientOf('controllers'),
    clock,
    log,
    informers,
    metrics: fleet.metrics,
    signRequest: requestSigner(pki, clock),
    rebalance: {
      planner: scheduler,
      mode: config.rebalance,
      pauseMs: config.rebalancePauseSeconds * 1000,
    },
    ...pool,
    options: {
      lifecycle: {
        ...DEFAULT_LIFECYCLE_OPTIONS,
        defaultTolerationMs: config.evictionSeconds * 1000,
      },
      clusterCidr: config.podCidr,
      caCertificate: pki.caCertificate,
    },
  });
  closers.push(() => controllers.stop());
  await informers.start();
  await Promise.all([scheduler.start(), controllers.ready, fleet.ready]);

  const openapi = await openApiFolder(OPENAPI_FOLDER);
  const api = createApiServer({
    registry,
    ...(openapi === undefined ? {} : { openapi }),
    log: log.child({ part: 'api' }),
    logs: fleet.logs,
    streams: fleet.streams,
    nodes: fleet.streams,
    metrics: fleet.metrics,
    families: () => {
      const queues = controllers.queues();
      return masterFamilies({ store, commits, queues, scheduler: scheduler.families(), informers });
    },
    tls: { key: server.privateKey, cert: server.certificate, ca: pki.caCertificate },
  });
  api.onUpgrade(STREAM_PATH, fleet.upgrade);
  api.onRequest(WHY_PATH, whyHandler({ registry, scheduler }));
  const look = () => lookForMoves(informers, scheduler);
  api.onRequest(REBALANCE_PATH, rebalanceHandler({ registry, mode: config.rebalance, look }));
  api.onRequest(BACKUP_PATH, backupHandler({ store, pkiDir: config.pkiDir }));
  await listen(api, config);
  closers.push(() => api.close());
  await broker.start();
}

function usageOf({ cpuNanoCores, memoryWorkingSetBytes }: Heartbeat): MeasuredUsage {
  return { cpuMillis: cpuNanoCores / 1e6, memoryBytes: memoryWorkingSetBytes };
}

function profilesFor(config: MasterConfig): typeof DEFAULT_PROFILES {
  return config.scheduling === 'spread'
    ? { ...DEFAULT_PROFILES, 'default-scheduler': 'spread' }
    : DEFAULT_PROFILES;
}

async function listen(api: ApiServer, config: MasterConfig): Promise<void> {
  try {
    await api.listen(config.apiPort, config.listen);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    const { apiPort: port, listen: host } = config;
    if (error.code === 'EADDRINUSE') {
      throw new Error(
        `port ${port} is in use by another program (sudo ss -ltnp 'sport = :${port}' shows which): ` +
          'stop that, or choose another port with --api-port',
        { cause: error },
      );
    }
    if (error.code === 'EADDRNOTAVAIL') {
      throw new Error(`this board has no address ${host}: give another with --listen`, {
        cause: error,
      });
    }
    throw error;
  }
}

/** For people and for commands that run beside the master. Written only when it changed: the card is spared. */
async function describeCluster(config: MasterConfig, pki: Pki, clusterId: string): Promise<void> {
  const { apiPort, mqttPort, addresses } = config;
  const text = formatClusterFile({ clusterId, apiPort, mqttPort, addresses: [...addresses] });
  if ((await readIfThere(config.clusterFile)) !== text) {
    await writePrivateFile(config.clusterFile, text);
    await writeKubeconfig(config.kubeconfigFile, { pki, server: serverUrl(config) });
  } else if ((await readIfThere(config.kubeconfigFile)) === undefined) {
    await writeKubeconfig(config.kubeconfigFile, { pki, server: serverUrl(config) });
  }
}

function serverUrl(config: MasterConfig): string {
  const address = lanAddress(config.addresses) ?? '127.0.0.1';
  const host = address.includes(':') ? `[${address}]` : address;
  return `https://${host}:${config.apiPort}`;
}

async function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** Nothing depends on the wall clock, but people read timestamps. */
function warnOfClock(log: Logger): void {
  if (systemClock.wallMs() >= CLOCK_SANE_MS) return;
  log.warn(
    { clock: new Date(systemClock.wallMs()).toISOString() },
    "this board's clock has not been set: Pier works, but timestamps are wrong until it is " +
      '(timedatectl shows whether NTP runs)',
  );
}

async function closeAll(closers: (() => Promise<unknown>)[], log: Logger): Promise<void> {
  for (const close of closers.splice(0).reverse()) {
    await close().catch((error: unknown) =>
      log.warn({ err: error }, 'a part did not stop cleanly'),
    );
  }
}
