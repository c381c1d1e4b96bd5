/**
 * A container's log as conmon (k8s-file) and containerd write it, one entry a line:
 *
 *     2026-11-23T23:10:45.052842043+00:00 stdout F the text
 *     RFC 3339 with nanoseconds, stream, F (full: ends the line) or P (part of a longer line), text
 *
 * Promises: whole lines in the order written, the two streams never mixed within a line; reads on across a
 * rotation (the path got a new file) and a truncation; holds one block and one unfinished line per stream.
 * A line over LINE_BYTES_MAX is given out in pieces.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { LogOptions } from './runtime.ts';

const BLOCK_BYTES = 64 * 1024;
const LINE_BYTES_MAX = 1024 * 1024;
/** While following, the file is looked at so often even when no change was reported. */
const LOOK_AGAIN_MS = 1_000;
const NEWLINE = 0x0a;
const SPACE = 0x20;

export interface LogEntry {
  /** As in the file. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  readonly partial: boolean;
  readonly text: Buffer;
}

/** Undefined for a line that is not an entry, as a torn one. `line` is without its newline. */
export function parseLogEntry(line: Buffer): LogEntry | undefined {
  const afterTime = line.indexOf(SPACE);
  const afterStream = line.indexOf(SPACE, afterTime + 1);
  if (afterTime <= 0 || afterStream < 0) return undefined;
  const afterTag = line.indexOf(SPACE, afterStream + 1);
  const stream = line.toString('latin1', afterTime + 1, afterStream);
  const tag = line.toString('latin1', afterStream + 1, afterTag < 0 ? line.length : afterTag);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  // CRI allows more tags behind a colon; the first is the one that counts.
  const first = tag.split(':')[0];
  if (first !== 'F' && first !== 'P') return undefined;
  return {
    time: line.toString('latin1', 0, afterTime),
    stream,
    partial: first === 'P',
    text: afterTag < 0 ? Buffer.alloc(0) : line.subarray(afterTag + 1),
  };
}

/** The same instant in UTC with a Z, nanoseconds kept: how `kubectl logs --timestamps` shows it. */
export function utcTime(time: string): string {
  if (time.endsWith('Z')) return time;
  if (time.endsWith('+00:00')) return `${time.slice(0, -6)}Z`;
  const ms = Date.parse(time);
  const fraction = /\.\d+/.exec(time)?.[0] ?? '';
  return Number.isFinite(ms) ? `${new Date(ms).toISOString().slice(0, 19)}${fraction}Z` : time;
}

/** Reads one line of a log file, without its newline; undefined for what is no entry. */
export type ParseEntry = (line: Buffer) => LogEntry | undefined;

/** Puts entries together to lines. Give it the bytes as they come. */
export class LogLines {
  readonly #parse: ParseEntry;
  readonly #timestamps: boolean;
  readonly #sinceMs: number;
  #rest: Buffer = Buffer.alloc(0);
  readonly #open: Record<LogEntry['stream'], Buffer[]> = { stdout: [], stderr: [] };
  readonly #openBytes: Record<LogEntry['stream'], number> = { stdout: 0, stderr: 0 };

  constructor(
    options: Pick<LogOptions, 'timestamps' | 'sinceMs'>,
    parse: ParseEntry = parseLogEntry,
  ) {
    this.#parse = parse;
    this.#timestamps = options.timestamps;
    this.#sinceMs = options.sinceMs ?? Number.NEGATIVE_INFINITY;
  }

  /** The whole lines that these bytes complete, each with its newline. */
  push(bytes: Buffer): Buffer {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = all.indexOf(NEWLINE); end >= 0; end = all.indexOf(NEWLINE, start)) {
      this.#add(all.subarray(start, end), lines);
      start = end + 1;
    }
    // A copy, because the caller reuses its block. No engine writes entries of that length.
    this.#rest = Buffer.from(all.subarray(start, start + LINE_BYTES_MAX));
    return Buffer.concat(lines);
  }

