#!/bin/sh
# Installs Pier as a systemd service on this board.
#   sudo firmware-scripts/install.sh master             the master, and an agent for the same board
#   sudo firmware-scripts/install.sh agent CREDENTIALS  an agent, with the file that `pier-master board-credentials` made
# The built tree goes to /usr/local/lib/pier, data to /var/lib/pier. DESTDIR=DIR installs into a folder and starts nothing.
set -eu
. "$(dirname -- "$0")/lib.sh"

ROLE=${1:-}
CREDENTIALS=${2:-}
DESTDIR=${DESTDIR:-}
LIB=$DESTDIR/usr/local/lib/pier
UNITS=$DESTDIR/etc/systemd/system

case $ROLE in
  master) ;;
  agent)
    [ -n "$CREDENTIALS" ] || fail "an agent needs its credentials: make them on the master with 'pier-master board-credentials NAME --output FILE', copy the file here, then: $0 agent FILE"
    [ -r "$CREDENTIALS" ] || fail "cannot read $CREDENTIALS"
    ;;
  *) fail "say what this board is to be: '$0 master' or '$0 agent CREDENTIALS'" ;;
esac
[ -n "$DESTDIR" ] || is_root || fail "installing needs root. Run: sudo $0 $*"

[ -z "$DESTDIR" ] || BOARD_PACKAGES=''
# shellcheck disable=SC2086
ensure_node $BOARD_PACKAGES
ensure_modules production
ensure_build

say "installing into $LIB"
mkdir -p "$LIB/bin" "$UNITS" "$DESTDIR/usr/local/bin"
# The new tree lies whole on the disk before one rename makes it the tree: a power cut leaves the old or the new.
TREE=dist-$(date +%s)-$$
cp -R "$PIER_HOME/dist" "$LIB/$TREE"
sync -f "$LIB"
ln -sfn "$TREE" "$LIB/dist.new"
mv -fT "$LIB/dist.new" "$LIB/dist"
cp -R "$PIER_HOME/docs" "$PIER_HOME/README.md" "$PIER_HOME/LICENSE" "$LIB/"
# The unit names one Node, whichever was found; a Node inside the clone is copied, so that the clone may go.
case $NODE in
  "$PIER_HOME"/*) cp "$NODE" "$LIB/bin/node.new" && mv -f "$LIB/bin/node.new" "$LIB/bin/node" ;;
  *) ln -sfn "$NODE" "$LIB/bin/node" ;;
esac
for tool in pier pier-master; do
  printf '#!/bin/sh\nexec /usr/local/lib/pier/bin/node /usr/local/lib/pier/dist/%s.mjs "$@"\n' "$tool" >"$DESTDIR/usr/local/bin/$tool"
  chmod 755 "$DESTDIR/usr/local/bin/$tool"
done
[ "$ROLE" = agent ] || cp "$PIER_HOME/systemd/pier-master.service" "$UNITS/"
cp "$PIER_HOME/systemd/pier-agent.service" "$UNITS/"

# Processes of the old tree may still load their last chunks from it, until they are restarted below.
remove_old_trees() {
  for old in "$LIB"/dist-*; do
    [ "$old" = "$LIB/$TREE" ] || rm -rf "$old"
  done
}
if [ -n "$DESTDIR" ]; then
  remove_old_trees
  say "installed into $DESTDIR; nothing was started"
  exit 0
fi
{ command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; } ||
  fail "the files are in place, but this machine is not run by systemd; start dist/pier-master.mjs and dist/pier-agent.mjs by hand (README.md, 'Without systemd')"

mkdir -p /var/lib/pier/agent
chmod 700 /var/lib/pier/agent
systemctl daemon-reload
if [ "$ROLE" = master ]; then
  systemctl enable pier-master.service
  systemctl restart pier-master.service
  say "waiting for the master"
  tries=0
  until [ -s /var/lib/pier/master/admin.kubeconfig ]; do
    tries=$((tries + 1))
    [ "$tries" -le 60 ] || fail "the master did not start within 60 s: journalctl -u pier-master"
    sleep 1
  done
  [ -s /var/lib/pier/agent/credentials.json ] ||
    /usr/local/bin/pier-master board-credentials "$(hostname | tr '[:upper:]' '[:lower:]')" --data /var/lib/pier/master \
      --output /var/lib/pier/agent/credentials.json
else
  install -m 600 "$CREDENTIALS" /var/lib/pier/agent/credentials.json
fi
systemctl enable pier-agent.service
systemctl restart pier-agent.service
remove_old_trees
say "running. Look at it with: systemctl status pier-agent; journalctl -u pier-agent"
[ "$ROLE" = agent ] || printf 'export KUBECONFIG=/var/lib/pier/master/admin.kubeconfig\n'
