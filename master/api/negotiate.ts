/**
 * Which form an answer takes: the first range of `Accept` that this server can write. Parameters as Kubernetes has them:
 * `application/json;as=Table;v=v1;g=meta.k8s.io`.
 */
import { ApiError } from '../../protocol/status.ts';

export type AnswerFormat = 'json' | 'yaml' | 'protobuf';

export interface AnswerForm {
  readonly format: AnswerFormat;
  /** A transformation instead of the object itself. */
  readonly as: 'object' | 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList';
  /** Of meta.k8s.io, for Table and PartialObjectMetadata. */
  readonly version: 'v1' | 'v1beta1';
}

/** What this answer can be besides an object in JSON or YAML. */
export interface Offers {
  readonly transforms: boolean;
  readonly protobuf: boolean;
}

export interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const PLAIN: AnswerForm = { format: 'json', as: 'object', version: 'v1' };
const TRANSFORMS = ['Table', 'PartialObjectMetadata', 'PartialObjectMetadataList'] as const;

/** Ranges in the order of preference: by q, and by place where q is the same. */
export function parseAccept(accept: string | undefined): MediaRange[] {
  if (accept === undefined || accept.trim() === '') return [];
  const ranges = accept.split(',').map((part) => {
    const [type = '', ...rest] = part.split(';').map((piece) => piece.trim());
    const parameters = new Map(
      rest.map((piece): [string, string] => {
        const at = piece.indexOf('=');
        return at < 0 ? [piece, ''] : [piece.slice(0, at).trim(), piece.slice(at + 1).trim()];
      }),
    );
    return { type: type.toLowerCase(), parameters };
  });
  const quality = (range: MediaRange): number => Number(range.parameters.get('q') ?? 1);
  return ranges.sort((a, b) => quality(b) - quality(a));
}

/** Throws 406 when nothing of `Accept` can be served. */
export function negotiate(accept: string | undefined, offers: Offers): AnswerForm {
  const ranges = parseAccept(accept);
  if (ranges.length === 0) return PLAIN;
  for (const range of ranges) {
    const form = formOf(range, offers);
    if (form !== undefined) return form;
  }
  throw notAcceptable(offers);
}

function formOf(range: MediaRange, offers: Offers): AnswerForm | undefined {
  const format = formatOf(range.type);
  if (format === undefined || (format === 'protobuf' && !offers.protobuf)) return undefined;
  const as = range.parameters.get('as');
  if (as === undefined) return { ...PLAIN, format };
  const known = TRANSFORMS.find((one) => one === as);
  const version = range.parameters.get('v');
  if (!offers.transforms || known === undefined || range.parameters.get('g') !== 'meta.k8s.io') {
    return undefined;
  }
  // Kubernetes: a Table has no protobuf.
  if (format === 'protobuf' && known === 'Table') return undefined;
  return version === 'v1' || version === 'v1beta1' ? { format, as: known, version } : undefined;
}

function formatOf(type: string): AnswerFormat | undefined {
  if (type === 'application/vnd.kubernetes.protobuf') return 'protobuf';
  if (type === 'application/yaml') return 'yaml';
  return type === 'application/json' || type === '*/*' || type === 'application/*'
    ? 'json'
    : undefined;
}

/** May an answer be in this Content-Encoding? Only what the client names or a `*`, and not with `q=0`. */
export function acceptsEncoding(acceptEncoding: string | undefined, encoding: string): boolean {
  const ranges = parseAccept(acceptEncoding);
  const range =
    ranges.find(({ type }) => type === encoding) ?? ranges.find(({ type }) => type === '*');
  return range !== undefined && Number(range.parameters.get('q') ?? 1) > 0;
}

export function notAcceptable(offers: Pick<Offers, 'protobuf'> = { protobuf: false }): ApiError {
  const types = ['application/json', 'application/yaml'];
  if (offers.protobuf) types.push('application/vnd.kubernetes.protobuf');
  return new ApiError(
    406,
    'NotAcceptable',
    `only the following media types are accepted: ${types.join(', ')}`,
  );
}
