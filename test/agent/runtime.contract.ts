/**
 * What every Runtime must do, whichever engine is behind it. A harness brings the engine and says how a container
 * is told to behave (a shell script for real ones, a script for the fake).
 */
import type { Test } from 'tap';
import {
  type Container,
  type ContainerSpec,
  type ExecSession,
  ImagePullError,
  type LogOptions,
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type SandboxSpec,
} from '../../agent/runtime/runtime.ts';

/** What a test's container does. */
export interface Behaviour {
  /** Lines to stdout, then to stderr when they begin with "!". */
  readonly print?: readonly string[];
  /** Runs so long, then exits; absent: until it is stopped. */
  readonly runMs?: number;
  readonly exitCode?: number;
  readonly isDeaf?: boolean;
  /** The program does not exist. */
  readonly isMissing?: boolean;
  /** Prints what it is given. */
  readonly isEcho?: boolean;
}

/** What a command of `exec` does: prints, copies its input, tells its terminal's size for each line until ^D, exits. */
export interface Command {
  /** As in Behaviour. */
  readonly print?: readonly string[];
  readonly does?: 'copy' | 'size';
  readonly exitCode?: number;
}

/** A Command as a script for busybox. */
export function commandScript({ print = [], does, exitCode = 0 }: Command): string[] {
  const lines = print.map((line) =>
    line.startsWith('!') ? `echo '${line.slice(1)}' >&2` : `echo '${line}'`,
  );
  const work = { copy: 'cat', size: 'while read line; do /bin/busybox stty size; done', none: '' };
  return ['/bin/sh', '-c', [...lines, work[does ?? 'none'], `exit ${exitCode}`].join('\n')];
}

/** The behaviour as a script for busybox' shell. */
export function shellScript(behaviour: Behaviour): Pick<ContainerSpec, 'command' | 'args'> {
  if (behaviour.isMissing === true) return { command: ['/bin/not-there'], args: [] };
  if (behaviour.isEcho === true) return { command: ['/bin/cat'], args: [] };
  const { print = [], runMs, exitCode = 0, isDeaf } = behaviour;
  const lines = print.map((line) =>
    // The pause keeps the order: two pipes have none of their own.
    line.startsWith('!') ? `sleep 0.1; echo '${line.slice(1)}' >&2; sleep 0.1` : `echo '${line}'`,
  );
  const end =
    runMs === undefined ? 'sleep 1000 & wait $!' : `sleep ${runMs / 1000}; exit ${exitCode}`;
  const trap = isDeaf === true ? "trap '' TERM" : "trap 'exit 143' TERM";
  return { command: ['/bin/sh', '-c'], args: [[trap, ...lines, end].join('\n')] };
}

export interface ContractHarness {
  readonly runtime: Runtime;
  /** On the board. */
  readonly image: string;
  /** Of a network that ensureNetwork was not yet called for; a /24. */
  readonly podCidr: string;
  command(behaviour: Behaviour): Pick<ContainerSpec, 'command' | 'args'>;
  execCommand(command: Command): string[];
}

const ALL: LogOptions = { follow: false, timestamps: false };

export function sandboxSpec(podCidr: string, host: number, change: Partial<SandboxSpec> = {}) {
  const spec: SandboxSpec = {
    podUid: `uid-${host}`,
    podName: `pod-${host}`,
    podNamespace: 'default',
    ip: podCidr.replace(/\.0\/24$/, `.${host}`),
    hostname: `pod-${host}`,
    hostNetwork: false,
    dns: {
      servers: ['10.43.0.10'],
      searches: ['default.svc.cluster.local'],
      options: ['ndots:5'],
    },
    hostAliases: [],
    ...change,
  };
  return spec;
}

export function containerSpec(image: string, change: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name: 'main',
    attempt: 0,
    specHash: 'hash',
    image,
    command: [],
    args: [],
    env: [],
    mounts: [],
    resources: {},
    security: {},
    stdin: false,
    tty: false,
    ...change,
  };
}

