#!/bin/sh
# Fetches one Debian package of any suite and unpacks it into a folder, without installing anything.
#
#   debian-package.sh NAME SUITE DIR [FILE]
#
# NAME   the binary package, as in kubectl or golang-k8s-api-dev
# SUITE  as in sid or trixie
# DIR    where it is unpacked (made when missing); a second call finds it there and fetches nothing
# FILE   a path inside the package that must be there afterwards (default: none is checked)
#
# Prints DIR (absolute) and nothing else on stdout. Exit code 1 and a sentence on stderr when the package
# cannot be had. The machine's own apt configuration and lists stay untouched: the state of this apt
# is a folder `apt-SUITE` beside DIR. Mirror and proxy are the machine's own. Needs no root.
set -eu

fail() {
  echo "debian-package.sh: $*" >&2
  exit 1
}

[ $# -ge 3 ] || fail "usage: debian-package.sh NAME SUITE DIR [FILE]"
name=$1
suite=$2
file=${4:-}
mkdir -p "$3"
dir=$(cd "$3" && pwd)
stamp=$dir/.unpacked

if [ -e "$stamp" ] && { [ -z "$file" ] || [ -e "$dir/$file" ]; }; then
  echo "$dir"
  exit 0
fi

for tool in apt-get dpkg flock; do
  command -v "$tool" >/dev/null || fail "$tool is missing: this needs a Debian system"
done

state=$(dirname "$dir")/apt-$suite
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"

# Two tests may ask at the same time; the second one waits and then finds everything there.
exec 9>"$state/lock"
flock -w 600 9 || fail "another run holds $state/lock for more than 10 minutes"
if [ -e "$stamp" ] && { [ -z "$file" ] || [ -e "$dir/$file" ]; }; then
  echo "$dir"
  exit 0
fi

# The machine's own mirror of Debian's main archive (not the one for security updates).
mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list \
  /etc/apt/sources.list 2>/dev/null | sed -n \
  -e 's/^URIs:[[:space:]]*\([^[:space:]]*\/debian\)\/\{0,1\}\([[:space:]].*\)\{0,1\}$/\1/p' \
  -e 's/^deb[[:space:]]\(\[[^]]*\][[:space:]]*\)\{0,1\}[[:space:]]*\([^[:space:]]*\/debian\)\/\{0,1\}[[:space:]].*$/\2/p' |
  head -n 1)
[ -n "$mirror" ] || fail "no mirror of Debian found in /etc/apt"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || keyring=/usr/share/keyrings/debian-archive-keyring.pgp
[ -e "$keyring" ] || fail "no keyring of Debian's archive: install debian-archive-keyring"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources.list"

# What is installed here is none of this apt's business: a foreign package of the same name would confuse it.
: >"$state/status"

# A mirror that lags (sid's list says it is valid for a week) is good enough: what comes is still signed by Debian's
# archive, and whoever asks here wants data and tools for tests, not the newest security fix.
apt() {
  apt-get -qq -o Acquire::Check-Valid-Until=false \
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" \
    -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::Cache="$state/cache" -o APT::Sandbox::User= \
    -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
    -o Dir::Etc::preferencesparts=- -o Dir::Etc::preferences=/dev/null "$@"
}

# Lists of the last day are good enough; when the package is gone from the mirror, ask again.
if [ -z "$(find "$state/updated" -mtime -1 2>/dev/null)" ]; then
  apt update >"$state/log" 2>&1 ||
    fail "cannot read the package list of $suite from $mirror: $(tail -n 1 "$state/log")"
  touch "$state/updated"
fi
cd "$state/cache/archives"
rm -f "${name}"_*.deb
if ! apt download "$name" >"$state/log" 2>&1; then
  { apt update && apt download "$name"; } >"$state/log" 2>&1 ||
    fail "cannot fetch $name of $suite from $mirror: $(tail -n 1 "$state/log")"
fi
set -- "${name}"_*.deb
[ -e "$1" ] || fail "apt fetched no file for $name"
dpkg -x "$1" "$dir" || fail "cannot unpack $1"
rm -f "$1"
if [ -n "$file" ] && [ ! -e "$dir/$file" ]; then
  fail "$name of $suite holds no $file"
fi
touch "$stamp"
echo "$dir"
