/**
 * What `kubectl get` prints: Table (meta.k8s.io/v1), rendered by the server, and PartialObjectMetadata for clients that
 * want no more than the metadata.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import {
  encodeProtobuf,
  encodeProtobufList,
  encodeProtobufMessage,
} from '../../protocol/kinds/protobuf-encode.ts';
import { badRequest } from '../../protocol/status.ts';
import type { ApiRequest } from './answers.ts';
import { ChunkedAnswer, listMeta, sendBytes, sendParts } from './answers.ts';
import type { StoredList } from './list.ts';
import type { AnswerForm } from './negotiate.ts';
import { asBuffer, PROTOBUF_TYPE } from './protobuf.ts';
import type { Registry } from './registry.ts';
import type { Resource } from './resources.ts';
import { encodeObject, type Stored } from './stored.ts';

export type IncludeObject = 'Metadata' | 'Object' | 'None';

export function includeObject(query: URLSearchParams): IncludeObject {
  const value = query.get('includeObject') ?? '';
  if (value === '' || value === 'Metadata') return 'Metadata';
  if (value === 'Object' || value === 'None') return value;
  throw badRequest(
    `includeObject: Invalid value: "${value}": must be 'Metadata', 'Object', 'None', or empty`,
  );
}

export interface TableContext {
  readonly registry: Registry;
  readonly resource: Resource;
  readonly form: AnswerForm;
  readonly include: IncludeObject;
}

/** The columns as `columnDefinitions`. */
export function columnDefinitions(resource: Resource): object[] {
  return resource.module.columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? '',
    description: column.description,
    priority: column.priority ?? 0,
  }));
}

function rowText(context: TableContext, stored: Stored, nowMs: number): string {
  const { registry, resource, form, include } = context;
  const object = registry.core.storage.scanned(stored);
  const cells = JSON.stringify(resource.module.row(object, nowMs));
  if (include === 'None') return `{"cells":${cells}}`;
  const inner =
    include === 'Object'
      ? encodeObject(stored).toString('utf8')
      : JSON.stringify(partialMetadata(object, form.version));
  return `{"cells":${cells},"object":${inner}}`;
}

interface PartialMetadata {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: object;
}

export function partialMetadata(object: KubeObject, version: string): PartialMetadata {
  return {
    kind: 'PartialObjectMetadata',
    apiVersion: `meta.k8s.io/${version}`,
    metadata: object.metadata ?? {},
  };
}

function tableHead(form: AnswerForm, metadata: object, columns: readonly object[]): string {
  return (
    `{"kind":"Table","apiVersion":"meta.k8s.io/${form.version}",` +
    `"metadata":${JSON.stringify(metadata)},"columnDefinitions":${JSON.stringify(columns)},"rows":[`
  );
}

/** A list as Table or PartialObjectMetadataList; `form.as` says which. */
export async function sendTransformedList(
  request: ApiRequest,
  context: TableContext,
  list: StoredList,
): Promise<void> {
  const { registry, resource, form } = context;
  if (form.format === 'protobuf') return sendProtobufMetadata(request, context, list);
  const nowMs = registry.core.clock.wallMs();
  const out = new ChunkedAnswer(request, contentTypeOf(form));
  const table = form.as === 'Table';
  out.text(
    table
      ? tableHead(form, listMeta(list), columnDefinitions(resource))
      : `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/${form.version}",` +
          `"metadata":${JSON.stringify(listMeta(list))},"items":[`,
  );
  let separator = '';
  for (const stored of list.items) {
    const item = table
      ? rowText(context, stored, nowMs)
      : JSON.stringify(partialMetadata(registry.core.storage.scanned(stored), form.version));
    out.text(separator + item);
    separator = ',';
    if (out.isFull && !(await out.flush())) return;
  }
  out.text(']}\n');
  await out.end();
}

const METADATA_MESSAGE = 'io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata';

async function sendProtobufMetadata(
  request: ApiRequest,
  { registry, form }: TableContext,
  list: StoredList,
): Promise<void> {
  const apiVersion = `meta.k8s.io/${form.version}`;
  const items = list.items.map((stored) => {
    const { metadata = {} } = registry.core.storage.scanned(stored);
    return encodeProtobufMessage(METADATA_MESSAGE, { metadata });
  });
  const head = { apiVersion, kind: 'PartialObjectMetadataList', metadata: listMeta(list) };
  await sendParts(request, encodeProtobufList(head, items), contentTypeOf(form));
}

/** The metadata of an object, as protobuf in its envelope. */
export function protobufMetadata(object: KubeObject, version: string): Uint8Array {
  const partial = partialMetadata(object, version);
  return encodeProtobuf(partial.apiVersion, partial.kind, partial);
}

export function sendTransformedObject(
  request: ApiRequest,
  code: number,
  context: TableContext,
  stored: Stored,
): void {
  const { form, registry } = context;
  const body =
    form.format === 'protobuf'
      ? asBuffer(protobufMetadata(registry.core.storage.scanned(stored), form.version))
      : Buffer.from(transformedText(context, stored, true));
  sendBytes(request, code, contentTypeOf(form), body);
}

/** One object in the form asked for: a Table of one row (watch events, single gets) or its metadata. */
export function transformedText(
  context: TableContext,
  stored: Stored,
  withColumns: boolean,
): string {
  const { registry, resource, form } = context;
  if (form.as !== 'Table') {
    return JSON.stringify(partialMetadata(registry.core.storage.scanned(stored), form.version));
  }
  const columns = withColumns ? columnDefinitions(resource) : [];
  const metadata = { resourceVersion: String(stored.revision) };
  const row = rowText(context, stored, registry.core.clock.wallMs());
  return `${tableHead(form, metadata, columns)}${row}]}`;
}

/** A bookmark in the form of the watch: an empty table, or metadata without an object. */
export function transformedBookmark(form: AnswerForm, metadata: object): string {
  if (form.as === 'Table') return `${tableHead(form, metadata, [])}]}`;
  return JSON.stringify(partialMetadata({ metadata }, form.version));
}

export function contentTypeOf(form: AnswerForm): string {
  const type = form.format === 'protobuf' ? PROTOBUF_TYPE : 'application/json';
  return form.as === 'object' ? type : `${type};as=${form.as};g=meta.k8s.io;v=${form.version}`;
}
