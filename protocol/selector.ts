/**
 * Label selectors and field selectors: the text of a query (`app=web,tier in (a,b),!old`), the object in a
 * manifest (`matchLabels`, `matchExpressions`), and whether labels match.
 *
 * Promises: the grammar and the errors of Kubernetes; text errors are `ApiError` 400. Pure.
 * Source: "Labels and Selectors" and "Field Selectors" in the documentation of Kubernetes.
 */
import type { LabelSelector } from './kinds/types.ts';
import { labelKeyErrors, labelValueErrors } from './names.ts';
import { badRequest, type FieldError } from './status.ts';

export type Labels = Readonly<Record<string, string>>;

export type LabelOperator =
  | 'Equals'
  | 'NotEquals'
  | 'In'
  | 'NotIn'
  | 'Exists'
  | 'DoesNotExist'
  | 'Gt'
  | 'Lt';

export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  /** Sorted, without duplicates. */
  readonly values: readonly string[];
}

/** One term of a field selector: `path=value` or `path!=value`. */
export interface FieldTerm {
  readonly path: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

const OPERATORS: ReadonlyMap<string, LabelOperator> = new Map([
  ['in', 'In'],
  ['notin', 'NotIn'],
  ['=', 'Equals'],
  ['==', 'Equals'],
  ['!=', 'NotEquals'],
  ['>', 'Gt'],
  ['<', 'Lt'],
]);

const INT64_MAX = 2n ** 63n - 1n;

/** Do these labels fulfil all of the requirements? No requirement at all matches everything. */
export function matchesRequirements(
  requirements: readonly LabelRequirement[],
  labels: Labels | undefined,
): boolean {
  return requirements.every((r) => matchesRequirement(r, labels ?? {}));
}

/**
 * Does the selector of a manifest match? An empty selector matches everything, an absent one nothing.
 * Throws `ApiError` when it holds an operator that does not exist, which validation keeps out.
 */
export function matchesLabelSelector(
  selector: LabelSelector | undefined,
  labels: Labels | undefined,
): boolean {
  if (selector === undefined) return false;
  const own = labels ?? {};
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (!Object.hasOwn(own, key) || own[key] !== value) return false;
  }
  if (selector.matchExpressions === undefined) return true;
  const { matchExpressions } = selector;
  return matchesRequirements(labelRequirements({ matchExpressions }), own);
}

/** The selector of a manifest as a list, sorted by key. Throws `ApiError` on an unknown operator. */
export function labelRequirements(selector: LabelSelector): LabelRequirement[] {
  const requirements: LabelRequirement[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    requirements.push({ key, operator: 'Equals', values: [value] });
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    requirements.push({ key, operator: manifestOperator(operator), values: sorted(values ?? []) });
  }
  return requirements.sort(byKey);
}

/** As it stands in a query and in `status.selector` of a Scale: `a=b,c in (x,y),!d`. */
export function formatLabelSelector(requirements: readonly LabelRequirement[]): string {
  return requirements.map(formatRequirement).join(',');
}

/** Reads `?labelSelector=`. Throws `ApiError` 400 that says where it stopped to understand. */
export function parseLabelSelector(text: string): LabelRequirement[] {
  return new LabelParser(text).parse().sort(byKey);
}

/**
 * Reads `?fieldSelector=`: terms split at commas; `\,`, `\=` and `\\` in a value stand for themselves.
 * Which paths a kind knows is not checked here. Throws `ApiError` 400.
 */
export function parseFieldSelector(text: string): FieldTerm[] {
  const terms: FieldTerm[] = [];
  for (const part of text.match(/(?:\\.|[^\\,])+/gs) ?? []) {
    const match = /^([^=!]*(?:!(?!=)[^=!]*)*)(!=|==|=)(.*)$/s.exec(part);
    if (match === null) {
      throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
    }
    const [, path = '', operator, raw = ''] = match;
    terms.push({ path, operator: operator === '!=' ? '!=' : '=', value: unescapeValue(raw) });
  }
  if (/(?:^|[^\\])(?:\\\\)*\\$/.test(text)) {
    throw badRequest(`invalid selector: '${text}'; it ends within an escape sequence`);
  }
  return terms;
}

