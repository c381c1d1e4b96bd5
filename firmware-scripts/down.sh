#!/bin/sh
# Removes what up.sh made on this board: processes, pods, network, routes, demo image and data.
# Installed packages and node_modules stay.
set -eu
. "$(dirname -- "$0")/lib.sh"

is_root || fail "removing containers needs root. Run: sudo $0"
# shellcheck disable=SC2119
ensure_node
# What was built last knows what it made: going down needs no network.
if [ ! -f "$PIER_HOME/dist/.built" ]; then
  ensure_modules production
  ensure_build
fi
exec "$NODE" "$PIER_HOME/dist/pier.mjs" down "$@"
