#!/bin/sh
# From a plain clone to a running app: installs what is missing, builds, starts a master and an agent on this
# board, puts docs/examples/hello.yaml on it and prints its URL. Ctrl-C stops both; the pods stay.
# Flags are those of `pier up` (see --help): --data DIR, --api-port N, --mqtt-port N, --no-demo.
set -eu
. "$(dirname -- "$0")/lib.sh"

is_root || fail "Pier runs containers, so it needs root here. Run: sudo $0"
# shellcheck disable=SC2086
ensure_node $BOARD_PACKAGES busybox-static
ensure_modules production
ensure_build
exec "$NODE" "$PIER_HOME/dist/pier.mjs" up --home "$PIER_HOME" "$@"