/** Looks again until the answer is there; fails with what it waited for. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  limitMs = 20_000,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function findContainer(runtime: Runtime, id: string): Promise<Container | undefined> {
  return (await runtime.listContainers()).find((container) => container.id === id);
}

/** The container once it is in that state. */
export function reached(
  runtime: Runtime,
  id: string,
  state: Container['state'],
): Promise<Container> {
  return eventually(`container to be ${state}`, async () => {
    const container = await findContainer(runtime, id);
    return container?.state === state ? container : undefined;
  });
}

export async function readLog(runtime: Runtime, id: string, options = ALL): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of runtime.logs(id, options, new AbortController().signal)) {
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

async function refused(t: Test, call: Promise<unknown>, words: RegExp): Promise<void> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  t.ok(error instanceof RuntimeError, 'it is a RuntimeError');
  t.match(String(error), words);
}

/** Runs the suite as subtests of `t`, in order, on one engine. */
export async function runtimeContract(
  t: Test,
  makeHarness: () => Promise<ContractHarness>,
): Promise<void> {
  const harness = await makeHarness();
  const { runtime } = harness;
  await runtime.start();
  await runtime.ensureNetwork(harness.podCidr);
  await sandboxTests(t, harness);
  await lifeTests(t, harness);
  await logTests(t, harness);
  await execTests(t, harness);
  await eventAndStatTests(t, harness);
  await imageTests(t, harness);
}

interface Started {
  readonly sandboxId: string;
  readonly id: string;
}

let containersMade = 0;

/** A container of its own in a sandbox that several tests share. */
async function startIn(
  { runtime, image, command }: ContractHarness,
  sandboxId: string,
  behaviour: Behaviour,
): Promise<string> {
  containersMade += 1;
  const spec = containerSpec(image, { ...command(behaviour), attempt: containersMade });
  const id = await runtime.createContainer(sandboxId, spec);
  await runtime.startContainer(id);
  return id;
}

async function startOne(
  { runtime, image, podCidr, command }: ContractHarness,
  host: number,
  behaviour: Behaviour,
): Promise<Started> {
  const sandbox = await runtime.runSandbox(sandboxSpec(podCidr, host));
  const spec = containerSpec(image, command(behaviour));
  const id = await runtime.createContainer(sandbox.id, spec);
  await runtime.startContainer(id);
  return { sandboxId: sandbox.id, id };
}

async function sandboxTests(t: Test, harness: ContractHarness): Promise<void> {
  const { runtime, podCidr, image, command } = harness;

  await t.test('the engine tells its version', async (t) => {
    t.match(await runtime.version(), /^\d+\.\d+/);
  });

  await t.test('the network can be asked for again', async () => {
    await runtime.ensureNetwork(podCidr);
  });

  await t.test('a sandbox is listed with its pod, its address, and ready', async (t) => {
    const made = await runtime.runSandbox(sandboxSpec(podCidr, 10));
    const listed = (await runtime.listSandboxes()).find(({ id }) => id === made.id);
    t.strictSame(listed, {
      id: made.id,
      podUid: 'uid-10',
      podName: 'pod-10',
      podNamespace: 'default',
      ip: podCidr.replace('.0/24', '.10'),
      ready: true,
    });
    await runtime.removeSandbox(made.id);
  });

  await t.test('a sandbox left over from a crash is made anew, with what was in it', async (t) => {
    const first = await startOne(harness, 11, {});
    const second = await runtime.runSandbox(sandboxSpec(podCidr, 11));
    const uids = (await runtime.listSandboxes()).filter(({ podUid }) => podUid === 'uid-11');
    t.strictSame(
      uids.map(({ id }) => id),
      [second.id],
    );
    t.equal(await findContainer(runtime, first.id), undefined);
    await runtime.removeSandbox(second.id);
  });

  await t.test(
    'a removed sandbox takes its containers along, and may be removed again',
    async (t) => {
      const { sandboxId, id } = await startOne(harness, 12, {});
      await runtime.removeSandbox(sandboxId);
      t.equal(await findContainer(runtime, id), undefined);
      await runtime.removeSandbox(sandboxId);
      t.notOk((await runtime.listSandboxes()).some((sandbox) => sandbox.id === sandboxId));
    },
  );

  await t.test('an address in use is refused', async (t) => {
    const first = await runtime.runSandbox(sandboxSpec(podCidr, 13));
    const other = sandboxSpec(podCidr, 13, { podUid: 'uid-other', podName: 'other' });
    await refused(t, runtime.runSandbox(other), /address/);
    t.notOk((await runtime.listSandboxes()).some(({ podUid }) => podUid === 'uid-other'));
    await runtime.removeSandbox(first.id);
  });

  await t.test('a container in a sandbox that is gone is refused', async (t) => {
    const spec = containerSpec(image, command({}));
    await refused(t, runtime.createContainer('0'.repeat(64), spec), /gone/);
  });
}

