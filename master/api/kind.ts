/**
 * What the API machinery needs to know of one kind. The machinery (routing, storage, patches, watch, tables,
 * discovery) is generic; a kind is one small module in master/api/kinds/ that exports a `KindModule`.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { FieldError } from '../../protocol/status.ts';
import type { User } from './client.ts';

/** One column of `kubectl get` (meta.k8s.io/v1 TableColumnDefinition); priority > 0 is `-o wide` only. */
export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly format?: 'name' | '';
  readonly description: string;
  readonly priority?: number;
}

export type Cell = string | number | boolean;

/** What defaulting and preparation may ask about the world; all else is pure. */
export interface AdmissionContext {
  readonly user: User;
  readonly nowMs: number;
  /** Cluster-wide allocations, reserved for the object that is being written and freed when it goes. */
  readonly allocator: Allocator;
}

/** Service addresses and node ports: unique over the cluster. Throws an Error whose message says what is taken. */
export interface Allocator {
  /** `wanted` empty: any free address of the service range. */
  clusterIp(wanted: string): string;
  nodePort(wanted: number, protocol: string): number;
}

/** Two forms of the same object (events of core/v1 and events.k8s.io/v1). Pure, without loss in both directions. */
export interface View<T> {
  readonly of: { readonly group: string; readonly plural: string };
  fromStored(object: KubeObject): T;
  toStored(object: T): KubeObject;
}

/** What of an object is written apart from the rest, and is (a part of) its status. */
export type StatusPart = 'status' | 'approval';

/** What of an object is written by a subresource that takes the whole object. */
export type ObjectPart = StatusPart | 'ephemeralcontainers';

export interface KindModule<T extends KubeObject = KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  /** Name in the generated table, as `io.k8s.api.core.v1.Pod`. */
  readonly message: string;
  /** Events live in memory: they are worth no write to the card. */
  readonly storage: 'durable' | 'memory';
  readonly subresources: {
    readonly status?: true;
    readonly approval?: true;
    readonly scale?: true;
    readonly ephemeralcontainers?: true;
  };
  /** The kind is another form of the objects of this one: they are stored once, in that kind's form. */
  readonly view?: View<T>;
  /** Fills defaults in place, as the documentation of each field says. Idempotent. */
  setDefaults(object: T): void;
  /** Before a create: drops what users may not set (status), allocates addresses. In place. */
  prepareForCreate?(object: T, context: AdmissionContext): void;
  /** Before an update of the main resource: keeps what only the server sets. In place on `next`. */
  prepareForUpdate?(next: T, previous: T, context: AdmissionContext): void;
  /** Before a write of the status or a part of it: keeps what that part may not change. In place on `next`. */
  preparePart?(next: T, previous: T, part: StatusPart, nowMs: number): void;
  /** After the object is gone from the store: give back what `prepareForCreate` allocated. */
  release?(
    object: T,
    allocator: Allocator & {
      freeClusterIp(ip: string): void;
      freeNodePort(port: number, protocol: string): void;
    },
  ): void;
  /** Names: DNS-1123 subdomain unless the kind says otherwise; returns the reason or undefined. */
  validateName?(name: string): string | undefined;
  validate(object: T): FieldError[];
  /** What only a new object must satisfy. */
  validateCreate?(object: T): FieldError[];
  validateUpdate?(next: T, previous: T): FieldError[];
  validatePart?(next: T, previous: T, part: ObjectPart): FieldError[];
  /** What is stored but not honoured yet, by field path: sent as Warning headers, never silently ignored. */
  warnings?(object: T): string[];
  /** Does this update change the desired state (then metadata.generation rises)? Default: anything but metadata and status. */
  readonly hasGeneration: boolean;
  readonly columns: readonly Column[];
  /** Cells in the order of `columns`. */
  row(object: T, nowMs: number): Cell[];
  /** Beyond metadata.name and metadata.namespace. Keys are field paths; every supported path is present in the answer. */
  selectableFields?(object: T): Record<string, string>;
  /** For scale: how many replicas are wanted and seen, and the selector in string form. */
  scale?: {
    get(object: T): { specReplicas: number; statusReplicas: number; selector: string };
    set(object: T, replicas: number): void;
  };
  /** Seconds between the delete request and the end, when the object is not removed at once (pods). */
  gracePeriodSeconds?(object: T, requested: number | undefined): number;
}
