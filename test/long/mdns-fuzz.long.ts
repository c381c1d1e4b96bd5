/** A million short talks of a hostile LAN with the mDNS responder. A failure prints the seed; the short run is in test/agent/dns/mdns.ts. */
import { behaves, hostileMdns } from '../agent/dns/mdns-hostile.ts';
import { onAMillionInputs } from '../support/million.ts';

/** No input may take long. */
const LIMIT_MS = 60 * 60_000;

onAMillionInputs(hostileMdns, behaves, LIMIT_MS);
