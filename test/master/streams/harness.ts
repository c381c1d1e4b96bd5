/**
 * A master's API and one board for tests of streams: real TLS, real WebSockets in both places, the agent's own code, and a
 * fake runtime below it. Only MQTT is left out: requests reach the board by a call.
 */
import { tmpdir } from 'node:os';
import { connect, type TLSSocket } from 'node:tls';
import t from 'tap';
import { WebSocket } from 'ws';
import { serveStream } from '../../../agent/link/streams.ts';
import type { PageSources } from '../../../agent/metrics/pages.ts';
import { openBoardShell, openMetrics, type ShellContext } from '../../../agent/node-streams.ts';
import { openStream, type StreamPod } from '../../../agent/pod-streams.ts';
import { FakeRuntime } from '../../../agent/runtime/fake.ts';
import type { FakeExec } from '../../../agent/runtime/fake-exec.ts';
import { BoardStreams } from '../../../master/fleet/streams.ts';
import { systemTimers } from '../../../master/informer/timers.ts';
import { systemClock } from '../../../protocol/clock.ts';
import { decodeMessage } from '../../../protocol/codec.ts';
import type { Pod } from '../../../protocol/kinds/types.ts';
import { StreamRequest } from '../../../protocol/stream-requests.ts';
import { STREAM_PATH } from '../../../protocol/streams.ts';
import { containerSpec, sandboxSpec } from '../../agent/runtime.contract.ts';
import { type Fixture, type Identity, PODS, pod as podOf, startApi } from '../api-fixture.ts';
import { credentialsOf, FakeBus, log } from '../fleet/fixture.ts';

/** Until tens of MiB stand still on a busy machine. */
export const LONG = { timeout: 110_000 };
t.setTimeout(240_000);

export interface StreamPlace {
  readonly api: Fixture;
  readonly streams: BoardStreams;
  readonly runtime: FakeRuntime;
  /** Container of the pod "web" on the board. */
  readonly containerId: string;
  /** Streams that the board serves now. */
  readonly serving: () => number;
  connected: boolean;
  /** What the board's agent has for shells. */
  shell: Pick<ShellContext, 'isAllowed' | 'loadPty'>;
  /** Events of the board. */
  readonly told: string[];
  open(path: string, options?: OpenOptions): Client;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly protocols?: readonly string[];
  readonly as?: Identity;
  readonly origin?: string;
}

/** A WebSocket client that keeps what it is sent, as "channel:text". */
export interface Client {
  readonly socket: WebSocket;
  /** What the server has chosen. */
  readonly protocol: () => string;
  readonly opened: Promise<void>;
  /** The HTTP status and body when the upgrade was refused. */
  readonly refused: Promise<{ readonly code: number; readonly body: string }>;
  readonly closed: Promise<number>;
  readonly messages: Buffer[];
  /** All that came on one channel so far. */
  text(channel: number): string;
  send(channel: number, data: string | Uint8Array): void;
}

/** The pod "web" with the containers c and d, running on board pi4 with the board's network. */
export async function startPlace(exec: FakeExec): Promise<StreamPlace> {
  const bus = new FakeBus();
  const streams = new BoardStreams({
    bus,
    timers: systemTimers,
    log,
    isConnected: () => place.connected,
  });
  const api = await startApi({ streams, nodes: streams });
  api.server.onUpgrade(STREAM_PATH, (...call) => streams.upgrade(...call));
  const runtime = new FakeRuntime({ exec, images: ['busybox'] });
  const spec = {
    nodeName: 'pi4',
    hostNetwork: true,
    containers: ['c', 'd'].map((name) => ({ name, image: 'busybox', stdin: true })),
  };
  const made = await api.call('POST', PODS, { body: podOf('web', spec) });
  const worker = await runOnBoard(runtime, made.json);
  const credentials = await credentialsOf(api.pki, 'pi4', 1, api.port);
  const told: string[] = [];
  let serving = 0;
  const sources: PageSources = {
    node: 'pi4',
    dataDir: tmpdir(),
    clock: systemClock,
    runtime,
    workers: () => [worker],
    proxy: { connections: 3, flows: 2 },
    streams: {
      get running() {
        return serving;
      },
    },
  };
  const publish = bus.publish.bind(bus);
  bus.publish = async (topic, payload, options) => {
    await publish(topic, payload, options);
    const request = decodeMessage(StreamRequest, payload);
    serving += 1;
    const open = async (wanted: StreamRequest, signal: AbortSignal) => {
      if (wanted.type === 'metrics') return openMetrics(wanted, sources);
      if (wanted.type === 'shell') {
        const tell = (reason: string, message: string) => void told.push(`${reason}: ${message}`);
        return openBoardShell(wanted, { ...place.shell, node: 'pi4', log, tell }, signal);
      }
      return openStream(
        wanted,
        wanted.podUid === worker.pod.uid ? worker : undefined,
        { runtime, clock: systemClock },
        signal,
      );
    };
    void serveStream({ credentials, request, log, open }).finally(() => {
      serving -= 1;
    });
  };
  const place: StreamPlace = {
    api,
    streams,
    runtime,
    containerId: worker.containers[0]?.id ?? '',
    serving: () => serving,
    connected: true,
    shell: { isAllowed: false },
    told,
    open: (path, options = {}) => openClient(api, path, options),
    close: async () => {
      streams.stop();
      await api.close();
    },
  };
  return place;
}