/** What is wrong with the selector of a manifest at `path`. */
export function validateLabelSelector(selector: LabelSelector, path: string): FieldError[] {
  const errors = validateLabels(selector.matchLabels ?? {}, `${path}.matchLabels`);
  for (const [index, { key, operator, values }] of (selector.matchExpressions ?? []).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    if (operator === 'In' || operator === 'NotIn') {
      if ((values ?? []).length === 0) {
        const message = "Required value: must be specified when `operator` is 'In' or 'NotIn'";
        errors.push({ field: `${at}.values`, reason: 'FieldValueRequired', message });
      }
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if ((values ?? []).length > 0) {
        const why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        const message = `Forbidden: ${why}`;
        errors.push({ field: `${at}.values`, reason: 'FieldValueForbidden', message });
      }
    } else {
      errors.push(invalidValue(`${at}.operator`, operator, 'not a valid selector operator'));
    }
    for (const why of labelKeyErrors(key)) errors.push(invalidValue(`${at}.key`, key, why));
    for (const [i, value] of (values ?? []).entries()) {
      for (const why of labelValueErrors(value)) {
        errors.push(invalidValue(`${at}.values[${i}]`, value, why));
      }
    }
  }
  return errors;
}

/** What is wrong with labels at `path`, as in `metadata.labels`. */
export function validateLabels(labels: Labels, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels)) {
    for (const why of labelKeyErrors(key)) errors.push(invalidValue(path, key, why));
    for (const why of labelValueErrors(value)) errors.push(invalidValue(path, value, why));
  }
  return errors;
}

function invalidValue(field: string, value: string, why: string): FieldError {
  const message = `Invalid value: ${JSON.stringify(value)}: ${why}`;
  return { field, reason: 'FieldValueInvalid', message };
}

function matchesRequirement(requirement: LabelRequirement, labels: Labels): boolean {
  const { key, operator, values } = requirement;
  const label = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'Equals':
    case 'In':
      return label !== undefined && values.includes(label);
    case 'NotEquals':
    case 'NotIn':
      return label === undefined || !values.includes(label);
    case 'Exists':
      return label !== undefined;
    case 'DoesNotExist':
      return label === undefined;
    case 'Gt':
    case 'Lt': {
      const have = int64(label);
      const bound = int64(values[0]);
      if (have === undefined || bound === undefined) return false;
      return operator === 'Gt' ? have > bound : have < bound;
    }
    default: {
      const never: never = operator;
      return never;
    }
  }
}

function int64(text: string | undefined): bigint | undefined {
  if (text === undefined || !/^[-+]?\d{1,63}$/.test(text)) return undefined;
  const number = BigInt(text.replace(/^\+/, ''));
  return number > INT64_MAX || number < -INT64_MAX - 1n ? undefined : number;
}

function manifestOperator(operator: string): LabelOperator {
  switch (operator) {
    case 'In':
    case 'NotIn':
    case 'Exists':
    case 'DoesNotExist':
      return operator;
    default:
      throw badRequest(`"${operator}" is not a valid label selector operator`);
  }
}

