/**
 * JSON of an object to the object, strictly, by the table of kinds. What comes out has only known fields of the
 * right type, in the order of the table (maps sorted by key), so that equal objects have equal JSON.
 *
 * As the API server does, through Go's structs:
 * - null is the same as absent, and so is the zero value of a field that is no pointer (`restartPolicy: ""`,
 *   `tolerations: []`), unless the field is required, Go always writes it, or it is in `EMPTY_DIFFERS`;
 * - such a field gets its zero value when it is absent, if it is no pointer (so the interfaces in types.ts
 *   tell the truth; validation refuses what must not be empty);
 * - quantities and times come out in canonical form; JSON numbers are taken for quantities;
 * - names are case-sensitive; a field that the table does not know is dropped and reported.
 * Keys like `__proto__` are data in maps and unknown fields elsewhere; they never reach a prototype.
 */
import { canonicalQuantity } from '../quantity.ts';
import { ApiError, badRequest, type FieldError } from '../status.ts';
import { isDeeperThan } from './json.ts';
import { durationNanos, normalizeBase64, normalizeTime, type Scalar } from './scalars.ts';
import { type FieldSpec, type MessageSpec, messageSpec, TYPE_META_FIELDS } from './table.ts';

export interface DecodeLimits {
  /** How deep free-form parts (RawExtension, FieldsV1) may nest. Default 64. */
  readonly depthMax?: number;
  /** How many errors, and how many unknown fields, are listed. Default 64. */
  readonly reportsMax?: number;
  /** Give required fields their zero value. Default true; false for partial objects (apply patches). */
  readonly fillRequired?: boolean;
}

export interface Decoded<T> {
  /** Without the fields that `errors` are about; use it only when there are none. */
  readonly object: T;
  /** As "spec.foo" or "spec.containers[0].bar". */
  readonly unknownFields: string[];
  readonly errors: FieldError[];
}

type JsonObject = Record<string, unknown>;

/** Lists, as MESSAGE.FIELD, that get a default when they are absent and not when they are empty. */
const EMPTY_DIFFERS: ReadonlySet<string> = new Set([
  'io.k8s.api.autoscaling.v2.HPAScalingRules.policies',
]);

/** Decodes the JSON value of a message, as `io.k8s.api.core.v1.Pod`. T is the interface of that message. */
export function decodeObject<T>(
  message: string,
  json: unknown,
  limits: DecodeLimits = {},
): Decoded<T> {
  const decoder = new Decoder(limits);
  const object = decoder.root(messageSpec(message), json);
  return { object: object as T, unknownFields: decoder.unknownFields, errors: decoder.errors };
}

/** Go's sentence for a value of the wrong type; `path` is without list indexes. */
function unmarshalError(given: string, struct: string, path: string, type: string): string {
  if (path === '') return `json: cannot unmarshal ${given} into Go value of type ${type}`;
  return `json: cannot unmarshal ${given} into Go struct field ${struct}.${path} of type ${type}`;
}

/** 400 for a body with values of the wrong type. `version` is without the group, as "v1". */
export function decodingError(
  kind: string,
  version: string,
  errors: readonly FieldError[],
): ApiError {
  const first = errors[0];
  const message = first?.message ?? 'it cannot be decoded';
  const where = first === undefined || message.startsWith('json: ') ? '' : `${first.field}: `;
  return new ApiError(
    400,
    'BadRequest',
    `${kind} in version "${version}" cannot be handled as a ${kind}: ${where}${message}`,
  );
}

/** One sentence per unknown or doubled field: the Warning headers of `fieldValidation=Warn`. */
export function strictWarnings(
  unknownFields: readonly string[],
  duplicateFields: readonly string[],
): string[] {
  return [
    ...unknownFields.map((path) => `unknown field ${JSON.stringify(path)}`),
    ...duplicateFields.map((path) => `duplicate field ${JSON.stringify(path)}`),
  ];
}

/** 400 for `fieldValidation=Strict`. `warnings` are those of `strictWarnings`, at least one. */
export function strictDecodingError(
  kind: string,
  version: string,
  warnings: readonly string[],
): ApiError {
  const list = warnings.join(', ');
  return badRequest(
    `${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${list}`,
  );
}

class Decoder {
  readonly unknownFields: string[] = [];
  readonly errors: FieldError[] = [];
  readonly #depthMax: number;
  readonly #reportsMax: number;
  readonly #fillRequired: boolean;
  /** Where we are: names of fields, places in lists, and keys of maps as "[key]". */
  readonly #path: (string | number)[] = [];
  /** Go's name of the struct whose field is being decoded. */
  #struct = '';