  /** What was written of lines whose end has not come: the last words of a program that wrote no newline. */
  rest(): Buffer {
    return Buffer.concat([...this.#open.stdout, ...this.#open.stderr]);
  }

  #add(line: Buffer, lines: Buffer[]): void {
    const entry = this.#parse(line);
    if (entry === undefined) return;
    if (this.#sinceMs > 0 && Date.parse(entry.time) < this.#sinceMs) return;
    const { stream } = entry;
    const pieces = this.#open[stream];
    if (pieces.length === 0 && this.#timestamps)
      pieces.push(Buffer.from(`${utcTime(entry.time)} `));
    pieces.push(Buffer.from(entry.text));
    this.#openBytes[stream] += entry.text.length;
    const tooLong = this.#openBytes[stream] >= LINE_BYTES_MAX;
    if (entry.partial && !tooLong) return;
    lines.push(...pieces);
    if (!entry.partial) lines.push(Buffer.from('\n'));
    this.#open[stream] = [];
    this.#openBytes[stream] = 0;
  }
}

/**
 * The log's lines from the file at `path`. Without follow it ends at the file's end as it is now; with follow when
 * `ended` has resolved and the rest is read, or on abort (without an error). A missing file is an empty log.
 */
export async function* readLogFile(
  path: string,
  options: LogOptions,
  ended: Promise<void>,
  signal: AbortSignal,
  parse: ParseEntry = parseLogEntry,
): AsyncGenerator<Uint8Array> {
  const lines = new LogLines(options, parse);
  const block = Buffer.alloc(BLOCK_BYTES);
  const change = new Change(path, ended, signal, options.follow);
  let file = await openIfThere(path);
  let position = 0;
  let isRotated = false;
  try {
    if (file !== undefined && options.tailLines !== undefined) {
      position = await tailStart(file, options.tailLines, parse);
    }
    for (;;) {
      // Looked at before the read: what was written before the end is then read for sure.
      const isLast = !options.follow || change.isOver;
      file ??= await openIfThere(path);
      while (file !== undefined && !signal.aborted) {
        const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, position);
        if (bytesRead === 0) break;
        position += bytesRead;
        const text = lines.push(block.subarray(0, bytesRead));
        if (text.length > 0) yield text;
      }
      if (signal.aborted) return;
      if (file !== undefined) {
        const moved = await isReplaced(file, path, position);
        if (moved === 'rotated') {
          // Once more before it is let go: the last lines may have come between the read and the rotation.
          isRotated = !isRotated;
          if (isRotated) continue;
          await file.close();
          file = undefined;
        }
        if (moved !== 'same') {
          position = 0;
          continue;
        }
      }
      if (isLast) {
        const rest = lines.rest();
        if (rest.length > 0) yield rest;
        return;
      }
      await change.next();
    }
  } finally {
    change.close();
    await file?.close();
  }
}

/** Wakes a follower: at a change of the file, at the end, on abort, and from time to time. */
class Change {
  isOver = false;
  #wake: (() => void) | undefined;
  #changed = false;
  #watcher: FSWatcher | undefined;
  readonly #signal: AbortSignal;
  readonly #notify = (): void => {
    this.#changed = true;
    this.#wake?.();
  };

  constructor(path: string, ended: Promise<void>, signal: AbortSignal, follow: boolean) {
    this.#signal = signal;
    if (!follow) return;
    const over = (): void => {
      this.isOver = true;
      this.#notify();
    };
    // Whether the wait ended or failed, the log is read to its end; the caller reports a failure.
    ended.then(over, over);
    signal.addEventListener('abort', this.#notify);
    try {
      this.#watcher = watch(dirname(path), this.#notify);
      // Out of watches, or the folder was removed: looking from time to time is enough.
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      this.#watcher = undefined;
    }
  }

  async next(): Promise<void> {
    if (!this.#changed) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, LOOK_AGAIN_MS);
      });
      clearTimeout(timer);
      this.#wake = undefined;
    }
    this.#changed = false;
  }

  close(): void {
    this.#signal.removeEventListener('abort', this.#notify);
    this.#watcher?.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function isReplaced(
  file: FileHandle,
  path: string,
  position: number,
): Promise<'same' | 'rotated' | 'truncated'> {
  const mine = await file.stat();
  if (mine.size < position) return 'truncated';
  try {
    const there = await stat(path);
    return there.ino === mine.ino && there.dev === mine.dev ? 'same' : 'rotated';
  } catch (error) {
    // Removed with its container: the open file is all there is.
    if (isAbsent(error)) return 'same';
    throw error;
  }
}

/** Where the last `count` full lines begin; entries tagged P do not count. */
async function tailStart(file: FileHandle, count: number, parse: ParseEntry): Promise<number> {
  const { size } = await file.stat();
  if (count <= 0) return size;
  let carry: Buffer = Buffer.alloc(0);
  let start = size;
  let found = 0;
  while (start > 0) {
    const length = Math.min(BLOCK_BYTES, start);
    start -= length;
    const block = Buffer.alloc(length);
    await file.read(block, 0, length, start);
    const bytes = Buffer.concat([block, carry]);
    // Every newline but the file's last one separates an entry from the one behind it.
    let end = bytes.length;
    for (;;) {
      const newline = end === 0 ? -1 : bytes.lastIndexOf(NEWLINE, end - 1);
      if (newline < 0) break;
      const line = bytes.subarray(newline + 1, end);
      if (line.length > 0 && parse(line)?.partial === false) {
        found += 1;
        if (found > count) return start + end;
      }
      end = newline;
    }
    carry = Buffer.from(bytes.subarray(0, Math.min(end, LINE_BYTES_MAX)));
  }
  return 0;
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
