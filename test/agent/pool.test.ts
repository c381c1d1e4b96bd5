/** The pool of LAN addresses on boards. One file, because each costs a second. */
import './pool/announcing.ts';
import './pool/datagrams.ts';
import './pool/decisions.ts';
import './pool/simulation.ts';
