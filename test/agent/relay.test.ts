/** The relay between boards of different subnets. One file, because each costs a second. */
import './relay/decisions.ts';
import './relay/hostile.ts';
import './relay/routes.ts';
import './relay/sessions.ts';
import './relay/traffic.ts';
import './relay/web.ts';
