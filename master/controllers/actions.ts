/**
 * Everything a controller may ask for. Controllers return actions; only `runner.ts` carries them
 * out.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { DeleteOptions, ResourceId } from '../api/client.ts';
import type { Disruption } from './disruption-target.ts';
import type { EventTarget, EventType } from './events.ts';

/** An event that belongs to the outcome of an action. `{name}` and `{error}` are filled in. */
export interface Announcement {
  readonly regarding: EventTarget;
  readonly success?: { readonly reason: string; readonly message: string };
  readonly failure?: { readonly reason: string; readonly message: string };
}

/** An object that may still exist although a cache does not show it. */
export interface OwnerCheck {
  readonly id: ResourceId;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export type Action =
  | {
      readonly type: 'create';
      readonly id: ResourceId;
      readonly object: KubeObject;
      readonly announce?: Announcement;
    }
  /** The whole object; with its resourceVersion, so that a change by others is a Conflict. */
  | { readonly type: 'update'; readonly id: ResourceId; readonly object: KubeObject }
  | {
      readonly type: 'updateStatus';
      readonly id: ResourceId;
      readonly object: KubeObject;
      /** Also when an action before it failed: the status tells of the failure. */
      readonly evenAfterFailure?: true;
    }
  | {
      readonly type: 'patch';
      readonly id: ResourceId;
      readonly namespace: string;
      readonly name: string;
      readonly mergePatch: Record<string, unknown>;
      readonly subresource?: 'status';
    }
  | {
      readonly type: 'delete';
      readonly id: ResourceId;
      readonly namespace: string;
      readonly name: string;
      /** Only this life of the object: a later one of the same name is left alone. */
      readonly uid: string;
      readonly options?: Omit<DeleteOptions, 'preconditions'>;
      /** Of a pod: told in its status before the delete. */
      readonly disruption?: Disruption;
      /** Asked live before the delete: if any of them exists, nothing is deleted. */
      readonly unlessExists?: readonly OwnerCheck[];
      readonly announce?: Announcement;
    }
  /** A delete that disruption budgets may refuse, which is no failure. */
  | {
      readonly type: 'evict';
      readonly namespace: string;
      readonly name: string;
      readonly uid: string;
      readonly announce?: Announcement;
    }
  | {
      readonly type: 'event';
      readonly regarding: EventTarget;
      readonly eventType: EventType;
      readonly reason: string;
      readonly message: string;
    }
  /** Look at this key again after a time, whatever happens. */
  | { readonly type: 'requeueAfter'; readonly delayMs: number };

/** Time as controllers see it: decisions by `monotonicMs`, `timestamp` only for people. */
export interface Now {
  readonly monotonicMs: number;
  /** RFC 3339. */
  readonly timestamp: string;
}