async function lifeTests(t: Test, harness: ContractHarness): Promise<void> {
  const { runtime, image, command } = harness;
  const { id: sandboxId } = await runtime.runSandbox(sandboxSpec(harness.podCidr, 20));

  await t.test('a container is created, runs, and exits with its code and times', async (t) => {
    const change = { ...command({ runMs: 300, exitCode: 3 }), attempt: 4, specHash: 'abc' };
    const id = await runtime.createContainer(sandboxId, containerSpec(image, change));
    t.match(await findContainer(runtime, id), {
      podUid: 'uid-20',
      name: 'main',
      attempt: 4,
      specHash: 'abc',
      image,
      state: 'created',
    });
    await runtime.startContainer(id);
    const exited = await reached(runtime, id, 'exited');
    t.match(exited, { exitCode: 3, oomKilled: false, attempt: 4 });
    t.ok((exited.finishedAtMs ?? 0) >= (exited.startedAtMs ?? Number.POSITIVE_INFINITY));
    await runtime.stopContainer(id, 1);
    await runtime.removeContainer(id);
    t.equal(await findContainer(runtime, id), undefined);
    await runtime.removeContainer(id);
  });

  await t.test('two containers of a pod live side by side', async (t) => {
    const id = await startIn(harness, sandboxId, {});
    const spec = containerSpec(image, { ...command({}), name: 'second' });
    const second = await runtime.createContainer(sandboxId, spec);
    await runtime.startContainer(second);
    t.equal((await reached(runtime, second, 'running')).name, 'second');
    t.equal((await findContainer(runtime, id))?.state, 'running');
    await runtime.removeContainer(second);
    await runtime.removeContainer(id);
  });

  await t.test('a stop lets a container end by itself', async (t) => {
    const id = await startIn(harness, sandboxId, { print: ['ready'] });
    // The first process of a container does not even die of a SIGTERM before it has its handler.
    await eventually('the trap', async () => (await readLog(runtime, id)) || undefined);
    await runtime.stopContainer(id, 60);
    t.equal((await reached(runtime, id, 'exited')).exitCode, 143, 'by SIGTERM');
    await runtime.removeContainer(id);
  });

  await t.test('a container deaf to SIGTERM is killed after the grace period', async (t) => {
    const id = await startIn(harness, sandboxId, { isDeaf: true, print: ['ready'] });
    await eventually('the trap', async () => (await readLog(runtime, id)) || undefined);
    const startedAt = performance.now();
    await runtime.stopContainer(id, 1);
    t.ok(performance.now() - startedAt > 900, 'not before the grace period');
    t.equal((await reached(runtime, id, 'exited')).exitCode, 137);
    await runtime.removeContainer(id);
  });

  await t.test('a program that does not exist fails at the start, with the words', async (t) => {
    const spec = containerSpec(image, { ...command({ isMissing: true }), name: 'missing' });
    const id = await runtime.createContainer(sandboxId, spec);
    await t.rejects(runtime.startContainer(id), { message: /no such file|not found/i });
    await runtime.removeContainer(id);
  });

  await executeTests(t, harness, sandboxId);
  await runtime.removeSandbox(sandboxId);
}

