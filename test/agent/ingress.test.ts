/** Ingress on a board: the pure tables, and the web server over real sockets on loopback. */
import './ingress/tables.ts';
import './ingress/http.ts';
import './ingress/upgrades.ts';
import './ingress/fuzz.ts';
