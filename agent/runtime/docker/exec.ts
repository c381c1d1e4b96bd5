/**
 * A command in a container through Docker's exec sessions, for probes and hooks. Docker lets a command run on whose
 * time is over, so its process is ended here.
 */
import { BoundedOutput } from '../bounded-output.ts';
import { asNumber, asObject, asText } from '../json-read.ts';
import { EngineHttpError, type PodmanHttp } from '../podman-http.ts';
import { signalProcess } from '../process-signal.ts';
import { type ExecuteOptions, type ExecuteResult, RuntimeError } from '../runtime.ts';
import { StreamDemux } from '../stream-demux.ts';

/** OCI runtimes: the program is not there, or cannot be executed. */
const NOT_STARTED = new Set([126, 127]);

/** Throws RuntimeError when the container does not run or the program cannot be started. */
export async function execute(
  http: PodmanHttp,
  containerId: string,
  command: readonly string[],
  { timeoutMs, outputBytesMax }: ExecuteOptions,
): Promise<ExecuteResult> {
  const session = await makeSession(http, containerId, command);
  const output = new BoundedOutput(outputBytesMax);
  const demux = new StreamDemux();
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const body = { Detach: false, Tty: false };
    const answer = await http.stream('POST', `/exec/${session}/start`, { body, signal });
    for await (const part of answer) for (const { data } of demux.push(part)) output.add(data);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  // The answer has no length, so one that was given up may look like one that ended.
  if (signal.aborted) {
    await end(http, session, containerId);
    return { exitCode: undefined, output: output.text() };
  }
  const state = asObject(await http.json('GET', `/exec/${session}/json`));
  const exitCode = asNumber(state.ExitCode) ?? 0;
  const text = output.text();
  if (NOT_STARTED.has(exitCode) && /^OCI runtime exec failed/.test(text)) {
    throw new RuntimeError(text.trim());
  }
  return { exitCode, output: text };
}

async function makeSession(
  http: PodmanHttp,
  containerId: string,
  command: readonly string[],
): Promise<string> {
  const body = { AttachStdout: true, AttachStderr: true, Tty: false, Cmd: command };
  try {
    const made = asObject(await http.json('POST', `/containers/${containerId}/exec`, { body }));
    const session = asText(made.Id);
    if (session !== undefined) return session;
  } catch (error) {
    // 409: it runs no more.
    const status = error instanceof EngineHttpError ? error.status : undefined;
    if (status !== 404 && status !== 409) throw error;
    throw new RuntimeError(`the container ${containerId} does not run`, { cause: error });
  }
  throw new RuntimeError(`docker told no id for a command in the container ${containerId}`);
}

async function end(http: PodmanHttp, session: string, containerId: string): Promise<void> {
  const { Running, Pid } = asObject(await http.json('GET', `/exec/${session}/json`));
  if (Running === true) await signalProcess(asNumber(Pid) ?? 0, containerId, 'SIGKILL');
}