async function executeTests(t: Test, harness: ContractHarness, sandboxId: string): Promise<void> {
  const { runtime, command } = harness;
  const limits = { timeoutMs: 20_000, outputBytesMax: 1000 };
  const words = (behaviour: Behaviour) => {
    const made = command(behaviour);
    return [...made.command, ...made.args];
  };

  await t.test('a command in a container tells its output and its exit code', async (t) => {
    const id = await startIn(harness, sandboxId, {});
    const good = { print: ['hello', '!to stderr'], runMs: 10, exitCode: 3 };
    t.same(await runtime.execute(id, words(good), limits), {
      exitCode: 3,
      output: 'hello\nto stderr\n',
    });
    const short = { ...limits, outputBytesMax: 4 };
    t.match(await runtime.execute(id, words(good), short), { exitCode: 3, output: 'hell' });
    t.equal((await findContainer(runtime, id))?.state, 'running');
    await runtime.removeContainer(id);
  });

  await t.test('commands that begin together tell each their own end', async (t) => {
    const id = await startIn(harness, sandboxId, {});
    const codes = [0, 1, 2, 3, 4, 5];
    const run = (exitCode: number) =>
      runtime.execute(
        id,
        words({ print: [`${exitCode}`], runMs: 40 * exitCode, exitCode }),
        limits,
      );
    t.same(
      await Promise.all(codes.map(run)),
      codes.map((exitCode) => ({ exitCode, output: `${exitCode}\n` })),
    );
    await runtime.removeContainer(id);
  });

  await t.test('a command that takes too long is ended', async (t) => {
    const id = await startIn(harness, sandboxId, {});
    const late = { print: ['begun'], runMs: 600_000 };
    const result = await runtime.execute(id, words(late), { ...limits, timeoutMs: 3_000 });
    t.equal(result.exitCode, undefined);
    // CRI alone does not tell what it had printed.
    t.equal(result.output, runtime.name === 'cri' ? '' : 'begun\n');
    await runtime.removeContainer(id);
  });

  await t.test(
    'a command that is not there is an error, and so is one in no container',
    async (t) => {
      const id = await startIn(harness, sandboxId, {});
      const missing = runtime.execute(id, words({ isMissing: true }), limits);
      await refused(t, missing, /no such file|not found/i);
      await runtime.stopContainer(id, 0);
      await refused(t, runtime.execute(id, words({}), limits), /does not run|not exist/);
      await runtime.removeContainer(id);
      await refused(
        t,
        runtime.execute(id, words({}), limits),
        /does not run|no container|not exist/,
      );
    },
  );
}

async function logTests(t: Test, harness: ContractHarness): Promise<void> {
  const { runtime } = harness;
  const { id: sandboxId } = await runtime.runSandbox(sandboxSpec(harness.podCidr, 30));

  await t.test('a log has the lines of both streams, whole and in order', async (t) => {
    const long = 'x'.repeat(20_000);
    const id = await startIn(harness, sandboxId, {
      print: ['one', '!two', long, 'four'],
      runMs: 0,
    });
    await reached(runtime, id, 'exited');
    const text = `one\ntwo\n${long}\nfour\n`;
    t.equal(await readLog(runtime, id), text);
    t.equal(await readLog(runtime, id, { ...ALL, follow: true }), text, 'follow ends as well');
    t.equal(await readLog(runtime, id, { ...ALL, tailLines: 1 }), 'four\n');
    t.equal(await readLog(runtime, id, { ...ALL, tailLines: 2 }), `${long}\nfour\n`);
    t.equal(await readLog(runtime, id, { ...ALL, tailLines: 0 }), '');
    t.equal(await readLog(runtime, id, { ...ALL, tailLines: 99 }), text);
    t.match(
      await readLog(runtime, id, { ...ALL, tailLines: 1, timestamps: true }),
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z four\n$/,
    );
    t.equal(await readLog(runtime, id, { ...ALL, sinceMs: Date.now() + 60_000 }), '');
    t.equal(await readLog(runtime, id, { ...ALL, sinceMs: Date.now() - 600_000 }), text);
    await runtime.removeContainer(id);
  });

  await t.test('a followed log ends with its container, or on abort', async (t) => {
    const id = await startIn(harness, sandboxId, { print: ['hello'] });
    const stopped = readLog(runtime, id, { ...ALL, follow: true });
    const abort = new AbortController();
    for await (const part of runtime.logs(id, { ...ALL, follow: true }, abort.signal)) {
      t.equal(Buffer.from(part).toString(), 'hello\n');
      abort.abort();
    }
    await runtime.stopContainer(id, 10);
    t.equal(await stopped, 'hello\n');
    await runtime.removeContainer(id);
  });

  await runtime.removeSandbox(sandboxId);
}

