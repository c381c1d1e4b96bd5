/** A million hostile inputs for the DNS parser. A failure prints the seed; the short run of it is in test/agent/dns/codec.ts. */
import { hostile, parsesOrRefuses } from '../agent/dns/arbitraries.ts';
import { onAMillionInputs } from '../support/million.ts';

/** No input may take long. */
const LIMIT_MS = 30 * 60_000;

onAMillionInputs(hostile, parsesOrRefuses, LIMIT_MS);
