/**
 * JSON text to a value, with what `JSON.parse` does not say: which keys stand twice in one object (the last one
 * wins, as in Kubernetes). Promises: time in proportion to the length, and a limit on nesting.
 */
import { badRequest } from '../status.ts';

export interface ParsedJson {
  readonly value: unknown;
  /** Paths as "spec.replicas" or "spec.containers[0].name", in the order of the text. */
  readonly duplicateFields: string[];
}

/** As deep as any schema of a CustomResourceDefinition, and far from the end of the stack. */
const DEPTH_MAX = 512;
const DUPLICATES_MAX = 100;

/** Parses a request body. Throws `ApiError` 400 when it is no JSON or nested too deeply. */
export function parseJsonStrict(text: string): ParsedJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // V8 quotes the text behind the comma, and that may be a Secret.
    const what = cause instanceof Error ? cause.message.split(',')[0] : String(cause);
    throw badRequest(`the body is no valid JSON: ${what}`);
  }
  // A doubled key is in the text but not in the value; so counting tells whether to look closer.
  const isUnique = countKeys(value, 0) === countKeyTokens(text);
  return { value, duplicateFields: isUnique ? [] : findDuplicates(text) };
}

/** Is the value nested more deeply than this? Objects and lists count. */
export function isDeeperThan(value: unknown, depthMax: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (depthMax <= 0) return true;
  for (const inner of Object.values(value)) if (isDeeperThan(inner, depthMax - 1)) return true;
  return false;
}

function countKeys(value: unknown, depth: number): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (depth >= DEPTH_MAX) {
    throw badRequest(`the body is nested more than ${DEPTH_MAX} levels deep`);
  }
  const inner = Object.values(value);
  let count = Array.isArray(value) ? 0 : inner.length;
  for (const element of inner) count += countKeys(element, depth + 1);
  return count;
}

/** Index of the closing quote of the string that opens at `start`. The text is valid JSON. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  for (;;) {
    let slashes = 0;
    while (text[end - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
}

function isKey(text: string, end: number): boolean {
  let next = end + 1;
  while (/\s/.test(text[next] ?? '')) next++;
  return text[next] === ':';
}

function countKeyTokens(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at >= 0; ) {
    const end = endOfString(text, at);
    if (isKey(text, end)) count++;
    at = text.indexOf('"', end + 1);
  }
  return count;
}

interface Frame {
  /** Undefined in a list. */
  readonly keys: Set<string> | undefined;
  key: string;
  index: number;
}

function findDuplicates(text: string): string[] {
  const duplicates: string[] = [];
  const stack: Frame[] = [];
  for (let at = 0; at < text.length && duplicates.length < DUPLICATES_MAX; at++) {
    const top = stack.at(-1);
    switch (text[at]) {
      case '{':
        stack.push({ keys: new Set(), key: '', index: 0 });
        break;
      case '[':
        stack.push({ keys: undefined, key: '', index: 0 });
        break;
      case '}':
      case ']':
        stack.pop();
        break;
      case ',':
        if (top !== undefined) top.index++;
        break;
      case '"': {
        const end = endOfString(text, at);
        if (top?.keys !== undefined && isKey(text, end)) {
          top.key = String(JSON.parse(text.slice(at, end + 1)));
          if (top.keys.has(top.key)) duplicates.push(pathOf(stack));
          top.keys.add(top.key);
        }
        at = end;
        break;
      }
    }
  }
  return duplicates;
}

function pathOf(stack: Frame[]): string {
  const parts = stack.map((f) => (f.keys === undefined ? `[${f.index}]` : `.${f.key}`));
  return parts.join('').replace(/^\./, '');
}
