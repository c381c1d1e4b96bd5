/**
 * An image from a file into containerd, over its own services: CRI can only pull. One layer, an OCI configuration
 * and a manifest, each named by its digest (OCI image-spec); a lease keeps containerd's garbage collector
 * away until the image's name holds them.
 */
import { createHash, randomUUID } from 'node:crypto';
import { RuntimeError } from '../runtime.ts';
import { CONTAINERD, WRITE_ACTION } from './containerd-proto.ts';
import { type GrpcSocket, isAlreadyThere } from './grpc.ts';

export interface ImageSettings {
  readonly entrypoint?: readonly string[];
}

interface Blob {
  readonly digest: string;
  readonly bytes: Uint8Array;
}

/** What containerd keeps images and containers of CRI under. */
const HEADERS = { 'containerd-namespace': 'k8s.io' };
const CHUNK_BYTES = 1024 * 1024;
/** A lease that a crash left behind ends by itself. */
const LEASE_MS = 600_000;

const MEDIA = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;

/** As OCI names processors. */
const ARCHITECTURES: Record<string, { architecture: string; variant?: string }> = {
  x64: { architecture: 'amd64' },
  arm64: { architecture: 'arm64' },
  arm: { architecture: 'arm', variant: 'v7' },
};

/** Returns the image's id: the digest of its configuration, without the algorithm. Throws RuntimeError. */
export async function importContent(
  grpc: GrpcSocket,
  reference: string,
  tar: Uint8Array,
  settings: ImageSettings = {},
): Promise<string> {
  const layer = blob(tar);
  const config = blob(configJson(layer, settings));
  const manifest = blob(manifestJson(config, layer));
  const lease = `pier-${randomUUID()}`;
  const expire = new Date(Date.now() + LEASE_MS).toISOString();
  const labels = { 'containerd.io/gc.expire': expire };
  await grpc.call(CONTAINERD.createLease, { id: lease, labels }, { headers: HEADERS });
  try {
    const headers = { ...HEADERS, 'containerd-lease': lease };
    await write(grpc, layer, headers);
    await write(grpc, config, headers);
    // By these labels the collector knows what belongs to a manifest.
    await write(grpc, manifest, headers, {
      'containerd.io/gc.ref.content.config': config.digest,
      'containerd.io/gc.ref.content.l.0': layer.digest,
    });
    await name(grpc, reference, manifest);
  } finally {
    await grpc.call(CONTAINERD.deleteLease, { id: lease }, { headers: HEADERS });
  }
  return config.digest.replace('sha256:', '');
}

async function name(grpc: GrpcSocket, reference: string, manifest: Blob): Promise<void> {
  const { digest, bytes } = manifest;
  const target = { mediaType: MEDIA.manifest, digest, size: bytes.length };
  const image = { name: reference, target };
  try {
    await grpc.call(CONTAINERD.createImage, { image }, { headers: HEADERS });
  } catch (error) {
    if (!isAlreadyThere(error)) throw error;
    await grpc.call(CONTAINERD.updateImage, { image }, { headers: HEADERS });
  }
}

async function write(
  grpc: GrpcSocket,
  { digest, bytes }: Blob,
  headers: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  try {
    const requests = writeRequests(digest, bytes, labels);
    const answer = await grpc.exchange(CONTAINERD.writeContent, requests, { headers });
    if (answer?.digest === digest) return;
    throw new RuntimeError(`containerd did not take the content ${digest}`);
  } catch (error) {
    if (!isAlreadyThere(error)) throw error;
  }
}

function* writeRequests(
  digest: string,
  bytes: Uint8Array,
  labels: Readonly<Record<string, string>>,
) {
  const ref = `pier-${randomUUID()}`;
  const total = bytes.length;
  for (let offset = 0; offset < total; offset += CHUNK_BYTES) {
    const data = bytes.subarray(offset, offset + CHUNK_BYTES);
    yield { action: WRITE_ACTION.write, ref, total, expected: digest, offset, data };
  }
  yield { action: WRITE_ACTION.commit, ref, total, expected: digest, offset: total, labels };
}

function configJson(layer: Blob, { entrypoint }: ImageSettings): Uint8Array {
  const machine = ARCHITECTURES[process.arch];
  if (machine === undefined) {
    throw new RuntimeError(`no image can be made for the processor "${process.arch}"`);
  }
  return json({
    ...machine,
    os: 'linux',
    config: entrypoint === undefined ? {} : { Entrypoint: entrypoint },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
}

function manifestJson(config: Blob, layer: Blob): Uint8Array {
  const descriptor = (mediaType: string, { digest, bytes }: Blob) => ({
    mediaType,
    digest,
    size: bytes.length,
  });
  return json({
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: descriptor(MEDIA.config, config),
    layers: [descriptor(MEDIA.layer, layer)],
  });
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function blob(bytes: Uint8Array): Blob {
  return { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, bytes };
}
