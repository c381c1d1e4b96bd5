/**
 * `backup FILE`: fetches a backup from the running master and puts it in place only when it is whole. The file is readable by
 * its owner alone, and durable when this returns.
 */
import { createWriteStream } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { parse } from 'yaml';
import { syncDirectory } from '../pki/private-file.ts';
import { looksLikeBackup, readBackup } from '../store/backup.ts';
import { errorCode, isNoSpace } from '../store/disk.ts';
import { BACKUP_PATH } from './backup-route.ts';

export interface BackupOptions {
  readonly data: string;
  readonly kubeconfig?: string;
  readonly server?: string;
}

const Kubeconfig = Type.Object({
  clusters: Type.Tuple([
    Type.Object({
      cluster: Type.Object({
        server: Type.String(),
        'certificate-authority-data': Type.String(),
        'tls-server-name': Type.Optional(Type.String()),
      }),
    }),
  ]),
  users: Type.Tuple([
    Type.Object({
      user: Type.Object({
        'client-certificate-data': Type.String(),
        'client-key-data': Type.String(),
      }),
    }),
  ]),
});

const SILENT_MS = 60_000;
const ERROR_BYTES_MAX = 64 * 1024;

/** Throws an Error with a sentence; then a file that was there before is still there. */
export async function backup(path: string, options: BackupOptions): Promise<void> {
  const kubeconfig = options.kubeconfig ?? join(options.data, 'admin.kubeconfig');
  const config = await readKubeconfig(kubeconfig);
  const file = resolve(path);
  await refuseOther(file);
  const temporary = `${file}.part`;
  await rm(temporary, { force: true });
  try {
    await fetchTo(temporary, config, options.server);
    // Read back from the disk: what counts is what is there.
    const { header, kvs } = readBackup(await readFile(temporary));
    await rename(temporary, file);
    await syncDirectory(dirname(file));
    process.stderr.write(
      `pier: wrote ${file}: cluster ${header.clusterId}, epoch ${header.epoch}, revision ${header.revision}, ` +
        `${kvs.length} objects. It holds all Secrets and the cluster's own keys: keep it where nobody else reads it\n`,
    );
  } catch (error) {
    await rm(temporary, { force: true });
    throw sentence(error, file);
  }
}

function sentence(error: unknown, file: string): unknown {
  const code = errorCode(error);
  if (isNoSpace(error)) return new Error(`no room for ${file}`, { cause: error });
  if (code === 'ENOENT')
    return new Error(`there is no directory ${dirname(file)}`, { cause: error });
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') {
    return new Error(`${dirname(file)} cannot be written by this user`, { cause: error });
  }
  return error;
}

/** A slip of the hand must not replace somebody's photographs. */
async function refuseOther(file: string): Promise<void> {
  let start: Uint8Array;
  try {
    const handle = await open(file, 'r');
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(8), 0, 8, 0);
      start = buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    if (errorCode(error) === 'EISDIR') throw new Error(`${file} is a directory: name a file in it`);
    throw error;
  }
  if (start.length > 0 && !looksLikeBackup(start)) {
    throw new Error(`${file} is there and is no backup: give another name, or remove it`);
  }
}

async function readKubeconfig(path: string): Promise<Static<typeof Kubeconfig>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const why = errorCode(error) === 'ENOENT' ? 'is not there' : 'cannot be read: try with sudo';
    throw new Error(
      `${path} ${why}; the master writes it at its start. Give its directory with --data, or a kubeconfig with --kubeconfig`,
      { cause: error },
    );
  }
  const document: unknown = parse(text);
  if (Value.Check(Kubeconfig, document)) return document;
  const first = Value.Errors(Kubeconfig, document)[0];
  throw new Error(`${path} is no kubeconfig of Pier: ${first?.instancePath} ${first?.message}`);
}

async function fetchTo(
  file: string,
  config: Static<typeof Kubeconfig>,
  otherServer: string | undefined,
): Promise<void> {
  const { cluster } = config.clusters[0];
  const { user } = config.users[0];
  const server = new URL(otherServer ?? cluster.server);
  const bytes = (base64: string) => Buffer.from(base64, 'base64');
  const unreachable = (error: Error) =>
    new Error(
      `cannot read from the master at ${server.origin} (${error.message}): a backup is made from a running master; ` +
        `--server gives another address`,
      { cause: error },
    );
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const call = request(new URL(BACKUP_PATH, server), {
      ca: bytes(cluster['certificate-authority-data']),
      cert: bytes(user['client-certificate-data']),
      key: bytes(user['client-key-data']),
      servername: cluster['tls-server-name'] ?? server.hostname,
      agent: false,
      timeout: SILENT_MS,
    });
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('response', resolve);
    call.on('error', (error) => reject(unreachable(error)));
    call.end();
  });
  if (answer.statusCode !== 200) {
    throw new Error(`the master refuses a backup: ${await messageOf(answer)}`);
  }
  try {
    await pipeline(answer, createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true }));
  } catch (error) {
    if (error instanceof Error && errorCode(error) === 'ECONNRESET') throw unreachable(error);
    throw error;
  }
}

async function messageOf(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer) {
    text += String(chunk);
    if (text.length > ERROR_BYTES_MAX) break;
  }
  try {
    const status: unknown = JSON.parse(text);
    if (typeof status === 'object' && status !== null && 'message' in status) {
      return String(status.message);
    }
  } catch {
    // No Status: the code must do.
  }
  return `HTTP ${answer.statusCode}`;
}