/** The container c runs; d was never started. */
async function runOnBoard(runtime: FakeRuntime, pod: Pod): Promise<StreamPod> {
  const uid = pod.metadata?.uid ?? '';
  const sandbox = await runtime.runSandbox(sandboxSpec('10.42.1.0/24', 2, { podUid: uid }));
  const spec = containerSpec('busybox', { name: 'c', stdin: true });
  const id = await runtime.createContainer(sandbox.id, spec);
  await runtime.startContainer(id);
  return {
    pod: {
      uid,
      namespace: 'default',
      name: 'web',
      meta: pod.metadata ?? {},
      spec: pod.spec ?? { containers: [] },
    },
    containers: await runtime.listContainers(),
    status: {
      podIP: '192.0.2.1',
      containerStatuses: [
        { name: 'd', state: { waiting: { reason: 'ImagePullBackOff' } } },
      ] as never,
    },
  };
}

function openClient(api: Fixture, path: string, options: OpenOptions): Client {
  const { certificate, privateKey } = options.as ?? api.pki.admin;
  const protocols = options.protocols ?? ['v5.channel.k8s.io'];
  // ws refuses names with a slash, as the tunnel's: it does not get to see them.
  const hidden = protocols.find((name) => name.includes('/'));
  const socket = new WebSocket(
    `wss://127.0.0.1:${api.port}${path}`,
    protocols.filter((name) => name !== hidden),
    {
      ca: api.pki.caCertificate,
      cert: certificate,
      key: privateKey,
      ...(options.origin === undefined ? {} : { origin: options.origin }),
      ...(hidden === undefined ? {} : { headers: { 'Sec-WebSocket-Protocol': hidden } }),
    },
  );
  let protocol = '';
  socket.once('upgrade', ({ headers }) => {
    protocol = headers['sec-websocket-protocol'] ?? '';
    if (hidden !== undefined) delete headers['sec-websocket-protocol'];
  });
  const messages: Buffer[] = [];
  socket.on('message', (data) => messages.push(data as Buffer));
  const opened = new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.on('error', reject);
  });
  opened.catch(() => undefined);
  const refused = new Promise<{ code: number; body: string }>((resolve) => {
    socket.once('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString('utf8');
      });
      response.on('end', () => resolve({ code: response.statusCode ?? 0, body }));
    });
  });
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  return {
    socket,
    protocol: () => protocol,
    opened,
    refused,
    closed,
    messages,
    text: (channel) =>
      messages
        .filter((message) => message[0] === channel)
        .map((message) => message.toString('utf8', 1))
        .join(''),
    send: (channel, data) =>
      socket.send(Buffer.concat([Buffer.from([channel]), Buffer.from(data)])),
  };
}

/** A raw TLS connection as an administrator, after it has sent the head of a request. */
export function rawRequest(api: Fixture, head: readonly string[]): Promise<TLSSocket> {
  const { certificate, privateKey } = api.pki.admin;
  const socket = connect({
    host: '127.0.0.1',
    servername: 'localhost',
    port: api.port,
    ca: api.pki.caCertificate,
    cert: certificate,
    key: privateKey,
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.write(`${head.join('\r\n')}\r\n\r\n`);
      resolve(socket);
    });
  });
}
