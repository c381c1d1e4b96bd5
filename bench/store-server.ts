/**
 * Our store behind the part of etcd's JSON gateway that `bench/store.ts` calls: `/v3/kv/put`, `/v3/kv/range`, `/v3/watch`.
 * A process of its own: `store-server DIRECTORY`; prints its port. Not for anything but measuring.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { KeyValue, StoreEvent } from '../master/store/store.ts';
import { openWalStore, type WalStore } from '../master/store/wal-store.ts';

interface Body {
  readonly key?: string;
  readonly value?: string;
  readonly range_end?: string;
  readonly create_request?: { readonly key: string; readonly range_end: string };
}

const decode = (base64 = '') => Buffer.from(base64, 'base64');
const base64 = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

function kvText(kv: KeyValue): string {
  const key = Buffer.from(kv.key, 'latin1').toString('base64');
  return (
    `{"key":"${key}","create_revision":"${kv.createRevision}","mod_revision":"${kv.modRevision}",` +
    `"version":"${kv.version}","value":"${base64(kv.value)}"}`
  );
}

/** An event is the same text for every watcher. */
const texts = new WeakMap<StoreEvent, string>();
function eventText(event: StoreEvent): string {
  let text = texts.get(event);
  if (text === undefined) {
    text = `{"kv":${kvText(event.kv)}}`;
    texts.set(event, text);
  }
  return text;
}

async function answer(store: WalStore, path: string, body: Body, response: ServerResponse) {
  if (path === '/v3/kv/put') {
    const key = decode(body.key).toString('latin1');
    const put = { type: 'put', key, value: decode(body.value) } as const;
    const { revision } = await store.txn({ compare: [], success: [put] });
    send(response, `{"header":{"revision":"${revision}"}}`);
  } else if (path === '/v3/kv/range') {
    const start = decode(body.key).toString('latin1');
    const end = decode(body.range_end).toString('latin1');
    const { kvs, count, revision } = await store.range({ start, end });
    const list = kvs.map(kvText).join(',');
    send(response, `{"header":{"revision":"${revision}"},"kvs":[${list}],"count":"${count}"}`);
  } else {
    const { key, range_end } = body.create_request ?? { key: '', range_end: '' };
    const range = {
      start: decode(key).toString('latin1'),
      end: decode(range_end).toString('latin1'),
    };
    const watch = store.watch(range);
    response.on('close', () => watch.close());
    response.write('{"result":{"created":true}}\n');
    for await (const { events, revision } of watch) {
      const list = events.map(eventText).join(',');
      response.write(`{"result":{"header":{"revision":"${revision}"},"events":[${list}]}}\n`);
    }
  }
}

function send(response: ServerResponse, text: string): void {
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

function read(message: IncomingMessage, done: (body: Body) => void): void {
  let text = '';
  message.setEncoding('latin1');
  message.on('data', (chunk: string) => {
    text += chunk;
  });
  message.on('end', () => done(JSON.parse(text) as Body));
}

const store = await openWalStore(process.argv[2] ?? '');
const server = createServer((message, response) => {
  read(message, (body) => {
    answer(store, message.url ?? '', body, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`${typeof address === 'object' ? address?.port : 0}\n`);
});
