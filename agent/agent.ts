/**
 * Puts the agent together, in this order: state from disk, services, container engine, pods, and only then the
 * master. Everything before the last step works without a master, and so does everything after. Services come
 * before the engine, which may take a while after a boot: pods that run already are reached again at once.
 */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { systemClock as clock } from '../protocol/clock.ts';
import type { BoardCredentials } from '../protocol/messages.ts';
import { BoardSelf } from './board-self.ts';
import { type AgentConfig, readCredentials, volumesDirectory } from './config.ts';
import { EngineStart } from './engine-start.ts';
import { Health } from './health.ts';
import { checkHost } from './host/checks.ts';
import { readEmulated } from './host/emulation.ts';
import { Link } from './link/link.ts';
import { openBoardShell, openMetrics } from './node-streams.ts';
import { openStream } from './pod-streams.ts';
import { boardMounts } from './pods/network-mounts.ts';
import { PodManager } from './pods/pod-manager.ts';
import { VolumeRemover } from './pods/volume-remover.ts';
import { hostPortsOf } from './proxy/host-ports.ts';
import { Reporter } from './reporter.ts';
import { chooseRuntime } from './runtime/choose.ts';
import type { Runtime } from './runtime/runtime.ts';
import { holdDataDir } from './single.ts';
import { desiredHandlers } from './state/desired-handlers.ts';
import type { DesiredState } from './state/desired-state.ts';
import { desiredState, podRecords, pullNotes } from './state/open-state.ts';
import type { PodRecords } from './state/pod-records.ts';
import type { PullNotes } from './state/pull-notes.ts';
import { RunNotes } from './state/run-notes.ts';
import { Streams } from './streams.ts';
import { BoardTraffic } from './traffic.ts';

export interface Agent {
  /** Says nothing to anybody and lets go of everything; pods run on. */
  stop(): Promise<void>;
}

/** Throws an Error whose message says what to do. */
export async function startAgent(config: AgentConfig, log: Logger): Promise<Agent> {
  const credentials = await readCredentials(config.credentialsFile);
  await checkBoard(log);
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  await mkdir(config.runDir, { recursive: true, mode: 0o700 });
  const letGo = await holdDataDir(config.dataDir);
  const agent = new RunningAgent(config, credentials, log);
  await agent.start();
  return {
    stop: async () => {
      await agent.stop();
      letGo();
    },
  };
}

class RunningAgent {
  readonly #config: AgentConfig;
  readonly #credentials: BoardCredentials;
  readonly #log: Logger;
  /** New for every start, so that the master can tell late words of the last one. */
  readonly #session = randomUUID();
  readonly #reporter: Reporter;
  readonly #desired: DesiredState;
  readonly #records: PodRecords;
  readonly #pullNotes: PullNotes;
  readonly #notes: RunNotes;
  readonly #board: BoardSelf;
  readonly #traffic: BoardTraffic;
  readonly #link: Link;
  /** Until the engine has been heard of, other boards are the better ones. */
  #engineProblem: () => string | undefined = () => 'not known yet';
  #toldDevices: Readonly<Record<string, string>> = {};
  /** What has to be undone at the end, in the order it was begun. */
  readonly #ending: Array<() => void | Promise<void>> = [];

