/** Shared by the tests of broker, link and fleet: certificates, a broker on loopback, time held in the hand. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Link, type LinkHandlers } from '../../../agent/link/link.ts';
import { type Broker, startBroker } from '../../../master/broker/broker.ts';
import type { Bus, BusMessage, PublishOptions } from '../../../master/broker/bus.ts';
import type { Timers } from '../../../master/informer/timers.ts';
import { ensurePki, issueNodeCertificate, type Pki } from '../../../master/pki/pki.ts';
import { type Clock, systemClock } from '../../../protocol/clock.ts';
import type { Pod } from '../../../protocol/kinds/types.ts';
import type { BoardCredentials, Heartbeat, NodeFacts } from '../../../protocol/messages.ts';

export const log = pino({ level: process.env.LOG ?? 'silent' });

/** A log whose lines a test can read. */
export function recordingLog(): { log: pino.Logger; lines: () => string } {
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  return { log: pino({ level: 'debug' }, stream), lines: () => lines.join('') };
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limitMs = 10_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A clock and timers that move only when told to. */
export class HandTime implements Clock, Timers {
  #nowMs = 1_000;
  readonly #timers = new Set<{ atMs: number; callback: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Runs what is due on the way, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms;
    await settle();
    while (true) {
      const next = [...this.#timers].sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > end) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
      await settle();
    }
    this.#nowMs = end;
  }

  /** The process stood still: time has passed and no timer ran. */
  freeze(ms: number): void {
    this.#nowMs += ms;
  }
}

export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A bus without a broker: what was published, and a mouth for boards. */
export class FakeBus implements Bus {
  readonly retained = new Map<string, Uint8Array>();
  readonly published: { readonly topic: string; readonly payload: Uint8Array }[] = [];
  readonly disconnected: string[] = [];
  fail: Error | undefined;
  readonly #messages = new Set<(message: BusMessage) => void>();
  readonly #resets = new Set<() => void>();

  async publish(topic: string, payload: Uint8Array, options: PublishOptions): Promise<void> {
    await Promise.resolve();
    if (this.fail !== undefined) throw this.fail;
    this.published.push({ topic, payload });
    if (!options.retain) return;
    if (payload.length === 0) this.retained.delete(topic);
    else this.retained.set(topic, payload);
  }

  onMessage(handler: (message: BusMessage) => void): () => void {
    this.#messages.add(handler);
    return () => this.#messages.delete(handler);
  }

  onReset(handler: () => void): () => void {
    this.#resets.add(handler);
    return () => this.#resets.delete(handler);
  }

  disconnect(node: string): void {
    this.disconnected.push(node);
  }

  say(node: string, topic: string, payload: Uint8Array): void {
    for (const handler of this.#messages) handler({ node, topic, payload });
  }

  reset(): void {
    this.retained.clear();
    for (const handler of this.#resets) handler();
  }
}

export interface BrokerFixture {
  readonly dir: string;
  readonly pki: Pki;
  broker: Broker;
  credentials(node: string): Promise<BoardCredentials>;
  /** On the same port as before. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function startBrokerFixture(brokerLog = log): Promise<BrokerFixture> {
  const dir = await mkdtemp(join(tmpdir(), 'pier-fleet-'));
  const pki = await ensurePki(join(dir, 'pki'), { hostnames: [], addresses: [] });
  const start = (port: number): Promise<Broker> =>
    startBroker({
      caCertificate: pki.caCertificate,
      ...pki.server,
      host: '127.0.0.1',
      port,
      clock: systemClock,
      log: brokerLog,
    });
  const fixture: BrokerFixture = {
    dir,
    pki,
    broker: await start(0),
    credentials: (node) => credentialsOf(pki, node, fixture.broker.port),
    restart: async () => {
      const { port } = fixture.broker;
      await fixture.broker.stop();
      fixture.broker = await start(port);
    },
    close: async () => {
      await fixture.broker.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return fixture;
}

export async function credentialsOf(
  pki: Pki,
  node: string,
  brokerPort: number,
  apiPort = 6443,
): Promise<BoardCredentials> {
  return {
    v: 1,
    clusterId: 'c1',
    node,
    apiServer: `https://127.0.0.1:${apiPort}`,
    broker: `mqtts://127.0.0.1:${brokerPort}`,
    caCertificate: pki.caCertificate,
    ...(await issueNodeCertificate(pki, node)),
  };
}

export interface TestLink {
  readonly link: Link;
  /** Names of the handlers that were called, in order, with their messages. */
  readonly seen: { readonly type: string; readonly message: unknown }[];
}

/** Stopped at the end of the test by the caller. */
export function makeLink(
  credentials: BoardCredentials,
  session: string,
  options: { readonly log?: pino.Logger; readonly keepaliveSeconds?: number } & {
    readonly handlers?: Partial<LinkHandlers>;
  } = {},
): TestLink {
  const seen: TestLink['seen'] = [];
  const note = (type: string) => (message?: unknown) => void seen.push({ type, message });
  const link = new Link({
    credentials,
    session,
    log: options.log ?? log,
    random: () => 0,
    keepaliveSeconds: options.keepaliveSeconds ?? 5,
    handlers: {
      onManifest: note('manifest'),
      onPod: note('pod'),
      onConfig: note('config'),
      onIngress: note('ingress'),
      onClusterManifest: note('clusterManifest'),
      onService: note('service'),
      onBoard: note('board'),
      onRequest: note('request'),
      onConnected: note('connected'),
      onDisconnected: note('disconnected'),
      ...options.handlers,
    },
  });
  return { link, seen };
}

export function facts(session: string, change: Partial<NodeFacts> = {}): NodeFacts {
  return {
    v: 1,
    session,
    agentVersion: '0.1.0',
    architecture: 'arm64',
    operatingSystem: 'linux',
    osImage: 'Debian GNU/Linux 12 (bookworm)',
    kernelVersion: '6.1.0',
    containerRuntimeVersion: 'podman://4.3.1',
    machineId: 'm',
    systemUuid: 's',
    bootId: 'b',
    hostname: 'pi4',
    model: 'Raspberry Pi 4 Model B Rev 1.4',
    serial: '1',
    internalIp: '192.0.2.4',
    capacity: { cpu: '4', memory: '4Gi', pods: '110' },
    allocatable: { cpu: '4', memory: '3Gi', pods: '110' },
    labels: {},
    publicKey: new Uint8Array(91),
    ...change,
  };
}

export function heartbeat(
  session: string,
  sequence: number,
  change: Partial<Heartbeat> = {},
): Heartbeat {
  return {
    v: 1,
    session,
    sequence,
    windowMs: 5_000,
    cpuNanoCores: 120_000_000,
    memoryWorkingSetBytes: 512 * 1024 * 1024,
    memoryAvailableBytes: 1,
    diskTotalBytes: 1,
    diskAvailableBytes: 1,
    networkReceiveBytes: 0,
    networkTransmitBytes: 0,
    memoryPressure: false,
    diskPressure: false,
    pidPressure: false,
    runtimeReady: true,
    pods: [],
    ...change,
  };
}

/** A pod of one container on the board pi4. */
export function pod(name: string, change: Partial<Pod> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: 'web' }, ...change.metadata },
    spec: {
      nodeName: 'pi4',
      containers: [{ name: 'c', image: 'busybox', ports: [{ containerPort: 80, name: 'http' }] }],
      ...change.spec,
    },
    ...(change.status === undefined ? {} : { status: change.status }),
  };
}
