/** Watches over WebSocket, as Headlamp and other dashboards open them. */
import { once } from 'node:events';
import t from 'tap';
import { type RawData, WebSocket } from 'ws';
import { RESOURCES } from '../../../master/api/client.ts';
import { openWatchedStore } from '../../support/watched-store.ts';
import { CONFIG_MAPS, configMap, type Fixture, type Identity, startApi } from '../api-fixture.ts';

interface Options {
  readonly protocols?: readonly string[];
  readonly headers?: Record<string, string>;
  readonly as?: Identity;
}

class Watcher {
  readonly socket: WebSocket;
  readonly messages: { readonly data: Buffer; readonly isBinary: boolean }[] = [];
  #wake: () => void = () => undefined;

  constructor({ pki, port }: Fixture, path: string, options: Options = {}) {
    const { certificate: cert, privateKey: key } = options.as ?? pki.admin;
    const { headers = {}, protocols = [] } = options;
    const url = `wss://127.0.0.1:${port}${path}`;
    this.socket = new WebSocket(url, [...protocols], { ca: pki.caCertificate, cert, key, headers });
    this.socket.on('message', (data: RawData, isBinary) => {
      this.messages.push({ data: data as Buffer, isBinary });
      this.#wake();
    });
    this.socket.on('error', () => undefined);
  }

