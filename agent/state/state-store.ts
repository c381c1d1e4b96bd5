/**
 * A ledger on disk. One file per payload, named by key and digest, so that a new payload never replaces the
 * one the written manifest still names; then the manifest, which is the commit; then the payloads that no
 * manifest names any more are removed. A crash in between leaves the old state or the new one, whole.
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { compareOrder } from './accept.ts';
import type { Item, Ledger, LedgerManifest } from './ledger.ts';
import { type ClusterPayload, keyOf, type NodePayload, type PayloadFormat } from './payloads.ts';
import { type Order, type StateContent, StateDirectory } from './state-file.ts';

const MANIFEST = 'manifest';

export class StateStore<M, P extends NodePayload | ClusterPayload> {
  readonly #format: PayloadFormat<M, P>;
  readonly #log: Logger;
  readonly #directory: StateDirectory;
  /** Names of the payload files on disk. */
  #files = new Set<string>();
  #manifest: LedgerManifest<M> | undefined;

  constructor(directory: string, format: PayloadFormat<M, P>, log: Logger) {
    this.#format = format;
    this.#log = log;
    this.#directory = new StateDirectory(directory, (file, error) =>
      log.error({ file, err: error }, 'state file damaged; set aside, the rest is used'),
    );
  }

  async load(ledger: Ledger<M, P>, clusterId: string): Promise<void> {
    const contents = await this.#directory.readAll();
    const manifest = await this.#readManifest(contents.get(MANIFEST), clusterId);
    contents.delete(MANIFEST);
    const items = new Map<string, Item<P>>();
    const orders = new Map<string, Order>();
    let newest: Order | undefined = manifest;
    for (const [file, { order, body }] of contents) {
      const payload = await this.#readPayload(file, body);
      if (payload === undefined) continue;
      this.#files.add(file);
      const key = keyOf(payload);
      const { digest } = payload.message;
      // Without the manifest, the payload that came with the newest one stands.
      const known = orders.get(key);
      const wanted =
        manifest === undefined
          ? known === undefined || compareOrder(order, known) > 0
          : manifest.items.get(key) === digest;
      if (!wanted) continue;
      orders.set(key, order);
      items.set(key, { digest, payload });
      if (newest === undefined || compareOrder(order, newest) > 0) newest = order;
    }
    this.#manifest = manifest;
    ledger.restore(manifest, items, newest);
  }

  /** Writes what changed. A disk that fails is logged: what is in memory goes on. */
  async save(ledger: Ledger<M, P>): Promise<void> {
    const { manifest, items } = ledger;
    if (manifest === undefined) return;
    const order = { epoch: manifest.epoch, revision: manifest.revision };
    const wanted = new Set<string>();
    const payloads = new Map<string, StateContent>();
    for (const [key, { digest, payload }] of items) {
      const file = fileName(payload.type, key, digest);
      wanted.add(file);
      if (this.#files.has(file)) continue;
      payloads.set(file, { order, body: this.#format.encodePayload(payload) });
    }
    try {
      await this.#directory.write(payloads);
      if (manifest !== this.#manifest) {
        const body = this.#format.encodeManifest(manifest.message);
        await this.#directory.write(new Map([[MANIFEST, { order, body }]]));
      }
      const unused = [...this.#files].filter((file) => !wanted.has(file));
      await this.#directory.remove(unused);
      this.#files = wanted;
      this.#manifest = manifest;
    } catch (error) {
      this.#log.error(
        { err: error },
        'desired state not written: the board runs it now, but would not know it after a reboot',
      );
    }
  }

  async #readManifest(
    content: StateContent | undefined,
    clusterId: string,
  ): Promise<LedgerManifest<M> | undefined> {
    if (content === undefined) return undefined;
    try {
      const manifest = this.#format.decodeManifest(content.body);
      if (manifest.clusterId === clusterId) return manifest;
      throw new Error(`it is of cluster ${manifest.clusterId}, this board is of ${clusterId}`);
    } catch (error) {
      await this.#directory.setAside(MANIFEST, asError(error));
      return undefined;
    }
  }

  async #readPayload(file: string, body: Uint8Array): Promise<P | undefined> {
    try {
      const payload = this.#format.decodePayload(file.split('-', 1)[0] ?? '', body);
      if (payload !== undefined) return payload;
      throw new Error('it is of no kind that is known here');
    } catch (error) {
      await this.#directory.setAside(file, asError(error));
      return undefined;
    }
  }
}

function fileName(type: string, key: string, digest: string): string {
  const hash = createHash('sha256').update(`${key}\0${digest}`).digest('hex');
  return `${type}-${hash.slice(0, 32)}`;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
