/** Node's HTTP/2, loaded when it is first needed: that costs 2 MiB, and most boards have neither gRPC probes nor boards in other subnets. */
import type http2 from 'node:http2';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
let loaded: typeof http2 | undefined;

export function loadHttp2(): typeof http2 {
  loaded ??= require('node:http2') as typeof http2;
  return loaded;
}
