/**
 * EndpointSlices that people and other programs keep: with the Endpoints they say what is behind a Service. Those of Pier's own
 * controllers say what Endpoints say, and are passed over. Pure.
 */
import type { EndpointSlice } from '../../protocol/kinds/types.ts';
import { type Change, joinKey } from '../informer/informer.ts';
import { isKeptByUs, SERVICE_NAME } from './endpoint-slices.ts';
import { versionsOf } from './keys.ts';

/** Of all `slices` of a namespace those of one service that somebody else keeps. */
export function foreignSlices(
  slices: readonly EndpointSlice[],
  service: string,
): readonly EndpointSlice[] {
  return slices.filter((one) => serviceOf(one) === service && !isKeptByUs(one));
}

/** Keys of the services for which a change of a slice counts. */
export function servicesOfSlice(change: Change<EndpointSlice>): string[] {
  return versionsOf(change).flatMap((slice) => {
    const name = serviceOf(slice);
    if (name === undefined || isKeptByUs(slice)) return [];
    return [joinKey(slice.metadata?.namespace ?? '', name)];
  });
}

function serviceOf({ metadata }: EndpointSlice): string | undefined {
  return metadata?.labels?.[SERVICE_NAME];
}
