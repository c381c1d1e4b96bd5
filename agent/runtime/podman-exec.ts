/**
 * A command in a running container through libpod's exec sessions, to its end. Only for an engine whose processes are
 * not ours to see (oci-exec.ts says why): there a command that is late cannot be ended, only left alone.
 */
import type { IncomingMessage } from 'node:http';
import { BoundedOutput } from './bounded-output.ts';
import { asNumber, asObject, asText } from './json-read.ts';
import type { CallOptions } from './podman-http.ts';
import { type ExecuteOptions, type ExecuteResult, RuntimeError } from './runtime.ts';
import { StreamDemux } from './stream-demux.ts';

/** OCI runtimes: the program is not there, or cannot be executed. */
const NOT_STARTED = new Set([126, 127]);

export interface ExecCalls {
  readonly json: (method: string, path: string, options?: CallOptions) => Promise<unknown>;
  readonly stream: (
    path: string,
    options: CallOptions & { readonly signal: AbortSignal },
  ) => Promise<IncomingMessage>;
}

/** Throws RuntimeError when the container does not run. */
export async function executeBySession(
  { json, stream }: ExecCalls,
  containerId: string,
  command: readonly string[],
  { timeoutMs, outputBytesMax }: ExecuteOptions,
): Promise<ExecuteResult> {
  const body = { AttachStdout: true, AttachStderr: true, Tty: false, Cmd: command };
  const made = asObject(await json('POST', `/containers/${containerId}/exec`, { body }));
  const session = asText(made.Id);
  if (session === undefined) {
    throw new RuntimeError(`podman told no id for a command in the container ${containerId}`);
  }
  const output = new BoundedOutput(outputBytesMax);
  const demux = new StreamDemux();
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const start = { Detach: false, Tty: false };
    const answer = await stream(`/exec/${session}/start`, { body: start, signal });
    for await (const part of answer) for (const { data } of demux.push(part)) output.add(data);
  } catch (error) {
    if (signal.aborted) return { exitCode: undefined, output: output.text() };
    throw error;
  }
  const state = asObject(await json('GET', `/exec/${session}/json`));
  const exitCode = asNumber(state.ExitCode) ?? 0;
  const text = output.text();
  if (NOT_STARTED.has(exitCode) && text.startsWith('Error: ')) throw new RuntimeError(text.trim());
  return { exitCode, output: text };
}
