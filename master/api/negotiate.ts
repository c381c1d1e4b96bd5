/**
 * Which form an answer takes: the first range of `Accept` that this server can write. Parameters as Kubernetes has them:
 * `application/json;as=Table;v=v1;g=meta.k8s.io`.
 */
import { ApiError } from '../../protocol/status.ts';

export interface AnswerForm {
  readonly format: 'json' | 'yaml';
  /** A transformation instead of the object itself. */
  readonly as: 'object' | 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList';
  /** Of meta.k8s.io, for Table and PartialObjectMetadata. */
  readonly version: 'v1' | 'v1beta1';
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

/** Throws 406 when nothing of `Accept` can be served. `transforms`: false for answers that have no Table. */
export function negotiate(accept: string | undefined, transforms: boolean): AnswerForm {
  const ranges = parseAccept(accept);
  if (ranges.length === 0) return PLAIN;
  for (const range of ranges) {
    const form = formOf(range, transforms);
    if (form !== undefined) return form;
  }
  throw notAcceptable();
}

function formOf(range: MediaRange, transforms: boolean): AnswerForm | undefined {
  const format = formatOf(range.type);
  if (format === undefined) return undefined;
  const as = range.parameters.get('as');
  if (as === undefined) return { ...PLAIN, format };
  const known = TRANSFORMS.find((one) => one === as);
  const version = range.parameters.get('v');
  if (!transforms || known === undefined || range.parameters.get('g') !== 'meta.k8s.io') {
    return undefined;
  }
  return version === 'v1' || version === 'v1beta1' ? { format, as: known, version } : undefined;
}

function formatOf(type: string): 'json' | 'yaml' | undefined {
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

export function notAcceptable(): ApiError {
  return new ApiError(
    406,
    'NotAcceptable',
    'only the following media types are accepted: application/json, application/yaml',
  );
}