  constructor(limits: DecodeLimits) {
    this.#depthMax = limits.depthMax ?? 64;
    this.#reportsMax = limits.reportsMax ?? 64;
    this.#fillRequired = limits.fillRequired ?? true;
  }

  root(spec: MessageSpec, json: unknown): JsonObject {
    if (isObject(json)) return this.#message(spec, json);
    this.#typeError(json, spec.goName);
    return {};
  }

  #message(spec: MessageSpec, json: JsonObject): JsonObject {
    const outer = this.#struct;
    const struct = spec.goName.slice(spec.goName.indexOf('.') + 1);
    // Decoded in the order of the text, because reports come in that order; built in that of the table.
    const found = new Map<string, unknown>();
    for (const name of Object.keys(json)) {
      const value = json[name];
      const field =
        spec.fields.get(name) ?? (spec.hasTypeMeta ? TYPE_META_FIELDS.get(name) : undefined);
      if (field !== undefined && (value === null || value === undefined)) continue;
      const decoded = this.#within(name, struct, () =>
        field === undefined ? this.#reportUnknown() : this.#field(field, value),
      );
      if (field === undefined || decoded === undefined) continue;
      if (isDroppedZero(field, decoded) && !EMPTY_DIFFERS.has(`${spec.name}.${name}`)) continue;
      found.set(name, decoded);
    }
    const result: JsonObject = {};
    if (spec.hasTypeMeta) {
      for (const name of TYPE_META_FIELDS.keys())
        if (found.has(name)) result[name] = found.get(name);
    }
    for (const field of spec.fields.values()) {
      const value = found.get(field.name) ?? (this.#fillRequired ? this.#zero(field) : undefined);
      if (value !== undefined) result[field.name] = value;
    }
    this.#struct = outer;
    return result;
  }

  #within<R>(part: string | number, struct: string, work: () => R): R {
    this.#path.push(part);
    this.#struct = struct;
    const result = work();
    this.#path.pop();
    return result;
  }

  #field(field: FieldSpec, value: unknown): unknown {
    const struct = this.#struct;
    if (field.shape === 'list') {
      if (!Array.isArray(value)) return this.#typeError(value, goType(field));
      return value.map((element, i) =>
        this.#within(i, struct, () => this.#element(field, element)),
      );
    }
    if (field.shape === 'map') {
      if (!isObject(value)) return this.#typeError(value, goType(field));
      const keys = Object.keys(value).sort();
      // fromEntries defines properties, so that the key "__proto__" is plain data.
      return Object.fromEntries(
        keys.map((key) => [
          key,
          this.#within(`[${key}]`, struct, () => this.#element(field, value[key])),
        ]),
      );
    }
    return this.#single(field, value);
  }

  /** In lists and maps null stands for the zero value. */
  #element(field: FieldSpec, value: unknown): unknown {
    if (value === null) {
      return field.type === 'message' ? this.#single(field, {}) : (zeroOf(field) ?? null);
    }
    return this.#single(field, value);
  }

  #single(field: FieldSpec, value: unknown): unknown {
    switch (field.type) {
      case 'string':
        return typeof value === 'string' ? value : this.#typeError(value, 'string');
      case 'bool':
        return typeof value === 'boolean' ? value : this.#typeError(value, 'bool');
      case 'int32':
        return isInteger(value, 2 ** 31) ? value : this.#typeError(value, 'int32');
      case 'int64':
        return isInteger(value, 2 ** 63) ? value : this.#typeError(value, 'int64');
      case 'double':
        return typeof value === 'number' ? value : this.#typeError(value, 'float64');
      case 'intOrString':
        if (typeof value === 'string') return value;
        return isInteger(value, 2 ** 31) ? value : this.#typeError(value, 'int32');
      case 'quantity':
        return this.#quantity(value);
      case 'bytes':
        return this.#scalar(value, '[]uint8', normalizeBase64);
      case 'time':
        return this.#scalar(value, 'v1.Time', (text) => normalizeTime(text, 0));
      case 'microTime':
        return this.#scalar(value, 'v1.MicroTime', (text) => normalizeTime(text, 6));
      case 'duration':
        return this.#scalar(value, 'v1.Duration', checkDuration);
      case 'rawExtension':
        return this.#raw(value);
      case 'fieldsV1':
        return isObject(value) ? this.#raw(value) : this.#typeError(value, 'v1.FieldsV1');
      case 'stringList':
        if (!Array.isArray(value)) return this.#typeError(value, goType(field));
        return value.map((e) => (typeof e === 'string' ? e : this.#typeError(e, 'string')));
      case 'message': {
        const spec = messageSpec(field.message ?? '');
        return isObject(value) ? this.#message(spec, value) : this.#typeError(value, spec.goName);
      }
      default: {
        const never: never = field.type;
        return never;
      }
    }
  }

  #quantity(value: unknown): string | undefined {
    try {
      return canonicalQuantity(typeof value === 'number' ? value : String(value));
    } catch (error) {
      return this.#report(error instanceof Error ? error.message : String(error));
    }
  }

  #scalar(value: unknown, type: string, normalize: (text: string) => Scalar): string | undefined {
    if (typeof value !== 'string') return this.#typeError(value, type);
    const scalar = normalize(value);
    return scalar.ok ? scalar.text : this.#report(scalar.error);
  }

  #raw(value: unknown): unknown {
    if (!isDeeperThan(value, this.#depthMax)) return value;
    return this.#report(`nested more than ${this.#depthMax} levels deep`);
  }

  #zero(field: FieldSpec): unknown {
    if (field.alwaysWritten) return zeroOf(field);
    if (!field.required || field.pointer) return undefined;
    if (field.shape === 'list') return [];
    if (field.shape === 'map') return {};
    if (field.type !== 'message') return zeroOf(field);
    return this.#message(messageSpec(field.message ?? ''), {});
  }

  #typeError(value: unknown, type: string): undefined {
    // Go names only the fields on the way.
    const names = this.#path.filter((part) => typeof part === 'string' && !part.startsWith('['));
    const given = describe(value, type);
    return this.#report(unmarshalError(given, this.#struct, names.join('.'), type));
  }

  #report(message: string): undefined {
    if (this.errors.length < this.#reportsMax) {
      this.errors.push({ field: this.#pathText(), reason: 'FieldValueTypeInvalid', message });
    }
    return undefined;
  }

  #reportUnknown(): undefined {
    if (this.unknownFields.length < this.#reportsMax) this.unknownFields.push(this.#pathText());
    return undefined;
  }

  #pathText(): string {
    let text = '';
    for (const part of this.#path) {
      if (typeof part === 'number') text += `[${part}]`;
      else text += text === '' || part.startsWith('[') ? part : `.${part}`;
    }
    return text;
  }
}

