/** Cluster DNS: the codec, what names lead to, caching and the sockets. One file, because each costs a second. */
import './dns/codec.ts';
import './dns/zone.ts';
import './dns/forwarding.ts';
import './dns/sockets.ts';
import './dns/mdns.ts';
