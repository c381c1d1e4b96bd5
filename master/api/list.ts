/**
 * Lists: a consistent snapshot in pages, without parsing unless a selector asks for it.
 *
 * All pages of one list show the first page's revision; the `continue` token carries that revision and the next key.
 * A token whose revision is compacted is answered with 410 and a fresh token that goes on at the current state
 * (Kubernetes: "inconsistent continue token").
 */
import { ApiError, badRequest, expired, type Status } from '../../protocol/status.ts';
import { CompactedError, FutureRevisionError } from '../store/store.ts';
import type { Core } from './core.ts';
import { splitStoreKey } from './resources.ts';
import type { Selection } from './selection.ts';
import { fromStore } from './store-errors.ts';
import { type Stored, storedOf } from './stored.ts';

export interface ListPage {
  /** At most so many items; 0 or absent means all. */
  readonly limit?: number;
  readonly continueToken?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: string;
}

export interface StoredList {
  readonly items: readonly Stored[];
  readonly revision: number;
  readonly continueToken?: string;
  /** How many follow after this page; absent with selectors, as in Kubernetes. */
  readonly remaining?: number;
}

const TOKEN_VERSION = 'meta.k8s.io/v1';
/** Keys read from the store at a time when a selector throws many away. */
const SCAN_PAGE = 500;

/** A `continue` token. `revision` -1: go on with the state of now. */
interface Position {
  readonly revision: number;
  readonly start: string;
}

export async function listObjects(
  core: Core,
  selection: Selection,
  page: ListPage = {},
): Promise<StoredList> {
  const { resource } = selection;
  const store = core.storage.storeOf(resource);
  const at = startOf(selection, page, store.revision);
  const limit = page.limit ?? 0;
  const items: Stored[] = [];
  let { start } = at;
  let revision = Math.max(0, at.revision);
  for (;;) {
    const wanted = selection.all ? (limit === 0 ? 0 : limit - items.length) : SCAN_PAGE;
    const request = { ...selection.range, start, limit: wanted, revision };
    const found = await readPage(() => store.range(request), at, page, store);
    revision ||= found.revision;
    for (const [index, kv] of found.kvs.entries()) {
      const stored = storedOf(resource, kv);
      if (selection.all || selection.matches(core.storage.scanned(stored))) items.push(stored);
      if (limit === 0 || items.length < limit) continue;
      const rest = found.count - index - 1;
      return rest > 0 ? pageOf(selection, items, revision, rest) : { items, revision };
    }
    const last = found.kvs.at(-1);
    if (!found.more || last === undefined) return { items, revision };
    start = `${last.key}\0`;
  }
}

function pageOf(
  selection: Selection,
  items: readonly Stored[],
  revision: number,
  remaining: number,
): StoredList {
  const last = items.at(-1);
  const list = { items, revision, continueToken: tokenOf(revision, `${last?.key ?? ''}\0`) };
  return selection.all ? { ...list, remaining } : list;
}

function startOf(selection: Selection, page: ListPage, current: number): Position {
  if (page.continueToken !== undefined && page.continueToken !== '') {
    if (page.resourceVersion !== undefined && !['', '0'].includes(page.resourceVersion)) {
      throw badRequest('specifying resource version is not allowed when using continue');
    }
    return parseToken(page.continueToken, selection);
  }
  const asked = parseRevision(page.resourceVersion);
  const match = page.resourceVersionMatch ?? '';
  if (match !== '' && (page.resourceVersion ?? '') === '') {
    throw badRequest(
      'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
  }
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan') {
    throw badRequest(
      `resourceVersionMatch: Unsupported value: "${match}": supported values: "Exact", "NotOlderThan"`,
    );
  }
  if (match === 'Exact' && asked === 0) {
    throw badRequest(
      'resourceVersionMatch: Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"',
    );
  }
  if (asked > current) throw tooLargeRevision(asked, current);
  return { revision: match === 'Exact' ? asked : 0, start: selection.range.start };
}

/** A revision as a client sends it; absent, empty and "0" are 0. Throws 400 for anything but a decimal. */
export function parseRevision(text: string | undefined): number {
  if (text === undefined || text === '') return 0;
  if (!/^(0|[1-9]\d{0,15})$/.test(text)) {
    throw badRequest(`resourceVersion: Invalid value: "${text}": must be a decimal number`);
  }
  return Number(text);
}

/** 504 with the cause that client-go looks for: the server does not know this revision yet. */
export function tooLargeRevision(asked: number, current: number): ApiError {
  return new ApiError(504, 'Timeout', `Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

async function readPage<T>(
  read: () => Promise<T>,
  at: Position,
  page: ListPage,
  store: { readonly revision: number },
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof CompactedError) {
      if (page.continueToken === undefined || page.continueToken === '') {
        throw expired('The resourceVersion for the provided list is too old.');
      }
      throw new ExpiredTokenError(tokenOf(-1, at.start), error);
    }
    if (error instanceof FutureRevisionError) throw tooLargeRevision(at.revision, store.revision);
    throw fromStore(error);
  }
}

/** The 410 of an old token carries a new one in `metadata.continue`. */
class ExpiredTokenError extends ApiError {
  readonly #token: string;
  constructor(token: string, cause: Error) {
    super(
      410,
      'Expired',
      'The provided continue parameter is too old to display a consistent list result. You can start ' +
        'a new list without the continue parameter, or use the continue token in this response to ' +
        'retrieve the remainder of the results. Continuing with the provided token results in an ' +
        'inconsistent list - objects that were created, modified, or deleted between the time the ' +
        'first chunk was returned and now may show up in the list.',
      undefined,
      { cause },
    );
    this.#token = token;
  }

  override toStatus(): Status {
    return { ...super.toStatus(), metadata: { continue: this.#token } };
  }
}

function tokenOf(revision: number, start: string): string {
  const body = JSON.stringify({ v: TOKEN_VERSION, rv: revision, start });
  return Buffer.from(body, 'utf8').toString('base64url');
}

function parseToken(token: string, selection: Selection): Position {
  try {
    const body: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    if (typeof body === 'object' && body !== null && Reflect.get(body, 'v') === TOKEN_VERSION) {
      const revision: unknown = Reflect.get(body, 'rv');
      const start: unknown = Reflect.get(body, 'start');
      // A key outside the range would read what the path did not authorize.
      if (
        typeof revision === 'number' &&
        Number.isSafeInteger(revision) &&
        typeof start === 'string' &&
        start >= selection.range.start &&
        start < (selection.range.end ?? `${selection.range.start}\0\0`)
      ) {
        return { revision, start };
      }
    }
  } catch {
    // Falls to the error below: whatever it was, it is no token of ours.
  }
  throw badRequest('continue key is not valid: it was not issued by this server for this list');
}

/** Namespace and name of a stored object, without parsing it. */
export function placeOf(stored: Stored): { namespace: string; name: string } {
  return splitStoreKey(stored.resource, stored.key);
}
