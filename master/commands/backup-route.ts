/**
 * `GET /pier/v1/backup` of a running master: its backup (../store/backup.ts) as a stream. Only for `system:masters`: it
 * holds all Secrets and the authority's key.
 *
 * Promises: the state of one moment, while writes go on; one backup at a time; a client that stops reading is dropped, so that
 * the old state it holds in memory is freed. A backup that breaks off has no footer, which the client sees.
 */
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ApiError } from '../../protocol/status.ts';
import { forbiddenPath, isMaster } from '../api/authorizer.ts';
import type { User } from '../api/client.ts';
import type { BackupFiles } from '../store/backup.ts';
import type { WalStore } from '../store/wal-options.ts';

export const BACKUP_PATH = '/pier/v1/backup';
/** A client that takes nothing for so long is gone. */
const STALLED_MS = 60_000;
const FILE = /^[a-z]+\.(crt|key)$/;

export interface BackupSource {
  readonly store: WalStore;
  readonly pkiDir: string;
}

/** The handler for `ApiServer.onRequest(BACKUP_PATH, ...)`. */
export function backupHandler({ store, pkiDir }: BackupSource) {
  let running = false;
  return async (message: IncomingMessage, response: ServerResponse, user: User): Promise<void> => {
    if (!isMaster(user)) throw forbiddenPath(user, 'get', BACKUP_PATH);
    if (message.method !== 'GET') {
      throw new ApiError(405, 'MethodNotAllowed', `${BACKUP_PATH} can only be read`);
    }
    if (running) {
      const retry = { retryAfterSeconds: 10 };
      throw new ApiError(429, 'TooManyRequests', 'another backup is being read', retry);
    }
    running = true;
    try {
      const files = await readPki(pkiDir);
      const chunks = store.exportBackup(files);
      response.setTimeout(STALLED_MS, () => response.destroy());
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      await pipeline(Readable.from(chunks), response);
    } finally {
      running = false;
    }
  };
}

async function readPki(pkiDir: string): Promise<BackupFiles> {
  const files = new Map<string, Uint8Array>();
  for (const name of await readdir(pkiDir)) {
    if (FILE.test(name)) files.set(name, await readFile(join(pkiDir, name)));
  }
  return files;
}
