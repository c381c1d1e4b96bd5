/** Reading a container's log file: lines put together, tail, rotation, truncation, torn entries. */
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LogLines, parseLogEntry, readLogFile, utcTime } from '../../agent/runtime/log-file.ts';
import type { LogOptions } from '../../agent/runtime/runtime.ts';
import { eventually } from './runtime.contract.ts';

const TIME = '2026-11-23T23:10:45.052842043+00:00';
const entry = (text: string, tag = 'F', stream = 'stdout') => `${TIME} ${stream} ${tag} ${text}\n`;
const ONCE: LogOptions = { follow: false, timestamps: false };
const NEVER = new Promise<void>(() => undefined);

async function logFile(t: Test, text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'pier-log-'));
  t.teardown(() => rm(dir, { recursive: true }));
  const path = join(dir, 'ctr.log');
  await writeFile(path, text);
  return path;
}

async function all(path: string, options: LogOptions, ended = NEVER): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of readLogFile(path, options, ended, new AbortController().signal)) {
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

t.test('an entry is time, stream, tag and text; anything else is none', async (t) => {
  t.match(parseLogEntry(Buffer.from(`${TIME} stderr P a b`)), {
    time: TIME,
    stream: 'stderr',
    partial: true,
    text: Buffer.from('a b'),
  });
  t.match(parseLogEntry(Buffer.from(`${TIME} stdout F`)), { text: Buffer.alloc(0) });
  t.match(parseLogEntry(Buffer.from(`${TIME} stdout F:x hi`)), { partial: false });
  for (const torn of ['', 'x', `${TIME} stdout`, `${TIME} stdlog F x`, `${TIME} stdout Q x`]) {
    t.equal(parseLogEntry(Buffer.from(torn)), undefined);
  }
});

t.test('times are shown in UTC with all their digits', async (t) => {
  t.equal(utcTime(TIME), '2026-11-23T23:10:45.052842043Z');
  t.equal(utcTime('2026-11-24T01:10:45.052842043+02:00'), '2026-11-23T23:10:45.052842043Z');
  t.equal(utcTime('2026-11-23T23:10:45Z'), '2026-11-23T23:10:45Z');
});

t.test('parts of lines are put together per stream, wherever the bytes are cut', async (t) => {
  const text = entry('a', 'P') + entry('E', 'P', 'stderr') + entry('b') + entry('F', 'F', 'stderr');
  for (let cut = 0; cut <= text.length; cut += 1) {
    const lines = new LogLines({ timestamps: false });
    const first = lines.push(Buffer.from(text.slice(0, cut)));
    const second = lines.push(Buffer.from(text.slice(cut)));
    if (`${first}${second}` !== 'ab\nEF\n') t.fail(`cut at ${cut}: ${first}${second}`);
  }
});

t.test('a line without end is given out in pieces, not kept for ever', async (t) => {
  const lines = new LogLines({ timestamps: false });
  const piece = Buffer.from(entry('x'.repeat(8000), 'P'));
  let bytes = 0;
  for (let index = 0; index < 500; index += 1) bytes += lines.push(piece).length;
  t.ok(bytes > 2_000_000);
});

t.test('the tail counts whole lines, over any number of blocks', async (t) => {
  const numbers = [...new Array(9000).keys()];
  const path = await logFile(t, numbers.map((n) => entry('y', 'P') + entry(`line ${n}`)).join(''));
  const last = (count: number) =>
    numbers
      .slice(-count)
      .map((n) => `yline ${n}\n`)
      .join('');
  for (const tailLines of [1, 2, 700, 3000, 9000]) {
    const text = await all(path, { ...ONCE, tailLines });
    t.ok(text.endsWith(last(tailLines)), `${tailLines} lines at the end`);
    t.equal(text.split('\n').length - 1, tailLines, 'and no more');
  }
  t.equal(await all(path, { ...ONCE, tailLines: 0 }), '');
});

t.test('a missing file is an empty log; a torn last entry is left out', async (t) => {
  t.equal(await all('/no/such/file', ONCE), '');
  const path = await logFile(t, `${entry('whole')}${TIME} stdout F to`);
  t.equal(await all(path, ONCE), 'whole\n');
  t.equal(await all(path, { ...ONCE, sinceMs: Date.parse(TIME) + 1 }), '');
  t.equal(await all(path, { ...ONCE, sinceMs: Date.parse(TIME) }), 'whole\n');
});

t.test('a follower reads across rotation and truncation, and to the very end', async (t) => {
  const path = await logFile(t, entry('first'));
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const seen: string[] = [];
  const { signal } = new AbortController();
  const reading = (async () => {
    for await (const part of readLogFile(path, { ...ONCE, follow: true }, ended, signal)) {
      seen.push(Buffer.from(part).toString());
    }
  })();
  const wait = (text: string) => eventually(text, () => seen.join('').includes(text) || undefined);
  await wait('first');
  await appendFile(path, entry('second'));
  await wait('second');
  await writeFile(`${path}.new`, entry('rotated'));
  await rename(`${path}.new`, path);
  await wait('rotated');
  await writeFile(path, entry('cut'));
  await wait('cut');
  await appendFile(path, entry('last'));
  end();
  await reading;
  t.equal(seen.join(''), 'first\nsecond\nrotated\ncut\nlast\n');
});
