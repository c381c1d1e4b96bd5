/**
 * What the API needs to reach into pods: the fleet link, which asks the pod's board to dial back. Frames are those of
 * protocol/streams.ts.
 */
import type { Pod } from '../../../protocol/kinds/types.ts';
import type { MetricsPage } from '../../../protocol/stream-requests.ts';
import type { StreamFrame } from '../../../protocol/streams.ts';

/** Which streams of a process the client wants (core/v1 PodExecOptions, PodAttachOptions). */
export interface Redirections {
  readonly container: string;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export type PodStreamRequest =
  | ({ readonly type: 'exec'; readonly command: string[] } & Redirections)
  | ({ readonly type: 'attach' } & Redirections)
  | { readonly type: 'portForward'; readonly port: number };

/** What a board itself is asked for. */
export type NodeRequest =
  | { readonly type: 'metrics'; readonly page: MetricsPage }
  | { readonly type: 'shell'; readonly user: string; readonly term: string };

/** An open stream into a pod. Whoever has it must close it. */
export interface PodStream {
  /** stdout, stderr and exit frames until it ends. Throws ApiError when it breaks. For one reader. */
  frames(): AsyncIterable<StreamFrame>;
  /** Resolves when the board's side takes more. Rejects when the stream is over. */
  send(channel: number, data: Uint8Array): Promise<void>;
  /** Lets go of what runs at the other end; `frames` ends. */
  close(): void;
}

export interface StreamSource {
  /** Throws ApiError, before anything is sent, when it cannot be opened; ends at `signal`. */
  openStream(pod: Pod, request: PodStreamRequest, signal: AbortSignal): Promise<PodStream>;
}

export interface NodeSource {
  /** As `openStream`, to the board itself. */
  openNode(node: string, request: NodeRequest, signal: AbortSignal): Promise<PodStream>;
}