/** All of one output; resolves at the end of both. */
async function readOutput(session: ExecSession): Promise<{ stdout: string; stderr: string }> {
  const text = { stdout: '', stderr: '' };
  for await (const { stream, data } of session.output) {
    text[stream] += Buffer.from(data).toString();
  }
  return text;
}

const NO_TTY = { stdin: true, stdout: true, stderr: true, tty: false };
/** What a terminal takes for the end of the input: ^D. */
export const END_OF_INPUT = 4;
const TTY = { stdin: true, stdout: true, stderr: false, tty: true };

async function execTests(t: Test, harness: ContractHarness): Promise<void> {
  const { runtime, image, execCommand } = harness;
  const { id: sandboxId } = await runtime.runSandbox(sandboxSpec(harness.podCidr, 50));
  const id = await startIn(harness, sandboxId, {});

  await t.test('a command has its outputs apart, and an exit code', async (t) => {
    const command = execCommand({ print: ['out', '!err'], exitCode: 7 });
    const session = await runtime.exec(id, { ...NO_TTY, stdin: false, command });
    t.strictSame(await readOutput(session), { stdout: 'out\n', stderr: 'err\n' });
    t.equal(await session.exitCode(), 7);
    session.close();
  });

  await t.test('a command has much to say, and an end that is heard after all of it', async (t) => {
    const long = 'x'.repeat(2000);
    const command = execCommand({ print: new Array(30).fill(long), exitCode: 130 });
    const session = await runtime.exec(id, { ...NO_TTY, stdin: false, command });
    t.ok((await readOutput(session)).stdout === `${long}\n`.repeat(30), 'all of it');
    t.equal(await session.exitCode(), 130);
  });

  await t.test('a command reads its input to the end', async (t) => {
    const command = execCommand({ does: 'copy', exitCode: 3 });
    const session = await runtime.exec(id, { ...NO_TTY, command });
    const output = readOutput(session);
    const text = '0123456789'.repeat(20_000);
    await session.write(Buffer.from(text));
    session.endInput();
    t.ok((await output).stdout === text, 'all of it');
    t.equal(await session.exitCode(), 3);
  });

  await t.test('a command with a terminal has its size, and one output', async (t) => {
    const command = execCommand({ does: 'size', print: ['!x'] });
    const session = await runtime.exec(id, { ...TTY, command });
    const text = { stdout: '', stderr: '' };
    const reading = (async () => {
      for await (const { stream, data } of session.output) {
        text[stream] += Buffer.from(data).toString();
      }
    })();
    await session.resize({ columns: 101, rows: 33 });
    // Not every engine takes a size before what is written after it, and a terminal that is only being set up may lose a line.
    await eventually('the size', async () => {
      const answers = () => text.stdout.match(/^\d+ \d+\r?$/gm) ?? [];
      const before = answers().length;
      await session.write(Buffer.from('go\n'));
      const answered = () => answers().length > before || undefined;
      await eventually('an answer', answered, 3_000).catch(() => undefined);
      return /^33 101/m.test(text.stdout) || undefined;
    });
    await session.write(Buffer.from([END_OF_INPUT]));
    await reading;
    t.match(text.stdout, /x\r?\n/);
    t.equal(text.stderr, '');
    await session.resize({ columns: 1, rows: 1 });
    t.equal(await session.exitCode(), 0);
  });

  await t.test('attach joins a container, leaves it, and ends with it', async (t) => {
    const spec = containerSpec(image, {
      ...harness.command({ isEcho: true }),
      name: 'echo',
      stdin: true,
      tty: true,
    });
    const echo = await runtime.createContainer(sandboxId, spec);
    await runtime.startContainer(echo);
    const first = await runtime.attach(echo, TTY);
    const written = first.write(Buffer.from('hello\n'));
    for await (const { data } of first.output) {
      if (/hello/.test(Buffer.from(data).toString())) break;
    }
    await written;
    first.close();
    t.equal((await findContainer(runtime, echo))?.state, 'running');
    const second = await runtime.attach(echo, TTY);
    const again = second.write(Buffer.from('again\n'));
    let text = '';
    for await (const { data } of second.output) {
      const heard = /again/.test(text);
      text += Buffer.from(data).toString();
      if (!heard && /again/.test(text)) await runtime.stopContainer(echo, 0);
    }
    await again;
    t.match(text, /again/);
    t.equal(await second.exitCode(), undefined);
    await runtime.removeContainer(echo);
  });

  await t.test('nothing runs in a container that does not', async (t) => {
    await runtime.stopContainer(id, 1);
    await reached(runtime, id, 'exited');
    const command = execCommand({});
    await refused(t, runtime.exec(id, { ...NO_TTY, command }), /running|does not run/);
  });

  await runtime.removeSandbox(sandboxId);
}

