/**
 * What another board asked for, joined with a pod of this one. As with a direct connection, half-close passes in both directions,
 * a reset is passed on as a reset, and a slow reader holds back its own sender alone.
 */
import dgram from 'node:dgram';
import type { ServerHttp2Stream } from 'node:http2';
import net from 'node:net';
import { CapsuleReader, datagramCapsule } from './capsules.ts';
import type { RelayLimits } from './relay.ts';
import { wasCut } from './relayed-socket.ts';
import { type Refusal, refusal, refusalHeaders, refusalOf, type Target } from './target.ts';

const KEEP_ALIVE_MS = 60_000;

export function serveTcp(stream: ServerHttp2Stream, target: Target, limits: RelayLimits): void {
  const { ip: host, port } = target;
  const pod = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
  const timer = setTimeout(() => {
    refuse(stream, refusal(504, 'connection_timeout', `${host}:${port} did not answer in time`));
    pod.destroy();
  }, limits.connectTimeoutMs);
  let isJoined = false;
  pod.on('connect', () => {
    clearTimeout(timer);
    isJoined = true;
    pod.setKeepAlive(true, KEEP_ALIVE_MS);
    stream.respond({ ':status': 200 });
    joinTcp(stream, pod);
  });
  pod.on('error', (error) => {
    clearTimeout(timer);
    if (isJoined) stream.destroy(error);
    else refuse(stream, refusalOf(error));
  });
  stream.once('close', () => {
    clearTimeout(timer);
    if (!isJoined) pod.destroy();
  });
}

function joinTcp(stream: ServerHttp2Stream, pod: net.Socket): void {
  stream.pipe(pod, { end: false });
  pod.pipe(stream, { end: false });
  stream.on('end', () => {
    if (wasCut(stream)) pod.resetAndDestroy();
    else pod.end();
  });
  pod.on('end', () => stream.end());
  stream.on('close', () => {
    if (pod.destroyed || (pod.readableEnded && pod.writableEnded)) return;
    pod.resetAndDestroy();
  });
  pod.on('close', () => {
    if (!pod.readableEnded) stream.destroy(new Error('the pod is gone'));
  });
}

export function serveDatagrams(
  stream: ServerHttp2Stream,
  target: Target,
  limits: RelayLimits,
): void {
  const pod = dgram.createSocket('udp4');
  const reader = new CapsuleReader();
  let isOpen = true;
  stream.once('close', () => {
    isOpen = false;
    pod.close();
  });
  // Connected, so that the kernel tells when nobody listens there (ICMP) and lets no others in.
  pod.on('error', (error) => {
    if (stream.headersSent) stream.destroy(error);
    else refuse(stream, refusalOf(error));
  });
  pod.on('message', (bytes) => {
    if (stream.writableLength <= limits.datagramBytesMax) stream.write(datagramCapsule(bytes));
  });
  pod.connect(target.port, target.ip, () => {
    if (!isOpen) return;
    stream.respond({ ':status': 200, 'capsule-protocol': '?1' });
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const bytes of reader.read(chunk)) if (isOpen) pod.send(bytes, ignore);
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    });
    stream.on('end', () => stream.destroy(new Error('the flow is over')));
  });
}

function refuse(stream: ServerHttp2Stream, why: Refusal): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond(refusalHeaders(why), { endStream: true });
  // What was sent all the same is not wanted; without this the stream would wait for its reader.
  stream.resume();
}

/** With a callback a failed send is told by it: what matters of it arrives as an error of the socket. */
function ignore(): void {}
