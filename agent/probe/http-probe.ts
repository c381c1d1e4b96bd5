/**
 * The httpGet action of probes and lifecycle hooks. Kubernetes' rules: a status from 200 to 399 is a success;
 * certificates are not checked; redirects are followed on the same host only, and one that leads elsewhere counts
 * as a success; at most 10 KiB of the answer are read.
 */
import http from 'node:http';
import https from 'node:https';
import type { ProbeResult } from './probe-result.ts';

const BODY_BYTES_MAX = 10 * 1024;
const REDIRECTS_MAX = 10;
const USER_AGENT = 'kube-probe/1.34';

export interface HttpTarget {
  readonly url: URL;
  readonly headers: ReadonlyArray<{ readonly name: string; readonly value: string }>;
}

/** Never rejects: what went wrong is the answer's words. */
export async function probeHttp(target: HttpTarget, timeoutMs: number): Promise<ProbeResult> {
  const signal = AbortSignal.timeout(timeoutMs);
  let url = target.url;
  for (let redirects = 0; ; redirects += 1) {
    let answer: Answer;
    try {
      answer = await get(url, target.headers, signal);
    } catch (error) {
      const why = signal.aborted
        ? 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        : dialWords(error, url);
      return { answer: 'failure', output: `Get "${url.href}": ${why}` };
    }
    const { status, location, body } = answer;
    const next = status >= 300 && status < 400 ? nextUrl(url, location) : undefined;
    if (next !== undefined && next.hostname === target.url.hostname) {
      if (redirects >= REDIRECTS_MAX) {
        const output = `Get "${url.href}": stopped after ${REDIRECTS_MAX} redirects`;
        return { answer: 'failure', output };
      }
      url = next;
      continue;
    }
    if (next !== undefined) {
      const output = `Probe terminated redirects, Response body: ${body}`;
      return { answer: 'success', answered: true, warning: true, output };
    }
    if (status >= 200 && status < 400) return { answer: 'success', answered: true, output: body };
    const output = `HTTP probe failed with statuscode: ${status}`;
    return { answer: 'failure', answered: true, output };
  }
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

function get(url: URL, given: HttpTarget['headers'], signal: AbortSignal): Promise<Answer> {
  const headers: Record<string, string> = {};
  for (const { name, value } of given) headers[name.toLowerCase()] = value;
  headers['user-agent'] ??= USER_AGENT;
  headers.accept ??= '*/*';
  headers.connection = 'close';
  return new Promise((resolve, reject) => {
    // No agent: a probe must open a connection of its own, or it would not show that this works.
    const options = { headers, signal, agent: false, rejectUnauthorized: false };
    const client = url.protocol === 'https:' ? https : http;
    const request = client.get(url, options, (response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      const done = () => {
        const body = Buffer.concat(parts).subarray(0, BODY_BYTES_MAX).toString('utf8');
        resolve({ status: response.statusCode ?? 0, location: response.headers.location, body });
      };
      response.on('data', (part: Buffer) => {
        parts.push(part);
        bytes += part.length;
        if (bytes < BODY_BYTES_MAX) return;
        done();
        request.destroy();
      });
      response.once('end', done);
      response.once('error', reject);
    });
    request.on('error', reject);
  });
}

function nextUrl(from: URL, location: string | undefined): URL | undefined {
  if (location === undefined) return undefined;
  return URL.canParse(location, from.href) ? new URL(location, from) : undefined;
}

/** As Go says it, which is what people search for. */
export function dialWords(
  error: unknown,
  { hostname, port }: { hostname: string; port: string | number },
): string {
  if (!(error instanceof Error)) return String(error);
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'connect: connection refused',
    EHOSTUNREACH: 'connect: no route to host',
    ENETUNREACH: 'connect: network is unreachable',
    ECONNRESET: 'read: connection reset by peer',
    ETIMEDOUT: 'i/o timeout',
  };
  const code = 'code' in error ? String(error.code) : '';
  const known = words[code];
  return known === undefined ? error.message : `dial tcp ${hostname}:${port}: ${known}`;
}
