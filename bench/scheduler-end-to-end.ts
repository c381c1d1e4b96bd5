/**
 * The scheduler through the real API layer and the durable store: pods that wait become bound, every bind synced to the
 * disk before it counts, the events written, all informers fed. Neither HTTP nor boards are part of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { bootstrap } from '../master/api/bootstrap.ts';
import { type ApiClient, RESOURCES } from '../master/api/client.ts';
import { KIND_MODULES } from '../master/api/kinds/all.ts';
import { createLocalClient } from '../master/api/local-client.ts';
import { createRegistry } from '../master/api/registry.ts';
import { ApiEventRecorder } from '../master/controllers/events.ts';
import { SharedInformers } from '../master/informer/shared.ts';
import { Scheduler } from '../master/scheduler/scheduler.ts';
import { openMemoryStore } from '../master/store/memory-store.ts';
import { openWalStore } from '../master/store/wal-store.ts';
import { systemClock } from '../protocol/clock.ts';
import { type Json, printTable, round, say, spreadOf } from './benchmark.ts';
import { nodeOf, podOf, type Size } from './scheduler-mixes.ts';

const BOARDS = 1_000;
const PODS = 10_000;
const BOARD: Size = [4_000, 32_768];
const POD: Size = [100, 500];
const AT_ONCE = 64;

export async function endToEnd(rounds: number): Promise<Json> {
  const rates: number[] = [];
  const syncs: number[] = [];
  for (let at = 0; at < rounds; at += 1) {
    say(`end to end, round ${at + 1} of ${rounds}`);
    const { podsPerSecond, syncsDone } = await oneRound();
    rates.push(podsPerSecond);
    syncs.push(syncsDone);
  }
  const result = { podsPerSecond: spreadOf(rates), syncs: spreadOf(syncs) };
  process.stdout.write(`\n${PODS} waiting pods onto ${BOARDS} boards, through API and store\n`);
  printTable([
    ['', 'median', 'min', 'max'],
    ['pods/s', result.podsPerSecond.median, result.podsPerSecond.min, result.podsPerSecond.max],
    ['syncs', result.syncs.median, result.syncs.min, result.syncs.max],
  ]);
  return result;
}

async function oneRound(): Promise<{ podsPerSecond: number; syncsDone: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'pier-bench-scheduler-'));
  const log = pino({ level: 'silent' });
  const store = await openWalStore(join(folder, 'store'), {});
  try {
    const registry = await createRegistry({
      store,
      memoryStore: openMemoryStore(),
      modules: KIND_MODULES,
      disableAdmissionPlugins: ['ServiceAccount'],
    });
    const client = createLocalClient(registry, { name: 'bench', groups: ['system:masters'] });
    await bootstrap(client, { serviceIp: '10.43.0.1', dnsIp: '10.43.0.10' });
    await fill(client);
    const informers = new SharedInformers({ client, log });
    const events = new ApiEventRecorder({ client, clock: systemClock, log, component: 'bench' });
    const scheduler = new Scheduler({ client, clock: systemClock, log, informers, events });
    await informers.start();
    const before = store.stats().syncs;
    let bound = 0;
    const startMs = performance.now();
    const done = new Promise<void>((resolve) => {
      informers.pods.onChange(({ type, object }) => {
        if (type !== 'modified' || (object.spec?.nodeName ?? '') === '') return;
        bound += 1;
        if (bound === PODS) resolve();
      });
    });
    await scheduler.start();
    await done;
    const seconds = (performance.now() - startMs) / 1_000;
    const syncsDone = store.stats().syncs - before;
    await scheduler.stop();
    await events.stop();
    await informers.stop();
    return { podsPerSecond: round(PODS / seconds, 0), syncsDone };
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fill(client: ApiClient): Promise<void> {
  for (let at = 0; at < BOARDS; at += 1) {
    const { status, ...node } = nodeOf(at, BOARD);
    const made = await client.create(RESOURCES.nodes, node);
    await client.update(RESOURCES.nodes, { ...made, ...{ status } }, 'status');
  }
  for (let at = 0; at < PODS; at += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, PODS - at) }, (_, k) => {
      const { uid: _uid, ...metadata } = podOf(at + k, POD).metadata ?? {};
      return client.create(RESOURCES.pods, { ...podOf(at + k, POD), metadata });
    });
    await Promise.all(some);
  }
}