async function eventAndStatTests(t: Test, harness: ContractHarness): Promise<void> {
  const { runtime } = harness;
  const { id: sandboxId } = await runtime.runSandbox(sandboxSpec(harness.podCidr, 40));

  await t.test('events tell the start, the end and the removal of a container', async (t) => {
    const abort = new AbortController();
    const seen: RuntimeEvent[] = [];
    const reading = (async () => {
      for await (const event of runtime.events(abort.signal)) seen.push(event);
    })();
    const id = await startIn(harness, sandboxId, { runMs: 100 });
    const told = (wanted: RuntimeEvent['type']) =>
      eventually(wanted, () =>
        seen.find(({ type, containerId }) => type === wanted && containerId === id),
      );
    await told('exited');
    await runtime.removeContainer(id);
    await told('removed');
    t.strictSame(
      seen.filter(({ containerId }) => containerId === id),
      ['started', 'exited', 'removed'].map((type) => ({ type, containerId: id, podUid: 'uid-40' })),
    );
    abort.abort();
    await reading;
  });

  await t.test('stats count what a running container has used', async (t) => {
    const id = await startIn(harness, sandboxId, {});
    const used = await eventually('stats', async () =>
      (await runtime.stats([id])).find(({ containerId }) => containerId === id),
    );
    t.ok(used.cpuNanos > 0, `cpu ${used.cpuNanos}`);
    t.ok(used.memoryBytes > 0 && used.memoryBytes < 2 ** 30, `memory ${used.memoryBytes}`);
    await runtime.removeContainer(id);
    t.strictSame(await runtime.stats([id]), []);
  });

  await runtime.removeSandbox(sandboxId);
}

async function imageTests(t: Test, { runtime, image }: ContractHarness): Promise<void> {
  const { signal } = new AbortController();

  await t.test('an image on the board has an id, another one has none', async (t) => {
    t.match((await runtime.imageStatus(image))?.id, /^[0-9a-f]{64}$/);
    t.equal(await runtime.imageStatus('localhost/not-there:1'), undefined);
    t.equal(await runtime.imageStatus('registry.invalid/not-there:1'), undefined);
  });

  await t.test("a board's own image is never asked of a registry", async (t) => {
    t.match(await runtime.pullImage(image, signal), await runtime.imageStatus(image));
    const pull = runtime.pullImage('localhost/not-there:1', signal);
    await t.rejects(pull, { name: 'ImagePullError', message: /not on this board/ });
  });

  await t.test('a pull from nowhere fails with the words of the engine', async (t) => {
    const error = await runtime.pullImage('127.0.0.1:1/nothing:1', signal).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    t.ok(error instanceof ImagePullError);
    t.match(String(error), /127\.0\.0\.1:1.*refused/);
  });
}