  constructor(config: AgentConfig, credentials: BoardCredentials, log: Logger) {
    this.#config = config;
    this.#credentials = credentials;
    this.#log = log;
    this.#reporter = new Reporter({
      session: this.#session,
      node: credentials.node,
      log,
      publishPod: (message) => this.#link.publishPod(message),
      publishEvent: (message) => this.#link.publishEvent(message),
      publishVolume: (message) => this.#link.publishVolume(message),
    });
    this.#desired = desiredState(config, credentials, log, (reason) =>
      this.#reporter.node('ManifestRefused', reason),
    );
    this.#records = podRecords(config, log);
    this.#pullNotes = pullNotes(config, log);
    this.#notes = new RunNotes(join(config.runDir, 'containers.json'), (error) =>
      log.warn({ err: error }, 'notes for the next agent not written'),
    );
    this.#board = new BoardSelf(config, credentials);
    this.#traffic = new BoardTraffic({
      config,
      credentials,
      session: this.#session,
      log,
      desired: this.#desired,
      board: this.#board,
      reporter: this.#reporter,
      isReady: () => this.#engineProblem() === undefined,
    });
    this.#link = this.#makeLink();
  }

  async start(): Promise<void> {
    await this.#desired.load();
    await this.#records.load();
    await this.#notes.load();
    this.#ending.push(
      () => this.#desired.flush(),
      () => this.#records.flush(),
      () => this.#pullNotes.flush(),
      () => this.#notes.flush(),
    );
    await this.#board.read();
    await this.#pullNotes.load(this.#board.bootId);
    this.#ending.push(() => this.#traffic.stop());
    await this.#traffic.start();
    const runtime = await chooseRuntime({ ...this.#config, ...this.#config.runtime }, this.#log);
    const pods = this.#makePods(runtime);
    this.#ending.push(
      () => runtime.stop(),
      () => pods.stop(),
    );
    await pods.devices.look();
    const remover = this.#makeRemover(pods);
    this.#ending.push(() => remover.stop());
    const engine = new EngineStart(runtime, this.#config.limits.pods.engineRetry, this.#log);
    this.#connect(engine, pods, remover);
    this.#ending.push(() => engine.stop());
    engine.start(() => {
      this.#desired.onChange((change) => {
        if (change !== 'pods') return;
        pods.desiredChanged();
        remover.look();
      });
      pods.start();
      this.#onConnected();
    });
    const { address } = this.#board;
    this.#log.info(
      { node: this.#credentials.node, session: this.#session, address },
      'agent started',
    );
  }

  async stop(): Promise<void> {
    for (const end of this.#ending.reverse()) await end();
  }

  #onConnected: () => void = () => {};
  #onRequest: ConstructorParameters<typeof Link>[0]['handlers']['onRequest'] = () => {};

  #makeLink(): Link {
    return new Link({
      credentials: this.#credentials,
      session: this.#session,
      log: this.#log.child({ part: 'link' }),
      random: Math.random,
      handlers: {
        ...desiredHandlers(this.#desired),
        onRequest: (message) => this.#onRequest(message),
        onConnected: () => this.#onConnected(),
      },
    });
  }

  /** From here on the master is told, and may ask. */
  #connect(engine: EngineStart, pods: PodManager, remover: VolumeRemover): void {
    const { limits, dataDir, heartbeatMs } = this.#config;
    const { runtime } = engine;
    const log = this.#log;
    const streams: Streams = new Streams({
      credentials: this.#credentials,
      log: log.child({ part: 'streams' }),
      streamsMax: limits.streamsMax,
      open: async (request, signal) => {
        if (request.type === 'metrics') {
          const { node } = this.#credentials;
          const workers = () => pods.workers();
          const { proxy } = this.#traffic;
          return openMetrics(request, { node, dataDir, clock, runtime, workers, proxy, streams });
        }
        if (request.type === 'shell') {
          const { node } = this.#credentials;
          const tell = (reason: string, message: string) =>
            this.#reporter.node(reason, message, 'Normal');
          const isAllowed = this.#config.allowShell;
          return openBoardShell(request, { node, isAllowed, log, tell }, signal);
        }
        const worker = [...pods.workers()].find(({ pod }) => pod.uid === request.podUid);
        return openStream(request, worker, { runtime, clock }, signal);
      },
    });
    this.#engineProblem = () => engine.problem ?? pods.engineProblem;
    const health = new Health({
      session: this.#session,
      dataDir,
      intervalMs: heartbeatMs,
      clock,
      log,
      runtime,
      workers: () => pods.workers(),
      foreignImages: () => pods.foreignImages(),
      engineProblem: this.#engineProblem,
      publish: (message) => {
        this.#link.publishHeartbeat(message);
        void this.#followDevices(pods, publishFacts);
      },
      relieve: (sample, uses) => pods.relief.relieve(sample, uses),
    });
    const publishFacts = () => {
      const devices = pods.devices.capacity();
      this.#toldDevices = devices;
      const facts = this.#board.facts(this.#session, engine.version, this.#desired, devices);
      this.#link.publishFacts(facts);
    };
    this.#onRequest = (message) => streams.serve(message);
    this.#onConnected = () => {
      if (!this.#link.connected) return;
      publishFacts();
      pods.reportAll();
      remover.look();
      health.beat();
      // A link that broke may have done so because the board has another address now.
      void this.#checkNetwork(publishFacts);
    };
    const check = setInterval(() => void this.#checkNetwork(publishFacts), limits.networkCheckMs);
    health.start();
    this.#link.start();
    this.#ending.push(
      () => streams.stop(),
      () => this.#link.stop(),
      () => health.stop(),
      () => clearInterval(check),
    );
  }

  #makePods(runtime: Runtime): PodManager {
    const { limits, dataDir, runDir } = this.#config;
    const pods = new PodManager({
      runtime,
      clock,
      log: this.#log.child({ part: 'pods' }),
      limits: limits.pods,
      records: this.#records,
      notes: this.#notes,
      pullNotes: this.#pullNotes,
      desired: () => this.#desired.current(),
      facts: () => this.#board.podFacts(this.#desired.current().services),
      architecture: this.#board.architecture,
      emulated: () => readEmulated(),
      directories: (uid) => ({
        data: join(dataDir, 'pods', uid),
        run: join(runDir, 'pods', uid),
        mounts: join(runDir, 'mounts', uid),
      }),
      networkMade: () => this.#traffic.podNetworkMade(),
      networkMounts: boardMounts(join(runDir, 'mounts'), limits.mounts),
      report: (report) => {
        this.#reporter.pod(report);
        this.#traffic.followHostPorts(hostPortsOf(pods.workers()));
      },
      emit: (event) => this.#reporter.podEvent(event),
      deviceRoots: { dev: '/dev', sys: '/sys' },
      pinnedImages: this.#config.pinnedImages,
      emitNode: (reason, message) => this.#reporter.node(reason, message),
    });
    return pods;
  }

  #makeRemover(pods: PodManager): VolumeRemover {
    return new VolumeRemover({
      directory: volumesDirectory(this.#config),
      log: this.#log.child({ part: 'volumes' }),
      wanted: () => this.#desired.current().removeVolumes,
      pathsInUse: () => pods.claimedPaths(),
      report: (name, problem) => this.#reporter.volume(name, problem),
      retryMs: this.#config.limits.volumeRetryMs,
    });
  }

  /** Looked for with each heartbeat: what is plugged in wakes nobody by itself. */
  async #followDevices({ devices }: PodManager, publishFacts: () => void): Promise<void> {
    try {
      await devices.look();
      const isNews = !isDeepStrictEqual(devices.capacity(), this.#toldDevices);
      if (isNews && this.#link.connected) publishFacts();
    } catch (error) {
      this.#log.warn({ err: error }, 'devices could not be looked for');
    }
  }

  async #checkNetwork(publishFacts: () => void): Promise<void> {
    try {
      if (await this.#traffic.checkNetwork()) publishFacts();
    } catch (error) {
      this.#log.warn({ err: error }, 'network could not be looked at');
    }
  }
}

async function checkBoard(log: Logger): Promise<void> {
  const findings = await checkHost();
  for (const { level, message } of findings) if (level === 'warning') log.warn(message);
  const errors = findings.filter(({ level }) => level === 'error');
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join('; '));
}
