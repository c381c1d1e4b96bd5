/** A board on the fake engine, for tests of its pods. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import type { Test as TapTest } from 'tap';
import { unmountMemory } from '../../../agent/host/memory-mount.ts';
import { type BoardPod, boardPod } from '../../../agent/plan/board-pod.ts';
import type { NetworkMountsOptions } from '../../../agent/pods/network-mounts.ts';
import { PodManager } from '../../../agent/pods/pod-manager.ts';
import type { PodEvent } from '../../../agent/pods/pod-steps.ts';
import type { PodStatusReport } from '../../../agent/pods/pod-worker.ts';
import { FakeRuntime, type FakeRuntimeOptions } from '../../../agent/runtime/fake.ts';
import type { DesiredView } from '../../../agent/state/desired-state.ts';
import { PodRecords } from '../../../agent/state/pod-records.ts';
import { PullNotes } from '../../../agent/state/pull-notes.ts';
import { RunNotes } from '../../../agent/state/run-notes.ts';
import { StateDirectory } from '../../../agent/state/state-file.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type { Container, PodSpec } from '../../../protocol/kinds/types.ts';

export const log = pino({ level: 'silent' });
export const LIMITS = {
  crash: { firstMs: 40, maxMs: 80, resetAfterMs: 60_000 },
  pull: { firstMs: 60_000, maxMs: 60_000 },
  retry: { firstMs: 20, maxMs: 40 },
  parallelPulls: 2,
  parallelEngineCalls: 4,
  relistMs: 60_000,
  volumeLookMs: 20,
  images: { highPercent: 85, lowPercent: 80, ageMinMs: 0, lookMs: 60_000 },
  engineRetry: { firstMs: 10, maxMs: 20 },
};

export async function until(what: string, condition: () => boolean | undefined): Promise<void> {
  const endMs = systemClock.monotonicMs() + 8000;
  while (condition() !== true) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

export function pod(
  name: string,
  spec: Partial<PodSpec> = {},
  meta: { deletionTimestamp?: string; deletionGracePeriodSeconds?: number } = {},
): BoardPod {
  const made = boardPod({
    metadata: { uid: `uid-${name}`, namespace: 'default', name, ...meta },
    spec: { containers: [container('main')], ...spec },
  });
  if (made === undefined) throw new Error('not a pod');
  return made;
}

export function container(name: string, more: Partial<Container> = {}): Container {
  return { name, image: 'app:1', ...more };
}

/** A board without its master: engine, state directory, desired state that the test sets. */
export class Board {
  readonly engine: FakeRuntime;
  readonly directory: string;
  readonly reports: PodStatusReport[] = [];
  readonly events: PodEvent[] = [];
  desired: DesiredView = view([]);
  emulated: string[] = [];
  /** What stands in for mount(8) and umount(8). */
  mounting: Partial<NetworkMountsOptions> = {};
  /** Another one after a reboot. */
  bootId = 'boot-1';
  #manager: PodManager | undefined;
  records: PodRecords | undefined;
  #notes: RunNotes | undefined;

  constructor(directory: string, options: FakeRuntimeOptions = {}) {
    this.directory = directory;
    this.engine = new FakeRuntime({ images: ['app:1', 'app:2'], ...options });
  }

  async startAgent(): Promise<PodManager> {
    const records = new PodRecords(
      new StateDirectory(path.join(this.directory, 'records'), () => {}),
      () => {},
    );
    await records.load();
    this.records = records;
    const notes = new RunNotes(path.join(this.directory, 'notes.json'), () => {});
    await notes.load();
    this.#notes = notes;
    const pullNotes = new PullNotes(
      new StateDirectory(path.join(this.directory, 'images'), () => {}),
      () => {},
    );
    await pullNotes.load(this.bootId);
    this.#manager = new PodManager({
      runtime: this.engine,
      clock: systemClock,
      log,
      limits: LIMITS,
      records,
      notes,
      pullNotes,
      desired: () => this.desired,
      architecture: 'arm64',
      emulated: async () => this.emulated,
      facts: () => ({
        nodeName: 'pi-1',
        hostIp: '192.0.2.1',
        allocatable: { cpuMillis: 4000, memoryBytes: 1024 ** 3 },
        resolver: {
          servers: ['192.0.2.53'],
          searches: [],
          options: [],
          cluster: { server: '10.43.0.10', domain: 'cluster.local' },
        },
      }),
      networkMade: () => Promise.resolve(),
      directories: (uid) => ({
        data: path.join(this.directory, 'pods', uid),
        run: path.join(this.directory, 'run', uid),
        mounts: path.join(this.directory, 'mounts', uid),
      }),
      networkMounts: {
        root: path.join(this.directory, 'mounts'),
        run: () => Promise.reject(new Error('no mounts in this test')),
        timeoutMs: 60_000,
        dial: async () => ({ answer: 'success', output: '' }),
        dialMs: 60_000,
        helper: '/bin/sh',
        ...this.mounting,
      },
      report: (report) => this.reports.push(report),
      emit: (event) => this.events.push(event),
      deviceRoots: {
        dev: path.join(this.directory, 'dev'),
        sys: path.join(this.directory, 'sys'),
      },
      pinnedImages: [],
      emitNode: () => {},
    });
    this.#manager.start();
    return this.#manager;
  }

  async stopAgent(): Promise<void> {
    await this.#manager?.stop();
    await this.records?.flush();
    await this.#notes?.flush();
    this.#manager = undefined;
  }

  want(pods: readonly BoardPod[], more: Partial<DesiredView> = {}): void {
    this.desired = view(pods, more);
    this.#manager?.desiredChanged();
  }

  last(name: string): PodStatusReport | undefined {
    return this.reports.findLast((report) => report.name === name);
  }

  isReady(name: string): boolean {
    const conditions = this.last(name)?.status.conditions ?? [];
    return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  }

  reasons(name: string): string[] {
    return this.events.filter((event) => event.name === name).map(({ reason }) => reason);
  }
}

export function view(pods: readonly BoardPod[], more: Partial<DesiredView> = {}): DesiredView {
  return {
    node: { name: 'pi-1', uid: 'node-uid', podCidr: '10.42.7.0/24' },
    pods: new Map(pods.map((one) => [one.uid, one])),
    complete: true,
    lostPods: new Set(),
    configs: () => undefined,
    configsDigest: '',
    ingresses: undefined,
    removeVolumes: [],
    services: [],
    boards: [],
    ...more,
  };
}

export async function board(test: TapTest, options: FakeRuntimeOptions = {}): Promise<Board> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'pier-pods-'));
  const made = new Board(directory, options);
  test.teardown(async () => {
    await made.stopAgent();
    await unmountMemory(directory);
    await rm(directory, { recursive: true, force: true });
  });
  return made;
}