  async next() {
    while (this.messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.messages.shift() ?? { data: Buffer.alloc(0), isBinary: false };
  }

  /** A text message, parsed: throws when it is more or less than one event. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape.
  async event(): Promise<any> {
    const { data, isBinary } = await this.next();
    if (isBinary) throw new Error('a binary message');
    return JSON.parse(data.toString());
  }

  async refusal() {
    const [, response] = await once(this.socket, 'unexpected-response');
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    return { code: response.statusCode, json: JSON.parse(Buffer.concat(chunks).toString()) };
  }

  async closed(): Promise<number> {
    const [code] = await once(this.socket, 'close');
    return code;
  }
}

t.test('watches over WebSocket', async (t) => {
  const api = await startApi();
  t.teardown(() => api.close());
  const make = async (name: string, labels = {}) => {
    const body = configMap(name, { a: '1' }, { labels });
    return (await api.call('POST', CONFIG_MAPS, { body })).json;
  };

  await t.test(
    'each event is one text message, from the beginning and as it happens',
    async (t) => {
      const blue = await make('blue', { color: 'blue' });
      await make('red', { color: 'red' });
      await make('navy', { color: 'blue' });
      const path = `${CONFIG_MAPS}?watch=1&labelSelector=color%3Dblue`;
      const watcher = new Watcher(api, path);
      const { object, type } = await watcher.event();
      t.equal(type, 'ADDED');
      t.strictSame(object, blue, 'the same object as by GET');
      t.match(await watcher.event(), { type: 'ADDED', object: { metadata: { name: 'navy' } } });
      t.equal(watcher.socket.protocol, '');
      watcher.socket.send('what a client says is passed over');
      await api.client.patch(RESOURCES.configMaps, 'default', 'blue', { data: { a: '2' } });
      t.match(await watcher.event(), { type: 'MODIFIED', object: { data: { a: '2' } } });
      await api.call('DELETE', `${CONFIG_MAPS}/blue`);
      t.match(await watcher.event(), { type: 'DELETED', object: { metadata: { name: 'blue' } } });
      watcher.socket.close();
      await watcher.closed();
    },
  );

  await t.test('WatchList, Tables and the sub-protocol of browsers', async (t) => {
    const initial = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
    const path = `${CONFIG_MAPS}?watch=1&allowWatchBookmarks=1&${initial}&fieldSelector=metadata.name%3Dred`;
    const watcher = new Watcher(api, path, {
      protocols: ['base64.binary.k8s.io'],
      headers: { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    const table = (await watcher.event()).object;
    t.match(table, { kind: 'Table', rows: [{ cells: ['red', 1, String] }] });
    t.equal((await watcher.event()).type, 'BOOKMARK');
    t.equal(watcher.socket.protocol, 'base64.binary.k8s.io');
    watcher.socket.terminate();
  });

  await t.test('protobuf comes in binary messages', async (t) => {
    const headers = { Accept: 'application/vnd.kubernetes.protobuf' };
    const path = `${CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dred`;
    const watcher = new Watcher(api, path, { headers });
    const { data, isBinary } = await watcher.next();
    t.equal(isBinary, true);
    const stream = await api.stream(path, { accept: headers.Accept });
    const [chunk] = await once(stream.response, 'data');
    t.strictSame(
      data,
      chunk.subarray(4),
      'as in the answer to a GET, without the length before it',
    );
    watcher.socket.terminate();
    stream.close();
  });

  await t.test('what cannot be watched is an ordinary answer', async (t) => {
    const refused = (path: string, options: Options = {}) =>
      new Watcher(api, path, options).refusal();
    const jane = await api.identity('jane', []);
    const cases: [string, Options, number, RegExp][] = [
      [`${CONFIG_MAPS}?watch=1`, { as: jane }, 403, /User "jane" cannot watch resource "conf/],
      [`${CONFIG_MAPS}?watch=1`, { headers: { Origin: 'https://evil.example' } }, 403, /page of/],
      [`${CONFIG_MAPS}?watch=1&fieldSelector=data.a%3D1`, {}, 400, /field label not supported/],
      [`${CONFIG_MAPS}?watch=1&sendInitialEvents=1`, {}, 422, /NotOlderThan/],
      [`${CONFIG_MAPS}?watch=1`, { headers: { Accept: 'image/png' } }, 406, /media types/],
      ['/api/v1/namespaces/default/things?watch=1', {}, 404, /could not find the requested/],
      ['/api/v1/namespaces/default/nodes?watch=1', {}, 404, /could not find the requested/],
      [CONFIG_MAPS, {}, 400, /cannot be upgraded/],
    ];
    for (const [path, options, code, message] of cases) {
      t.match(await refused(path, options), { code, json: { kind: 'Status', message } }, path);
    }
  });

  await t.test('its end is told: out of time, or behind the history', async (t) => {
    const brief = new Watcher(api, `${CONFIG_MAPS}?watch=1&timeoutSeconds=1`);
    t.equal(await brief.closed(), 1000);
    const late = new Watcher(api, `${CONFIG_MAPS}?watch=1&resourceVersion=999999`);
    const closed = late.closed();
    t.match(await late.event(), { type: 'ERROR', object: { code: 410, reason: 'Expired' } });
    t.equal(await closed, 1000);
  });
});

t.test('a client that does not read is cut, and the end of the server ends all', async (t) => {
  const { store, closed } = openWatchedStore();
  const api = await startApi({ store, watchLimits: { slowMs: 100 } });
  const body = configMap('large', { a: 'x'.repeat(500_000) });
  await api.call('POST', CONFIG_MAPS, { body });
  const path = `${CONFIG_MAPS}?watch=1&resourceVersion=${store.revision}`;
  const slow = new Watcher(api, path);
  const quiet = new Watcher(api, `${CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dnone`);
  await Promise.all([once(slow.socket, 'open'), once(quiet.socket, 'open')]);
  slow.socket.pause();
  for (let i = 0; i < 40; i += 1) {
    await api.client.patch(RESOURCES.configMaps, 'default', 'large', { data: { b: String(i) } });
  }
  await closed;
  // 20 MB do not fit into the buffers between us: what it gets when it reads again ends before the last.
  const ended = once(slow.socket, 'close');
  slow.socket.resume();
  await ended;
  t.ok(slow.messages.length < 40, `${slow.messages.length} of 40 events`);
  const last = quiet.closed();
  await api.close();
  t.equal(await last, 1000);
});