/** Go's zero value of one element; undefined where it is null in JSON, and for messages. */
export function zeroOf(field: FieldSpec): unknown {
  switch (field.type) {
    case 'string':
    case 'bytes':
      return '';
    case 'bool':
      return false;
    case 'int32':
    case 'int64':
    case 'double':
    case 'intOrString':
      return 0;
    case 'quantity':
      return '0';
    case 'duration':
      return '0s';
    case 'stringList':
      return [];
    case 'time':
    case 'microTime':
    case 'rawExtension':
    case 'fieldsV1':
    case 'message':
      return undefined;
    default: {
      const never: never = field.type;
      return never;
    }
  }
}

/** What Go leaves out of JSON (omitempty): a zero value that cannot be told from an absent one. */
export function isDroppedZero(field: FieldSpec, value: unknown): boolean {
  if (field.required || field.alwaysWritten) return false;
  if (field.shape === 'list') return Array.isArray(value) && value.length === 0;
  if (field.shape === 'map') return isObject(value) && Object.keys(value).length === 0;
  // Structs are never left out, and a quantity is one.
  if (field.pointer || field.type === 'quantity') return false;
  if (field.type === 'intOrString' && value === '') return true;
  return value === zeroOf(field);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isInteger(value: unknown, bound: number): value is number {
  return Number.isInteger(value) && Number(value) >= -bound && Number(value) < bound;
}

function checkDuration(text: string): Scalar {
  if (durationNanos(text) !== undefined) return { ok: true, text };
  return { ok: false, error: `time: invalid duration ${JSON.stringify(text)}` };
}

/** Go's word for the kind of a JSON value; a number is shown where its range or fraction is what is wrong. */
function describe(value: unknown, type: string): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  return typeof value === 'number' && type.startsWith('int') ? `number ${value}` : typeof value;
}

const GO_TYPES: Readonly<Record<string, string>> = {
  double: 'float64',
  bytes: '[]uint8',
  quantity: 'resource.Quantity',
  intOrString: 'intstr.IntOrString',
  time: 'v1.Time',
  microTime: 'v1.MicroTime',
  duration: 'v1.Duration',
  rawExtension: 'runtime.RawExtension',
  fieldsV1: 'v1.FieldsV1',
  stringList: 'v1.ExtraValue',
};

function goType(field: FieldSpec): string {
  const own = GO_TYPES[field.type] ?? field.type;
  const element = field.type === 'message' ? messageSpec(field.message ?? '').goName : own;
  return { single: element, list: `[]${element}`, map: `map[string]${element}` }[field.shape];
}
