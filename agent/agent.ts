/**
 * Puts the agent together, in this order: state from disk, services, container engine, pods, and only then the
 * master. Everything before the last step works without a master, and so does everything after. Services come
 * before the engine, which may take a while after a boot: pods that run already are reached again at once.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { systemClock as clock } from '../protocol/clock.ts';
import type { BoardCredentials } from '../protocol/messages.ts';
import { BoardSelf } from './board-self.ts';
import { type AgentConfig, readCredentials, volumesDirectory } from './config.ts';
import { ClusterDns } from './dns/cluster-dns.ts';
import { EngineStart } from './engine-start.ts';
import { Health } from './health.ts';
import { checkHost } from './host/checks.ts';
import { readEmulated } from './host/emulation.ts';
import { withIngresses } from './ingress/listeners.ts';
import { PortProblems } from './ingress/port-problems.ts';
import { routingTable } from './ingress/routing-table.ts';
import { WebServer } from './ingress/web-server.ts';
import { Link } from './link/link.ts';
import { localIpv4 } from './network/addresses.ts';
import { ensureForwarding, ensureServiceRoute, runIp } from './network/anyip.ts';
import { PodRoutes } from './network/routes.ts';
import { openBoardShell, openMetrics } from './node-streams.ts';
import { openStream } from './pod-streams.ts';
import { PodManager } from './pods/pod-manager.ts';
import { VolumeRemover } from './pods/volume-remover.ts';
import { arping } from './pool/arping.ts';
import { PoolMember } from './pool/pool-member.ts';
import { type HostPort, hostPortsOf, withHostPorts } from './proxy/host-ports.ts';
import { ServiceProxy } from './proxy/service-proxy.ts';
import { type ServiceProblem, serviceTable } from './proxy/service-table.ts';
import { Reporter } from './reporter.ts';
import { chooseRuntime } from './runtime/choose.ts';
import type { Runtime } from './runtime/runtime.ts';
import { holdDataDir } from './single.ts';
import type { DesiredState } from './state/desired-state.ts';
import { desiredState, podRecords, pullNotes } from './state/open-state.ts';
import type { PodRecords } from './state/pod-records.ts';
import type { PullNotes } from './state/pull-notes.ts';
import { RunNotes } from './state/run-notes.ts';
import { Streams } from './streams.ts';

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
  readonly #proxy: ServiceProxy;
  readonly #web: WebServer;
  readonly #portProblems = new PortProblems();
  readonly #dns: ClusterDns;
  readonly #routes: PodRoutes;
  readonly #pool: PoolMember;
  readonly #link: Link;
  #pods: PodManager | undefined;
  /** Until the engine has been heard of, other boards are the better ones. */
  #engineProblem: () => string | undefined = () => 'not known yet';
  #hostPorts: readonly HostPort[] = [];
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
    this.#proxy = new ServiceProxy({
      clock,
      log: log.child({ part: 'proxy' }),
      limits: config.limits.proxy,
      random: Math.random,
      onProblem: (problem) => this.#tellProblem(problem),
      onWeb: (client, web) => this.#web.accept(client, web),
    });
    this.#web = new WebServer({ balancer: this.#proxy.balancer, limits: config.limits.web });
    this.#dns = this.#makeDns();
    this.#routes = new PodRoutes({ self: credentials.node, ip: runIp, log });
    this.#pool = this.#makePool();
    this.#link = this.#makeLink();
  }

  async start(): Promise<void> {
    const { serviceCidr } = this.#config;
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
    await ensureForwarding();
    await ensureServiceRoute(serviceCidr, runIp);
    this.#ending.push(
      () => this.#proxy.stop(),
      () => this.#web.stop(),
      () => this.#dns.stop(),
      () => this.#routes.flush(),
      () => this.#pool.stop(),
    );
    this.#followCluster();
    this.#dns.start();
    this.#desired.onChange((change) => {
      if (change === 'cluster') this.#followCluster();
      else this.#followServices();
    });
    const runtime = await chooseRuntime({ ...this.#config, ...this.#config.runtime }, this.#log);
    const pods = this.#makePods(runtime);
    this.#pods = pods;
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
    const desired = this.#desired;
    return new Link({
      credentials: this.#credentials,
      session: this.#session,
      log: this.#log.child({ part: 'link' }),
      random: Math.random,
      handlers: {
        onManifest: (message) => desired.offerManifest(message),
        onPod: (message) => desired.offerPod(message),
        onConfig: (message) => desired.offerConfig(message),
        onIngress: (message) => desired.offerIngress(message),
        onClusterManifest: (message) => desired.offerClusterManifest(message),
        onService: (message) => desired.offerService(message),
        onBoard: (message) => desired.offerBoard(message),
        onRequest: (message) => this.#onRequest(message),
        onConnected: () => this.#onConnected(),
      },
    });
  }

  #makePool(): PoolMember {
    return new PoolMember({
      credentials: this.#credentials,
      session: this.#session,
      clock,
      log: this.#log.child({ part: 'pool' }),
      limits: this.#config.limits.pool,
      ip: runIp,
      arping,
      address: () => this.#board.address,
      isReady: () => this.#engineProblem() === undefined,
      onChange: () => this.#followServices(),
      onProblem: (problem) => this.#reporter.serviceProblem(problem),
      onTrouble: (reason, message) => this.#reporter.node(reason, message),
    });
  }

  #makeDns(): ClusterDns {
    const { dnsIp, clusterDomain, serviceCidr, limits } = this.#config;
    return new ClusterDns({
      ip: dnsIp,
      domain: clusterDomain,
      serviceCidr,
      clock,
      log: this.#log.child({ part: 'dns' }),
      limits: limits.dns,
      random: Math.random,
      randomId: () => randomInt(65_536),
      facts: () => {
        const { services, boards, node } = this.#desired.current();
        return { services, boards, podCidr: node?.podCidr ?? '' };
      },
      onProblem: (problem) => this.#reporter.serviceProblem(problem),
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
          const proxy = this.#proxy;
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
    return new PodManager({
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
      directories: (uid) => ({ data: join(dataDir, 'pods', uid), run: join(runDir, 'pods', uid) }),
      report: (report) => {
        this.#reporter.pod(report);
        this.#followHostPorts();
      },
      emit: (event) => this.#reporter.podEvent(event),
      deviceRoots: { dev: '/dev', sys: '/sys' },
      pinnedImages: this.#config.pinnedImages,
      emitNode: (reason, message) => this.#reporter.node(reason, message),
    });
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

  #followCluster(): void {
    const { boards, services } = this.#desired.current();
    this.#pool.update(services, boards);
    this.#followServices();
    this.#dns.changed();
    this.#routes.update(boards);
  }

  #followServices(): void {
    const board = {
      node: this.#credentials.node,
      address: this.#board.address,
      addresses: localIpv4(),
    };
    const { services, ingresses = [], configs } = this.#desired.current();
    const table = withHostPorts(serviceTable(services, board), this.#hostPorts, board);
    const routes = routingTable(ingresses, services, board.node);
    const { problems, ...listened } = withIngresses(table, ingresses, board);
    const wrong = this.#web.update(routes, ingresses, configs);
    this.#portProblems.keepOnly(ingresses);
    this.#proxy.update({ ...listened, problems: [...problems, ...wrong, ...this.#pool.problems] });
  }

  #tellProblem(problem: ServiceProblem): void {
    const { service } = problem;
    const isOfPort = service.isIngress === true && service.name === '';
    const told = isOfPort
      ? this.#portProblems.of(problem, this.#desired.current().ingresses ?? [])
      : [problem];
    for (const one of told) this.#reporter.serviceProblem(one);
  }

  /** What a pod has told may open or close ports of the board. */
  #followHostPorts(): void {
    const ports = hostPortsOf(this.#pods?.workers() ?? []);
    if (isDeepStrictEqual(ports, this.#hostPorts)) return;
    this.#hostPorts = ports;
    this.#followServices();
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

  /** An interface that came or went, a lease with another address. */
  async #checkNetwork(publishFacts: () => void): Promise<void> {
    try {
      await this.#routes.check();
      const before = this.#board.address;
      await this.#board.read();
      this.#followServices();
      if (this.#board.address === before) return;
      this.#log.info({ before, now: this.#board.address }, "this board's address changed");
      publishFacts();
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
