/**
 * A million ends of connections, told to backends by PROXY headers of both versions and read back by a reader of its own. The agent reads no
 * such headers. A failure prints the seed; the short run is in test/agent/proxy/services.ts.
 */
import { connectionEnds, isReadBack } from '../agent/proxy/proxy-header-reader.ts';
import { onAMillionInputs } from '../support/million.ts';

/** No input may take long. */
const LIMIT_MS = 30 * 60_000;

onAMillionInputs(connectionEnds, isReadBack, LIMIT_MS);
