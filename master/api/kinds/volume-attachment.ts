/** VolumeAttachment: a volume that is to be attached to a node by a CSI driver. Stored; nothing here attaches, and it says so. */
import type {
  VolumeAttachment,
  VolumeAttachmentSource,
  VolumeError,
} from '../../../protocol/kinds/types.ts';
import { dnsSubdomainErrors } from '../../../protocol/names.ts';
import type { FieldError } from '../../../protocol/status.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, flag, NAME, nameCell, text } from './columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { csiWarnings } from './unsupported.ts';
import {
  eachReason,
  forbidden,
  IMMUTABLE,
  invalidValue,
  notNegative,
  required,
  tooLong,
} from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateInlineVolumeSpec } from './validate/persistent-volume.ts';
import { validateDriverName } from './validate/storage.ts';

const METADATA_BYTES_MAX = 256 * 1024;
const ERROR_BYTES_MAX = 1024;

export const VOLUME_ATTACHMENT: KindModule<VolumeAttachment> = {
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'VolumeAttachment',
  plural: 'volumeattachments',
  singular: 'volumeattachment',
  shortNames: [],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.storage.v1.VolumeAttachment',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  prepareForCreate: (attachment) => dropStatus(attachment, { attached: false }),
  prepareForUpdate: keepStatus,
  validate({ metadata, spec, status }) {
    const { attacher = '', nodeName = '', source = {} } = spec ?? {};
    return [
      ...validateObjectMeta(metadata),
      ...validateDriverName('spec.attacher', attacher),
      ...validateSource('spec.source', source),
      ...eachReason('spec.nodeName', nodeName, dnsSubdomainErrors(nodeName)),
      ...validateAttachmentMetadata(status?.attachmentMetadata ?? {}),
      ...validateVolumeError('status.attachError', status?.attachError),
      ...validateVolumeError('status.detachError', status?.detachError),
    ];
  },
  validateUpdate: (next, previous) =>
    deepEqual(next.spec, previous.spec) ? [] : [invalidValue('spec', next.spec, IMMUTABLE)],
  warnings: csiWarnings,
  columns: [
    NAME,
    text('Attacher', 'The driver that is to attach it.'),
    text('PV', 'The volume.'),
    text('Node', 'Where it is to be attached.'),
    flag('Attached', 'Whether the driver has said so.'),
    AGE,
  ],
  row(attachment, nowMs) {
    const { attacher = '', nodeName = '', source = {} } = attachment.spec ?? {};
    return [
      nameCell(attachment),
      attacher,
      source.persistentVolumeName ?? '',
      nodeName,
      attachment.status?.attached ?? false,
      ageCell(attachment, nowMs),
    ];
  },
};

function validateSource(path: string, source: VolumeAttachmentSource): FieldError[] {
  const { persistentVolumeName: name, inlineVolumeSpec: inline } = source;
  const one = 'must specify exactly one of inlineVolumeSpec and persistentVolumeName';
  if (name !== undefined && inline !== undefined) return [forbidden(path, one)];
  if (inline !== undefined) return validateInlineVolumeSpec(`${path}.inlineVolumeSpec`, inline);
  if (name === undefined) return [required(path, one)];
  const field = `${path}.persistentVolumeName`;
  if (name === '') return [required(field, 'must specify non empty persistentVolumeName')];
  return eachReason(field, name, dnsSubdomainErrors(name));
}

function validateAttachmentMetadata(metadata: Record<string, string>): FieldError[] {
  const texts = Object.entries(metadata).flat();
  const bytes = texts.reduce((sum, one) => sum + Buffer.byteLength(one), 0);
  if (bytes <= METADATA_BYTES_MAX) return [];
  return [tooLong('status.attachmentMetadata', METADATA_BYTES_MAX)];
}

function validateVolumeError(path: string, error: VolumeError | undefined): FieldError[] {
  const { message = '', errorCode } = error ?? {};
  const errors = notNegative(`${path}.errorCode`, errorCode);
  if (Buffer.byteLength(message) > ERROR_BYTES_MAX) {
    errors.push(tooLong(`${path}.message`, ERROR_BYTES_MAX));
  }
  return errors;
}