function formatRequirement({ key, operator, values }: LabelRequirement): string {
  switch (operator) {
    case 'Equals':
      return `${key}=${values[0] ?? ''}`;
    case 'NotEquals':
      return `${key}!=${values[0] ?? ''}`;
    case 'In':
      return `${key} in (${values.join(',')})`;
    case 'NotIn':
      return `${key} notin (${values.join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'Gt':
      return `${key}>${values[0] ?? ''}`;
    case 'Lt':
      return `${key}<${values[0] ?? ''}`;
    default: {
      const never: never = operator;
      return never;
    }
  }
}

function unescapeValue(raw: string): string {
  return raw.replace(/\\(.)|[,=]/gs, (found, escaped: string | undefined) => {
    if (escaped === undefined) {
      throw badRequest(`invalid field selector: found unescaped '${found}' in the value "${raw}"`);
    }
    if (!/[,=\\]/.test(escaped)) {
      throw badRequest(`invalid field selector: invalid escape sequence: ${found}`);
    }
    return escaped;
  });
}

function sorted(values: Iterable<string>): string[] {
  return [...new Set(values)].sort();
}

function byKey(a: LabelRequirement, b: LabelRequirement): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

interface Token {
  readonly type: 'word' | 'symbol' | 'end';
  readonly text: string;
}

/** Reads the text form: words are runs without blanks and symbols; `in` and `notin` are words that act as operators. */
class LabelParser {
  readonly #tokens: Token[] = [];
  #next = 0;

  constructor(text: string) {
    for (const [found] of text.matchAll(/==|!=|[=!(),<>]|[^\s=!(),<>]+/g)) {
      this.#tokens.push({ type: /^[=!(),<>]/.test(found) ? 'symbol' : 'word', text: found });
    }
  }

  parse(): LabelRequirement[] {
    const requirements: LabelRequirement[] = [];
    while (this.#peek().type !== 'end') {
      if (!this.#startsRequirement()) {
        const { text } = this.#peek();
        throw expected(
          text,
          requirements.length === 0 ? "!, identifier, or 'end of string'" : AFTER,
        );
      }
      requirements.push(this.#requirement());
      const separator = this.#take();
      if (separator.type === 'end') break;
      if (separator.text !== ',') throw expected(separator.text, "',' or 'end of string'");
      if (!this.#startsRequirement()) throw expected(this.#peek().text, AFTER);
    }
    return requirements;
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { type: 'end', text: '' };
  }

  #take(): Token {
    const token = this.#peek();
    this.#next++;
    return token;
  }

  #startsRequirement(): boolean {
    return this.#peek().type === 'word' || this.#peek().text === '!';
  }

  #atEnd(): boolean {
    return this.#peek().type === 'end' || this.#peek().text === ',';
  }

  #requirement(): LabelRequirement {
    const negated = this.#peek().text === '!';
    if (negated) this.#take();
    const { type, text: key } = this.#take();
    if (type !== 'word') throw requirementError(`found '${key}', expected: identifier`);
    checkText(key, labelKeyErrors(key));
    if (negated) return { key, operator: 'DoesNotExist', values: [] };
    if (this.#atEnd()) return { key, operator: 'Exists', values: [] };
    const symbol = this.#take().text;
    const operator = OPERATORS.get(symbol);
    if (operator === undefined) {
      throw requirementError(`found '${symbol}', expected: in, notin, =, ==, !=, gt, lt`);
    }
    const isSet = operator === 'In' || operator === 'NotIn';
    const values = isSet ? this.#values() : [this.#value()];
    for (const value of values) checkText(value, labelValueErrors(value));
    if ((operator === 'Gt' || operator === 'Lt') && int64(values[0]) === undefined) {
      const why = "for 'Gt', 'Lt' operators, the value must be an integer";
      throw requirementError(`values[0]: Invalid value: ${JSON.stringify(values[0])}: ${why}`);
    }
    return { key, operator, values: sorted(values) };
  }

  #value(): string {
    if (this.#atEnd()) return '';
    const { type, text } = this.#take();
    if (type !== 'word') throw requirementError(`found '${text}', expected: identifier`);
    return text;
  }

  /** `(a, b)`; what is missing between commas or in `()` is the empty value. */
  #values(): string[] {
    const open = this.#take();
    if (open.text !== '(') throw requirementError(`found '${open.text}' expected: '('`);
    const values: string[] = [];
    for (;;) {
      values.push(this.#peek().type === 'word' ? this.#take().text : '');
      const { text } = this.#take();
      if (text === ')') return values;
      if (text !== ',') throw requirementError(`found '${text}', expected: ',' or ')'`);
    }
  }
}

const AFTER = "identifier after ','";

function expected(found: string, what: string): Error {
  return badRequest(`found '${found}', expected: ${what}`);
}

function requirementError(message: string): Error {
  return badRequest(`unable to parse requirement: ${message}`);
}

function checkText(text: string, errors: string[]): void {
  if (errors.length === 0) return;
  // Kubernetes has no field to name in a query, and prints that as <nil>.
  throw requirementError(`<nil>: Invalid value: ${JSON.stringify(text)}: ${errors.join('; ')}`);
}
