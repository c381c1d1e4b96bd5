/**
 * A small registry of images on the loopback of a network namespace: one image under any name, for those who show a name
 * and a password (OCI distribution specification, pulls only). Below "foreign/" it is for another processor, below
 * "foreign-list/" it is the only one of a list. It is this file again, run as a program in there.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { kubernetesArchitecture } from '../../agent/host/facts.ts';
import type { RegistryLogin } from '../../agent/runtime/runtime.ts';

const SELF = fileURLToPath(import.meta.url);
/** The namespace is the test's own: nobody else is there. */
const PORT = 5000;
export const REGISTRY = `127.0.0.1:${PORT}`;
/** No board of ours has it. */
export const FOREIGN = 's390x';
export const REFUSAL = 'show me your badge';

/** Program and arguments; `file` is a tar archive of the image's file system. It says a line when it listens. */
export function registryCommand(file: string, { username, password }: RegistryLogin): string[] {
  // By its path: the program may be started in any folder.
  const tsx = pathToFileURL(createRequire(SELF).resolve('tsx')).href;
  return [process.execPath, '--import', tsx, SELF, file, username, password];
}

/** Returns when it listens. `dir` is for the image's file. */
export async function startRegistry(
  { netns, dir }: { readonly netns: string; readonly dir: string },
  tar: Uint8Array,
  login: RegistryLogin,
): Promise<ChildProcess> {
  const file = join(dir, 'registry.tar');
  await writeFile(file, tar);
  const words = [`--net=/run/netns/${netns}`, ...registryCommand(file, login)];
  const child = spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`the registry ended with ${code}`)));
  });
  return child;
}

interface Blob {
  readonly type: string;
  readonly bytes: Buffer;
}

const VENDOR = 'application/vnd.docker';
const digestOf = (bytes: Uint8Array) =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

interface Image {
  readonly manifest: Blob;
  /** By digest. */
  readonly all: ReadonlyMap<string, Blob>;
}

function imageOf(tar: Uint8Array, architecture: string): Image {
  const layer: Blob = {
    type: `${VENDOR}.image.rootfs.diff.tar.gzip`,
    bytes: gzipSync(tar, { level: 1 }),
  };
  const config: Blob = {
    type: `${VENDOR}.container.image.v1+json`,
    bytes: Buffer.from(
      JSON.stringify({
        architecture,
        os: 'linux',
        config: { Cmd: ['/bin/sh'] },
        rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
        history: [{ created: '2026-01-01T00:00:00Z', created_by: 'a test' }],
      }),
    ),
  };
  const told = ({ type: mediaType, bytes }: Blob) => ({
    mediaType,
    size: bytes.length,
    digest: digestOf(bytes),
  });
  const type = `${VENDOR}.distribution.manifest.v2+json`;
  const body = { schemaVersion: 2, mediaType: type, config: told(config), layers: [told(layer)] };
  const manifest: Blob = { type, bytes: Buffer.from(JSON.stringify(body)) };
  return {
    manifest,
    all: new Map([layer, config, manifest].map((blob) => [digestOf(blob.bytes), blob])),
  };
}

/** Of one image for one processor. */
function listOf({ manifest, all }: Image, architecture: string): Image {
  const type = `${VENDOR}.distribution.manifest.list.v2+json`;
  const one = {
    mediaType: manifest.type,
    size: manifest.bytes.length,
    digest: digestOf(manifest.bytes),
    platform: { architecture, os: 'linux' },
  };
  const body = { schemaVersion: 2, mediaType: type, manifests: [one] };
  const list: Blob = { type, bytes: Buffer.from(JSON.stringify(body)) };
  return { manifest: list, all: new Map([...all, [digestOf(list.bytes), list]]) };
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, {
    'Content-Type': 'application/json',
    ...(status === 401 ? { 'WWW-Authenticate': 'Basic realm="test"' } : {}),
  });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
}

async function main(file: string, username: string, password: string): Promise<void> {
  const tar = await readFile(file);
  const own = imageOf(tar, kubernetesArchitecture(process.arch));
  const foreign = imageOf(tar, FOREIGN);
  const images = { foreign, 'foreign-list': listOf(foreign, FOREIGN) };
  const expected = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  const server = createServer((request, response) => {
    if (request.headers.authorization !== expected) {
      refuse(response, 401, 'UNAUTHORIZED', REFUSAL);
      return;
    }
    const path = request.url ?? '';
    const [, name = '', kind, reference = ''] =
      /^\/v2\/([^/]+)\/.*(manifests|blobs)\/([^/]+)$/.exec(path) ?? [];
    const { manifest, all } =
      Object.entries(images).find(([folder]) => folder === name)?.[1] ?? own;
    const blob = all.get(reference) ?? (kind === 'manifests' ? manifest : undefined);
    if (blob === undefined) {
      if (path === '/v2/') response.end('{}');
      else refuse(response, 404, 'NOT_FOUND', 'there is no such thing');
      return;
    }
    response.writeHead(200, {
      'Content-Type': kind === 'blobs' ? 'application/octet-stream' : blob.type,
      'Content-Length': blob.bytes.length,
      'Docker-Content-Digest': digestOf(blob.bytes),
    });
    response.end(request.method === 'HEAD' ? undefined : blob.bytes);
  });
  server.listen(PORT, '127.0.0.1', () => process.stdout.write('listening\n'));
}

const [, program, file = '', username = '', password = ''] = process.argv;
if (program === SELF) await main(file, username, password);
