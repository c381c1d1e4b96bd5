#!/bin/sh
# Sets a plain clone up and runs all tests: `npm test`. With root everything runs; without it, what needs
# none runs and the rest is named. CI (.ci/run) is exactly this script.
set -eu
. "$(dirname -- "$0")/lib.sh"

if is_root; then
  # The engines, peers and tools that the tests use for real.
  # shellcheck disable=SC2086
  ensure_node $BOARD_PACKAGES busybox-static curl openssl shellcheck strace containerd containernetworking-plugins docker.io \
    python3-kubernetes
else
  say "not root: tests that need containers or network namespaces are left out and named at the end"
  ensure_node
fi
ensure_npm
ensure_modules development
ensure_build
cd "$PIER_HOME"
status=0
npm test --silent -- "$@" || status=$?
give_back
exit "$status"
