/**
 * A Lease per board in kube-node-lease, as kubelets hold one: for `kubectl describe node` and tools that look there. Nothing in
 * Pier decides by it (boards.ts knows more, and sooner). Renewed by heartbeats, but not by each: leases live in memory, where
 * every renewal takes a place in the history.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { Lease, Node } from '../../protocol/kinds/types.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import type { Informer } from '../informer/informer.ts';

/** Both as kubelets have them. */
const DURATION_SECONDS = 40;
const RENEW_MS = 10_000;
const NAMESPACE = 'kube-node-lease';

export interface NodeLeasesOptions {
  readonly client: ApiClient;
  readonly nodes: Informer<Node>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class NodeLeases {
  readonly #options: NodeLeasesOptions;
  /** When each was last renewed or tried, monotonic. */
  readonly #renewedMs = new Map<string, number>();
  /** Heard before they had a Node. */
  readonly #early = new Set<string>();
  #unsubscribe: (() => void) | undefined;

  constructor(options: NodeLeasesOptions) {
    this.#options = options;
  }

  start(): void {
    this.#unsubscribe = this.#options.nodes.onChange(({ type, object }) => {
      const name = object.metadata?.name ?? '';
      if (type !== 'deleted' && this.#early.delete(name)) this.renew(name);
      if (type === 'deleted' && this.#renewedMs.delete(name)) this.#run(name, this.#remove(name));
    });
  }

  stop(): void {
    this.#unsubscribe?.();
  }

  /** The board is heard: called with every heartbeat. */
  renew(name: string): void {
    const { nodes, clock } = this.#options;
    const node = nodes.get('', name);
    const nowMs = clock.monotonicMs();
    const lastMs = this.#renewedMs.get(name);
    if (node === undefined) this.#early.add(name);
    if (node === undefined || (lastMs !== undefined && nowMs - lastMs < RENEW_MS)) return;
    this.#renewedMs.set(name, nowMs);
    this.#run(name, this.#write(name, node.metadata?.uid ?? ''));
  }

  async #write(name: string, uid: string): Promise<void> {
    const { client, clock } = this.#options;
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid }];
    const renewTime = new Date(clock.wallMs()).toISOString();
    const spec = { holderIdentity: name, leaseDurationSeconds: DURATION_SECONDS, renewTime };
    try {
      await client.patch(RESOURCES.leases, NAMESPACE, name, {
        metadata: { ownerReferences },
        spec,
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const metadata = { namespace: NAMESPACE, name, ownerReferences };
      await client.create<Lease>(RESOURCES.leases, { metadata, spec });
    }
  }

  async #remove(name: string): Promise<void> {
    await this.#options.client.delete(RESOURCES.leases, NAMESPACE, name);
  }

  /** The next heartbeats try again. */
  #run(name: string, work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (isNotFound(error)) return;
      this.#options.log.warn({ err: error, node: name }, 'the lease of a board was not written');
    });
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.reason === 'NotFound';
}
