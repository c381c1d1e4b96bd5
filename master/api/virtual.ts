/**
 * Resources that are no objects in the store: reviews that are only answered, metrics that are only read. They have a place
 * in discovery and in the paths like any kind.
 */
import type { ApiRequest } from './answers.ts';
import type { Verb } from './routes.ts';

export interface VirtualCall {
  readonly request: ApiRequest;
  readonly verb: Verb;
  readonly namespace: string;
  readonly name: string;
  /** The parsed body, for create. */
  readonly body: unknown;
}

export interface VirtualResource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly verbs: readonly Verb[];
  /** Code and value of the answer; throws `ApiError`. */
  handle(call: VirtualCall): Promise<{ readonly code: number; readonly value: object }>;
}
