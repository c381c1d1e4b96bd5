/**
 * Carries out the action of one probe: finds its port and address, and asks. A probe of a pod goes to the pod's
 * address; only exec costs a fork.
 */
import type { Container, HTTPGetAction, IntOrString, Probe } from '../../protocol/kinds/types.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { probeGrpc } from './grpc-probe.ts';
import { type HttpTarget, probeHttp } from './http-probe.ts';
import type { ProbeResult } from './probe-result.ts';
import { probeTcp } from './tcp-probe.ts';

/** Kubernetes keeps as much of what an exec probe printed. */
const OUTPUT_BYTES_MAX = 10 * 1024;

export interface ProbePlace {
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
  readonly runtime: Pick<Runtime, 'execute'>;
}

/** Never rejects: what could not be asked is `unknown`, with the reason. */
export async function ask(probe: Probe, place: ProbePlace): Promise<ProbeResult> {
  const timeoutMs = Math.max(1, probe.timeoutSeconds ?? 1) * 1000;
  try {
    const { exec, httpGet, tcpSocket, grpc } = probe;
    const { container, podIp } = place;
    if (exec !== undefined) return await askCommand(exec.command ?? [], place, timeoutMs);
    if (httpGet !== undefined) {
      return await probeHttp(httpTarget(httpGet, container, podIp), timeoutMs);
    }
    if (tcpSocket !== undefined) {
      const port = portNumber(tcpSocket.port, container);
      return await probeTcp(tcpSocket.host || podIp, port, timeoutMs);
    }
    if (grpc !== undefined) {
      const target = { host: podIp, port: grpc.port, service: grpc.service ?? '' };
      return await probeGrpc(target, timeoutMs);
    }
    return { answer: 'unknown', output: `missing probe handler for ${container.name}` };
  } catch (error) {
    return { answer: 'unknown', output: error instanceof Error ? error.message : String(error) };
  }
}

/** Throws Error when the port has a name that the container does not have. */
export function httpTarget(
  { host, port, path, scheme, httpHeaders }: HTTPGetAction,
  container: Container,
  podIp: string,
): HttpTarget {
  const name = host || podIp;
  const base = `${(scheme ?? 'HTTP').toLowerCase()}://${name.includes(':') ? `[${name}]` : name}`;
  const from = `${base}:${portNumber(port, container)}`;
  const rooted = path === undefined || path.startsWith('/') ? (path ?? '/') : `/${path}`;
  return { url: new URL(`${from}${rooted}`), headers: httpHeaders ?? [] };
}

/** A number, or the container's port of that name. */
function portNumber(port: IntOrString, container: Container): number {
  const number = Number(port);
  if (Number.isInteger(number) && number > 0 && number < 65_536) return number;
  const named = (container.ports ?? []).find(({ name }) => name === port);
  if (named !== undefined) return named.containerPort;
  throw new Error(`couldn't find port: ${port} in container ${container.name}`);
}

async function askCommand(
  command: readonly string[],
  { containerId, runtime }: ProbePlace,
  timeoutMs: number,
): Promise<ProbeResult> {
  const limits = { timeoutMs, outputBytesMax: OUTPUT_BYTES_MAX };
  const { exitCode, output } = await runtime.execute(containerId, command, limits);
  if (exitCode === undefined) {
    const words = `command ${JSON.stringify(command.join(' '))} timed out after ${timeoutMs / 1000}s`;
    return { answer: 'failure', output: words };
  }
  return { answer: exitCode === 0 ? 'success' : 'failure', output };
}
