/** What the kinds of storage.k8s.io share: names of drivers and provisioners, and the parameters that are meant for them. */
import { dnsSubdomainErrors, labelKeyErrors } from '../../../../protocol/names.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { eachReason, required, tooLong } from './errors.ts';

const PARAMETERS_MAX = 512;
const PARAMETER_BYTES_MAX = 256 * 1024;
const DRIVER_NAME_BYTES_MAX = 63;

/** A CSI driver as others name it (the CSIDriver itself may have a longer name). */
export function validateDriverName(field: string, name: string): FieldError[] {
  if (name === '') return [required(field)];
  return [
    ...(name.length > DRIVER_NAME_BYTES_MAX ? [tooLong(field, DRIVER_NAME_BYTES_MAX)] : []),
    ...eachReason(field, name, dnsSubdomainErrors(name.toLowerCase())),
  ];
}

export function validateProvisioner(field: string, name: string): FieldError[] {
  if (name === '') return [required(field)];
  return eachReason(field, name, labelKeyErrors(name.toLowerCase()));
}

export function validateParameters(parameters: Record<string, string>): FieldError[] {
  const entries = Object.entries(parameters);
  const errors: FieldError[] = [];
  if (entries.length > PARAMETERS_MAX) errors.push(tooLong('parameters', PARAMETERS_MAX));
  let bytes = 0;
  for (const [key, value] of entries) {
    if (key === '') errors.push(required('parameters', 'key may not be empty'));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > PARAMETER_BYTES_MAX) errors.push(tooLong('parameters', PARAMETER_BYTES_MAX));
  return errors;
}
