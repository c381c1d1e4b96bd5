/** The whole link: real API, real broker, real agent's link, and logs over a WebSocket. */
import { createHash, createPublicKey } from 'node:crypto';
import t from 'tap';
import type { ServedStream } from '../../../agent/link/stream-pump.ts';
import { serveStream } from '../../../agent/link/streams.ts';
import { RESOURCES } from '../../../master/api/client.ts';
import type { LogOptions } from '../../../master/api/pod-log.ts';
import { type Fleet, startFleet } from '../../../master/fleet/fleet.ts';
import { SharedInformers } from '../../../master/informer/shared.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type { Node, Pod } from '../../../protocol/kinds/types.ts';
import type { Manifest } from '../../../protocol/messages.ts';
import { ApiError } from '../../../protocol/status.ts';
import type { StreamRequest } from '../../../protocol/stream-requests.ts';
import { STREAM_PATH } from '../../../protocol/streams.ts';
import { startApi } from '../api-fixture.ts';
import {
  credentialsOf,
  facts,
  heartbeat,
  log,
  makeLink,
  pod,
  settle,
  startBrokerFixture,
  until,
} from './fixture.ts';

t.test('the whole: real API, real broker, real link, logs over a WebSocket', async (t) => {
  const broker = await startBrokerFixture();
  t.teardown(() => broker.close());
  let fleet: Fleet | undefined;
  const api = await startApi({
    logs: { open: (one, options, signal) => openLogs(one, options, signal) },
  });
  const openLogs = async (one: Pod, options: LogOptions, signal: AbortSignal) => {
    if (fleet === undefined) throw new Error('the fleet has not started');
    return fleet.logs.open(one, options, signal);
  };
  const informers = new SharedInformers({ client: api.client, log });
  fleet = startFleet({
    client: api.client,
    informers,
    bus: broker.broker,
    clock: systemClock,
    log,
    clusterId: 'c1',
    epoch: 0,
    events: { record: () => {} },
    kubernetesVersion: 'v1.34.0+pier',
  });
  const running = fleet;
  api.server.onUpgrade(STREAM_PATH, running.upgrade);
  void informers.start();
  await running.ready;
  t.teardown(async () => {
    await running.stop();
    await informers.stop();
    await api.close();
  });

  // The board trusts one authority; here API and broker have one each, so streams get the API's.
  const forBroker = await broker.credentials('pi4');
  const forApi = await credentialsOf(api.pki, 'pi4', broker.broker.port, api.port);
  const bigChunk = Buffer.alloc(300_000, 'x');
  let aborted = 0;
  const dialled: Promise<void>[] = [];
  const { link, seen } = makeLink(forBroker, 's1', {
    handlers: {
      onConnected: () => {
        const { publicKey } = { publicKey: createPublicKey(forBroker.certificate) };
        const der = publicKey.export({ type: 'spki', format: 'der' });
        link.publishFacts(facts('s1', { publicKey: new Uint8Array(der) }));
        link.publishHeartbeat(heartbeat('s1', 0));
      },
      onRequest: (request: StreamRequest) => {
        const answer = serveStream({ credentials: forApi, request, log, open: openOnBoard });
        dialled.push(answer);
      },
    },
  });
  const openOnBoard = async (
    request: StreamRequest,
    signal: AbortSignal,
  ): Promise<ServedStream> => {
    await Promise.resolve();
    if (request.type !== 'logs') throw new ApiError(400, 'BadRequest', 'logs only');
    if (request.container === 'missing') {
      throw new ApiError(404, 'NotFound', 'container "missing" is not there');
    }
    const bytes = (async function* () {
      yield Buffer.from(`log of ${request.podUid}\n`);
      if (request.tailLines === 3) yield bigChunk;
      if (!request.follow) return;
      try {
        while (!signal.aborted) {
          yield bigChunk;
          await new Promise((resolve) => setImmediate(resolve));
        }
      } finally {
        aborted += 1;
      }
    })();
    return { type: 'bytes', bytes };
  };
  t.teardown(() => link.stop());
  link.start();
  const readyOf = async (): Promise<string | undefined> => {
    const { items } = await api.client.list<Node>(RESOURCES.nodes);
    return items[0]?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  };
  await until(async () => (await readyOf()) === 'True', 'a Ready node in the real API');
  const node = await api.call('GET', '/api/v1/nodes/pi4');
  t.match(node.json.status.nodeInfo, { kubeletVersion: 'v1.34.0+pier', architecture: 'arm64' });

  const posted = await api.call('POST', '/api/v1/namespaces/default/pods', {
    body: pod('web-1', {
      spec: {
        containers: [
          { name: 'c', image: 'i' },
          { name: 'missing', image: 'i' },
        ],
      },
    }),
  });
  t.equal(posted.code, 201, posted.text);
  await until(() => seen.some(({ type }) => type === 'pod'), 'the pod on the board');
  const manifests = (): Manifest[] =>
    seen.filter(({ type }) => type === 'manifest').map(({ message }) => message as Manifest);
  await until(() => manifests().at(-1)?.pods.length === 1, 'its manifest');
  const { uid } = posted.json.metadata;
  link.publishPod({
    v: 1,
    session: 's1',
    sequence: 1,
    uid,
    namespace: 'default',
    name: 'web-1',
    status: { phase: 'Running', podIP: '10.42.0.7', podIPs: [{ ip: '10.42.0.7' }] },
    gone: false,
  });
  const podPath = '/api/v1/namespaces/default/pods/web-1';
  await until(
    async () => (await api.call('GET', podPath)).json.status.phase === 'Running',
    'the status in the API',
  );

  const plain = await api.call('GET', `${podPath}/log?container=c`);
  t.equal(plain.text, `log of ${uid}\n`);
  const long = await api.call('GET', `${podPath}/log?container=c&tailLines=3`);
  t.equal(
    long.text.length,
    `log of ${uid}\n`.length + bigChunk.length,
    'cut into frames and whole',
  );
  const missing = await api.call('GET', `${podPath}/log?container=missing`);
  t.match(missing.json, { code: 404, message: 'container "missing" is not there' });

  const follow = new AbortController();
  const options = { container: 'c', follow: true, previous: false, timestamps: false };
  const theirPod = await api.client.get<Pod>(RESOURCES.pods, 'default', 'web-1');
  const stream = await running.logs.open(theirPod, options, follow.signal);
  let read = 0;
  for await (const chunk of stream) {
    read += chunk.length;
    if (read > 1_000_000) break;
  }
  await until(() => aborted === 1, 'the end on the board after the reader went away');
  const idle = await running.logs.open(theirPod, options, follow.signal);
  await new Promise((resolve) => setTimeout(resolve, 200));
  follow.abort();
  await until(() => aborted === 2, 'the end on the board after an abort');
  for await (const chunk of idle) read += chunk.length;
  t.ok(read < 20_000_000, `a reader that did not read was not flooded (${read} bytes)`);
  await Promise.all(dialled);

  const id = createHash('sha256').update('guess').digest('hex').slice(0, 32);
  const guess = { v: 1, id, type: 'logs', podUid: '', container: 'c', follow: false } as const;
  const asked = seen.length;
  await serveStream({
    credentials: forApi,
    request: { ...guess, previous: false, timestamps: false },
    log,
    open: async () => t.fail('a guessed id was accepted') as never,
  });
  t.equal(seen.length, asked);

  await link.stop();
  await until(async () => (await readyOf()) === 'Unknown', 'the will in the real API', 5_000);
  const away = await api.call('GET', `${podPath}/log?container=c`);
  t.match(away.json, { code: 503, message: /board "pi4" is not connected/ });
  await settle();
});
